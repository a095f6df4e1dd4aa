"""Asynchronous invocations: destinations on success and failure, dead-letter queues, retries on the turnable clock."""

import json
import re
import subprocess
import urllib.request

import boto3
import pytest
from botocore.config import Config
from conftest import BINARY

from support import function, refused, zipped

ANSWERS = zipped(app__py="def handler(event, context):\n    return {'got': event['n']}\n")
FAILS = zipped(app__py="def handler(event, context):\n    raise ValueError('no ' + str(event['n']))\n")


@pytest.fixture
def queue(server, name):
    queues = server.client("sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def take():
        answer = queues.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"])
        return answer.get("Messages")

    return arn, take


def test_a_success_is_told_to_its_destination(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    function(server, name, ANSWERS)
    functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}})
    assert functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')["StatusCode"] == 202
    [message] = eventually(take)
    record = json.loads(message["Body"])
    assert record["version"] == "1.0" and record["requestPayload"] == {"n": 1} and record["responsePayload"] == {"got": 1}
    assert record["requestContext"]["condition"] == "Success" and record["requestContext"]["approximateInvokeCount"] == 1
    assert record["requestContext"]["functionArn"].endswith(f":function:{name}:$LATEST")
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}


def test_a_last_failure_is_told_to_its_destination(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    function(server, name, FAILS)
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0,
                                               DestinationConfig={"OnFailure": {"Destination": arn}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 2}')
    [message] = eventually(take)
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted" and record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "no 2" and record["responsePayload"]["errorType"] == "ValueError"


def test_without_a_destination_the_dead_letter_queue_gets_the_event(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    function(server, name, FAILS, DeadLetterConfig={"TargetArn": arn})
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 3}')
    [message] = eventually(take)
    assert json.loads(message["Body"]) == {"n": 3}
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes["ErrorCode"] == "200" and attributes["ErrorMessage"] == "no 3" and len(attributes["RequestID"]) == 36


HOME = "arn:aws:lambda:us-east-1:000000000000:function"
EC2 = "arn:aws:ec2:us-east-1:000000000000:x"


@pytest.mark.parametrize("wanted, code, message", [
    ({}, "InvalidParameterValueException", "You must specify at least one of error handling or destination setting."),
    ({"MaximumRetryAttempts": 3}, "ValidationException", "1 validation error detected: Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 2"),
    ({"MaximumEventAgeInSeconds": 59}, "ValidationException", None),
    ({"MaximumEventAgeInSeconds": 21601}, "ValidationException", None),
    ({"DestinationConfig": {"OnSuccess": {"Destination": EC2}}}, "InvalidParameterValueException",
     f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={EC2}), onFailure=null) is invalid."),
    ({"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:s3:::b"}}}, "InvalidParameterValueException",
     "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:s3:::b), onFailure=null) is invalid."),
    ({"DestinationConfig": {"OnFailure": {"Destination": "NAME"}}}, "InvalidParameterValueException", "You can't specify the function as a destination for itself."),
    ({"DestinationConfig": {"OnFailure": {"Destination": "NAME-2"}}}, "InvalidParameterValueException", "The destination ARN NAME-2 is invalid."),
])
def test_settings_that_cannot_be_are_refused(server, name, wanted, code, message):
    functions = boto3.client("lambda", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test",
                             config=Config(parameter_validation=False))
    function(server, name, ANSWERS)
    fill = lambda text: text.replace("NAME", f"{HOME}:{name}")
    for change in (functions.put_function_event_invoke_config, functions.update_function_event_invoke_config):
        with refused(code, 400) as info:
            change(FunctionName=name, **json.loads(fill(json.dumps(wanted))))
        assert message is None or info.value.response["Error"]["Message"] == fill(message)
    with refused("ResourceNotFoundException", 404) as info:
        functions.get_function_event_invoke_config(FunctionName=name)
    assert info.value.response["Error"]["Message"] == f"The function {HOME}:{name}:$LATEST doesn't have an EventInvokeConfig"


