"""SQS queues as event sources: batches, partial failures, filters, limits, order, crashes."""

import json
import urllib.request

import pytest

from support import function, refused, table, zipped

# Writes what it was given into a table: the batch's message bodies under a key of their own.
NOTES = """
import boto3, json, os, time
notes = boto3.client('dynamodb')
def note(context, value):
    notes.put_item(TableName=os.environ['NOTES'], Item={'id': {'S': context.aws_request_id}, 'value': {'S': json.dumps(value)}, 'at': {'N': str(time.time())}})
"""
TRACE = "1-5759e988-bd862e3fe1be46a994272793"
RECORDS = NOTES + "def handler(event, context):\n    note(context, event)\n"


@pytest.fixture
def source(server, name):
    return Source(server, name)


class Source:
    """A queue, a function that takes its messages, and the table in which that notes what it saw."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.functions, self.queues = server.client("lambda"), server.client("sqs")

    def make(self, code=RECORDS, fifo=False, queue=None, timeout=5, **mapping):
        self.notes = table(self.server, self.name)
        function(self.server, self.name, zipped(app__py=code), Timeout=timeout, Environment={"Variables": {"NOTES": self.name}})
        attributes = {"VisibilityTimeout": "5", **(queue or {})}
        if fifo:
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        self.url = self.queues.create_queue(QueueName=self.name + (".fifo" if fifo else ""), Attributes=attributes)["QueueUrl"]
        self.arn = self.queues.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.mapping = self.functions.create_event_source_mapping(FunctionName=self.name, EventSourceArn=self.arn, **mapping)
        return self

    def send(self, *bodies, **more):
        for body in bodies:
            self.queues.send_message(QueueUrl=self.url, MessageBody=body, **more)

    def seen(self):
        """What the function noted, in the order of its invocations."""
        items = self.server.client("dynamodb").scan(TableName=self.name, ConsistentRead=True)["Items"]
        return [json.loads(item["value"]["S"]) for item in sorted(items, key=lambda item: float(item["at"]["N"]))]

    def bodies(self):
        return [[record["body"] for record in event["Records"]] for event in self.seen()]

    def left(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        attributes = self.queues.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in attributes.values())


def flat(lists):
    return sorted(one for each in lists for one in each)


def test_a_message_becomes_a_record(source, eventually):
    source.make()
    assert source.mapping["State"] == "Creating" and source.mapping["BatchSize"] == 10 and "StartingPosition" not in source.mapping
    attributes = {"kind": {"DataType": "String", "StringValue": "order"}, "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}}
    sent = source.queues.send_message(QueueUrl=source.url, MessageBody="hello", MessageAttributes=attributes)
    [event] = eventually(source.seen)
    [record] = event["Records"]
    assert list(record) == ["messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfMessageAttributes", "md5OfBody",
                            "eventSource", "eventSourceARN", "awsRegion"]
    assert record["md5OfMessageAttributes"] == sent["MD5OfMessageAttributes"] and record["messageId"] == sent["MessageId"] and record["body"] == "hello" and record["md5OfBody"] == sent["MD5OfMessageBody"]
    assert record["eventSource"] == "aws:sqs" and record["eventSourceARN"] == source.arn and record["awsRegion"] == "us-east-1"
    assert record["attributes"]["ApproximateReceiveCount"] == "1" and record["attributes"]["SentTimestamp"].isdigit()
    assert record["messageAttributes"]["kind"] == {"stringValue": "order", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
    assert record["messageAttributes"]["raw"]["binaryValue"] == "AAE=" and record["receiptHandle"]
    eventually(lambda: source.left() == 0)


def test_batches_wait_for_their_window_and_are_full_at_most(source, eventually):
    source.make(BatchSize=4, MaximumBatchingWindowInSeconds=2)
    source.send(*[str(n) for n in range(6)])
    eventually(lambda: len(flat(source.bodies())) == 6)
    assert [len(batch) for batch in source.bodies()] == [4, 2]


def test_a_batch_is_no_larger_than_an_invocation_takes(source, eventually):
    code = NOTES + "def handler(event, context):\n    note(context, [len(record['body']) for record in event['Records']])\n"
    source.make(code, queue={"VisibilityTimeout": "30"}, BatchSize=20, MaximumBatchingWindowInSeconds=2)
    source.send(*["x" * 1_000_000 for _ in range(8)])
    eventually(lambda: sum(map(len, source.seen())) == 8 and source.left() == 0)
    assert all(sum(batch) < 6 << 20 for batch in source.seen()) and len(source.seen()) == 2


def test_large_batches_want_a_window(source):
    source.make()
    with refused("InvalidParameterValueException", 400):
        source.functions.update_event_source_mapping(UUID=source.mapping["UUID"], BatchSize=100)
    changed = source.functions.update_event_source_mapping(UUID=source.mapping["UUID"], BatchSize=100, MaximumBatchingWindowInSeconds=1)
    assert changed["BatchSize"] == 100


def test_failed_batches_come_back_and_end_in_the_dead_letter_queue(source, eventually):
    queues = source.queues
    dead = queues.create_queue(QueueName=source.name + "-dead")["QueueUrl"]
    dead_arn = queues.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    code = NOTES + "def handler(event, context):\n    note(context, event)\n    raise ValueError('no')\n"
    source.make(code, queue={"VisibilityTimeout": "2", "RedrivePolicy": redrive}, timeout=2)
    source.send("bad")
    [message] = eventually(lambda: queues.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get("Messages"), 20)
    assert message["Body"] == "bad"
    counts = [event["Records"][0]["attributes"]["ApproximateReceiveCount"] for event in source.seen()]
    assert counts == ["1", "2"]


def test_a_journey_tells_who_had_a_message_and_how_that_went(source, eventually):
    dead = source.queues.create_queue(QueueName=source.name + "-dead")["QueueUrl"]
    dead_arn = source.queues.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    code = NOTES + "def handler(event, context):\n    note(context, event)\n    raise ValueError('not yet')\n"
    source.make(code, queue={"VisibilityTimeout": "2", "RedrivePolicy": redrive}, timeout=2)
    sent = source.queues.send_message(QueueUrl=source.url, MessageBody="x", MessageSystemAttributes={
        "AWSTraceHeader": {"DataType": "String", "StringValue": f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1"}})
    journey = lambda: json.load(urllib.request.urlopen(f"{source.server.endpoint}/_tidemill/journey/{sent['MessageId']}", timeout=10))
    steps = eventually(lambda: len(journey()) == 3 and journey())
    assert [(step["step"], step["attempt"]) for step in steps] == [("failed", 1), ("failed", 2), ("dead_lettered", 0)]
    assert all("not yet" in step["detail"] for step in steps[:2])
    assert (steps[2]["target"], steps[2]["detail"]) == (dead_arn, "received 2 times and not deleted")
    assert {(step["source"], step["trace"]) for step in steps} == {(source.arn, TRACE)}


def test_partial_failures_leave_what_failed(source, eventually):
    code = NOTES + """
