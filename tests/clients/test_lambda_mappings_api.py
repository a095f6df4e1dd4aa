"""The API of event source mappings: what answers carry, what is refused and in which words."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError
from support import function, refused, table, zipped

CODE = zipped(app__py="def handler(event, context):\n    return None\n")
HOME = "arn:aws:lambda:us-east-1:000000000000"
ORDER = '{"body": {"kind": ["order"]}}'


@pytest.fixture
def functions(server):
    # The SDK sends what it is told: what it would refuse by itself reaches the platform too.
    return boto3.client("lambda", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test",
                        config=Config(parameter_validation=False, retries={"max_attempts": 0}))


class Sources:
    """A function, a queue of each kind and a stream, all of one name."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.function = function(server, name, CODE, Timeout=5)
        self.queue, self.fifo = self.make(name), self.make(f"{name}.fifo", FifoQueue="true")
        tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
        self.stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]

    def make(self, name, **attributes):
        queues = self.server.client("sqs")
        url = queues.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.fixture
def sources(server, name):
    return Sources(server, name)


def without(answer, *names):
    return {key: value for key, value in answer.items() if key not in ("ResponseMetadata", "LastModified", *names)}


def test_a_mapping_of_a_queue_carries_what_lambdas_carry(functions, sources, name, eventually):
    made = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue)
    uuid = made["UUID"]
    always = {
        "UUID": uuid, "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "EventSourceArn": sources.queue, "FunctionArn": sources.function,
        "StateTransitionReason": "USER_INITIATED", "FunctionResponseTypes": [], "EventSourceMappingArn": f"{HOME}:event-source-mapping:{uuid}",
    }
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert without(made) == {**always, "State": "Creating"}
    got = functions.get_event_source_mapping(UUID=uuid)
    assert without(got) == {**always, "State": "Enabled"} and got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert [without(one) for one in functions.list_event_source_mappings(EventSourceArn=sources.queue)["EventSourceMappings"]] == [without(got)]
    change = lambda **settings: functions.update_event_source_mapping(UUID=uuid, **settings)
    assert without(change(Enabled=False)) == {**always, "State": "Disabling"}
    assert without(change(BatchSize=5)) == {**always, "BatchSize": 5, "State": "Updating"}
    assert functions.get_event_source_mapping(UUID=uuid)["State"] == "Disabled"
    assert without(change(Enabled=True, BatchSize=10)) == {**always, "State": "Enabling"}
    limited = change(ScalingConfig={"MaximumConcurrency": 2}, FunctionResponseTypes=["ReportBatchItemFailures"], FilterCriteria={"Filters": [{"Pattern": ORDER}]})
    assert without(limited) == {**always, "State": "Updating", "ScalingConfig": {"MaximumConcurrency": 2},
                                "FunctionResponseTypes": ["ReportBatchItemFailures"], "FilterCriteria": {"Filters": [{"Pattern": ORDER}]}}
    assert without(change(ScalingConfig={}, FunctionResponseTypes=[], FilterCriteria={})) == {**always, "State": "Updating"}
    gone = functions.delete_event_source_mapping(UUID=uuid)
    assert without(gone) == {**always, "State": "Deleting"} and gone["ResponseMetadata"]["HTTPStatusCode"] == 202


def test_a_mapping_of_a_stream_carries_what_lambdas_carry(functions, sources, name):
    made = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.stream, StartingPosition="LATEST")
    uuid = made["UUID"]
    assert without(made) == {
        "UUID": uuid, "StartingPosition": "LATEST", "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1,
        "EventSourceArn": sources.stream, "FunctionArn": sources.function, "LastProcessingResult": "No records processed", "State": "Creating",
        "StateTransitionReason": "User action", "DestinationConfig": {"OnFailure": {}}, "MaximumRecordAgeInSeconds": -1,
        "BisectBatchOnFunctionError": False, "MaximumRetryAttempts": -1, "TumblingWindowInSeconds": 0, "FunctionResponseTypes": [],
        "EventSourceMappingArn": f"{HOME}:event-source-mapping:{uuid}",
    }
    assert functions.get_event_source_mapping(UUID=uuid)["State"] == "Enabled"


def unsupported(name):
    return f"Unsupported {name} parameter for given event source mapping type."


