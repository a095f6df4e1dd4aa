"""What handlers see and what callers get from them, case by case, as the Lambda developer guide describes it."""

import base64
import json

import pytest
from botocore.exceptions import ClientError
from support import function, zipped

NODE = r"""
const util = require('node:util');
class OrderError extends Error { constructor(message) { super(message); this.name = 'OrderError'; this.code = 'E7'; this.order = 7; } }
const answers = {
  value: async () => ({ a: [1, 'é'] }),
  nothing: async () => {},
  thenable: () => ({ then: (resolve) => resolve('then') }),
  ignored: () => 'a handler without a promise has no answer of its own',
  unsettled: async () => { await new Promise(() => {}); },
  unsettledPlain: () => new Promise(() => {}),
  bigint: async () => ({ n: 1n }),
  throws: async () => { throw new TypeError('no good'); },
  throwsAtOnce: () => { throw new OrderError('no order'); },
  throwsText: async () => { throw 'just text'; },
  throwsNothing: async () => { throw undefined; },
  exits: async () => process.exit(0),
  exitsBadly: async () => process.exit(3),
  late: () => new Promise(() => { setTimeout(() => { throw new RangeError('too late'); }, 1); }),
  lost: () => new Promise(() => { Promise.reject(new Error('lost')); setTimeout(() => {}, 5000); }),
  callback: (event, context, callback) => callback(null, 'called back'),
  callbackNothing: (event, context, callback) => callback(),
  callbackError: (event, context, callback) => { setTimeout(() => {}, 5000); callback(new OrderError('refused')); },
  callbackText: (event, context, callback) => callback('only text'),
  callbackTwice: (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = false; callback(null, 'first'); callback(null, 'second'); },
  done: (event, context) => { setTimeout(() => {}, 5000); context.done(null, 'done'); },
  succeed: (event, context) => { setTimeout(() => {}, 5000); context.succeed({ by: 'succeed' }); },
  fail: (event, context) => { setTimeout(() => {}, 5000); context.fail(new Error('failed')); },
  failNothing: (event, context) => context.fail(),
  waits: (event, context, callback) => { const at = Date.now(); setTimeout(() => {}, 60); callback(null, at); },
  context: async (event, context) => ({ ...context, remaining: context.getRemainingTimeInMillis() > 0, remainingIs: typeof context.getRemainingTimeInMillis }),
  environment: async () => Object.keys(process.env).sort(),
  where: async () => [process.cwd(), __filename],
};
exports.handler = (event, context, callback) => answers[event.case](event, context, callback);
exports.async = async (event, context) => answers[event.case](event, context);
"""


class Function:
    """A deployed function and its answers."""

    def __init__(self, server, name):
        self.functions, self.name = server.client("lambda"), name

    def ask(self, case, **more):
        """What is answered, what kind of error that is, and the log's tail."""
        answer = self.functions.invoke(FunctionName=self.name, Payload=json.dumps({"case": case}), LogType="Tail", **more)
        self.request_id = answer["ResponseMetadata"]["RequestId"]
        self.tail = base64.b64decode(answer["LogResult"]).decode()
        return json.loads(answer["Payload"].read() or "null"), answer.get("FunctionError")


@pytest.fixture(scope="module")
def node(server):
    function(server, "handlers-node", zipped(index__js=NODE), "nodejs20.x", "index.handler", Timeout=4, Environment={"Variables": {"MINE": "yes"}})
    return Function(server, "handlers-node")


@pytest.mark.parametrize("case, expected", [
    ("value", {"a": [1, "é"]}), ("nothing", None), ("thenable", "then"), ("ignored", None), ("unsettledPlain", None),
    ("callback", "called back"), ("callbackNothing", None), ("callbackTwice", "first"), ("done", "done"), ("succeed", {"by": "succeed"}),
    ("where", ["/var/task", "/var/task/index.js"]),
])
def test_node_answers(node, case, expected):
    assert node.ask(case) == (expected, None), node.tail


