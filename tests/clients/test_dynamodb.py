"""DynamoDB: tables, items, queries, batches, transactions, streams."""

from support import refused, table


def test_items(server, name):
    tables = table(server, name)
    with refused("ResourceInUseException", 400):
        table(server, name)
    tables.put_item(TableName=name, Item={"id": {"S": "1"}, "n": {"N": "1.50"}, "l": {"L": [{"BOOL": True}, {"NULL": True}]}})
    assert tables.get_item(TableName=name, Key={"id": {"S": "1"}})["Item"]["n"] == {"N": "1.5"}
    changed = tables.update_item(TableName=name, Key={"id": {"S": "1"}}, UpdateExpression="SET n = n + :two, #s = :s",
                                 ExpressionAttributeNames={"#s": "status"}, ExpressionAttributeValues={":two": {"N": "2"}, ":s": {"S": "new"}},
                                 ReturnValues="UPDATED_NEW")["Attributes"]
    assert changed == {"n": {"N": "3.5"}, "status": {"S": "new"}}
    with refused("ConditionalCheckFailedException", 400):
        tables.put_item(TableName=name, Item={"id": {"S": "1"}}, ConditionExpression="attribute_not_exists(id)")
    old = tables.delete_item(TableName=name, Key={"id": {"S": "1"}}, ReturnValues="ALL_OLD")["Attributes"]
    assert old["status"] == {"S": "new"}
    assert "Item" not in tables.get_item(TableName=name, Key={"id": {"S": "1"}})


def test_refusals_are_dynamodbs(server, name):
    tables = table(server, name)
    with refused("ValidationException") as info:
        tables.put_item(TableName=name, Item={"n": {"N": "1"}})
    assert info.value.response["Error"]["Message"] == "One or more parameter values were invalid: Missing the key id in the item"
    with refused("ValidationException") as info:
        tables.put_item(TableName=name, Item={"id": {"S": "x"}, "big": {"S": "y" * 410_000}})
    assert info.value.response["Error"]["Message"] == "Item size has exceeded the maximum allowed size"
    with refused("ValidationException") as info:
        tables.update_item(TableName=name, Key={"id": {"S": "1"}}, UpdateExpression="SET status = :s", ExpressionAttributeValues={":s": {"S": "x"}})
    assert info.value.response["Error"]["Message"] == "Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: status"
    with refused("ResourceNotFoundException"):
        tables.get_item(TableName=name + "x", Key={"id": {"S": "1"}})


def test_queries_and_scans(server, name):
    tables = server.client("dynamodb")
    tables.create_table(TableName=name, BillingMode="PAY_PER_REQUEST",
                        AttributeDefinitions=[{"AttributeName": a, "AttributeType": t} for a, t in [("pk", "S"), ("sk", "N"), ("g", "S")]],
                        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                        GlobalSecondaryIndexes=[{"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "KEYS_ONLY"}}])
    for n in [-5, 0, 3, 20, 100]:
        tables.put_item(TableName=name, Item={"pk": {"S": "a"}, "sk": {"N": str(n)}, "g": {"S": "even" if n % 2 == 0 else "odd"}, "x": {"S": "x"}})
    numbers = lambda answer: [int(item["sk"]["N"]) for item in answer["Items"]]
    query = lambda text, **values: tables.query(TableName=name, KeyConditionExpression=text, ExpressionAttributeValues={":p": {"S": "a"}, **{f":{k}": {"N": v} for k, v in values.items()}})
    assert numbers(query("pk = :p")) == [-5, 0, 3, 20, 100]
    assert numbers(query("pk = :p AND sk BETWEEN :a AND :b", a="0", b="20")) == [0, 3, 20]
    pages = tables.get_paginator("query").paginate(TableName=name, KeyConditionExpression="pk = :p", ScanIndexForward=False,
                                                   ExpressionAttributeValues={":p": {"S": "a"}}, PaginationConfig={"PageSize": 2})
    assert [n for page in pages for n in numbers(page)] == [100, 20, 3, 0, -5]
    odd = tables.query(TableName=name, IndexName="by-g", KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": {"S": "odd"}})
    assert sorted(numbers(odd)) == [-5, 3] and "x" not in odd["Items"][0]
    parts = [tables.scan(TableName=name, Segment=s, TotalSegments=3)["Count"] for s in range(3)]
    assert sum(parts) == 5


def test_transactions_are_all_or_nothing(server, name):
    tables = table(server, name)
    put = lambda key: {"Put": {"TableName": name, "Item": {"id": {"S": key}}, "ConditionExpression": "attribute_not_exists(id)"}}
    tables.transact_write_items(TransactItems=[put("a"), put("b")])
    with refused("TransactionCanceledException") as info:
        tables.transact_write_items(TransactItems=[put("c"), put("a")])
    assert [reason["Code"] for reason in info.value.response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    assert tables.scan(TableName=name)["Count"] == 2


def test_batches(server, name):
    tables = table(server, name)
    tables.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": {"id": {"S": str(n)}}}} for n in range(25)]})
    got = tables.batch_get_item(RequestItems={name: {"Keys": [{"id": {"S": str(n)}} for n in range(30)]}})
    assert len(got["Responses"][name]) == 25 and got["UnprocessedKeys"] == {}
    with refused("ValidationException"):
        tables.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": {"id": {"S": "1"}}}}] * 26})


def test_streams_tell_what_changed(server, name, eventually):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    arn = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    for text in ["1", "2"]:
        tables.put_item(TableName=name, Item={"id": {"S": "k"}, "v": {"N": text}})
    tables.delete_item(TableName=name, Key={"id": {"S": "k"}})
    streams = server.client("dynamodbstreams")
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]

    def records():
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        found = streams.get_records(ShardIterator=iterator)["Records"]
        return found if len(found) == 3 else None

    found = eventually(records)
    assert [r["eventName"] for r in found] == ["INSERT", "MODIFY", "REMOVE"]
    assert found[1]["dynamodb"]["OldImage"]["v"] == {"N": "1"} and found[1]["dynamodb"]["NewImage"]["v"] == {"N": "2"}
    numbers = [r["dynamodb"]["SequenceNumber"] for r in found]
    assert numbers == sorted(numbers)


def test_the_cli_reads_and_writes(server, name):
    table(server, name)
    server.cli("dynamodb", "put-item", "--table-name", name, "--item", '{"id": {"S": "1"}, "n": {"N": "7"}}')
    assert '"7"' in server.cli("dynamodb", "get-item", "--table-name", name, "--key", '{"id": {"S": "1"}}')
