"""DynamoDB's expressions: conditions, updates, projections, and what they refuse."""

import pytest
from support import refused, table

KEY = {"id": {"S": "a"}}
ITEM = {**KEY, "n": {"N": "5"}, "s": {"S": "hello"}, "l": {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}]}, "m": {"M": {"in": {"S": "deep"}, "l": {"L": [{"M": {"x": {"N": "9"}}}]}}},
        "tagset": {"SS": ["a", "b"]}, "yes": {"BOOL": True}, "none": {"NULL": True}, "bin": {"B": b"xyz"}}
VALUES = {":n5": {"N": "5"}, ":n6": {"N": "6"}, ":hell": {"S": "hell"}, ":a": {"S": "a"}, ":S": {"S": "S"}, ":L": {"S": "L"}, ":three": {"N": "3"}, ":true": {"BOOL": True}, ":missing": {"S": "missing"},
          ":one": {"N": "1"}, ":list": {"L": [{"N": "4"}]}, ":ab": {"SS": ["a", "c"]}, ":zero": {"N": "0"}}


@pytest.fixture(scope="module")
def tables(server):
    return table(server, "expressions")


def used(text):
    return {key: value for key, value in VALUES.items() if any(word.strip("(),[]") == key for word in text.replace(",", " , ").replace(")", " ) ").replace("(", " ( ").split())}


def holds(tables, text, names=None):
    """Whether the condition is true of the item."""
    more = {"ExpressionAttributeNames": names} if names else {}
    values = used(text)
    if values:
        more["ExpressionAttributeValues"] = values
    tables.put_item(TableName="expressions", Item=ITEM)
    try:
        tables.put_item(TableName="expressions", Item=ITEM, ConditionExpression=text, **more)
    except tables.exceptions.ConditionalCheckFailedException:
        return False
    return True


@pytest.mark.parametrize("text", [
    "n = :n5", "n <> :n6", "n < :n6", ":n6 >= n", "n BETWEEN :one AND :n6", "n IN (:one, :n5)", "attribute_exists(m.l[0].x)", "attribute_not_exists(m.nope)",
    "attribute_not_exists(l[3])", "attribute_type(s, :S)", "attribute_type(l, :L)", "begins_with(s, :hell)", "contains(s, :hell)", "contains(tagset, :a)", "contains(l, :one)",
    "size(l) = :three", "size(bin) = :three", "size(s) > :three", "NOT n = :n6", "n = :n6 OR yes = :true", "(n = :n6 OR n = :n5) AND NOT (s = :a)", "l[0] = :one",
    "n = :n5 or n = :n6 and s = :a", "not n = :n6 and n = :n5",
])
def test_conditions_that_hold(tables, text):
    assert holds(tables, text)


@pytest.mark.parametrize("text", [
    "n = :n6", "s < :n6", "s = :n5", "nope = :n5", "nope <> :n5 AND n = :n6", "attribute_exists(nope)", "contains(n, :one)", "n BETWEEN :n6 AND :n6", "size(n) > :zero",
    "attribute_type(n, :S)", "begins_with(nope, :hell)", "NOT yes = :true",
])
def test_conditions_that_do_not_hold(tables, text):
    assert not holds(tables, text)


def test_a_missing_attribute_differs_from_every_value(tables):
    assert holds(tables, "nope <> :n5")


@pytest.mark.parametrize("text", ["", "n", "n =", "= :n5", "n == :n5", "n = :n5 AND", "begins_with(s)", "begins_with(s, :n5)", "unheard(s)", "size(s)", "n IN ()", "n BETWEEN :n5", "attribute_exists(:n5)",
                                  "attribute_type(s, :hell)", "n BETWEEN :n6 AND :n5", "s = s", "l[-1] = :n5", "#x = :n5", "n = :undefined", "size = :n5"])
def test_conditions_that_say_nothing(tables, text):
    more = {"ExpressionAttributeValues": used(text)} if used(text) else {}
    with refused("ValidationException", 400) as info:
        tables.put_item(TableName="expressions", Item=ITEM, ConditionExpression=text, **more)
    assert info.value.response["Error"]["Message"]


def test_what_is_unused_is_named(tables):
    with refused("ValidationException", 400) as info:
        tables.put_item(TableName="expressions", Item=ITEM, ConditionExpression="n = :n5", ExpressionAttributeValues={":n5": {"N": "5"}, ":x": {"N": "1"}})
    assert info.value.response["Error"]["Message"] == "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}"
    with refused("ValidationException", 400) as info:
        tables.put_item(TableName="expressions", Item=ITEM, ConditionExpression="attribute_exists(n)", ExpressionAttributeNames={"#x": "x"})
    assert info.value.response["Error"]["Message"] == "Value provided in ExpressionAttributeNames unused in expressions: keys: {#x}"
    with refused("ValidationException", 400) as info:
        tables.put_item(TableName="expressions", Item=ITEM, ExpressionAttributeValues={":n5": {"N": "5"}})
    assert info.value.response["Error"]["Message"] == "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null"