def handler(event, context):
    note(context, event)
    return {'batchItemFailures': [{'itemIdentifier': r['messageId']} for r in event['Records'] if r['body'].startswith('bad')
                                  and r['attributes']['ApproximateReceiveCount'] == '1']}
"""
    source.make(code, queue={"VisibilityTimeout": "2"}, timeout=2, MaximumBatchingWindowInSeconds=1,
                FunctionResponseTypes=["ReportBatchItemFailures"])
    assert source.mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    source.send("good", "bad", "fine")
    eventually(lambda: len(source.seen()) == 2 and source.left() == 0)
    assert sorted(source.bodies()[0]) == ["bad", "fine", "good"] and source.bodies()[1] == ["bad"]
    bad = source.seen()[1]["Records"][0]["messageId"]
    steps = json.load(urllib.request.urlopen(f"{source.server.endpoint}/_tidemill/journey/{bad}", timeout=10))
    assert [(step["step"], step["attempt"]) for step in steps] == [("failed", 1), ("delivered", 2)]
    assert steps[0]["detail"] == "the function reported it as failed"


SUCCESSES = ["None", "''", "{}", "{'batchItemFailures': None}", "{'batchItemFailures': []}", "{'other': 1}"]
FAILURES = ["'text'", "[]", "{'batchItemFailures': 'x'}", "{'batchItemFailures': ['x']}", "{'batchItemFailures': [{'itemIdentifier': ''}]}",
            "{'batchItemFailures': [{'itemIdentifier': None}]}", "{'batchItemFailures': [{'itemIdentifier': 1}]}",
            "{'batchItemFailures': [{'itemIdentifier': ids[0]}, {'itemIdentifier': 'nobody'}]}", "{'batchItemFailures': [{'id': ids[0]}]}", "1 / 0"]
SECOND = "{'batchItemFailures': [{'itemIdentifier': ids[1]}]}"


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("answer, again", [(answer, []) for answer in SUCCESSES] + [(answer, ["one", "two"]) for answer in FAILURES] + [(SECOND, ["two"])])
def test_reports_of_failed_messages_are_read_as_lambda_documents(source, eventually, answer, again, fifo):
    code = NOTES + f"""
def handler(event, context):
    note(context, event)
    ids = [record['messageId'] for record in sorted(event['Records'], key=lambda record: record['body'])]
    return {answer} if event['Records'][0]['attributes']['ApproximateReceiveCount'] == '1' else None
"""
    source.make(code, fifo=fifo, queue={"VisibilityTimeout": "2"}, timeout=2, Enabled=False, FunctionResponseTypes=["ReportBatchItemFailures"])
    source.send("one", "two", **({"MessageGroupId": "g"} if fifo else {}))
    source.functions.update_event_source_mapping(UUID=source.mapping["UUID"], Enabled=True)
    eventually(lambda: source.left() == 0)
    batches = source.bodies()
    assert sorted(batches[0]) == ["one", "two"] and flat(batches[1:]) == again


def test_messages_that_no_filter_wants_are_deleted(source, eventually):
    source.make(FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"kind": ["order"], "n": [{"numeric": [">", 5]}]}})}]})
    source.send("plain", '{"kind": "order", "n": 1}', '{"kind": "order", "n": 7}', '{"kind": "other", "n": 9}')
    eventually(lambda: source.left() == 0)
    eventually(source.seen)
    assert flat(source.bodies()) == ['{"kind": "order", "n": 7}']


def test_no_more_functions_run_than_the_scaling_allows(source, eventually):
    code = NOTES + """
