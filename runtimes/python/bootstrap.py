"""Runs Python functions: waits for a function, imports its handler, then serves invocations, behaving as Lambda's runtime does.

It speaks a private channel (length-prefixed frames on a socket), not HTTP: see crates/sandbox/src/channel.rs for the other end.
zygote.py forks the processes this runs in; entrypoint() is where each begins.
"""

import importlib
import json
import logging
import os
import re
import resource
import struct
import sys
import time
import traceback

FRAME = struct.Struct("<II")
LOG_CHUNK = struct.Struct("<IIq")
LOG_MAGIC = 0xA55A0003
LOG_MORE = 1 << 31
LOG_CHUNK_MAX = 4096 - LOG_CHUNK.size
SDK_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
# A function that sets these gets a default session of its own instead of the one made ahead.
SESSION_VARIABLES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_DATA_PATH")


class Channel:
    """Frames to and from the platform: two lengths, a JSON header, a body."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def receive(self):
        """The next (header, body); exits quietly when the platform has gone."""
        self._fill(FRAME.size)
        head, body = FRAME.unpack_from(self.buffer)
        end = FRAME.size + head + body
        self._fill(end)
        header = json.loads(bytes(self.buffer[FRAME.size : FRAME.size + head]))
        content = bytes(self.buffer[FRAME.size + head : end])
        del self.buffer[:end]
        return header, content

    def send(self, header, body=b""):
        head = json.dumps(header).encode()
        frame = FRAME.pack(len(head), len(body)) + head
        self.sock.sendall(frame + body if len(body) < 65536 else frame)
        if len(body) >= 65536:
            self.sock.sendall(body)

    def _fill(self, size):
        while len(self.buffer) < size:
            chunk = self.sock.recv(max(65536, size - len(self.buffer)))
            if not chunk:
                os._exit(0)
            self.buffer += chunk


class LogPipe:
    """Writes whole log events, of several lines each, into the pipe that stdout and stderr share.

    Chunks up to PIPE_BUF are written at once by the kernel, so events and plain output never mix.
    """

    def __init__(self, fd):
        self.fd = fd

    def event(self, text):
        data = text.encode("utf-8", "backslashreplace")
        now = time.time_ns() // 1000
        while True:
            chunk, data = data[:LOG_CHUNK_MAX], data[LOG_CHUNK_MAX:]
            size = len(chunk) | LOG_MORE if data else len(chunk)
            os.write(self.fd, LOG_CHUNK.pack(LOG_MAGIC, size, now) + chunk)
            if not data:
                return


class Unbuffered:
    """stdout and stderr as Lambda has them: every write is out at once, so that nothing stays behind in a frozen sandbox."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        written = self.stream.write(text)
        self.stream.flush()
        return written

    def writelines(self, lines):
        self.stream.writelines(lines)
        self.stream.flush()


class LambdaLoggerHandler(logging.Handler):
    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def emit(self, record):
        try:
            self.pipe.event(self.format(record))
        except Exception:
            self.handleError(record)


class LambdaLoggerFilter(logging.Filter):
    """Puts the request id of the current invocation on every record."""

    request_id = ""

    def filter(self, record):
        record.aws_request_id = LambdaLoggerFilter.request_id or ""
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object an event, when the function's log format is JSON."""

    STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "aws_request_id"}

    def format(self, record):
        entry = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            kind, error, trace = record.exc_info
            entry["stackTrace"] = traceback.format_tb(trace)
            entry["errorType"] = kind.__name__
            entry["errorMessage"] = str(error)
            entry["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        entry.update((k, v) for k, v in vars(record).items() if k not in self.STANDARD)
        if record.aws_request_id:
            entry["requestId"] = record.aws_request_id
        return json.dumps(entry, default=str) + "\n"


class CognitoIdentity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __repr__(self):
        return f"CognitoIdentity([cognito_identity_id={self.cognito_identity_id},cognito_identity_pool_id={self.cognito_identity_pool_id}])"


class Client:
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

    def __repr__(self):
        return "Client([" + ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__) + "])"


class ClientContext:
    __slots__ = ("custom", "env", "client")

    def __repr__(self):
        return f"ClientContext([custom={self.custom},env={self.env},client={self.client}])"


