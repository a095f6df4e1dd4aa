"""EventBridge: what can be a target of a rule and who may be let in, with AWS's refusals and quotas."""

import json

import pytest
from conftest import TRUST, Server
from support import refused

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deliver"
PATTERN = json.dumps({"source": ["shop"]})


@pytest.fixture
def events(server):
    return server.client("events")


def queue(server, name, **attributes):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def put(events, bus, detail=None):
    entry = {"EventBusName": bus, "Source": "shop", "DetailType": "Order Placed", "Detail": json.dumps(detail or {})}
    answer = events.put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0, answer
    return answer["Entries"][0]["EventId"]


def received(server, url, wait=5):
    return server.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageAttributeNames=["All"],
                                                MessageSystemAttributeNames=["All"]).get("Messages", [])


def sentence(info):
    return info.value.response["Error"]["Message"]


def test_an_id_is_there_once_in_a_request(server, events, name):
    _, arn = queue(server, name)
    events.put_rule(Name=name, EventPattern=PATTERN)
    with refused("ValidationException", 400) as info:
        events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": arn}, {"Id": "b", "Arn": arn}, {"Id": "a", "Arn": arn, "Input": "{}"}])
    assert "Id a is there more than once" in sentence(info)
    assert events.list_targets_by_rule(Rule=name)["Targets"] == []


def test_what_is_elsewhere_needs_a_role(server, events, name):
    events.put_rule(Name=name, EventPattern=PATTERN)
    for arn in [
        f"arn:aws:events:us-east-1:{ACCOUNT}:api-destination/d/1b", "arn:aws:events:us-east-1:111111111111:event-bus/default",
        f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default", "arn:aws:sns:us-east-1:111111111111:t", "arn:aws:sqs:us-east-1:111111111111:q",
    ]:
        with refused("ValidationException", 400) as info:
            events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": arn}])
        assert sentence(info) == f"RoleArn is required for target {arn}."
        assert events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": arn, "RoleArn": ROLE}])["FailedEntryCount"] == 0
    kept = events.list_targets_by_rule(Rule=name)["Targets"]
    assert kept == [{"Id": "a", "Arn": arn, "RoleArn": ROLE}]


def test_what_no_role_reaches_is_refused(events, name):
    events.put_rule(Name=name, EventPattern=PATTERN)
    abroad = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q"
    with refused("ValidationException", 400) as info:
        events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": abroad, "RoleArn": ROLE}])
    assert sentence(info).startswith(f"Parameter {abroad} is not valid. Reason: ")
    foreign = "arn:aws:logs:us-east-1:111111111111:log-group:/aws/events/x"
    with refused("AccessDeniedException") as info:
        events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": foreign, "RoleArn": ROLE}])
    assert sentence(info) == f"Access to the resource {foreign} is denied. Reason: Adding cross-account target is not permitted."
    for arn in [f"arn:aws:events:us-east-1:{ACCOUNT}:rule/x", f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/x"]:
        with refused("NotImplemented", 501):
            events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": arn, "RoleArn": ROLE}])
    with refused("ValidationException", 400) as info:
        events.put_targets(Rule=name, Targets=[{"Id": "a", "Arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:t", "SqsParameters": {"MessageGroupId": "g"}}])
    assert sentence(info) == "Parameter(s) SqsParameters not supported for target: a."
    assert events.list_targets_by_rule(Rule=name)["Targets"] == []


def test_roles_must_be_there_where_they_are_enforced(tmp_path, name):
    server = Server(tmp_path / "store").start()
    try:
        iam = server.client("iam")
        iam.create_user(UserName="ann")
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        _, arn = queue(server, name)
    finally:
        server.stop()
    server = Server(tmp_path / "store", "--auth", "enforce").start()
    try:
        events = server.client("events", key["AccessKeyId"], key["SecretAccessKey"])
        expected = f"Provided role '{role}-lost' cannot be assumed by principal 'events.amazonaws.com'."
        with refused("ValidationException", 400) as info:
            events.put_rule(Name=name, EventPattern=PATTERN, RoleArn=role + "-lost")
        assert sentence(info) == expected
        events.put_rule(Name=name, EventPattern=PATTERN, RoleArn=role)
        with refused("ValidationException", 400) as info:
            events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn, "RoleArn": role + "-lost"}])
        assert sentence(info) == expected
        assert events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn, "RoleArn": role}])["FailedEntryCount"] == 0
    finally:
        server.stop()


