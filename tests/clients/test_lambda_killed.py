"""Functions that are killed in the middle of an invocation, and a platform that is stopped there: what that counts as."""

import base64
import json
import os
import pathlib
import signal
import time
import urllib.request

import pytest
from support import function, table, zipped

# How a function dies: by a signal, or because it wants more memory than it has.
DEATHS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "memory": "hold = [bytearray(16 << 20) for _ in range(64)]",
}
KILLED = "Error: Runtime exited with error: signal: killed"


def dies(how, when="True"):
    return zipped(app__py=f"""
import os, signal
def handler(event, context):
    print("begun", context.aws_request_id)
    if {when}:
        {DEATHS[how]}
    return "survived"
""")


def begun(server, name):
    logs = server.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="begun")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"].split()[1] for event in events]


def advance(server, seconds):
    request = urllib.request.Request(f"{server.endpoint}/_tidemill/clock/advance/{seconds * 1000}", method="POST")
    urllib.request.urlopen(request, timeout=10).read()


def process_called(name):
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "comm").read_text().strip() == name:
                return int(folder.name)
        except OSError:
            pass
    return None


@pytest.mark.parametrize("how", DEATHS)
def test_the_caller_hears_of_an_unhandled_error(server, name, how):
    function(server, name, dies(how, "event.get('die')"), MemorySize=128)
    functions = server.client("lambda")
    answer = functions.invoke(FunctionName=name, Payload=b'{"die": true}', LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert (answer["StatusCode"], answer["FunctionError"], answer["ExecutedVersion"]) == (200, "Unhandled", "$LATEST")
    assert json.load(answer["Payload"]) == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} {KILLED}"}
    log = base64.b64decode(answer["LogResult"]).decode()
    kind = "Runtime.OutOfMemory" if how == "memory" else "Runtime.ExitError"
    assert f"\tStatus: error\tError Type: {kind}" in log and f"END RequestId: {request_id}" in log, log
    assert json.load(functions.invoke(FunctionName=name, Payload=b"{}")["Payload"]) == "survived", "in a sandbox that lives"


def test_a_process_killed_from_outside_counts_the_same(server, name, eventually):
    from concurrent.futures import ThreadPoolExecutor
    function(server, name, zipped(app__py=f"""
import ctypes, time
def handler(event, context):
    ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
    time.sleep(30)
"""), Timeout=40)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(server.client("lambda").invoke, FunctionName=name)
        os.kill(eventually(lambda: process_called(name)), signal.SIGKILL)
        answer = call.result()
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = json.load(answer["Payload"])
    assert error["errorType"] == "Runtime.ExitError" and error["errorMessage"].endswith(KILLED)


@pytest.mark.parametrize("how", DEATHS)
def test_an_event_is_retried_twice_and_then_told(private_server, name, how, eventually):
    server = private_server
    functions, queues = server.client("lambda"), server.client("sqs")
    queue = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function(server, name, dies(how), MemorySize=128)
    functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    eventually(lambda: len(begun(server, name)) == 1)

    def a_minute_later(attempts):
        advance(server, 61)
        time.sleep(0.3)
        return len(begun(server, name)) >= attempts

    for attempts in (2, 3):
        eventually(lambda: a_minute_later(attempts))
    [message] = eventually(lambda: queues.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))
    record = json.loads(message["Body"])
    assert len(set(begun(server, name))) == 1, "each attempt has the id of the first"
    assert (record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"]) == ("RetriesExhausted", 3)
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert record["responsePayload"]["errorType"] == "Runtime.ExitError"
    assert record["responsePayload"]["errorMessage"].endswith(KILLED)


def test_a_message_comes_again(server, name, eventually):
    queues, functions = server.client("sqs"), server.client("lambda")
    queue = queues.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "10"})["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function(server, name, dies("killed", "event['Records'][0]['attributes']['ApproximateReceiveCount'] == '1'"))
    functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name)
    queues.send_message(QueueUrl=queue, MessageBody="x")
    eventually(lambda: len(begun(server, name)) == 2, seconds=40)
    counts = lambda: queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    eventually(lambda: counts()["ApproximateNumberOfMessages"] == counts()["ApproximateNumberOfMessagesNotVisible"] == "0")


def test_a_stop_of_the_platform_takes_no_attempt_from_a_record(private_server, name, eventually):
    """Without retries, a record whose batch fails once is given up."""
    server = private_server
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    table(server, name + "-seen")
    function(server, name, zipped(app__py=f"""
import boto3, time
seen = boto3.resource("dynamodb").Table("{name}-seen")
def handler(event, context):
    time.sleep(0.2)
    for record in event["Records"]:
        seen.put_item(Item={{"id": record["dynamodb"]["Keys"]["id"]["S"]}})
"""))
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    server.client("lambda").create_event_source_mapping(
        EventSourceArn=stream, FunctionName=name, StartingPosition="TRIM_HORIZON", BatchSize=1, MaximumRetryAttempts=0)
    keys = {f"key-{number}" for number in range(12)}
    for key in keys:
        tables.put_item(TableName=name, Item={"id": {"S": key}})
    seen = lambda: {item["id"]["S"] for item in tables.scan(TableName=name + "-seen", ConsistentRead=True)["Items"]}
    for stops in (1, 4):
        eventually(lambda: len(seen()) >= stops)
        server.stop()
        server.start()
    eventually(lambda: seen() == keys)
