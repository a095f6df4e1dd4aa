"""Lambda's API around functions: what answers carry, what is refused and in which words, quotas, states as waiters expect them."""

import base64
import hashlib
import json
import random
import re
import socket

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import Server
from support import function, refused, zipped

CODE = zipped(app__py="def handler(event, context):\n    return event\n")
ROLE = "arn:aws:iam::000000000000:role/any"


@pytest.fixture
def functions(server):
    # The SDK sends what it is told: what it would refuse by itself reaches the platform too.
    return boto3.client("lambda", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test",
                        config=Config(parameter_validation=False, retries={"max_attempts": 0}))


def create(functions, name, **more):
    return functions.create_function(**{"FunctionName": name, "Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE,
                                        "Code": {"ZipFile": CODE}, **more})


def without(answer, *names):
    return {key: value for key, value in answer.items() if key not in ("ResponseMetadata", *names)}


def test_answers_carry_what_lambdas_carry(functions, name):
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    made = create(functions, name)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", made["LastModified"])
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", made["RuntimeVersionConfig"]["RuntimeVersionArn"])
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["RevisionId"])
    always = {
        "FunctionName": name, "FunctionArn": arn, "Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "CodeSize": len(CODE),
        "Description": "", "Timeout": 3, "MemorySize": 128, "CodeSha256": base64.b64encode(hashlib.sha256(CODE).digest()).decode(),
        "Version": "$LATEST", "TracingConfig": {"Mode": "PassThrough"}, "PackageType": "Zip", "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512}, "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }
    new = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    changing = ("LastModified", "RuntimeVersionConfig", "RevisionId")
    assert without(made, *changing) == {**always, **new}
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    functions.get_waiter("function_exists").wait(FunctionName=name)
    assert without(functions.get_function_configuration(FunctionName=name), *changing) == {**always, "State": "Active", "LastUpdateStatus": "Successful"}
    got = functions.get_function(FunctionName=name)
    assert got["Code"]["RepositoryType"] == "S3" and got["Code"]["Location"].startswith("http") and "Tags" not in got and "Concurrency" not in got


def test_states_change_as_waiters_expect(functions, name):
    create(functions, name)
    functions.get_waiter("function_active").wait(FunctionName=name)
    changed = functions.update_function_configuration(FunctionName=name, Timeout=5)
    assert (changed["State"], changed["LastUpdateStatus"], changed["LastUpdateStatusReasonCode"]) == ("Active", "InProgress", "Creating")
    functions.get_waiter("function_updated").wait(FunctionName=name)
    changed = functions.update_function_code(FunctionName=name, ZipFile=CODE, Publish=True)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    functions.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=changed["Version"])
    assert changed["FunctionArn"].endswith(f":{name}:1")


