"""EventBridge Pipes: from queues and streams through filters, enrichments and templates to every kind of target."""

import json
import subprocess
import time

import pytest
from conftest import BINARY
from support import function, refused, table, zipped

ROLE = "arn:aws:iam::000000000000:role/pipes"

# Marks every event; drops those whose body says so, doubles those that ask for it.
ENRICH = """
import json
def handler(events, context):
    made = []
    for event in events:
        body = json.loads(event["body"]) if "body" in event else event
        if body.get("fail"):
            raise ValueError("no")
        made += [] if body.get("drop") else [{"seen": body, "by": context.function_name}] * (2 if body.get("double") else 1)
    return made
"""


class Pipe:
    """Queues and a pipe under names of their own."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.pipes, self.queues = server.client("pipes"), server.client("sqs")
        self.urls = {}

    def queue(self, suffix, **attributes):
        """Makes a queue; gives its ARN."""
        if suffix.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        url = self.queues.create_queue(QueueName=f"{self.name}-{suffix}", Attributes=attributes)["QueueUrl"]
        self.urls[suffix] = url
        return self.queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def create(self, source, target, **more):
        made = self.pipes.create_pipe(Name=self.name, Source=source, Target=target, RoleArn=ROLE, **more)
        assert made["CurrentState"] == "CREATING"
        return made["Arn"]

    def send(self, *bodies, to="in", **more):
        for body in bodies:
            body = body if isinstance(body, str) else json.dumps(body)
            self.queues.send_message(QueueUrl=self.urls[to], MessageBody=body, **more)

    def receive(self, count, of="out"):
        """The bodies of the next messages, in the order of their arrival."""
        bodies, until = [], time.monotonic() + 20
        while len(bodies) < count and time.monotonic() < until:
            answer = self.queues.receive_message(QueueUrl=self.urls[of], MaxNumberOfMessages=10, WaitTimeSeconds=2)
            for message in answer.get("Messages", []):
                bodies.append(message["Body"])
                self.queues.delete_message(QueueUrl=self.urls[of], ReceiptHandle=message["ReceiptHandle"])
        assert len(bodies) == count, bodies
        return bodies

    def left(self, of="in"):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.queues.get_queue_attributes(QueueUrl=self.urls[of], AttributeNames=names)["Attributes"]
        return sum(int(value) for value in attributes.values())

    def describe_queue(self, suffix):
        names = ["QueueArn"]
        return self.queues.get_queue_attributes(QueueUrl=self.urls[suffix], AttributeNames=names)["Attributes"]["QueueArn"]

    def describe(self):
        return self.pipes.describe_pipe(Name=self.name)


@pytest.fixture
def pipe(server, name):
    pipe = Pipe(server, name)
    yield pipe
    if pipe.pipes.list_pipes(NamePrefix=name)["Pipes"]:
        pipe.pipes.delete_pipe(Name=name)


def test_messages_go_through_a_filter_to_a_queue(pipe, eventually):
    source = pipe.queue("in")
    patterns = [{"Pattern": json.dumps({"body": {"kind": ["order"]}})}, {"Pattern": json.dumps({"body": ["plain"]})}]
    pipe.create(source, pipe.queue("out"), SourceParameters={"FilterCriteria": {"Filters": patterns}})
    pipe.send({"kind": "other"}, {"kind": "order", "id": 1}, "plain", "unknown")
    events = [json.loads(body) for body in pipe.receive(2)]
    assert sorted(event["body"] for event in events) == ["plain", '{"kind": "order", "id": 1}']
    assert events[0]["eventSource"] == "aws:sqs" and events[0]["eventSourceARN"] == source
    assert {"messageId", "receiptHandle", "attributes", "messageAttributes", "md5OfBody", "awsRegion"} <= set(events[0])
    eventually(lambda: pipe.left() == 0)
    assert pipe.left(of="out") == 0


def test_operations_show_what_was_asked_for(pipe):
    source, target = pipe.queue("in"), pipe.queue("out")
    arn = pipe.create(source, target, Description="first", Tags={"team": "sales"},
                      TargetParameters={"InputTemplate": '{"a": <$.body>}'})
    assert arn == f"arn:aws:pipes:us-east-1:000000000000:pipe/{pipe.name}"
    shown = pipe.describe()
    assert shown["CurrentState"] == shown["DesiredState"] == "RUNNING"
    assert shown["SourceParameters"] == {"SqsQueueParameters": {"BatchSize": 10}}
    assert (shown["Source"], shown["Target"], shown["RoleArn"], shown["Description"]) == (source, target, ROLE, "first")
    with refused("ConflictException", 409):
        pipe.create(source, target)

    updated = pipe.pipes.update_pipe(Name=pipe.name, RoleArn=ROLE, Description="second", DesiredState="STOPPED",
                                     SourceParameters={"SqsQueueParameters": {"BatchSize": 1}})
    assert updated["CurrentState"] == "UPDATING" and updated["DesiredState"] == "STOPPED"
    shown = pipe.describe()
    assert shown["CurrentState"] == "STOPPED" and shown["Description"] == "second"
    assert shown["SourceParameters"]["SqsQueueParameters"]["BatchSize"] == 1
    assert shown["TargetParameters"] == {"InputTemplate": '{"a": <$.body>}'}

    listed = pipe.pipes.list_pipes(NamePrefix=pipe.name, CurrentState="STOPPED", SourcePrefix=source)["Pipes"]
    assert [one["Arn"] for one in listed] == [arn]
    assert pipe.pipes.list_pipes(NamePrefix=pipe.name, DesiredState="RUNNING")["Pipes"] == []

    pipe.pipes.tag_resource(resourceArn=arn, tags={"stage": "test"})
    pipe.pipes.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert pipe.pipes.list_tags_for_resource(resourceArn=arn)["tags"] == {"stage": "test"} == pipe.describe()["Tags"]

    gone = pipe.pipes.delete_pipe(Name=pipe.name)
    assert gone["CurrentState"] == "DELETING" and gone["DesiredState"] == "DELETED"
    with refused("NotFoundException", 404):
        pipe.describe()
    with refused("NotFoundException", 404):
        pipe.pipes.start_pipe(Name=pipe.name)


def test_what_is_not_offered_or_wrong_is_refused_and_changes_nothing(pipe):
    source, target = pipe.queue("in"), pipe.queue("out")
    fifo = pipe.queue("out.fifo")
    account = "us-east-1:000000000000"
    for code, wrong in [
        ("NotImplemented", {"source": f"arn:aws:kinesis:{account}:stream/s"}),
        ("NotImplemented", {"target": f"arn:aws:ecs:{account}:cluster/c"}),
        ("NotImplemented", {"Enrichment": f"arn:aws:states:{account}:stateMachine:m"}),
        ("NotImplemented", {"KmsKeyIdentifier": "key"}),
        ("NotImplemented", {"LogConfiguration": {"Level": "INFO", "S3LogDestination": {"BucketName": "abc", "BucketOwner": "0" * 12}}}),
        ("ValidationException", {"source": f"arn:aws:s3:{account}:bucket"}),
        ("ValidationException", {"source": f"arn:aws:dynamodb:{account}:table/t/stream/2026-11-23T00:00:00.000"}),
        ("ValidationException", {"target": fifo}),
        ("ValidationException", {"TargetParameters": {"LambdaFunctionParameters": {"InvocationType": "FIRE_AND_FORGET"}}}),
        ("ValidationException", {"TargetParameters": {"InputTemplate": '{"a": <body>}'}}),
        ("ValidationException", {"TargetParameters": {"InputTemplate": '{"a": '}}),
        ("ValidationException", {"SourceParameters": {"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}}),
        ("ValidationException", {"SourceParameters": {"SqsQueueParameters": {"BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}}}),
        ("ValidationException", {"LogConfiguration": {"Level": "ERROR"}}),
    ]:
        wrong = {"source": source, "target": target, **wrong}
        with refused(code):
            pipe.create(**wrong)
    assert pipe.pipes.list_pipes(NamePrefix=pipe.name)["Pipes"] == []
    pipe.create(source, target)
    with refused("ValidationException", 400):
        pipe.pipes.update_pipe(Name=pipe.name, RoleArn=ROLE, Target=fifo)
    assert pipe.describe()["Target"] == target


def test_a_pipe_without_its_source_has_failed_until_it_is_there(pipe):
    target = pipe.queue("out")
    pipe.create(target.replace("-out", "-in"), target)
    shown = pipe.describe()
    assert shown["CurrentState"] == "CREATE_FAILED" and "queue does not exist" in shown["StateReason"]
    pipe.queue("in")
    assert pipe.pipes.start_pipe(Name=pipe.name)["CurrentState"] == "STARTING"
    pipe.send("late")
    assert json.loads(pipe.receive(1)[0])["body"] == "late"


def test_a_pipe_whose_queue_goes_away_stops_and_says_why(pipe, eventually):
    pipe.create(pipe.queue("in"), pipe.queue("out"))
    pipe.queues.delete_queue(QueueUrl=pipe.urls["in"])
    shown = eventually(lambda: (shown := pipe.describe())["CurrentState"] == "STOPPED" and shown)
    assert shown["DesiredState"] == "RUNNING" and "does not exist" in shown["StateReason"]


def test_stopped_pipes_leave_messages_where_they_are(pipe, eventually):
    pipe.create(pipe.queue("in"), pipe.queue("out"), DesiredState="STOPPED", TargetParameters={"InputTemplate": "<$.body.n>"})
    pipe.send({"n": 1}, {"n": 2})
    assert pipe.describe()["CurrentState"] == "STOPPED"
    assert pipe.pipes.start_pipe(Name=pipe.name)["CurrentState"] == "STARTING"
    assert sorted(pipe.receive(2)) == ["1", "2"]
    assert pipe.pipes.start_pipe(Name=pipe.name)["CurrentState"] == "RUNNING"
    eventually(lambda: pipe.left() == 0)
    assert pipe.pipes.stop_pipe(Name=pipe.name)["CurrentState"] == "STOPPING"
    pipe.send({"n": 3})
    assert pipe.describe()["CurrentState"] == "STOPPED" and pipe.left() == 1
    pipe.pipes.start_pipe(Name=pipe.name)
    assert pipe.receive(1) == ["3"]


def test_a_function_enriches_and_templates_shape_both_sides(pipe, eventually):
    enrich = function(pipe.server, pipe.name, zipped(app__py=ENRICH))
    pipe.create(pipe.queue("in", VisibilityTimeout="1"), pipe.queue("out"), Enrichment=enrich,
                EnrichmentParameters={"InputTemplate": '{"n": <$.body.n>, "drop": <$.body.drop>, "double": <$.body.double>, "pipe": "<aws.pipes.pipe-name>"}'},
                TargetParameters={"InputTemplate": '{"n": <$.seen.n>, "text": "<$.by> for <$.seen.pipe>", "to": <aws.pipes.target-arn>}'},
                SourceParameters={"SqsQueueParameters": {"BatchSize": 1}})
    pipe.send({"n": 1}, {"n": 2, "drop": True}, {"n": 3, "double": True})
    bodies = sorted((json.loads(body) for body in pipe.receive(3)), key=lambda body: body["n"])
    assert [body["n"] for body in bodies] == [1, 3, 3]
    assert bodies[0]["text"] == f"{pipe.name} for {pipe.name}"
    assert bodies[0]["to"] == pipe.describe()["Target"]
    eventually(lambda: pipe.left() == 0)

    pipe.pipes.update_pipe(Name=pipe.name, RoleArn=ROLE, Enrichment="", TargetParameters={"InputTemplate": "<$.body>"})
    assert "Enrichment" not in pipe.describe()
    pipe.send({"n": 4})
    assert json.loads(pipe.receive(1)[0]) == {"n": 4}


def test_failed_messages_come_back_until_their_queue_gives_them_up(pipe, eventually):
    enrich = function(pipe.server, pipe.name, zipped(app__py=ENRICH))
    redrive = json.dumps({"deadLetterTargetArn": pipe.queue("dead"), "maxReceiveCount": 2})
    pipe.create(pipe.queue("in", VisibilityTimeout="1", RedrivePolicy=redrive), pipe.queue("out"), Enrichment=enrich,
                SourceParameters={"SqsQueueParameters": {"BatchSize": 1}})
    pipe.send({"fail": True}, {"n": 1})
    assert json.loads(pipe.receive(1)[0])["seen"] == {"n": 1}
    assert pipe.receive(1, of="dead") == ['{"fail": true}']
    assert pipe.left() == 0


PARTIAL = """
import os, boto3
notes = boto3.resource("dynamodb").Table(os.environ["NOTES"])
def handler(events, context):
    assert isinstance(events, list)
    failed = []
    for event in events:
        tries = notes.update_item(Key={"id": event["body"]}, UpdateExpression="ADD tries :one", ExpressionAttributeValues={":one": 1}, ReturnValues="ALL_NEW")
        if event["body"] == "bad" and tries["Attributes"]["tries"] < 2:
            failed.append({"itemIdentifier": event["messageId"]})
    return {"batchItemFailures": failed}
