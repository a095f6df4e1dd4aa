"""SNS with boto3 and the AWS CLI: topics, subscriptions, fan-out to queues, functions and HTTP endpoints."""

import base64
import http.server
import json
import queue as queues
import threading
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from support import function, refused, zipped


@pytest.fixture
def sns(server):
    return server.client("sns")


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def topic(sns, name):
    return sns.create_topic(Name=name)["TopicArn"]


def queue_of(sqs, name, **attributes):
    """A queue's URL and ARN."""
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs, url, wait=0, **more):
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageAttributeNames=["All"],
                              MessageSystemAttributeNames=["All"], **more).get("Messages", [])
    for message in got:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return got


def verified(document):
    """Whether the signature of a document is that of the certificate it names."""
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    with urllib.request.urlopen(document["SigningCertURL"], timeout=10) as answer:
        certificate = x509.load_pem_x509_certificate(answer.read())
    digest = hashes.SHA256() if document["SignatureVersion"] == "2" else hashes.SHA1()
    certificate.public_key().verify(base64.b64decode(document["Signature"]), signed.encode(), padding.PKCS1v15(), digest)
    return True


class Endpoint:
    """A web server that keeps what it is sent and answers as it is told."""

    def __init__(self):
        self.requests, self.answers = queues.Queue(), []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status = outer.answers.pop(0) if outer.answers else 200
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
                outer.requests.put((dict((k.lower(), v) for k, v in self.headers.items()), body.decode()))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, seconds=10):
        return self.requests.get(timeout=seconds)

    def document(self):
        return json.loads(self.next()[1])


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()