def test_an_update_changes_what_it_names(server, name, queue):
    functions, (arn, _) = server.client("lambda"), queue
    function(server, name, ANSWERS)
    both = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    made = functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, DestinationConfig=both)
    assert {key: made[key] for key in made if key not in ("ResponseMetadata", "LastModified")} == {
        "FunctionArn": f"{HOME}:{name}:$LATEST", "MaximumRetryAttempts": 1, "DestinationConfig": both}
    changed = functions.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"], changed["DestinationConfig"]) == (1, 60, both)
    changed = functions.update_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}})
    assert changed["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": arn}} and changed["MaximumRetryAttempts"] == 1
    put = functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert "MaximumEventAgeInSeconds" not in put and put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}


def test_settings_of_functions_that_are_not_there(server, name):
    functions = server.client("lambda")
    for ask in (lambda: functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1),
                lambda: functions.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1),
                lambda: functions.list_function_event_invoke_configs(FunctionName=name)):
        with refused("ResourceNotFoundException", 404) as info:
            ask()
        assert info.value.response["Error"]["Message"] == "The function doesn't exist."
    for ask in (functions.get_function_event_invoke_config, functions.delete_function_event_invoke_config):
        with refused("ResourceNotFoundException", 404) as info:
            ask(FunctionName=name)
        assert info.value.response["Error"]["Message"] == f"The function {HOME}:{name}:$LATEST doesn't have an EventInvokeConfig"


def test_topics_get_records(server, name, queue, eventually):
    functions, topics, (arn, take) = server.client("lambda"), server.client("sns"), queue
    topic = topics.create_topic(Name=name)["TopicArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    function(server, name, ANSWERS)
    functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": topic}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 5}')
    [message] = eventually(take)
    assert json.loads(message["Body"])["responsePayload"] == {"got": 5}


@pytest.mark.parametrize("code, result", [(ANSWERS, "Success"), (FAILS, "Failure")])
def test_buses_get_events(server, name, queue, eventually, code, result):
    functions, events, (arn, take) = server.client("lambda"), server.client("events"), queue
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": ["lambda"], "detail": {"version": ["1.0"]}}))
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
    function(server, name, code)
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={
        "OnSuccess": {"Destination": bus}, "OnFailure": {"Destination": bus}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 6}')
    [message] = eventually(take)
    event = json.loads(message["Body"])
    assert event["detail-type"] == f"Lambda Function Invocation Result - {result}" and event["source"] == "lambda"
    assert event["resources"] == [bus, f"{HOME}:{name}:$LATEST"] and event["account"] == "000000000000"
    assert event["detail"]["requestPayload"] == {"n": 6} and event["detail"]["requestContext"]["condition"] in ("Success", "RetriesExhausted")


def test_buckets_get_failures(server, name, eventually):
    functions, objects = server.client("lambda"), server.client("s3")
    objects.create_bucket(Bucket=name)
    function(server, name, FAILS)
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{name}"}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 7}')
    [found] = eventually(lambda: objects.list_objects_v2(Bucket=name).get("Contents"))
    assert re.fullmatch(rf"aws/lambda/async/{name}/\d{{4}}/\d\d/\d\d/[-\d]{{10}}T\d\d\.\d\d\.\d\d-[-0-9a-f]{{36}}", found["Key"])
    record = json.loads(objects.get_object(Bucket=name, Key=found["Key"])["Body"].read())
    assert record["requestContext"]["condition"] == "RetriesExhausted" and record["responsePayload"]["errorMessage"] == "no 7"


def test_destination_and_dead_letter_queue_are_both_told(server, name, queue, eventually):
    functions, queues, (arn, take) = server.client("lambda"), server.client("sqs"), queue
    url = queues.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    dead = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function(server, name, FAILS, DeadLetterConfig={"TargetArn": dead})
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 8}')
    [told], [letter] = eventually(take), eventually(lambda: queues.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))
    assert json.loads(told["Body"])["requestPayload"] == json.loads(letter["Body"]) == {"n": 8}


