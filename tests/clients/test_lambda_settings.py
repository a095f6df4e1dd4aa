"""Settings of functions and mappings: recursive loops, logging, tags."""

import json

import pytest
from support import function, refused, zipped

# Calls itself again: through its queue, or by invoking itself. Counts in its log how often.
LOOPING = """
import json, os, boto3
def handler(event, context):
    print("pass")
    if "Records" in event:
        boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody="again")
    elif event["how"] == "invoke":
        answer = boto3.client("lambda").invoke(FunctionName=context.function_name, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())
    elif event["n"]:
        event = {**event, "n": event["n"] - 1}
        boto3.client("lambda").invoke(FunctionName=context.function_name, InvocationType="Event", Payload=json.dumps(event))
"""


def lines(server, name):
    logs, group = server.client("logs"), f"/aws/lambda/{name}"
    try:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        return [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def passes(server, name):
    return lines(server, name).count("pass\n")


@pytest.fixture
def queue(server, name):
    queues = server.client("sqs")
    url = queues.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    return url, queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def test_a_loop_of_invocations_is_ended(server, name, queue, eventually):
    url, arn = queue
    function(server, name, zipped(app__py=LOOPING), DeadLetterConfig={"TargetArn": arn}, Timeout=30)
    lambdas = server.client("lambda")
    assert lambdas.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    lambdas.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"how": "event", "n": 100}))
    [dead] = eventually(lambda: server.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages"))
    assert json.loads(dead["Body"])["n"] == 84, "the seventeenth pass was not run"
    assert passes(server, name) == 16
    answer = lambdas.invoke(FunctionName=name, Payload=json.dumps({"how": "invoke"}))
    assert "RecursiveInvocationException" in answer["Payload"].read().decode()
    assert lambdas.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    lambdas.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"how": "event", "n": 20}))
    eventually(lambda: passes(server, name) == 16 + 16 + 21)
    with refused("ResourceNotFoundException", 404):
        lambdas.get_function_recursion_config(FunctionName=name + "x")


def test_a_loop_through_a_queue_is_ended(server, name, queue, eventually):
    url, arn = queue
    function(server, name, zipped(app__py=LOOPING), Environment={"Variables": {"QUEUE": url}})
    server.client("lambda").create_event_source_mapping(EventSourceArn=arn, FunctionName=name)
    server.client("sqs").send_message(QueueUrl=url, MessageBody="first")
    counts = lambda: server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    eventually(lambda: passes(server, name) == 16)
    eventually(lambda: counts()["ApproximateNumberOfMessagesNotVisible"] == "1" and counts()["ApproximateNumberOfMessages"] == "0")
    assert passes(server, name) == 16, "the message stays in its queue"
    server.client("lambda").delete_function(FunctionName=name)


def test_mappings_carry_tags(server, name, queue):
    function(server, name, zipped(app__py="def handler(event, context): pass\n"))
    lambdas = server.client("lambda")
    arn = lambdas.create_event_source_mapping(EventSourceArn=queue[1], FunctionName=name, Tags={"a": "1"})["EventSourceMappingArn"]
    assert lambdas.list_tags(Resource=arn)["Tags"] == {"a": "1"}
    lambdas.tag_resource(Resource=arn, Tags={"b": "2"})
    lambdas.untag_resource(Resource=arn, TagKeys=["a"])
    assert lambdas.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    for wrong in ({str(n): "" for n in range(60)}, {"aws:x": "1"}):
        with refused("InvalidParameterValueException", 400):
            lambdas.tag_resource(Resource=arn, Tags=wrong)
    with refused("ResourceNotFoundException", 404):
        lambdas.list_tags(Resource=arn[:-12] + "000000000000")


PYTHON = """
import logging
log = logging.getLogger()
def handler(event, context):
    log.debug("hidden")
    log.info("told %s", 1, extra={"order": 7})
    if event.get("bad"):
        raise ValueError("no")
"""
NODE = """
export const handler = async (event) => {
  console.debug('hidden');
  console.info('told', 1);
  console.error(new TypeError('wrong'));
};
"""


def records(server, name):
    return [json.loads(line) for line in lines(server, name)]


def test_python_logs_in_json(server, name, eventually):
    function(server, name, zipped(app__py=PYTHON), LoggingConfig={"LogFormat": "JSON"})
    lambdas = server.client("lambda")
    config = lambdas.get_function_configuration(FunctionName=name)["LoggingConfig"]
    assert (config["LogFormat"], config["ApplicationLogLevel"], config["SystemLogLevel"]) == ("JSON", "INFO", "INFO")
    lambdas.invoke(FunctionName=name)
    eventually(lambda: len(lines(server, name)) == 4)
    begun, start, told, report = records(server, name)
    assert begun["type"] == "platform.initStart" and begun["record"]["functionName"] == name
    assert start["type"] == "platform.start" and start["record"]["version"] == "$LATEST"
    assert (told["level"], told["message"], told["order"], told["requestId"]) == ("INFO", "told 1", 7, start["record"]["requestId"])
    assert report["type"] == "platform.report" and report["record"]["status"] == "success" and report["record"]["metrics"]["memorySizeMB"] == 128
    lambdas.invoke(FunctionName=name, Payload=b'{"bad": 1}')
    eventually(lambda: len(lines(server, name)) == 9)
    error, done, report = records(server, name)[6:]
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no")
    assert done["type"] == "platform.runtimeDone" and report["record"]["status"] == done["record"]["status"] == "error"


def test_levels_are_honoured(server, name, eventually):
    levels = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "DEBUG"}
    function(server, name, zipped(index__mjs=NODE), runtime="nodejs20.x", handler="index.handler", LoggingConfig=levels)
    lambdas = server.client("lambda")
    lambdas.invoke(FunctionName=name)
    eventually(lambda: any("platform.report" in line for line in lines(server, name)))
    told = records(server, name)
    [error] = [entry for entry in told if "level" in entry]
    assert (error["level"], error["message"]["errorType"], error["message"]["errorMessage"]) == ("ERROR", "TypeError", "wrong")
    assert [entry["type"] for entry in told if "type" in entry] == [
        "platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.start", "platform.runtimeDone", "platform.report"]
    lambdas.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "TRACE", "SystemLogLevel": "WARN"})
    before = len(lines(server, name))
    lambdas.invoke(FunctionName=name)
    eventually(lambda: len(lines(server, name)) == before + 3)
    assert [entry["level"] for entry in records(server, name)[before:]] == ["DEBUG", "INFO", "ERROR"]


def test_runtimes_of_ones_own_are_filtered_by_the_platform(server, name, eventually):
    code = "import json\ndef handler(event, context):\n    for level in ('DEBUG', 'WARN'):\n        print(json.dumps({'level': level}))\n    print('plain')\n"
    function(server, name, zipped(app__py=code), LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "WARN"})
    server.client("lambda").invoke(FunctionName=name)
    eventually(lambda: lines(server, name))
    assert lines(server, name) == ['{"level": "WARN"}\n'], "what has no level is information"


def test_logging_that_cannot_be(server, name):
    function(server, name, zipped(app__py=PYTHON))
    lambdas = server.client("lambda")
    for wrong in ({"LogFormat": "Text", "ApplicationLogLevel": "INFO"}, {"SystemLogLevel": "WARN"}):
        with refused("InvalidParameterValueException", 400):
            lambdas.update_function_configuration(FunctionName=name, LoggingConfig=wrong)
    lambdas.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": "/mine"})
    config = lambdas.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "Text"})["LoggingConfig"]
    assert config == {"LogFormat": "Text", "LogGroup": "/mine"}