class LambdaContext:
    """The second argument of every handler."""

    def __init__(self, request):
        self.aws_request_id = request["id"]
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = request["arn"]
        self.tenant_id = None
        self.client_context = client_context(request.get("client"))
        self.identity = identity(request.get("identity"))
        self._epoch_deadline_time_in_ms = request["deadline_ms"]

    def get_remaining_time_in_millis(self):
        return max(int(self._epoch_deadline_time_in_ms - time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        members = ("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb",
                   "function_version", "invoked_function_arn", "client_context", "identity", "tenant_id")
        return "LambdaContext([" + ",".join(f"{name}={getattr(self, name)}" for name in members) + "])"


def client_context(text):
    if not text:
        return None
    given = json.loads(text)
    context = ClientContext()
    context.custom = given.get("custom")
    context.env = given.get("env")
    context.client = None
    if given.get("client") is not None:
        context.client = Client()
        for name in Client.__slots__:
            setattr(context.client, name, given["client"].get(name))
    return context


def identity(text):
    given = json.loads(text) if text else {}
    who = CognitoIdentity()
    who.cognito_identity_id = given.get("cognitoIdentityId")
    who.cognito_identity_pool_id = given.get("cognitoIdentityPoolId")
    return who


class Fault(Exception):
    """An error of the runtime's own, with the type Lambda gives it."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = kind
        self.trace = trace or []


def load_handler(name):
    """The handler function, or a Fault worded as Lambda words it."""
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': {error}")
    path = module_name.replace("/", ".")
    try:
        if path.split(".")[0] in sys.builtin_module_names:
            raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {path} as a handler module")
        module = importlib.import_module(path)
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}")
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", trace)
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")


def error_object(error, request_id):
    """What a failed invocation answers: errorMessage, errorType, requestId, stackTrace."""
    if isinstance(error, Fault):
        return {"errorMessage": str(error), "errorType": error.kind, "requestId": request_id, "stackTrace": error.trace}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and not f.filename.startswith("<frozen importlib")]
    return {"errorMessage": str(error), "errorType": type(error).__name__, "requestId": request_id, "stackTrace": traceback.format_list(frames)}


def log_error(pipe, report):
    """The error as Lambda puts it into the log: one event."""
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        entry = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR", **report}
        pipe.event(json.dumps(entry) + "\n")
        return
    lines = [f"[ERROR] {report['errorType']}: {report['errorMessage']}".rstrip(": "), "Traceback (most recent call last):"]
    for line in (line for element in report["stackTrace"] for line in element.splitlines()):
        # Lambda indents with no-break spaces.
        lines.append("\u00a0" * (len(line) - len(line.lstrip(" "))) + line.lstrip(" "))
    pipe.event("\n".join(lines) + "\n")


def set_up_logging(pipe):
    handler = LambdaLoggerHandler(pipe)
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S"))
        logging.Formatter.converter = time.gmtime
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(os.environ.get("AWS_LAMBDA_LOG_LEVEL", ""), os.environ.get("AWS_LAMBDA_LOG_LEVEL"))
    if level:
        root.setLevel(level)


def set_up_environment(start):
    os.environ.clear()
    os.environ.update(start["env"])
    if "boto3" in sys.modules and any(name in os.environ for name in SESSION_VARIABLES):
        sys.modules["boto3"].DEFAULT_SESSION = None
    time.tzset()
    os.chdir(start["task_root"])


def set_up_path(start):
    """Code, then layers, then the SDK, then the interpreter's own: as sys.path is on Lambda."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    own = [start["task_root"]] + [p for p in os.environ.get("PYTHONPATH", "").split(":") if p and p != start["runtime_root"]]
    for root in start["opt_roots"]:
        own += [f"{root}/python/lib/{version}/site-packages", f"{root}/python"]
    forget_sdk_if_packed(own)
    runtime = [start["runtime_root"]] + ([start["sdk"]] if start["sdk"] else [])
    rest = [p for p in sys.path if p not in own and p not in runtime]
    if start["sdk"]:
        # As on Lambda, functions see the SDK and the standard library, not what else this machine's Python has installed.
        rest = [p for p in rest if not p.endswith(("site-packages", "dist-packages"))]
    sys.path[:] = own + runtime + rest
    # Only what is known of the function's own folders is stale; letting go of the rest would copy many pages of the zygote's.
    for folder in own:
        sys.path_importer_cache.pop(folder, None)


def forget_sdk_if_packed(folders):
    """A function that packs its own SDK (or a part of it) gets its own: the preloaded one is dropped."""
    if not any(os.path.exists(f"{folder}/{name}") for folder in folders for name in SDK_PACKAGES):
        return
    for name in [n for n in sys.modules if n.split(".")[0] in SDK_PACKAGES]:
        del sys.modules[name]


def marshal(value):
    """An answer as JSON. Bytes are the answer itself; decimals keep their digits; other letters are escaped up to Python 3.11."""
    if isinstance(value, bytes):
        return value
    digits = []

    def plain(unknown):
        decimal = sys.modules.get("decimal")
        if not decimal or not isinstance(unknown, decimal.Decimal):
            raise TypeError(f"Object of type {type(unknown).__name__} is not JSON serializable")
        digits.append("NaN" if unknown.is_nan() else str(unknown))
        return f"{mark}{len(digits) - 1}"

    mark = f"decimal {id(digits)} "
    try:
        text = json.dumps(value, ensure_ascii=sys.version_info < (3, 12), default=plain)
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}")
    if digits:
        text = re.sub(f'"{mark}([0-9]+)"', lambda found: digits[int(found[1])], text)
    return text.encode("utf-8", "surrogatepass")


def unmarshal(body):
    try:
        return json.loads(body)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}")


