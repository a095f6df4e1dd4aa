"""`tidemill invoke --debug`: one invocation that waits for a debugger. The test is the debugger."""

import base64
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request

import pytest
from conftest import BINARY
from support import function, zipped

RUNTIME = f"python3.{sys.version_info.minor}"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(server, name, port, **more):
    environment = {**os.environ, "NO_COLOR": "1", "AWS_ENDPOINT_URL": server.endpoint, **more}
    command = [BINARY, "invoke", "--debug", "--debug-port", str(port), name, '{"n": 20}']
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def connected(port, eventually):
    def connect():
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            return None

    return eventually(connect)


class Dap:
    """A client of the debug adapter protocol."""

    def __init__(self, connection):
        self.connection, self.file, self.sequence = connection, connection.makefile("rb"), 0

    def ask(self, command, **arguments):
        self.sequence += 1
        body = json.dumps({"seq": self.sequence, "type": "request", "command": command, "arguments": arguments}).encode()
        self.connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return self.sequence

    def until(self, wanted):
        while True:
            length = 0
            while line := self.file.readline().strip():
                length = int(line.split(b":")[1])
            message = json.loads(self.file.read(length))
            if wanted(message):
                return message


@pytest.mark.skipif(not shutil.which(RUNTIME), reason=f"there is no {RUNTIME}")
def test_python_stops_where_it_is_told(server, name, eventually, tmp_path):
    function(server, name, zipped(app__py="def handler(event, context):\n    total = event['n'] + 1\n    return total\n"), runtime=RUNTIME)
    port = free_port()
    where = os.path.dirname(os.path.dirname(importlib.util.find_spec("debugpy").origin))
    process = start(server, name, port, PYTHONPATH=where)
    dap = Dap(connected(port, eventually))
    dap.ask("initialize", adapterID="test", linesStartAt1=True, pathFormat="path")
    dap.ask("attach", justMyCode=False)
    dap.until(lambda message: message.get("event") == "initialized")
    dap.ask("setFunctionBreakpoints", breakpoints=[{"name": "handler"}])
    dap.ask("configurationDone")
    stopped = dap.until(lambda message: message.get("event") == "stopped")
    thread = stopped["body"]["threadId"]
    dap.ask("stackTrace", threadId=thread)
    frame = dap.until(lambda message: message.get("command") == "stackTrace")["body"]["stackFrames"][0]
    assert frame["name"] == "handler"
    dap.ask("evaluate", expression="event.update(n=41)", frameId=frame["id"], context="repl")
    dap.until(lambda message: message.get("command") == "evaluate")
    dap.ask("continue", threadId=thread)
    dap.until(lambda message: message.get("event") in ("terminated", "exited"))
    dap.ask("disconnect")
    dap.file.close()
    dap.connection.close()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "42" in out, out + err
    assert str(port) in err


def test_python_says_what_is_missing(server, name):
    function(server, name, zipped(app__py="def handler(event, context):\n    return 1\n"), runtime=RUNTIME)
    process = start(server, name, free_port(), PYTHONNOUSERSITE="1", PATH=os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if "venv" not in part))
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the interpreter has debugpy of its own")
    assert "pip install debugpy" in err


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node.js")
def test_node_waits_for_an_inspector(server, name, eventually):
    code = zipped(app__js="exports.handler = async event => { console.log('was here'); return event.n + 2 }\n")
    function(server, name, code, runtime="nodejs20.x")
    port = free_port()
    process = start(server, name, port)
    connected(port, eventually).close()
    [target] = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10))
    assert process.poll() is None, "it waits"
    path = target["webSocketDebuggerUrl"].split(str(port), 1)[1]
    with connected(port, eventually) as inspector:
        key = base64.b64encode(os.urandom(16)).decode()
        inspector.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert b"101" in inspector.recv(4096).split(b"\r\n")[0]
        for number, method in enumerate(["Runtime.enable", "Runtime.runIfWaitingForDebugger"], 1):
            text = json.dumps({"id": number, "method": method}).encode()
            inspector.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        # Node.js ends when its debugger has gone.
        for line in process.stderr:
            if "was here" in line:
                break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "22" in out, out + err