@pytest.mark.parametrize("case, kind, message, logged", [
    ("throws", "TypeError", "no good", 'ERROR\tInvoke Error \t{"errorType":"TypeError","errorMessage":"no good","stack":["TypeError: no good",'),
    ("throwsAtOnce", "OrderError", "no order", 'Invoke Error \t{"errorType":"OrderError","errorMessage":"no order","code":"E7","name":"OrderError","order":7,"stack":["OrderError: no order",'),
    ("throwsText", "string", "just text", 'Invoke Error \t{"errorType":"Error","errorMessage":"just text","stack":["Error: just text",'),
    ("callbackError", "OrderError", "refused", 'Invoke Error \t{"errorType":"OrderError"'),
    ("callbackText", "string", "only text", 'Invoke Error \t{"errorType":"Error","errorMessage":"only text"'),
    ("fail", "Error", "failed", "Invoke Error"),
    ("failNothing", "string", "handled", "Invoke Error"),
    ("bigint", "Error", "Unable to stringify response body", "Invoke Error"),
    ("late", "RangeError", "too late", 'ERROR\tUncaught Exception \t{"errorType":"RangeError","errorMessage":"too late"'),
    ("lost", "Runtime.UnhandledPromiseRejection", "Error: lost",
     'ERROR\tUnhandled Promise Rejection \t{"errorType":"Runtime.UnhandledPromiseRejection","errorMessage":"Error: lost",'),
])
def test_node_errors(node, case, kind, message, logged):
    error, how = node.ask(case)
    assert how == "Unhandled" and set(error) == {"errorType", "errorMessage", "trace"}, (error, node.tail)
    assert (error["errorType"], error["errorMessage"]) == (kind, message)
    assert logged in node.tail and f"\t{node.request_id}\tERROR\t" in node.tail, node.tail


def test_a_node_function_that_exits(node):
    for case, said in [("exits", "Runtime exited without providing a reason"), ("exitsBadly", "Runtime exited with error: exit status 3")]:
        error, how = node.ask(case)
        assert (error, how) == ({"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {node.request_id} Error: {said}"}, "Unhandled")
    assert node.ask("value")[1] is None


def test_an_async_handler_that_never_settles(server, node, name):
    function(server, name, zipped(index__js=NODE), "nodejs20.x", "index.async", Timeout=4)
    error, how = Function(server, name).ask("unsettled")
    assert how == "Unhandled" and error["errorType"] == "Runtime.NodeJsExit" and "a Promise that was never settled" in error["errorMessage"]


CLIENT_CONTEXT = base64.b64encode(json.dumps({"custom": {"k": "v"}, "env": {"locale": "de"}, "client": {"app_title": "shop"}}).encode()).decode()


def test_what_a_node_handler_sees(node):
    seen, _ = node.ask("context", ClientContext=CLIENT_CONTEXT)
    assert seen.pop("logStreamName").startswith("20")
    assert seen == {
        "callbackWaitsForEmptyEventLoop": True, "functionVersion": "$LATEST", "functionName": "handlers-node", "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/handlers-node", "clientContext": {"custom": {"k": "v"}, "env": {"locale": "de"}, "client": {"app_title": "shop"}},
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:handlers-node", "awsRequestId": node.request_id,
        "remaining": True, "remainingIs": "function",
    }


# "Defined runtime environment variables" in the developer guide; AWS_ENDPOINT_URL is the platform's own.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "LD_LIBRARY_PATH", "MINE", "PATH", "TZ", "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT", "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_LAMBDA_LOG_FORMAT",
}


def test_the_environment_is_lambdas(node, python):
    assert set(node.ask("environment")[0]) == ENVIRONMENT | {"NODE_PATH"}
    assert set(python.ask("environment")[0]) == ENVIRONMENT | {"PYTHONPATH"}


