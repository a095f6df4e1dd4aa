"""Java functions, compiled here from tests/clients/java: every form of a handler, its context, its errors, its logs, its archive."""

import base64
import concurrent.futures
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import zipfile

import pytest
from conftest import BINARY, ROOT
from support import function, refused

SOURCES = pathlib.Path(__file__).with_name("java")
RUNTIME = "java17"


def doctor():
    said = json.loads(subprocess.run([BINARY, "doctor", "--output", "json"], capture_output=True, text=True, check=True).stdout)
    return said["jvms"]


def home_for(runtime):
    """The JDK whose JVM runs functions of a runtime here."""
    return next((pathlib.Path(jvm["home"]) for jvm in doctor() if runtime in jvm["runtimes"]), None)


JDK = home_for(RUNTIME)
pytestmark = pytest.mark.skipif(JDK is None, reason="there is no JDK here that runs java17 functions: `tidemill doctor` tells more")


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The compiled classes by their paths; the handler interfaces are not among them, as functions may leave them to the runtime."""
    folder = tmp_path_factory.mktemp("classes")
    sources = [str(path) for path in SOURCES.rglob("*.java")]
    subprocess.run([JDK / "bin/javac", "-implicit:none", "-proc:none", "-nowarn", "--release", "17", "-encoding", "UTF-8",
                    "-sourcepath", ROOT / "runtimes/java", "-d", folder, *sources], check=True, capture_output=True)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.class")}


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def package(classes):
    return archive({**classes, "data/greeting.txt": "hello from a file\n"})


@pytest.fixture
def java(server, name, package):
    """Makes a function; gives what invokes it, whose result is the answer's payload and the kind of its error."""

    def make(handler, code=None, runtime=RUNTIME, suffix="", **more):
        arn = function(server, name + suffix, code or package, runtime, handler, **{"MemorySize": 256, "Timeout": 30, **more})
        functions = server.client("lambda")

        def invoke(payload, **how):
            answer = functions.invoke(FunctionName=name + suffix, Payload=json.dumps(payload), **how)
            text = answer["Payload"].read()
            return json.loads(text) if text else None, answer.get("FunctionError")

        invoke.arn, invoke.name = arn, name + suffix
        return invoke

    return make


