"""SQS with boto3 (JSON), the older query protocol and the AWS CLI."""

import concurrent.futures
import hashlib
import json
import time
import urllib.parse

import pytest
import requests_free as http
from support import refused


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def queue(sqs, name):
    return sqs.create_queue(QueueName=name)["QueueUrl"]


def arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def receive(sqs, url, most=10, **more):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most, **more).get("Messages", [])


def attributes(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def test_a_message_goes_through(sqs, queue):
    value = {"DataType": "String", "StringValue": "b"}
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hello", MessageAttributes={"a": value, "n": {"DataType": "Number", "StringValue": "5"}, "x": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}})
    assert sent["MD5OfMessageBody"] == hashlib.md5(b"hello").hexdigest()
    message = receive(sqs, queue, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])[0]
    assert (message["MessageId"], message["Body"], message["MD5OfBody"]) == (sent["MessageId"], "hello", sent["MD5OfMessageBody"])
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"]["a"] == value and message["MessageAttributes"]["x"]["BinaryValue"] == b"\x00\x01"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1" and {"SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp"} <= message["Attributes"].keys()
    now = attributes(sqs, queue)
    assert (now["ApproximateNumberOfMessages"], now["ApproximateNumberOfMessagesNotVisible"]) == ("0", "1")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert attributes(sqs, queue)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_visibility_and_delay(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=1)
    assert receive(sqs, queue) == [] and attributes(sqs, queue)["ApproximateNumberOfMessagesDelayed"] == "1"
    message = receive(sqs, queue, WaitTimeSeconds=5)[0]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    again = receive(sqs, queue, VisibilityTimeout=1, MessageSystemAttributeNames=["ApproximateReceiveCount"])[0]
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"} and again["ReceiptHandle"] != message["ReceiptHandle"]
    assert receive(sqs, queue) == []
    assert receive(sqs, queue, WaitTimeSeconds=5)[0]["Body"] == "later"


def test_long_polls_wake_at_once(server, sqs, queue):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: (receive(server.client("sqs"), queue, WaitTimeSeconds=20), time.monotonic()))
        time.sleep(0.3)
        sent = time.monotonic()
        sqs.send_message(QueueUrl=queue, MessageBody="wake")
        messages, got = waiting.result(10)
    assert messages[0]["Body"] == "wake" and got - sent < 1


def test_batches_fail_by_entry(sqs, queue):
    sent = sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": "2", "DelaySeconds": 901}, {"Id": "c", "MessageBody": "\u0001"}])
    assert [one["Id"] for one in sent["Successful"]] == ["a"]
    assert {(one["Id"], one["Code"]) for one in sent["Failed"]} == {("b", "InvalidParameterValue"), ("c", "InvalidMessageContents")}
    with refused("AWS.SimpleQueueService.EmptyBatchRequest", 400):
        sqs.send_message_batch(QueueUrl=queue, Entries=[])
    with refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400):
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(11)])
    with refused("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400):
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "a", "MessageBody": "x"}] * 2)
    with refused("AWS.SimpleQueueService.InvalidBatchEntryId", 400):
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "no good", "MessageBody": "x"}])
    message = receive(sqs, queue)[0]
    gone = sqs.delete_message_batch(QueueUrl=queue, Entries=[{"Id": "x", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "y", "ReceiptHandle": "nonsense"}])
    assert [one["Id"] for one in gone["Successful"]] == ["x"] and gone["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"


def test_queues_are_made_found_set_and_deleted(sqs, name):
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"}, tags={"team": "sales"})["QueueUrl"]
    assert sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})["QueueUrl"] == url == sqs.get_queue_url(QueueName=name)["QueueUrl"]
    with refused("QueueAlreadyExists", 400):
        sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "6"})
    assert sqs.list_queues(QueueNamePrefix=name)["QueueUrls"] == [url]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "3"})
    now = attributes(sqs, url)
    assert (now["DelaySeconds"], now["VisibilityTimeout"], now["MessageRetentionPeriod"], now["MaximumMessageSize"]) == ("3", "5", "345600", "1048576")
    for given in [{"DelaySeconds": "901"}, {"VisibilityTimeout": "x"}, {"RedrivePolicy": "{"}]:
        with refused("InvalidAttributeValue", 400):
            sqs.set_queue_attributes(QueueUrl=url, Attributes=given)
    with refused("InvalidAttributeName", 400):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Nonsense": "1"})
    sqs.tag_queue(QueueUrl=url, Tags={"a": "b"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
    sqs.add_permission(QueueUrl=url, Label="all", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    assert json.loads(attributes(sqs, url)["Policy"])["Statement"][0]["Action"] == "SQS:SendMessage"
    sqs.remove_permission(QueueUrl=url, Label="all")
    assert "Policy" not in attributes(sqs, url)
    sqs.delete_queue(QueueUrl=url)
    with refused("AWS.SimpleQueueService.NonExistentQueue", 400) as info:
        sqs.get_queue_url(QueueName=name)
    assert info.value.response["Error"]["Message"] == "The specified queue does not exist."
    with refused("InvalidParameterValue", 400):
        sqs.create_queue(QueueName="no good!")


def test_purges_empty_once_a_minute(sqs, queue):
    for n in range(5):
        sqs.send_message(QueueUrl=queue, MessageBody=str(n))
    sqs.purge_queue(QueueUrl=queue)
    assert receive(sqs, queue) == []
    with refused("AWS.SimpleQueueService.PurgeQueueInProgress"):
        sqs.purge_queue(QueueUrl=queue)
    sqs.send_message(QueueUrl=queue, MessageBody="after")
    assert receive(sqs, queue)[0]["Body"] == "after"


def test_fifo_keeps_order_and_deduplicates(sqs, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    for group, body in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "1")]:
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group)
    first = receive(sqs, url, 1, MessageSystemAttributeNames=["All"])[0]
    assert (first["Body"], first["Attributes"]["MessageGroupId"]) == ("1", "a") and len(first["Attributes"]["SequenceNumber"]) == 20
    assert [m["Body"] for m in receive(sqs, url)] == ["2"], "group a is blocked and the second 1 was a duplicate"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert [m["Body"] for m in receive(sqs, url)] == ["3"]
    with refused("MissingParameter", 400):
        sqs.send_message(QueueUrl=url, MessageBody="x")
    with refused("InvalidParameterValue", 400):
        sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="a", DelaySeconds=5)
    with refused("InvalidParameterValue", 400):
        sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})


