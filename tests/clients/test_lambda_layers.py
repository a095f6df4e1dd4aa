"""Layers: versions, what functions find of them under /opt, who may use them."""

import base64
import hashlib
import json

from conftest import TRUST
from support import function, refused, zipped

USES = zipped(app__py="import shared\ndef handler(event, context):\n    return [shared.WHO, open('/opt/note.txt').read()]\n")


def layer(server, name, text, **more):
    content = {"ZipFile": text if isinstance(text, bytes) else zipped(**text)}
    return server.client("lambda").publish_layer_version(LayerName=name, Content=content, **more)


def of_python(tmp, who):
    import io
    import zipfile
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/shared.py", f"WHO = '{who}'\n")
        archive.writestr("note.txt", who)
    return buffer.getvalue()


def invoke(server, name):
    answer = server.client("lambda").invoke(FunctionName=name)
    return json.loads(answer["Payload"].read())


def test_versions_are_published_found_and_deleted(server, name):
    functions = server.client("lambda")
    code = zipped(a__txt="one")
    first = layer(server, name, code, Description="first", CompatibleRuntimes=["python3.11"], LicenseInfo="MIT")
    second = layer(server, name, {"a__txt": "two"}, CompatibleArchitectures=["x86_64"])
    assert (first["Version"], second["Version"]) == (1, 2)
    assert first["LayerVersionArn"] == f"{first['LayerArn']}:1" and first["LayerArn"].endswith(f":layer:{name}")
    assert first["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert first["Content"]["CodeSize"] == len(code)
    got = functions.get_layer_version(LayerName=name, VersionNumber=1)
    assert got["Description"] == "first" and got["CompatibleRuntimes"] == ["python3.11"] and got["LicenseInfo"] == "MIT"
    assert functions.get_layer_version_by_arn(Arn=second["LayerVersionArn"])["Version"] == 2
    versions = functions.list_layer_versions(LayerName=name)["LayerVersions"]
    assert [version["Version"] for version in versions] == [2, 1]
    only = functions.list_layer_versions(LayerName=name, CompatibleRuntime="python3.11")["LayerVersions"]
    assert [version["Version"] for version in only] == [1]
    listed = {each["LayerName"]: each for page in functions.get_paginator("list_layers").paginate() for each in page["Layers"]}
    assert listed[name]["LatestMatchingVersion"]["Version"] == 2
    functions.delete_layer_version(LayerName=name, VersionNumber=2)
    functions.delete_layer_version(LayerName=name, VersionNumber=2)
    with refused("ResourceNotFoundException", 404):
        functions.get_layer_version(LayerName=name, VersionNumber=2)
    assert layer(server, name, {"a__txt": "three"})["Version"] == 3
    assert functions.list_layer_versions(LayerName=name + "-none")["LayerVersions"] == []


def test_functions_find_layers_and_later_ones_win(server, name, tmp_path):
    functions = server.client("lambda")
    one = layer(server, name + "-one", of_python(tmp_path, "one"))["LayerVersionArn"]
    two = layer(server, name + "-two", of_python(tmp_path, "two"))["LayerVersionArn"]
    function(server, name, USES, Layers=[one, two])
    assert invoke(server, name) == ["two", "two"]
    assert [used["Arn"] for used in functions.get_function_configuration(FunctionName=name)["Layers"]] == [one, two]
    functions.update_function_configuration(FunctionName=name, Layers=[two, one])
    assert invoke(server, name) == ["one", "one"]
    functions.delete_layer_version(LayerName=name + "-one", VersionNumber=1)
    assert invoke(server, name) == ["one", "one"]
    functions.update_function_configuration(FunctionName=name, Layers=[])
    assert "Layers" not in functions.get_function_configuration(FunctionName=name)
    assert invoke(server, name)["errorType"] == "Runtime.ImportModuleError"


def test_node_finds_modules_of_layers(server, name):
    import io
    import zipfile
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("nodejs/node_modules/shared/index.js", "module.exports = 'from the layer';")
    arn = layer(server, name, buffer.getvalue())["LayerVersionArn"]
    code = zipped(index__js="const shared = require('shared'); exports.handler = async () => shared;")
    function(server, name, code, runtime="nodejs20.x", handler="index.handler", Layers=[arn])
    assert invoke(server, name) == "from the layer"


def test_layers_that_cannot_be_used_are_refused(server, name):
    arns = [layer(server, f"{name}-{n}", {"a__txt": "x"})["LayerVersionArn"] for n in range(6)]
    with refused("InvalidParameterValueException", 400) as raised:
        function(server, name, USES, Layers=arns)
    assert "more than 5 layers" in str(raised.value)
    again = layer(server, f"{name}-0", {"a__txt": "y"})["LayerVersionArn"]
    functions, role = server.client("lambda"), f"arn:aws:iam::000000000000:role/{name}"
    make = lambda *layers: functions.create_function(
        FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=role, Code={"ZipFile": USES}, Layers=list(layers))
    with refused("InvalidParameterValueException", 400) as raised:
        make(arns[0], again)
    assert "Two different versions of the same layer" in str(raised.value)
    with refused("InvalidParameterValueException", 400) as raised:
        make(arns[0][:-1] + "9")
    assert f"Layer version {arns[0][:-1]}9 does not exist." in str(raised.value)
    with refused("ResourceNotFoundException", 404):
        functions.get_function(FunctionName=name)


def test_too_much_code_is_refused(server, name):
    import io
    import zipfile
    arns = []
    for n in range(2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(140 << 20))
        arns.append(layer(server, f"{name}-{n}", buffer.getvalue())["LayerVersionArn"])
    with refused("InvalidParameterValueException", 400) as raised:
        function(server, name, USES, Layers=arns)
    assert "combined with layers exceeds the maximum allowed size of 262144000 bytes" in str(raised.value)


def test_policies_say_who_else_may_use_a_layer(server, name):
    functions, stranger = server.client("lambda"), server.client("lambda", key="111111111111")
    arn = layer(server, name, {"a__txt": "x"})["LayerVersionArn"]
    with refused("AccessDeniedException", 403):
        stranger.get_layer_version_by_arn(Arn=arn)
    with refused("ResourceNotFoundException", 404):
        functions.get_layer_version_policy(LayerName=name, VersionNumber=1)
    added = functions.add_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="other",
                                                   Action="lambda:GetLayerVersion", Principal="111111111111")
    assert json.loads(added["Statement"])["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    assert stranger.get_layer_version_by_arn(Arn=arn)["Version"] == 1
    with refused("ResourceConflictException", 409):
        functions.add_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="other",
                                               Action="lambda:GetLayerVersion", Principal="*")
    policy = functions.get_layer_version_policy(LayerName=name, VersionNumber=1)
    assert json.loads(policy["Policy"])["Statement"][0]["Resource"] == arn and policy["RevisionId"] == added["RevisionId"]
    with refused("PreconditionFailedException", 412):
        functions.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="other", RevisionId="old")
    functions.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="other")
    with refused("ResourceNotFoundException", 404):
        functions.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="other")


