"""EventBridge: events matched, transformed and handed over, with boto3 and the AWS CLI."""

import json
import subprocess

import pytest
from conftest import BINARY
from support import function, refused, table, zipped


@pytest.fixture
def events(server):
    return server.client("events")


@pytest.fixture
def queue(server, name):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def put(events, bus, detail, source="shop", kind="Order Placed", **more):
    answer = events.put_events(Entries=[{"EventBusName": bus, "Source": source, "DetailType": kind, "Detail": json.dumps(detail), **more}])
    assert answer["FailedEntryCount"] == 0, answer
    return answer["Entries"][0]["EventId"]


def received(server, url, wait=5):
    messages = server.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageAttributeNames=["All"]).get("Messages", [])
    return messages


def rule(events, name, pattern, *targets, bus=None):
    more = {"EventBusName": bus} if bus else {}
    made = events.put_rule(Name=name, EventPattern=json.dumps(pattern), **more)["RuleArn"]
    answer = events.put_targets(Rule=name, Targets=list(targets), **more)
    assert answer["FailedEntryCount"] == 0, answer
    return made


def test_events_reach_the_targets_of_rules_that_match(server, events, name, queue):
    events.create_event_bus(Name=name)
    url, arn = queue
    rule(events, "wanted", {"source": ["shop"], "detail": {"amount": [{"numeric": [">", 100]}]}}, {"Id": "q", "Arn": arn}, bus=name)
    rule(events, "other", {"source": ["bank"]}, {"Id": "q", "Arn": arn}, bus=name)
    put(events, name, {"amount": 5})
    event_id = put(events, name, {"amount": 500}, Resources=["arn:x"])
    messages = received(server, url)
    assert len(messages) == 1
    event = json.loads(messages[0]["Body"])
    assert event["id"] == event_id and event["detail"] == {"amount": 500} and event["resources"] == ["arn:x"]
    assert (event["version"], event["source"], event["detail-type"], event["account"], event["region"]) == ("0", "shop", "Order Placed", "000000000000", "us-east-1")
    assert event["time"].endswith("Z") and received(server, url, wait=0) == []


def test_inputs_are_made_for_targets(server, events, name, queue):
    events.create_event_bus(Name=name)
    url, arn = queue
    transformer = {"InputPathsMap": {"who": "$.detail.customer", "n": "$.detail.n"}, "InputTemplate": '{"hello": "<who>", "n": <n>, "rule": "<aws.events.rule-name>"}'}
    rule(events, "all", {"source": ["shop"]}, {"Id": "a", "Arn": arn, "Input": '{"constant": 1}'}, {"Id": "b", "Arn": arn, "InputPath": "$.detail.customer"},
         {"Id": "c", "Arn": arn, "InputTransformer": transformer}, bus=name)
    put(events, name, {"customer": "ann", "n": 5})
    bodies = [json.loads(message["Body"]) for message in received(server, url)]
    assert {"constant": 1} in bodies and "ann" in bodies and {"hello": "ann", "n": 5, "rule": "all"} in bodies


def test_entries_fail_one_by_one(events):
    answer = events.put_events(Entries=[
        {"Source": "a", "DetailType": "b", "Detail": "{}"}, {"Source": "a", "DetailType": "b", "Detail": "no json"},
        {"DetailType": "b", "Detail": "{}"}, {"Source": "aws.s3", "DetailType": "b", "Detail": "{}"}])
    codes = [entry.get("ErrorCode") for entry in answer["Entries"]]
    assert codes == [None, "MalformedDetail", "InvalidArgument", "NotAuthorizedForSourceException"] and answer["FailedEntryCount"] == 3
    assert answer["Entries"][2]["ErrorMessage"] == "Parameter Source is not valid. Reason: Source is a required argument."


def test_an_event_for_a_bus_that_is_not_there_gets_an_id_and_is_lost(events, name):
    answer = events.put_events(Entries=[{"EventBusName": name, "Source": "a", "DetailType": "b", "Detail": "{}"}])
    assert answer["FailedEntryCount"] == 0 and answer["Entries"][0]["EventId"]


def test_a_request_has_its_limits(events):
    entry = {"Source": "a", "DetailType": "b", "Detail": "{}"}
    with refused("ValidationException", 400) as info:
        events.put_events(Entries=[entry] * 11)
    assert info.value.response["Error"]["Message"].endswith("at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10")
    with refused("ValidationException", 400) as info:
        events.put_events(Entries=[{**entry, "Detail": json.dumps({"a": "x" * (1 << 20)})}])
    assert info.value.response["Error"]["Message"] == "Total size of the entries in the request is over the limit."
    answer = events.put_events(Entries=[{**entry, "Detail": detail} for detail in ['"text"', "[1]", "{'a': 1}", "{\"a\": }"]])
    assert {(one["ErrorCode"], one["ErrorMessage"]) for one in answer["Entries"]} == {("MalformedDetail", "Detail is malformed.")}