def peak_kb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def serve(channel, pipe, handler):
    while True:
        request, body = channel.receive()
        LambdaLoggerFilter.request_id = request["id"]
        if request.get("trace"):
            os.environ["_X_AMZN_TRACE_ID"] = request["trace"]
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        try:
            answer = marshal(handler(unmarshal(body), LambdaContext(request)))
        except Exception as error:
            report = error_object(error, request["id"])
            log_error(pipe, report)
            sys.stdout.flush()
            channel.send({"t": "error", "type": report["errorType"], "rss": peak_kb()}, json.dumps(report).encode())
            continue
        channel.send({"t": "response", "rss": peak_kb()}, answer)


def fail_init(channel, pipe, error):
    report = error_object(error, "")
    log_error(pipe, report)
    channel.send({"t": "init_error", "type": report["errorType"], "rss": peak_kb()}, json.dumps(report).encode())
    os._exit(1)


def call_hooks(which, kind):
    """SnapStart's hooks, if the function registered any."""
    hooks = sys.modules.get("snapshot_restore_py")
    registered = getattr(hooks, which)() if hooks else []
    # What is to be done before the snapshot is done in reverse order, as on Lambda.
    for func, args, kwargs in registered[::-1] if which == "get_before_snapshot" else registered[:]:
        try:
            func(*args, **kwargs)
        except Exception as error:
            trace = error_object(error, "")["stackTrace"]
            raise Fault(kind, f"{type(error).__name__}: {error}", trace)


def be_kept(channel, pipe, start, hold):
    """Becomes what SnapStart restores from; goes on, with an environment of its own, in each sandbox that was restored."""
    try:
        call_hooks("get_before_snapshot", "Runtime.BeforeSnapshotError")
    except Fault as error:
        fail_init(channel, pipe, error)
    channel.send({"t": "ready", "rss": peak_kb()})
    hold()
    channel.buffer.clear()
    fresh, _ = channel.receive()
    # What the function has set itself stays.
    os.environ.update({name: value for name, value in fresh["env"].items() if start["env"].get(name) != value})
    try:
        call_hooks("get_after_restore", "Runtime.AfterRestoreError")
    except Fault as error:
        fail_init(channel, pipe, error)


def entrypoint(sock, log_fd, hold=None):
    """Where a forked process begins: waits for its function and runs it until the platform closes the channel.

    With `hold` it is one for SnapStart: what that waits for is in snapshot.py.
    """
    channel, pipe = Channel(sock), LogPipe(log_fd)
    start, _ = channel.receive()
    set_up_environment(start)
    set_up_path(start)
    set_up_logging(pipe)
    sys.stdout, sys.stderr = Unbuffered(sys.stdout), Unbuffered(sys.stderr)
    sys.argv[:] = [start["runtime_root"] + "/bootstrap.py"]
    try:
        handler = load_handler(start["handler"])
    except Exception as error:
        fail_init(channel, pipe, error)
    if hold:
        be_kept(channel, pipe, start, hold)
    channel.send({"t": "ready", "rss": peak_kb()})
    try:
        serve(channel, pipe, handler)
    finally:
        sys.stdout.flush()