def test_layers_survive_a_kill(private_server, name, tmp_path):
    arn = layer(private_server, name, of_python(tmp_path, "kept"))["LayerVersionArn"]
    function(private_server, name, USES, Layers=[arn])
    private_server.kill()
    private_server.start()
    assert invoke(private_server, name) == ["kept", "kept"]


def test_the_aws_cli_publishes(server, name, tmp_path):
    (tmp_path / "layer.zip").write_bytes(zipped(a__txt="x"))
    made = json.loads(server.cli("lambda", "publish-layer-version", "--layer-name", name, "--zip-file", f"fileb://{tmp_path}/layer.zip"))
    assert made["Version"] == 1


def test_uploaded_code_can_be_fetched(server, name):
    import urllib.error
    import urllib.request
    code = zipped(a__txt="x")
    made = layer(server, name, code)
    assert urllib.request.urlopen(made["Content"]["Location"], timeout=10).read() == code
    function(server, name, USES)
    location = server.client("lambda").get_function(FunctionName=name)["Code"]["Location"]
    assert urllib.request.urlopen(location, timeout=10).read() == USES
    try:
        urllib.request.urlopen(location[:-4] + "0000", timeout=10)
    except urllib.error.HTTPError as error:
        assert error.code == 404


def test_a_stack_makes_a_layer_an_address_and_a_mapping(server, name, eventually, tmp_path):
    import http.client
    stacks, objects = server.client("cloudformation"), server.client("s3")
    objects.create_bucket(Bucket=name)
    objects.put_object(Bucket=name, Key="layer.zip", Body=of_python(tmp_path, "stack"))
    objects.put_object(Bucket=name, Key="code.zip", Body=USES)
    template = {
        "Resources": {
            "Shared": {"Type": "AWS::Lambda::LayerVersion",
                       "Properties": {"LayerName": name, "Content": {"S3Bucket": name, "S3Key": "layer.zip"}, "CompatibleRuntimes": ["python3.11"]}},
            "Open": {"Type": "AWS::Lambda::LayerVersionPermission",
                     "Properties": {"LayerVersionArn": {"Ref": "Shared"}, "Action": "lambda:GetLayerVersion", "Principal": "*"}},
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": json.loads(TRUST)}},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": {
                "Runtime": "python3.11", "Handler": "app.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Layers": [{"Ref": "Shared"}],
                "Code": {"S3Bucket": name, "S3Key": "code.zip"}}},
            "Address": {"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": {"Ref": "Function"}, "AuthType": "NONE"}},
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
                "FunctionName": {"Ref": "Function"}, "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                "FunctionResponseTypes": ["ReportBatchItemFailures"], "ScalingConfig": {"MaximumConcurrency": 3}}},
        },
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Address", "FunctionUrl"]}}, "Mapping": {"Value": {"Ref": "Mapping"}}},
    }

    def outputs(stack):
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def settled():
        stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
        return not stack["StackStatus"].endswith("_IN_PROGRESS") and stack

    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    stack = eventually(settled)
    assert stack["StackStatus"] == "CREATE_COMPLETE", [e.get("ResourceStatusReason") for e in stacks.describe_stack_events(StackName=name)["StackEvents"]]
    made = outputs(stack)
    host, port = server.endpoint.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", "/", headers={"Host": made["Url"].removeprefix("http://").rstrip("/")})
    assert json.loads(connection.getresponse().read()) == ["stack", "stack"]
    mapping = server.client("lambda").get_event_source_mapping(UUID=made["Mapping"])
    assert mapping["BatchSize"] == 10 and mapping["ScalingConfig"] == {"MaximumConcurrency": 3}
    template["Resources"]["Mapping"]["Properties"]["BatchSize"] = 5
    template["Resources"]["Address"]["Properties"]["AuthType"] = "AWS_IAM"
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    stack = eventually(settled)
    assert stack["StackStatus"] == "UPDATE_COMPLETE" and outputs(stack) == made
    assert server.client("lambda").get_event_source_mapping(UUID=made["Mapping"])["BatchSize"] == 5
    stacks.delete_stack(StackName=name)
    eventually(lambda: server.client("lambda").list_layer_versions(LayerName=name)["LayerVersions"] == [])
