"""EventBridge's archives and replays, with boto3."""

import datetime
import json
import subprocess

import pytest
from conftest import BINARY
from support import refused

HOUR = datetime.timedelta(hours=1)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def events(server):
    return server.client("events")


class Shop:
    """A bus with an archive, and a rule that sends what it matches to a queue."""

    def __init__(self, server, name, pattern=None, retention=0):
        self.server, self.name = server, name
        self.events, self.sqs = server.client("events"), server.client("sqs")
        self.bus = self.events.create_event_bus(Name=name)["EventBusArn"]
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.queue = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        more = {"EventPattern": json.dumps(pattern)} if pattern else {}
        self.archive = self.events.create_archive(ArchiveName=name, EventSourceArn=self.bus, RetentionDays=retention, **more)["ArchiveArn"]
        self.rule = self.add_rule("r", self.queue)

    def add_rule(self, name, queue):
        arn = self.events.put_rule(Name=name, EventBusName=self.name, EventPattern='{"source": [{"prefix": ""}]}')["RuleArn"]
        assert self.events.put_targets(Rule=name, EventBusName=self.name, Targets=[{"Id": "q", "Arn": queue}])["FailedEntryCount"] == 0
        return arn

    def put(self, *details, source="shop", **more):
        ids = []
        for at in range(0, len(details), 10):
            entries = [{"EventBusName": self.name, "Source": source, "DetailType": "Order", "Detail": json.dumps(one, separators=(",", ":")), **more} for one in details[at:at + 10]]
            answer = self.events.put_events(Entries=entries)
            assert answer["FailedEntryCount"] == 0
            ids += [entry["EventId"] for entry in answer["Entries"]]
        return ids

    def received(self, count, url=None):
        """So many events from the queue, which must then be empty."""
        url, got = url or self.url, []
        while len(got) < count:
            messages = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=10).get("Messages")
            assert messages, f"{len(got)} of {count} events came"
            for message in messages:
                got.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert "Messages" not in self.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0)
        return got

    def replay(self, name, start=None, end=None, **destination):
        self.events.start_replay(ReplayName=name, EventSourceArn=self.archive, EventStartTime=start or now() - HOUR, EventEndTime=end or now() + HOUR,
                                 Destination={"Arn": self.bus, **destination})

    def over(self, name):
        row = self.events.describe_replay(ReplayName=name)
        return row if row["State"] in ("COMPLETED", "CANCELLED", "FAILED") else None

    def size(self):
        row = self.events.describe_archive(ArchiveName=self.name)
        return row["EventCount"], row["SizeBytes"]


def test_what_was_comes_again(server, name, eventually):
    shop = Shop(server, name, pattern={"source": ["shop"]})
    kept = shop.put(*({"n": n} for n in range(12)))
    shop.put({"n": "other"}, source="bank")
    first = shop.received(13)
    texts = [event for event in first if event["source"] == "shop"]
    count, size = shop.size()
    assert count == 12 and size == sum(len(json.dumps(event, separators=(",", ":"))) for event in texts)
    shop.replay(name)
    row = eventually(lambda: shop.over(name))
    again = shop.received(12)
    assert {event["replay-name"] for event in again} == {name} and sorted(event["id"] for event in again) == sorted(kept)
    assert {event["id"]: event["time"] for event in again} == {event["id"]: event["time"] for event in texts}
    assert row["State"] == "COMPLETED" and row["Destination"] == {"Arn": shop.bus} and row["EventLastReplayedTime"] <= now()
    # Replayed events are not archived again.
    assert shop.size() == (count, size)


def test_times_and_rules_limit_a_replay(server, name, eventually):
    shop = Shop(server, name)
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    for n in (3, 1, 2, 5):
        shop.put({"n": n}, Time=day + n * HOUR)
    shop.received(4)
    second = shop.sqs.create_queue(QueueName=name + "-2")["QueueUrl"]
    assert shop.received(0, second) == []
    rule = shop.add_rule("second", shop.queue + "-2")
    shop.replay(name, day + HOUR, day + 3 * HOUR, FilterArns=[rule])
    row = eventually(lambda: shop.over(name))
    assert row["EventLastReplayedTime"] == day + 3 * HOUR
    assert [event["detail"]["n"] for event in shop.received(3, second)] == [1, 2, 3]
    assert shop.received(0) == []


