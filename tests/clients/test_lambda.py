"""Lambda: functions, invocations, their logs, functions that misbehave."""

import base64
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

from support import function, refused, zipped

ECHO = zipped(app__py="def handler(event, context):\n    print('seen', event)\n    return {'event': event, 'id': context.aws_request_id}\n")


def invoke(server, name, payload=b"{}", **more):
    answer = server.client("lambda").invoke(FunctionName=name, Payload=payload, **more)
    return answer, json.loads(answer["Payload"].read() or "null")


def test_a_function_answers_and_logs(server, name, eventually):
    function(server, name, ECHO)
    answer, body = invoke(server, name, b'{"a": 1}', LogType="Tail")
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST" and body["event"] == {"a": 1}
    assert body["id"] == answer["ResponseMetadata"]["RequestId"]
    log = base64.b64decode(answer["LogResult"]).decode()
    assert f"START RequestId: {body['id']} Version: $LATEST" in log and "REPORT RequestId:" in log
    events = lambda: server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="seen")["events"]
    assert eventually(events)[0]["message"].startswith("seen")


def test_errors_have_lambdas_shape(server, name):
    function(server, name, zipped(app__py="def handler(event, context):\n    raise ValueError('no good')\n"))
    answer, body = invoke(server, name)
    assert answer["FunctionError"] == "Unhandled"
    assert body["errorType"] == "ValueError" and body["errorMessage"] == "no good" and body["stackTrace"]


def test_a_function_that_hangs_is_ended(server, name):
    function(server, name, zipped(app__py="import time\ndef handler(event, context):\n    time.sleep(60)\n"), Timeout=1)
    answer, body = invoke(server, name)
    assert answer["FunctionError"] == "Unhandled" and "Task timed out after 1.00 seconds" in body["errorMessage"]


def test_a_function_that_exits_is_replaced(server, name):
    function(server, name, zipped(app__py="import os\ndef handler(event, context):\n    if event.get('die'): os._exit(1)\n    return 'alive'\n"))
    answer, body = invoke(server, name, b'{"die": true}')
    assert body["errorType"] == "Runtime.ExitError" and "exit status 1" in body["errorMessage"]
    assert invoke(server, name)[1] == "alive"


def test_node_and_custom_runtimes(server, name):
    function(server, name, zipped(index__mjs="export const handler = async (event) => ({ got: event.n + 1 });\n"), runtime="nodejs20.x", handler="index.handler")
    assert invoke(server, name, b'{"n": 1}')[1] == {"got": 2}


def test_archives_that_lead_out_are_refused(server, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil", "x")
    with refused("InvalidParameterValueException", 400):
        function(server, name, buffer.getvalue())
    with refused("InvalidParameterValueException", 400):
        function(server, name + "2", b"not a zip")


def test_what_does_not_exist_is_named(server, name):
    with refused("ResourceNotFoundException", 404) as info:
        invoke(server, name)
    assert info.value.response["Error"]["Message"] == f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}"


def test_versions_and_aliases(server, name):
    function(server, name, ECHO)
    functions = server.client("lambda")
    assert functions.publish_version(FunctionName=name)["Version"] == "1"
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert functions.invoke(FunctionName=name, Qualifier="live", Payload=b"{}")["ExecutedVersion"] == "1"


def test_an_asynchronous_invocation_runs(server, name, eventually):
    function(server, name, ECHO)
    answer, _ = invoke(server, name, b'{"later": 1}', InvocationType="Event")
    assert answer["StatusCode"] == 202

    def logged():
        groups = server.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
        return groups and server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="later")["events"]

    assert eventually(logged)


def test_the_first_invocations_may_come_together(server, name):
    """Each of them finds the code not unpacked yet."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
        for number in range(1500):
            archive.writestr(f"parts/{number}.txt", "x")
    function(server, name, data.getvalue())
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: invoke(server, name, str(number).encode()), range(8)))
    assert [payload for _, payload in answers] == list(range(8))
