"""`kill -9` at random while messages travel: each acknowledged one arrives, none arrives twice, groups keep their order.

`CRASH_KILLS=300 pytest tests/clients/test_crash_messaging.py -s` is the long form; it prints what it counted.
"""

import collections
import json
import os
import random
import threading
import time

import pytest

KILLS = int(os.environ.get("CRASH_KILLS", "12"))
GROUPS = 3


class Producer(threading.Thread):
    """Sends numbered messages until it is told to stop; remembers those that were acknowledged, in order."""

    def __init__(self, label, send):
        super().__init__(daemon=True)
        self.label, self.send, self.sent, self.acknowledged, self.ends = label, send, 0, [], False

    def again(self):
        """The same producer as a new thread, going on where it was."""
        other = Producer(self.label, self.send)
        other.sent, other.acknowledged = self.sent, self.acknowledged
        other.start()
        return other

    def run(self):
        while not self.ends:
            self.sent += 1
            body = f"{self.label}/{self.sent:07}"
            try:
                self.send(body)
            except Exception:  # noqa: BLE001 - the platform was killed: whether this one arrived is open
                return
            self.acknowledged.append(body)


class System:
    """Topics, buses and queues of one server that is killed again and again."""

    def __init__(self, server, name):
        self.server, self.name, self.chance, self.kills = server, name, random.Random(), 0
        self.queues = {}
        self.connect()
        for queue in ("raw", "enveloped", "ruled", "forwarded", "dead", "moved"):
            self.queue(queue)
        self.queue("failing", VisibilityTimeout="0", RedrivePolicy=json.dumps({"deadLetterTargetArn": self.arn("dead"), "maxReceiveCount": 1}))
        self.queue("ordered.fifo", FifoQueue="true")
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]
        self.ordered = self.sns.create_topic(Name=name + ".fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
        subscribe = lambda topic, queue, raw: self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self.arn(queue), Attributes={"RawMessageDelivery": raw})
        subscribe(self.topic, "raw", "true")
        subscribe(self.topic, "enveloped", "false")
        subscribe(self.ordered, "ordered.fifo", "true")
        self.bus(name + "-a", [self.arn("ruled"), f"arn:aws:events:us-east-1:000000000000:event-bus/{name}-b"])
        self.bus(name + "-b", [self.arn("forwarded")])

    def connect(self):
        self.sns, self.sqs, self.events = (self.server.client(service) for service in ("sns", "sqs", "events"))

    def queue(self, queue, **attributes):
        self.queues[queue] = self.sqs.create_queue(QueueName=f"{self.name}-{queue}", Attributes=attributes)["QueueUrl"]

    def arn(self, queue):
        return f"arn:aws:sqs:us-east-1:000000000000:{self.name}-{queue}"

    def bus(self, bus, targets):
        # The second bus is made after the rule that names it: a rule's target may come later.
        self.events.create_event_bus(Name=bus)
        self.events.put_rule(Name="all", EventBusName=bus, EventPattern='{"source":["crash"]}')
        self.events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": str(i), "Arn": arn, **({} if ":event-bus/" in arn else {"InputPath": "$.detail.body"})} for i, arn in enumerate(targets)])

    def producers(self):
        def event(body):
            answer = self.events.put_events(Entries=[{"EventBusName": self.name + "-a", "Source": "crash", "DetailType": "t", "Detail": json.dumps({"body": body})}])
            assert answer["FailedEntryCount"] == 0

        def fail(body):
            self.sqs.send_message(QueueUrl=self.queues["failing"], MessageBody=body)
            # Received twice at once, it is beyond its receives.
            for _ in range(2):
                self.sqs.receive_message(QueueUrl=self.queues["failing"], MaxNumberOfMessages=10)

        def order(group):
            return lambda body: self.sns.publish(TopicArn=self.ordered, Message=body, MessageGroupId=group, MessageDeduplicationId=body.replace("/", "-"))

        publish = lambda body: self.sns.publish(TopicArn=self.topic, Message=body)
        return [Producer("topic", publish), Producer("event", event), Producer("fail", fail)] + [Producer(f"group{n}", order(f"g{n}")) for n in range(GROUPS)]

    def kill(self):
        self.server.kill()
        self.kills += 1
        self.server.start()
        if self.chance.random() < 0.3:
            # While it is still coming up.
            time.sleep(self.chance.uniform(0, 0.05))
            self.server.kill()
            self.kills += 1
            self.server.start()
        self.connect()

    def drain(self, queue):
        """All bodies of a queue, in the order received."""
        url, found = self.queues[queue], []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=120).get("Messages"):
            self.sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "ReceiptHandle": one["ReceiptHandle"]} for i, one in enumerate(messages)])
            found += [body(one["Body"]) for one in messages]
        return found


