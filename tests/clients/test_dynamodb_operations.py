"""DynamoDB's operations one by one: tables, items, pages, batches, transactions, errors included."""

import pytest
from support import refused, table

HASH, RANGE = {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}
TEXT = {"AttributeName": "pk", "AttributeType": "S"}


def sentence(info):
    return info.value.response["Error"]["Message"]


def strings(*names):
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


@pytest.fixture
def tables(server):
    return server.client("dynamodb")


@pytest.fixture
def ranged(tables, name):
    """A table with `pk` and `sk`, a local index on `lk` and a global one on `gk`."""
    tables.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=strings("pk", "sk", "lk", "gk"), KeySchema=[HASH, RANGE],
        LocalSecondaryIndexes=[{"IndexName": "local", "KeySchema": [HASH, {"AttributeName": "lk", "KeyType": "RANGE"}], "Projection": {"ProjectionType": "ALL"}}],
        GlobalSecondaryIndexes=[{"IndexName": "global", "KeySchema": [{"AttributeName": "gk", "KeyType": "HASH"}, RANGE],
                                 "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["kept"]}}])
    return name


def test_a_table_is_described_as_it_was_made(tables, name):
    made = tables.create_table(TableName=name, AttributeDefinitions=[TEXT], KeySchema=[HASH], Tags=[{"Key": "team", "Value": "a"}],
                               ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})["TableDescription"]
    tables.get_waiter("table_exists").wait(TableName=name)
    got = tables.describe_table(TableName=name)["Table"]
    assert got["TableArn"] == made["TableArn"] == f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}"
    assert (got["TableStatus"], got["KeySchema"], got["AttributeDefinitions"]) == ("ACTIVE", [HASH], [TEXT])
    assert (got["ProvisionedThroughput"]["ReadCapacityUnits"], got["ProvisionedThroughput"]["WriteCapacityUnits"]) == (5, 6)
    assert tables.list_tags_of_resource(ResourceArn=got["TableArn"])["Tags"] == [{"Key": "team", "Value": "a"}]
    assert tables.describe_limits()["TableMaxReadCapacityUnits"] > 0
    assert tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "DISABLED"}
    assert tables.delete_table(TableName=name)["TableDescription"]["TableStatus"] == "DELETING"
    tables.get_waiter("table_not_exists").wait(TableName=name)
    with refused("ResourceNotFoundException", 400) as info:
        tables.delete_table(TableName=name)
    assert sentence(info) == f"Requested resource not found: Table: {name} not found"


