"""WebAssembly functions (`provided.wasm`): real programs in WebAssembly's text form, seen from outside with boto3."""

import http.server
import json
import pathlib
import threading

import pytest
from wasmtime import wat2wasm

from support import function, refused, zipped

PROGRAMS = pathlib.Path(__file__).parents[2] / "crates/wasm/tests/programs"
ECHO = (PROGRAMS / "echo.wat").read_text()
COMPONENT = (PROGRAMS / "component.wat").read_text()
FETCH = (PROGRAMS / "fetch.wat").read_text()

# What the programs below import; `body` is their main function.
PROGRAM = """(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  %s
  (func $print (param $fd i32) (param $at i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") %s))"""


def program(body, data=""):
    return PROGRAM % (data, body)


def packed(text, name="bootstrap.wasm", **more):
    return zipped(**{name: bytes(wat2wasm(text))}, **more)


@pytest.fixture
def deploy(server, name):
    made = []

    def deploy(text, handler="bootstrap", **more):
        own = f"{name}-{len(made)}"
        made.append(own)
        function(server, own, packed(text), runtime="provided.wasm", handler=handler, **more)
        return own

    return deploy


def invoke(server, name, event=None, **more):
    answer = server.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event or {}), LogType="Tail", **more)
    answer["Text"] = answer["Payload"].read()
    return answer


def log(answer):
    import base64
    return base64.b64decode(answer["LogResult"]).decode()


def test_a_program_answers_its_event_and_logs(server, deploy, eventually):
    name = deploy(ECHO)
    for _ in range(3):
        answer = invoke(server, name, {"key": "värld"})
        assert json.loads(answer["Text"]) == {"key": "värld"}
        assert "FunctionError" not in answer and answer["ExecutedVersion"] == "$LATEST"
    lines = log(answer).splitlines()
    assert lines[0].startswith("START RequestId: ") and lines[1] == "hello from wasm"
    assert lines[2].startswith("END RequestId: ") and "Memory Size: 128 MB\tMax Memory Used: 1 MB" in lines[3]
    stored = eventually(lambda: (found := server.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{name}", filterPattern="hello")["events"]) and len(found) == 3 and found)
    assert len({event["logStreamName"] for event in stored}) == 1, "one after the other they share a stream"


def test_a_component_of_preview_2(server, deploy):
    assert json.loads(invoke(server, deploy(COMPONENT))["Text"]) == {"from": "a component"}


@pytest.fixture
def neighbour():
    """A server on this machine that is not the platform; gives its port."""

    class Greeting(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"asked": self.path, "of": self.headers["Host"]}).encode())

        def log_message(self, *_):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Greeting)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield listening.server_port
    listening.shutdown()


def test_a_component_sends_http_requests_where_other_functions_may(server, deploy, neighbour):
    """An answer of the component's own is the number of the error in `wasi:http`: 15 is HTTP-request-denied."""
    name, port = deploy(FETCH), server.endpoint.rsplit(":", 1)[1]

    def fetch(what):
        return json.loads(invoke(server, name, what)["Text"])

    assert "services" in fetch(f"127.0.0.1:{port}/_localstack/health"), "the platform"
    assert fetch(f"host.tidemill.internal:{neighbour}/x?y=1") == {"asked": "/x?y=1", "of": f"host.tidemill.internal:{neighbour}"}
    for hidden in ("127.0.0.1", "localhost", "127.1.2.3", "[::1]", "0.0.0.0"):
        assert fetch(f"{hidden}:{neighbour}/") == {"error": 15}, hidden
    assert fetch("169.254.169.254/latest/meta-data/") == {"error": 15}, "the machine's own credentials, where it has any"


