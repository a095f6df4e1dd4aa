"""Extensions and telemetry: real programs in layers, and functions that register themselves, seen from outside with boto3."""

import io
import json
import zipfile

import pytest

from support import function, zipped

# What every extension below begins with: registering, asking for events, subscribing to telemetry.
EXTENSION = '''#!/usr/bin/env python3.11
import json, os, sys, urllib.request, urllib.error
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
NAME = os.path.basename(__file__)
identifier = None

def call(method, path, body=None, **headers):
    headers = {"Lambda-Extension-" + name.replace("_", "-"): value for name, value in headers.items()}
    if identifier:
        headers["Lambda-Extension-Identifier"] = identifier
    request = urllib.request.Request(API + path, None if body is None else json.dumps(body).encode(), headers, method=method)
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    text = answer.read().decode()
    try:
        return answer.status, answer.headers, json.loads(text)
    except ValueError:
        return answer.status, answer.headers, text

def register(*events, **headers):
    global identifier
    status, given, about = call("POST", "/2020-01-01/extension/register", {"events": events}, Name=NAME, **headers)
    identifier = given["Lambda-Extension-Identifier"]
    return about

def next_event():
    return call("GET", "/2020-01-01/extension/event/next")[2]

def say(*what):
    print("from the extension:", *what, flush=True)
'''

WATCHES = EXTENSION + '''
about = register("INVOKE", "SHUTDOWN", Accept_Feature="accountId")
open("/tmp/registered", "w").write(json.dumps({"about": about, "handler": os.environ.get("_HANDLER"), "own": os.environ.get("OWN")}))
while True:
    event = next_event()
    open("/tmp/event.new", "w").write(json.dumps(event))
    os.replace("/tmp/event.new", "/tmp/event")
    if event["eventType"] == "SHUTDOWN":
        say("end", event["shutdownReason"], event["deadlineMs"] > 0)
        sys.exit()
'''

LOOKS = '''
import json, os, signal, sys, time
registered = os.path.exists("/tmp/registered")
def ended(*_):
    print("the runtime was told", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, ended)
def handler(event, context):
    while not os.path.exists("/tmp/event"):
        time.sleep(0.005)
    return {"before": registered, "id": context.aws_request_id, "seen": json.load(open("/tmp/event")), "made": json.load(open("/tmp/registered"))}
'''


def layer(server, name, mode=0o755, **programs):
    """A layer that brings these programs as extensions; gives its ARN."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for program, text in programs.items():
            entry = zipfile.ZipInfo("extensions/" + program)
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    made = server.client("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": buffer.getvalue()})
    return made["LayerVersionArn"]


def extended(server, name, code, mode=0o755, programs=None, **more):
    layers = [layer(server, name, mode, **programs)] if programs else []
    return function(server, name, zipped(app__py=code), Layers=layers, **more)


def invoke(server, name, payload=b"{}"):
    answer = server.client("lambda").invoke(FunctionName=name, Payload=payload)
    return json.load(answer["Payload"]), answer


def lines(server, name):
    logs = server.client("logs")
    try:
        return [event["message"] for event in logs.filter_log_events(logGroupName="/aws/lambda/" + name)["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def change(server, name):
    """Any change of its configuration ends a function's sandboxes."""
    server.client("lambda").update_function_configuration(FunctionName=name, Description="changed")


def test_a_layers_program_registers_before_the_runtime_and_hears_of_invocations_and_the_end(server, name, eventually):
    arn = extended(server, name, LOOKS, programs={"watches": WATCHES}, Environment={"Variables": {"OWN": "yes"}})
    found, _ = invoke(server, name)
    assert found["before"]
    about = {"functionName": name, "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000"}
    assert found["made"] == {"about": about, "handler": None, "own": "yes"}
    seen = found["seen"]
    assert (seen["eventType"], seen["requestId"], seen["invokedFunctionArn"]) == ("INVOKE", found["id"], arn)
    assert seen["deadlineMs"] > 1_700_000_000_000 and seen["tracing"]["type"] == "X-Amzn-Trace-Id"
    again, _ = invoke(server, name)
    assert again["id"] != found["id"]
    change(server, name)
    # Each prints on its own: which of the two lines is kept first is open.
    eventually(lambda: {"from the extension: end spindown True\n", "the runtime was told\n"} <= set(lines(server, name)))
    log = lines(server, name)
    ready = log.index("EXTENSION\tName: watches\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n")
    assert log[ready + 1].startswith("START RequestId: ")


def test_a_function_that_runs_out_of_time_ends_its_extensions_as_well(server, name, eventually):
    extended(server, name, "def handler(event, context):\n    while True: pass\n", programs={"watches": WATCHES}, Timeout=1)
    body, _ = invoke(server, name)
    assert body["errorType"] == "Sandbox.Timedout"
    eventually(lambda: "from the extension: end timeout True\n" in lines(server, name))


