"""A function in Rust with AWS's own lambda_runtime: examples/rust-function."""

import io
import json
import zipfile

import pytest
from conftest import ROOT
from support import function

PROGRAM = ROOT / "target" / "debug" / "rust-function"
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="cargo build --package rust-function comes first: see `cargo xtask test`")


@pytest.fixture(scope="module")
def package():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        program = zipfile.ZipInfo("bootstrap")
        program.external_attr = 0o755 << 16
        archive.writestr(program, PROGRAM.read_bytes())
    return buffer.getvalue()


@pytest.fixture
def adder(server, name, package):
    arn = function(server, name, package, "provided.al2023", "rust.handler", TracingConfig={"Mode": "Active"},
                   Environment={"Variables": {"GREETING": "hello"}})
    return server.client("lambda"), name, arn


def test_a_function_in_rust(adder, eventually, server):
    functions, name, arn = adder
    answer = functions.invoke(FunctionName=name, Payload=b'{"numbers": [1, 2, 39]}')
    said = json.loads(answer["Payload"].read())
    assert said == {"sum": 42, "request_id": answer["ResponseMetadata"]["RequestId"], "function": name, "memory_mb": 128, "arn": arn,
                    "deadline_ahead": True, "traced": True, "greeting": "hello"}
    logs = server.client("logs")
    lines = eventually(lambda: [event["message"] for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]])
    assert "adding 3 numbers\n" in lines


def test_its_errors_and_what_it_cannot_read(adder):
    functions, name, _ = adder
    for payload, kind, message in [(b'{"fail": "as asked"}', None, "as asked"), (b'{"numbers": "none"}', None, "invalid type: string")]:
        answer = functions.invoke(FunctionName=name, Payload=payload)
        error = json.loads(answer["Payload"].read())
        assert answer["FunctionError"] == "Unhandled" and message in error["errorMessage"] and error["errorType"], error
    assert json.loads(functions.invoke(FunctionName=name, Payload=b'{"numbers": [1]}')["Payload"].read())["sum"] == 1


def test_it_streams(adder):
    functions, name, _ = adder
    answer = functions.invoke_with_response_stream(FunctionName=name, Payload=b'{"stream": 3}')
    events = list(answer["EventStream"])
    whole = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
    # lambda_runtime puts what a function's address reads (status, headers, cookies) before every stream.
    prelude, body = whole.split(b"\0" * 8)
    assert json.loads(prelude)["statusCode"] == 200 and body == b"piece 1\npiece 2\npiece 3\n"
    assert "ErrorCode" not in events[-1]["InvokeComplete"]
