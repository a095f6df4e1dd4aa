"""Functions and archives that mean no good: they end, the platform does not."""

import io
import json
import subprocess
import zipfile

import pytest
from conftest import BINARY
from support import function, refused, zipped


def invoke(server, name, payload=b"{}"):
    answer = server.client("lambda").invoke(FunctionName=name, Payload=payload)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read() or "null")


def python(body):
    return zipped(app__py="def handler(event, context):\n" + "".join(f"    {line}\n" for line in body.split("\n")))


@pytest.fixture(autouse=True)
def still_alive(server):
    yield
    assert server.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_a_function_that_prints_100_mb(server, name):
    function(server, name, python("for _ in range(100):\n    print('x' * 1024 * 1024)\nreturn 'done'"), Timeout=60)
    error, body = invoke(server, name)
    assert (error, body) == (None, "done")


def test_a_function_that_eats_memory(server, name):
    function(server, name, python("hold = []\nwhile True:\n    hold.append(bytearray(16 * 1024 * 1024))"), MemorySize=128, Timeout=15)
    error, body = invoke(server, name)
    assert error == "Unhandled" and body["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError", "MemoryError", "Sandbox.Timedout"), body


def test_a_function_that_forks_without_end(server, name):
    code = "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            time.sleep(30)\n            os._exit(0)\n        n += 1\nexcept OSError:\n    return n"
    function(server, name, python(code), Timeout=5)
    error, body = invoke(server, name)
    assert error == "Unhandled" or body < 5000
    assert server.client("lambda").get_function(FunctionName=name)["Configuration"]["State"] == "Active"


def test_functions_that_cannot_start(server, name):
    cases = {"syntax": "def handler(:\n", "missing": "x = 1\n", "raises": "raise RuntimeError('at once')\n", "module": None}
    expected = {"syntax": "Runtime.UserCodeSyntaxError", "missing": "Runtime.HandlerNotFound", "raises": "RuntimeError", "module": "Runtime.ImportModuleError"}
    for case, code in cases.items():
        function(server, f"{name}-{case}", zipped(app__py=code) if code else zipped(other__py="x = 1\n"))
        error, body = invoke(server, f"{name}-{case}")
        assert error == "Unhandled" and body["errorType"] == expected[case], (case, body)


def test_a_function_whose_answer_is_too_large_or_no_json(server, name):
    function(server, name, python("return 'x' * (7 * 1024 * 1024) if event.get('large') else {1, 2}"), Timeout=20)
    error, body = invoke(server, name, b'{"large": true}')
    assert error == "Unhandled" and body["errorType"] == "Function.ResponseSizeTooLarge", body
    error, body = invoke(server, name)
    assert error == "Unhandled" and body["errorType"] == "Runtime.MarshalError", body


def test_requests_that_are_too_large(server, name):
    function(server, name, python("return len(event)"))
    with refused("RequestTooLargeException", 413):
        server.client("lambda").invoke(FunctionName=name, Payload=b'"' + b"x" * (6 * 1024 * 1024 + 1000) + b'"')
    with refused("InvalidRequestContentException", 400):
        server.client("lambda").invoke(FunctionName=name, Payload=b"{no json")


def test_zip_bombs_are_refused(server, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"zeros{number}.bin", b"\0" * (10 * 1024 * 1024))
    with refused("InvalidParameterValueException", 400) as info:
        function(server, name, buffer.getvalue())
    assert "Unzipped size must be smaller than" in info.value.response["Error"]["Message"]


def test_archives_with_absolute_paths_and_links_out(server, name):
    for number, path in enumerate(["/etc/evil", "a/../../evil", "..\\evil"]):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", "def handler(event, context):\n    return 1\n")
            archive.writestr(path, "x")
        try:
            function(server, f"{name}{number}", buffer.getvalue())
        except Exception as error:  # noqa: BLE001 - refusing is as good as keeping it inside
            assert "InvalidParameterValue" in str(error)
        else:
            assert invoke(server, f"{name}{number}") == (None, 1)


def test_a_custom_runtime_runs(server, name):
    bootstrap = """#!/bin/sh
set -e
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id "$headers" | tr -d '\\r' | cut -d' ' -f2)
  curl -sS -X POST "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "{\\"got\\": $event}" > /dev/null
done
"""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, bootstrap)
    function(server, name, buffer.getvalue(), runtime="provided.al2023", handler="any")
    assert invoke(server, name, b'{"n": 1}') == (None, {"got": {"n": 1}})


def test_the_javascript_sdk_is_there(server, name):
    subprocess.run([BINARY, "doctor", "--install"], check=True, capture_output=True, timeout=300)
    code = "import { S3Client, ListBucketsCommand } from '@aws-sdk/client-s3';\nconst s3 = new S3Client({});\nexport const handler = async () => (await s3.send(new ListBucketsCommand({}))).Buckets.length >= 0;\n"
    function(server, name, zipped(index__mjs=code), runtime="nodejs20.x", handler="index.handler", Timeout=30)
    assert invoke(server, name) == (None, True)