def test_records_name_the_version_that_ran(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    function(server, name, FAILS)
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.put_function_event_invoke_config(FunctionName=name, Qualifier="live", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn}})
    functions.invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload=b'{"n": 9}')
    [message] = eventually(take)
    record = json.loads(message["Body"])
    assert list(record) == ["version", "timestamp", "requestContext", "requestPayload", "responseContext", "responsePayload"]
    assert record["requestContext"]["functionArn"] == f"{HOME}:{name}:live"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "1", "functionError": "Unhandled"}


def test_events_that_grow_too_old_are_told_with_the_last_answer(private_server, name, eventually):
    functions, queues = private_server.client("lambda"), private_server.client("sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function(private_server, name, FAILS)
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2, MaximumEventAgeInSeconds=100, DestinationConfig={"OnFailure": {"Destination": arn}})
    event = functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 10}')["ResponseMetadata"]["RequestId"]
    journey = lambda: json.load(urllib.request.urlopen(f"{private_server.endpoint}/_tidemill/journey/{event}", timeout=10))
    eventually(lambda: any(step["step"] == "failed" for step in journey()))

    def told():
        subprocess.run([BINARY, "--endpoint", private_server.endpoint, "clock", "advance", "61s"], check=True, capture_output=True)
        return queues.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")

    [message] = eventually(told)
    record = json.loads(message["Body"])
    assert (record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"]) == ("EventAgeExceeded", 2)
    assert record["responsePayload"]["errorMessage"] == "no 10" and record["responseContext"]["functionError"] == "Unhandled"


def test_a_stopped_loop_is_a_dead_letter(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    code = "import boto3\ndef handler(event, context):\n    boto3.client('lambda').invoke(FunctionName=context.function_name, InvocationType='Event', Payload='{\"again\": 1}')\n"
    function(server, name, zipped(app__py=code), DeadLetterConfig={"TargetArn": arn}, TracingConfig={"Mode": "Active"})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"again": 0}')
    [message] = eventually(take)
    assert json.loads(message["Body"]) == {"again": 1}
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes["ErrorCode"] == "400" and "recursive" in attributes["ErrorMessage"].lower()


def test_a_function_with_no_concurrency_gives_its_events_up_at_once(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    function(server, name, ANSWERS)
    functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}})
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 11}')
    [message] = eventually(take)
    record = json.loads(message["Body"])
    assert (record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"]) == ("ZeroReservedConcurrency", 0)
    assert record["requestPayload"] == {"n": 11} and not {"responseContext", "responsePayload"} & set(record)


def test_functions_are_destinations_too(server, name, queue, eventually):
    functions, (arn, take) = server.client("lambda"), queue
    second = function(server, name + "-2", zipped(app__py="def handler(event, context):\n    return event['responsePayload']\n"))
    function(server, name, ANSWERS)
    functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": second}})
    functions.put_function_event_invoke_config(FunctionName=name + "-2", DestinationConfig={"OnSuccess": {"Destination": arn}})
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 4}')
    [message] = eventually(take)
    assert json.loads(message["Body"])["responsePayload"] == {"got": 4}


def test_what_functions_reserve_is_missing_to_the_others(private_server, name):
    functions = private_server.client("lambda")
    function(private_server, name, ANSWERS)
    function(private_server, name + "-2", ANSWERS)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=900)
    limit = functions.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (1000, 100)
    with refused("InvalidParameterValueException", 400):
        functions.put_function_concurrency(FunctionName=name + "-2", ReservedConcurrentExecutions=1)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with refused("TooManyRequestsException", 429) as raised:
        functions.invoke(FunctionName=name)
    assert raised.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert json.loads(functions.invoke(FunctionName=name + "-2", Payload=b'{"n": 1}')["Payload"].read()) == {"got": 1}


def test_runtimes_are_managed_as_far_as_there_is_anything_to_manage(server, name):
    functions = server.client("lambda")
    function(server, name, ANSWERS)
    assert functions.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    functions.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert functions.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"
    with refused("InvalidParameterValueException", 400):
        functions.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual")
