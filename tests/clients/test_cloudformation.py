"""CloudFormation: stacks that come up, change, fail and go, with boto3's waiters and the AWS CLI."""

import json

import pytest
from support import refused, table, zipped

QUEUE_LESS = {"Resources": {"Rows": {"Type": "AWS::DynamoDB::Table", "Properties": {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}}}}


def log_group(name=None, days=None):
    properties = {}
    if name:
        properties["LogGroupName"] = name
    if days:
        properties["RetentionInDays"] = days
    return {"Type": "AWS::Logs::LogGroup", "Properties": properties}


@pytest.fixture
def stacks(server):
    return server.client("cloudformation")


def create(stacks, name, template, **more):
    answer = stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), **more)
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    return answer["StackId"]


def settled(stacks, name, eventually):
    def resting():
        stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
        return not stack["StackStatus"].endswith("_IN_PROGRESS") and stack

    return eventually(resting)


def test_a_stack_comes_up_and_goes(server, stacks, name):
    template = {
        "Description": "one of each",
        "Parameters": {"Days": {"Type": "Number", "Default": "7"}, "Secret": {"Type": "String", "NoEcho": True}},
        "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
        "Resources": {
            "Lines": log_group(days={"Ref": "Days"}),
            "Absent": {**log_group(), "Condition": "Never"},
            **QUEUE_LESS["Resources"],
        },
        "Outputs": {
            "Name": {"Value": {"Ref": "Rows"}, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-rows"}}},
            "Arn": {"Value": {"Fn::GetAtt": ["Rows", "Arn"]}, "Description": "of the table"},
        },
    }
    stack_id = create(stacks, name, template, Parameters=[{"ParameterKey": "Secret", "ParameterValue": "hush"}],
                      Tags=[{"Key": "team", "Value": "sales"}])
    stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
    assert stack["StackId"] == stack_id and stack["Description"] == "one of each" and stack["Tags"] == [{"Key": "team", "Value": "sales"}]
    assert {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]} == {"Days": "7", "Secret": "****"}
    outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
    assert outputs["Name"].startswith(f"{name}-Rows-") and outputs["Arn"].endswith(f":table/{outputs['Name']}")
    resources = {r["LogicalResourceId"]: r for r in stacks.describe_stack_resources(StackName=name)["StackResources"]}
    assert set(resources) == {"Lines", "Rows"} and resources["Rows"]["ResourceStatus"] == "CREATE_COMPLETE"
    group = server.client("logs").describe_log_groups(logGroupNamePrefix=resources["Lines"]["PhysicalResourceId"])["logGroups"][0]
    assert group["retentionInDays"] == 7
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    assert (events[0]["ResourceStatus"], events[0]["LogicalResourceId"]) == ("CREATE_COMPLETE", name)
    assert (events[-1]["ResourceStatus"], events[-1]["ResourceStatusReason"]) == ("CREATE_IN_PROGRESS", "User Initiated")
    of_rows = [(e["ResourceStatus"], e.get("ResourceStatusReason")) for e in reversed(events) if e["LogicalResourceId"] == "Rows"]
    assert of_rows == [("CREATE_IN_PROGRESS", None), ("CREATE_IN_PROGRESS", "Resource creation Initiated"), ("CREATE_COMPLETE", None)]
    assert [e["Value"] for e in stacks.list_exports()["Exports"] if e["Name"] == f"{name}-rows"] == [outputs["Name"]]
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=stack_id, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    assert outputs["Name"] not in server.client("dynamodb").list_tables()["TableNames"]
    with refused("ValidationError", 400) as info:
        stacks.describe_stacks(StackName=name)
    assert info.value.response["Error"]["Message"] == f"Stack with id {name} does not exist"
    assert stacks.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"