def body(text):
    """The body as it was published, out of an envelope or a quoted text."""
    if not text.startswith(("{", '"')):
        return text
    value = json.loads(text)
    return value["Message"] if isinstance(value, dict) else value


def check(where, acknowledged, found):
    counted = collections.Counter(found)
    lost = [one for one in acknowledged if one not in counted]
    doubled = [one for one, count in counted.items() if count > 1]
    print(f"{where}: {len(acknowledged)} acknowledged, {len(found)} arrived, {len(lost)} lost, {len(doubled)} doubled")
    assert not lost, f"{where}: acknowledged, and not there: {lost[:5]}"
    assert not doubled, f"{where}: there twice: {doubled[:5]}"


@pytest.mark.timeout(120 + 3 * KILLS)
def test_each_message_arrives_once_across_kills(private_server, name, eventually):
    system = System(private_server, name)
    producers = system.producers()
    for producer in producers:
        producer.start()
    while system.kills < KILLS:
        time.sleep(system.chance.uniform(0.1, 0.6))
        for producer in producers:
            producer.ends = True
        system.kill()
        for producer in producers:
            producer.join(30)
        producers = [producer.again() for producer in producers]
    for producer in producers:
        producer.ends = True
    for producer in producers:
        producer.join(30)
    acknowledged = {producer.label: producer.acknowledged for producer in producers}
    print(f"\n{system.kills} kills")
    assert all(len(bodies) > KILLS for bodies in acknowledged.values()), "the load was too thin to prove anything"
    check("topic → queue, raw", acknowledged["topic"], system.drain("raw"))
    check("topic → queue, enveloped", acknowledged["topic"], system.drain("enveloped"))
    check("bus → queue", acknowledged["event"], system.drain("ruled"))
    check("bus → bus → queue", acknowledged["event"], system.drain("forwarded"))
    ordered = system.drain("ordered.fifo")
    check("FIFO topic → FIFO queue", [one for n in range(GROUPS) for one in acknowledged[f"group{n}"]], ordered)
    for n in range(GROUPS):
        mine = [one for one in ordered if one.startswith(f"group{n}/")]
        assert mine == sorted(mine), f"group {n} is out of order"
    moves_survive(system, acknowledged["fail"], eventually)


def moves_survive(system, acknowledged, eventually):
    """Dead letters are moved on by a task that is killed meanwhile."""
    system.sqs.start_message_move_task(SourceArn=system.arn("dead"), DestinationArn=system.arn("moved"), MaxNumberOfMessagesPerSecond=200)
    for _ in range(3):
        time.sleep(system.chance.uniform(0.05, 0.3))
        system.kill()
    state = lambda: system.sqs.list_message_move_tasks(SourceArn=system.arn("dead"))["Results"][0]["Status"]
    eventually(lambda: state() == "COMPLETED", seconds=120 + len(acknowledged) / 100)
    check("dead letters, moved", acknowledged, system.drain("failing") + system.drain("dead") + system.drain("moved"))
