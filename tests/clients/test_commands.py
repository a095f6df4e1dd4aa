"""The `tidemill` command as people and programs use it."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from conftest import BINARY, ROOT, Server

EXAMPLE = ROOT / "examples" / "sales-pipeline"


def tidemill(*arguments, server=None, code=0):
    environment = {**os.environ, "NO_COLOR": "1"}
    if server:
        environment["AWS_ENDPOINT_URL"] = server.endpoint
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if code else "")


def test_the_demonstration_shows_hops_and_row():
    text = tidemill("up", "--demo", EXAMPLE)
    assert "ObjectCreated:Put in/sale.json" in text and "cold start" in text and "median" in text
    assert "region       north" in text and "sales        21" in text
    answer = json.loads(tidemill("--output", "json", "up", "--demo", EXAMPLE))
    assert answer["row"]["sales"] == {"N": "21"} and answer["warm_p50_ms"] > 0
    steps = [step["step"] for step in answer["journey"]]
    assert steps.count("delivered") == 2 and steps[0] == "happened"


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node.js")
def test_the_demonstration_of_notifications_ends_in_its_functions():
    answer = json.loads(tidemill("--output", "json", "up", "--demo", EXAMPLE.parent / "notification-service"))
    assert answer["row"]["notices"] == {"N": "21"} and answer["row"]["last_to"] == {"S": "ann@example.com"}
    took = [step for step in answer["journey"] if step["step"] == "delivered"]
    functions = [step["target"].split(":function:")[1].split("-")[2] for step in took if ":function:" in step["target"]]
    assert sorted(functions) == ["Orchestrator", "Sender", "Sender"]
    queues = {step["source"] for step in took if "Sender" in step["target"]}
    assert len(queues) == 2 and queues == {step["target"] for step in took if ":sqs:" in step["target"]}


def test_an_application_is_deployed_invoked_and_deleted(server, tmp_path):
    folder = tmp_path / "greeter"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "app.py").write_text("def handler(event, context):\n    print('greeting')\n    return 'hello ' + event['name']\n")
    template = folder / "template.yaml"
    template.write_text("""
Transform: AWS::Serverless-2016-10-31
Parameters: {Memory: {Type: Number, Default: 128}}
Resources:
  Greet:
    Type: AWS::Serverless::Function
    Properties: {FunctionName: greeter-greet, CodeUri: src/, Handler: app.handler, Runtime: python3.11, MemorySize: !Ref Memory}
Outputs:
  Name: {Value: !Ref Greet}
""")
    first = json.loads(tidemill("--output", "json", "deploy", folder, "-p", "Memory=192", server=server))
    assert first["stack"] == "greeter" and first["outputs"] == {"Name": "greeter-greet"} and first["changed"]
    assert server.client("lambda").get_function_configuration(FunctionName="greeter-greet")["MemorySize"] == 192
    again = json.loads(tidemill("--output", "json", "deploy", folder, "-p", "Memory=192", server=server))
    assert not again["changed"]
    assert '"hello you"' in tidemill("invoke", "greeter-greet", '{"name": "you"}', server=server)
    (folder / "src" / "app.py").write_text("def handler(event, context):\n    return 'bye ' + event['name']\n")
    assert json.loads(tidemill("--output", "json", "deploy", folder, "-p", "Memory=192", server=server))["changed"]
    assert '"bye you"' in tidemill("invoke", "greeter-greet", '{"name": "you"}', server=server)
    assert "greeting" in tidemill("logs", "greeter-greet", server=server)
    assert "deleted" in tidemill("delete", folder, server=server)
    assert "no stack greeter" in tidemill("delete", folder, server=server, code=1)


def test_mistakes_say_what_to_do(server, tmp_path):
    assert "has no template" in tidemill("deploy", tmp_path, server=server, code=1)
    (tmp_path / "template.yaml").write_text("Resources: [")
    assert "not well-formed" in tidemill("deploy", tmp_path, server=server, code=1)
    (tmp_path / "template.yaml").write_text("Resources: {A: {Type: 'AWS::No::Such'}}")
    assert "Unrecognized resource types: [AWS::No::Such]" in tidemill("deploy", tmp_path, server=server, code=1)
    assert "tidemill serve" in tidemill("--endpoint", "http://127.0.0.1:1", "journey", code=1)
    assert "loopback" in tidemill("serve", "--listen", "0.0.0.0:0", "--data", ":memory:", code=1)


def test_doctor_and_completions():
    found = json.loads(tidemill("--output", "json", "doctor"))["interpreters"]
    assert any(one["runtime"].startswith("python3") for one in found)
    assert "_tidemill" in tidemill("completions", "bash")


def test_journeys_are_found_by_id(server, name):
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    assert "nothing is known of nonsense" in tidemill("journey", "nonsense", server=server, code=1)
    assert isinstance(json.loads(tidemill("--output", "json", "journey", server=server)), list)


def test_an_application_that_is_up_works_with_the_plain_cli(tmp_path, eventually):
    command = [BINARY, "up", str(EXAMPLE), "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"})
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "AWS_ENDPOINT_URL=" in line:
            break
    try:
        server = Server(tmp_path)
        server.endpoint = lines[0].split()[1]
        server.cli("s3", "cp", str(EXAMPLE / "sale.json"), "s3://sales-files/in/")
        table = next(line.split()[1] for line in lines if line.startswith("  MetricsTable"))
        key = json.dumps({"region": {"S": "north"}})
        row = eventually(lambda: server.cli("dynamodb", "get-item", "--table-name", table, "--key", key, "--output", "json").strip())
        assert json.loads(row)["Item"]["revenue"] == {"N": "129.9"}
        # What the functions print is followed, under the names the template gives them.
        assert next(line for line in process.stdout if line.startswith("Loader ") and "in/sale.json: 129.9" in line)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_events_are_put_and_explained(server, name, tmp_path):
    events, sqs = server.client("events"), server.client("sqs")
    events.create_event_bus(Name=name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name="small", EventBusName=name, EventPattern='{"detail": {"amount": [{"numeric": ["<", 10]}]}}')
    events.put_rule(Name="shop", EventBusName=name, EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="shop", EventBusName=name, Targets=[{"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:000000000000:{name}"}])
    event = tmp_path / "event.json"
    event.write_text('{"source": "shop", "detail-type": "Order", "detail": {"amount": 50}}')
    verdicts = {one["rule"]: one for one in json.loads(tidemill("--output", "json", "events", "explain", "--event", event, "--bus", name, server=server))}
    assert verdicts["shop"]["matched"] and not verdicts["small"]["matched"]
    assert verdicts["small"]["failures"][0]["path"] == "detail.amount" and verdicts["small"]["failures"][0]["found"] == "50"
    assert "✗ small" in tidemill("events", "explain", "--event", event, "--bus", name, server=server)
    event_id = tidemill("events", "put", event, "--bus", name, server=server).split()[0]
    message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]
    assert json.loads(message["Body"])["id"] == event_id
    assert "delivered" in tidemill("journey", event_id, server=server)
    assert "Source is a required argument" in tidemill("events", "put", "{}", server=server, code=1)
