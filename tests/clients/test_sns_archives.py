"""Archives of FIFO topics and replays from them, with boto3."""

import json
import time
import urllib.request

import pytest
from sns_support import queue_of, received, sentence
from support import refused

FIFO = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
ARCHIVE = json.dumps({"MessageRetentionPeriod": 30})


@pytest.fixture
def sns(server):
    return server.client("sns")


@pytest.fixture
def sqs(server):
    return server.client("sqs")


@pytest.fixture
def topic(sns, name):
    return sns.create_topic(Name=name + ".fifo", Attributes={**FIFO, "ArchivePolicy": ARCHIVE})["TopicArn"]


def begins(sns, topic):
    return sns.get_topic_attributes(TopicArn=topic)["Attributes"]["BeginningArchiveTime"]


def everything_from(start, **more):
    return json.dumps({"PointType": "Timestamp", "StartingPoint": start, **more})


def fifo_queue(sqs, name):
    return queue_of(sqs, name + ".fifo", FifoQueue="true")


def drained(sqs, url, count, eventually):
    got = []

    def enough():
        got.extend(received(sqs, url, wait=1))
        return len(got) >= count

    eventually(enough, seconds=60)
    return got


def status(sns, subscription):
    return sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["ReplayStatus"]


def test_a_topic_tells_of_its_archive(sns, topic, name):
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["ArchivePolicy"] == ARCHIVE and attributes["BeginningArchiveTime"].endswith("Z")
    assert attributes["FifoThroughputScope"] == "Topic" and "EffectiveDeliveryPolicy" in attributes
    with refused("InvalidState", 400):
        sns.delete_topic(TopicArn=topic)
    for policy in ('{"MessageRetentionPeriod": 0}', '{"MessageRetentionPeriod": 366}', '{"Days": 3}', "x"):
        with refused("InvalidParameter", 400):
            sns.set_topic_attributes(TopicArn=topic, AttributeName="ArchivePolicy", AttributeValue=policy)
    sns.set_topic_attributes(TopicArn=topic, AttributeName="ArchivePolicy", AttributeValue="{}")
    assert "ArchivePolicy" not in sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    sns.delete_topic(TopicArn=topic)
    standard = sns.create_topic(Name=name)["TopicArn"]
    with refused("InvalidParameter", 400) as info:
        sns.set_topic_attributes(TopicArn=standard, AttributeName="ArchivePolicy", AttributeValue=ARCHIVE)
    assert sentence(info) == "Invalid parameter: AttributeName"


def test_a_late_subscriber_catches_up(sns, sqs, topic, name, eventually):
    sent = [sns.publish(TopicArn=topic, Message=f"m{n}", MessageGroupId=f"g{n % 2}") for n in range(230)]
    url, queue = fifo_queue(sqs, name)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"ReplayPolicy": everything_from(begins(sns, topic))})["SubscriptionArn"]
    after = [sns.publish(TopicArn=topic, Message=f"n{n}", MessageGroupId=f"g{n % 2}") for n in range(20)]
    documents = [json.loads(one["Body"]) for one in drained(sqs, url, 250, eventually)]
    assert len(documents) == 250 and {one["MessageId"] for one in documents} == {one["MessageId"] for one in sent + after}
    for group in range(2):
        wanted = [f"m{n}" for n in range(230) if n % 2 == group] + [f"n{n}" for n in range(20) if n % 2 == group]
        assert [one["Message"] for one in documents if one["Message"] in wanted] == wanted
    first = next(one for one in documents if one["Message"] == "m0")
    assert first["Replayed"] is True and first["SequenceNumber"] == sent[0]["SequenceNumber"]
    assert eventually(lambda: status(sns, subscription) == "Completed")
    sns.publish(TopicArn=topic, Message="live", MessageGroupId="g0")
    [live] = drained(sqs, url, 1, eventually)
    assert json.loads(live["Body"])["Message"] == "live" and "Replayed" not in json.loads(live["Body"])