def test_topics_have_amazons_attributes(sns, topic, name):
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert topic == f"arn:aws:sns:us-east-1:000000000000:{name}"
    assert attributes["TopicArn"] == topic and attributes["Owner"] == "000000000000" and attributes["DisplayName"] == ""
    assert [attributes[f"Subscriptions{kind}"] for kind in ("Confirmed", "Pending", "Deleted")] == ["0", "0", "0"]
    assert json.loads(attributes["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
    assert json.loads(attributes["Policy"])["Statement"][0]["Sid"] == "__default_statement_ID"
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Orders")
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "Orders"
    assert sns.create_topic(Name=name)["TopicArn"] == topic
    with refused("InvalidParameter", 400) as info:
        sns.create_topic(Name=name, Attributes={"DisplayName": "other"})
    assert info.value.response["Error"]["Message"] == "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
    assert topic in [one["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for one in page["Topics"]]
    sns.delete_topic(TopicArn=topic)
    sns.delete_topic(TopicArn=topic)
    with refused("NotFound", 404) as info:
        sns.get_topic_attributes(TopicArn=topic)
    assert info.value.response["Error"]["Message"] == "Topic does not exist"


@pytest.mark.parametrize("bad,sentence", [
    ({"Name": "a b"}, "Invalid parameter: Topic Name"),
    ({"Name": "a.fifo"}, "Invalid parameter: Topic Name"),
    ({"Name": "a", "Attributes": {"FifoTopic": "true"}}, "Invalid parameter: Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long."),
    ({"Name": "a", "Attributes": {"Colour": "red"}}, "Invalid parameter: AttributeName"),
])
def test_topics_that_cannot_be(sns, bad, sentence):
    with refused("InvalidParameter", 400) as info:
        sns.create_topic(**bad)
    assert info.value.response["Error"]["Message"] == sentence


def test_a_message_reaches_its_queues(sns, sqs, topic, name):
    url, arn = queue_of(sqs, name)
    raw_url, raw_arn = queue_of(sqs, name + "r")
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=raw_arn, Attributes={"RawMessageDelivery": "true"})
    value = {"kind": {"DataType": "String", "StringValue": "new"}, "b": {"DataType": "Binary", "BinaryValue": b"\x01"}}
    sent = sns.publish(TopicArn=topic, Message="héllo \"you\"", Subject="greeting", MessageAttributes=value)
    [message] = received(sqs, url)
    document = json.loads(message["Body"])
    assert document["Type"] == "Notification" and document["MessageId"] == sent["MessageId"] and document["TopicArn"] == topic
    assert document["Message"] == "héllo \"you\"" and document["Subject"] == "greeting"
    assert document["MessageAttributes"] == {"kind": {"Type": "String", "Value": "new"}, "b": {"Type": "Binary", "Value": "AQ=="}}
    assert document["UnsubscribeURL"].endswith(f"/?Action=Unsubscribe&SubscriptionArn={subscription}")
    assert document["SignatureVersion"] == "1" and verified(document)
    [message] = received(sqs, raw_url)
    assert message["Body"] == "héllo \"you\"" and message["MessageAttributes"]["kind"]["StringValue"] == "new"
    assert message["MessageAttributes"]["b"]["BinaryValue"] == b"\x01"
    # The link in the notification works for anybody.
    urllib.request.urlopen(document["UnsubscribeURL"], timeout=10).read()
    sns.publish(TopicArn=topic, Message="again")
    assert received(sqs, url) == [] and len(received(sqs, raw_url)) == 1
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (attributes["SubscriptionsConfirmed"], attributes["SubscriptionsDeleted"]) == ("1", "1")


def test_signatures_of_version_two(sns, sqs, name):
    topic = sns.create_topic(Name=name, Attributes={"SignatureVersion": "2"})["TopicArn"]
    url, arn = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="m")
    document = json.loads(received(sqs, url)[0]["Body"])
    assert document["SignatureVersion"] == "2" and verified(document)
    document["Message"] = "forged"
    with pytest.raises(Exception):
        verified(document)


def test_filter_policies_choose(sns, sqs, topic, name):
    wanted = {
        "a": ({"FilterPolicy": json.dumps({"store": ["example"], "price": [{"numeric": [">=", 100]}]})}, ["1"]),
        "b": ({"FilterPolicy": json.dumps({"store": [{"anything-but": ["example"]}]})}, ["2"]),
        "c": ({"FilterPolicy": json.dumps({"tags": ["x"]})}, ["3"]),
        "d": ({"FilterPolicyScope": "MessageBody", "FilterPolicy": json.dumps({"order": {"state": ["paid"]}})}, ['{"order": {"state": "paid"}}']),
        "e": ({}, ["1", "2", "3", '{"order": {"state": "paid"}}']),
    }
    urls = {}
    for key, (attributes, _) in wanted.items():
        urls[key], arn = queue_of(sqs, name + key)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true", **attributes})
    text, number = lambda value: {"DataType": "String", "StringValue": value}, lambda value: {"DataType": "Number", "StringValue": value}
    sns.publish(TopicArn=topic, Message="1", MessageAttributes={"store": text("example"), "price": number("100.5")})
    sns.publish(TopicArn=topic, Message="2", MessageAttributes={"store": text("other"), "price": number("1")})
    sns.publish(TopicArn=topic, Message="3", MessageAttributes={"tags": {"DataType": "String.Array", "StringValue": '["y", "x"]'}})
    sns.publish(TopicArn=topic, Message='{"order": {"state": "paid"}}')
    for key, (_, messages) in wanted.items():
        assert sorted(one["Body"] for one in received(sqs, urls[key])) == sorted(messages), key


def test_a_filter_policy_can_be_changed(sns, sqs, topic, name):
    url, arn = queue_of(sqs, name)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": '{"a": ["1"]}'})["SubscriptionArn"]
    sns.publish(TopicArn=topic, Message="lost")
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue="{}")
    sns.publish(TopicArn=topic, Message="found")
    assert [json.loads(one["Body"])["Message"] for one in received(sqs, url)] == ["found"]
    for policy, sentence in [("{", "Invalid parameter: FilterPolicy: failed to parse JSON."),
                             ('{"a": "b"}', 'Invalid parameter: FilterPolicy: "a" must be an object or an array')]:
        with refused("InvalidParameter", 400) as info:
            sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue=policy)
        assert info.value.response["Error"]["Message"] == sentence
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert attributes["FilterPolicy"] == "{}" and attributes["FilterPolicyScope"] == "MessageAttributes"
    assert attributes["PendingConfirmation"] == "false" and attributes["ConfirmationWasAuthenticated"] == "true" and attributes["RawMessageDelivery"] == "false"


def test_messages_by_protocol(sns, sqs, topic, name):
    url, arn = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.publish(TopicArn=topic, MessageStructure="json", Message=json.dumps({"default": "d", "sqs": "for queues"}))
    assert json.loads(received(sqs, url)[0]["Body"])["Message"] == "for queues"
    for message, sentence in [("x", "Invalid parameter: Message Structure - JSON message body failed to parse"),
                              ('{"sqs": "x"}', "Invalid parameter: Message Structure - No default entry in JSON message body")]:
        with refused("InvalidParameter", 400) as info:
            sns.publish(TopicArn=topic, MessageStructure="json", Message=message)
        assert info.value.response["Error"]["Message"] == sentence


