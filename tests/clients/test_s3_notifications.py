"""S3's notifications: who hears of what, and what an event says."""

import json

import pytest
from support import refused


@pytest.fixture
def s3(server, name):
    client = server.client("s3")
    client.create_bucket(Bucket=name)
    return client


@pytest.fixture
def queue(server, name):
    """A queue's ARN, and what takes the events it got so far."""
    queues = server.client("sqs")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def events(count):
        found = []
        while len(found) < count:
            messages = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=10).get("Messages", [])
            assert messages, f"{count} events were awaited, these came: {found}"
            for message in messages:
                queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found += json.loads(message["Body"]).get("Records", [])
        return found

    return arn, events


def configure(s3, bucket, arn, events, **rules):
    one = {"Id": "told", "QueueArn": arn, "Events": events}
    if rules:
        one["Filter"] = {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [one]})


def test_an_event_says_what_happened(s3, name, queue):
    arn, events = queue
    configure(s3, name, arn, ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"])
    etag = s3.put_object(Bucket=name, Key="a b/ü+.txt", Body=b"12345")["ETag"]
    s3.copy_object(Bucket=name, Key="copy", CopySource={"Bucket": name, "Key": "a b/ü+.txt"})
    upload = s3.create_multipart_upload(Bucket=name, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=name, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(Bucket=name, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    s3.delete_object(Bucket=name, Key="copy")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "parts"}]})
    told = events(5)
    kinds = sorted((one["eventName"], one["s3"]["object"]["key"]) for one in told)
    assert kinds == [("ObjectCreated:CompleteMultipartUpload", "parts"), ("ObjectCreated:Copy", "copy"), ("ObjectCreated:Put", "a+b/%C3%BC%2B.txt"),
                     ("ObjectRemoved:Delete", "copy"), ("ObjectRemoved:Delete", "parts")]
    put = next(one for one in told if one["eventName"] == "ObjectCreated:Put")
    assert (put["eventSource"], put["awsRegion"], put["s3"]["configurationId"]) == ("aws:s3", "us-east-1", "told")
    assert put["s3"]["bucket"]["name"] == name and put["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{name}"
    assert (put["s3"]["object"]["size"], put["s3"]["object"]["eTag"]) == (5, etag.strip('"'))
    assert "size" not in next(one for one in told if one["eventName"] == "ObjectRemoved:Delete")["s3"]["object"]


def test_filters_look_at_both_ends_of_a_key(s3, name, queue):
    arn, events = queue
    configure(s3, name, arn, ["s3:ObjectCreated:Put"], prefix="in/", suffix=".json")
    for key in ["in/a.txt", "out/b.json", "in/c.json"]:
        s3.put_object(Bucket=name, Key=key, Body=b"x")
    s3.delete_object(Bucket=name, Key="in/c.json")
    s3.put_object(Bucket=name, Key="in/last.json", Body=b"x")
    assert sorted(one["s3"]["object"]["key"] for one in events(2)) == ["in/c.json", "in/last.json"]


def test_configurations_are_given_back_and_replaced(s3, name, queue):
    arn, _ = queue
    configure(s3, name, arn, ["s3:ObjectCreated:*"], prefix="in/")
    got = s3.get_bucket_notification_configuration(Bucket=name)["QueueConfigurations"]
    assert got == [{"Id": "told", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "in/"}]}}}]
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={})
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=name)


def test_configurations_that_cannot_be(s3, name, queue):
    arn, _ = queue
    wrong = [
        [{"QueueArn": arn, "Events": ["s3:ObjectInvented:*"]}],
        [{"QueueArn": arn + "x", "Events": ["s3:ObjectCreated:*"]}],
        [{"QueueArn": "no arn", "Events": ["s3:ObjectCreated:*"]}],
        [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}, {"QueueArn": arn, "Events": ["s3:ObjectCreated:Put"]}],
        [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a"}, {"Name": "prefix", "Value": "b"}]}}}],
    ]
    for configurations in wrong:
        with pytest.raises(s3.exceptions.ClientError) as info:
            s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"QueueConfigurations": configurations})
        assert info.value.response["Error"]["Code"] in ("InvalidArgument", "MalformedXML"), configurations
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=name)
    with refused("NoSuchBucket", 404):
        s3.get_bucket_notification_configuration(Bucket=name + "x")


def test_the_default_bus_hears_of_objects(server, name, eventually):
    s3, events, sqs = server.client("s3"), server.client("events"), server.client("sqs")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [name]}}}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    s3.put_object(Bucket=name, Key="a b.txt", Body=b"12345")
    s3.delete_object(Bucket=name, Key="a b.txt")
    seen = []
    eventually(lambda: seen.extend(json.loads(one["Body"]) for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages", [])) or len(seen) == 2)
    created, deleted = sorted(seen, key=lambda one: one["detail-type"])
    assert (created["detail-type"], created["resources"], created["account"]) == ("Object Created", [f"arn:aws:s3:::{name}"], "000000000000")
    detail = created["detail"]
    assert (detail["object"]["key"], detail["object"]["size"], detail["reason"], detail["version"]) == ("a b.txt", 5, "PutObject", "0")
    assert detail["object"]["etag"] == "827ccb0eea8a706c4c34a16891f84e7b" and detail["object"]["sequencer"]
    assert (deleted["detail-type"], deleted["detail"]["deletion-type"]) == ("Object Deleted", "Permanently Deleted")