ELSEWHERE = [
    ({"Topics": ["topic"]}, "Topics"),
    ({"Queues": ["queue"]}, "Queues"),
    ({"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["host:9092"]}}}, "SelfManagedEventSource"),
    ({"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "secret"}]}, "SourceAccessConfigurations"),
    ({"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "group"}}, "AmazonManagedKafkaEventSourceConfig"),
    ({"SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "group"}}, "SelfManagedKafkaEventSourceConfig"),
    ({"DocumentDBEventSourceConfig": {"DatabaseName": "data"}}, "DocumentDBEventSourceConfig"),
    ({"LoggingConfig": {"SystemLogLevel": "INFO"}}, "LoggingConfig"),
    ({"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}}, "DestinationConfig"),
]
WINDOW = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
PATTERN = "Invalid filter pattern definition."


@pytest.mark.parametrize("wanted, code, message", [
    ({"BatchSize": 0}, "ValidationException", "1 validation error detected: Value '0' at 'batchSize' failed to satisfy constraint: Member must have value greater than or equal to 1"),
    ({"BatchSize": 10_001}, "ValidationException", None),
    ({"BatchSize": 11}, "InvalidParameterValueException", WINDOW),
    ({"MaximumBatchingWindowInSeconds": 301}, "ValidationException", None),
    ({"StartingPosition": "NOW"}, "ValidationException", None),
    ({"StartingPosition": "LATEST"}, "InvalidParameterValueException", "StartingPosition is not valid for SQS event sources."),
    ({"StartingPosition": "LATEST", "StartingPositionTimestamp": 1}, "InvalidParameterValueException", "StartingPosition is not valid for SQS event sources."),
    ({"StartingPositionTimestamp": 1}, "InvalidParameterValueException", "Timestamp only valid with StartingPosition AT_TIMESTAMP"),
    ({"ScalingConfig": {"MaximumConcurrency": 1}}, "ValidationException", None),
    ({"ScalingConfig": {"MaximumConcurrency": 1001}}, "ValidationException", None),
    ({"FunctionResponseTypes": ["Other"]}, "ValidationException", None),
    ({"FilterCriteria": {"Filters": [{"Pattern": "text"}]}}, "InvalidParameterValueException", PATTERN),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"body": "order"}'}]}}, "InvalidParameterValueException", PATTERN),
    ({"FilterCriteria": {"Filters": [{}]}}, "InvalidParameterValueException", PATTERN),
    ({"FilterCriteria": {"Filters": [{"Pattern": ORDER}] * 6}}, "InvalidParameterValueException", None),
    *[(wanted, "InvalidParameterValueException", unsupported(name)) for wanted, name in ELSEWHERE],
    ({"ParallelizationFactor": 2}, "InvalidParameterValueException", unsupported("ParallelizationFactor")),
    ({"MaximumRetryAttempts": 1}, "InvalidParameterValueException", unsupported("MaximumRetryAttempts")),
    ({"MaximumRecordAgeInSeconds": 60}, "InvalidParameterValueException", unsupported("MaximumRecordAgeInSeconds")),
    ({"BisectBatchOnFunctionError": True}, "InvalidParameterValueException", unsupported("BisectBatchOnFunctionError")),
    ({"TumblingWindowInSeconds": 1}, "InvalidParameterValueException", unsupported("TumblingWindowInSeconds")),
    ({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}}, "InvalidParameterValueException", unsupported("DestinationConfig")),
    ({"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1"}, "NotImplemented", None),
    ({"MetricsConfig": {"Metrics": ["EventCount"]}}, "NotImplemented", None),
    ({"ProvisionedPollerConfig": {"MinimumPollers": 2}}, "NotImplemented", None),
])
def test_what_a_queue_does_not_know_is_refused_and_changes_nothing(functions, sources, name, wanted, code, message):
    with pytest.raises(ClientError) as info:
        functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue, **wanted)
    error = info.value.response["Error"]
    assert error["Code"] == code and (message is None or error["Message"] == message), error
    assert code != "NotImplemented" or next(iter(wanted)) in error["Message"]
    assert functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == []
    if {"StartingPosition", "StartingPositionTimestamp", "Topics", "Queues", "SelfManagedEventSource"} & set(wanted):
        return
    # What is refused for a new mapping is refused for one that is there.
    made = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue)
    with pytest.raises(ClientError) as info:
        functions.update_event_source_mapping(UUID=made["UUID"], **wanted)
    assert info.value.response["Error"]["Code"] == code
    assert without(functions.get_event_source_mapping(UUID=made["UUID"])) == {**without(made), "State": "Enabled"}


@pytest.mark.parametrize("wanted, code, message", [
    ({}, "InvalidParameterValueException", "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."),
    ({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1}, "InvalidParameterValueException", "Unsupported starting position for arn type: STREAM"),
    ({"StartingPosition": "LATEST", "StartingPositionTimestamp": 1}, "InvalidParameterValueException", "Timestamp only valid with StartingPosition AT_TIMESTAMP"),
    *[({"StartingPosition": "LATEST", **wanted}, "InvalidParameterValueException", unsupported(name)) for wanted, name in ELSEWHERE],
    ({"StartingPosition": "LATEST", "ScalingConfig": {"MaximumConcurrency": 2}}, "InvalidParameterValueException", unsupported("ScalingConfig")),
    ({"StartingPosition": "LATEST", "ProvisionedPollerConfig": {"MinimumPollers": 2}}, "InvalidParameterValueException", unsupported("ProvisionedPollerConfig")),
    ({"StartingPosition": "LATEST", "MaximumRecordAgeInSeconds": 59}, "InvalidParameterValueException", None),
    ({"StartingPosition": "LATEST", "MaximumRecordAgeInSeconds": 604_801}, "ValidationException", None),
    ({"StartingPosition": "LATEST", "MaximumRetryAttempts": 10_001}, "ValidationException", None),
    ({"StartingPosition": "LATEST", "ParallelizationFactor": 11}, "ValidationException", None),
    ({"StartingPosition": "LATEST", "TumblingWindowInSeconds": 901}, "ValidationException", None),
    ({"StartingPosition": "LATEST", "DestinationConfig": {"OnFailure": {"Destination": "no ARN"}}}, "ValidationException", None),
    ({"StartingPosition": "LATEST", "DestinationConfig": {"OnFailure": {"Destination": f"{HOME}:function:f"}}}, "InvalidParameterValueException",
     f"The provided destination config DestinationConfig(onSuccess=null, onFailure=OnFailure(destination={HOME}:function:f)) is invalid."),
    ({"StartingPosition": "LATEST", "DestinationConfig": {"OnFailure": {"Destination": "kafka://topic"}}}, "NotImplemented", None),
    ({"StartingPosition": "LATEST", "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1"}, "NotImplemented", None),
])
def test_what_a_stream_does_not_know_is_refused(functions, sources, name, wanted, code, message):
    with pytest.raises(ClientError) as info:
        functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.stream, **wanted)
    error = info.value.response["Error"]
    assert error["Code"] == code and (message is None or error["Message"] == message.replace("STREAM", sources.stream)), error
    assert functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == []


def test_fifo_queues_have_small_batches_and_no_window(functions, sources, name):
    for wanted, message in [({"MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported for FIFO queues"), ({"BatchSize": 11}, None)]:
        with refused("InvalidParameterValueException", 400) as info:
            functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.fifo, **wanted)
        assert message is None or info.value.response["Error"]["Message"] == message


def test_sources_are_named_when_they_are_refused(functions, sources, name):
    ask = lambda **wanted: functions.create_event_source_mapping(FunctionName=name, StartingPosition="LATEST", **wanted)
    for service, what in [("kafka", "Amazon MSK"), ("mq", "Amazon MQ"), ("rds", "Amazon DocumentDB")]:
        with refused("NotImplemented", 501) as info:
            ask(EventSourceArn=f"arn:aws:{service}:us-east-1:000000000000:cluster/c/1")
        assert what in info.value.response["Error"]["Message"]
    with refused("NotImplemented", 501) as info:
        ask(SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["host:9092"]}}, Topics=["topic"])
    assert "self-managed Apache Kafka" in info.value.response["Error"]["Message"]
    for wanted in [{}, {"EventSourceArn": "arn:aws:sns:us-east-1:000000000000:topic"}]:
        with refused("InvalidParameterValueException", 400) as info:
            ask(**wanted)
        assert info.value.response["Error"]["Message"] == "Unrecognized event source."
    missing = sources.stream.replace(name, "none-such")
    with refused("InvalidParameterValueException", 400) as info:
        ask(EventSourceArn=missing)
    assert info.value.response["Error"]["Message"] == f"Stream not found: {missing}"


def test_functions_that_are_not_there(functions, sources, name):
    made = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue)
    for missing in (f"{name}-none", f"{name}:none", f"{name}:7"):
        for ask in (lambda: functions.create_event_source_mapping(FunctionName=missing, EventSourceArn=sources.queue),
                    lambda: functions.update_event_source_mapping(UUID=made["UUID"], FunctionName=missing)):
            with refused("InvalidParameterValueException", 400) as info:
                ask()
            assert info.value.response["Error"]["Message"] == "Function does not exist"


def test_a_source_and_a_function_have_one_mapping(functions, sources, name):
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    queue = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue)
    stream = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.stream, StartingPosition="LATEST")
    please = "Please update or delete the existing mapping with UUID"
    for settings, message in [
        ({"EventSourceArn": sources.queue}, f'An event source mapping with SQS arn (" {sources.queue} ") and function (" {name} ") already exists. {please} {queue["UUID"]}'),
        ({"EventSourceArn": sources.stream, "StartingPosition": "LATEST"},
         f'The event source arn (" {sources.stream} ") and function (" {name} ") provided mapping already exists. {please} {stream["UUID"]}'),
    ]:
        with refused("ResourceConflictException", 409) as info:
            functions.create_event_source_mapping(FunctionName=name, **settings)
        assert info.value.response["Error"]["Message"] == message
    other = functions.create_event_source_mapping(FunctionName=f"{name}:live", EventSourceArn=sources.queue)
    assert other["FunctionArn"] == f"{sources.function}:live"
    with refused("ResourceConflictException", 409):
        functions.update_event_source_mapping(UUID=other["UUID"], FunctionName=name)
    assert functions.update_event_source_mapping(UUID=other["UUID"], FunctionName=f"{name}:1")["FunctionArn"] == f"{sources.function}:1"