def test_target_settings_have_their_bounds(events, name, queue):
    _, arn = queue
    events.put_rule(Name=name, EventPattern='{"source": ["a"]}')
    for wrong in [{"RetryPolicy": {"MaximumRetryAttempts": 186}}, {"RetryPolicy": {"MaximumEventAgeInSeconds": 86401}}, {"DeadLetterConfig": {"Arn": arn + ".fifo"}},
                  {"DeadLetterConfig": {"Arn": "arn:aws:sns:us-east-1:000000000000:t"}}, {"Input": "{}", "InputPath": "$.detail"},
                  {"InputTransformer": {"InputPathsMap": {"a": "detail"}, "InputTemplate": "<a>"}}, {"HttpParameters": {"PathParameterValues": ["a"]}}]:
        with refused("ValidationException", 400):
            events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn, **wrong}])
    with refused("ValidationException", 400) as info:
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": "no arn"}])
    assert info.value.response["Error"]["Message"] == "Parameter no arn is not valid. Reason: Provided Arn is not in correct format."
    assert events.list_targets_by_rule(Rule=name)["Targets"] == []


def test_functions_and_other_buses(server, events, name, eventually):
    table(server, name)
    code = "import os, boto3\nrows = boto3.resource('dynamodb').Table(os.environ['ROWS'])\ndef handler(event, context):\n    rows.put_item(Item={'id': event['detail']['id'], 'source': event['source']})\n"
    arn = function(server, name, zipped(app__py=code), Environment={"Variables": {"ROWS": name}})
    first, second = (events.create_event_bus(Name=f"{name}-{n}")["EventBusArn"] for n in (1, 2))
    rule(events, "on", {"source": ["shop"]}, {"Id": "bus", "Arn": second, "RoleArn": "arn:aws:iam::000000000000:role/x"}, bus=f"{name}-1")
    rule(events, "run", {"source": ["shop"]}, {"Id": "f", "Arn": arn}, bus=f"{name}-2")
    put(events, first, {"id": "one"})
    item = eventually(lambda: server.client("dynamodb").get_item(TableName=name, Key={"id": {"S": "one"}}).get("Item"))
    assert item["source"] == {"S": "shop"}


def test_what_cannot_be_delivered_is_dead_lettered(server, events, name, queue):
    events.create_event_bus(Name=name)
    url, arn = queue
    gone = arn + "-gone"
    made = rule(events, "lost", {"source": ["shop"]}, {"Id": "x", "Arn": gone, "DeadLetterConfig": {"Arn": arn}}, bus=name)
    put(events, name, {})
    message = received(server, url)[0]
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes["RULE_ARN"] == made and attributes["TARGET_ARN"] == gone and attributes["ERROR_CODE"] == "RESOURCE_NOT_FOUND"


