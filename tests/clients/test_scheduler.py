"""EventBridge Scheduler: runs at their time, with the input they say, once each; with boto3, the AWS CLI and functions."""

import datetime
import json
import subprocess

import pytest
from botocore.exceptions import ClientError
from conftest import BINARY, TRUST, Server
from support import function, refused, table, zipped

ROLE = "arn:aws:iam::000000000000:role/scheduler"
OFF = {"Mode": "OFF"}
WAITER = {"Delay": 0.05, "MaxAttempts": 400}


@pytest.fixture
def scheduler(server):
    return server.client("scheduler")


def queue(server, name, **attributes):
    """URL and ARN of a new queue."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def target(arn, **more):
    return {"Arn": arn, "RoleArn": ROLE, **more}


def create(scheduler, name, expression, target, **more):
    return scheduler.create_schedule(Name=name, ScheduleExpression=expression, FlexibleTimeWindow=more.pop("FlexibleTimeWindow", OFF),
                                     Target=target, **more)["ScheduleArn"]


def received(server, url, wait=5):
    return server.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait,
                                                MessageAttributeNames=["All"]).get("Messages", [])


def all_received(server, url, number, eventually):
    """Bodies until there are `number`, and the proof that there is no further one. What counts are messages that were
    sent, for a standard queue may give one out twice."""
    sqs, bodies = server.client("sqs"), {}

    def enough(wait=1):
        for message in received(server, url, wait=wait):
            bodies[message["MessageId"]] = message["Body"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) >= number

    eventually(enough)
    enough(wait=0)
    assert len(bodies) == number, bodies
    return list(bodies.values())


def tidemill(server, *arguments):
    command = [BINARY, "--endpoint", server.endpoint, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def now():
    """The platform's time as long as nobody advanced it."""
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def at(moment):
    return moment.strftime("at(%Y-%m-%dT%H:%M:%S)")


