"""Plain HTTP without a library."""

import urllib.error
import urllib.request


def put(url, body):
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT"), timeout=10) as answer:
        return answer.status


def post(url, body, **headers):
    """Status and body of a POST, whatever the status. Underscores in header names stand for dashes."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers, method="POST"), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
