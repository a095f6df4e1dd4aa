"""EventBridge's API destinations and connections: what an HTTP endpoint of this test gets, with boto3."""

import base64
import http.server
import json
import queue
import subprocess
import threading
import urllib.parse

import pytest
from conftest import BINARY
from support import refused

ROLE = "arn:aws:iam::000000000000:role/call"


class Endpoint:
    """An HTTP server that keeps what it is asked and answers from a script: (status, headers, body), 200 at its end."""

    def __init__(self):
        asked, self.script = queue.Queue(), []
        self.asked, script = asked, self.script

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked.put((self.command, self.path, dict((k.lower(), v) for k, v in self.headers.items()), body.decode()))
                status, headers, text = script.pop(0) if script else (200, {}, "")
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def next(self):
        return self.asked.get(timeout=20)


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


@pytest.fixture
def events(server):
    return server.client("events")


API_KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "secret!"}}


def connection(events, name, kind="API_KEY", auth=None):
    return events.create_connection(Name=name, AuthorizationType=kind, AuthParameters=auth or API_KEY)["ConnectionArn"]


def wired(server, name, url, method="POST", target=None, rate=None, **auth):
    """A bus whose rule calls `url`; gives a function that puts an event on it, and the dead-letter queue's URL."""
    events, sqs = server.client("events"), server.client("sqs")
    more = {"InvocationRateLimitPerSecond": rate} if rate else {}
    arn = events.create_api_destination(Name=name, ConnectionArn=connection(events, name, **auth), InvocationEndpoint=url, HttpMethod=method, **more)["ApiDestinationArn"]
    lost = sqs.create_queue(QueueName=f"{name}-lost")["QueueUrl"]
    lost_arn = sqs.get_queue_attributes(QueueUrl=lost, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.create_event_bus(Name=name)
    events.put_rule(Name="r", EventBusName=name, EventPattern='{"source": ["shop"]}')
    row = {"Id": "t", "Arn": arn, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": lost_arn}, **(target or {})}
    assert events.put_targets(Rule="r", EventBusName=name, Targets=[row])["FailedEntryCount"] == 0

    def put(detail):
        answer = events.put_events(Entries=[{"EventBusName": name, "Source": "shop", "DetailType": "Order", "Detail": json.dumps(detail)}])
        assert answer["FailedEntryCount"] == 0
        return answer["Entries"][0]["EventId"]

    return put, lost


def advance(server, by):
    subprocess.run([BINARY, "--endpoint", server.endpoint, "clock", "advance", by], check=True, capture_output=True)


def dead_letter(server, url):
    messages = server.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"])["Messages"]
    return messages[0]["Body"], {name: value["StringValue"] for name, value in messages[0]["MessageAttributes"].items()}


def test_an_event_becomes_a_request(server, name, endpoint):
    extra = {"HeaderParameters": [{"Key": "X-From", "Value": "connection"}], "QueryStringParameters": [{"Key": "v", "Value": "1"}],
             "BodyParameters": [{"Key": "tenant", "Value": "t1", "IsValueSecret": True}]}
    target = {"HttpParameters": {"PathParameterValues": ["$.detail.id"], "HeaderParameters": {"X-Kind": "$.detail-type", "x-from": "target", "Range": "bytes=0-1"},
                                 "QueryStringParameters": {"n": "$.detail.n"}},
              "InputTransformer": {"InputPathsMap": {"id": "$.detail.id"}, "InputTemplate": '{"order": "<id>"}'}}
    put, _ = wired(server, name, endpoint.url + "/orders/*/x", method="PUT", target=target, auth={**API_KEY, "InvocationHttpParameters": extra})
    put({"id": "a/b", "n": 5})
    method, path, headers, body = endpoint.next()
    assert (method, path) == ("PUT", "/orders/a%2Fb/x?n=5&v=1")
    assert json.loads(body) == {"order": "a/b", "tenant": "t1"}
    assert headers["x-api-key"] == "secret!" and headers["x-from"] == "connection" and headers["x-kind"] == "Order"
    assert headers["user-agent"] == "Amazon/EventBridge/ApiDestinations" and headers["content-type"] == "application/json; charset=utf-8"
    assert headers["range"] == "bytes=0-1048575"


def test_basic_authorization(server, name, endpoint):
    put, _ = wired(server, name, endpoint.url, kind="BASIC", auth={"BasicAuthParameters": {"Username": "ann", "Password": "pw"}})
    event_id = put({"id": 1})
    _, _, headers, body = endpoint.next()
    assert headers["authorization"] == "Basic " + base64.b64encode(b"ann:pw").decode() and json.loads(body)["id"] == event_id


def test_tokens_are_fetched_kept_and_renewed(server, events, name, endpoint, eventually):
    tokens = Endpoint()
    tokens.script += [(200, {}, json.dumps({"access_token": text, "expires_in": 3600})) for text in ("one", "two")]
    auth = {"OAuthParameters": {"ClientParameters": {"ClientID": "me", "ClientSecret": "hush"}, "AuthorizationEndpoint": tokens.url + "/token", "HttpMethod": "POST",
                                "OAuthHttpParameters": {"BodyParameters": [{"Key": "audience", "Value": "a b"}]}}}
    put, _ = wired(server, name, endpoint.url, kind="OAUTH_CLIENT_CREDENTIALS", auth=auth)
    eventually(lambda: events.describe_connection(Name=name)["ConnectionState"] == "AUTHORIZED")
    endpoint.script += [(200, {}, ""), (401, {}, "")]
    for n in range(2):
        put({"n": n})
    seen = [endpoint.next()[2]["authorization"] for _ in range(3)]
    assert sorted(seen) == ["Bearer one", "Bearer one", "Bearer two"]
    method, path, headers, body = tokens.next()
    assert (method, path, headers["content-type"]) == ("POST", "/token", "application/x-www-form-urlencoded")
    assert dict(urllib.parse.parse_qsl(body)) == {"grant_type": "client_credentials", "client_id": "me", "client_secret": "hush", "audience": "a b"}
    tokens.next()
    assert tokens.asked.empty()
    assert "hush" not in json.dumps(events.describe_connection(Name=name), default=str)


def test_tokens_expire(private_server, name, endpoint):
    tokens = Endpoint()
    tokens.script += [(200, {}, json.dumps({"access_token": text, "expires_in": 3600})) for text in ("one", "two")]
    auth = {"OAuthParameters": {"ClientParameters": {"ClientID": "me", "ClientSecret": "hush"}, "AuthorizationEndpoint": tokens.url, "HttpMethod": "POST"}}
    put, _ = wired(private_server, name, endpoint.url, kind="OAUTH_CLIENT_CREDENTIALS", auth=auth)
    put({"n": 1})
    assert endpoint.next()[2]["authorization"] == "Bearer one"
    advance(private_server, "2h")
    put({"n": 2})
    assert endpoint.next()[2]["authorization"] == "Bearer two"


def test_an_authorization_server_that_refuses(server, events, name, endpoint, eventually):
    endpoint.script += [(403, {}, "")] * 9
    auth = {"OAuthParameters": {"ClientParameters": {"ClientID": "me", "ClientSecret": "hush"}, "AuthorizationEndpoint": endpoint.url, "HttpMethod": "POST"}}
    connection(events, name, "OAUTH_CLIENT_CREDENTIALS", auth)
    described = eventually(lambda: (lambda row: row["ConnectionState"] == "DEAUTHORIZED" and row)(events.describe_connection(Name=name)))
    assert "403" in described["StateReason"]


def test_what_the_endpoint_refuses_is_dead_lettered_at_once(server, name, endpoint):
    endpoint.script.append((404, {}, "no"))
    put, lost = wired(server, name, endpoint.url, target={"InputPath": "$.detail"})
    event_id = put({"n": 1})
    assert json.loads(endpoint.next()[3]) == {"n": 1}
    body, attributes = dead_letter(server, lost)
    assert json.loads(body)["id"] == event_id
    assert attributes["ERROR_CODE"] == "SDK_CLIENT_ERROR" and "404" in attributes["ERROR_MESSAGE"] and attributes["RETRY_ATTEMPTS"] == "0"
    assert attributes["RULE_ARN"].endswith(f":rule/{name}/r") and ":api-destination/" in attributes["TARGET_ARN"]
    assert "EXHAUSTED_RETRY_CONDITION" not in attributes


def test_what_may_pass_is_tried_again(server, name, endpoint):
    endpoint.script += [(503, {}, ""), (429, {"retry-after": "1"}, ""), (500, {}, "")]
    put, lost = wired(server, name, endpoint.url, target={"RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600}})
    put({"n": 1})
    assert len({endpoint.next()[3] for _ in range(3)}) == 1
    _, attributes = dead_letter(server, lost)
    assert (attributes["EXHAUSTED_RETRY_CONDITION"], attributes["RETRY_ATTEMPTS"]) == ("MaximumRetryAttempts", "2")


def test_what_is_over_the_rate_waits_for_its_turn(private_server, name, endpoint):
    put, _ = wired(private_server, name, endpoint.url, rate=1)
    for n in range(4):
        put({"n": n})
    seen = [endpoint.next()]
    # Moving the clock brings the others' turns.
    advance(private_server, "1h")
    seen += [endpoint.next() for _ in range(3)]
    assert {json.loads(body)["detail"]["n"] for *_, body in seen} == {0, 1, 2, 3}
    assert endpoint.asked.empty()


def test_connections_and_destinations_live(events, name):
    arn = connection(events, name, auth={**API_KEY, "InvocationHttpParameters": {"HeaderParameters": [{"Key": "a", "Value": "hush", "IsValueSecret": True}, {"Key": "b", "Value": "open"}]}})
    assert arn.startswith(f"arn:aws:events:us-east-1:000000000000:connection/{name}/")
    with refused("ResourceAlreadyExistsException", 400):
        connection(events, name)
    row = events.describe_connection(Name=name)
    assert row["ConnectionState"] == "AUTHORIZED" and row["SecretArn"].startswith(f"arn:aws:secretsmanager:us-east-1:000000000000:secret:events!connection/{name}/")
    assert row["AuthParameters"]["ApiKeyAuthParameters"] == {"ApiKeyName": "x-api-key"}
    assert row["AuthParameters"]["InvocationHttpParameters"]["HeaderParameters"] == [{"Key": "a", "IsValueSecret": True}, {"Key": "b", "Value": "open", "IsValueSecret": False}]
    made = events.create_api_destination(Name=name, ConnectionArn=arn, InvocationEndpoint="https://example.com/*", HttpMethod="POST")
    assert made["ApiDestinationState"] == "ACTIVE"
    assert events.update_api_destination(Name=name, HttpMethod="PATCH", InvocationRateLimitPerSecond=7)["ApiDestinationArn"] == made["ApiDestinationArn"]
    row = events.describe_api_destination(Name=name)
    assert (row["HttpMethod"], row["InvocationRateLimitPerSecond"], row["InvocationEndpoint"]) == ("PATCH", 7, "https://example.com/*")
    assert [one["Name"] for one in events.list_api_destinations(NamePrefix=name)["ApiDestinations"]] == [name]
    assert [one["Name"] for one in events.list_connections(NamePrefix=name)["Connections"]] == [name]
    events.update_connection(Name=name, AuthParameters={"ApiKeyAuthParameters": {"ApiKeyValue": "new"}})
    assert events.deauthorize_connection(Name=name)["ConnectionState"] == "DEAUTHORIZING"
    assert events.describe_connection(Name=name)["ConnectionState"] == "DEAUTHORIZED"
    assert events.describe_api_destination(Name=name)["ApiDestinationState"] == "INACTIVE"
    events.update_connection(Name=name, AuthorizationType="BASIC", AuthParameters={"BasicAuthParameters": {"Username": "u", "Password": "p"}})
    assert events.describe_api_destination(Name=name)["ApiDestinationState"] == "ACTIVE"
    events.delete_api_destination(Name=name)
    events.delete_connection(Name=name)
    for gone in (lambda: events.describe_connection(Name=name), lambda: events.describe_api_destination(Name=name), lambda: events.delete_connection(Name=name)):
        with refused("ResourceNotFoundException", 400):
            gone()


def test_what_is_not_allowed(events, name):
    arn = connection(events, name)
    for url in ("http://example.com/", "ftp://127.0.0.1/"):
        with refused("ValidationException", 400):
            events.create_api_destination(Name=name, ConnectionArn=arn, InvocationEndpoint=url, HttpMethod="POST")
    with refused("ResourceNotFoundException", 400):
        events.create_api_destination(Name=name, ConnectionArn=arn + "0", InvocationEndpoint="https://example.com/", HttpMethod="POST")
    with refused("ValidationException", 400):
        connection(events, name + "2", "BASIC")
    made = events.create_api_destination(Name=name, ConnectionArn=arn, InvocationEndpoint="https://example.com/", HttpMethod="POST")
    events.put_rule(Name=name, EventPattern='{"source": ["nobody"]}')
    with refused("ValidationException", 400):
        events.put_targets(Rule=name, Targets=[{"Id": "t", "Arn": made["ApiDestinationArn"], "HttpParameters": {"PathParameterValues": ["$.a["]}}])
    events.delete_rule(Name=name)


def test_retries_outlive_a_crash(private_server, name, endpoint):
    endpoint.script.append((503, {"retry-after": "30"}, ""))
    put, _ = wired(private_server, name, endpoint.url)
    event_id = put({"n": 1})
    endpoint.next()
    private_server.kill()
    private_server.start()
    advance(private_server, "1h")
    assert json.loads(endpoint.next()[3])["id"] == event_id