def test_what_cannot_be_made_is_rolled_back(server, stacks, name, eventually):
    server.client("logs").create_log_group(logGroupName=f"/{name}/taken")
    template = {"Resources": {"First": log_group(f"/{name}/first"),
                              "Taken": {**log_group(f"/{name}/taken"), "DependsOn": "First"},
                              "Never": {**log_group(f"/{name}/never"), "DependsOn": "Taken"}}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stack = settled(stacks, name, eventually)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    groups = server.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}/")["logGroups"]
    assert [group["logGroupName"] for group in groups] == [f"/{name}/taken"]
    events = {(e["LogicalResourceId"], e["ResourceStatus"]): e.get("ResourceStatusReason") for e in stacks.describe_stack_events(StackName=name)["StackEvents"]}
    assert "already exists" in events[("Taken", "CREATE_FAILED")]
    assert events[(name, "ROLLBACK_IN_PROGRESS")] == "The following resource(s) failed to create: [Taken]. Rollback requested by user."
    assert ("First", "DELETE_COMPLETE") in events and ("Never", "CREATE_IN_PROGRESS") not in events
    with refused("ValidationError") as info:
        stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    assert "is in ROLLBACK_COMPLETE state and can not be updated." in info.value.response["Error"]["Message"]


def test_a_failed_stack_may_be_kept(stacks, server, name, eventually):
    server.client("logs").create_log_group(logGroupName=f"/{name}/taken")
    template = {"Resources": {"First": log_group(f"/{name}/first"), "Taken": {**log_group(f"/{name}/taken"), "DependsOn": "First"}}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), OnFailure="DO_NOTHING")
    assert settled(stacks, name, eventually)["StackStatus"] == "CREATE_FAILED"
    assert server.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}/first")["logGroups"]


def test_updates_change_add_remove_and_replace(server, stacks, name):
    logs = server.client("logs")
    create(stacks, name, {"Resources": {"Changed": log_group(f"/{name}/changed", 1), "Moved": log_group(f"/{name}/before"), "Gone": log_group(f"/{name}/gone")}})
    template = {"Resources": {"Changed": log_group(f"/{name}/changed", 5), "Moved": log_group(f"/{name}/after"), "New": log_group(f"/{name}/new")}}
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    groups = {g["logGroupName"].split("/")[-1]: g.get("retentionInDays") for g in logs.describe_log_groups(logGroupNamePrefix=f"/{name}/")["logGroups"]}
    assert groups == {"changed": 5, "after": None, "new": None}
    with refused("ValidationError") as info:
        stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    assert info.value.response["Error"]["Message"] == "No updates are to be performed."


def test_a_failed_update_goes_back(server, stacks, name, eventually):
    logs = server.client("logs")
    logs.create_log_group(logGroupName=f"/{name}/taken")
    create(stacks, name, {"Resources": {"Kept": log_group(f"/{name}/kept", 1)}})
    template = {"Resources": {"Kept": log_group(f"/{name}/kept", 5), "New": {**log_group(f"/{name}/new"), "DependsOn": "Kept"},
                              "Taken": {**log_group(f"/{name}/taken"), "DependsOn": "New"}}}
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    assert settled(stacks, name, eventually)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    groups = {g["logGroupName"].split("/")[-1]: g.get("retentionInDays") for g in logs.describe_log_groups(logGroupNamePrefix=f"/{name}/")["logGroups"]}
    assert groups == {"kept": 1, "taken": None}
    assert list(stacks.get_template(StackName=name)["TemplateBody"]["Resources"]) == ["Kept"]