TELLS = EXTENSION + '''
import http.server, threading
received = []
class Takes(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received.extend(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
listener = http.server.ThreadingHTTPServer(("sandbox.localdomain", 8080), Takes)
threading.Thread(target=listener.serve_forever, daemon=True).start()
register("INVOKE", "SHUTDOWN")
wanted = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"], "buffering": {"timeoutMs": 25},
          "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}}
answers = [call("PUT", "/2022-07-01/telemetry", wanted)[::2]]
answers.append(call("PUT", "/2022-07-01/telemetry", {**wanted, "types": ["weather"]})[::2])
answers.append(call("PUT", "/2020-08-15/logs", wanted)[::2])
say("ready")
while True:
    event = next_event()
    if event["eventType"] == "SHUTDOWN":
        print("all: " + json.dumps([answers, received]), flush=True)
        sys.exit()
'''


def test_telemetry_tells_what_happens_in_the_sandbox(server, name, eventually):
    extended(server, name, "def handler(event, context):\n    print('hello')\n    return 'done'\n", programs={"tells": TELLS})
    assert invoke(server, name)[0] == "done"
    change(server, name)
    said = eventually(lambda: [line for line in lines(server, name) if line.startswith("all: ")])
    answers, received = json.loads(said[0].removeprefix("all: "))
    assert answers[0] == [200, "OK"]
    assert answers[1][0] == 400 and answers[1][1]["errorType"] == "ValidationError"
    assert answers[2][0] == 501 and answers[2][1]["errorType"] == "Logs.NotSupported"
    kinds = [event["type"] for event in received]
    assert kinds[0] == "platform.initStart" and "platform.telemetrySubscription" in kinds
    in_order = ["platform.initRuntimeDone", "platform.extension", "platform.initReport", "platform.start", "function",
                "platform.runtimeDone", "platform.report"]
    assert [kind for kind in kinds if kind in in_order] == in_order
    records = {event["type"]: event["record"] for event in received}
    assert records["function"] == "hello\n" and records["extension"].startswith("from the extension: ready")
    assert records["platform.initStart"]["functionName"] == name
    assert records["platform.extension"] == {"name": "tells", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    ran, report = records["platform.runtimeDone"], records["platform.report"]
    assert ran["status"] == "success" and ran["metrics"]["producedBytes"] == len('"done"')
    assert report["requestId"] == ran["requestId"] == records["platform.start"]["requestId"]
    assert report["metrics"]["memorySizeMB"] == 128 and report["metrics"]["initDurationMs"] > 0
    assert all(event["time"].endswith("Z") for event in received)
    assert "TELEMETRY\tName: tells\tState: Subscribed\tTypes: [Platform, Function, Extension]\n" in lines(server, name)


INTERNAL = EXTENSION.replace("#!/usr/bin/env python3.11", "") + '''
import threading
seen = []
refused = call("POST", "/2020-01-01/extension/register", {"events": ["SHUTDOWN"]}, Name="inner")[::2]
nobody = call("GET", "/2020-01-01/extension/event/next")[::2]
NAME = "inner"
register("INVOKE")
def hear():
    while True:
        seen.append(next_event())
threading.Thread(target=hear, daemon=True).start()
def handler(event, context):
    import time
    while not any(told["requestId"] == context.aws_request_id for told in list(seen)):
        time.sleep(0.005)
    late = call("POST", "/2020-01-01/extension/register", {"events": []}, Name="late")[::2]
    return [refused, nobody, len(seen), late]
'''


def test_a_function_registers_itself(server, name):
    extended(server, name, INTERNAL)
    for times in (1, 2):
        refused, nobody, seen, late = invoke(server, name)[0]
        assert seen == times
    assert refused == [403, {"errorType": "Extension.InvalidEventType",
                             "errorMessage": "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"}]
    assert nobody[0] == 403 and nobody[1]["errorType"] == "Extension.MissingExtensionIdentifier"
    assert late[0] == 403 and late[1]["errorType"] == "Extension.RegistrationClosed"


@pytest.mark.parametrize("program, mode, kind, how", [
    ("#!/bin/sh\nexit 3\n", 0o755, "Extension.Crash", "exit code 3"),
    (EXTENSION + "register('INVOKE')\nsys.exit(0)\n", 0o755, "Extension.Crash", "exit code 0"),
    (EXTENSION + "register('INVOKE')\ncall('POST', '/2020-01-01/extension/init/error', {}, Function_Error_Type='Own.Reason')\nnext_event()\n",
     0o755, "Extension.InitError", "exit code 0"),
    ("#!/bin/sh\n", 0o644, "Extension.LaunchError", "fork/exec /opt/extensions/breaks: permission denied"),
])
def test_an_extension_that_fails_fails_the_invocation(server, name, program, mode, kind, how):
    extended(server, name, "def handler(event, context):\n    return 1\n", mode=mode, programs={"breaks": program})
    body, answer = invoke(server, name)
    assert answer["FunctionError"] == "Unhandled"
    request = answer["ResponseMetadata"]["RequestId"]
    assert body == {"errorType": kind, "errorMessage": f"RequestId: {request} Error: {how}"}


def test_an_answer_does_not_wait_for_extensions_but_the_sandbox_does(server, name):
    slow = EXTENSION + "import time\nregister('INVOKE')\nwhile True:\n    next_event()\n    time.sleep(3)\n"
    code = "import uuid\nwho = str(uuid.uuid4())\ndef handler(event, context):\n    return who\n"
    extended(server, name, code, programs={"slow": slow})
    first, _ = invoke(server, name)
    second, _ = invoke(server, name)
    assert first != second, "the first sandbox was used again while its extension was still busy"