"""


def test_functions_as_targets_report_the_messages_that_failed(pipe, eventually):
    notes = table(pipe.server, pipe.name)
    target = function(pipe.server, pipe.name, zipped(app__py=PARTIAL), Environment={"Variables": {"NOTES": pipe.name}})
    pipe.create(pipe.queue("in", VisibilityTimeout="1"), target, DesiredState="STOPPED")
    pipe.send("good", "bad")
    pipe.pipes.start_pipe(Name=pipe.name)
    seen = lambda: {item["id"]["S"]: int(item["tries"]["N"]) for item in notes.scan(TableName=pipe.name, ConsistentRead=True)["Items"]}
    eventually(lambda: seen() == {"good": 1, "bad": 2} and pipe.left() == 0)


def test_functions_can_be_left_to_themselves(pipe, eventually):
    notes = table(pipe.server, pipe.name)
    target = function(pipe.server, pipe.name, zipped(app__py=PARTIAL), Environment={"Variables": {"NOTES": pipe.name}})
    pipe.create(pipe.queue("in"), target, TargetParameters={"LambdaFunctionParameters": {"InvocationType": "FIRE_AND_FORGET"}})
    pipe.send("bad")
    eventually(lambda: [item["id"]["S"] for item in notes.scan(TableName=pipe.name, ConsistentRead=True)["Items"]] == ["bad"])
    # What the function answers does not matter.
    eventually(lambda: pipe.left() == 0)


def test_throttled_functions_get_their_messages_later(pipe, eventually):
    notes = table(pipe.server, pipe.name)
    target = function(pipe.server, pipe.name, zipped(app__py=PARTIAL), Environment={"Variables": {"NOTES": pipe.name}})
    functions = pipe.server.client("lambda")
    functions.put_function_concurrency(FunctionName=pipe.name, ReservedConcurrentExecutions=0)
    redrive = json.dumps({"deadLetterTargetArn": pipe.queue("dead"), "maxReceiveCount": 1})
    logs = pipe.server.client("logs")
    logs.create_log_group(logGroupName=pipe.name)
    group = f"arn:aws:logs:us-east-1:000000000000:log-group:{pipe.name}"
    pipe.create(pipe.queue("in", RedrivePolicy=redrive), target,
                LogConfiguration={"Level": "ERROR", "CloudwatchLogsLogDestination": {"LogGroupArn": group}})
    pipe.send("good")
    eventually(lambda: "EXECUTION_THROTTLED" in str(logs.filter_log_events(logGroupName=pipe.name)["events"]))
    functions.delete_function_concurrency(FunctionName=pipe.name)
    eventually(lambda: notes.scan(TableName=pipe.name, ConsistentRead=True)["Count"] == 1 and pipe.left() == 0)
    assert pipe.left(of="dead") == 0


def test_a_message_that_the_target_refuses_does_not_hold_up_the_others(pipe, eventually):
    redrive = json.dumps({"deadLetterTargetArn": pipe.queue("dead"), "maxReceiveCount": 1})
    pipe.create(pipe.queue("in", VisibilityTimeout="1", RedrivePolicy=redrive), pipe.queue("out", MaximumMessageSize="1024"),
                DesiredState="STOPPED", TargetParameters={"InputTemplate": "<$.body.text>"})
    pipe.send({"text": "a"}, {"text": "b" * 1100}, {"text": "c"})
    pipe.pipes.start_pipe(Name=pipe.name)
    assert sorted(pipe.receive(2)) == ['"a"', '"c"']
    assert "bbbb" in pipe.receive(1, of="dead")[0]


def test_windows_gather_messages_into_one_batch(pipe, eventually):
    notes = table(pipe.server, pipe.name)
    code = PARTIAL.replace("    failed = []", "    events = [{**events[0], 'body': str(len(events))}]\n    failed = []")
    target = function(pipe.server, pipe.name, zipped(app__py=code), Environment={"Variables": {"NOTES": pipe.name}})
    pipe.create(pipe.queue("in"), target, SourceParameters={"SqsQueueParameters": {"BatchSize": 12, "MaximumBatchingWindowInSeconds": 60}})
    pipe.send(*map(str, range(12)))
    eventually(lambda: [item["id"]["S"] for item in notes.scan(TableName=pipe.name, ConsistentRead=True)["Items"]] == ["12"])
    pipe.send("alone")
    eventually(lambda: pipe.queues.get_queue_attributes(QueueUrl=pipe.urls["in"], AttributeNames=["ApproximateNumberOfMessagesNotVisible"])[
        "Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1")
    # A stopped pipe brings on its way what it has received; it does not wait for the window to end.
    pipe.pipes.stop_pipe(Name=pipe.name)
    eventually(lambda: pipe.left() == 0)


def test_journeys_show_the_way_through_a_pipe(pipe, eventually):
    events = pipe.server.client("events")
    events.create_event_bus(Name=pipe.name)
    events.put_rule(Name="all", EventBusName=pipe.name, EventPattern=json.dumps({"account": ["000000000000"]}))
    events.put_targets(Rule="all", EventBusName=pipe.name, Targets=[{"Id": "1", "Arn": pipe.queue("in")}])
    arn = pipe.create(pipe.describe_queue("in"), pipe.queue("out"))
    entry = {"EventBusName": pipe.name, "Source": "shop", "DetailType": "Ordered", "Detail": "{}"}
    event = events.put_events(Entries=[entry])["Entries"][0]["EventId"]
    pipe.receive(1)
    journey = subprocess.run([BINARY, "--endpoint", pipe.server.endpoint, "--output", "json", "journey", event], check=True, capture_output=True)
    steps = json.loads(journey.stdout)
    assert arn in str(steps), steps


def test_order_is_kept_from_fifo_to_fifo(pipe, eventually):
    pipe.create(pipe.queue("in.fifo"), pipe.queue("out.fifo"), TargetParameters={
        "InputTemplate": "<$.body.n>",
        "SqsQueueParameters": {"MessageGroupId": "$.body.customer", "MessageDeduplicationId": "$.messageId"}})
    for n in range(12):
        pipe.send({"n": n, "customer": "abc"[n % 3]}, to="in.fifo", MessageGroupId="g", MessageDeduplicationId=str(n))
    received = {}
    def all_there():
        answer = pipe.queues.receive_message(QueueUrl=pipe.urls["out.fifo"], MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["All"])
        for message in answer.get("Messages", []):
            received.setdefault(message["Attributes"]["MessageGroupId"], []).append(int(message["Body"]))
            pipe.queues.delete_message(QueueUrl=pipe.urls["out.fifo"], ReceiptHandle=message["ReceiptHandle"])
        return sum(map(len, received.values())) == 12
    eventually(all_there)
    assert received == {"a": [0, 3, 6, 9], "b": [1, 4, 7, 10], "c": [2, 5, 8, 11]}
    eventually(lambda: pipe.left(of="in.fifo") == 0)


def test_events_of_a_bus_are_made_of_paths(pipe):
    source, out = pipe.queue("in"), pipe.queue("out")
    events = pipe.server.client("events")
    bus = events.create_event_bus(Name=pipe.name)["EventBusArn"]
    events.put_rule(Name="all", EventBusName=pipe.name, EventPattern=json.dumps({"account": ["000000000000"]}))
    events.put_targets(Rule="all", EventBusName=pipe.name, Targets=[{"Id": "1", "Arn": out}])
    pipe.create(source, bus, TargetParameters={
        "InputTemplate": '{"order": <$.body.order>}',
        "EventBridgeEventBusParameters": {"DetailType": "$.body.kind", "Source": "shop", "Resources": [source, "$.messageAttributes.arn.stringValue"],
                                          "Time": "$.body.at"}})
    resource = "arn:aws:s3:::bucket"
    pipe.send({"order": 7, "kind": "Ordered", "at": "2026-11-01T10:00:00Z"}, MessageAttributes={"arn": {"DataType": "String", "StringValue": resource}})
    event = json.loads(pipe.receive(1)[0])
    assert event["detail"] == {"order": 7} and event["detail-type"] == "Ordered" and event["source"] == "shop"
    assert event["resources"] == [source, resource] and event["time"] == "2026-11-01T10:00:00Z"


def test_topics_and_log_groups_take_events(pipe, eventually):
    sns, logs = pipe.server.client("sns"), pipe.server.client("logs")
    topic = sns.create_topic(Name=pipe.name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=pipe.queue("out"), Attributes={"RawMessageDelivery": "true"})
    source = pipe.queue("in")
    pipe.create(source, topic, TargetParameters={"InputTemplate": '{"n": <$.body.n>}'})
    pipe.send({"n": 1})
    assert pipe.receive(1) == ['{"n": 1}']

    logs.create_log_group(logGroupName=pipe.name)
    group = f"arn:aws:logs:us-east-1:000000000000:log-group:{pipe.name}"
    pipe.pipes.update_pipe(Name=pipe.name, RoleArn=ROLE, Target=group, TargetParameters={
        "InputTemplate": '{"line": <$.body.n>}', "CloudWatchLogsParameters": {"LogStreamName": "lines", "Timestamp": "$.attributes.SentTimestamp"}})
    pipe.send({"n": 2})
    lines = lambda: logs.filter_log_events(logGroupName=pipe.name)["events"]
    [line] = eventually(lines)
    assert json.loads(line["message"]) == {"line": 2} and line["logStreamName"] == "lines"
    eventually(lambda: pipe.left() == 0)


def test_executions_are_logged_as_the_level_asks(pipe, eventually):
    logs = pipe.server.client("logs")
    logs.create_log_group(logGroupName=pipe.name)
    enrich = function(pipe.server, pipe.name, zipped(app__py=ENRICH))
    group = f"arn:aws:logs:us-east-1:000000000000:log-group:{pipe.name}"
    arn = pipe.create(pipe.queue("in"), pipe.queue("out"), Enrichment=enrich, LogConfiguration={
        "Level": "INFO", "IncludeExecutionData": ["ALL"], "CloudwatchLogsLogDestination": {"LogGroupArn": group}})
    pipe.send({"n": 1})
    pipe.receive(1)
    records = lambda: [json.loads(event["message"]) for event in logs.filter_log_events(logGroupName=pipe.name)["events"]]
    eventually(lambda: any(record["messageType"] == "EXECUTION_SUCCEEDED" for record in records()))
    steps = [record["messageType"] for record in records()]
    assert steps == ["EXECUTION_STARTED", "ENRICHMENT_STAGE_ENTERED", "ENRICHMENT_STAGE_SUCCEEDED", "TARGET_STAGE_ENTERED",
                     "TARGET_STAGE_SUCCEEDED", "EXECUTION_SUCCEEDED"]
    first = records()[0]
    assert first["resourceArn"] == arn and first["logLevel"] == "INFO"
    assert json.loads(json.loads(first["payload"])[0]["body"]) == {"n": 1}
    assert len({record["executionId"] for record in records()}) == 1
    pipe.send({"fail": True})
    failed = eventually(lambda: [record for record in records() if record["messageType"] == "ENRICHMENT_INVOCATION_FAILED"])
    assert "no" in failed[0]["error"]["message"] and failed[0]["logLevel"] == "ERROR"


def streamed(pipe, suffix="rows"):
    """A table with a stream; gives its client and the stream's ARN."""
    tables = table(pipe.server, f"{pipe.name}-{suffix}", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    return tables, tables.describe_table(TableName=f"{pipe.name}-{suffix}")["Table"]["LatestStreamArn"]


def test_changes_of_a_table_become_events_of_a_bus(pipe):
    tables, stream = streamed(pipe)
    events = pipe.server.client("events")
    bus = events.create_event_bus(Name=pipe.name)["EventBusArn"]
    events.put_rule(Name="all", EventBusName=pipe.name, EventPattern=json.dumps({"source": [f"Pipe {pipe.name}"]}))
    events.put_targets(Rule="all", EventBusName=pipe.name, Targets=[{"Id": "1", "Arn": pipe.queue("out")}])
    put = lambda key, **more: tables.put_item(TableName=f"{pipe.name}-rows", Item={"id": {"S": key}, **more})
    put("before")
    pipe.create(stream, bus, SourceParameters={
        "FilterCriteria": {"Filters": [{"Pattern": json.dumps({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"n": {"N": [{"exists": True}]}}}})}]},
        "DynamoDBStreamParameters": {"StartingPosition": "LATEST"}})
    put("other")
    put("a", n={"N": "5"})
    event = json.loads(pipe.receive(1)[0])
    assert event["detail-type"] == "Event from aws:dynamodb" and event["source"] == f"Pipe {pipe.name}"
    assert event["detail"]["dynamodb"]["NewImage"] == {"id": {"S": "a"}, "n": {"N": "5"}}
    shown = pipe.describe()["SourceParameters"]["DynamoDBStreamParameters"]
    assert shown == {"StartingPosition": "LATEST", "BatchSize": 10}
    pipe.pipes.update_pipe(Name=pipe.name, RoleArn=ROLE, SourceParameters={"DynamoDBStreamParameters": {"ParallelizationFactor": 2}})
    shown = pipe.describe()["SourceParameters"]
    assert shown["DynamoDBStreamParameters"]["StartingPosition"] == "LATEST" and shown["FilterCriteria"]["Filters"]
    put("b", n={"N": "6"})
    assert json.loads(pipe.receive(1)[0])["detail"]["dynamodb"]["Keys"] == {"id": {"S": "b"}}