def test_change_sets(stacks, name):
    first = {"Resources": {"Lines": log_group(f"/{name}/a", 1)}}
    made = stacks.create_change_set(StackName=name, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=json.dumps(first))
    stacks.get_waiter("change_set_create_complete").wait(StackName=name, ChangeSetName="first", WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    assert stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    change = stacks.describe_change_set(ChangeSetName=made["Id"])["Changes"][0]["ResourceChange"]
    assert (change["Action"], change["LogicalResourceId"]) == ("Add", "Lines")
    stacks.execute_change_set(StackName=name, ChangeSetName="first")
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    stacks.create_change_set(StackName=name, ChangeSetName="same", TemplateBody=json.dumps(first))
    same = stacks.describe_change_set(StackName=name, ChangeSetName="same")
    assert (same["Status"], same["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE") and "didn't contain changes" in same["StatusReason"]
    with refused("InvalidChangeSetStatus", 400):
        stacks.execute_change_set(StackName=name, ChangeSetName="same")
    stacks.create_change_set(StackName=name, ChangeSetName="more", TemplateBody=json.dumps({"Resources": {"Lines": log_group(f"/{name}/a", 3), "Two": log_group()}}))
    changes = {c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"]["Action"] for c in stacks.describe_change_set(StackName=name, ChangeSetName="more")["Changes"]}
    assert changes == {"Lines": "Modify", "Two": "Add"}
    assert {s["ChangeSetName"] for s in stacks.list_change_sets(StackName=name)["Summaries"]} == {"first", "same", "more"}
    stacks.delete_change_set(StackName=name, ChangeSetName="more")
    with refused("ChangeSetNotFound", 404):
        stacks.describe_change_set(StackName=name, ChangeSetName="more")


def test_templates_are_checked_before_anything_is_made(stacks, name):
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}
    cases = [
        ("{", "Template format error: JSON not well-formed. (line 1, column 1)"),
        ("just text", "Template format error: unsupported structure."),
        ("Resources: {}", "Template format error: At least one Resources member must be defined."),
        ("Resources: {A: {Type: 'AWS::No::Such'}}", "Template format error: Unrecognized resource types: [AWS::No::Such]"),
        ("Resources: {A: {Type: 'AWS::Logs::LogGroup', Properties: {LogGroupName: !Ref Nope}}}",
         "Template format error: Unresolved resource dependencies [Nope] in the Resources block of the template"),
        ("Resources: {A: {Type: 'AWS::Logs::LogGroup', DependsOn: B}, B: {Type: 'AWS::Logs::LogGroup', DependsOn: A}}",
         "Circular dependency between resources: [A, B]"),
        ("Parameters: {P: {Type: String}}\nResources: {A: {Type: 'AWS::Logs::LogGroup'}}", "Parameters: [P] must have values"),
        ("Transform: My::Macro\nResources: {A: {Type: 'AWS::Logs::LogGroup'}}", "No transform named My::Macro found."),
    ]
    for template, sentence in cases:
        with refused("ValidationError", 400) as info:
            stacks.create_stack(StackName=name, TemplateBody=template)
        assert info.value.response["Error"]["Message"] == sentence
    with refused("InsufficientCapabilitiesException", 400) as info:
        stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"A": role}}))
    assert info.value.response["Error"]["Message"] == "Requires capabilities : [CAPABILITY_IAM]"
    with refused("ValidationError", 400):
        stacks.create_stack(StackName="1bad_name", TemplateBody=json.dumps(QUEUE_LESS))
    with refused("ValidationError", 400):
        stacks.create_stack(StackName=name)
    with refused("NotImplemented", 501):
        stacks.create_stack(StackName=name, TemplateBody=json.dumps(QUEUE_LESS), TimeoutInMinutes=5)
    with refused("ValidationError", 400):
        stacks.describe_stacks(StackName=name)


def test_names_are_taken_once_and_protected_stacks_stay(stacks, name):
    create(stacks, name, {"Resources": {"A": log_group()}}, EnableTerminationProtection=True)
    with refused("AlreadyExistsException", 400) as info:
        stacks.create_stack(StackName=name, TemplateBody=json.dumps(QUEUE_LESS))
    assert info.value.response["Error"]["Message"] == f"Stack [{name}] already exists"
    with refused("ValidationError") as info:
        stacks.delete_stack(StackName=name)
    assert "cannot be deleted while TerminationProtection is enabled" in info.value.response["Error"]["Message"]
    stacks.update_termination_protection(StackName=name, EnableTerminationProtection=False)
    stacks.delete_stack(StackName=name)


def test_exports_in_use_stay(stacks, name, eventually):
    exported = {"Resources": {"A": log_group()}, "Outputs": {"O": {"Value": {"Ref": "A"}, "Export": {"Name": f"{name}-x"}}}}
    create(stacks, name, exported)
    create(stacks, name + "user", {"Resources": {"B": log_group({"Fn::Join": ["", [{"Fn::ImportValue": f"{name}-x"}, "-b"]]})}})
    assert stacks.list_imports(ExportName=f"{name}-x")["Imports"] == [name + "user"]
    stacks.delete_stack(StackName=name)
    assert settled(stacks, name, eventually)["StackStatus"] == "DELETE_FAILED"
    stacks.create_stack(StackName=name + "other", TemplateBody=json.dumps(exported))
    assert settled(stacks, name + "other", eventually)["StackStatus"] == "ROLLBACK_COMPLETE"


def test_retained_resources_stay(server, stacks, name):
    stack_id = create(stacks, name, {"Resources": {"A": {**log_group(f"/{name}/stays"), "DeletionPolicy": "Retain"}}})
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=stack_id, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400})
    assert server.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}/stays")["logGroups"]


def test_summaries_and_validation(stacks, name):
    template = "Transform: AWS::Serverless-2016-10-31\nParameters: {P: {Type: String, AllowedValues: [a, b]}}\nResources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: ./src, Handler: a.b, Runtime: python3.11}}}"
    validated = stacks.validate_template(TemplateBody=template)
    assert set(validated["Capabilities"]) == {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"} and validated["DeclaredTransforms"] == ["AWS::Serverless-2016-10-31"]
    summary = stacks.get_template_summary(TemplateBody=template)
    assert summary["Parameters"][0]["ParameterConstraints"]["AllowedValues"] == ["a", "b"] and "AWS::Lambda::Function" in summary["ResourceTypes"]


def test_a_stack_survives_kill_9_in_the_middle(private_server, name, eventually):
    server = private_server
    stacks = server.client("cloudformation")
    names = [f"/{name}/{n}" for n in range(60)]
    resources = {f"G{n}": {**log_group(group), **({"DependsOn": f"G{n - 1}"} if n else {})} for n, group in enumerate(names)}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    eventually(lambda: any(r["ResourceStatus"] == "CREATE_COMPLETE" for r in stacks.list_stack_resources(StackName=name)["StackResourceSummaries"]))
    server.kill()
    server.start()
    stacks = server.client("cloudformation")
    stack = settled(stacks, name, eventually)
    assert stack["StackStatus"] in ("CREATE_COMPLETE", "ROLLBACK_COMPLETE"), stack
    groups = server.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"/{name}/").build_full_result()["logGroups"]
    assert len(groups) == (60 if stack["StackStatus"] == "CREATE_COMPLETE" else 0)


def test_the_cli_deploys_a_packaged_application(server, name, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context):\n    return {'hello': event['name']}\n")
    (tmp_path / "template.yaml").write_text("""
Transform: AWS::Serverless-2016-10-31
Parameters: {Greeting: {Type: String, Default: hello}}
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: src/, Handler: app.handler, Runtime: python3.11}
  Rows: {Type: AWS::Serverless::SimpleTable, Properties: {PrimaryKey: {Name: day, Type: String}}}
Outputs:
  Function: {Value: !Ref Hello}
  Table: {Value: !Ref Rows}
""")
    server.client("s3").create_bucket(Bucket=name)
    packaged = tmp_path / "packaged.yaml"
    server.cli("cloudformation", "package", "--template-file", str(tmp_path / "template.yaml"), "--s3-bucket", name, "--output-template-file", str(packaged))
    deploy = ("cloudformation", "deploy", "--template-file", str(packaged), "--stack-name", name, "--capabilities", "CAPABILITY_IAM")
    assert "Successfully created/updated stack" in server.cli(*deploy)
    outputs = {o["OutputKey"]: o["OutputValue"] for o in server.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    answer = server.client("lambda").invoke(FunctionName=outputs["Function"], Payload=b'{"name": "you"}')
    assert json.loads(answer["Payload"].read()) == {"hello": "you"}
    keys = server.client("dynamodb").describe_table(TableName=outputs["Table"])["Table"]["KeySchema"]
    assert keys == [{"AttributeName": "day", "KeyType": "HASH"}]
    server.cli(*deploy, "--no-fail-on-empty-changeset")