def test_groups_of_queues(server, events, name):
    """A FIFO queue deduplicates by content, and so must be set to; a standard queue has fair groups."""
    url, fifo = queue(server, name + ".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    _, strict = queue(server, name + "-strict.fifo", FifoQueue="true")
    fair_url, fair = queue(server, name + "-fair")
    lost_url, lost = queue(server, name + "-lost")
    events.create_event_bus(Name=name)
    events.put_rule(Name="r", EventBusName=name, EventPattern=PATTERN)
    group = {"SqsParameters": {"MessageGroupId": "g"}}
    events.put_targets(Rule="r", EventBusName=name, Targets=[
        {"Id": "same", "Arn": fifo, "Input": '"same"', **group}, {"Id": "fair", "Arn": fair, **group},
        {"Id": "strict", "Arn": strict, "DeadLetterConfig": {"Arn": lost}, **group}])
    ids = {put(events, name), put(events, name)}
    assert [message["Body"] for message in received(server, url)] == ['"same"'] and received(server, url, wait=0) == []
    found = received(server, fair_url) + received(server, fair_url, wait=0)
    assert {json.loads(message["Body"])["id"] for message in found} == ids
    assert {message["Attributes"]["MessageGroupId"] for message in found} == {"g"} and "MessageDeduplicationId" not in found[0]["Attributes"]
    dead = received(server, lost_url)
    assert {json.loads(message["Body"])["id"] for message in dead} <= ids and dead
    assert dead[0]["MessageAttributes"]["TARGET_ARN"]["StringValue"] == strict


def test_quotas(tmp_path, name):
    server = Server(tmp_path / "store", "--events-rules-per-bus", "2").start()
    try:
        events, (_, arn) = server.client("events"), queue(server, name)
        for number in range(2):
            events.put_rule(Name=f"r{number}", EventPattern=PATTERN)
        with refused("LimitExceededException", 400) as info:
            events.put_rule(Name="r2", EventPattern=PATTERN)
        assert sentence(info) == "The requested resource exceeds the maximum number allowed."
        events.put_rule(Name="r1", EventPattern=PATTERN, Description="changed")
        events.put_targets(Rule="r0", Targets=[{"Id": str(number), "Arn": arn} for number in range(5)])
        with refused("LimitExceededException", 400):
            events.put_targets(Rule="r0", Targets=[{"Id": "5", "Arn": arn}])
        for number in range(99):
            events.create_event_bus(Name=f"{name}-{number}")
        with refused("LimitExceededException", 400):
            events.create_event_bus(Name=name)
        events.delete_event_bus(Name=f"{name}-0")
        events.create_event_bus(Name=name)
    finally:
        server.stop()


def test_a_bus_has_300_rules_by_default(private_server, name):
    events = private_server.client("events")
    for number in range(300):
        events.put_rule(Name=f"r{number}", EventPattern=PATTERN)
    with refused("LimitExceededException", 400):
        events.put_rule(Name="one-more", EventPattern=PATTERN)


def test_rules_with_management_events_match_all_others_too(server, events, name):
    url, arn = queue(server, name)
    events.create_event_bus(Name=name)
    events.put_rule(Name="r", EventBusName=name, EventPattern=PATTERN, State="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")
    events.put_targets(Rule="r", EventBusName=name, Targets=[{"Id": "q", "Arn": arn}])
    assert events.describe_rule(Name="r", EventBusName=name)["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
    event_id = put(events, name)
    assert json.loads(received(server, url)[0]["Body"])["id"] == event_id
    events.enable_rule(Name="r", EventBusName=name)
    assert events.describe_rule(Name="r", EventBusName=name)["State"] == "ENABLED"


def test_policies_of_buses_are_checked(events, name):
    arn = events.create_event_bus(Name=name)["EventBusArn"]
    allow = {"Sid": "s", "Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "events:PutEvents", "Resource": arn}

    def policy(**changes):
        return json.dumps({"Version": "2012-10-17", "Statement": [{**allow, **changes}]})

    other = arn.replace(name, "other")
    for wrong, said in [
        ({"Policy": "{"}, "This policy contains invalid Json"),
        ({"Policy": policy(Effect="Maybe")}, "The policy does not have the form of a resource policy."),
        ({"Policy": policy(Action="sqs:SendMessage")}, "The policy allows actions that are not those of EventBridge."),
        ({"Policy": policy(Resource=other)}, f'The relative-id "event-bus/other" is invalid for ARN "{other}"'),
        ({"Policy": policy(), "Action": "events:PutEvents"}, "Policy cannot be given together with Action, Principal, StatementId or Condition."),
        ({"Action": "events:PutRule", "Principal": "*", "StatementId": "s"}, "Provided value in parameter 'action' is not supported."),
        ({"Action": "events:PutEvents"}, "Action, Principal and StatementId are required when Policy is not given."),
    ]:
        with refused("ValidationException", 400) as info:
            events.put_permission(EventBusName=name, **wrong)
        assert sentence(info) == said
    with refused("PolicyLengthExceededException", 400):
        events.put_permission(EventBusName=name, Policy=policy(Resource=[arn] * 200))
    assert "Policy" not in events.describe_event_bus(Name=name)
    events.put_permission(EventBusName=name, Policy=policy())
    assert json.loads(events.describe_event_bus(Name=name)["Policy"])["Statement"] == [allow]
    rules = policy(Action=["events:PutRule", "events:PutTargets"], Resource=arn.replace(":event-bus/", ":rule/") + "/*")
    events.put_permission(EventBusName=name, Policy=rules)
    assert events.describe_event_bus(Name=name)["Policy"] == rules


def test_stacks_set_policies(server, events, name):
    stacks = server.client("cloudformation")
    whole = {"Version": "2012-10-17", "Statement": {"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "events:*",
                                                    "Resource": f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/{name}"}}
    resources = {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": name, "Policy": whole}},
        "Short": {"Type": "AWS::Events::EventBusPolicy", "Properties": {
            "EventBusName": {"Ref": "Bus"}, "StatementId": "short", "Action": "events:PutEvents", "Principal": "111111111111"}},
        "Long": {"Type": "AWS::Events::EventBusPolicy", "DependsOn": "Short", "Properties": {
            "EventBusName": {"Ref": "Bus"}, "StatementId": "long",
            "Statement": {"Effect": "Deny", "Principal": "*", "Action": "events:PutRule", "Resource": {"Fn::GetAtt": ["Bus", "Arn"]}}}},
        "Rule": {"Type": "AWS::Events::Rule", "Properties": {
            "Name": name, "EventPattern": {"source": ["shop"]}, "Tags": [{"Key": "team", "Value": "shop"}]}},
    }
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    arn = events.describe_rule(Name=name)["Arn"]
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "shop"}]

    def sids():
        policy = events.describe_event_bus(Name=name).get("Policy")
        return [one["Sid"] for one in json.loads(policy)["Statement"]] if policy else []

    assert sids() == ["all", "short", "long"]
    del resources["Short"]
    del resources["Long"]["DependsOn"]
    resources["Long"]["Properties"]["Statement"]["Action"] = "events:PutTargets"
    stacks.update_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    assert sids() == ["all", "long"]
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    with refused("ResourceNotFoundException"):
        events.describe_event_bus(Name=name)


def test_a_rule_with_targets_that_are_refused_leaves_nothing_behind(server, events, name, eventually):
    stacks = server.client("cloudformation")
    rule = {"EventBusName": {"Ref": "Bus"}, "EventPattern": {"source": ["shop"]},
            "Targets": [{"Id": "a", "Arn": f"arn:aws:events:us-east-1:{ACCOUNT}:api-destination/d/1b"}]}
    resources = {"Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": name}}, "Rule": {"Type": "AWS::Events::Rule", "Properties": rule}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    eventually(lambda: stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")
    with refused("ResourceNotFoundException"):
        events.describe_event_bus(Name=name)


def test_a_line_in_a_log_group_is_there_when_the_answer_is(private_server, name):
    server, group = private_server, f"/aws/events/{name}"
    events, logs = server.client("events"), server.client("logs")
    logs.create_log_group(logGroupName=group)
    events.put_rule(Name=name, EventPattern=PATTERN)
    arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}:*"
    _, lost = queue(server, name)
    events.put_targets(Rule=name, Targets=[{"Id": "l", "Arn": arn, "DeadLetterConfig": {"Arn": lost}}])
    ids = [put(events, "default", {"number": number}) for number in range(5)]
    server.kill()
    server.start()
    logs, events = server.client("logs"), server.client("events")
    found = logs.filter_log_events(logGroupName=group)["events"]
    assert sorted(json.loads(one["message"])["id"] for one in found) == sorted(ids)
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert {one["logStreamName"] for one in streams} == {one["logStreamName"] for one in found} and streams[0]["lastEventTimestamp"]
    logs.delete_log_group(logGroupName=group)
    event_id = put(events, "default")
    letter = received(server, server.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])[0]
    assert json.loads(letter["Body"])["id"] == event_id
    said = {key: one["StringValue"] for key, one in letter["MessageAttributes"].items()}
    assert (said["ERROR_CODE"], said["TARGET_ARN"]) == ("RESOURCE_NOT_FOUND", arn)
    with refused("ResourceNotFoundException"):
        logs.describe_log_streams(logGroupName=group)


def test_tags_and_types_have_their_bounds(events, name):
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    rule = events.put_rule(Name=name, EventPattern=PATTERN, Tags=[{"Key": "a", "Value": "b"}])["RuleArn"]
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(51)]
    for tags in (many, [{"Key": "aws:mine", "Value": "v"}]):
        for arn in (bus, rule):
            with refused("ValidationException", 400):
                events.tag_resource(ResourceARN=arn, Tags=tags)
        with refused("ValidationException", 400):
            events.put_rule(Name=name + "2", EventPattern=PATTERN, Tags=tags)
        with refused("ValidationException", 400):
            events.create_event_bus(Name=name + "2", Tags=tags)
    assert events.list_tags_for_resource(ResourceARN=rule)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert events.list_tags_for_resource(ResourceARN=bus)["Tags"] == []
    entry = lambda kind: {"EventBusName": name, "Source": "shop", "DetailType": kind, "Detail": "{}"}
    answer = events.put_events(Entries=[entry("é" * 128), entry("x" * 129)])
    assert [one.get("ErrorCode") for one in answer["Entries"]] == [None, "InvalidArgument"]