POISON = """
def handler(events, context):
    if any(event["dynamodb"]["Keys"]["id"]["S"] == "bad" for event in events):
        raise ValueError("bad")
"""


def test_poison_is_isolated_and_goes_to_the_dead_letter_queue(pipe, eventually):
    tables, stream = streamed(pipe)
    target = function(pipe.server, pipe.name, zipped(app__py=POISON))
    for key in ["a", "b", "bad", "c"]:
        tables.put_item(TableName=f"{pipe.name}-rows", Item={"id": {"S": key}})
    arn = pipe.create(stream, target, SourceParameters={"DynamoDBStreamParameters": {
        "StartingPosition": "TRIM_HORIZON", "BatchSize": 4, "MaximumRetryAttempts": 0, "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
        "DeadLetterConfig": {"Arn": pipe.queue("dead")}}})
    document = json.loads(pipe.receive(1, of="dead")[0])
    assert document["context"] == {"partnerResourceArn": arn, "condition": "RetryAttemptsExhausted"}
    assert document["version"] == "1.0" and document["DDBStreamBatchInfo"]["streamArn"] == stream


def test_records_that_are_too_old_go_to_the_dead_letter_queue(private_server, name):
    pipe = Pipe(private_server, name)
    tables, stream = streamed(pipe)
    put = lambda key: tables.put_item(TableName=f"{name}-rows", Item={"id": {"S": key}})
    put("old")
    pipe.create(stream, pipe.queue("out"), DesiredState="STOPPED", TargetParameters={"InputTemplate": "<$.dynamodb.Keys.id.S>"},
                SourceParameters={"DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 10, "MaximumRecordAgeInSeconds": 60,
                                                               "DeadLetterConfig": {"Arn": pipe.queue("dead")}}})
    subprocess.run([BINARY, "--endpoint", private_server.endpoint, "clock", "advance", "2m"], check=True, capture_output=True)
    put("new")
    pipe.pipes.start_pipe(Name=name)
    assert pipe.receive(1) == ['"new"']
    document = json.loads(pipe.receive(1, of="dead")[0])
    assert document["context"]["condition"] == "RecordAgeExceeded" and document["DDBStreamBatchInfo"]["batchSize"] == 1


