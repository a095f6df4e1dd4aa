"""Commands against a platform that verifies signatures."""

import json
import os
import subprocess

import pytest
from conftest import BINARY, TRUST, Server
from support import zipped


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that checks signatures, with a function, and the keys of its user."""
    data = tmp_path_factory.mktemp("guarded") / "store"
    server = Server(data).start()
    iam, functions = server.client("iam"), server.client("lambda")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    code = zipped(app__py="import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Arn']\n")
    functions.create_function(FunctionName="who", Runtime="python3.11", Handler="app.handler", Role=role, Code={"ZipFile": code}, Timeout=10)
    server.stop()
    server = Server(data, "--auth", "enforce").start()
    yield server, key
    server.stop()


def tidemill(server, *arguments, home, code=0, **keys):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment.update({"NO_COLOR": "1", "AWS_ENDPOINT_URL": server.endpoint, "HOME": str(home), **keys})
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_keys_of_the_environment_sign(guarded, tmp_path):
    server, key = guarded
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    assert "assumed-role/worker/who" in tidemill(server, "invoke", "who", "{}", home=tmp_path, **keys)
    assert "START RequestId" in tidemill(server, "logs", "who", home=tmp_path, **keys)
    wrong = tidemill(server, "invoke", "who", "{}", home=tmp_path, code=1, **{**keys, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "signature" in wrong.lower()
    assert "AWS_ACCESS_KEY_ID" in tidemill(server, "invoke", "who", "{}", home=tmp_path, code=1), "what to set is said"


def test_profiles_sign(guarded, tmp_path):
    server, key = guarded
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(f"[ann]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n")
    assert "assumed-role/worker/who" in tidemill(server, "invoke", "who", "{}", home=tmp_path, AWS_PROFILE="ann")
    assert "AWS_PROFILE is bob" in tidemill(server, "invoke", "who", "{}", home=tmp_path, code=1, AWS_PROFILE="bob")


def test_an_application_is_deployed(guarded, tmp_path):
    server, key = guarded
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 'signed'\n")
    (tmp_path / "template.yaml").write_text("Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {FunctionName: signed, CodeUri: app.py, Handler: app.handler, Runtime: python3.11}\n")
    assert json.loads(tidemill(server, "--output", "json", "deploy", tmp_path, "--stack-name", "signed", home=tmp_path, **keys))["changed"]
    assert '"signed"' in tidemill(server, "invoke", "signed", "{}", home=tmp_path, **keys)
