"""Provisioned concurrency: sandboxes really made ahead, counted, spilled over from, made again."""

import json
import threading

import pytest
from support import function, refused, table, zipped

# Notes in a table when it was initialised, before anybody invoked it. Answers how, and waits for an object when asked to.
CODE = """
import os, time, uuid, boto3
made = str(uuid.uuid4())
kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
boto3.resource("dynamodb").Table(os.environ["NOTES"]).put_item(Item={"id": made, "kind": kind})
def handler(event, context):
    table = boto3.resource("dynamodb").Table(os.environ["NOTES"])
    if event.get("note"):
        table.put_item(Item={"id": event["note"], "kind": "running"})
        while "Item" not in table.get_item(Key={"id": "go"}, ConsistentRead=True):
            time.sleep(0.005)
    if event.get("die"):
        os._exit(1)
    return {"made": made, "kind": kind}
"""


class Provisioned:
    def __init__(self, server, name, eventually):
        self.server, self.name, self.eventually = server, name, eventually
        self.lambdas = server.client("lambda")
        self.tables = table(server, name)
        function(server, name, zipped(app__py=CODE), Environment={"Variables": {"NOTES": name}}, Publish=True)

    def put(self, wanted, qualifier="1"):
        return self.lambdas.put_provisioned_concurrency_config(FunctionName=self.name, Qualifier=qualifier, ProvisionedConcurrentExecutions=wanted)

    def get(self, qualifier="1"):
        return self.lambdas.get_provisioned_concurrency_config(FunctionName=self.name, Qualifier=qualifier)

    def ready(self, qualifier="1"):
        self.eventually(lambda: self.get(qualifier)["Status"] == "READY")
        return self.get(qualifier)

    def notes(self):
        return {item["id"]["S"]: item["kind"]["S"] for item in self.tables.scan(TableName=self.name, ConsistentRead=True)["Items"]}

    def made_ahead(self):
        return {id for id, kind in self.notes().items() if kind == "provisioned-concurrency"}

    def invoke(self, qualifier="1", **event):
        answer = self.lambdas.invoke(FunctionName=self.name, Qualifier=qualifier, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())


@pytest.fixture
def provisioned(server, name, eventually):
    made = Provisioned(server, name, eventually)
    yield made
    server.client("lambda").delete_function(FunctionName=name)


def test_sandboxes_are_initialised_before_they_are_needed(provisioned):
    answer = provisioned.put(2)
    assert answer["Status"] == "IN_PROGRESS" and answer["RequestedProvisionedConcurrentExecutions"] == 2
    ready = provisioned.ready()
    assert (ready["AllocatedProvisionedConcurrentExecutions"], ready["AvailableProvisionedConcurrentExecutions"]) == (2, 2)
    ahead = provisioned.made_ahead()
    assert len(ahead) == 2, "both ran their init phase"
    answer = provisioned.invoke()
    assert answer["kind"] == "provisioned-concurrency" and answer["made"] in ahead
    [listed] = provisioned.lambdas.list_provisioned_concurrency_configs(FunctionName=provisioned.name)["ProvisionedConcurrencyConfigs"]
    assert listed["FunctionArn"].endswith(f":{provisioned.name}:1") and listed["Status"] == "READY"
    provisioned.lambdas.update_function_configuration(FunctionName=provisioned.name, Description="other")
    assert provisioned.invoke()["made"] in ahead, "a version stays as it is"
    provisioned.invoke(die=True)
    provisioned.eventually(lambda: len(provisioned.made_ahead()) == 3)
    provisioned.ready()
    provisioned.put(1)
    provisioned.ready()
    provisioned.lambdas.delete_provisioned_concurrency_config(FunctionName=provisioned.name, Qualifier="1")
    with refused("ProvisionedConcurrencyConfigNotFoundException", 404):
        provisioned.get()
    assert provisioned.invoke()["kind"] == "on-demand"


