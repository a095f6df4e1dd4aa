"""DynamoDB's time to live: items whose moment has come go, and streams say why."""

import json
import time
import urllib.request

from support import refused, table


def advance(server, seconds):
    request = urllib.request.Request(f"{server.endpoint}/_tidemill/clock/advance/{seconds * 1000}", method="POST")
    urllib.request.urlopen(request, timeout=10).read()


def setting(name, enabled=True, attribute="until"):
    return {"TableName": name, "TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}}


def why(tables, asked):
    with refused("ValidationException", 400) as failure:
        tables.update_time_to_live(**asked)
    return failure.value.response["Error"]["Message"]


def keys(tables, name):
    return sorted(item["id"]["S"] for item in tables.scan(TableName=name)["Items"])


def put(tables, name, key, until):
    tables.put_item(TableName=name, Item={"id": {"S": key}, "until": until})


def test_settings_answer_as_dynamodb_does(server, name):
    tables = table(server, name)
    assert why(tables, setting(name, False)) == "TimeToLive is already disabled"
    answer = tables.update_time_to_live(**setting(name))
    assert answer["TimeToLiveSpecification"] == {"Enabled": True, "AttributeName": "until"}
    assert tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    assert why(tables, setting(name)) == "TimeToLive is already enabled"
    assert why(tables, setting(name, False, "other")) == "TimeToLive is active on a different AttributeName: current AttributeName is until"
    tables.update_time_to_live(**setting(name, False))
    assert tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "DISABLED"}
    with refused("ResourceNotFoundException", 400):
        tables.update_time_to_live(**setting(name + "x"))


def test_items_go_when_their_time_has_come(private_server, name, eventually):
    tables = table(private_server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"})
    now = int(time.time())
    # One is there before time to live is enabled.
    put(tables, name, "before", {"N": str(now + 1000)})
    tables.update_time_to_live(**setting(name))
    put(tables, name, "soon", {"N": str(now + 1000)})
    put(tables, name, "prolonged", {"N": str(now + 1000)})
    put(tables, name, "later", {"N": str(now + 5000)})
    put(tables, name, "text", {"S": str(now - 10)})
    put(tables, name, "ancient", {"N": "17"})
    put(tables, name, "past", {"N": str(now - 10)})
    tables.update_item(TableName=name, Key={"id": {"S": "prolonged"}}, UpdateExpression="SET #u = :t",
                       ExpressionAttributeNames={"#u": "until"}, ExpressionAttributeValues={":t": {"N": str(now + 9000)}})
    eventually(lambda: keys(tables, name) == ["ancient", "before", "later", "prolonged", "soon", "text"])
    advance(private_server, 1001)
    eventually(lambda: keys(tables, name) == ["ancient", "later", "prolonged", "text"])
    private_server.kill()
    private_server.start()
    tables = private_server.client("dynamodb")
    advance(private_server, 5000)
    eventually(lambda: keys(tables, name) == ["ancient", "prolonged", "text"])
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    reader = private_server.client("dynamodbstreams")
    shard = reader.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
    told = reader.get_records(ShardIterator=reader.get_shard_iterator(StreamArn=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"])["Records"]
    gone = [record for record in told if record["eventName"] == "REMOVE"]
    assert sorted(record["dynamodb"]["Keys"]["id"]["S"] for record in gone) == ["before", "later", "past", "soon"]
    assert all(record["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"} for record in gone)
    assert not any("userIdentity" in record for record in told if record["eventName"] != "REMOVE")


def test_disabled_means_kept(private_server, name, eventually):
    tables = table(private_server, name)
    tables.update_time_to_live(**setting(name))
    now = int(time.time())
    put(tables, name, "a", {"N": str(now + 100)})
    tables.update_time_to_live(**setting(name, False))
    tables.update_time_to_live(**setting(name, attribute="other"))
    tables.put_item(TableName=name, Item={"id": {"S": "b"}, "other": {"N": str(now + 100)}})
    advance(private_server, 200)
    eventually(lambda: keys(tables, name) == ["a"])


def test_stacks_set_it(server, name):
    stacks, tables = server.client("cloudformation"), server.client("dynamodb")

    def template(attribute):
        properties = {"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                      "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                      "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": True}}
        return json.dumps({"Resources": {"Table": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}})

    attribute = lambda: tables.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["AttributeName"]
    stacks.create_stack(StackName=name, TemplateBody=template("one"))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert attribute() == "one"
    stacks.update_stack(StackName=name, TemplateBody=template("two"))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert attribute() == "two"