def update(tables, text, **more):
    tables.put_item(TableName="expressions", Item=ITEM)
    if used(text):
        more["ExpressionAttributeValues"] = used(text)
    return tables.update_item(TableName="expressions", Key=KEY, UpdateExpression=text, ReturnValues="ALL_NEW", **more)["Attributes"]


@pytest.mark.parametrize(("text", "attribute", "expected"), [
    ("SET n = n + :one", "n", {"N": "6"}),
    ("SET n = :n6 - n", "n", {"N": "1"}),
    ("SET fresh = if_not_exists(fresh, :n5)", "fresh", {"N": "5"}),
    ("SET n = if_not_exists(n, :n6) + :one", "n", {"N": "6"}),
    ("SET l = list_append(l, :list)", "l", {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}, {"N": "4"}]}),
    ("SET l = list_append(:list, l)", "l", {"L": [{"N": "4"}, {"N": "1"}, {"N": "2"}, {"N": "3"}]}),
    ("SET l[1] = :n6", "l", {"L": [{"N": "1"}, {"N": "6"}, {"N": "3"}]}),
    ("SET l[90] = :n6", "l", {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}, {"N": "6"}]}),
    ("SET m.l[0].x = :one", "m", {"M": {"in": {"S": "deep"}, "l": {"L": [{"M": {"x": {"N": "1"}}}]}}}),
    ("REMOVE l[0], l[2]", "l", {"L": [{"N": "2"}]}),
    ("REMOVE m.l", "m", {"M": {"in": {"S": "deep"}}}),
    ("REMOVE nope", "n", {"N": "5"}),
    ("ADD n :one", "n", {"N": "6"}),
    ("ADD fresh :one", "fresh", {"N": "1"}),
    ("SET s = n, n = :one", "s", {"N": "5"}),
])
def test_updates(tables, text, attribute, expected):
    assert update(tables, text)[attribute] == expected


def test_updates_of_sets(tables):
    assert sorted(update(tables, "ADD #tagset :ab", ExpressionAttributeNames={"#tagset": "tagset"})["tagset"]["SS"]) == ["a", "b", "c"]
    assert update(tables, "DELETE #tagset :ab", ExpressionAttributeNames={"#tagset": "tagset"})["tagset"]["SS"] == ["b"]
    several = update(tables, "SET n = :one REMOVE s ADD fresh :n5 DELETE #tagset :ab", ExpressionAttributeNames={"#tagset": "tagset"})
    assert (several["n"], several["fresh"], several["tagset"], "s" in several) == ({"N": "1"}, {"N": "5"}, {"SS": ["b"]}, False)


@pytest.mark.parametrize("text", [
    "", "SET", "SET n", "SET n = :one SET s = :a", "SET n = :one, n = :n5", "SET m = :one, m.l = :one", "SET id = :a", "REMOVE id", "SET s = s + :one", "SET n = n + nope", "SET l = list_append(l, :one)",
    "ADD s :one", "ADD n :a", "DELETE n :one", "SET nope.deep = :one", "SET s.deep = :one", "SET n = n * :n5", "SET n = nope", "FROB n :one", "ADD n n",
])
def test_updates_that_cannot_be(tables, text):
    tables.put_item(TableName="expressions", Item=ITEM)
    more = {"ExpressionAttributeValues": used(text)} if used(text) else {}
    with refused("ValidationException", 400):
        tables.update_item(TableName="expressions", Key=KEY, UpdateExpression=text, **more)
    left = tables.get_item(TableName="expressions", Key=KEY)["Item"]
    left["tagset"]["SS"].sort()
    assert left == ITEM


def test_projections(tables):
    tables.put_item(TableName="expressions", Item=ITEM)
    get = lambda text, **more: tables.get_item(TableName="expressions", Key=KEY, ProjectionExpression=text, **more)["Item"]
    assert get("n, m.l[0].x") == {"n": {"N": "5"}, "m": {"M": {"l": {"L": [{"M": {"x": {"N": "9"}}}]}}}}
    assert get("l[2], l[0]") == {"l": {"L": [{"N": "1"}, {"N": "3"}]}}
    assert get("#y", ExpressionAttributeNames={"#y": "yes"}) == {"yes": {"BOOL": True}} and get("nope") == {}
    for text in ["", "n,", "m, m.l", "n, n", "#undefined", "name"]:
        with refused("ValidationException", 400):
            get(text)


def test_an_update_makes_what_is_not_there(tables):
    key = {"id": {"S": "fresh"}}
    made = tables.update_item(TableName="expressions", Key=key, UpdateExpression="SET n = :n", ExpressionAttributeValues={":n": {"N": "1"}}, ReturnValues="ALL_NEW")
    assert made["Attributes"] == {**key, "n": {"N": "1"}}
    with refused("ValidationException", 400) as info:
        tables.update_item(TableName="expressions", Key=key, UpdateExpression="SET n = :n", ExpressionAttributeValues={":n": {"S": "x" * 410_000}})
    assert info.value.response["Error"]["Message"] == "Item size to update has exceeded the maximum allowed size"
