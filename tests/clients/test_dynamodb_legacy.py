"""DynamoDB's parameters of before expressions, as older code still sends them."""

import pytest
from support import refused


@pytest.fixture
def rows(server, name):
    """A table with a range key and four items."""
    tables = server.client("dynamodb")
    tables.create_table(TableName=name, BillingMode="PAY_PER_REQUEST",
                        AttributeDefinitions=[{"AttributeName": "h", "AttributeType": "S"}, {"AttributeName": "r", "AttributeType": "N"}],
                        KeySchema=[{"AttributeName": "h", "KeyType": "HASH"}, {"AttributeName": "r", "KeyType": "RANGE"}])
    for number, colour in enumerate(["red", "green", "dark red", "blue"]):
        tables.put_item(TableName=name, Item={"h": {"S": "a"}, "r": {"N": str(number)}, "colour": {"S": colour}, "tags": {"SS": ["x", colour]}})
    return tables


def one(operator, *values):
    return {"ComparisonOperator": operator, "AttributeValueList": list(values)} if values else {"ComparisonOperator": operator}


def found(answer):
    return sorted(int(item["r"]["N"]) for item in answer["Items"])


def test_queries_by_conditions(rows, name):
    query = lambda range_key, **more: found(rows.query(TableName=name, KeyConditions={"h": one("EQ", {"S": "a"}), **({"r": range_key} if range_key else {})}, **more))
    assert query(None) == [0, 1, 2, 3]
    assert query(one("BETWEEN", {"N": "1"}, {"N": "2"})) == [1, 2]
    assert query(one("GT", {"N": "2"})) == [3]
    assert query(None, QueryFilter={"colour": one("CONTAINS", {"S": "red"})}) == [0, 2]
    assert query(None, QueryFilter={"colour": one("BEGINS_WITH", {"S": "b"}), "tags": one("CONTAINS", {"S": "green"})}, ConditionalOperator="OR") == [1, 3]
    with refused("ValidationException", 400):
        query(one("NE", {"N": "2"}))
    with refused("ValidationException", 400):
        query(None, QueryFilter={"r": one("EQ", {"N": "1"})})


def test_scans_by_filters(rows, name):
    scan = lambda **filters: found(rows.scan(TableName=name, ScanFilter=filters))
    assert scan(colour=one("IN", {"S": "red"}, {"S": "blue"})) == [0, 3]
    assert scan(colour=one("NOT_CONTAINS", {"S": "red"})) == [1, 3]
    assert scan(colour=one("NE", {"S": "red"}), r=one("LE", {"N": "2"})) == [1, 2]
    assert scan(missing=one("NULL")) == [0, 1, 2, 3] and scan(missing=one("NOT_NULL")) == []
    with refused("ValidationException", 400) as failure:
        scan(colour=one("EQ", {"S": "a"}, {"S": "b"}))
    assert failure.value.response["Error"]["Message"] == "One or more parameter values were invalid: Invalid number of argument(s) for the EQ ComparisonOperator"


def test_items_by_attributes(rows, name):
    key = {"h": {"S": "a"}, "r": {"N": "0"}}
    assert rows.get_item(TableName=name, Key=key, AttributesToGet=["colour", "missing"])["Item"] == {"colour": {"S": "red"}}
    batch = rows.batch_get_item(RequestItems={name: {"Keys": [key], "AttributesToGet": ["r"]}})
    assert batch["Responses"][name] == [{"r": {"N": "0"}}]
    with refused("ValidationException", 400) as failure:
        rows.get_item(TableName=name, Key=key, AttributesToGet=["colour"], ProjectionExpression="colour")
    assert "Non-expression parameters: {AttributesToGet} Expression parameters: {ProjectionExpression}" in failure.value.response["Error"]["Message"]


def test_updates_by_attributes(rows, name):
    key = {"h": {"S": "new"}, "r": {"N": "1"}}
    update = lambda **changes: rows.update_item(TableName=name, Key=key, AttributeUpdates=changes, ReturnValues="ALL_NEW")["Attributes"]
    assert update(n={"Value": {"N": "1"}, "Action": "PUT"}, tags={"Value": {"SS": ["a", "b"]}})["n"] == {"N": "1"}
    changed = update(n={"Value": {"N": "4"}, "Action": "ADD"}, tags={"Value": {"SS": ["a"]}, "Action": "DELETE"})
    assert changed["n"] == {"N": "5"} and changed["tags"] == {"SS": ["b"]}
    assert "tags" not in update(tags={"Action": "DELETE"})
    with refused("ValidationException", 400):
        update(n={"Action": "PUT"})
    with refused("ValidationException", 400):
        update(n={"Value": {"S": "x"}, "Action": "ADD"})
    with refused("ValidationException", 400):
        update(r={"Value": {"N": "2"}, "Action": "PUT"})


def test_writes_expect(rows, name):
    item = {"h": {"S": "a"}, "r": {"N": "0"}, "colour": {"S": "white"}}
    put = lambda expected, **more: rows.put_item(TableName=name, Item=item, Expected=expected, **more)
    for wrong in ({"colour": {"Exists": False}}, {"colour": {"Value": {"S": "blue"}}}, {"colour": one("LT", {"S": "a"})},
                  {"colour": {"Value": {"S": "red"}}, "r": one("GT", {"N": "5"})}):
        with refused("ConditionalCheckFailedException", 400):
            put(wrong)
    put({"colour": {"Value": {"S": "red"}}, "r": one("GT", {"N": "5"})}, ConditionalOperator="OR")
    with refused("ConditionalCheckFailedException", 400):
        rows.delete_item(TableName=name, Key={"h": {"S": "a"}, "r": {"N": "0"}}, Expected={"colour": {"Value": {"S": "red"}, "Exists": True}})
    rows.delete_item(TableName=name, Key={"h": {"S": "a"}, "r": {"N": "0"}}, Expected={"colour": one("NOT_NULL")})
    put({"h": {"Exists": False}})
    for bad in ({"a": {"Exists": True}}, {"a": {}}, {"a": {"Exists": False, "Value": {"S": "x"}}}, {"a": {"ComparisonOperator": "EQ"}}):
        with refused("ValidationException", 400):
            put(bad)
