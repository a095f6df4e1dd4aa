"""`tidemill up --watch`: what is saved is live at the next invocation."""

import json
import os
import subprocess
import sys

import boto3
import pytest
from botocore.config import Config
from conftest import BINARY

RUNTIME = f"python3.{sys.version_info.minor}"
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Greet:
    Type: AWS::Serverless::Function
    Properties: {FunctionName: NAME-greet, CodeUri: src/, Handler: app.handler, Runtime: RUNTIME, Timeout: 5}
  Other:
    Type: AWS::Serverless::Function
    Properties: {FunctionName: NAME-other, CodeUri: other/, Handler: app.handler, Runtime: RUNTIME}
"""


class Watching:
    """`up --watch` on an application in a folder of its own."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        for part in ("src", "other"):
            (folder / part).mkdir(parents=True)
            self.save(part, "first")
        self.template(TEMPLATE)
        command = [BINARY, "--output", "json", "up", "--watch", str(folder), "--listen", "127.0.0.1:0", "--data", str(folder.parent / "data")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"})
        self.endpoint = None
        for line in self.process.stdout:
            if "AWS_ENDPOINT_URL=" in line:
                self.endpoint = line.split("AWS_ENDPOINT_URL=")[1].split()[0]
                break
        assert self.endpoint, "the application did not come up"
        self.functions = boto3.client("lambda", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}))

    def template(self, text):
        (self.folder / "template.yaml").write_text(text.replace("NAME", self.name).replace("RUNTIME", RUNTIME))

    def save(self, part, word):
        (self.folder / part / "app.py").write_text(f"def handler(event, context):\n    return '{word}'\n")

    def told(self, member):
        """The next line that is a JSON object with this member."""
        for line in self.process.stdout:
            if line.startswith("{") and member in (value := json.loads(line)):
                return value
        raise AssertionError("the command has ended")

    def invoke(self, function):
        return json.load(self.functions.invoke(FunctionName=f"{self.name}-{function}")["Payload"])

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture
def watching(tmp_path, name):
    watching = Watching(tmp_path / "app", name)
    yield watching
    watching.end()


def test_what_is_saved_is_live(watching):
    assert (watching.invoke("greet"), watching.invoke("other")) == ("first", "first")
    before = watching.functions.get_function_configuration(FunctionName=f"{watching.name}-other")["RevisionId"]
    watching.save("src", "second")
    told = watching.told("reloaded")
    assert told["reloaded"] == ["Greet"] and told["files"] == ["src/app.py"] and told["ms"] > 0
    assert (watching.invoke("greet"), watching.invoke("other")) == ("second", "first")
    assert watching.functions.get_function_configuration(FunctionName=f"{watching.name}-other")["RevisionId"] == before, "only what was touched changes"
    # A module of its own, in a new folder.
    (watching.folder / "src" / "lib").mkdir()
    (watching.folder / "src" / "lib" / "words.py").write_text("WORD = 'third'\n")
    watching.told("reloaded")
    (watching.folder / "src" / "app.py").write_text("from lib.words import WORD\ndef handler(event, context):\n    return WORD\n")
    watching.told("reloaded")
    assert watching.invoke("greet") == "third"


def test_mistakes_are_named_at_once(watching):
    (watching.folder / "src" / "app.py").write_text("def handler(event, context):\n    return (\n")
    assert watching.told("reloaded")["reloaded"] == ["Greet"]
    warned = watching.told("warning")
    assert warned["file"] == "src/app.py" and "line 2" in warned["warning"]
    watching.save("src", "better")
    watching.told("reloaded")
    assert watching.invoke("greet") == "better"


def test_templates_are_deployed_again(watching):
    watching.template(TEMPLATE.replace("Timeout: 5", "Timeout: 9"))
    assert watching.told("deployed")["changed"] is True
    assert watching.functions.get_function_configuration(FunctionName=f"{watching.name}-greet")["Timeout"] == 9
    watching.template(TEMPLATE + "  - no yaml")
    assert watching.told("error")["error"]
    assert watching.invoke("greet") == "first", "what was deployed stays"
    watching.template(TEMPLATE.replace("Timeout: 5", "Timeout: 7"))
    watching.told("deployed")
    assert watching.functions.get_function_configuration(FunctionName=f"{watching.name}-greet")["Timeout"] == 7