@pytest.mark.parametrize("arguments", [
    {"KeySchema": [RANGE]},
    {"KeySchema": [HASH, HASH]},
    {"KeySchema": [HASH], "AttributeDefinitions": strings("pk", "unused")},
    {"KeySchema": [HASH, RANGE], "AttributeDefinitions": [TEXT]},
    {"KeySchema": [HASH], "BillingMode": "PROVISIONED"},
    {"KeySchema": [HASH], "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
    {"KeySchema": [HASH], "TableName": "no"},
    {"KeySchema": [HASH], "TableName": "no spaces"},
    {"KeySchema": [HASH], "StreamSpecification": {"StreamEnabled": True}},
    {"KeySchema": [HASH], "LocalSecondaryIndexes": [{"IndexName": "local", "KeySchema": [HASH, RANGE], "Projection": {"ProjectionType": "ALL"}}]},
    {"KeySchema": [HASH], "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "M"}]},
])
def test_tables_that_cannot_be(tables, name, arguments):
    whole = {"TableName": name, "AttributeDefinitions": [TEXT], "BillingMode": "PAY_PER_REQUEST", **arguments}
    with refused("ValidationException", 400):
        tables.create_table(**whole)
    with refused("ResourceNotFoundException", 400):
        tables.describe_table(TableName=name)


def test_tables_are_listed_in_order(tables, name):
    for number in range(3):
        tables.create_table(TableName=f"{name}-{number}", AttributeDefinitions=[TEXT], KeySchema=[HASH], BillingMode="PAY_PER_REQUEST")
    first = tables.list_tables(ExclusiveStartTableName=name, Limit=2)
    assert first["TableNames"] == [f"{name}-0", f"{name}-1"] and first["LastEvaluatedTableName"] == f"{name}-1"
    assert tables.list_tables(ExclusiveStartTableName=f"{name}-1", Limit=1)["TableNames"] == [f"{name}-2"]
    with refused("ValidationException", 400):
        server_limit = {"Limit": 101}
        tables.list_tables(**server_limit)


def test_tags_change(server, tables, name):
    table(server, name)
    arn = tables.describe_table(TableName=name)["Table"]["TableArn"]
    tables.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    tables.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert tables.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    with refused("ResourceNotFoundException", 400):
        tables.tag_resource(ResourceArn=arn + "x", Tags=[{"Key": "a", "Value": "1"}])


def test_indexes_come_and_go(server, tables, name, eventually):
    table(server, name)
    for key, colour in [("1", "red"), ("2", "blue")]:
        tables.put_item(TableName=name, Item={"id": {"S": key}, "colour": {"S": colour}})
    tables.update_table(TableName=name, AttributeDefinitions=strings("id", "colour"), GlobalSecondaryIndexUpdates=[{"Create": {
        "IndexName": "by-colour", "KeySchema": [{"AttributeName": "colour", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}}])
    index = lambda: tables.describe_table(TableName=name)["Table"].get("GlobalSecondaryIndexes", [])
    eventually(lambda: index()[0]["IndexStatus"] == "ACTIVE")
    found = tables.query(TableName=name, IndexName="by-colour", KeyConditionExpression="colour = :c", ExpressionAttributeValues={":c": {"S": "red"}})
    assert found["Items"] == [{"id": {"S": "1"}, "colour": {"S": "red"}}]
    with refused("ValidationException", 400):
        tables.put_item(TableName=name, Item={"id": {"S": "3"}, "colour": {"N": "7"}})
    tables.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-colour"}}])
    eventually(lambda: not index())
    with refused("ValidationException", 400) as info:
        tables.scan(TableName=name, IndexName="by-colour")
    assert sentence(info) == "The table does not have the specified index: by-colour"


def test_keys_are_checked(tables, ranged):
    for key, start in [({"pk": {"S": "a"}}, "The provided key element does not match the schema"),
                       ({"pk": {"S": "a"}, "sk": {"N": "1"}}, "The provided key element does not match the schema"),
                       ({"pk": {"S": "a"}, "sk": {"S": "b"}, "x": {"S": "c"}}, "The provided key element does not match the schema")]:
        with refused("ValidationException", 400) as info:
            tables.get_item(TableName=ranged, Key=key)
        assert sentence(info) == start
    for item in [{"pk": {"S": ""}, "sk": {"S": "b"}}, {"pk": {"N": "1"}, "sk": {"S": "b"}}, {"pk": {"S": "x" * 2049}, "sk": {"S": "b"}},
                 {"pk": {"S": "a"}, "sk": {"S": "x" * 1025}}]:
        with refused("ValidationException", 400):
            tables.put_item(TableName=ranged, Item=item)
    assert tables.scan(TableName=ranged)["Count"] == 0


@pytest.mark.parametrize("value", [{"N": "one"}, {"N": "1e126"}, {"N": "1" * 39}, {"SS": []}, {"SS": ["a", "a"]}, {"NS": ["1", "1.0"]}, {"S": "a", "N": "1"}, {}])
def test_values_that_cannot_be(server, name, value):
    tables = table(server, name)
    with refused("ValidationException", 400):
        tables.put_item(TableName=name, Item={"id": {"S": "a"}, "v": value})


def test_every_type_comes_back(server, name):
    tables = table(server, name)
    item = {"id": {"S": "ü ☃"}, "n": {"N": "-1.5"}, "b": {"B": b"\0\xff"}, "t": {"BOOL": False}, "nothing": {"NULL": True}, "ss": {"SS": ["a", "b"]},
            "ns": {"NS": ["1", "2"]}, "bs": {"BS": [b"x"]}, "l": {"L": [{"S": ""}, {"M": {}}]}, "m": {"M": {"deep": {"L": [{"N": "1"}]}}}}
    tables.put_item(TableName=name, Item=item)
    got = tables.get_item(TableName=name, Key={"id": item["id"]}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    got["Item"]["ss"]["SS"].sort(), got["Item"]["ns"]["NS"].sort()
    assert got["Item"] == item and got["ConsumedCapacity"] == {"TableName": name, "CapacityUnits": 1.0}


def test_return_values(server, name):
    tables = table(server, name)
    key = {"id": {"S": "a"}}
    assert "Attributes" not in tables.put_item(TableName=name, Item={**key, "n": {"N": "1"}}, ReturnValues="ALL_OLD")
    update = lambda kind: tables.update_item(TableName=name, Key=key, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}, ReturnValues=kind).get("Attributes")
    assert update("UPDATED_OLD") == {"n": {"N": "1"}} and update("UPDATED_NEW") == {"n": {"N": "3"}}
    assert update("ALL_OLD") == {**key, "n": {"N": "3"}} and update("ALL_NEW") == {**key, "n": {"N": "5"}} and update("NONE") is None
    with refused("ValidationException", 400):
        tables.put_item(TableName=name, Item=key, ReturnValues="ALL_NEW")
    with refused("ConditionalCheckFailedException", 400) as info:
        tables.delete_item(TableName=name, Key=key, ConditionExpression="n = :n", ExpressionAttributeValues={":n": {"N": "0"}}, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert sentence(info) == "The conditional request failed" and info.value.response["Item"] == {**key, "n": {"N": "6"}}
    assert "Attributes" not in tables.delete_item(TableName=name, Key={"id": {"S": "never"}}, ReturnValues="ALL_OLD")


def fill(tables, name, count=10, size=0):
    for number in range(count):
        tables.put_item(TableName=name, Item={"pk": {"S": "a"}, "sk": {"S": f"{number:03}"}, "lk": {"S": f"{99 - number}"}, "gk": {"S": "even" if number % 2 == 0 else "odd"},
                                              "kept": {"N": str(number)}, "left": {"S": "x" * size}})


def query(tables, name, text="pk = :p", **more):
    return tables.query(TableName=name, KeyConditionExpression=text, ExpressionAttributeValues={":p": {"S": "a"}, **more.pop("values", {})}, **more)


def keys(answer):
    return [item["sk"]["S"] for item in answer["Items"]]


def test_queries_know_key_conditions_and_filters(tables, ranged):
    fill(tables, ranged)
    one = {":x": {"S": "003"}}
    for text, expected in [("sk = :x", ["003"]), ("sk < :x", ["000", "001", "002"]), ("sk <= :x", ["000", "001", "002", "003"]), ("sk > :x AND", None), ("begins_with(sk, :x)", ["003"])]:
        if expected is None:
            with refused("ValidationException", 400):
                query(tables, ranged, f"pk = :p AND {text}", values=one)
        else:
            assert keys(query(tables, ranged, f"pk = :p AND {text}", values=one)) == expected
    found = query(tables, ranged, FilterExpression="kept > :n", values={":n": {"N": "6"}}, ProjectionExpression="sk")
    assert (found["Count"], found["ScannedCount"], found["Items"][0]) == (3, 10, {"sk": {"S": "007"}})
    assert query(tables, ranged, Select="COUNT")["Count"] == 10 and "Items" not in query(tables, ranged, Select="COUNT")
    for text in ["sk = :p", "pk > :p", "pk = :p OR sk = :p", "pk = :p AND left = :p"]:
        with refused("ValidationException", 400):
            query(tables, ranged, text)


def test_queries_go_through_indexes(tables, ranged):
    fill(tables, ranged)
    assert keys(query(tables, ranged, IndexName="local", ConsistentRead=True)) == [f"{number:03}" for number in reversed(range(10))]
    even = tables.query(TableName=ranged, IndexName="global", KeyConditionExpression="gk = :g", ExpressionAttributeValues={":g": {"S": "even"}})
    assert keys(even) == ["000", "002", "004", "006", "008"] and set(even["Items"][0]) == {"pk", "sk", "gk", "kept"}
    with refused("ValidationException", 400) as info:
        tables.query(TableName=ranged, IndexName="global", ConsistentRead=True, KeyConditionExpression="gk = :g", ExpressionAttributeValues={":g": {"S": "even"}})
    assert sentence(info) == "Consistent reads are not supported on global secondary indexes"
    tables.delete_item(TableName=ranged, Key={"pk": {"S": "a"}, "sk": {"S": "000"}})
    assert tables.scan(TableName=ranged, IndexName="global", Select="COUNT")["Count"] == 9


def test_pages_end_at_limits_and_at_a_megabyte(tables, ranged):
    fill(tables, ranged, count=5, size=300_000)
    first = query(tables, ranged)
    assert len(first["Items"]) < 5 and first["LastEvaluatedKey"]["sk"] == first["Items"][-1]["sk"]
    rest = query(tables, ranged, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert keys(first) + keys(rest) == [f"{number:03}" for number in range(5)] and "LastEvaluatedKey" not in rest
    pages = tables.get_paginator("scan").paginate(TableName=ranged, IndexName="local", PaginationConfig={"PageSize": 2})
    assert sorted(key for page in pages for key in keys(page)) == [f"{number:03}" for number in range(5)]
    with refused("ValidationException", 400):
        query(tables, ranged, ExclusiveStartKey={"pk": {"S": "a"}})
    with refused("ValidationException", 400):
        tables.scan(TableName=ranged, Segment=3, TotalSegments=3)


def test_batches_have_limits(server, name):
    tables = table(server, name)
    put, delete = {"PutRequest": {"Item": {"id": {"S": "a"}}}}, {"DeleteRequest": {"Key": {"id": {"S": "a"}}}}
    with refused("ValidationException", 400) as info:
        tables.batch_write_item(RequestItems={name: [put, delete]})
    assert sentence(info) == "Provided list of item keys contains duplicates"
    with refused("ValidationException", 400):
        tables.batch_get_item(RequestItems={name: {"Keys": [{"id": {"S": str(number)}} for number in range(101)]}})
    with refused("ResourceNotFoundException", 400):
        tables.batch_write_item(RequestItems={name + "x": [put]})
    assert tables.batch_write_item(RequestItems={name: [put]})["UnprocessedItems"] == {}
    assert tables.batch_write_item(RequestItems={name: [delete]})["UnprocessedItems"] == {}
    assert tables.scan(TableName=name)["Count"] == 0


def test_batches_leave_what_does_not_fit(server, name):
    tables = table(server, name)
    for number in range(50):
        tables.put_item(TableName=name, Item={"id": {"S": str(number)}, "x": {"S": "x" * 390_000}})
    asked, seen = {name: {"Keys": [{"id": {"S": str(number)}} for number in range(50)], "ProjectionExpression": "id"}}, set()
    first = tables.batch_get_item(RequestItems=asked)
    assert first["UnprocessedKeys"][name]["Keys"] and first["UnprocessedKeys"][name]["ProjectionExpression"] == "id", "16 MB are read at a time"
    while asked:
        answer = tables.batch_get_item(RequestItems=asked)
        seen.update(item["id"]["S"] for item in answer["Responses"][name])
        asked = answer["UnprocessedKeys"]
    assert seen == {str(number) for number in range(50)}


def test_transactions_give_their_reasons(server, name):
    tables = table(server, name)
    tables.put_item(TableName=name, Item={"id": {"S": "a"}, "n": {"N": "1"}, "s": {"S": "x"}})
    key, one = lambda text: {"TableName": name, "Key": {"id": {"S": text}}}, {":n": {"N": "1"}}
    check = {"ConditionCheck": {**key("a"), "ConditionExpression": "n = :n", "ExpressionAttributeValues": one}}
    add = {"Update": {**key("b"), "UpdateExpression": "ADD n :n", "ExpressionAttributeValues": one}}
    tables.transact_write_items(TransactItems=[check, add, {"Delete": key("c")}])
    failing = {"Delete": {**key("a"), "ConditionExpression": "n <> :n", "ExpressionAttributeValues": one, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}
    with refused("TransactionCanceledException", 400) as info:
        tables.transact_write_items(TransactItems=[add, failing])
    assert sentence(info) == "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]"
    reason = info.value.response["CancellationReasons"][1]
    assert reason["Message"] == "The conditional request failed" and reason["Item"]["n"] == {"N": "1"}
    wrong = {"Update": {**key("a"), "UpdateExpression": "ADD s :n", "ExpressionAttributeValues": one}}
    with refused("TransactionCanceledException", 400) as info:
        tables.transact_write_items(TransactItems=[wrong])
    assert info.value.response["CancellationReasons"][0]["Code"] == "ValidationError"
    with refused("ValidationException", 400) as info:
        tables.transact_write_items(TransactItems=[add, {"Delete": key("b")}])
    assert sentence(info) == "Transaction request cannot include multiple operations on one item"
    got = tables.transact_get_items(TransactItems=[{"Get": key("b")}, {"Get": key("none")}])["Responses"]
    assert got == [{"Item": {"id": {"S": "b"}, "n": {"N": "1"}}}, {}]


def test_a_transaction_said_twice_happens_once(server, name):
    tables = table(server, name)
    add = lambda n: [{"Update": {"TableName": name, "Key": {"id": {"S": "a"}}, "UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": n}}}}]
    for _ in range(2):
        tables.transact_write_items(TransactItems=add("1"), ClientRequestToken=name)
    assert tables.get_item(TableName=name, Key={"id": {"S": "a"}})["Item"]["n"] == {"N": "1"}
    with refused("IdempotentParameterMismatchException", 400):
        tables.transact_write_items(TransactItems=add("2"), ClientRequestToken=name)
