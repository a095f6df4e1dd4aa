"""Event source mappings of DynamoDB streams: order, retries, partial failures, destinations, starting again."""

import json
import re
import subprocess

import pytest
from conftest import BINARY
from support import function, refused, table, zipped

# Notes how often every record came; fails at keys that begin with "bad" always, with "slow" twice.
NOTES = """
import os, boto3
seen = boto3.resource("dynamodb").Table(os.environ["SEEN"])
def handler(event, context):
    for record in event["Records"]:
        key = record["dynamodb"]["Keys"]["id"]["S"]
        noted = seen.update_item(Key={"id": key}, UpdateExpression="ADD tries :one SET size_of_batch = :batch, kind = :kind",
                         ExpressionAttributeValues={":one": 1, ":batch": len(event["Records"]), ":kind": record["eventName"]}, ReturnValues="ALL_NEW")
        if key.startswith("bad") or (key.startswith("slow") and noted["Attributes"]["tries"] < 3):
            if os.environ.get("PARTIAL"):
                return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
            raise ValueError(key)
    return {"batchItemFailures": []} if os.environ.get("PARTIAL") else None
"""


class Source:
    def __init__(self, server, name):
        self.server, self.name = server, name
        self.tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
        table(server, name + "-seen")
        self.stream = self.tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
        self.functions = server.client("lambda")

    def function(self, **environment):
        function(self.server, self.name, zipped(app__py=NOTES), Environment={"Variables": {"SEEN": self.name + "-seen", **environment}})
        return self

    def map(self, **settings):
        settings = {"StartingPosition": "TRIM_HORIZON", **settings}
        return self.functions.create_event_source_mapping(EventSourceArn=self.stream, FunctionName=self.name, **settings)["UUID"]

    def put(self, *keys):
        for key in keys:
            self.tables.put_item(TableName=self.name, Item={"id": {"S": key}})

    def seen(self):
        return {item["id"]["S"]: int(item["tries"]["N"]) for item in self.tables.scan(TableName=self.name + "-seen", ConsistentRead=True)["Items"]}

    def state(self, uuid):
        return self.functions.get_event_source_mapping(UUID=uuid)["State"]


@pytest.fixture
def source(server, name):
    return Source(server, name)


def test_partial_failures_go_on_from_the_first_failed(source, eventually):
    source.function(PARTIAL="1")
    source.put("a", "b", "slow", "c")
    source.map(FunctionResponseTypes=["ReportBatchItemFailures"], BatchSize=10)
    eventually(lambda: "c" in source.seen(), seconds=40)
    assert source.seen() == {"a": 1, "b": 1, "slow": 3, "c": 1}, "what succeeded is not told again"


def test_partial_failures_end_with_their_retries(source, eventually):
    source.function(PARTIAL="1")
    source.put("a", "bad", "lost")
    source.map(FunctionResponseTypes=["ReportBatchItemFailures"], MaximumRetryAttempts=1, BatchSize=10)
    eventually(lambda: source.seen().get("bad", 0) >= 2, seconds=40)
    source.put("later")
    eventually(lambda: "later" in source.seen(), seconds=40)
    seen = source.seen()
    assert (seen["a"], seen["later"], "lost" in seen) == (1, 1, False), "what is left of a batch goes with it"
    # AWS does not say whether a partial success begins the count anew.
    assert seen["bad"] in (2, 3)