def test_events_leave_after_their_retention(private_server, name, eventually):
    shop = Shop(private_server, name, retention=2)
    advance = lambda hours: subprocess.run([BINARY, "--endpoint", private_server.endpoint, "clock", "advance", f"{hours}h"], check=True, capture_output=True)
    shop.put({"n": 1})
    advance(36)
    shop.put({"n": 2}, {"n": 3})
    assert shop.size()[0] == 3
    advance(13)
    eventually(lambda: shop.size()[0] == 2)
    private_server.kill()
    private_server.start()
    assert shop.size()[0] == 2
    advance(36)
    eventually(lambda: shop.size() == (0, 0))


def test_a_replay_outlives_a_crash(private_server, name, eventually):
    shop = Shop(private_server, name)
    count = 400
    shop.put(*({"n": n} for n in range(count)))
    shop.received(count)
    shop.replay(name)
    waiting = lambda: shop.sqs.get_queue_attributes(QueueUrl=shop.url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"]
    eventually(lambda: waiting() != "0")
    private_server.kill()
    private_server.start()
    eventually(lambda: shop.over(name))
    assert sorted(event["detail"]["n"] for event in shop.received(count)) == list(range(count))
    assert shop.size()[0] == count


def test_archives_live(events, name, server):
    shop = Shop(server, name, pattern={"source": ["shop"]}, retention=7)
    row = events.describe_archive(ArchiveName=name)
    assert (row["ArchiveArn"], row["EventSourceArn"], row["RetentionDays"], row["State"]) == (f"arn:aws:events:us-east-1:000000000000:archive/{name}", shop.bus, 7, "ENABLED")
    managed = events.describe_rule(Name=f"Events-Archive-{name}", EventBusName=name)
    assert managed["ManagedBy"] == "prod.vhs.events.aws.internal"
    assert json.loads(managed["EventPattern"]) == {"source": ["shop"], "replay-name": [{"exists": False}]}
    assert {rule["Name"] for rule in events.list_rules(EventBusName=name)["Rules"]} == {"r", f"Events-Archive-{name}"}
    target = events.list_targets_by_rule(Rule=f"Events-Archive-{name}", EventBusName=name)["Targets"][0]
    assert target["Arn"] == "arn:aws:events:us-east-1:::"
    for change in (lambda: events.disable_rule(Name=f"Events-Archive-{name}", EventBusName=name), lambda: events.remove_targets(Rule=f"Events-Archive-{name}", Ids=["x"], EventBusName=name)):
        with refused("ManagedRuleException", 400):
            change()
    with refused("ResourceAlreadyExistsException", 400):
        events.create_archive(ArchiveName=name, EventSourceArn=shop.bus)
    events.update_archive(ArchiveName=name, RetentionDays=1, EventPattern='{"source": ["bank"]}')
    shop.put({}, source="bank")
    shop.put({}, source="shop")
    assert shop.size()[0] == 1
    listed = events.list_archives(EventSourceArn=shop.bus)["Archives"]
    assert [(one["ArchiveName"], one["EventCount"], one["RetentionDays"]) for one in listed] == [(name, 1, 1)]
    events.delete_archive(ArchiveName=name)
    assert [rule["Name"] for rule in events.list_rules(EventBusName=name)["Rules"]] == ["r"]
    with refused("ResourceNotFoundException", 400):
        events.describe_archive(ArchiveName=name)
    events.create_archive(ArchiveName=name, EventSourceArn=shop.bus)
    assert shop.size() == (0, 0)


def test_what_is_not_allowed(server, events, name):
    shop = Shop(server, name)
    with refused("InvalidEventPatternException", 400):
        events.create_archive(ArchiveName=name + "2", EventSourceArn=shop.bus, EventPattern='{"source": "x"}')
    with refused("ResourceNotFoundException", 400):
        events.create_archive(ArchiveName=name + "2", EventSourceArn=shop.bus + "-none")
    other = events.create_event_bus(Name=name + "-other")["EventBusArn"]
    with refused("ValidationException", 400) as info:
        shop.replay(name, **{"Arn": other})
    assert "Cross event bus replay is not permitted" in info.value.response["Error"]["Message"]
    with refused("ValidationException", 400) as info:
        shop.replay(name, now(), now() - HOUR)
    assert info.value.response["Error"]["Message"] == "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime."
    with refused("ResourceNotFoundException", 400):
        events.cancel_replay(ReplayName=name)


def test_a_cancelled_replay_stops(server, events, name, eventually):
    shop = Shop(server, name)
    shop.put({"n": 1})
    shop.received(1)
    shop.replay(name)
    eventually(lambda: shop.over(name))
    with refused("IllegalStatusException", 400):
        events.cancel_replay(ReplayName=name)
    with refused("ResourceAlreadyExistsException", 400):
        shop.replay(name)
    assert [(one["ReplayName"], one["State"]) for one in events.list_replays(EventSourceArn=shop.archive)["Replays"]] == [(name, "COMPLETED")]


def test_topics_get_events_and_replays(server, events, name, eventually):
    shop, topics = Shop(server, name), server.client("sns")
    topic = topics.create_topic(Name=name)["TopicArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=shop.queue, Attributes={"RawMessageDelivery": "true"})
    events.put_targets(Rule="r", EventBusName=name, Targets=[{"Id": "q", "Arn": topic}])
    event_id = shop.put({"n": 1})[0]
    assert [event["id"] for event in shop.received(1)] == [event_id]
    shop.replay(name)
    assert [(event["id"], event["replay-name"]) for event in shop.received(1)] == [(event_id, name)]


TEMPLATE = """
Parameters: {Days: {Type: Number}, Url: {Type: String}}
Resources:
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: !Ref AWS::StackName}}
  Archive: {Type: AWS::Events::Archive, Properties: {SourceArn: !GetAtt Bus.Arn, RetentionDays: !Ref Days, EventPattern: {source: [shop]}}}
  Connection:
    Type: AWS::Events::Connection
    Properties: {AuthorizationType: API_KEY, AuthParameters: {ApiKeyAuthParameters: {ApiKeyName: k, ApiKeyValue: v}}}
  Api:
    Type: AWS::Events::ApiDestination
    Properties: {ConnectionArn: !GetAtt Connection.Arn, HttpMethod: POST, InvocationEndpoint: !Ref Url}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {source: [shop]}
      Targets: [{Id: a, Arn: !GetAtt Api.Arn, RoleArn: arn:aws:iam::000000000000:role/x, HttpParameters: {PathParameterValues: [$.id]}}]
Outputs: {Archive: {Value: !Ref Archive}, Api: {Value: !Ref Api}, Connection: {Value: !Ref Connection}}
"""


def test_stacks(server, events, name):
    stacks = server.client("cloudformation")
    given = lambda days, url: [{"ParameterKey": "Days", "ParameterValue": str(days)}, {"ParameterKey": "Url", "ParameterValue": url}]
    stacks.create_stack(StackName=name, TemplateBody=TEMPLATE, Parameters=given(3, "https://example.com/*"))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    made = {one["OutputKey"]: one["OutputValue"] for one in stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    assert events.describe_archive(ArchiveName=made["Archive"])["RetentionDays"] == 3
    assert events.describe_api_destination(Name=made["Api"])["ApiDestinationState"] == "ACTIVE"
    without = TEMPLATE.replace("RetentionDays: !Ref Days, EventPattern: {source: [shop]}", "RetentionDays: !Ref Days")
    stacks.update_stack(StackName=name, TemplateBody=without, Parameters=given(5, "https://example.org/*"))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    archive = events.describe_archive(ArchiveName=made["Archive"])
    assert archive["RetentionDays"] == 5 and "EventPattern" not in archive
    assert events.describe_api_destination(Name=made["Api"])["InvocationEndpoint"] == "https://example.org/*"
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    for gone in (lambda: events.describe_archive(ArchiveName=made["Archive"]), lambda: events.describe_connection(Name=made["Connection"]), lambda: events.describe_api_destination(Name=made["Api"])):
        with refused("ResourceNotFoundException", 400):
            gone()
