"""`tidemill deploy` builds what a template needs, once per set of inputs, and reads `samconfig.toml`."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import BINARY

RUNTIME = f"python3.{sys.version_info.minor}"


class App:
    """An application in a folder, deployed to the shared server."""

    def __init__(self, server, folder, name):
        self.server, self.folder, self.name = server, folder, name

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def template(self, properties, metadata="", more=""):
        self.write("template.yaml", f"""
Transform: AWS::Serverless-2016-10-31
Parameters: {{Word: {{Type: String, Default: none}}}}
Resources:
  Built:
    Type: AWS::Serverless::Function
    {metadata}
    Properties: {{FunctionName: {self.name}, CodeUri: src/, {properties}, Environment: {{Variables: {{WORD: !Ref Word}}}}}}
{more}""")

    def run(self, *arguments, code=0):
        environment = {**os.environ, "NO_COLOR": "1", "AWS_ENDPOINT_URL": self.server.endpoint, "XDG_CACHE_HOME": str(self.folder.parent / "cache")}
        done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=180)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deploy(self, *more, code=0):
        return self.run("deploy", self.folder, *more, code=code)

    def invoke(self):
        answer = self.server.client("lambda").invoke(FunctionName=self.name)
        return json.load(answer["Payload"])


@pytest.fixture
def app(server, tmp_path, name):
    return App(server, tmp_path / name, name)


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")
def test_package_json(app):
    app.template("Handler: app.handler, Runtime: nodejs20.x")
    app.write("src/package.json", json.dumps({"name": "built", "version": "1.0.0", "dependencies": {"is-odd": "3.0.1"}}))
    app.write("src/app.js", "exports.handler = async event => require('is-odd')(3)")
    assert "npm install" in app.deploy()
    assert app.invoke() is True
    app.write("src/app.js", "exports.handler = async event => require('is-odd')(4)")
    assert "npm install" not in app.deploy(), "the same dependencies are installed once"
    assert app.invoke() is False


def test_requirements(app):
    app.template(f"Handler: app.handler, Runtime: {RUNTIME}")
    app.write("src/requirements.txt", "iniconfig==2.1.0\n")
    app.write("src/app.py", "import iniconfig\ndef handler(event, context):\n    return iniconfig.__name__\n")
    assert "requirements.txt" in app.deploy()
    assert app.invoke() == "iniconfig"
    app.write("src/requirements.txt", "no-such-package-of-anybody==1.0\n")
    failed = app.deploy(code=1)
    assert "no-such-package-of-anybody" in failed and "requirements.txt" in failed
    assert app.invoke() == "iniconfig", "what was deployed stays"


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_makefiles(app):
    app.template(f"Handler: app.handler, Runtime: {RUNTIME}", metadata="Metadata: {BuildMethod: makefile}")
    app.write("src/source.txt", "made")
    app.write("src/Makefile", "build-Built:\n\tprintf 'def handler(e, c):\\n    return \"%s\"\\n' $$(cat source.txt) > $(ARTIFACTS_DIR)/app.py\n")
    assert "make build-Built" in app.deploy()
    assert app.invoke() == "made"
    app.write("src/Makefile", "build-Other:\n\ttrue\n")
    assert "build-Built" in app.deploy(code=1)


def test_build_methods_that_are_not_built_are_named(app):
    app.template(f"Handler: app.handler, Runtime: {RUNTIME}", metadata="Metadata: {BuildMethod: go1.x}")
    app.write("src/app.py", "")
    failed = app.deploy(code=1)
    assert "BuildMethod go1.x is not built here" in failed and "makefile" in failed


def test_samconfig_is_read(app):
    app.template(f"Handler: app.handler, Runtime: {RUNTIME}")
    app.write("src/app.py", "import os\ndef handler(event, context):\n    return os.environ['WORD']\n")
    app.write("samconfig.toml", f"""
version = 0.1
[default.deploy.parameters]
stack_name = "{app.name}-stack"
parameter_overrides = "Word=\\"from the file\\""
tags = "team=a"
[test.deploy.parameters]
stack_name = "{app.name}-stack"
parameter_overrides = ["Word=tested"]
""")
    app.deploy()
    assert app.invoke() == "from the file"
    stack = app.server.client("cloudformation").describe_stacks(StackName=f"{app.name}-stack")["Stacks"][0]
    assert stack["Tags"] == [{"Key": "team", "Value": "a"}]
    app.deploy("--config-env", "test")
    assert app.invoke() == "tested"
    app.deploy("--parameter-overrides", "Word=asked")
    assert app.invoke() == "asked"
    assert "[none]" in app.deploy("--config-env", "none", code=1)
