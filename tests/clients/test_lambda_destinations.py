"""Asynchronous invocations: destinations on success and failure, dead-letter queues, retries on the turnable clock."""

import json

import pytest

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


def test_destinations_that_nothing_delivers_to_are_refused(server, name):
    functions = server.client("lambda")
    function(server, name, ANSWERS)
    with refused("NotImplemented", 501):
        functions.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": "arn:aws:ec2:us-east-1:000000000000:x"}})
    with refused("ResourceNotFoundException", 404):
        functions.get_function_event_invoke_config(FunctionName=name)


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