def test_a_repeated_receive_attempt_gets_the_same_messages(sqs, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="a", MessageDeduplicationId="1")
    first = receive(sqs, url, ReceiveRequestAttemptId="try")
    again = receive(sqs, url, ReceiveRequestAttemptId="try")
    assert again[0]["ReceiptHandle"] == first[0]["ReceiptHandle"] and receive(sqs, url, ReceiveRequestAttemptId="other") == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    assert receive(sqs, url, ReceiveRequestAttemptId="try") == []


def test_dead_letters_move_and_come_back(sqs, name, eventually):
    dead = sqs.create_queue(QueueName=name + "-dead")["QueueUrl"]
    dead_arn = arn(sqs, dead)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "0"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    assert len(receive(sqs, url)) == 1 and len(receive(sqs, url)) == 1 and receive(sqs, url) == []
    message = receive(sqs, dead, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])[0]
    assert message["Body"] == "poison" and message["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, url)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    with refused("InvalidParameterValue", 400):
        sqs.start_message_move_task(SourceArn=arn(sqs, url))
    sqs.start_message_move_task(SourceArn=dead_arn)
    eventually(lambda: sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["Status"] == "COMPLETED")
    assert sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["ApproximateNumberOfMessagesMoved"] == 1
    assert receive(sqs, url)[0]["Body"] == "poison" and receive(sqs, dead) == []
    missing = json.dumps({"deadLetterTargetArn": dead_arn + "x", "maxReceiveCount": 2})
    with refused("InvalidParameterValue", 400):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": missing})


def test_messages_are_checked(sqs, queue):
    with refused("InvalidParameterValue", 400):
        sqs.send_message(QueueUrl=queue, MessageBody="x" * (1024 * 1024 + 1))
    sqs.send_message(QueueUrl=queue, MessageBody="x" * (1024 * 1024))
    with refused("InvalidMessageContents", 400):
        sqs.send_message(QueueUrl=queue, MessageBody="\u0000")
    with refused("InvalidParameterValue", 400):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes={"AWS.x": {"DataType": "String", "StringValue": "x"}})
    with refused("InvalidParameterValue", 400):
        sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes={"x": {"DataType": "Number", "StringValue": "five"}})
    with refused("ReceiptHandleIsInvalid"):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle="nonsense")
    with refused("InvalidParameterValue", 400):
        sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=11)