def test_stopped_pipes_go_on_where_they_were_in_a_stream(pipe):
    tables, stream = streamed(pipe)
    put = lambda key: tables.put_item(TableName=f"{pipe.name}-rows", Item={"id": {"S": key}})
    pipe.create(stream, pipe.queue("out"), TargetParameters={"InputTemplate": "<$.dynamodb.Keys.id.S>"}, SourceParameters={
        "DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 10}})
    put("a")
    assert pipe.receive(1) == ['"a"']
    pipe.pipes.stop_pipe(Name=pipe.name)
    put("b")
    put("c")
    pipe.pipes.start_pipe(Name=pipe.name)
    # What was under way when the pipe was stopped may come twice; nothing is lost.
    assert {"\"b\"", "\"c\""} <= set(pipe.receive(2))


def test_nothing_is_lost_when_the_platform_is_killed(private_server, name, eventually):
    pipe = Pipe(private_server, name)
    tables, stream = streamed(pipe)
    pipe.create(pipe.queue("in", VisibilityTimeout="2"), pipe.queue("out"), TargetParameters={"InputTemplate": "<$.body.n>"})
    pipe.pipes.create_pipe(Name=name + "-rows", Source=stream, Target=pipe.queue("changes"), RoleArn=ROLE,
                           SourceParameters={"DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 10}},
                           TargetParameters={"InputTemplate": "<$.dynamodb.Keys.id.S>"})
    for round in range(3):
        for n in range(20):
            pipe.send({"n": round * 20 + n})
            tables.put_item(TableName=f"{name}-rows", Item={"id": {"S": str(round * 20 + n)}})
        private_server.kill()
        private_server.start()
    seen, changed = set(), set()
    def all_there():
        for of, into in [("out", seen), ("changes", changed)]:
            answer = pipe.queues.receive_message(QueueUrl=pipe.urls[of], MaxNumberOfMessages=10, WaitTimeSeconds=0)
            for message in answer.get("Messages", []):
                into.add(int(message["Body"].strip('"')))
                pipe.queues.delete_message(QueueUrl=pipe.urls[of], ReceiptHandle=message["ReceiptHandle"])
        return seen == changed == set(range(60))
    eventually(all_there)
    eventually(lambda: pipe.left() == 0)


def test_stacks_make_change_and_remove_pipes(pipe, eventually):
    stacks = pipe.server.client("cloudformation")
    def template(text, source="In"):
        return json.dumps({"Resources": {
            "In": {"Type": "AWS::SQS::Queue"},
            "Out": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": f"{pipe.name}-out"}},
            "Pipe": {"Type": "AWS::Pipes::Pipe", "Properties": {
                "Name": pipe.name, "RoleArn": ROLE, "Source": {"Fn::GetAtt": [source, "Arn"]}, "Target": {"Fn::GetAtt": ["Out", "Arn"]},
                "Tags": {"team": "sales"}, "SourceParameters": {"SqsQueueParameters": {"BatchSize": 5}},
                "TargetParameters": {"InputTemplate": text}}}},
            "Outputs": {"In": {"Value": {"Ref": "In"}}, "Out": {"Value": {"Ref": "Out"}}, "Arn": {"Value": {"Fn::GetAtt": ["Pipe", "Arn"]}},
                        "State": {"Value": {"Fn::GetAtt": ["Pipe", "CurrentState"]}}}})
    waiting = {"Delay": 0.05, "MaxAttempts": 400}
    stacks.create_stack(StackName=pipe.name, TemplateBody=template("<$.body>"))
    stacks.get_waiter("stack_create_complete").wait(StackName=pipe.name, WaiterConfig=waiting)
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stacks.describe_stacks(StackName=pipe.name)["Stacks"][0]["Outputs"]}
    assert outputs["Arn"].endswith(f"pipe/{pipe.name}") and outputs["State"] == "RUNNING"
    pipe.urls = {"in": outputs["In"], "out": outputs["Out"]}
    pipe.send({"n": 1})
    assert json.loads(pipe.receive(1)[0]) == {"n": 1}
    assert pipe.describe()["Tags"]["team"] == "sales"
    stacks.update_stack(StackName=pipe.name, TemplateBody=template('{"changed": <$.body.n>}'))
    stacks.get_waiter("stack_update_complete").wait(StackName=pipe.name, WaiterConfig=waiting)
    pipe.send({"n": 2})
    assert json.loads(pipe.receive(1)[0]) == {"changed": 2}
    stacks.delete_stack(StackName=pipe.name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=pipe.name, WaiterConfig=waiting)
    assert pipe.pipes.list_pipes(NamePrefix=pipe.name)["Pipes"] == []


def test_the_aws_cli_makes_and_starts_pipes(pipe):
    source, target = pipe.queue("in"), pipe.queue("out")
    cli = pipe.server.cli
    cli("pipes", "create-pipe", "--name", pipe.name, "--source", source, "--target", target, "--role-arn", ROLE, "--desired-state", "STOPPED")
    assert json.loads(cli("pipes", "start-pipe", "--name", pipe.name))["DesiredState"] == "RUNNING"
    assert json.loads(cli("pipes", "describe-pipe", "--name", pipe.name))["CurrentState"] == "RUNNING"