def test_the_environment_is_lambdas(server, deploy):
    name = deploy(program("""
        (drop (call $sizes (i32.const 16) (i32.const 20)))
        (drop (call $environ (i32.const 1024) (i32.const 65536)))
        (call $print (i32.const 1) (i32.const 65536) (i32.load (i32.const 20)))"""),
        Environment={"Variables": {"GREETING": "hello"}})
    answer = invoke(server, name)
    env = dict(pair.split("=", 1) for pair in answer["Text"].decode().rstrip("\0").split("\0"))
    assert env["GREETING"] == "hello" and env["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert env["_HANDLER"] == "bootstrap" and env["AWS_REGION"] == "us-east-1"
    assert env["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:") and env["AWS_SESSION_TOKEN"]
    assert env["AWS_LAMBDA_REQUEST_ID"] == answer["ResponseMetadata"]["RequestId"]
    assert env["AWS_LAMBDA_LOG_STREAM_NAME"] and int(env["AWS_LAMBDA_DEADLINE_MS"]) > 0
    assert "HOME" not in env and "TIDEMILL_BIN" not in env, "nothing of the platform's own gets in"


@pytest.mark.parametrize("body, kind, message", [
    ("(call $exit (i32.const 3))", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    ("unreachable", "Runtime.ExitError", "wasm trap: wasm `unreachable` instruction executed"),
    ("(drop (memory.grow (i32.const 2048)))", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
    ("(loop (br 0))", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
])
def test_failures_look_as_those_of_other_runtimes(server, deploy, body, kind, message):
    answer = invoke(server, deploy(program(body), Timeout=1))
    assert answer["FunctionError"] == "Unhandled"
    error = json.loads(answer["Text"])
    assert error["errorType"] == kind and error["errorMessage"].endswith(message), error
    if "grow" in body:
        assert "Error Type: Runtime.OutOfMemory" in log(answer) and "Max Memory Used: 128 MB" in log(answer)


def test_a_program_reports_an_error_of_its_own(server, deploy):
    error = '{"errorType":"NoStock","errorMessage":"none left"}'
    data = '(data (i32.const 64) "%s")' % error.replace('"', '\\"')
    name = deploy(program(f"(call $print (i32.const 1) (i32.const 64) (i32.const {len(error)})) (call $exit (i32.const 1))", data))
    answer = invoke(server, name)
    assert answer["FunctionError"] == "Unhandled" and json.loads(answer["Text"]) == json.loads(error)


def test_code_is_read_only_and_tmp_is_kept(server, deploy):
    """Folders are /var/task (3), the same as the working folder (4), and /tmp (5)."""
    name = deploy(program("""
        (local $refused i32)
        (local.set $refused (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 1)
          (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 32)))
        (drop (call $open (i32.const 5) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 1)
          (i64.const 0x200040) (i64.const 0x200040) (i32.const 1) (i32.const 32)))
        (call $print (i32.load (i32.const 32)) (i32.const 64) (i32.const 1))
        (drop (call $stat (i32.load (i32.const 32)) (i32.const 128)))
        (i32.store8 (i32.const 256) (i32.add (i32.const 48) (i32.wrap_i64 (i64.load (i32.const 160)))))
        (i32.store8 (i32.const 257) (select (i32.const 114) (i32.const 119) (local.get $refused)))
        (call $print (i32.const 1) (i32.const 256) (i32.const 2))""", '(data (i32.const 64) "x")'))
    assert [invoke(server, name)["Text"] for _ in range(3)] == [b"1r", b"2r", b"3r"]


def test_what_is_no_program_is_refused(server, name):
    functions = server.client("lambda")

    def create(code, handler="bootstrap", **more):
        functions.create_function(FunctionName=name, Runtime="provided.wasm", Handler=handler,
                                  Role="arn:aws:iam::000000000000:role/any", Code={"ZipFile": code}, **more)

    for code, handler, words in [
        (zipped(bootstrap__wasm="not wasm"), "bootstrap", "it is not a WebAssembly binary"),
        (packed('(module (func (export "handle")))'), "bootstrap", "it exports no function `_start`"),
        (packed('(module (import "env" "f" (func)) (func (export "_start")))'), "bootstrap", "env::f"),
        (packed("(component)"), "bootstrap", "not a component of the world wasi:cli/command"),
        (packed(ECHO), "other.wasm", "there is no other.wasm"),
        (packed(ECHO), "../bootstrap", "names no WebAssembly program"),
    ]:
        with refused("InvalidParameterValueException", 400) as info:
            create(code, handler)
        assert words in str(info.value), info.value
    with refused("ResourceNotFoundException"):
        functions.get_function(FunctionName=name)
    create(packed(ECHO, "app.wasm"), "app.wasm")
    for change in [lambda: functions.update_function_code(FunctionName=name, ZipFile=packed("(component)", "app.wasm")),
                   lambda: functions.update_function_configuration(FunctionName=name, Handler="missing")]:
        with refused("InvalidParameterValueException"):
            change()
    assert invoke(server, name, {"still": 1})["Text"] == b'{"still": 1}'
    functions.publish_version(FunctionName=name)
    with pytest.raises(functions.exceptions.ClientError, match="provisioned concurrency"):
        functions.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)


def test_new_code_takes_the_place_of_old(server, deploy):
    name = deploy(ECHO)
    functions = server.client("lambda")
    assert invoke(server, name, 1)["Text"] == b"1"
    functions.publish_version(FunctionName=name)
    functions.update_function_code(FunctionName=name, ZipFile=packed(COMPONENT))
    assert json.loads(invoke(server, name)["Text"]) == {"from": "a component"}
    assert invoke(server, name, 2, Qualifier="1")["Text"] == b"2", "a published version stays what it was"


def test_a_queue_is_consumed_like_by_any_function(server, deploy, name, eventually):
    queues, functions = server.client("sqs"), server.client("lambda")
    queue = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    consumer = deploy(ECHO)
    functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=consumer)
    queues.send_message(QueueUrl=queue, MessageBody="taken by wasm")
    eventually(lambda: server.client("logs").filter_log_events(
        logGroupName=f"/aws/lambda/{consumer}", filterPattern="hello")["events"])
    counts = lambda: queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    eventually(lambda: counts()["ApproximateNumberOfMessages"] == counts()["ApproximateNumberOfMessagesNotVisible"] == "0")


def test_many_at_once_each_in_an_instance_of_its_own(server, deploy):
    from concurrent.futures import ThreadPoolExecutor
    name = deploy(ECHO)
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda n: json.loads(invoke(server, name, {"n": n})["Text"]), range(100))
        assert [answer["n"] for answer in answers] == list(range(100))


def test_after_a_restart_programs_run_as_they_were_compiled(private_server):
    function(private_server, "kept", packed(ECHO), runtime="provided.wasm", handler="bootstrap")
    private_server.stop()
    private_server.start()
    assert invoke(private_server, "kept", {"a": 1})["Text"] == b'{"a": 1}'
