"""Invocations as HTTP: headers, sentences, limits, the client context, and the older asynchronous call."""

import base64
import http.client
import json
import re

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from support import function, zipped

CODE = zipped(app__py="""
import time
def handler(event, context):
    if event == 'raise':
        raise ValueError('no')
    if event == 'sleep':
        time.sleep(5)
    if event == 'large':
        return 'x' * (6 << 20) + 'x' * 200
    if event == 'context':
        given = context.client_context
        return given and [given.custom, given.env, given.client and given.client.app_title]
    return event
""")


class Invoked:
    """A function, and signed requests about it."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        function(server, name, CODE, Timeout=2)

    def ask(self, body, query="", path="/2015-03-31/functions/{}/invocations", **headers):
        path = path.format(self.name) + query
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = botocore.awsrequest.AWSRequest("POST", self.server.endpoint + path, data=body, headers=headers)
        botocore.auth.SigV4Auth(botocore.credentials.Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
        host, port = self.server.endpoint.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("POST", path, body=body, headers=dict(request.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content


@pytest.fixture
def invoked(server, name):
    return Invoked(server, name)


def test_answers_carry_lambdas_headers(invoked):
    answer, body = invoked.ask(b'{"a": 1}', X_Amzn_Trace_Id="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    assert (answer.status, json.loads(body), answer.headers["content-type"]) == (200, {"a": 1}, "application/json")
    assert answer.headers["x-amz-executed-version"] == "$LATEST" and answer.headers["x-amzn-remapped-content-length"] == "0"
    assert answer.headers["x-amzn-trace-id"] == "root=1-5759e988-bd862e3fe1be46a994272793;sampled=1"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-amzn-requestid"])
    assert "x-amz-function-error" not in answer.headers and "x-amz-log-result" not in answer.headers
    answer, body = invoked.ask(b'"raise"', X_Amz_Log_Type="Tail")
    assert (answer.status, answer.headers["x-amz-function-error"], json.loads(body)["requestId"]) == (200, "Unhandled", answer.headers["x-amzn-requestid"])
    log = base64.b64decode(answer.headers["x-amz-log-result"]).decode()
    assert log.startswith(f"START RequestId: {answer.headers['x-amzn-requestid']} Version: $LATEST\n") and "ValueError: no" in log
    answer, body = invoked.ask(b"{}", X_Amz_Invocation_Type="Event")
    assert (answer.status, body, answer.headers["x-amzn-remapped-content-length"]) == (202, b"", "0") and "content-type" not in answer.headers
    answer, body = invoked.ask(b"{}", X_Amz_Invocation_Type="DryRun")
    assert (answer.status, body) == (204, b"") and "x-amz-executed-version" not in answer.headers


def test_what_takes_too_long_or_is_too_much(invoked):
    answer, body = invoked.ask(b'"sleep"')
    request = answer.headers["x-amzn-requestid"]
    assert (answer.status, answer.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert json.loads(body) == {"errorType": "Sandbox.Timedout", "errorMessage": f"RequestId: {request} Error: Task timed out after 2.00 seconds"}
    answer, body = invoked.ask(b'"large"')
    assert answer.headers["x-amz-function-error"] == "Unhandled"
    assert json.loads(body) == {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes)."}


def limit(kind, size, most):
    return f"{size} byte payload is too large for the {kind} invocation type (limit {most} bytes)"


@pytest.mark.parametrize("body, headers, query, status, code, message", [
    (b"{", {}, "", 400, "InvalidRequestContentException", "Could not parse request body into json: Could not parse payload into json: "),
    (b"{'a': 1}", {"X_Amz_Invocation_Type": "Event"}, "", 400, "InvalidRequestContentException", "Could not parse request body into json: "),
    (b"\xff", {}, "", 400, "InvalidRequestContentException", "Could not parse request body into json: "),
    (b"{}x", {}, "", 400, "InvalidRequestContentException", "Could not parse request body into json: "),
    (b'"' + b"x" * 6_291_455 + b'"', {}, "", 413, "RequestTooLargeException", limit("RequestResponse", 6_291_457, 6_291_456)),
    (b'"' + b"x" * 1_048_575 + b'"', {"X_Amz_Invocation_Type": "Event"}, "", 413, "RequestTooLargeException", limit("Event", 1_048_577, 1_048_576)),
    (b"{}", {"X_Amz_Invocation_Type": "Later"}, "", 400, "ValidationException",
     "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"),
    (b"{}", {"X_Amz_Log_Type": "All"}, "", 400, "ValidationException", "1 validation error detected: Value 'All' at 'logType'"),
    (b"{}", {}, "?Qualifier=7", 404, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:NAME:7"),
    (b"{}", {"X_Amz_Invocation_Type": "DryRun"}, "?Qualifier=none", 404, "ResourceNotFoundException", "Function not found: "),
    (b"{}", {"X_Amz_Invocation_Type": "Event"}, "?Qualifier=none", 404, "ResourceNotFoundException", "Function not found: "),
    (b"{}", {}, "?Qualifier=a!", 400, "ValidationException", "1 validation error detected: Value 'a!' at 'qualifier'"),
    (b"{}", {"X_Amz_Client_Context": "e"}, "", 400, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."),
    (b"{}", {"X_Amz_Client_Context": "NQ=="}, "", 400, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object."),
    (b"{}", {"X_Amz_Client_Context": "NQ==", "X_Amz_Invocation_Type": "Event"}, "", 400, "InvalidRequestContentException", "Client context must be"),
])
def test_what_is_no_invocation_is_refused(invoked, body, headers, query, status, code, message):
    answer, said = invoked.ask(body, query, **headers)
    said = json.loads(said)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (status, code), said
    assert said.get("message", said.get("Message")).startswith(message.replace("NAME", invoked.name))


def test_the_client_context_reaches_both_kinds_of_invocations(server, invoked, eventually):
    given = base64.b64encode(b'{"custom": {"a": 1}, "env": {"b": "2"}, "client": {"app_title": "title"}}').decode()
    answer, body = invoked.ask(b'"context"', X_Amz_Client_Context=given)
    assert json.loads(body) == [{"a": 1}, {"b": "2"}, "title"]
    assert invoked.ask(b'"context"')[1] == b"null"
    queues = server.client("sqs")
    url = queues.create_queue(QueueName=invoked.name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    server.client("lambda").put_function_event_invoke_config(FunctionName=invoked.name, DestinationConfig={"OnSuccess": {"Destination": arn}})
    invoked.ask(b'"context"', X_Amz_Client_Context=given, X_Amz_Invocation_Type="Event")
    [message] = eventually(lambda: queues.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))
    assert json.loads(message["Body"])["responsePayload"] == [{"a": 1}, {"b": "2"}, "title"]


def test_the_older_asynchronous_call(invoked):
    older = "/2014-11-13/functions/{}/invoke-async/"
    assert invoked.ask(b"{}", path=older)[0].status == 202
    for body, status, code in [(b"{", 400, "InvalidRequestContentException"), (b'"' + b"x" * 1_048_575 + b'"', 413, "RequestTooLargeException")]:
        answer, _ = invoked.ask(body, path=older)
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (status, code)
    answer, _ = invoked.ask(b"{}", path="/2014-11-13/functions/none-{}/invoke-async/")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (404, "ResourceNotFoundException")


def test_a_throttled_function_takes_events_and_dry_runs_only(server, invoked):
    server.client("lambda").put_function_concurrency(FunctionName=invoked.name, ReservedConcurrentExecutions=0)
    answer, body = invoked.ask(b"{}")
    assert (answer.status, json.loads(body)) == (429, {"Type": "User", "message": "Rate Exceeded.", "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"})
    assert [invoked.ask(b"{}", X_Amz_Invocation_Type=kind)[0].status for kind in ("Event", "DryRun")] == [202, 204]
