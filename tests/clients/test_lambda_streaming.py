"""Streamed answers: InvokeWithResponseStream and function URLs of mode RESPONSE_STREAM."""

import base64
import hashlib
import http.client
import io
import json
import urllib.parse
import zipfile

import pytest
from support import function, refused, zipped

# Streams what the event says. "wait" goes on when the object `go` of the function's bucket is there.
HANDLER = """
import { setTimeout as sleep } from 'node:timers/promises';
async function until(bucket) {
  for (;;) {
    const answer = await fetch(`${process.env.AWS_ENDPOINT_URL}/${bucket}/go`);
    if (answer.status === 200) return;
    await sleep(5);
  }
}
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  const ask = event.body ? JSON.parse(event.body) : event;
  if (ask.http) stream = awslambda.HttpResponseStream.from(stream, ask.http);
  if (ask.type) stream.setContentType(ask.type);
  console.log('begun', context.awsRequestId, typeof context.succeed);
  for (let n = 0; n < (ask.megabytes ?? 0); n++) {
    if (!stream.write(Buffer.alloc(1 << 20, n))) await new Promise((resolve) => stream.once('drain', resolve));
  }
  for (const part of ask.parts ?? []) {
    if (part === 'WAIT') await until(process.env.AWS_LAMBDA_FUNCTION_NAME);
    else if (part === 'FAIL') throw new TypeError('midway');
    else if (part === 'SLEEP') await sleep(60000);
    else if (part === 'EXIT') process.exit(3);
    else if (part === 'LEAVE') return;
    else if (part === 'MARK') await fetch(`${process.env.AWS_ENDPOINT_URL}/${process.env.AWS_LAMBDA_FUNCTION_NAME}/mark`, { method: 'PUT', body: 'here' });
    else stream.write(part);
  }
  stream.end(ask.last);
});
export const plain = async (event) => ({ statusCode: 201, body: 'plain', event });
export const sync = awslambda.streamifyResponse((event, stream) => { stream.end('x'); });
"""

# A runtime of its own that streams by the Runtime API: one chunk, and an error in the trailers if the event asks for it.
BOOTSTRAP = """#!/usr/bin/python3
import base64, json, os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def ask(head, chunks=()):
    with socket.create_connection((host, int(port))) as wire:
        wire.sendall(head.encode() + b"\\r\\n")
        for chunk in chunks:
            wire.sendall(chunk)
        answer = wire.makefile("rb").read()
    head, _, body = answer.partition(b"\\r\\n\\r\\n")
    return dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:]), body
def chunk(data):
    return b"%x\\r\\n%s\\r\\n" % (len(data), data)
while True:
    headers, event = ask("GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n")
    how = json.loads(event)["how"]
    trailers = b""
    if how == "fails":
        body = base64.b64encode(b'{"errorType": "Mine", "errorMessage": "midway"}')
        trailers = b"Lambda-Runtime-Function-Error-Type: Mine\\r\\nLambda-Runtime-Function-Error-Body: " + body + b"\\r\\n"
    end = b"" if how == "breaks" else b"0\\r\\n" + trailers + b"\\r\\n"
    ask("POST /2018-06-01/runtime/invocation/" + headers[b"lambda-runtime-aws-request-id"].decode() + "/response HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\nContent-Type: text/plain\\r\\n"
        "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n", [chunk(b"one,"), chunk(b"two"), end])
"""


@pytest.fixture(scope="module")
def streamer(server):
    """A function that streams what it is asked for; gives its name, which is its bucket's too."""
    server.client("s3").create_bucket(Bucket="streamer")
    function(server, "streamer", zipped(index__mjs=HANDLER), runtime="nodejs20.x", handler="index.handler")
    return "streamer"


def stream(server, name, event, **more):
    answer = server.client("lambda").invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **more)
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST"
    return iter(answer["EventStream"])


def whole(events):
    """The data and the closing event."""
    events = list(events)
    assert list(events[-1]) == ["InvokeComplete"]
    return b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]), events[-1]["InvokeComplete"]