def test_rules_live(events, name, queue):
    _, arn = queue
    events.create_event_bus(Name=name, Tags=[{"Key": "a", "Value": "b"}])
    with refused("ResourceAlreadyExistsException", 400):
        events.create_event_bus(Name=name)
    made = rule(events, "r", {"source": ["a"]}, {"Id": "q", "Arn": arn, "RetryPolicy": {"MaximumRetryAttempts": 3}}, bus=name)
    assert made == f"arn:aws:events:us-east-1:000000000000:rule/{name}/r"
    described = events.describe_rule(Name="r", EventBusName=name)
    assert (described["State"], json.loads(described["EventPattern"])) == ("ENABLED", {"source": ["a"]})
    events.disable_rule(Name="r", EventBusName=name)
    assert events.list_rules(EventBusName=name)["Rules"][0]["State"] == "DISABLED"
    events.enable_rule(Name="r", EventBusName=name)
    assert events.list_targets_by_rule(Rule="r", EventBusName=name)["Targets"] == [{"Id": "q", "Arn": arn, "RetryPolicy": {"MaximumRetryAttempts": 3}}]
    assert events.list_rule_names_by_target(TargetArn=arn, EventBusName=name)["RuleNames"] == ["r"]
    with refused("ValidationException", 400) as info:
        events.delete_rule(Name="r", EventBusName=name)
    assert info.value.response["Error"]["Message"] == "Rule can't be deleted since it has targets."
    with refused("ValidationException", 400):
        events.delete_event_bus(Name=name)
    assert events.remove_targets(Rule="r", Ids=["q", "none"], EventBusName=name)["FailedEntryCount"] == 1
    events.delete_rule(Name="r", EventBusName=name)
    bus = events.describe_event_bus(Name=name)
    assert events.list_tags_for_resource(ResourceARN=bus["Arn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    events.put_permission(EventBusName=name, Action="events:PutEvents", Principal="111111111111", StatementId="x")
    assert json.loads(events.describe_event_bus(Name=name)["Policy"])["Statement"][0]["Sid"] == "x"
    events.remove_permission(EventBusName=name, StatementId="x")
    events.delete_event_bus(Name=name)
    with refused("ResourceNotFoundException", 400) as info:
        events.describe_event_bus(Name=name)
    assert info.value.response["Error"]["Message"] == f"Event bus {name} does not exist."
    assert "default" in [one["Name"] for one in events.list_event_buses()["EventBuses"]]


def test_mistakes_are_refused(events, name, queue):
    _, arn = queue
    with refused("InvalidEventPatternException", 400):
        events.put_rule(Name=name, EventPattern='{"source": "no array"}')
    with refused("ValidationException", 400):
        events.put_rule(Name=name)
    with refused("ValidationException", 400) as info:
        events.put_rule(Name=name, ScheduleExpression="rate(1 minutes)")
    assert info.value.response["Error"]["Message"] == "Parameter ScheduleExpression is not valid."
    with refused("ResourceNotFoundException", 400) as info:
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    assert info.value.response["Error"]["Message"] == f"Rule {name} does not exist on EventBus default."
    events.put_rule(Name=name, EventPattern='{"source": ["a"]}', State="DISABLED")
    with refused("LimitExceededException", 400):
        events.put_targets(Rule=name, Targets=[{"Id": str(n), "Arn": arn} for n in range(6)])
    with refused("ValidationException", 400):
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn, "Input": "{"}])
    with refused("NotImplemented", 501):
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": "arn:aws:ecs:us-east-1:000000000000:cluster/x"}])
    assert events.test_event_pattern(EventPattern='{"source": [{"prefix": "sh"}]}', Event=json.dumps({
        "id": "1", "account": "1", "source": "shop", "time": "2026-01-01T00:00:00Z", "region": "r", "resources": [], "detail-type": "d", "detail": {}}))["Result"]


def test_schedules_fire_when_the_clock_moves(private_server, name):
    server = private_server
    events, sqs = server.client("events"), server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    made = events.put_rule(Name=name, ScheduleExpression="rate(5 minutes)")["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    assert received(server, url, wait=0) == []
    subprocess.run([BINARY, "--endpoint", server.endpoint, "clock", "advance", "11m"], check=True, capture_output=True)
    bodies = []
    for _ in range(3):
        bodies += [json.loads(message["Body"]) for message in received(server, url, wait=2)]
        if len(bodies) >= 2:
            break
    assert len(bodies) == 2, "two runs lie within eleven minutes"
    assert {(body["detail-type"], body["source"]) for body in bodies} == {("Scheduled Event", "aws.events")}
    assert bodies[0]["resources"] == [made] and bodies[0]["time"] != bodies[1]["time"]


def test_handovers_survive_kill_9(private_server, name):
    server = private_server
    events, sqs = server.client("events"), server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    rule(events, name, {"source": ["shop"]}, {"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:000000000000:{name}"})
    acknowledged = set()
    for turn in range(4):
        events = server.client("events")
        for n in range(25):
            acknowledged.add(put(events, "default", {"n": f"{turn}-{n}"}))
        server.kill()
        server.start()
    seen = []
    while messages := received(server, url, wait=0):
        seen += [json.loads(message["Body"])["id"] for message in messages]
    assert len(seen) == len(set(seen)) and set(seen) == acknowledged


def test_the_cli_and_cloudformation(server, events, name, queue):
    url, arn = queue
    template = {"Resources": {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": name}},
        "Rule": {"Type": "AWS::Events::Rule", "Properties": {"EventBusName": {"Ref": "Bus"}, "EventPattern": {"source": ["cli"]}, "Targets": [{"Id": "q", "Arn": arn}]}}}}
    stacks = server.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    entry = json.dumps([{"Source": "cli", "DetailType": "t", "Detail": "{}", "EventBusName": name}])
    assert '"FailedEntryCount": 0' in server.cli("events", "put-events", "--entries", entry, "--output", "json")
    assert json.loads(received(server, url)[0]["Body"])["source"] == "cli"
    stacks.delete_stack(StackName=name)