def test_changes_name_the_revision_they_are_of(functions, name):
    create(functions, name)
    old = functions.get_function_configuration(FunctionName=name)["RevisionId"]
    new = functions.update_function_configuration(FunctionName=name, Description="new", RevisionId=old)["RevisionId"]
    assert new != old
    for change in [lambda: functions.update_function_configuration(FunctionName=name, RevisionId=old),
                   lambda: functions.update_function_code(FunctionName=name, ZipFile=CODE, RevisionId=old),
                   lambda: functions.publish_version(FunctionName=name, RevisionId=old),
                   lambda: functions.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*", RevisionId=old)]:
        with refused("PreconditionFailedException", 412):
            change()
    dry = functions.update_function_code(FunctionName=name, ZipFile=zipped(other__py="x = 1\n"), DryRun=True)
    assert dry["CodeSha256"] != functions.get_function_configuration(FunctionName=name)["CodeSha256"]


UNABLE = "Lambda was unable to configure your environment variables because the environment variables you have provided"
ENDED = "The runtime parameter of {} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."


@pytest.mark.parametrize("wanted, code, message", [
    ({"Environment": {"Variables": {"AB": "x" * 4090}}}, "InvalidParameterValueException",
     UNABLE + ' exceeded the 4KB limit. String measured: {"AB":"' + "x" * 4090 + '"}'),
    ({"Environment": {"Variables": {"AWS_REGION": "x", "LAMBDA_TASK_ROOT": "y", "MINE": "z"}}}, "InvalidParameterValueException",
     UNABLE + " contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT"),
    ({"Environment": {"Variables": {"1A": "x"}}}, "ValidationException", None),
    ({"Timeout": 901}, "ValidationException",
     "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"),
    ({"Timeout": 0}, "ValidationException", None),
    ({"MemorySize": 127}, "ValidationException", None),
    ({"MemorySize": 10241}, "InvalidParameterValueException",
     "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"),
    ({"EphemeralStorage": {"Size": 511}}, "ValidationException", None),
    ({"EphemeralStorage": {"Size": 10241}}, "ValidationException", None),
    ({"Runtime": "python3.7"}, "InvalidParameterValueException", ENDED.format("python3.7")),
    ({"Runtime": "nodejs14.x"}, "InvalidParameterValueException", ENDED.format("nodejs14.x")),
    ({"Runtime": "cobol"}, "ValidationException", None),
    ({"Handler": "has space.handler"}, "ValidationException", None),
    ({"Role": "nobody"}, "ValidationException", None),
    ({"Architectures": ["mips"]}, "ValidationException", None),
    ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again."),
    ({"Code": {}}, "InvalidParameterValueException", None),
    ({"Code": {"ZipFile": CODE, "S3Bucket": "other", "S3Key": "key"}}, "InvalidParameterValueException",
     "Please do not provide other FunctionCode parameters when providing a ZipFile."),
    ({"Code": {"S3Bucket": "none-such-bucket", "S3Key": "key"}}, "InvalidParameterValueException",
     "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist"),
    ({"Layers": [f"arn:aws:lambda:us-east-1:000000000000:layer:l{n}:1" for n in range(6)]}, "InvalidParameterValueException", None),
    ({"LoggingConfig": {"LogFormat": "Text", "ApplicationLogLevel": "DEBUG"}}, "InvalidParameterValueException", None),
    ({"Tags": {f"k{n}": "v" for n in range(51)}}, "InvalidParameterValueException", None),
    ({"PackageType": "Image", "Code": {"ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/app:1"}}, "NotImplemented", None),
    ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "NotImplemented", "Tidemill does not implement Lambda's VpcConfig yet."),
    ({"KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1"}, "NotImplemented", "Tidemill does not implement Lambda's KMSKeyArn yet."),
    ({"FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0", "LocalMountPath": "/mnt/files"}]},
     "NotImplemented", "Tidemill does not implement Lambda's FileSystemConfigs yet."),
    ({"ImageConfig": {"Command": ["app.handler"]}}, "NotImplemented", "Tidemill does not implement Lambda's ImageConfig yet."),
    ({"DurableConfig": {"ExecutionTimeout": 60}}, "NotImplemented", "Tidemill does not implement Lambda's DurableConfig yet."),
    ({"Code": {"ZipFile": CODE}, "PublishTo": "LATEST_PUBLISHED"}, "NotImplemented", "Tidemill does not implement Lambda's PublishTo yet."),
    ({"DeadLetterConfig": {"TargetArn": "arn:aws:ec2:us-east-1:000000000000:x"}}, "InvalidParameterValueException", None),
    ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "InvalidParameterValueException", "python3.11 is not supported for SnapStart enabled functions."),
    ({"CodeSigningConfigArn": "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdefg"}, "NotImplemented", None),
])
def test_what_cannot_be_is_refused_and_changes_nothing(functions, name, wanted, code, message):
    with pytest.raises(ClientError) as info:
        create(functions, name, **wanted)
    error = info.value.response["Error"]
    assert error["Code"] == code, error
    assert message is None or error["Message"] == message
    with refused("ResourceNotFoundException", 404):
        functions.get_function(FunctionName=name)
    if "Code" in wanted or {"PackageType", "Tags", "Architectures", "CodeSigningConfigArn"} & set(wanted):
        return
    # What is refused for a new function is refused for one that is there.
    create(functions, name)
    before = functions.get_function_configuration(FunctionName=name)
    with pytest.raises(ClientError) as info:
        functions.update_function_configuration(FunctionName=name, **wanted)
    assert info.value.response["Error"]["Code"] == code
    assert without(functions.get_function_configuration(FunctionName=name)) == without(before)


def test_runtimes_that_this_machine_lacks_are_named(functions, name):
    for runtime in ["ruby3.4", "dotnet8", "python3.14"]:
        try:
            create(functions, f"{name}{runtime[:4]}", Runtime=runtime)
        except ClientError as error:
            said = error.response["Error"]
            assert said["Code"] == "InvalidParameterValueException" and runtime in said["Message"], said


def test_code_of_more_than_50_mb_comes_from_s3(server, functions, name):
    large = zipped(app__py="def handler(event, context):\n    return 'large'\n", data__bin=random.Random(1).randbytes(52 << 20))
    with pytest.raises(ClientError) as info:
        create(functions, name, Code={"ZipFile": large})
    assert info.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    objects = server.client("s3")
    objects.create_bucket(Bucket=name)
    objects.put_object(Bucket=name, Key="code.zip", Body=large)
    create(functions, name, Code={"S3Bucket": name, "S3Key": "code.zip"}, Timeout=20)
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    assert json.loads(functions.invoke(FunctionName=name)["Payload"].read()) == "large"


