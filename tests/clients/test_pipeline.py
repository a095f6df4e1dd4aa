"""A file becomes a row, and the row a sum: S3, a function, a table, its stream, another function. And after a crash."""

from support import function, table, zipped

LOADER = """
import json, os, urllib.parse, boto3
s3, sales = boto3.client("s3"), boto3.resource("dynamodb").Table(os.environ["SALES"])
def handler(event, context):
    record = event["Records"][0]["s3"]
    key = urllib.parse.unquote_plus(record["object"]["key"])
    sale = json.loads(s3.get_object(Bucket=record["bucket"]["name"], Key=key)["Body"].read())
    sales.put_item(Item={"id": key, "amount": sale["amount"]})
"""
SUMMER = """
import os, boto3
metrics = boto3.resource("dynamodb").Table(os.environ["METRICS"])
def handler(event, context):
    for record in event["Records"]:
        amount = int(record["dynamodb"]["NewImage"]["amount"]["N"])
        metrics.update_item(Key={"id": "total"}, UpdateExpression="ADD amount :a, files :one",
                            ExpressionAttributeValues={":a": amount, ":one": 1})
"""


def deploy(server, name):
    sales, metrics = name + "-sales", name + "-metrics"
    tables = table(server, sales, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    table(server, metrics)
    environment = {"Variables": {"SALES": sales, "METRICS": metrics}}
    loader = function(server, name + "-loader", zipped(app__py=LOADER), Environment=environment)
    function(server, name + "-summer", zipped(app__py=SUMMER), Environment=environment)
    stream = tables.describe_table(TableName=sales)["Table"]["LatestStreamArn"]
    server.client("lambda").create_event_source_mapping(EventSourceArn=stream, FunctionName=name + "-summer", StartingPosition="TRIM_HORIZON")
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"LambdaFunctionConfigurations": [
        {"LambdaFunctionArn": loader, "Events": ["s3:ObjectCreated:*"], "Filter": rule}]})
    return metrics


def total(server, metrics):
    item = server.client("dynamodb").get_item(TableName=metrics, Key={"id": {"S": "total"}}).get("Item", {})
    return int(item["files"]["N"]) if item else 0


def test_a_file_becomes_a_sum(server, name, eventually):
    metrics = deploy(server, name)
    s3 = server.client("s3")
    s3.put_object(Bucket=name, Key="elsewhere/0.json", Body=b'{"amount": 1000}')
    for n in range(5):
        s3.put_object(Bucket=name, Key=f"in/sale {n}.json", Body=b'{"amount": 7}')
    eventually(lambda: total(server, metrics) == 5)
    item = server.client("dynamodb").get_item(TableName=metrics, Key={"id": {"S": "total"}})["Item"]
    assert item["amount"] == {"N": "35"}


def test_nothing_acknowledged_is_lost_by_kill_9(private_server, name, eventually):
    server = private_server
    metrics = deploy(server, name)
    acknowledged = 0
    for _ in range(4):
        s3, tables = server.client("s3"), server.client("dynamodb")
        for n in range(6):
            s3.put_object(Bucket=name, Key=f"in/{acknowledged:04}.json", Body=b'{"amount": 1}')
            tables.put_item(TableName=metrics, Item={"id": {"S": f"direct-{acknowledged}"}})
            acknowledged += 1
        server.kill()
        server.start()
        tables, s3 = server.client("dynamodb"), server.client("s3")
        assert len(s3.list_objects_v2(Bucket=name)["Contents"]) == acknowledged
        for n in range(acknowledged):
            assert "Item" in tables.get_item(TableName=metrics, Key={"id": {"S": f"direct-{n}"}}), n
    # Functions run at least once for every file and every record, whatever was interrupted.
    eventually(lambda: total(server, metrics) >= acknowledged, seconds=60)
    rows = server.client("dynamodb").scan(TableName=name + "-sales")["Items"]
    assert {row["id"]["S"] for row in rows} == {f"in/{n:04}.json" for n in range(acknowledged)}