@pytest.mark.parametrize("wanted, reason", [
    ({"MetricsConfig": {"Metrics": ["EventCount"]}}, "MetricsConfig"),
    ({"KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1"}, "KMSKeyArn"),
    ({"ProvisionedPollerConfig": {"MinimumPollers": 2}}, "ProvisionedPollerConfig"),
    ({"Topics": ["topic"]}, "Unsupported Topics parameter"),
    ({"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}}, "Unsupported DestinationConfig parameter"),
])
def test_stacks_cannot_ask_for_more(server, sources, name, wanted, reason):
    stacks = server.client("cloudformation")
    properties = {"FunctionName": name, "EventSourceArn": sources.queue, **wanted}
    template = {"Resources": {"Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties}}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING")
    with pytest.raises(WaiterError):
        stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    reasons = [event.get("ResourceStatusReason", "") for event in stacks.describe_stack_events(StackName=name)["StackEvents"]]
    assert any(reason in said for said in reasons), reasons


def test_mappings_of_other_regions_are_not_seen(server, functions, sources, name):
    uuid = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue)["UUID"]
    elsewhere = boto3.client("lambda", endpoint_url=server.endpoint, region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    for ask in (elsewhere.get_event_source_mapping, elsewhere.update_event_source_mapping, elsewhere.delete_event_source_mapping):
        with refused("ResourceNotFoundException", 404):
            ask(UUID=uuid)
    assert functions.get_event_source_mapping(UUID=uuid)["State"] == "Enabled"


def test_mappings_carry_tags(functions, sources, name):
    made = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=sources.queue, Tags={"team": "sales"})
    arn = made["EventSourceMappingArn"]
    functions.tag_resource(Resource=arn, Tags={"cost": "7"})
    functions.untag_resource(Resource=arn, TagKeys=["team"])
    assert functions.list_tags(Resource=arn)["Tags"] == {"cost": "7"}
    with refused("InvalidParameterValueException", 400):
        functions.tag_resource(Resource=arn, Tags={"aws:x": "1"})
    functions.delete_event_source_mapping(UUID=made["UUID"])
    with refused("ResourceNotFoundException", 404):
        functions.list_tags(Resource=arn)


def test_lists_page(functions, sources, name):
    made = {functions.create_event_source_mapping(FunctionName=name, EventSourceArn=arn)["UUID"] for arn in (sources.queue, sources.fifo)}
    pages = list(functions.get_paginator("list_event_source_mappings").paginate(FunctionName=name, PaginationConfig={"PageSize": 1}))
    assert [len(page["EventSourceMappings"]) for page in pages] == [1, 1]
    assert {page["EventSourceMappings"][0]["UUID"] for page in pages} == made
    with refused("ValidationException", 400):
        functions.list_event_source_mappings(MaxItems=10_001)