@pytest.mark.parametrize("bad,code,sentence", [
    ({"Message": ""}, "InvalidParameter", "Invalid parameter: Empty message"),
    ({"Message": "x" * 262145}, "InvalidParameter", "Invalid parameter: Message too long"),
    ({"Message": "x", "Subject": "two\nlines"}, "InvalidParameter", "Invalid parameter: Subject"),
    ({"Message": "x", "Subject": "x" * 101}, "InvalidParameter", "Invalid parameter: Subject"),
    ({"Message": "x", "MessageDeduplicationId": "d"}, "InvalidParameter", "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type"),
    ({"Message": "x", "MessageAttributes": {"a": {"DataType": "Text", "StringValue": "b"}}}, "ParameterValueInvalid", "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."),
    ({"Message": "x", "MessageAttributes": {"a": {"DataType": "Binary", "StringValue": "b"}}}, "ParameterValueInvalid", "The message attribute 'a' with type 'Binary' must use field 'Binary'."),
])
def test_messages_that_cannot_be(sns, topic, bad, code, sentence):
    with refused(code, 400) as info:
        sns.publish(TopicArn=topic, **bad)
    assert info.value.response["Error"]["Message"] == sentence


def test_publishing_to_nothing(sns):
    with refused("NotFound", 404):
        sns.publish(TopicArn="arn:aws:sns:us-east-1:000000000000:nobody", Message="x")
    with refused("InvalidParameter", 400) as info:
        sns.publish(TopicArn="nonsense", Message="x")
    assert info.value.response["Error"]["Message"] == "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"
    with refused("InvalidParameter", 400):
        sns.publish(Message="x")
    with refused("InvalidParameter", 400):
        sns.publish(PhoneNumber="+4912345", TopicArn="arn:aws:sns:us-east-1:000000000000:nobody", Message="x")


def test_subscriptions_that_cannot_be(sns, topic):
    sqs_arn = "arn:aws:sqs:us-east-1:000000000000:q"
    for protocol, endpoint, attributes, sentence in [
        ("pigeon", "x", {}, "Invalid parameter: Amazon SNS does not support this protocol string: pigeon"),
        ("sqs", "http://x", {}, "Invalid parameter: SQS endpoint ARN"),
        ("sqs", sqs_arn + ".fifo", {}, "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"),
        ("https", "http://x", {}, "Invalid parameter: Endpoint must match the specified protocol"),
        ("sqs", sqs_arn, {"FilterPolicy": "[]"}, "Invalid parameter: Attributes Reason: FilterPolicy: failed to parse JSON."),
        ("sqs", sqs_arn, {"RedrivePolicy": '{"deadLetterTargetArn": "x"}'}, "Invalid parameter: Attributes Reason: RedrivePolicy: deadLetterTargetArn is an invalid arn"),
        ("sqs", sqs_arn, {"Colour": "red"}, "Invalid parameter: AttributeName"),
    ]:
        with refused("InvalidParameter", 400) as info:
            sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes)
        assert info.value.response["Error"]["Message"] == sentence
    with refused("NotImplemented", 501):
        sns.subscribe(TopicArn=topic, Protocol="firehose", Endpoint="arn:aws:firehose:us-east-1:000000000000:deliverystream/d")
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_batches_fail_entry_by_entry(sns, sqs, topic, name):
    url, arn = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    done = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "a", "Message": "1"}, {"Id": "b", "Message": ""}, {"Id": "c", "Message": "3"}])
    assert [one["Id"] for one in done["Successful"]] == ["a", "c"]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in done["Failed"]] == [("b", "InvalidParameter", True)]
    assert sorted(one["Body"] for one in received(sqs, url)) == ["1", "3"]
    for entries, code in [([], "EmptyBatchRequest"), ([{"Id": "a", "Message": "1"}] * 2, "BatchEntryIdsNotDistinct"),
                          ([{"Id": str(n), "Message": "1"} for n in range(11)], "TooManyEntriesInBatchRequest"),
                          ([{"Id": "a b", "Message": "1"}], "InvalidBatchEntryId"),
                          ([{"Id": str(n), "Message": "x" * 150000} for n in range(2)], "BatchRequestTooLong")]:
        with refused(code, 400):
            sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)


