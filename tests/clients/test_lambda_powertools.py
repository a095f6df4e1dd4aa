"""Powertools for AWS Lambda and the X-Ray SDKs inside functions, in Python and in TypeScript."""

import http.client
import json
import urllib.parse
import uuid

import pytest
from packed import MODULES, SOURCES, archive, bundled, python_packages
from support import function, table

PACKAGES = ["aws_lambda_powertools", "aws_xray_sdk", "wrapt", "jmespath", "typing_extensions.py"]


class Tools:
    """A function with Powertools in it, and what it wrote."""

    def __init__(self, server, built, eventually):
        self.server, self.eventually = server, eventually
        self.name, self.language = built

    def path(self, path, **event):
        answer = self.server.client("lambda").invoke(FunctionName=self.name, Payload=json.dumps({"path": path, **event}))
        body = json.loads(answer["Payload"].read() or "null")
        assert "FunctionError" not in answer, body
        return body

    def logged(self, wanted, count=1):
        """The JSON lines of the log for which `wanted` holds, once there are that many."""
        logs = self.server.client("logs")

        def look():
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{self.name}")["events"]
            lines = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
            found = [line for line in lines if wanted(line)]
            return len(found) >= count and found

        return self.eventually(look)

    def words(self, *batch):
        return self.logged(lambda line: line.get("message") == "record" and line["word"] in batch, len(batch))


@pytest.fixture(scope="module", params=["python", "typescript"])
def built(request, server):
    """One function for all paths: loading the libraries is what takes its time."""
    name = "t" + uuid.uuid4().hex[:12]
    table(server, name)
    more = {"Timeout": 20, "MemorySize": 256, "TracingConfig": {"Mode": "Active"},
            "Environment": {"Variables": {"TABLE": name, "POWERTOOLS_LOG_LEVEL": "INFO"}}}
    if request.param == "python":
        files = {"app.py": (SOURCES / "python" / "tools.py").read_bytes(), **python_packages(*PACKAGES)}
        function(server, name, archive(files), **more)
    else:
        if not MODULES.is_dir():
            pytest.skip("nodejs/package.json is not installed: see `cargo xtask test`")
        function(server, name, archive({"index.js": bundled("tools.mjs")}), "nodejs20.x", "index.handler", **more)
    return name, request.param


@pytest.fixture
def tools(server, built, eventually):
    return Tools(server, built, eventually)


def test_logs_carry_the_functions_context(tools):
    assert tools.path("log") == "logged"
    told = tools.logged(lambda line: line.get("message") == "an order came")[0]
    assert (told["level"], told["service"], told["customer"], told["order"]) == ("INFO", "shop", "c1", 7)
    assert told["function_name"] == tools.name and told["function_memory_size"] in (256, "256") and told["cold_start"] in (True, False)
    assert told["function_arn"].endswith(f":function:{tools.name}") and told["xray_trace_id"].startswith("1-")
    failed = tools.logged(lambda line: line.get("message") == "it went wrong")[0]
    assert failed["function_request_id"] == told["function_request_id"]
    assert "TypeError" in (failed.get("exception_name"), failed.get("error", {}).get("name"))


def test_metrics_are_written_into_the_log(tools):
    assert tools.path("measure") == "measured"
    measured = tools.logged(lambda line: "orders" in line)[0]
    assert measured["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "shop"
    assert measured["orders"] in (2, [2.0]) and measured["shop"] == "north"


def test_what_is_asked_twice_is_done_once(tools, name):
    first, second = tools.path("pay", order={"id": name})
    assert first == second and first["order"] == name
    assert tools.path("pay", order={"id": name}) == [first, first]


def test_segments_are_sent_and_taken(tools):
    said = tools.path("trace")
    if tools.language == "python":
        assert said == {"sampled": True, "parent": True, "same": True, "worked": "## app.work", "daemon": True}
    else:
        assert said == {"traced": True, "root": said["root"], "same": True, "sampled": True} and said["root"].startswith("1-")


def left_over(server, queue):
    """Messages of a queue, waiting or in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(int(n) for n in server.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"].values())


def queue_arn(server, url):
    return server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.mark.parametrize("fifo", [False, True])
def test_messages_that_failed_are_reported(server, tools, name, eventually, fifo):
    queues = server.client("sqs")
    more = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    if fifo and tools.language == "typescript":
        pytest.skip("the TypeScript function has no FIFO path")
    queue = queues.create_queue(QueueName=name + (".fifo" if fifo else ""), Attributes={"VisibilityTimeout": "120", **more})["QueueUrl"]
    words = [f"good {name}", "bad", f"fine {name}"]
    for word in words:
        queues.send_message(QueueUrl=queue, MessageBody=word, **({"MessageGroupId": "g"} if fifo else {}))
    server.client("lambda").create_event_source_mapping(FunctionName=tools.name, EventSourceArn=queue_arn(server, queue),
                                                        FunctionResponseTypes=["ReportBatchItemFailures"])
    # In a FIFO queue what comes behind a failure fails with it; else only the failure stays.
    eventually(lambda: left_over(server, queue) == (2 if fifo else 1))
    tools.words(words[0])


def test_records_of_a_stream_that_failed_are_reported(server, tools, name, eventually):
    tables, functions = server.client("dynamodb"), server.client("lambda")
    table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    words = [f"good {name}", "bad", f"fine {name}"]
    for word in words:
        tables.put_item(TableName=name, Item={"id": {"S": "same"}, "word": {"S": word}})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    lost = server.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    functions.create_event_source_mapping(
        FunctionName=tools.name, EventSourceArn=stream, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=1,
        FunctionResponseTypes=["ReportBatchItemFailures"], DestinationConfig={"OnFailure": {"Destination": queue_arn(server, lost)}})
    tools.words(words[0], words[2])
    told = eventually(lambda: server.client("sqs").receive_message(QueueUrl=lost, WaitTimeSeconds=2).get("Messages"))
    batch = json.loads(told[0]["Body"])["DDBStreamBatchInfo"]
    # What comes behind the failure is given up with it; what came before is not.
    assert batch["batchSize"] == 2


def test_an_address_leads_to_routes(server, tools):
    if tools.language != "python":
        pytest.skip("routes are a part of the Python function only")
    functions = server.client("lambda")
    url = functions.create_function_url_config(FunctionName=tools.name, AuthType="NONE")["FunctionUrl"]

    def ask(path, body=None):
        connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=20)
        headers = {"Host": urllib.parse.urlparse(url).netloc, "Content-Type": "application/json"}
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    assert ask("/orders/7?limit=3") == (200, '{"id":"7","limit":"3"}')
    assert ask("/orders", b'{"id": "9"}') == (201, "9")
    assert ask("/orders/none") == (404, '{"statusCode":404,"message":"no such order"}')
    assert ask("/other")[0] == 404