def test_names_have_many_forms(functions, name):
    create(functions, name, Publish=True)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    home = "arn:aws:lambda:us-east-1:000000000000:function"
    for form, arn in [(name, name), (f"000000000000:function:{name}", name), (f"{home}:{name}", name), (f"{name}:1", f"{name}:1"),
                      (f"{home}:{name}:live", f"{name}:live"), (f"{name}:$LATEST", f"{name}:$LATEST")]:
        assert functions.get_function_configuration(FunctionName=form)["FunctionArn"] == f"{home}:{arn}", form
    with refused("InvalidParameterValueException", 400):
        functions.get_function(FunctionName=f"{name}:1", Qualifier="2")
    for form in [f"{name}:7", f"{name}:other"]:
        with refused("ResourceNotFoundException", 404) as info:
            functions.get_function(FunctionName=form)
        assert info.value.response["Error"]["Message"] == f"Function not found: {home}:{form}"


def test_no_code_is_signed(functions, name):
    create(functions, name)
    assert functions.get_function_code_signing_config(FunctionName=name)["FunctionName"] == name
    assert functions.list_code_signing_configs()["CodeSigningConfigs"] == []
    functions.delete_function_code_signing_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        functions.get_function_code_signing_config(FunctionName=f"{name}-none")
    with refused("NotImplemented", 501):
        functions.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/1"]})


def test_permissions_carry_their_conditions(functions, name):
    create(functions, name)
    functions.add_permission(FunctionName=name, StatementId="url", Action="lambda:InvokeFunction", Principal="*", InvokedViaFunctionUrl=True)
    functions.add_permission(FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
                             SourceArn="arn:aws:s3:::b", SourceAccount="000000000000")
    statements = {s["Sid"]: s for s in json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]}
    assert statements["url"]["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    assert statements["s3"]["Condition"] == {"StringEquals": {"AWS:SourceAccount": "000000000000"}, "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}


def test_quotas_are_lambdas_and_can_be_changed(functions, tmp_path, name):
    assert {key: functions.get_account_settings()["AccountLimit"][key] for key in ["TotalCodeSize", "CodeSizeUnzipped", "CodeSizeZipped", "ConcurrentExecutions"]} == {
        "TotalCodeSize": 80530636800, "CodeSizeUnzipped": 262144000, "CodeSizeZipped": 52428800, "ConcurrentExecutions": 1000}
    server = Server(tmp_path / "store", "--lambda-concurrency", "101", "--lambda-code-storage-mb", "1").start()
    try:
        small = server.client("lambda")
        function(server, name, CODE)
        settings = small.get_account_settings()
        assert settings["AccountLimit"]["ConcurrentExecutions"] == 101 and settings["AccountLimit"]["TotalCodeSize"] == 1 << 20
        assert settings["AccountUsage"] == {"FunctionCount": 1, "TotalCodeSize": len(CODE)}
        small.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        assert small.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
        with refused("InvalidParameterValueException", 400):
            small.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
        large = zipped(app__py="x = 1\n", data__bin=bytes(1 << 20))
        for ask in [lambda: create(small, f"{name}2", Code={"ZipFile": large}), lambda: small.update_function_code(FunctionName=name, ZipFile=large),
                    lambda: small.publish_layer_version(LayerName=name, Content={"ZipFile": large})]:
            with refused("CodeStorageExceededException", 400):
                ask()
    finally:
        server.stop()


def test_functions_may_be_kept_from_every_network(server, tmp_path, name):
    """Among them that of this machine, where the test listens."""
    code = zipped(app__py="""
import boto3, socket
def handler(port, context):
    try:
        socket.create_connection(("host.tidemill.internal", port), 3).close()
        reached = True
    except OSError:
        reached = False
    return [reached, len(boto3.client("sts").get_caller_identity()["Account"])]
""")
    closed = Server(tmp_path / "store", "--lambda-network", "none").start()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        try:
            for place, reached in ((server, True), (closed, False)):
                function(place, name, code, Timeout=20)
                answer = place.client("lambda").invoke(FunctionName=name, Payload=str(listening.getsockname()[1]))
                assert json.load(answer["Payload"]) == [reached, 12]
        finally:
            closed.stop()


def test_operations_of_other_worlds_are_refused_by_name(functions, name):
    create(functions, name)
    asks = {
        "CreateCapacityProvider": lambda: functions.create_capacity_provider(
            CapacityProviderName=name, VpcConfig={"SubnetIds": ["s"], "SecurityGroupIds": ["g"]},
            PermissionsConfig={"CapacityProviderOperatorRoleArn": ROLE}),
        "ListDurableExecutionsByFunction": lambda: functions.list_durable_executions_by_function(FunctionName=name),
        "GetFunctionScalingConfig": lambda: functions.get_function_scaling_config(FunctionName=name, Qualifier="1"),
    }
    for operation, ask in asks.items():
        with refused("NotImplemented", 501) as info:
            ask()
        assert operation in info.value.response["Error"]["Message"]