@pytest.mark.parametrize("files, handler, kind, message", [
    ({"index.js": "exports.other = 1;"}, "index.handler", "Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
    ({"index.js": "exports.handler = 1;"}, "index.handler", "Runtime.HandlerNotFound", "index.handler is not a function"),
    ({"index.js": "exports.handler = (;"}, "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token ';'"),
    ({"index.js": "throw new TypeError('at once');"}, "index.handler", "TypeError", "at once"),
    ({"index.js": "require('nothere');"}, "index.handler", "Runtime.ImportModuleError",
     "Error: Cannot find module 'nothere'\nRequire stack:\n- /var/task/index.js\n- /var/runtime/index.mjs"),
    ({"other.js": ""}, "index.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'index'\nRequire stack:\n- /var/runtime/index.mjs"),
    ({"index.mjs": "import 'nothere'; export const handler = async () => 1;"}, "index.handler", "Error",
     "Cannot find package 'nothere' imported from /var/task/index.mjs"),
    ({"index.mjs": "await Promise.reject(new RangeError('no start'));"}, "index.handler", "RangeError", "no start"),
    ({"index.js": ""}, "index", "Runtime.MalformedHandlerName", "Bad handler"),
    ({"index.js": ""}, "../index.handler", "Runtime.MalformedHandlerName",
     "'../index.handler' is not a valid handler name. Use absolute paths when specifying root directories in handler names."),
])
def test_node_functions_that_cannot_begin(server, name, files, handler, kind, message):
    function(server, name, zipped(**files), "nodejs20.x", handler)
    one = Function(server, name)
    error, how = one.ask("any")
    assert (error["errorType"], error["errorMessage"], how) == (kind, message, "Unhandled")
    assert f'ERROR\tUncaught Exception \t{{"errorType":"{kind}"' in one.tail, one.tail


@pytest.mark.parametrize("files, handler", [
    ({"index.mjs": "const value = await Promise.resolve('top'); export const handler = async () => value;"}, "index.handler"),
    ({"package.json": '{"type": "module"}', "index.js": "export const handler = async () => 'top';"}, "index.handler"),
    ({"index.cjs": "exports.handler = async () => 'top';"}, "index.handler"),
    ({"src/deep/index.js": "exports.a = { b: { handler: async () => 'top' } };"}, "src/deep/index.a.b.handler"),
    ({"node_modules/shop/index.js": "exports.handler = async () => 'top';"}, "shop.handler"),
    ({"index.mjs": "export default { handler: async () => 'top' };"}, "index.handler"),
])
def test_node_finds_its_handler(server, name, files, handler):
    function(server, name, zipped(**files), "nodejs20.x", handler)
    assert Function(server, name).ask("any") == ("top", None)


def test_node_logs_in_json(server, name, eventually):
    code = """exports.handler = async () => {
      console.log('a %s', 'b'); console.info({ order: 7 }); console.error(new TypeError('alone')); console.error('with', new RangeError('words'));
      console.fatal('last'); console.debug('hidden'); throw new SyntaxError('thrown');
    };"""
    function(server, name, zipped(index__js=code), "nodejs20.x", "index.handler", LoggingConfig={"LogFormat": "JSON"})
    one = Function(server, name)
    one.ask("any")
    logs = server.client("logs")

    def lines():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        found = [json.loads(event["message"]) for event in events]
        return len([line for line in found if line.get("requestId")]) >= 6 and [line for line in found if line.get("requestId")]

    told = eventually(lines)
    for line in told:
        assert line.pop("timestamp") and line.pop("requestId") == one.request_id
        for part in [line, line["message"]]:
            if isinstance(part, dict) and "stackTrace" in part:
                assert part.pop("stackTrace")[0].startswith(part["errorType"])
    assert told == [
        {"level": "INFO", "message": "a b"},
        {"level": "INFO", "message": {"order": 7}},
        {"level": "ERROR", "message": {"errorType": "TypeError", "errorMessage": "alone"}},
        {"level": "ERROR", "message": told[3]["message"], "errorType": "RangeError", "errorMessage": "words"},
        {"level": "FATAL", "message": "last"},
        {"level": "ERROR", "message": {"errorType": "SyntaxError", "errorMessage": "thrown"}},
    ]


PYTHON = r'''
import os, sys, decimal, threading, logging
class OrderError(Exception):
    pass
def nested():
    raise OrderError("no order")
def context(event, c):
    names = ["aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb", "function_version", "invoked_function_arn"]
    seen = {name: getattr(c, name) for name in names}
    seen["client"] = [c.client_context.custom, c.client_context.env, c.client_context.client.app_title]
    seen["identity"] = [c.identity.cognito_identity_id, c.identity.cognito_identity_pool_id]
    seen["remaining"] = 0 < c.get_remaining_time_in_millis() <= 4000
    return seen
def logs(event, c):
    print("printed")
    logging.getLogger().warning("warned\nand more")
    logging.getLogger("mine").error("failed")
    logging.info("hidden")
    c.log("by context\n")
    sys.stderr.write("to stderr\n")
cases = {
    "value": lambda e, c: {"a": [1, "é", None, True, 1.5]},
    "nothing": lambda e, c: None,
    "decimal": lambda e, c: {"n": decimal.Decimal("1.50")},
    "tuple": lambda e, c: (1, 2),
    "set": lambda e, c: {1},
    "bytes": lambda e, c: b'{"as": "it is"}',
    "throws": lambda e, c: nested(),
    "key": lambda e, c: {}["absent"],
    "exits": lambda e, c: sys.exit(0),
    "exitsBadly": lambda e, c: sys.exit(3),
    "exitsAtOnce": lambda e, c: os._exit(4),
    "context": context,
    "logs": logs,
    "environment": lambda e, c: sorted(os.environ),
    "where": lambda e, c: [os.getcwd(), __file__, sys.path[0], __name__],
}
def handler(event, context):
    return cases[event["case"]](event, context)
'''


@pytest.fixture(scope="module")
def python(server):
    function(server, "handlers-python", zipped(app__py=PYTHON), Timeout=4, Environment={"Variables": {"MINE": "yes"}})
    return Function(server, "handlers-python")


@pytest.mark.parametrize("case, expected", [
    ("value", {"a": [1, "é", None, True, 1.5]}), ("nothing", None), ("decimal", {"n": 1.5}), ("tuple", [1, 2]), ("bytes", {"as": "it is"}),
    ("where", ["/var/task", "/var/task/app.py", "/var/task", "app"]),
])
def test_python_answers(python, case, expected):
    assert python.ask(case) == (expected, None), python.tail


@pytest.mark.parametrize("case, kind, message, stack", [
    ("throws", "OrderError", "no order", 3),
    ("key", "KeyError", "'absent'", 2),
    ("set", "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable", 0),
])
def test_python_errors(python, case, kind, message, stack):
    error, how = python.ask(case)
    assert how == "Unhandled" and set(error) == {"errorType", "errorMessage", "requestId", "stackTrace"}
    assert (error["errorType"], error["errorMessage"], error["requestId"]) == (kind, message, python.request_id)
    assert len(error["stackTrace"]) == stack and all(line.startswith('  File "/var/task/app.py", line ') for line in error["stackTrace"]), error
    assert f"[ERROR] {kind}: {message}\n" in python.tail and "Traceback (most recent call last):\n" in python.tail, python.tail
    # The log indents with no-break spaces.
    assert python.tail.count('\u00a0\u00a0File "/var/task/app.py", line ') == stack


def test_a_python_function_that_exits(python):
    for case, said in [("exits", "Runtime exited without providing a reason"), ("exitsBadly", "Runtime exited with error: exit status 3"),
                       ("exitsAtOnce", "Runtime exited with error: exit status 4")]:
        error, how = python.ask(case)
        assert (error, how) == ({"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {python.request_id} Error: {said}"}, "Unhandled")
    assert python.ask("value")[1] is None


def test_what_a_python_handler_sees(python):
    seen, _ = python.ask("context", ClientContext=CLIENT_CONTEXT)
    assert seen.pop("log_stream_name").startswith("20")
    assert seen == {
        "aws_request_id": python.request_id, "log_group_name": "/aws/lambda/handlers-python", "function_name": "handlers-python",
        "memory_limit_in_mb": "128", "function_version": "$LATEST", "client": [{"k": "v"}, {"locale": "de"}, "shop"], "identity": [None, None],
        "invoked_function_arn": "arn:aws:lambda:us-east-1:000000000000:function:handlers-python", "remaining": True,
    }


def test_what_python_logs(python):
    python.ask("logs")
    lines = python.tail
    assert "printed\n" in lines and "by context\n" in lines and "to stderr\n" in lines and "hidden" not in lines
    assert f"Z\t{python.request_id}\twarned\nand more\n" in lines and lines.count("[WARNING]\t20") == 1
    assert f"Z\t{python.request_id}\tfailed\n" in lines and "[ERROR]\t20" in lines


@pytest.mark.parametrize("files, handler, kind, message", [
    ({"app.py": "x = 1\n"}, "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
    ({"other.py": ""}, "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'"),
    ({"app.py": "import nothere\n"}, "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'nothere'"),
    ({"app.py": "def handler(:\n"}, "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax (app.py, line 1)"),
    ({"app.py": "raise KeyError('early')\n"}, "app.handler", "KeyError", "'early'"),
    ({"app.py": ""}, "handler", "Runtime.MalformedHandlerName", "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"),
])
def test_python_functions_that_cannot_begin(server, name, files, handler, kind, message):
    function(server, name, zipped(**files), handler=handler)
    one = Function(server, name)
    error, how = one.ask("any")
    assert (error["errorType"], error["errorMessage"], how) == (kind, message, "Unhandled")
    assert f"[ERROR] {kind}: {message}" in one.tail, one.tail


def test_python_finds_its_handler_in_folders(server, name):
    function(server, name, zipped(**{"src/deep/app.py": "def handler(event, context):\n    return __name__\n"}), handler="src/deep/app.handler")
    assert Function(server, name).ask("any") == ("src.deep.app", None)


def test_callbacks_ended_with_node_24(server, name):
    try:
        function(server, name, zipped(index__js=NODE), "nodejs24.x", "index.async", Timeout=4)
    except ClientError as error:
        assert "nodejs24.x" in error.response["Error"]["Message"]
        pytest.skip("this machine has no Node.js 24")
    one = Function(server, name)
    assert one.ask("ignored")[0].startswith("a handler without a promise") and one.ask("value") == ({"a": [1, "é"]}, None)
    assert not {"callbackWaitsForEmptyEventLoop", "done", "succeed", "fail"} & set(one.ask("context")[0])
    function(server, f"{name}-back", zipped(index__js=NODE), "nodejs24.x", "index.handler")
    one = Function(server, f"{name}-back")
    assert one.ask("callback")[0]["errorType"] == "Runtime.CallbackHandlerDeprecated" and "ERROR\tInit Error \t" in one.tail