def test_chunks_arrive_while_the_function_still_writes(server, streamer):
    events = stream(server, streamer, {"parts": ["first ", "WAIT", "second"], "last": {"a": 1}}, LogType="Tail")
    assert next(events)["PayloadChunk"]["Payload"] == b"first ", "the function waits for what comes only now"
    server.client("s3").put_object(Bucket=streamer, Key="go")
    data, complete = whole(events)
    assert data == b'second{"a":1}' and "ErrorCode" not in complete
    log = base64.b64decode(complete["LogResult"]).decode()
    assert "begun" in log and "undefined\n" in log and "REPORT RequestId" in log


def test_large_answers_pass_unchanged(server, streamer):
    data, complete = whole(stream(server, streamer, {"megabytes": 25}))
    expected = hashlib.sha256(b"".join(bytes([n]) * (1 << 20) for n in range(25))).hexdigest()
    assert hashlib.sha256(data).hexdigest() == expected and complete == {}


def test_a_function_waits_for_a_slow_reader_and_outlives_one_that_leaves(server, streamer, eventually):
    s3 = server.client("s3")
    s3.delete_object(Bucket=streamer, Key="mark")
    events = server.client("lambda").invoke_with_response_stream(FunctionName=streamer, Payload=json.dumps({"megabytes": 60, "parts": ["MARK"]}))["EventStream"]
    assert next(iter(events))["PayloadChunk"]["Payload"]

    def marked():
        return "Contents" in s3.list_objects_v2(Bucket=streamer, Prefix="mark")

    assert not marked(), "so much waits nowhere: the function does"
    events.close()
    eventually(marked)
    assert whole(stream(server, streamer, {"last": "well"})) == (b"well", {})


def test_errors_end_the_stream(server, streamer):
    data, complete = whole(stream(server, streamer, {"parts": ["some", "FAIL"]}))
    assert data == b"some" and complete["ErrorCode"] == "TypeError"
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "midway"
    data, complete = whole(stream(server, streamer, {"parts": ["FAIL"]}))
    assert data == b"" and complete["ErrorCode"] == "TypeError"
    data, complete = whole(stream(server, streamer, {"parts": ["some", "EXIT"]}))
    assert data == b"some" and complete["ErrorCode"] == "Runtime.ExitError"
    data, complete = whole(stream(server, streamer, {"parts": ["some", "LEAVE"]}))
    assert data == b"some" and "not finished" in complete["ErrorDetails"]
    assert whole(stream(server, streamer, {"last": "well"})) == (b"well", {}), "the function is well again"


def test_a_stream_ends_with_the_functions_time(server, name):
    function(server, name, zipped(index__mjs=HANDLER), runtime="nodejs20.x", handler="index.handler", Timeout=1)
    data, complete = whole(stream(server, name, {"parts": ["some", "SLEEP"]}))
    assert data == b"some" and complete["ErrorCode"] == "Sandbox.Timedout" and "Task timed out after 1.00 seconds" in complete["ErrorDetails"]