def test_fifo_topics_keep_order_and_repeat_nothing(sns, sqs, name, eventually):
    topic = sns.create_topic(Name=name + ".fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"})["TopicArn"]
    url, arn = queue_of(sqs, name + ".fifo", FifoQueue="true")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    sent = [sns.publish(TopicArn=topic, Message=f"m{n}", MessageGroupId="g") for n in range(5)]
    again = sns.publish(TopicArn=topic, Message="m0", MessageGroupId="g")
    assert again["MessageId"] == sent[0]["MessageId"] and again["SequenceNumber"] == sent[0]["SequenceNumber"]
    numbers = [one["SequenceNumber"] for one in sent]
    assert numbers == sorted(numbers) and all(len(number) == 20 for number in numbers)
    bodies = []
    eventually(lambda: bodies.extend(one["Body"] for one in received(sqs, url)) or len(bodies) >= 5)
    assert bodies == [f"m{n}" for n in range(5)]
    assert received(sqs, url) == []
    with refused("InvalidParameter", 400) as info:
        sns.publish(TopicArn=topic, Message="x")
    assert info.value.response["Error"]["Message"] == "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"
    with refused("InvalidParameter", 400):
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:1/")


def test_a_message_invokes_a_function(server, sns, topic, name, eventually):
    code = zipped(app__py="""
import boto3, json
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=boto3.client("sqs").get_queue_url(QueueName=context.function_name)["QueueUrl"], MessageBody=json.dumps(event))
""")
    sqs = server.client("sqs")
    url, _ = queue_of(sqs, name)
    arn = function(server, name, code)
    subscription = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)["SubscriptionArn"]
    sent = sns.publish(TopicArn=topic, Message="to you", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    [message] = eventually(lambda: received(sqs, url, wait=5))
    [record] = json.loads(message["Body"])["Records"]
    assert (record["EventSource"], record["EventVersion"], record["EventSubscriptionArn"]) == ("aws:sns", "1.0", subscription)
    told = record["Sns"]
    assert (told["MessageId"], told["Message"], told["Subject"], told["Type"]) == (sent["MessageId"], "to you", None, "Notification")
    assert told["MessageAttributes"] == {"a": {"Type": "String", "Value": "b"}}
    assert verified({**{key: value for key, value in told.items() if value is not None}, "SigningCertURL": told["SigningCertUrl"]})


def test_an_endpoint_confirms_and_is_told(sns, topic, endpoint):
    pending = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)["SubscriptionArn"]
    assert pending == "pending confirmation"
    headers, body = endpoint.next()
    asked = json.loads(body)
    assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation" and headers["x-amz-sns-topic-arn"] == topic
    assert headers["content-type"] == "text/plain; charset=UTF-8" and "x-amz-sns-subscription-arn" not in headers
    assert verified(asked)
    sns.publish(TopicArn=topic, Message="too early")
    with refused("InvalidParameter", 400) as info:
        sns.confirm_subscription(TopicArn=topic, Token="0" * 256)
    assert info.value.response["Error"]["Message"] == "Invalid parameter: Token"
    # As the endpoint would: by following the link.
    answer = urllib.request.urlopen(asked["SubscribeURL"], timeout=10).read().decode()
    [listed] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] in answer and listed["Protocol"] == "http"
    sent = sns.publish(TopicArn=topic, Message="hello", Subject="s")
    headers, body = endpoint.next()
    told = json.loads(body)
    assert headers["x-amz-sns-message-id"] == sent["MessageId"] == told["MessageId"] and headers["x-amz-sns-subscription-arn"] == listed["SubscriptionArn"]
    assert told["Message"] == "hello" and verified(told)
    sns.set_subscription_attributes(SubscriptionArn=listed["SubscriptionArn"], AttributeName="RawMessageDelivery", AttributeValue="true")
    sns.publish(TopicArn=topic, Message="bare")
    headers, body = endpoint.next()
    assert body == "bare" and headers["x-amz-sns-rawdelivery"] == "true"
    sns.unsubscribe(SubscriptionArn=listed["SubscriptionArn"])
    farewell = endpoint.document()
    assert farewell["Type"] == "UnsubscribeConfirmation" and verified(farewell)
    # The farewell's link restores the subscription.
    urllib.request.urlopen(farewell["SubscribeURL"], timeout=10).read()
    sns.publish(TopicArn=topic, Message="back")
    assert endpoint.next()[1] == "back"