def test_the_older_protocol(server, sqs, queue):
    scope = "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"

    def ask(**parameters):
        form = urllib.parse.urlencode({"Version": "2012-11-05", **parameters}).encode()
        return http.post(server.endpoint, form, Authorization=scope, Content_Type="application/x-www-form-urlencoded")

    status, body = ask(Action="SendMessage", QueueUrl=queue, MessageBody="old & true", **{
        "MessageAttribute.1.Name": "a", "MessageAttribute.1.Value.DataType": "String", "MessageAttribute.1.Value.StringValue": "b"})
    assert status == 200 and b"<SendMessageResult>" in body and b"<MD5OfMessageAttributes>" in body and b"<RequestId>" in body
    status, body = ask(Action="ReceiveMessage", QueueUrl=queue, **{"AttributeName.1": "All", "MessageAttributeName.1": "All"})
    assert b"<Body>old &amp; true</Body>" in body and b"<Attribute><Name>SenderId</Name>" in body and b"<MessageAttribute><Name>a</Name><Value>" in body
    status, body = ask(Action="GetQueueAttributes", QueueUrl=queue, **{"AttributeName.1": "VisibilityTimeout"})
    assert b"<Attribute><Name>VisibilityTimeout</Name><Value>30</Value></Attribute>" in body
    status, body = ask(Action="SendMessageBatch", QueueUrl=queue, **{
        "SendMessageBatchRequestEntry.1.Id": "one", "SendMessageBatchRequestEntry.1.MessageBody": "1",
        "SendMessageBatchRequestEntry.2.Id": "two", "SendMessageBatchRequestEntry.2.MessageBody": "2"})
    assert body.count(b"<SendMessageBatchResultEntry>") == 2
    status, body = ask(Action="GetQueueUrl", QueueName="nobody")
    assert status == 400 and b"<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in body and b"<Type>Sender</Type>" in body


def test_the_cli(server, name):
    url = json.loads(server.cli("sqs", "create-queue", "--queue-name", name, "--output", "json"))["QueueUrl"]
    server.cli("sqs", "send-message", "--queue-url", url, "--message-body", "from the CLI")
    assert "from the CLI" in server.cli("sqs", "receive-message", "--queue-url", url)


def test_acknowledged_survives_kill_9(private_server, name):
    server = private_server
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for n in range(50):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    gone = set()
    for message in receive(sqs, url) + receive(sqs, url):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        gone.add(message["Body"])
    hidden = {message["Body"] for message in receive(sqs, url, VisibilityTimeout=600)}
    server.kill()
    server.start()
    sqs = server.client("sqs")
    left = []
    while batch := receive(sqs, url, VisibilityTimeout=600):
        left += [message["Body"] for message in batch]
    everything = {str(n) for n in range(50)}
    assert everything - gone - hidden <= set(left) <= everything - gone and len(left) == len(set(left))


def test_files_reach_queues(server, sqs, queue, name):
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"QueueConfigurations": [
        {"QueueArn": arn(sqs, queue), "Events": ["s3:ObjectCreated:*"]}]})
    [test] = receive(sqs, queue, WaitTimeSeconds=5)
    assert json.loads(test["Body"])["Event"] == "s3:TestEvent"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=test["ReceiptHandle"])
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    messages = receive(sqs, queue, WaitTimeSeconds=5)
    assert json.loads(messages[0]["Body"])["Records"][0]["s3"]["object"]["key"] == "a"


def test_an_event_for_a_sleeping_queue_is_one_message(private_server, name):
    """A queue is read from the store at its first touch; an event may be that touch."""
    queues, events = private_server.client("sqs"), private_server.client("events")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name=name, EventPattern='{"source":["a"]}')
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn(queues, url)}])
    private_server.stop()
    private_server.start()
    private_server.client("events").put_events(Entries=[{"Source": "a", "DetailType": "b", "Detail": "{}"}])
    queues = private_server.client("sqs")
    assert len(receive(queues, url, WaitTimeSeconds=5)) == 1
    counts = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "1")


