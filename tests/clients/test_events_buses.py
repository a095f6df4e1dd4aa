"""EventBridge's buses: their settings, who may change what, with boto3 and CloudFormation."""

import json

import pytest
from support import refused


@pytest.fixture
def events(server):
    return server.client("events")


def queue_arn(server, name):
    url = server.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def test_settings_are_kept_and_changed(server, events, name):
    lost = queue_arn(server, name)
    made = events.create_event_bus(Name=name, Description="orders", DeadLetterConfig={"Arn": lost}, LogConfig={"Level": "OFF", "IncludeDetail": "FULL"})
    assert (made["Description"], made["DeadLetterConfig"]["Arn"], made["LogConfig"]) == ("orders", lost, {"Level": "OFF", "IncludeDetail": "FULL"})
    before = events.describe_event_bus(Name=name)
    assert (before["Description"], before["DeadLetterConfig"], before["LogConfig"]["Level"]) == ("orders", {"Arn": lost}, "OFF")

    changed = events.update_event_bus(Name=name, DeadLetterConfig={"Arn": lost + "2"})
    assert (changed["Arn"], changed["Name"], changed["Description"], changed["DeadLetterConfig"]) == (made["EventBusArn"], name, "orders", {"Arn": lost + "2"})
    changed = events.update_event_bus(Name=name, Description="")
    assert "Description" not in changed and "DeadLetterConfig" not in changed and "LogConfig" not in changed
    after = events.describe_event_bus(Name=name)
    assert "DeadLetterConfig" not in after and after["CreationTime"] == before["CreationTime"] <= after["LastModifiedTime"]
    assert events.update_event_bus(Description="of everybody")["Name"] == "default"
    assert events.update_event_bus(Name="default", Description="")["Arn"].endswith(":event-bus/default")


def test_what_is_not_honoured_is_refused_and_changes_nothing(server, events, name):
    events.create_event_bus(Name=name, Description="before")
    fifo = f"arn:aws:sqs:us-east-1:000000000000:{name}.fifo"
    for code, status, wrong in [
        ("NotImplemented", 501, {"KmsKeyIdentifier": "alias/a"}), ("NotImplemented", 501, {"LogConfig": {"Level": "INFO"}}),
        ("ValidationException", 400, {"DeadLetterConfig": {"Arn": fifo}}), ("ValidationException", 400, {"DeadLetterConfig": {"Arn": "arn:aws:sns:us-east-1:000000000000:t"}}),
        ("ValidationException", 400, {"Description": "x" * 513}),
    ]:
        with refused(code, status):
            events.update_event_bus(Name=name, **{"Description": "after", **wrong})
        with refused(code, status):
            events.create_event_bus(Name=name + "2", **wrong)
    assert events.describe_event_bus(Name=name)["Description"] == "before"
    assert events.list_event_buses(NamePrefix=name)["EventBuses"][0]["Name"] == name
    assert len(events.list_event_buses(NamePrefix=name)["EventBuses"]) == 1
    with refused("ResourceNotFoundException", 400) as info:
        events.update_event_bus(Name=name + "3", Description="x")
    assert info.value.response["Error"]["Message"] == f"Event bus {name}3 does not exist."


def test_permissions_have_conditions(events, name):
    events.create_event_bus(Name=name)
    for sentence in ["EventBus does not have a policy.", "Statement with the provided id does not exist."]:
        with refused("ResourceNotFoundException", 400) as info:
            events.remove_permission(EventBusName=name, StatementId="none")
        assert info.value.response["Error"]["Message"] == sentence
        events.put_permission(EventBusName=name, Action="events:PutEvents", Principal="111111111111", StatementId="other")
    events.remove_permission(EventBusName=name, RemoveAllPermissions=True)
    assert "Policy" not in events.describe_event_bus(Name=name)
    condition = {"Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o-1234567890"}
    events.put_permission(EventBusName=name, Action="events:PutEvents", Principal="*", StatementId="org", Condition=condition)
    statement = json.loads(events.describe_event_bus(Name=name)["Policy"])["Statement"][0]
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}} and statement["Principal"] == "*"


def test_stacks_change_buses_in_place(server, events, name):
    lost, stacks = queue_arn(server, name), server.client("cloudformation")
    bus = {"Type": "AWS::Events::EventBus", "Properties": {"Name": name, "Description": "one"}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Bus": bus}}))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    made = events.describe_event_bus(Name=name)
    bus["Properties"].update(Description="two", DeadLetterConfig={"Arn": lost})
    stacks.update_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Bus": bus}}))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    now = events.describe_event_bus(Name=name)
    assert (now["Description"], now["DeadLetterConfig"]["Arn"], now["CreationTime"]) == ("two", lost, made["CreationTime"])
    stacks.delete_stack(StackName=name)
