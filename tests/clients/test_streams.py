"""DynamoDB Streams: what each view type tells, and how a reader goes through it."""

import pytest
from support import refused, table

VIEWS = {
    "KEYS_ONLY": (False, False),
    "NEW_IMAGE": (True, False),
    "OLD_IMAGE": (False, True),
    "NEW_AND_OLD_IMAGES": (True, True),
}


def records(server, stream, kind="TRIM_HORIZON", **more):
    reader = server.client("dynamodbstreams")
    shard = reader.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = reader.get_shard_iterator(StreamArn=stream, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]
    return reader.get_records(ShardIterator=iterator)


@pytest.mark.parametrize("view", VIEWS)
def test_views_tell_what_they_promise(server, name, view):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": view})
    tables.put_item(TableName=name, Item={"id": {"S": "a"}, "n": {"N": "1"}})
    tables.put_item(TableName=name, Item={"id": {"S": "a"}, "n": {"N": "1"}})
    tables.put_item(TableName=name, Item={"id": {"S": "a"}, "n": {"N": "2"}})
    tables.delete_item(TableName=name, Key={"id": {"S": "a"}})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    told = records(server, stream)["Records"]
    assert [record["eventName"] for record in told] == ["INSERT", "MODIFY", "REMOVE"], "writing the same again is no change"
    has_new, has_old = VIEWS[view]
    modified = told[1]["dynamodb"]
    assert modified["Keys"] == {"id": {"S": "a"}} and modified["StreamViewType"] == view
    assert modified.get("NewImage", {}).get("n") == ({"N": "2"} if has_new else None)
    assert modified.get("OldImage", {}).get("n") == ({"N": "1"} if has_old else None)
    assert "NewImage" not in told[2]["dynamodb"] and "OldImage" not in told[0]["dynamodb"]
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in told]
    assert numbers == sorted(numbers) and told[0]["eventSource"] == "aws:dynamodb" and told[0]["awsRegion"] == "us-east-1"


def test_readers_begin_where_they_say(server, name):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    for key in "abc":
        tables.put_item(TableName=name, Item={"id": {"S": key}})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    told = records(server, stream)["Records"]
    second = told[1]["dynamodb"]["SequenceNumber"]
    keys = lambda answer: [record["dynamodb"]["Keys"]["id"]["S"] for record in answer["Records"]]
    assert keys(records(server, stream, "AT_SEQUENCE_NUMBER", SequenceNumber=second)) == ["b", "c"]
    assert keys(records(server, stream, "AFTER_SEQUENCE_NUMBER", SequenceNumber=second)) == ["c"]
    latest = records(server, stream, "LATEST")
    assert latest["Records"] == [] and latest["NextShardIterator"]
    assert any(one["StreamArn"] == stream for one in server.client("dynamodbstreams").list_streams(TableName=name)["Streams"])


def test_a_stream_ends_with_its_table_setting(server, name):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    tables.put_item(TableName=name, Item={"id": {"S": "a"}})
    with refused("ValidationException", 400):
        tables.update_table(TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    tables.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    described = server.client("dynamodbstreams").describe_stream(StreamArn=stream)["StreamDescription"]
    assert described["StreamStatus"] == "DISABLED" and "EndingSequenceNumber" in described["Shards"][0]["SequenceNumberRange"]
    answer = records(server, stream)
    assert len(answer["Records"]) == 1 and "NextShardIterator" not in answer
    with refused("ResourceNotFoundException", 400):
        server.client("dynamodbstreams").describe_stream(StreamArn=stream + "x")