def test_a_window_is_replayed_through_the_filter(sns, sqs, topic, name, eventually):
    colour = lambda value: {"colour": {"DataType": "String", "StringValue": value}}
    publish = lambda text, value: sns.publish(TopicArn=topic, Message=text, MessageGroupId="g", MessageAttributes=colour(value))
    publish("early", "red")
    time.sleep(0.02)
    start = time.time()
    publish("red 1", "red")
    publish("blue", "blue")
    publish("red 2", "red")
    end = time.time()
    time.sleep(0.02)
    publish("late", "red")
    moment = lambda at: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"
    url, queue = fifo_queue(sqs, name)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={
        "RawMessageDelivery": "true", "FilterPolicy": '{"colour": ["red"]}',
        "ReplayPolicy": everything_from(moment(start), EndingPoint=moment(end + 0.001))})["SubscriptionArn"]
    assert [one["Body"] for one in drained(sqs, url, 2, eventually)] == ["red 1", "red 2"]
    assert eventually(lambda: status(sns, subscription) == "Completed")
    assert received(sqs, url) == []
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="ReplayPolicy", AttributeValue="{}")
    assert "ReplayPolicy" not in sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]


def test_replays_that_cannot_be(sns, sqs, topic, name):
    _, queue = fifo_queue(sqs, name)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
    start = begins(sns, topic)
    for policy in ("x", '{"PointType": "Timestamp"}', json.dumps({"PointType": "Number", "StartingPoint": start}), everything_from("2001-01-01T00:00:00Z"),
                   everything_from("2101-01-01T00:00:00Z"), everything_from(start, EndingPoint="2001-01-01T00:00:00Z"), everything_from(start, Colour="red")):
        with refused("InvalidParameter", 400):
            sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="ReplayPolicy", AttributeValue=policy)
    assert "ReplayStatus" not in sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    plain = sns.create_topic(Name=name + "p.fifo", Attributes=FIFO)["TopicArn"]
    with refused("InvalidParameter", 400) as info:
        sns.subscribe(TopicArn=plain, Protocol="sqs", Endpoint=queue, Attributes={"ReplayPolicy": everything_from(start)})
    assert sentence(info) == "Invalid parameter: Attributes Reason: ReplayPolicy: Topic does not have an ArchivePolicy"


def test_messages_older_than_the_retention_are_gone(private_server, name, eventually):
    sns, sqs = private_server.client("sns"), private_server.client("sqs")
    policy = json.dumps({"MessageRetentionPeriod": 1})
    topic = sns.create_topic(Name=name + ".fifo", Attributes={**FIFO, "ArchivePolicy": policy})["TopicArn"]
    for n in range(40):
        sns.publish(TopicArn=topic, Message=f"old {n}", MessageGroupId="g")
    advance = urllib.request.Request(f"{private_server.endpoint}/_tidemill/clock/advance/{25 * 3600 * 1000}", method="POST")
    urllib.request.urlopen(advance, timeout=10).read()
    for n in range(3):
        sns.publish(TopicArn=topic, Message=f"new {n}", MessageGroupId="g")
    url, queue = fifo_queue(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true", "ReplayPolicy": everything_from(begins(sns, topic))})
    assert [one["Body"] for one in drained(sqs, url, 3, eventually)] == ["new 0", "new 1", "new 2"]


def test_a_replay_survives_kills(private_server, name, eventually):
    server = private_server
    sns, sqs = server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name=name + ".fifo", Attributes={**FIFO, "ArchivePolicy": ARCHIVE})["TopicArn"]
    for first in range(0, 600, 10):
        entries = [{"Id": str(n), "Message": str(n), "MessageGroupId": f"g{n % 3}"} for n in range(first, first + 10)]
        assert len(sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)["Successful"]) == 10
    url, queue = fifo_queue(sqs, name)
    attributes = {"RawMessageDelivery": "true", "ReplayPolicy": everything_from(begins(sns, topic))}
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=attributes)["SubscriptionArn"]
    for pause in (0.02, 0.05, 0.1, 0.2, 0.3):
        time.sleep(pause)
        server.kill()
        server.start()
    assert eventually(lambda: status(sns, subscription) == "Completed", seconds=60)
    bodies = [int(one["Body"]) for one in drained(sqs, url, 600, eventually)] + [int(one["Body"]) for one in received(sqs, url)]
    assert sorted(bodies) == list(range(600))
    for group in range(3):
        own = [body for body in bodies if body % 3 == group]
        assert own == sorted(own)