def test_what_fails_for_good_is_told_to_its_destination(server, source, name, eventually):
    queues = server.client("sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    source.function()
    source.put("bad")
    source.map(MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn}})
    [message] = eventually(lambda: queues.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages"))
    told = json.loads(message["Body"])
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted" and told["requestContext"]["functionArn"].endswith(f":{name}")
    info = told["DDBStreamBatchInfo"]
    assert info["streamArn"] == source.stream and info["batchSize"] == 1 and info["startSequenceNumber"] == info["endSequenceNumber"]
    assert list(told) == ["requestContext", "responseContext", "version", "timestamp", "DDBStreamBatchInfo"] and told["version"] == "1.0"
    assert told["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert told["requestContext"]["approximateInvokeCount"] == 1 and re.fullmatch(r"[-\d]{10}T[:\d]{8}\.\d{3}Z", told["timestamp"])
    assert re.fullmatch(r"[-\d]{10}T[:\d]{8}Z", info["approximateArrivalOfFirstRecord"]), "streams of tables know the second"
    source.put("good")
    eventually(lambda: "good" in source.seen())


def test_splitting_a_batch_uses_up_no_retry(source, eventually):
    source.function()
    source.put("a", "bad", "c", "d")
    source.map(BisectBatchOnFunctionError=True, MaximumRetryAttempts=1)
    eventually(lambda: "d" in source.seen(), seconds=40)
    # The whole, the first half, and what is left of that with its retry.
    assert source.seen() == {"a": 3, "bad": 4, "c": 1, "d": 1}


def test_records_that_a_stream_no_longer_keeps_are_passed_over(private_server, name, eventually):
    source = Source(private_server, name).function()
    source.put("bad")
    source.map()
    eventually(lambda: source.seen().get("bad"))
    subprocess.run([BINARY, "--endpoint", private_server.endpoint, "clock", "advance", "25h"], check=True, capture_output=True)
    source.put("later")
    eventually(lambda: "later" in source.seen())


def test_a_bucket_gets_the_records_themselves(server, source, name, eventually):
    objects = server.client("s3")
    objects.create_bucket(Bucket=name)
    source.function()
    source.put("bad")
    uuid = source.map(MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{name}"}})
    [found] = eventually(lambda: objects.list_objects_v2(Bucket=name).get("Contents"))
    told = json.loads(objects.get_object(Bucket=name, Key=found["Key"])["Body"].read())
    shard = told["DDBStreamBatchInfo"]["shardId"]
    assert re.fullmatch(rf"aws/lambda/{uuid}/{shard}/\d{{4}}/\d\d/\d\d/[-\d]{{10}}T\d\d\.\d\d\.\d\d-[-0-9a-f]{{36}}", found["Key"])
    assert [record["dynamodb"]["Keys"]["id"]["S"] for record in json.loads(told["payload"])["Records"]] == ["bad"]


def test_a_mapping_tells_how_its_last_invocation_went(source, eventually):
    source.function()
    uuid = source.map(MaximumRetryAttempts=0)
    result = lambda: source.functions.get_event_source_mapping(UUID=uuid)["LastProcessingResult"]
    assert result() == "No records processed"
    source.put("good")
    eventually(lambda: result() == "OK")
    source.put("bad")
    eventually(lambda: result() == "PROBLEM: Function call failed")


# Notes each batch, and answers the first of them what the test wants.
ANSWERS = """
import os, boto3
seen = boto3.resource("dynamodb").Table(os.environ["SEEN"])
def handler(event, context):
    noted = seen.update_item(Key={"id": "batches"}, UpdateExpression="ADD tries :one", ExpressionAttributeValues={":one": 1}, ReturnValues="ALL_NEW")
    keys = [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]
    if noted["Attributes"]["tries"] > 1:
        for key in keys:
            seen.put_item(Item={"id": key, "tries": noted["Attributes"]["tries"]})
        return None
    sequences = [record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
    return ANSWER
"""
SUCCESSES = ["None", "''", "[]", "{}", "{'batchItemFailures': None}", "{'batchItemFailures': []}", "{'other': 1}"]
FAILURES = ["'text'", "[1]", "{'batchItemFailures': 'x'}", "{'batchItemFailures': ['x']}", "{'batchItemFailures': [{'itemIdentifier': ''}]}",
            "{'batchItemFailures': [{'itemIdentifier': None}]}", "{'batchItemFailures': [{'itemIdentifier': 1}]}",
            "{'batchItemFailures': [{'itemIdentifier': 'nobody'}]}", "{'batchItemFailures': [{'id': sequences[1]}]}", "1 / 0"]
SECOND = "{'batchItemFailures': [{'itemIdentifier': sequences[2]}, {'itemIdentifier': sequences[1]}]}"


@pytest.mark.parametrize("answer, again", [(answer, []) for answer in SUCCESSES] + [(answer, ["a", "b", "c"]) for answer in FAILURES] + [(SECOND, ["b", "c"])])
def test_reports_of_failed_records_are_read_as_lambda_documents(source, eventually, answer, again):
    function(source.server, source.name, zipped(app__py=ANSWERS.replace("ANSWER", answer)), Environment={"Variables": {"SEEN": source.name + "-seen"}})
    source.put("a", "b", "c")
    source.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    eventually(lambda: source.seen().get("batches") == 1 + bool(again))
    source.put("last")
    eventually(lambda: "last" in source.seen())
    assert sorted(source.seen()) == sorted(again + ["batches", "last"])


def test_a_mapping_of_new_records_leaves_the_old_ones(source, eventually):
    source.function()
    source.put("old")
    uuid = source.map(StartingPosition="LATEST")
    eventually(lambda: source.state(uuid) == "Enabled")
    source.put("new")
    eventually(lambda: "new" in source.seen())
    assert "old" not in source.seen()


def test_records_come_in_batches_within_their_window(source, eventually):
    source.function()
    source.put(*[f"k{number}" for number in range(6)])
    source.map(BatchSize=4, MaximumBatchingWindowInSeconds=1)
    eventually(lambda: len(source.seen()) == 6)
    batches = {int(item["size_of_batch"]["N"]) for item in source.tables.scan(TableName=source.name + "-seen")["Items"]}
    assert max(batches) <= 4 and batches == {4, 2}


def test_a_mapping_switched_off_goes_on_where_it_was(source, eventually):
    source.function()
    uuid = source.map()
    source.put("before")
    eventually(lambda: "before" in source.seen())
    source.functions.update_event_source_mapping(UUID=uuid, Enabled=False)
    eventually(lambda: source.state(uuid) == "Disabled")
    source.put("between")
    source.functions.update_event_source_mapping(UUID=uuid, Enabled=True)
    eventually(lambda: "between" in source.seen())
    assert source.seen() == {"before": 1, "between": 1}


def test_lanes_can_become_more_and_fewer(source, eventually):
    source.function()
    uuid = source.map(ParallelizationFactor=4, BatchSize=3)
    keys = [f"k{number}" for number in range(30)]
    for first, factor in ((0, 1), (10, 5), (20, 2)):
        source.put(*keys[first:first + 10])
        source.functions.update_event_source_mapping(UUID=uuid, ParallelizationFactor=factor)
        eventually(lambda: set(keys[:first + 10]) <= source.seen().keys())
    assert source.seen().keys() == set(keys), "none is skipped, though some may come again"


# Counts the records of a window in its state; notes each record with the count, and the whole of it when the window ends.
COUNTS = """
import os, boto3
seen = boto3.resource("dynamodb").Table(os.environ["SEEN"])
def handler(event, context):
    count = event["state"].get("count", 0) + len(event["Records"])
    for record in event["Records"]:
        seen.put_item(Item={"id": record["dynamodb"]["Keys"]["id"]["S"], "tries": count})
    if event["isFinalInvokeForWindow"]:
        seen.put_item(Item={"id": "end " + event["window"]["end"], "tries": count})
    return {"state": {"count": count}}
"""


def test_windows_keep_their_state_until_they_end(private_server, name, eventually):
    source = Source(private_server, name)
    advance = lambda time: subprocess.run([BINARY, "--endpoint", private_server.endpoint, "clock", "advance", time], check=True, capture_output=True)
    function(private_server, name, zipped(app__py=COUNTS), Environment={"Variables": {"SEEN": name + "-seen"}})
    uuid = source.map(TumblingWindowInSeconds=900)
    assert source.functions.get_event_source_mapping(UUID=uuid)["TumblingWindowInSeconds"] == 900
    source.put("a")
    eventually(lambda: source.seen().get("a") == 1)
    source.put("b")
    eventually(lambda: source.seen().get("b") in (1, 2))
    private_server.kill()
    private_server.start()
    source = Source.__new__(Source)
    source.server, source.name, source.tables = private_server, name, private_server.client("dynamodb")
    source.put("c")
    eventually(lambda: "c" in source.seen())
    advance("16m")
    ends = lambda: [tries for key, tries in source.seen().items() if key.startswith("end ")]
    eventually(lambda: sum(ends()) == 3)
    source.put("d")
    eventually(lambda: source.seen().get("d") == 1)
    assert sum(ends()) == 3, "the next window begins from nothing"


def test_mappings_that_cannot_be(source, name):
    source.function()
    wrong = [{"BatchSize": 10_001}, {"MaximumRetryAttempts": 10_001}, {"ParallelizationFactor": 11}, {"MaximumRecordAgeInSeconds": 5}, {"FilterCriteria": {"Filters": [{"Pattern": "{"}]}},
             {"MaximumBatchingWindowInSeconds": 301}, {"BatchSize": 200, "MaximumBatchingWindowInSeconds": 0, "ScalingConfig": {"MaximumConcurrency": 2}}]
    wrong.append({"TumblingWindowInSeconds": 901})
    wrong.append({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 0})
    wrong.append({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:lambda:us-east-1:000000000000:function:f"}}})
    for settings in wrong:
        with pytest.raises(source.functions.exceptions.ClientError) as info:
            source.map(**settings)
        assert info.value.response["Error"]["Code"] in ("InvalidParameterValueException", "ValidationException"), settings
        assert info.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert source.functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"] == []
    with refused("InvalidParameterValueException", 400) as info:
        source.functions.create_event_source_mapping(EventSourceArn=source.stream, FunctionName=name + "x", StartingPosition="LATEST")
    assert info.value.response["Error"]["Message"] == "Function does not exist"
    for ask in [source.functions.get_event_source_mapping, source.functions.delete_event_source_mapping]:
        with refused("ResourceNotFoundException", 404) as info:
            ask(UUID="00000000-0000-4000-8000-000000000000")
        assert info.value.response["Error"]["Message"] == "The resource you requested does not exist."
