"""The AWS SDKs for JavaScript, v2 and v3, as callers of the platform and inside functions."""

import base64
import json
import os
import subprocess

from conftest import BINARY
from packed import SOURCES, archive, bundled, needs_modules
from support import function, zipped

pytestmark = needs_modules
PYTHON = """import os
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    return {"n": event["n"], "greeting": os.environ.get("GREETING")}
"""


def node(server, script, tmp_path, *arguments, **environment):
    """What a script, run by this machine's Node.js with the platform as its AWS, prints as JSON."""
    file = tmp_path / "script.cjs"
    file.write_bytes(script)
    given = {**os.environ, "AWS_ENDPOINT_URL": server.endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test",
             "AWS_SECRET_ACCESS_KEY": "test", "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1", **environment}
    done = subprocess.run(["node", str(file), *arguments], capture_output=True, text=True, env=given, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_version_3_calls(server, name, tmp_path):
    zip_text = base64.b64encode(zipped(app__py=PYTHON)).decode()
    said = node(server, bundled("callers.mjs"), tmp_path, name, FUNCTION_ZIP=zip_text)
    assert said["lambda"] == {
        "missing": ["ResourceNotFoundException", 404],
        "versions": ["$LATEST", "1"],
        "pieces": {"n": 2, "greeting": "hello"},
        "listed": True,
        "waited": ["SUCCESS"] * 3,
        "invoked": [200, "1", {"n": 1, "greeting": "hello"}],
        "failed": ["Unhandled", "ValueError"],
        "tail": True,
    }
    assert said["s3"] == {"parts": True, "size": 12 * 1024 * 1024, "part": "xxxxx", "keys": ["large file", "small"]}
    assert said["dynamodb"] == {
        "name": "first", "tags": ["x", "y"], "nested": {"list": [1, "two", None, True]}, "found": [2, 3],
        "refused": ["TransactionCanceledException", ["ConditionalCheckFailed"]], "scanned": 3,
    }
    assert said["queues"] == {"sent": 2, "first": ["body 1", "body 2"], "told": ["told"], "put": 0, "matched": ['{"k":1}']}


VERSION_2 = {"parts": True, "keys": ["large"], "deep": {"yes": True}, "set": [1, 2], "again": ["ConditionalCheckFailedException", 400],
             "body": "hello", "missing": ["ResourceNotFoundException", 404]}


def test_version_2_calls(server, name, tmp_path):
    assert node(server, bundled("version2.js"), tmp_path, name) == VERSION_2


def invoke(server, function_name, **event):
    answer = server.client("lambda").invoke(FunctionName=function_name, Payload=json.dumps(event))
    body = json.loads(answer["Payload"].read() or "null")
    assert "FunctionError" not in answer, body
    return body


def test_version_2_packed_into_a_function(server, name):
    function(server, name, archive({"index.js": bundled("version2.js")}), "nodejs20.x", "index.handler", Timeout=20)
    assert invoke(server, name, name=name) == VERSION_2


def test_version_3_is_part_of_the_runtime(server, name):
    subprocess.run([BINARY, "doctor", "--install"], check=True, capture_output=True, timeout=300)
    function(server, name, archive({"index.mjs": (SOURCES / "nodejs" / "version3.mjs").read_bytes()}), "nodejs20.x", "index.handler", Timeout=20)
    assert invoke(server, name, name=name) == {"body": "from inside", "missing": "ResourceNotFoundException"}