def handler(event, context):
    began = time.time()
    time.sleep(0.3)
    note(context, {'Records': event['Records'], 'from': began, 'to': time.time()})
"""
    source.make(code, queue={"VisibilityTimeout": "30"}, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    assert source.mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    source.send(*[str(n) for n in range(8)])
    eventually(lambda: len(source.seen()) == 8)
    runs = [(run["from"], run["to"]) for run in source.seen()]
    at_once = max(sum(start <= moment < end for start, end in runs) for moment, _ in runs)
    assert at_once == 2


def test_groups_keep_their_order(source, eventually):
    code = NOTES + "def handler(event, context):\n    time.sleep(0.02)\n    note(context, event)\n"
    source.make(code, fifo=True, queue={"VisibilityTimeout": "30"}, BatchSize=3)
    for n in range(8):
        for group in "ab":
            source.queues.send_message(QueueUrl=source.url, MessageBody=f"{group}{n}", MessageGroupId=group)
    eventually(lambda: source.left() == 0 and len(flat(source.bodies())) == 16)
    seen = [record["body"] for event in source.seen() for record in event["Records"]]
    for group in "ab":
        assert [body for body in seen if body[0] == group] == [f"{group}{n}" for n in range(8)]
    record = source.seen()[0]["Records"][0]
    assert record["attributes"]["MessageGroupId"] in "ab" and record["attributes"]["SequenceNumber"]


def test_a_disabled_mapping_takes_nothing(source, eventually):
    source.make(Enabled=False)
    assert source.mapping["State"] == "Disabled"
    source.send("one")
    assert source.left() == 1 and source.seen() == []
    assert source.functions.update_event_source_mapping(UUID=source.mapping["UUID"], Enabled=True)["State"] == "Enabling"
    eventually(lambda: source.bodies() == [["one"]] and source.left() == 0)
    source.functions.delete_event_source_mapping(UUID=source.mapping["UUID"])
    source.send("two")
    assert source.left() == 1
    with refused("ResourceNotFoundException", 404):
        source.functions.get_event_source_mapping(UUID=source.mapping["UUID"])


def test_sources_that_cannot_be_read_are_refused(source, name):
    source.make(timeout=5)
    again = dict(FunctionName=name, EventSourceArn=source.arn)
    with refused("ResourceConflictException", 409):
        source.functions.create_event_source_mapping(**again)
    with refused("InvalidParameterValueException", 400) as raised:
        source.functions.create_event_source_mapping(**again | {"EventSourceArn": source.arn + "-none"})
    assert "The specified queue does not exist" in str(raised.value)
    short = source.queues.create_queue(QueueName=name + "-short", Attributes={"VisibilityTimeout": "4"})["QueueUrl"]
    short = source.queues.get_queue_attributes(QueueUrl=short, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    with refused("InvalidParameterValueException", 400) as raised:
        source.functions.create_event_source_mapping(**again | {"EventSourceArn": short})
    assert "Queue visibility timeout: 4 seconds is less than Function timeout: 5 seconds" in str(raised.value)
    for wrong in [{"StartingPosition": "LATEST"}, {"BatchSize": 11}, {"MaximumRetryAttempts": 1},
                  {"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}]:
        source.queues.set_queue_attributes(QueueUrl=source.queues.get_queue_url(QueueName=name + "-short")["QueueUrl"],
                                           Attributes={"VisibilityTimeout": "30"})
        with refused("InvalidParameterValueException", 400):
            source.functions.create_event_source_mapping(**again | {"EventSourceArn": short} | wrong)


def test_throttled_messages_wait_for_the_function(source, eventually):
    source.make(queue={"VisibilityTimeout": "30"})
    source.functions.put_function_concurrency(FunctionName=source.name, ReservedConcurrentExecutions=0)
    source.send("waits")
    eventually(lambda: source.left() == 1)
    source.functions.delete_function_concurrency(FunctionName=source.name)
    eventually(lambda: source.bodies() == [["waits"]] and source.left() == 0)


def test_nothing_is_lost_when_the_platform_is_killed(private_server, name, eventually):
    source = Source(private_server, name).make(queue={"VisibilityTimeout": "6"}, BatchSize=5)
    sent = [f"m{n}" for n in range(60)]
    for at in range(0, 60, 10):
        source.queues.send_message_batch(QueueUrl=source.url, Entries=[{"Id": body, "MessageBody": body} for body in sent[at:at + 10]])
    eventually(source.seen)
    private_server.kill()
    private_server.start()
    source = Source(private_server, name)
    source.url = source.queues.get_queue_url(QueueName=name)["QueueUrl"]
    eventually(lambda: set(flat(source.bodies())) == set(sent) and source.left() == 0, 40)