def test_an_endpoint_is_tried_again_and_given_up(server, sns, sqs, topic, name, endpoint, eventually):
    dead_url, dead_arn = queue_of(sqs, name)
    policy = {"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 2, "numNoDelayRetries": 2}}
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url, Attributes={
        "DeliveryPolicy": json.dumps(policy), "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn})})
    urllib.request.urlopen(endpoint.document()["SubscribeURL"], timeout=10).read()
    endpoint.answers = [500, 429]
    sns.publish(TopicArn=topic, Message="third time")
    assert [endpoint.document()["Message"] for _ in range(3)] == ["third time"] * 3
    assert received(sqs, dead_url) == []
    endpoint.answers = [503, 503, 503]
    sns.publish(TopicArn=topic, Message="never")
    [message] = eventually(lambda: received(sqs, dead_url, wait=5))
    assert json.loads(message["Body"])["Message"] == "never"
    for _ in range(3):
        endpoint.next()
    # What the client did wrong does not get better.
    endpoint.answers = [403]
    sns.publish(TopicArn=topic, Message="forbidden")
    [message] = eventually(lambda: received(sqs, dead_url, wait=5))
    assert json.loads(message["Body"])["Message"] == "forbidden" and endpoint.requests.qsize() == 1


def test_a_queue_that_is_gone_has_a_dead_letter_queue(sns, sqs, topic, name):
    url, arn = queue_of(sqs, name)
    dead_url, dead_arn = queue_of(sqs, name + "d")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn})})
    sqs.delete_queue(QueueUrl=url)
    sns.publish(TopicArn=topic, Message="homeless")
    assert json.loads(received(sqs, dead_url)[0]["Body"])["Message"] == "homeless"


def test_deliveries_are_logged_if_asked(server, sns, sqs, topic, name, eventually):
    _, arn = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn + "gone")
    for attribute, value in [("SQSSuccessFeedbackRoleArn", "arn:aws:iam::000000000000:role/r"), ("SQSSuccessFeedbackSampleRate", "100"),
                             ("SQSFailureFeedbackRoleArn", "arn:aws:iam::000000000000:role/r")]:
        sns.set_topic_attributes(TopicArn=topic, AttributeName=attribute, AttributeValue=value)
    sent = sns.publish(TopicArn=topic, Message="m")
    logs = server.client("logs")
    for group, status in [(f"sns/us-east-1/000000000000/{name}", "SUCCESS"), (f"sns/us-east-1/000000000000/{name}/Failure", "FAILURE")]:
        eventually(lambda: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"])
        [line] = eventually(lambda: logs.filter_log_events(logGroupName=group)["events"])
        line = json.loads(line["message"])
        assert line["status"] == status and line["notification"]["messageId"] == sent["MessageId"]


def test_a_topic_takes_events_of_buckets_and_rules(server, sns, sqs, topic, name, eventually):
    url, arn = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    s3, events = server.client("s3"), server.client("events")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]})
    test = json.loads(json.loads(eventually(lambda: received(sqs, url, wait=5))[0]["Body"])["Message"])
    assert test["Event"] == "s3:TestEvent" and test["Bucket"] == name
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    document = json.loads(eventually(lambda: received(sqs, url, wait=5))[0]["Body"])
    assert document["Subject"] == "Amazon S3 Notification" and json.loads(document["Message"])["Records"][0]["s3"]["object"]["key"] == "k"
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": topic}])
    events.put_events(Entries=[{"Source": name, "DetailType": "t", "Detail": "{}"}])
    document = json.loads(eventually(lambda: received(sqs, url, wait=5))[0]["Body"])
    assert json.loads(document["Message"])["source"] == name and "Subject" not in document


def test_permissions_and_tags(sns, topic):
    sns.add_permission(TopicArn=topic, Label="other", AWSAccountId=["111111111111"], ActionName=["Publish"])
    statements = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])["Statement"]
    assert statements[-1] == {"Sid": "other", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "SNS:Publish", "Resource": topic}
    with refused("InvalidParameter", 400) as info:
        sns.add_permission(TopicArn=topic, Label="x", AWSAccountId=["111111111111"], ActionName=["Fly"])
    assert info.value.response["Error"]["Message"] == "Invalid parameter: Policy statement action out of service scope!"
    sns.remove_permission(TopicArn=topic, Label="other")
    assert len(json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])["Statement"]) == 1
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "b", "Value": "2"}]
    with refused("ResourceNotFound", 404):
        sns.list_tags_for_resource(ResourceArn=topic + "x")