def test_what_has_no_place_spills_over_and_counts(provisioned):
    provisioned.lambdas.put_function_concurrency(FunctionName=provisioned.name, ReservedConcurrentExecutions=2)
    with refused("InvalidParameterValueException", 400):
        provisioned.put(3)
    provisioned.put(1)
    provisioned.ready()
    with refused("InvalidParameterValueException", 400):
        provisioned.lambdas.put_function_concurrency(FunctionName=provisioned.name, ReservedConcurrentExecutions=0)
    answers = []
    calls = [threading.Thread(target=lambda note=note: answers.append(provisioned.invoke(note=note))) for note in ("a", "b")]
    for call, note in zip(calls, ("a", "b")):
        call.start()
        provisioned.eventually(lambda: note in provisioned.notes())
    with refused("TooManyRequestsException", 429) as info:
        provisioned.invoke()
    assert info.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    provisioned.tables.put_item(TableName=provisioned.name, Item={"id": {"S": "go"}, "kind": {"S": "go"}})
    for call in calls:
        call.join()
    assert sorted(answer["kind"] for answer in answers) == ["on-demand", "provisioned-concurrency"]


def test_an_alias_has_its_versions_ready(provisioned):
    lambdas, name = provisioned.lambdas, provisioned.name
    lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provisioned.put(1, "live")
    provisioned.ready("live")
    assert provisioned.invoke("live")["kind"] == "provisioned-concurrency"
    with refused("ResourceConflictException", 409):
        provisioned.put(1, "1")
    lambdas.update_function_configuration(FunctionName=name, Description="second")
    lambdas.publish_version(FunctionName=name)
    lambdas.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    provisioned.ready("live")
    answer = provisioned.invoke("live")
    assert answer["kind"] == "provisioned-concurrency" and len(provisioned.made_ahead()) == 2
    assert provisioned.invoke("1")["kind"] == "on-demand", "the old version has let go of its own"
    lambdas.delete_alias(FunctionName=name, Name="live")
    with refused("ProvisionedConcurrencyConfigNotFoundException", 404):
        provisioned.get("live")


def test_stacks_provision(server, name, eventually):
    template = {"Resources": {
        "F": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": name, "Runtime": "python3.11", "Handler": "index.handler", "RecursiveLoop": "Allow",
                                                              "Role": "arn:aws:iam::000000000000:role/any", "Code": {"ZipFile": "def handler(event, context): pass"}}},
        "V": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}},
        "A": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "F"}, "FunctionVersion": {"Fn::GetAtt": ["V", "Version"]}, "Name": "live",
                                                           "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1}}},
    }}
    stacks, lambdas = server.client("cloudformation"), server.client("lambda")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.1})
    get = lambda: lambdas.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    eventually(lambda: get()["Status"] == "READY")
    assert lambdas.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    del template["Resources"]["A"]["Properties"]["ProvisionedConcurrencyConfig"]
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 0.1})
    with refused("ProvisionedConcurrencyConfigNotFoundException", 404):
        get()


def test_what_cannot_be_provisioned(provisioned):
    with refused("InvalidParameterValueException", 400) as info:
        provisioned.put(1, "$LATEST")
    assert info.value.response["Error"]["Message"] == "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    for qualifier in ("9", "nobody"):
        with refused("ResourceNotFoundException", 404):
            provisioned.put(1, qualifier)
    for wanted in (901, 2000):
        with refused("InvalidParameterValueException", 400):
            provisioned.put(wanted)
    with refused("ProvisionedConcurrencyConfigNotFoundException", 404):
        provisioned.lambdas.delete_provisioned_concurrency_config(FunctionName=provisioned.name, Qualifier="1")


def test_a_failing_init_is_told(server, name, eventually):
    function(server, name, zipped(app__py="raise ValueError('at init')\n"), Publish=True)
    lambdas = server.client("lambda")
    lambdas.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2)
    get = lambda: lambdas.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    eventually(lambda: get()["Status"] == "FAILED")
    assert get()["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    lambdas.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")


def test_they_are_made_again_after_a_restart(private_server, name, eventually):
    provisioned = Provisioned(private_server, name, eventually)
    provisioned.put(1)
    provisioned.ready()
    private_server.kill()
    private_server.start()
    provisioned.ready()
    assert len(provisioned.made_ahead()) == 2
    assert provisioned.invoke()["kind"] == "provisioned-concurrency"
