"""SnapStart: versions that are initialised once and begin from there, as boto3 sees them."""

import base64
import concurrent.futures
import json

import pytest
from support import TRUST, function, refused, table, zipped

# Takes long to import, counts how often it was, and keeps what only one copy may have.
CODE = """
import os, random, time, uuid, boto3
from snapshot_restore_py import register_after_restore, register_before_snapshot
time.sleep(1)
made = str(uuid.uuid4())
dynamodb = boto3.resource("dynamodb")
notes = dynamodb.Table(os.environ["NOTES"])
notes.put_item(Item={"id": made})
with open("/tmp/model", "w") as file:
    file.write("m")
order = []
register_before_snapshot(order.append, "last")
register_before_snapshot(order.append, "first")

@register_after_restore
def restored():
    order.append("restored")

def handler(event, context):
    with open("/tmp/model", "a") as file:
        file.write("+")
    time.sleep(event.get("sleep", 0))
    return {
        "made": made, "order": order, "random": random.random(), "model": open("/tmp/model").read(),
        "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "stream": context.log_stream_name,
        "environment": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "key": os.environ["AWS_ACCESS_KEY_ID"],
        "init": notes.get_item(Key={"id": made}, ConsistentRead=True)["Item"]["id"],
    }
"""
ON = {"ApplyOn": "PublishedVersions"}


def publish(server, name, code, **more):
    function(server, name, zipped(app__py=code), runtime="python3.12", SnapStart=ON, **more)
    return server.client("lambda").publish_version(FunctionName=name)


def invoke(server, name, event=None, qualifier="1"):
    answer = server.client("lambda").invoke(
        FunctionName=name, Qualifier=qualifier, LogType="Tail", Payload=json.dumps(event or {})
    )
    return json.loads(answer["Payload"].read()), base64.b64decode(answer["LogResult"]).decode()


def configuration(server, name, qualifier="1"):
    return server.client("lambda").get_function_configuration(FunctionName=name, Qualifier=qualifier)


def test_a_version_is_pending_until_its_snapshot_is_taken_and_cold_starts_go_on_from_it(server, name):
    tables, lambdas = table(server, name), server.client("lambda")
    version = publish(server, name, CODE, Environment={"Variables": {"NOTES": name}}, Timeout=10, MemorySize=512)
    assert (version["State"], version["StateReasonCode"]) == ("Pending", "Creating")
    assert version["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    with refused("ResourceConflictException", 409):
        invoke(server, name)
    lambdas.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1})
    ready = configuration(server, name)
    assert (ready["State"], ready["SnapStart"]["OptimizationStatus"]) == ("Active", "On")
    assert configuration(server, name, "$LATEST")["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(invoke, server, name, {"sleep": 0.5}) for _ in range(3)]
        answers = [call.result() for call in calls]
    ids = {item["id"]["S"] for item in tables.scan(TableName=name, ConsistentRead=True)["Items"]}
    assert len(ids) == 1, "init ran once"
    assert {answer["made"] for answer, _ in answers} == ids
    for unique in ("random", "stream", "key"):
        assert len({answer[unique] for answer, _ in answers}) == 3, unique
    for answer, log in answers:
        assert (answer["order"], answer["model"], answer["kind"]) == (["first", "last", "restored"], "m+", "snap-start")
        assert answer["environment"] == answer["stream"] and answer["init"] in ids
        assert "RESTORE_START Runtime Version: python:3.12" in log and "RESTORE_REPORT Restore Duration: " in log
        assert "\tRestore Duration: " in log and "\tBilled Restore Duration: " in log and "Init Duration" not in log
    again, log = invoke(server, name)
    assert again["model"] == "m++" and "Restore Duration" not in log, "warm from here on"
    latest, _ = invoke(server, name, qualifier="$LATEST")
    assert latest["kind"] == "on-demand" and latest["made"] not in ids
    lambdas.delete_function(FunctionName=name)


def test_a_failed_init_phase_fails_the_version(server, name, eventually):
    publish(server, name, "raise ValueError('no model')\n")
    eventually(lambda: configuration(server, name)["State"] == "Failed")
    failed = configuration(server, name)
    assert (failed["StateReasonCode"], failed["StateReason"]) == ("FunctionError", "ValueError: no model")
    assert failed["SnapStart"]["OptimizationStatus"] == "Off"


def test_what_cannot_be_copied_works_without(server, name, eventually):
    code = """
import os, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
def handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
    publish(server, name, code)
    eventually(lambda: configuration(server, name)["State"] == "Active")
    assert configuration(server, name)["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    answer, log = invoke(server, name)
    assert answer == "on-demand" and "Init Duration" in log


def test_what_lambda_does_not_allow_with_it(server, name):
    lambdas, code = server.client("lambda"), zipped(app__py="def handler(event, context):\n    return 1\n")
    for runtime in ("python3.11", "nodejs20.x"):
        with refused("InvalidParameterValueException", 400) as caught:
            function(server, name + runtime.replace(".", ""), code, runtime=runtime, SnapStart=ON)
        assert f"{runtime} is not supported for SnapStart enabled functions." in str(caught.value)
    with refused("InvalidParameterValueException", 400):
        function(server, name + "large", code, runtime="python3.12", SnapStart=ON, EphemeralStorage={"Size": 513})
    function(server, name, code, runtime="python3.12", SnapStart=ON, Publish=True)
    with refused("InvalidParameterValueException", 400):
        lambdas.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    lambdas.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "None"})
    assert configuration(server, name, "$LATEST")["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}


@pytest.mark.parametrize("stop", ["stop", "kill"])
def test_snapshots_are_taken_again_after_a_restart(private_server, name, eventually, stop):
    server = private_server
    code = "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    publish(server, name, code)
    eventually(lambda: configuration(server, name)["State"] == "Active")
    assert invoke(server, name)[0] == "snap-start"
    # What a state shows is written a moment later; what is answered after this has been.
    server.client("lambda").tag_resource(Resource=configuration(server, name)["FunctionArn"].rsplit(":", 1)[0], Tags={"a": "b"})
    getattr(server, stop)()
    server.start()
    assert invoke(server, name)[0] == "on-demand", "nobody waits for a snapshot"
    assert configuration(server, name)["State"] == "Active"


def test_a_stack_waits_for_the_snapshot_of_its_version(server, name):
    stacks, iam = server.client("cloudformation"), server.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    code = "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    template = {"Resources": {
        "Function": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": name, "Runtime": "python3.12", "Handler": "index.handler", "Role": role, "Code": {"ZipFile": code},
            "SnapStart": ON,
        }},
        "Version": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "Function"}}},
    }}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert configuration(server, name)["SnapStart"]["OptimizationStatus"] == "On"
    assert invoke(server, name)[0] == "snap-start"
    # What a state shows is written a moment later; what is answered after this has been.
    server.client("lambda").tag_resource(Resource=configuration(server, name)["FunctionArn"].rsplit(":", 1)[0], Tags={"a": "b"})