def test_a_schedule_is_kept_shown_changed_and_deleted(server, scheduler, name):
    _, arn = queue(server, name)
    end = datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc)
    made = create(scheduler, name, "cron(0 12 * * ? *)", target(arn, Input="hello", DeadLetterConfig={"Arn": arn}, RetryPolicy={"MaximumRetryAttempts": 3}),
                  ScheduleExpressionTimezone="Europe/Berlin", EndDate=end, Description="noon", State="DISABLED",
                  FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}, ActionAfterCompletion="DELETE")
    assert made == f"arn:aws:scheduler:us-east-1:000000000000:schedule/default/{name}"
    shown = scheduler.get_schedule(Name=name)
    assert (shown["Arn"], shown["GroupName"], shown["State"], shown["ScheduleExpressionTimezone"]) == (made, "default", "DISABLED", "Europe/Berlin")
    assert (shown["EndDate"], shown["Description"], shown["ActionAfterCompletion"]) == (end, "noon", "DELETE")
    assert shown["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15}
    assert shown["Target"] == {"Arn": arn, "RoleArn": ROLE, "Input": "hello", "DeadLetterConfig": {"Arn": arn},
                               "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 86400}}
    scheduler.update_schedule(Name=name, ScheduleExpression="rate(2 days)", FlexibleTimeWindow=OFF, Target=target(arn), State="DISABLED")
    changed = scheduler.get_schedule(Name=name)
    assert changed["ScheduleExpression"] == "rate(2 days)" and changed["CreationDate"] == shown["CreationDate"]
    assert (changed["ScheduleExpressionTimezone"], changed["ActionAfterCompletion"], changed["Target"]["RetryPolicy"]["MaximumRetryAttempts"]) == ("UTC", "NONE", 185)
    assert "Description" not in changed and "Input" not in changed["Target"] and "EndDate" not in changed
    scheduler.delete_schedule(Name=name, ClientToken="once")
    scheduler.delete_schedule(Name=name, ClientToken="once")
    with refused("ResourceNotFoundException", 404) as info:
        scheduler.get_schedule(Name=name)
    assert info.value.response["Error"]["Message"] == f"Schedule {name} does not exist."
    with refused("ResourceNotFoundException", 404):
        scheduler.delete_schedule(Name=name, ClientToken="other")
    with refused("ResourceNotFoundException", 404):
        scheduler.update_schedule(Name=name, ScheduleExpression="rate(2 days)", FlexibleTimeWindow=OFF, Target=target(arn))


def test_groups_hold_schedules_and_take_them_along(server, scheduler, name):
    _, arn = queue(server, name)
    made = scheduler.create_schedule_group(Name=name, Tags=[{"Key": "team", "Value": "a"}])["ScheduleGroupArn"]
    assert made == f"arn:aws:scheduler:us-east-1:000000000000:schedule-group/{name}"
    for number in range(5):
        create(scheduler, f"s{number}", "rate(1 day)", target(arn), GroupName=name, State="ENABLED" if number % 2 else "DISABLED")
    create(scheduler, name, "rate(1 day)", target(arn), State="DISABLED")
    pages = scheduler.get_paginator("list_schedules").paginate(GroupName=name, PaginationConfig={"PageSize": 2})
    pages = [[one["Name"] for one in page["Schedules"]] for page in pages]
    assert pages == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    names = lambda **more: [one["Name"] for one in scheduler.list_schedules(**more)["Schedules"]]
    assert names(GroupName=name, State="ENABLED") == ["s1", "s3"] and names(NamePrefix=name) == [name]
    summary = scheduler.list_schedules(GroupName=name, NamePrefix="s1")["Schedules"][0]
    assert summary["Target"] == {"Arn": arn} and summary["GroupName"] == name and summary["State"] == "ENABLED"
    with refused("ValidationException"):
        scheduler.list_schedules(NextToken="nonsense")
    assert "default" in [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]]
    assert [group["Name"] for group in scheduler.list_schedule_groups(NamePrefix=name)["ScheduleGroups"]] == [name]
    assert scheduler.get_schedule_group(Name=name)["State"] == "ACTIVE"
    scheduler.tag_resource(ResourceArn=made, Tags=[{"Key": "stage", "Value": "b"}])
    scheduler.untag_resource(ResourceArn=made, TagKeys=["team"])
    assert scheduler.list_tags_for_resource(ResourceArn=made)["Tags"] == [{"Key": "stage", "Value": "b"}]
    with refused("ConflictException", 409):
        scheduler.create_schedule_group(Name=name)
    scheduler.delete_schedule_group(Name=name)
    for lost in (lambda: names(GroupName=name), lambda: scheduler.get_schedule(GroupName=name, Name="s1"), lambda: scheduler.get_schedule_group(Name=name),
                 lambda: create(scheduler, "s1", "rate(1 day)", target(arn), GroupName=name), lambda: scheduler.list_tags_for_resource(ResourceArn=made)):
        with refused("ResourceNotFoundException", 404):
            lost()
    with refused("ValidationException"):
        scheduler.delete_schedule_group(Name="default")


def test_a_repeated_request_is_made_once(server, scheduler, name):
    _, arn = queue(server, name)
    first = create(scheduler, name, "rate(1 day)", target(arn), ClientToken="t1", State="DISABLED")
    assert create(scheduler, name, "rate(1 day)", target(arn), ClientToken="t1", State="DISABLED") == first
    for change in ({"ClientToken": "t2"}, {"ClientToken": "t1", "Description": "other"}):
        with refused("ConflictException", 409) as info:
            create(scheduler, name, "rate(1 day)", target(arn), State="DISABLED", **change)
        assert info.value.response["Error"]["Message"] == f"Schedule {name} already exists."


def test_the_command_line_of_the_user_guide_works(server, name, eventually):
    url, arn = queue(server, name)
    given = json.dumps({"RoleArn": ROLE, "Arn": arn, "Input": "TEST_PAYLOAD"})
    server.cli("scheduler", "create-schedule", "--schedule-expression", "rate(5 minutes)", "--name", name, "--target", given, "--flexible-time-window", '{"Mode": "OFF"}')
    assert all_received(server, url, 1, eventually) == ["TEST_PAYLOAD"]
    server.cli("scheduler", "delete-schedule", "--name", name)


def test_what_makes_no_sense_is_refused(server, scheduler, name):
    _, arn = queue(server, name)
    _, fifo = queue(server, name + ".fifo", FifoQueue="true")
    start = datetime.datetime.now(datetime.timezone.utc)
    universal = "arn:aws:scheduler:::aws-sdk:"
    call = {"Input": "{}"}
    bus = {"EventBridgeParameters": {"DetailType": "d", "Source": "s"}}
    cases = [
        ("rate(5 fortnights)", target(arn), {}, "Invalid Schedule Expression rate(5 fortnights)."),
        ("rate(1 day)", target(arn), {"ScheduleExpressionTimezone": "Mars/Olympus"}, "Mars/Olympus"),
        ("rate(1 day)", target("jobs"), {}, "Provided Arn is not in correct format."),
        ("rate(1 day)", target("arn:aws:rds:us-east-1:000000000000:db:x"), {}, "rds is not a supported service for a target."),
        ("rate(1 day)", target(arn.replace("us-east-1", "eu-west-1")), {}, "The target ARN provided does not match the current region us-east-1."),
        ("rate(1 day)", target(arn), {"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}}, "MaximumWindowInMinutes must not be provided"),
        ("rate(1 day)", target(arn), {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes must be provided"),
        ("rate(1 day)", target(arn), {"StartDate": start + datetime.timedelta(days=2), "EndDate": start + datetime.timedelta(days=1)}, "The StartDate you specify must come before the EndDate."),
        ("rate(1 day)", target(arn), {"StartDate": start - datetime.timedelta(minutes=6)}, "The StartDate you specify cannot be earlier than 5 minutes ago."),
        ("rate(1 day)", target(fifo), {}, "Parameters SqsParameters must be specified"),
        ("rate(1 day)", target(arn, SqsParameters={"MessageGroupId": "g"}), {}, "Parameters MessageGroupId not valid for the target"),
        ("rate(1 day)", target(arn, **bus), {}, "Parameters EventBridgeParameters not supported for the target"),
        ("rate(1 day)", target("arn:aws:events:us-east-1:000000000000:event-bus/default"), {}, "EventBridgeParameters must be specified"),
        ("rate(1 day)", target("arn:aws:events:us-east-1:000000000000:event-bus/default", Input="[1]", **bus), {}, "JSON syntax error in input for the target"),
        ("rate(1 day)", target("arn:aws:lambda:us-east-1:000000000000:function:f", Input="{oops"), {}, "JSON syntax error in input for the target"),
        ("rate(1 day)", target(universal + "sqs:sendMessage"), {}, "You must provide an input to set this target for your schedule"),
        ("rate(1 day)", target(universal + "sqs:getQueueUrl", **call), {}, "getQueueUrl API is not supported"),
        ("rate(1 day)", target(arn, RetryPolicy={"MaximumRetryAttempts": 186}), {}, "less than or equal to 185"),
        ("rate(1 day)", target(arn, DeadLetterConfig={"Arn": fifo}), {}, "regular expression"),
    ]
    for expression, given, more, sentence in cases:
        with refused("ValidationException", 400) as info:
            create(scheduler, name, expression, given, **more)
        assert sentence in info.value.response["Error"]["Message"]
    for given, more in ((target(universal + "ec2:startInstances", **call), {}), (target(universal + "sqs:eatMessage", **call), {}),
                        (target("arn:aws:kinesis:us-east-1:000000000000:stream/s", KinesisParameters={"PartitionKey": "k"}), {}),
                        (target(arn), {"KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"})):
        with pytest.raises(ClientError) as info:
            create(scheduler, name, "rate(1 day)", given, **more)
        assert info.value.response["Error"]["Code"] == "NotImplemented"
    assert scheduler.list_schedules(NamePrefix=name)["Schedules"] == []


def test_a_rate_begins_at_once_and_goes_on_with_the_clock(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    url, arn = queue(server, name)
    keywords = '{"arn":"<aws.scheduler.schedule-arn>","at":"<aws.scheduler.scheduled-time>","id":"<aws.scheduler.execution-id>","try":<aws.scheduler.attempt-number>}'
    made = create(scheduler, name, "rate(10 minutes)", target(arn, Input=keywords))
    first = json.loads(all_received(server, url, 1, eventually)[0])
    assert first["arn"] == made and first["try"] == 1 and len(first["id"]) == 16
    tidemill(server, "clock", "advance", "35m")
    later = [json.loads(body) for body in all_received(server, url, 3, eventually)]
    moments = [datetime.datetime.fromisoformat(one["at"].replace("Z", "+00:00")) for one in [first, *later]]
    assert [(b - a).total_seconds() for a, b in zip(sorted(moments), sorted(moments)[1:])] == [600] * 3
    assert len({one["id"] for one in [first, *later]}) == 4
    same = dict(Name=name, ScheduleExpression="rate(10 minutes)", FlexibleTimeWindow=OFF, Target=target(arn, Input="other"))
    scheduler.update_schedule(**same, State="DISABLED")
    tidemill(server, "clock", "advance", "1h")
    assert received(server, url, wait=0) == []
    scheduler.update_schedule(**same, State="ENABLED")
    assert all_received(server, url, 1, eventually) == ["other"]


def test_what_is_over_is_deleted_if_it_says_so(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    url, arn = queue(server, name)
    soon = now() + datetime.timedelta(hours=2)
    berlin = soon + datetime.timedelta(hours=8)
    create(scheduler, "kept", at(soon), target(arn, Input="kept"))
    create(scheduler, "gone", at(soon), target(arn, Input="gone"), ActionAfterCompletion="DELETE")
    create(scheduler, "past", at(soon - datetime.timedelta(days=1)), target(arn, Input="past"), ActionAfterCompletion="DELETE")
    create(scheduler, "zoned", at(berlin), target(arn, Input="zoned"), ScheduleExpressionTimezone="Asia/Shanghai")
    create(scheduler, "ends", "rate(1 hour)", target(arn, Input="ends"), ActionAfterCompletion="DELETE",
           StartDate=now() + datetime.timedelta(minutes=30), EndDate=now() + datetime.timedelta(minutes=100))
    create(scheduler, "flexible", at(soon - datetime.timedelta(hours=1)), target(arn, Input="flexible"), FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 30})
    tidemill(server, "clock", "advance", "25m")
    assert received(server, url, wait=0) == []
    tidemill(server, "clock", "advance", "100m")
    assert sorted(all_received(server, url, 6, eventually)) == ["ends", "ends", "flexible", "gone", "kept", "zoned"]
    assert [one["Name"] for one in scheduler.list_schedules()["Schedules"]] == ["flexible", "kept", "past", "zoned"]
    tidemill(server, "clock", "advance", "3d")
    assert received(server, url, wait=0) == []


def test_targets_get_what_they_are_given(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    url, arn = queue(server, name)
    _, fifo = queue(server, name + ".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    topic = server.client("sns").create_topic(Name=name)["TopicArn"]
    server.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    events = server.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["plan"], "detail": {"n": [1]}}))
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    run = function(server, name, zipped(app__py="import boto3, os\ndef handler(event, context):\n    boto3.client('sqs').send_message(QueueUrl=event['url'], MessageBody=event['say'])\n"))
    table(server, name)
    url_fifo = server.client("sqs").get_queue_url(QueueName=name + ".fifo")["QueueUrl"]
    soon = at(now() + datetime.timedelta(minutes=1))
    universal = "arn:aws:scheduler:::aws-sdk:"
    create(scheduler, "queue", soon, target(fifo, Input="ordered", SqsParameters={"MessageGroupId": "g"}))
    create(scheduler, "default", soon, target(arn))
    create(scheduler, "topic", soon, target(topic, Input="news"))
    create(scheduler, "bus", soon, target("arn:aws:events:us-east-1:000000000000:event-bus/default", Input='{"n": 1}', EventBridgeParameters={"DetailType": "Tick", "Source": "plan"}))
    create(scheduler, "function", soon, target(run, Input=json.dumps({"url": url, "say": "ran"})))
    create(scheduler, "item", soon, target(universal + "dynamodb:putItem", Input=json.dumps({"TableName": name, "Item": {"id": {"S": "<aws.scheduler.scheduled-time>"}}})))
    create(scheduler, "send", soon, target(universal + "sqs:sendMessage", Input=json.dumps({"QueueUrl": url, "MessageBody": "sent"})))
    create(scheduler, "invoke", soon, target(universal + "lambda:invoke", Input=json.dumps({"FunctionName": name, "InvocationType": "Event", "Payload": json.dumps({"url": url, "say": "invoked"})})))
    create(scheduler, "lines", soon, target(universal + "cloudwatchlogs:createLogGroup", Input=json.dumps({"LogGroupName": name})))
    tidemill(server, "clock", "advance", "2m")
    bodies = all_received(server, url, 6, eventually)
    texts = sorted(body for body in bodies if not body.startswith("{"))
    documents = {json.loads(body)["detail-type"]: json.loads(body) for body in bodies if body.startswith("{")}
    assert texts == ["invoked", "news", "ran", "sent"]
    assert documents["Tick"]["source"] == "plan" and documents["Tick"]["detail"] == {"n": 1} and documents["Tick"]["resources"] == ["arn:aws:scheduler:us-east-1:000000000000:schedule/default/bus"]
    notification = documents["Scheduled Event"]
    assert notification["source"] == "aws.scheduler" and notification["resources"][0].endswith("schedule/default/default") and notification["detail"] == "{}"
    assert [message["Body"] for message in received(server, url_fifo)] == ["ordered"]
    assert eventually(lambda: server.client("dynamodb").scan(TableName=name)["Items"])[0]["id"]["S"] == notification["time"]
    eventually(lambda: server.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"])


def test_failures_are_tried_again_then_become_dead_letters(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    url, dead = queue(server, name)
    lost = f"arn:aws:sqs:us-east-1:000000000000:{name}-lost"
    moment = now() + datetime.timedelta(minutes=1)
    letters = {"DeadLetterConfig": {"Arn": dead}}
    attempt = "<aws.scheduler.attempt-number>"
    made = create(scheduler, "at-once", at(moment), target(lost, Input=attempt, RetryPolicy={"MaximumRetryAttempts": 0}, **letters))
    create(scheduler, "late", at(moment), target(lost, Input=attempt, RetryPolicy={"MaximumRetryAttempts": 2}, **letters))
    create(scheduler, "old", at(moment), target(lost, Input=attempt, RetryPolicy={"MaximumEventAgeInSeconds": 60}, **letters))
    create(scheduler, "wrong", at(moment), target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input='{"QueueUrl": "x"}', **letters))
    create(scheduler, "unknown", at(moment), target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input=json.dumps({"QueueUrl": url, "MessageBody": "m", "DelaySecond": 5}), **letters))
    seen = {}

    def collected():
        tidemill(server, "clock", "advance", "20s")
        for message in received(server, url, wait=0):
            said = {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}
            seen[said["SCHEDULE_ARN"].rsplit("/", 1)[-1]] = (message["Body"], said)
        return len(seen) == 5

    eventually(collected)
    body, said = seen["at-once"]
    assert body == "1" and len(said.pop("EXECUTION_ID")) == 16 and said.pop("ERROR_MESSAGE")
    assert said == {"ERROR_CODE": "AWS.SimpleQueueService.NonExistentQueue", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "IS_PAYLOAD_TRUNCATED": "false",
                    "RETRY_ATTEMPTS": "0", "SCHEDULED_TIME": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "SCHEDULE_ARN": made, "TARGET_ARN": lost}
    assert seen["late"][0] == "3" and (seen["late"][1]["RETRY_ATTEMPTS"], seen["late"][1]["EXHAUSTED_RETRY_CONDITION"]) == ("2", "MaximumRetryAttempts")
    assert seen["old"][1]["EXHAUSTED_RETRY_CONDITION"] == "MaximumEventAgeInSeconds"
    assert seen["unknown"][1]["ERROR_MESSAGE"] == "Unknown parameter in input: DelaySecond"
    assert seen["wrong"][1]["ERROR_CODE"] == "ValidationException" and "EXHAUSTED_RETRY_CONDITION" not in seen["wrong"][1]


def test_a_target_that_comes_later_is_reached(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    create(scheduler, name, at(now() + datetime.timedelta(minutes=1)), target(f"arn:aws:sqs:us-east-1:000000000000:{name}", Input="<aws.scheduler.attempt-number>"))
    tidemill(server, "clock", "advance", "61s")
    journey = eventually(lambda: tidemill(server, "journey").split())[1]
    eventually(lambda: "does not exist" in tidemill(server, "journey", journey))
    url, _ = queue(server, name)

    def arrived():
        tidemill(server, "clock", "advance", "30s")
        return received(server, url, wait=0)

    assert int(eventually(arrived)[0]["Body"]) > 1


def test_runs_are_made_exactly_once_across_kill_9(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    url, arn = queue(server, name)
    soon = at(now() + datetime.timedelta(minutes=5))
    for number in range(30):
        how = target(arn, Input=str(number)) if number % 2 else target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input=json.dumps({"QueueUrl": url, "MessageBody": str(number)}))
        create(scheduler, f"s{number}", soon, how, ActionAfterCompletion="DELETE")
    tidemill(server, "clock", "advance", "6m")
    server.kill()
    server.start()
    bodies = all_received(server, url, 30, eventually)
    assert sorted(bodies, key=int) == [str(number) for number in range(30)]
    assert server.client("scheduler").list_schedules()["Schedules"] == []


def test_runs_that_came_due_during_a_restart_are_made(private_server, name, eventually):
    server, scheduler = private_server, private_server.client("scheduler")
    url, arn = queue(server, name)
    moment = now() + datetime.timedelta(seconds=2)
    send = lambda text: target("arn:aws:scheduler:::aws-sdk:sqs:sendMessage", Input=json.dumps({"QueueUrl": url, "MessageBody": text}))
    create(scheduler, "often", "rate(1 hour)", send("often"), StartDate=moment.replace(tzinfo=datetime.timezone.utc))
    create(scheduler, "once", at(moment), send("once"))
    server.stop()
    # What passes while nothing runs is real time.
    eventually(lambda: now() > moment + datetime.timedelta(seconds=1))
    server.start()
    assert sorted(all_received(server, url, 2, eventually)) == ["often", "once"]


def test_where_keys_are_enforced_the_role_must_be_there(tmp_path, name):
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
        scheduler = server.client("scheduler", key["AccessKeyId"], key["SecretAccessKey"])
        with refused("ValidationException") as info:
            create(scheduler, name, "rate(1 day)", {"Arn": arn, "RoleArn": role + "-lost"})
        assert "must allow AWS EventBridge Scheduler to assume the role" in info.value.response["Error"]["Message"]
        create(scheduler, name, "rate(1 day)", {"Arn": arn, "RoleArn": role})
    finally:
        server.stop()


def test_stacks_have_schedules(server, scheduler, name, eventually):
    url, arn = queue(server, name)
    template = {"Resources": {
        "Plans": {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": name, "Tags": [{"Key": "a", "Value": "b"}]}},
        "Often": {"Type": "AWS::Scheduler::Schedule", "Properties": {
            "GroupName": {"Ref": "Plans"}, "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}, "State": "ENABLED", "EndDate": "2040-01-01T00:00:00.000Z",
            "Target": {"Arn": arn, "RoleArn": ROLE, "Input": "from a stack", "RetryPolicy": {"MaximumRetryAttempts": "3"}}}}},
        "Outputs": {"Name": {"Value": {"Ref": "Often"}}, "Arn": {"Value": {"Fn::GetAtt": ["Often", "Arn"]}}, "Group": {"Value": {"Fn::GetAtt": ["Plans", "Arn"]}}}}
    stacks = server.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAITER)
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    shown = scheduler.get_schedule(GroupName=name, Name=outputs["Name"])
    assert shown["EndDate"] == datetime.datetime(2040, 1, 1, tzinfo=datetime.timezone.utc)
    assert shown["Arn"] == outputs["Arn"] and shown["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 3
    assert {"Key": "a", "Value": "b"} in scheduler.list_tags_for_resource(ResourceArn=outputs["Group"])["Tags"]
    assert all_received(server, url, 1, eventually) == ["from a stack"]
    template["Resources"]["Often"]["Properties"]["State"] = "DISABLED"
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=WAITER)
    assert scheduler.get_schedule(GroupName=name, Name=outputs["Name"])["State"] == "DISABLED"
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=WAITER)
    with refused("ResourceNotFoundException"):
        scheduler.get_schedule_group(Name=name)


def test_functions_of_sam_templates_run_by_schedule(server, scheduler, name, eventually):
    url, _ = queue(server, name)
    code = f"import boto3\ndef handler(event, context):\n    boto3.client('sqs').send_message(QueueUrl='{url}', MessageBody=event['say'])\n"
    template = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {"Run": {"Type": "AWS::Serverless::Function", "Properties": {
        "Runtime": "python3.11", "Handler": "index.handler", "InlineCode": code,
        "Events": {"Often": {"Type": "ScheduleV2", "Properties": {"ScheduleExpression": "rate(1 day)", "Input": '{"say": "hello"}'}}}}}}}
    stacks = server.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"])
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAITER)
    assert all_received(server, url, 1, eventually) == ["hello"]
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=WAITER)