def test_templates_make_topics(server, sns, sqs, name):
    template = {
        "Resources": {
            "Jobs": {"Type": "AWS::SQS::Queue"},
            "News": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "News", "Tags": [{"Key": "a", "Value": "b"}],
                     "Subscription": [{"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Jobs", "Arn"]}}]}},
            "Own": {"Type": "AWS::SQS::Queue"},
            "OwnSubscription": {"Type": "AWS::SNS::Subscription", "Properties": {"TopicArn": {"Ref": "News"}, "Protocol": "sqs",
                                "Endpoint": {"Fn::GetAtt": ["Own", "Arn"]}, "RawMessageDelivery": True, "FilterPolicy": {"a": ["b"]}}},
        },
        "Outputs": {"Topic": {"Value": {"Ref": "News"}}, "Own": {"Value": {"Ref": "Own"}}, "Jobs": {"Value": {"Ref": "Jobs"}}},
    }
    stacks = server.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    sns.publish(TopicArn=outputs["Topic"], Message="1", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    assert received(sqs, outputs["Own"])[0]["Body"] == "1" and json.loads(received(sqs, outputs["Jobs"])[0]["Body"])["Message"] == "1"
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    with refused("NotFound", 404):
        sns.get_topic_attributes(TopicArn=outputs["Topic"])


def test_the_cli_publishes(server, sqs, name):
    topic = json.loads(server.cli("sns", "create-topic", "--name", name))["TopicArn"]
    url, arn = queue_of(sqs, name)
    server.cli("sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", arn)
    server.cli("sns", "publish", "--topic-arn", topic, "--message", "from the shell")
    assert json.loads(received(sqs, url)[0]["Body"])["Message"] == "from the shell"


def test_what_was_published_outlives_a_kill(private_server, name):
    sns, sqs = private_server.client("sns"), private_server.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    url, arn = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": '{"a": ["1"]}'})
    attribute = {"a": {"DataType": "String", "StringValue": "1"}}
    before = [sns.publish(TopicArn=topic, Message=f"m{n}", MessageAttributes=attribute)["MessageId"] for n in range(20)]
    private_server.kill()
    private_server.start()
    sns.publish(TopicArn=topic, Message="filtered")
    documents = [json.loads(one["Body"]) for _ in range(3) for one in received(sqs, url)]
    assert sorted(one["MessageId"] for one in documents) == sorted(before)
    assert verified(documents[0])


def test_the_scope_of_deduplication_is_the_topics_or_the_groups(sns, sqs, name):
    for scope, expected in [("Topic", 1), ("MessageGroup", 2)]:
        topic = sns.create_topic(Name=f"{name}-{scope}.fifo", Attributes={"FifoTopic": "true", "FifoThroughputScope": scope})["TopicArn"]
        assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["FifoThroughputScope"] == scope
        url, arn = queue_of(sqs, f"{name}-{scope}.fifo", FifoQueue="true", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        ids = [sns.publish(TopicArn=topic, Message=group, MessageGroupId=group, MessageDeduplicationId="same")["MessageId"] for group in ("one", "two", "one")]
        assert len(set(ids)) == expected and ids[0] == ids[2], scope
        bodies = [message["Body"] for _ in range(2) for message in received(sqs, url, wait=2)]
        assert sorted(bodies) == ["one", "two"][:expected], scope


def test_policies_and_tags_of_others_are_refused(sns, topic):
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SNS:Publish", "Resource": topic}

    def say(policy):
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    say(json.dumps({"Statement": [statement]}))
    with refused("InvalidParameter", 400) as caught:
        say(json.dumps({"Statement": [{**statement, "Action": "sqs:SendMessage"}]}))
    assert caught.value.response["Error"]["Message"] == "Invalid parameter: Policy statement action out of service scope!"
    for wrong in ("{", json.dumps({"Statement": [{**statement, "Effect": "Maybe"}]})):
        with refused("InvalidParameter", 400):
            say(wrong)
    with refused("InvalidParameter", 400):
        sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "aws:mine", "Value": "x"}])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == []
