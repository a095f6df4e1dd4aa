"""Lambda's operations one by one, errors included."""

import json

import pytest
from conftest import TRUST
from support import function, refused, table, zipped

CODE = zipped(app__py="import os\ndef handler(event, context):\n    return os.environ.get('WHO', 'nobody')\n")


@pytest.fixture
def functions(server, name):
    function(server, name, CODE)
    return server.client("lambda")


def test_configuration_and_code_change(functions, name):
    updated = functions.update_function_configuration(FunctionName=name, Environment={"Variables": {"WHO": "ann"}}, MemorySize=256, Timeout=7, Description="d")
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert (updated["MemorySize"], updated["Timeout"], updated["Description"]) == (256, 7, "d")
    assert json.loads(functions.invoke(FunctionName=name)["Payload"].read()) == "ann"
    before = functions.get_function(FunctionName=name)["Configuration"]["CodeSha256"]
    functions.update_function_code(FunctionName=name, ZipFile=zipped(app__py="def handler(event, context):\n    return 2\n"))
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert functions.get_function(FunctionName=name)["Configuration"]["CodeSha256"] != before
    assert json.loads(functions.invoke(FunctionName=name)["Payload"].read()) == 2
    for arguments in [{"MemorySize": 20_000}, {"Timeout": 901}, {"Runtime": "cobol85"}]:
        with pytest.raises(functions.exceptions.ClientError) as info:
            functions.update_function_configuration(FunctionName=name, **arguments)
        assert info.value.response["Error"]["Code"] in ("ValidationException", "InvalidParameterValueException")
    with refused("InvalidParameterValueException", 400):
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": {"AWS_REGION": "x"}})


def test_code_from_s3(server, functions, name):
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="code.zip", Body=zipped(app__py="def handler(event, context):\n    return 's3'\n"))
    functions.update_function_code(FunctionName=name, S3Bucket=name, S3Key="code.zip")
    assert json.loads(functions.invoke(FunctionName=name)["Payload"].read()) == "s3"
    with refused("InvalidParameterValueException", 400):
        functions.update_function_code(FunctionName=name, S3Bucket=name, S3Key="nothing.zip")


def test_creation_is_checked(server, functions, name):
    role = functions.get_function(FunctionName=name)["Configuration"]["Role"]
    with refused("ResourceConflictException", 409) as info:
        functions.create_function(FunctionName=name, Runtime="python3.11", Handler="a.b", Role=role, Code={"ZipFile": CODE})
    assert info.value.response["Error"]["Message"] == f"Function already exist: {name}"
    with refused("ValidationException", 400):
        functions.create_function(FunctionName="bad name!", Runtime="python3.11", Handler="a.b", Role=role, Code={"ZipFile": CODE})


def test_lists_page(server, functions, name):
    for number in range(3):
        function(server, f"{name}-{number}", CODE)
    pages = functions.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    names = [one["FunctionName"] for page in pages for one in page["Functions"]]
    assert {name, f"{name}-0", f"{name}-1", f"{name}-2"} <= set(names) and len(names) == len(set(names))


def test_versions_and_aliases(functions, name):
    functions.publish_version(FunctionName=name, Description="one")
    assert [v["Version"] for v in functions.list_versions_by_function(FunctionName=name)["Versions"]] == ["$LATEST", "1"]
    alias = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert alias["AliasArn"].endswith(f":{name}:live")
    with refused("ResourceConflictException", 409):
        functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    assert functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "$LATEST"
    assert [a["Name"] for a in functions.list_aliases(FunctionName=name)["Aliases"]] == ["live"]
    functions.delete_alias(FunctionName=name, Name="live")
    with refused("ResourceNotFoundException", 404):
        functions.get_alias(FunctionName=name, Name="live")
    functions.delete_function(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        functions.get_function(FunctionName=name)


def test_weighted_aliases(functions, name):
    functions.publish_version(FunctionName=name)
    functions.update_function_configuration(FunctionName=name, Description="another")
    functions.publish_version(FunctionName=name)
    for wrong in ({"1": 0.5}, {"$LATEST": 0.5}, {"2": 1.5}):
        with pytest.raises(functions.exceptions.ClientError) as caught:
            functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": wrong})
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400, wrong
    alias = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    assert alias["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}
    executed = lambda: {functions.invoke(FunctionName=name, Qualifier="live")["ExecutedVersion"] for _ in range(40)}
    assert executed() == {"1", "2"}
    functions.update_alias(FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    assert executed() == {"2"}
    functions.update_alias(FunctionName=name, Name="live", RoutingConfig={})
    assert executed() == {"1"} and "RoutingConfig" not in functions.get_alias(FunctionName=name, Name="live")


def test_permissions(functions, name):
    functions.add_permission(FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", SourceAccount="000000000000")
    policy = json.loads(functions.get_policy(FunctionName=name)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": "s3.amazonaws.com"}
    with refused("ResourceConflictException", 409):
        functions.add_permission(FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    functions.remove_permission(FunctionName=name, StatementId="s3")
    with refused("ResourceNotFoundException", 404):
        functions.get_policy(FunctionName=name)


def test_reserved_concurrency_throttles(functions, name):
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 0
    with refused("TooManyRequestsException", 429):
        functions.invoke(FunctionName=name)
    functions.delete_function_concurrency(FunctionName=name)
    assert functions.invoke(FunctionName=name)["StatusCode"] == 200


def test_asynchronous_settings(functions, name):
    functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60)
    config = functions.get_function_event_invoke_config(FunctionName=name)
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (1, 60)
    functions.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert len(functions.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]) == 1
    functions.delete_function_event_invoke_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        functions.get_function_event_invoke_config(FunctionName=name)


def test_tags(functions, name):
    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    functions.tag_resource(Resource=arn, Tags={"team": "sales"})
    assert functions.list_tags(Resource=arn)["Tags"] == {"team": "sales"}
    functions.untag_resource(Resource=arn, TagKeys=["team"])
    assert functions.list_tags(Resource=arn)["Tags"] == {}


def test_invocations_are_checked(functions, name):
    assert functions.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    with refused("ValidationException", 400):
        functions.invoke(FunctionName=name, Qualifier="no such!")
    with refused("ResourceNotFoundException", 404):
        functions.invoke(FunctionName=name, Qualifier="7")


def test_mappings_live(server, functions, name, eventually):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    made = functions.create_event_source_mapping(EventSourceArn=stream, FunctionName=name, StartingPosition="LATEST", BatchSize=10, BisectBatchOnFunctionError=True, MaximumRetryAttempts=2)
    eventually(lambda: functions.get_event_source_mapping(UUID=made["UUID"])["State"] == "Enabled")
    assert [m["UUID"] for m in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]] == [made["UUID"]]
    assert functions.update_event_source_mapping(UUID=made["UUID"], BatchSize=20)["BatchSize"] == 20
    with refused("ResourceConflictException", 409):
        functions.create_event_source_mapping(EventSourceArn=stream, FunctionName=name, StartingPosition="LATEST")
    functions.delete_event_source_mapping(UUID=made["UUID"])
    eventually(lambda: not functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"])
    with refused("InvalidParameterValueException", 400):
        functions.create_event_source_mapping(EventSourceArn=stream, FunctionName=name)


POISON = """
import json, os, boto3
seen = boto3.resource("dynamodb").Table(os.environ["SEEN"])
def handler(event, context):
    for record in event["Records"]:
        key = record["dynamodb"]["Keys"]["id"]["S"]
        if key == "poison":
            raise ValueError("poison")
        seen.put_item(Item={"id": key})
"""


def test_a_poisoned_batch_is_bisected_and_passed_over(server, name, eventually):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    table(server, name + "-seen")
    function(server, name, zipped(app__py=POISON), Environment={"Variables": {"SEEN": name + "-seen"}})
    for key in ["a", "b", "poison", "c", "d"]:
        tables.put_item(TableName=name, Item={"id": {"S": key}})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    server.client("lambda").create_event_source_mapping(EventSourceArn=stream, FunctionName=name, StartingPosition="TRIM_HORIZON",
                                                        BisectBatchOnFunctionError=True, MaximumRetryAttempts=1)
    rows = lambda: {row["id"]["S"] for row in tables.scan(TableName=name + "-seen")["Items"]}
    eventually(lambda: rows() == {"a", "b", "c", "d"}, seconds=40)


def test_filters_keep_records_away(server, name, eventually):
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    table(server, name + "-seen")
    function(server, name, zipped(app__py=POISON), Environment={"Variables": {"SEEN": name + "-seen"}})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    pattern = json.dumps({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": [{"prefix": "want"}]}}}})
    server.client("lambda").create_event_source_mapping(EventSourceArn=stream, FunctionName=name, StartingPosition="TRIM_HORIZON",
                                                        FilterCriteria={"Filters": [{"Pattern": pattern}]})
    tables.put_item(TableName=name, Item={"id": {"S": "poison"}, "kind": {"S": "other"}})
    tables.put_item(TableName=name, Item={"id": {"S": "good"}, "kind": {"S": "wanted"}})
    eventually(lambda: tables.scan(TableName=name + "-seen")["Items"] == [{"id": {"S": "good"}}])


def test_trust_is_a_document(server, name):
    with refused("MalformedPolicyDocument", 400):
        server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{")
    assert json.loads(TRUST)["Statement"]