def test_invoke_gathers_what_is_streamed(server, streamer):
    functions = server.client("lambda")
    answer = functions.invoke(FunctionName=streamer, Payload=json.dumps({"parts": ["a", "b"]}))
    assert answer["Payload"].read() == b"ab" and "FunctionError" not in answer
    answer = functions.invoke(FunctionName=streamer, Payload=json.dumps({"megabytes": 7}))
    assert answer["FunctionError"] == "Unhandled" and json.loads(answer["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"


def test_functions_that_do_not_stream_answer_in_one_piece(server, name):
    code = "def handler(event, context):\n    if event.get('bad'):\n        raise ValueError('no')\n    return event\n"
    function(server, name, zipped(app__py=code))
    events = list(stream(server, name, {"n": 1}))
    assert events == [{"PayloadChunk": {"Payload": b'{"n": 1}'}}, {"InvokeComplete": {}}]
    data, complete = whole(stream(server, name, {"bad": 1}))
    assert data == b"" and complete["ErrorCode"] == "ValueError" and json.loads(complete["ErrorDetails"])["errorMessage"] == "no"
    functions = server.client("lambda")
    with refused("ResourceNotFoundException", 404):
        functions.invoke_with_response_stream(FunctionName=name + "x")
    assert functions.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with refused("TooManyRequestsException", 429):
        functions.invoke_with_response_stream(FunctionName=name)


def test_runtimes_of_ones_own_stream(server, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BOOTSTRAP)
    function(server, name, buffer.getvalue(), runtime="provided.al2023", handler="any")
    assert whole(stream(server, name, {"how": "well"})) == (b"one,two", {})
    data, complete = whole(stream(server, name, {"how": "fails"}))
    assert data == b"one,two" and complete["ErrorCode"] == "Mine" and json.loads(complete["ErrorDetails"])["errorMessage"] == "midway"
    assert server.client("lambda").invoke(FunctionName=name, Payload=b'{"how": "well"}')["Payload"].read() == b"one,two"


def ask(server, url, body):
    host, port = server.endpoint.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("POST", "/", body=json.dumps(body), headers={"Host": urllib.parse.urlparse(url).netloc, "Content-Type": "application/json"})
    return connection.getresponse()


def test_addresses_stream(server, streamer):
    functions = server.client("lambda")
    made = functions.create_function_url_config(FunctionName=streamer, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    assert made["InvokeMode"] == "RESPONSE_STREAM" == functions.get_function_url_config(FunctionName=streamer)["InvokeMode"]
    url = made["FunctionUrl"]
    server.client("s3").delete_object(Bucket=streamer, Key="go")
    head = {"statusCode": 202, "headers": {"Content-Type": "text/html", "X-One": "1"}, "cookies": ["a=1", "b=2"]}
    answer = ask(server, url, {"http": head, "parts": ["<p>", "WAIT", "</p>"]})
    assert (answer.status, answer.headers["Content-Type"], answer.headers["X-One"]) == (202, "text/html", "1")
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.read(3) == b"<p>"
    server.client("s3").put_object(Bucket=streamer, Key="go")
    assert answer.read() == b"</p>"
    answer = ask(server, url, {"parts": ["x"]})
    assert (answer.status, answer.headers["Content-Type"], answer.read()) == (200, "application/octet-stream", b"x")
    answer = ask(server, url, {"type": "text/plain", "last": "y"})
    assert (answer.headers["Content-Type"], answer.read()) == ("text/plain", b"y")
    answer = ask(server, url, {"http": {"statusCode": 204}})
    assert (answer.status, answer.read()) == (204, b"")
    for bad in [{"parts": ["FAIL"]}, {"http": {"statusCode": 200}, "parts": ["FAIL"]}, {"http": {"statusCode": "soon"}, "last": "x"},
                {"type": "application/vnd.awslambda.http-integration-response", "last": "no metadata"}]:
        answer = ask(server, url, bad)
        assert (answer.status, answer.read()) == (502, b"Internal Server Error"), bad
    server.client("s3").delete_object(Bucket=streamer, Key="go")
    answer = ask(server, url, {"parts": ["x", "WAIT", "FAIL"]})
    assert (answer.status, answer.read(1)) == (200, b"x")
    server.client("s3").put_object(Bucket=streamer, Key="go")
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    functions.update_function_url_config(FunctionName=streamer, InvokeMode="BUFFERED")
    assert ask(server, url, {"last": '"all"'}).read() == b'"all"'


def test_addresses_that_stream_show_plain_answers_as_they_are(server, name):
    function(server, name, zipped(index__mjs=HANDLER), runtime="nodejs20.x", handler="index.plain")
    url = server.client("lambda").create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")["FunctionUrl"]
    answer = ask(server, url, {})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.read())["statusCode"] == 201
    server.client("lambda").update_function_configuration(FunctionName=name, Handler="index.sync")
    _, complete = whole(stream(server, name, {}))
    assert "Streaming does not support non-async handlers." in complete["ErrorDetails"]