def test_a_dead_letter_for_a_sleeping_queue_is_one_message(private_server, name):
    """A move into a queue may be the first touch of that queue since the start."""
    queues = private_server.client("sqs")
    dead = queues.create_queue(QueueName=name + "-dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": arn(queues, dead), "maxReceiveCount": 1})
    url = queues.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy})["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="x")
    assert len(receive(queues, url)) == 1
    private_server.stop()
    private_server.start()
    queues = private_server.client("sqs")
    assert receive(queues, url) == []
    assert len(receive(queues, dead, VisibilityTimeout=0)) == 1
    private_server.stop()
    private_server.start()
    queues = private_server.client("sqs")
    queues.start_message_move_task(SourceArn=arn(queues, dead))
    assert [message["Body"] for message in receive(queues, url, WaitTimeSeconds=10)] == ["x"]
    counts = attributes(queues, url)
    assert counts["ApproximateNumberOfMessages"] == "1", "it can be received again, and is there once"


def test_unknown_attributes_and_actions_are_named(sqs, queue):
    with refused("InvalidAttributeName", 400) as caught:
        sqs.receive_message(QueueUrl=queue, MessageSystemAttributeNames=["Bogus"])
    assert "Unknown Attribute Bogus." in str(caught.value)
    for action in ("DeleteQueue", "Bogus"):
        with refused("InvalidParameterValue", 400) as caught:
            sqs.add_permission(QueueUrl=queue, Label="l", AWSAccountIds=["111122223333"], Actions=[action])
        assert f"Value SQS:{action} for parameter ActionName is invalid." in str(caught.value)
    with refused("InvalidParameterValue", 400):
        sqs.add_permission(QueueUrl=queue, Label="l", AWSAccountIds=["ann"], Actions=["SendMessage"])
    assert "Policy" not in attributes(sqs, queue)


def test_policies_are_checked(sqs, queue):
    queue_arn = arn(sqs, queue)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue_arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    wrong = [{}, {"Statement": {**statement, "Effect": "Maybe"}}, {"Statement": [{**statement, "Action": "sns:Publish"}]}, {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*"}]}]
    for text in ["{", "[]", *map(json.dumps, wrong), json.dumps({"Id": "x" * 9000, "Statement": []})]:
        with refused("InvalidAttributeValue", 400) as caught:
            sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": text})
        assert caught.value.response["Error"]["Message"] == "Invalid value for the parameter Policy."
    assert attributes(sqs, queue)["Policy"] == policy
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    assert "Policy" not in attributes(sqs, queue)


def test_a_receive_that_is_refused_hides_nothing(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    for wrong in ({"AttributeNames": ["Bogus"]}, {"MessageSystemAttributeNames": ["Bogus"]}):
        with refused("InvalidAttributeName", 400):
            sqs.receive_message(QueueUrl=queue, **wrong)
    assert [message["Body"] for message in receive(sqs, queue)] == ["x"]


def test_the_trace_header_is_a_text(sqs, queue):
    for kind, value in (("Number", {"StringValue": "1"}), ("Binary", {"BinaryValue": b"1"})):
        with refused("InvalidParameterValue", 400):
            sqs.send_message(QueueUrl=queue, MessageBody="x", MessageSystemAttributes={"AWSTraceHeader": {"DataType": kind, **value}})


def test_high_throughput_needs_both_its_attributes(sqs, name):
    per_group = {"FifoThroughputLimit": "perMessageGroupId"}
    with refused("InvalidAttributeValue", 400):
        sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true", **per_group})
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true", "DeduplicationScope": "messageGroup", **per_group})["QueueUrl"]
    with refused("InvalidAttributeValue", 400):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"DeduplicationScope": "queue"})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"})
    assert attributes(sqs, url)["DeduplicationScope"] == "queue"


def test_tags_of_amazons_own_are_refused(sqs, queue, name):
    for tags in ({"aws:mine": "x"}, {"": "x"}, {"k" * 129: "x"}, {"k": "v" * 257}):
        with refused("InvalidParameterValue", 400):
            sqs.tag_queue(QueueUrl=queue, Tags=tags)
        with refused("InvalidParameterValue", 400):
            sqs.create_queue(QueueName=name + "-tagged", tags=tags)
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)
    sqs.tag_queue(QueueUrl=queue, Tags={"k" * 128: "v" * 256})


def test_visibility_changes_in_one_batch(sqs, queue):
    for body in "abc":
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    handles = {message["Body"]: message["ReceiptHandle"] for message in receive(sqs, queue)}
    entries = [{"Id": body, "ReceiptHandle": handle, "VisibilityTimeout": 0 if body != "b" else 600} for body, handle in handles.items()]
    answer = sqs.change_message_visibility_batch(QueueUrl=queue, Entries=[*entries, {"Id": "no", "ReceiptHandle": "none", "VisibilityTimeout": 0}])
    assert sorted(one["Id"] for one in answer["Successful"]) == ["a", "b", "c"]
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("no", "ReceiptHandleIsInvalid", True)
    assert sorted(message["Body"] for message in receive(sqs, queue)) == ["a", "c"]