def lines(server, name):
    logs = server.client("logs")
    try:
        return [event["message"] for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


ORDER = {"id": "7", "lines": [{"article": "bolt", "count": 2, "unknown": {"x": [1]}}], "extras": {"a": 3, "b": "4"}, "state": "SHIPPED",
         "paid": True, "placed": "2026-11-23T08:00:00.000Z", "seen": 1795420800.5, "total": 1.25, "raw": "AAEC", "URL": "http://x", "more": []}


@pytest.mark.parametrize(("handler", "event", "expected"), [
    ("shout", "grüße", "GRÜSSE"),
    ("shout", 12, "12"),
    ("length", [1, 2, "39"], 42),
    ("length", 5, 5),
    ("large", 9007199254740993, 9007199254740994),
    ("swap", {"x": 1, "y": 2, "name": "p", "z": 3}, {"x": 2, "y": 1, "name": "p"}),
    ("swap", {"x": 1}, {"x": 0, "y": 1}),
    ("order", ORDER, {"id": "7", "lines": [{"article": "bolt", "count": 3}], "extras": {"a": 3, "b": 4, "sum": 7}, "state": "SHIPPED",
                      "paid": True, "placed": 1795420800000, "seen": 1795420800.5, "total": 1.25, "raw": "AAEC", "URL": "http://x"}),
    ("states", ["SHIPPED", "OPEN", "SHIPPED"], ["OPEN", "SHIPPED"]),
    ("anything", {"a": 1}, "LinkedHashMap"),
    ("anything", 1.5, "Double"),
    ("nothing", "x", None),
    ("contextOnly", {}, "$LATEST"),
    ("alone", {}, True),
    ("array", [1, 2], [2, 4]),
    ("streams", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
    ("streamsWithContext", "four", "$LATEST 6"),
    ("outOnly", {}, [1]),
    ("overloaded", "x", "longer"),
], ids=lambda value: value if isinstance(value, str) else None)
def test_every_form_of_a_method(server, package, handler, event, expected):
    name = f"java-form-{handler}"
    functions = server.client("lambda")
    try:
        functions.get_function(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        function(server, name, package, RUNTIME, f"example.Forms::{handler}", MemorySize=256)
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    said = json.loads(answer["Payload"].read())
    assert (said, answer.get("FunctionError")) == (expected, None)


def test_a_map_has_the_context_and_no_nulls(java):
    said, error = java("example.Forms::map")({"a": 1, "b": None})
    assert error is None and said.pop("request") and said == {"a": 1}


def test_handlers_by_their_interface(java):
    assert java("example.Base$Doubled", suffix="a")([{"x": 21}]) == (42, None)
    assert java("example.Streamed", suffix="b")("abc") == ("cba", None)


def test_the_context_and_the_surroundings(java, server, name):
    invoke = java("example.Told", Environment={"Variables": {"GREETING": "hello", "TZ": "Europe/Berlin"}}, TracingConfig={"Mode": "Active"})
    client = {"custom": {"k": "v"}, "env": {"platform": "x"}, "client": {"app_title": "title é"}}
    first, error = invoke({}, ClientContext=base64.b64encode(json.dumps(client).encode()).decode())
    assert error is None, first
    expected = {"calls": 1, "arn": invoke.arn, "name": name, "version": "$LATEST", "memory": 256, "group": f"/aws/lambda/{name}",
                "sameLogger": True, "custom": {"k": "v"}, "clientEnv": {"platform": "x"}, "title": "title é", "identity": "none",
                "variable": "hello", "handler": "example.Told", "variables": True, "child": "hello", "zone": "Europe/Berlin", "charset": "UTF-8",
                "folder": "/var/task", "relative": "hello from a file", "resource": "hello from a file", "newFile": 0, "loopback": True}
    assert {key: first.get(key) for key in expected} == expected
    assert 0 < first["left"] <= 30_000 and first["trace"].startswith("Root=1-") and "traceVariable" not in first
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", first["stream"]) and first["tls"]
    # The heap has 85 % of the memory, less what the collector keeps free.
    assert 0.78 * 256 <= first["heapMb"] <= 0.85 * 256
    second, _ = invoke({})
    assert second["calls"] == 2 and second["request"] != first["request"] and "custom" not in second


def test_options_of_the_jvm(java, server):
    variables = {"JAVA_TOOL_OPTIONS": "-Doption=taken -Xmx64m", "GREETING": "hello"}
    said, error = java("example.Told", Environment={"Variables": variables})({})
    assert error is None, said
    assert (said["option"], said["heapMb"] <= 64, said["variable"], said["relative"]) == ("taken", True, "hello", "hello from a file")


@pytest.mark.parametrize("runtime", ["java8.al2", "java11", "java21", "java25"])
def test_other_versions(java, server, name, package, runtime):
    if home_for(runtime) is None:
        with refused("InvalidParameterValueException") as info:
            function(server, name, package, runtime, "example.Told")
        said = str(info.value)
        assert f"The runtime {runtime} needs a JDK, version" in said and "which is not on this machine (found: " in said and "Install it" in said
        return
    said, error = java("example.Told", runtime=runtime, Environment={"Variables": {"GREETING": "hello"}}, TracingConfig={"Mode": "Active"})({})
    assert error is None, said
    assert said["java"] >= int(re.match(r"java(\d+)", runtime)[1]) and said["relative"] == "hello from a file" and said["child"] == "hello"
    # Only the older ones tell the trace in the environment too.
    assert said.get("traceVariable") == (said["trace"] if runtime in ("java8.al2", "java11") else None)


@pytest.mark.parametrize(("handler", "message", "kind"), [
    ("example.Missing", "Class not found: example.Missing", "java.lang.ClassNotFoundException"),
    ("example.Missing::handle", "Class not found: example.Missing", "java.lang.ClassNotFoundException"),
    ("example.Wrong::absent", "No public method named absent with appropriate method signature found on class example.Wrong", None),
    ("example.Forms::tooMany", "No public method named tooMany with appropriate method signature found on class example.Forms", None),
    ("example.Wrong", "Class does not implement an appropriate handler interface: example.Wrong", None),
    ("example.Wrong::", "Invalid handler: `example.Wrong::'", None),
    ("example.Wrong$Closed", "Class example.Wrong$Closed has no public zero-argument constructor", "java.lang.Exception"),
    ("example.Base", "Class example.Base does not implement RequestHandler with concrete type parameters: parameter B has no upper bound.", None),
])
def test_code_that_has_no_handler(java, handler, message, kind):
    invoke = java(handler)
    for _ in range(2):
        said, error = invoke("x")
        assert error == "Unhandled" and said == {"errorMessage": message, **({"errorType": kind} if kind else {})}


@pytest.mark.parametrize(("handler", "message", "kind"), [
    ("example.Wrong$Unmakeable", "no connection", "java.lang.IllegalStateException"),
    ("example.Wrong$Initialiser", "Error loading class example.Wrong$Initialiser", "java.lang.ExceptionInInitializerError"),
])
def test_code_that_cannot_begin(java, server, eventually, handler, message, kind):
    invoke = java(handler)
    said, error = invoke("x")
    assert error == "Unhandled" and said == {"errorMessage": message, "errorType": kind}
    logged = eventually(lambda: [line for line in lines(server, invoke.name) if kind in line])
    assert logged[0].startswith(f"{message}: {kind}\n{kind}")
    assert any(line.startswith("INIT_REPORT") and "Runtime.BadFunctionCode" in line for line in lines(server, invoke.name))


def test_what_a_handler_throws(java, server, eventually):
    invoke = java("example.Wrong::fail")
    said, error = invoke("checked")
    assert error == "Unhandled" and (said["errorMessage"], said["errorType"]) == ("as asked", "example.Wrong$Oops")
    assert said["stackTrace"][0].startswith("example.Wrong.fail(Wrong.java:") and not [f for f in said["stackTrace"] if "tidemill" in f]
    silent, _ = invoke("silent")
    assert (silent["errorMessage"], silent["errorType"]) == ("java.lang.NullPointerException",) * 2
    assert invoke("error")[0]["errorType"] == "java.lang.AssertionError"
    assert invoke("well") == ("well", None)
    logged = eventually(lambda: [line for line in lines(server, invoke.name) if line.startswith("as asked")])
    assert logged[0].startswith("as asked: example.Wrong$Oops\nexample.Wrong$Oops: as asked\n\tat example.Wrong.fail(")
    assert "Caused by: java.lang.IllegalStateException: the cause" in logged[0]


def test_the_end_of_a_jvm(java):
    invoke = java("example.Wrong::fail")
    said, error = invoke("exit")
    assert error == "Unhandled" and said["errorType"] == "Runtime.ExitError" and "exit status 3" in said["errorMessage"]
    # What the machine itself cannot go on from is told, and another process takes its place.
    assert invoke("deep")[0]["errorType"] == "java.lang.StackOverflowError"
    assert invoke("well") == ("well", None)


def test_events_that_do_not_fit(java):
    for suffix, handler, event in [("a", "Forms::shout", {"a": 1}), ("b", "Forms::length", ["x"]), ("c", "Wrong::object", {"value": "x"}),
                                   ("d", "Forms::large", 1e30), ("e", "Wrong::texts", [1, 2])]:
        said, error = java(f"example.{handler}", suffix=suffix)(event)
        assert error == "Unhandled" and said["errorMessage"] == "An error occurred during JSON parsing", said
        assert said["errorType"] == "java.lang.RuntimeException" and said["stackTrace"] == []


def test_answers_that_cannot_be_written(java):
    said, error = java("example.Wrong::endless", suffix="a")("x")
    assert error == "Unhandled" and said["errorMessage"] == "An error occurred during JSON serialization of response"
    invoke = java("example.Wrong::large", suffix="b")
    assert len(invoke(6_000_000)[0]) == 6_000_000
    said, error = invoke(7_000_000)
    assert error == "Unhandled" and said["errorType"] == "Function.ResponseSizeTooLarge"
    assert invoke(10) == ("x" * 10, None)


def test_a_timeout(java):
    invoke = java("example.Wrong::slow", Timeout=2)
    said, error = invoke(20)
    assert error == "Unhandled" and said["errorType"] == "Sandbox.Timedout" and "Task timed out after 2.00 seconds" in said["errorMessage"]
    assert invoke(0) == (0, None)


def test_the_memory_size_is_the_limit(java):
    invoke = java("example.Wrong::memory", MemorySize=256)
    assert invoke(100) == (100, None)
    said, error = invoke(400)
    assert error == "Unhandled" and said["errorType"] == "java.lang.OutOfMemoryError" and said["errorMessage"] == "Java heap space"
    assert invoke(10) == (10, None)


def test_logs_as_text(java, server, eventually):
    invoke = java("example.Logs::handle")
    assert invoke("x") == ("x", None)
    logged = eventually(lambda: [found for found in [lines(server, invoke.name)] if any(line.startswith("REPORT") for line in found)])[0]
    for line in ["plain é x\n", "unended\n", "two\nlines\n", "bytes\n", "[WARN] of level\n", "[DEBUG] too low\n", "x" * 10000 + "\n"]:
        assert line in logged, logged
    assert any(re.match(r"INIT_START Runtime Version: java:\d+", line) for line in logged)


def test_logs_as_json(java, server, eventually):
    invoke = java("example.Logs::handle", LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"})
    assert invoke("x") == ("x", None)
    logged = eventually(lambda: [found for found in [lines(server, invoke.name)] if any("platform.report" in line for line in found)])[0]
    entries = [json.loads(line) for line in logged if line.startswith('{"timestamp"')]
    assert [(e["message"], e["level"]) for e in entries][:3] == [("two\nlines\n", "UNDEFINED"), ("bytes\n", "UNDEFINED"), ("of level\n", "WARN")]
    assert all(len(e["AWSRequestId"]) == 36 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["timestamp"]) for e in entries)
    assert "too low" not in "".join(logged) and "plain é x\n" in logged


def test_code_in_jars_and_layers(java, server, name, classes):
    events = {path: content for path, content in classes.items() if path.startswith("com/")}
    own = {path: content for path, content in classes.items() if path.startswith("example/")}
    assert java("example.Forms::shout", code=archive(own), suffix="jar")("as a jar") == ("AS A JAR", None)
    packed = archive({"lib/own.jar": archive(own), "lib/readme.txt": "no jar", "data/greeting.txt": "x"})
    layer = server.client("lambda").publish_layer_version(LayerName=name, Content={"ZipFile": archive({"java/lib/events.jar": archive(events)})})
    invoke = java("example.Events::queue", code=packed, suffix="layer", Layers=[layer["LayerVersionArn"]])
    said, error = invoke({"Records": [{"messageId": "1", "body": "b", "eventSourceARN": "arn:x", "sent": 2.5}]})
    assert (said, error) == ({"bodies": ["1 b arn:x"], "first": {"messageId": "1", "body": "b", "eventSourceArn": "arn:x", "sent": 2.5}}, None)
    without, error = java("example.Events::queue", code=packed, suffix="without")({})
    assert error == "Unhandled" and without == {"errorMessage": "Error loading method queue on class example.Events",
                                                "errorType": "java.lang.NoClassDefFoundError"}


def test_a_package_with_its_own_interfaces(java, classes, tmp_path):
    """The runtime's own interfaces win, so that handlers compiled against a packed copy are still handlers."""
    sources = [str(path) for path in (ROOT / "runtimes/java/com").rglob("*.java")]
    subprocess.run([JDK / "bin/javac", "-sourcepath", ROOT / "runtimes/java", "-implicit:none", "-nowarn", "-d", tmp_path, *sources],
                   check=True, capture_output=True)
    core = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.class")}
    code = archive({"lib/core.jar": archive(core), **classes})
    assert java("example.Base$Doubled", code=code)([{"x": 4}]) == (8, None)


def test_a_serializer_of_its_own(java, classes):
    service = "META-INF/services/com.amazonaws.services.lambda.runtime.CustomPojoSerializer"
    assert java("example.Custom::handle", code=archive({**classes, service: "example.Custom"}), suffix="a")({}) == (
        {"said": "hello java.lang.String"}, None)
    said, error = java("example.Custom::handle", code=archive({**classes, service: "example.Custom\nexample.Other"}), suffix="b")({})
    assert error == "Unhandled" and said["errorType"]


def test_names_of_properties(java):
    """A function's own classes are read by JavaBeans' rule and exactly; AWS's event classes were never written for one rule."""
    assert java("example.Events::own")({"Records": [{}, {}]}) == ("2 null", None)


def test_objects_of_a_bucket(java, server, name, eventually):
    invoke = java("example.Events::objects")
    storage = server.client("s3")
    storage.create_bucket(Bucket=name)
    server.client("lambda").add_permission(FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com")
    storage.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={
        "LambdaFunctionConfigurations": [{"LambdaFunctionArn": invoke.arn, "Events": ["s3:ObjectCreated:*"]}]})
    tag = storage.put_object(Bucket=name, Key="sales/a.csv", Body=b"1,2")["ETag"].strip('"')
    wanted = f"ObjectCreated:Put {name} sales/a.csv {tag} us-east-1 true\n"
    assert eventually(lambda: wanted in lines(server, name))


def test_many_at_once(java):
    invoke = java("example.Wrong::slow")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(invoke, [1] * 6)) == [(1, None)] * 6


def test_updated_code_runs(java, server, name, package):
    invoke = java("example.Forms::shout")
    assert invoke("a") == ("A", None)
    functions = server.client("lambda")
    functions.update_function_configuration(FunctionName=name, Handler="example.Streamed", MemorySize=512)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert invoke("ab") == ("ba", None)


def test_snapstart_is_off_and_says_so(java, server, name):
    java("example.Forms::shout", SnapStart={"ApplyOn": "PublishedVersions"})
    functions = server.client("lambda")
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    found = functions.get_function_configuration(FunctionName=name, Qualifier=version)
    assert found["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    answer = functions.invoke(FunctionName=name, Qualifier=version, Payload=b'"x"')
    assert json.loads(answer["Payload"].read()) == "X"


def test_a_jvm_without_a_compiler(tmp_path):
    """What the doctor says of it."""
    home = tmp_path / "jre"
    (home / "bin").mkdir(parents=True)
    (home / "bin/java").write_text("")
    (home / "release").write_text('JAVA_VERSION="17.0.1"\n')
    said = subprocess.run([BINARY, "doctor"], capture_output=True, text=True, check=True, env={**os.environ, "JAVA_HOME": str(home)}).stdout
    assert re.search(rf"java +17\.0\.1 +.*no compiler \(javac\): install the JDK.*{re.escape(str(home))}", said), said
    assert shutil.which("java") is None or str(JDK) in said
