"""What a function cannot reach, tried by real functions. Each attempt says what the attacker gets."""

import io
import json
import os
import pathlib
import shutil
import socket
import stat
import tempfile
import threading
import time
import zipfile

import pytest

from support import function, refused, zipped

# Runs what its event says, with helpers that give errors by name; `result` is the answer.
ATTACKER = '''
import ctypes, errno, glob, json, os, signal, socket, stat, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what, *arguments):
    try:
        return what(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def call(number, *arguments):
    return "done" if libc.syscall(number, *arguments) >= 0 else errno.errorcode[ctypes.get_errno()]

def handler(event, context):
    scope = globals()
    scope["result"] = None
    exec(event["code"], scope)
    return scope["result"]
'''


@pytest.fixture(scope="module")
def attacker(server):
    function(server, "attacker", zipped(app__py=ATTACKER), MemorySize=512, Timeout=30)
    return lambda code: run(server, "attacker", code)


def run(server, name, code):
    answer = server.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"code": code}))
    body = json.load(answer["Payload"])
    assert "FunctionError" not in answer, body
    return body


def another(server, name, **more):
    function(server, name, zipped(app__py=ATTACKER), Timeout=30, **more)
    return lambda code: run(server, name, code)


def test_host_files(server, attacker):
    looked = ["/etc/shadow", "/root", "/home", "/work", "/sys", "/run", "/boot", "/.host/old", "/var/lib", "/var/run", "/dev/shm",
              server.data, os.path.expanduser("~"), "/proc/1/root/etc/shadow", "/proc/1/cwd", "/proc/kcore", "/proc/kmsg"]
    found = attacker(f"result = {{path: attempt(lambda p: open(p).read(1) if not os.path.isdir(p) else os.listdir(p), path) for path in {looked!r}}}")
    assert set(found.values()) <= {"ENOENT", "EACCES", "EPERM"}, found


def test_only_tmp_can_be_written(attacker):
    places = ["/x", "/var/task/x", "/var/task/app.py", "/opt/x", "/var/runtime/x", "/var/runtime/bootstrap.py", "/usr/x", "/etc/passwd",
              "/dev/x", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/1/oom_score_adj"]
    found = attacker(f"result = {{path: attempt(open, path, 'a') for path in {places!r}}}")
    assert set(found.values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}, found
    assert attacker("open('/tmp/x', 'w').write('x'); os.rename('/tmp/x', '/tmp/y'); os.mkdir('/tmp/d'); os.rename('/tmp/y', '/tmp/d/y')\n"
                    "result = attempt(os.listdir, '/tmp/d')") == ["y"]


def test_host_processes(server, attacker):
    pid = server.process.pid
    found = attacker(f"result = [attempt(os.kill, {pid}, 9), attempt(os.kill, {pid}, 0), attempt(open, '/proc/{pid}/mem'),"
                     " len([p for p in os.listdir('/proc') if p.isdigit()]), call(101, 16, 1, 0, 0), attempt(open, '/proc/1/mem', 'rb'),"
                     " attempt(os.listdir, '/proc/1/fd'), attempt(open, '/proc/1/environ')]")
    assert found[:3] == ["ESRCH", "ESRCH", "ENOENT"] and found[3] < 10
    assert found[4] == "EPERM" and set(found[5:]) <= {"EPERM", "EACCES"}, found
    assert attacker("result = [attempt(os.kill, -1, 9), attempt(os.kill, 1, 9), os.path.exists('/proc/1')]")[2] is True
    assert server.process.poll() is None


def test_namespaces_and_mounts(attacker):
    found = attacker('''
result = {
    "mount": call(165, b"none", b"/tmp", b"tmpfs", 0, 0), "umount": call(166, b"/tmp", 0), "unshare": call(272, 0x10000000),
    "setns": call(308, os.open("/proc/self/ns/net", os.O_RDONLY), 0), "clone": call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "chroot": call(161, b"/tmp"), "pivot_root": call(155, b"/tmp", b"/tmp"), "open_tree": call(428, -100, b"/", 1),
    "open_by_handle_at": call(304, 3, 0, 0), "move_mount": call(429, 0, 0, 0, 0, 0), "mount_setattr": call(442, -100, b"/", 0, 0, 0),
    "mknod": attempt(os.mknod, "/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)),
}''')
    assert set(found.values()) == {"EPERM"}, found


def test_kernel_interfaces(attacker):
    numbers = {"bpf": 321, "perf_event_open": 298, "io_uring_setup": 425, "keyctl": 250, "add_key": 248, "request_key": 249, "userfaultfd": 323,
               "init_module": 175, "finit_module": 313, "kexec_load": 246, "reboot": 169, "swapon": 167, "syslog": 103, "quotactl": 179,
               "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438, "settimeofday": 164, "fanotify_init": 300, "acct": 163}
    found = attacker(f"result = {{name: call(number, 0, 0, 0, 0, 0, 0) for name, number in {numbers!r}.items()}}")
    assert set(found.values()) == {"EPERM"}, found


def test_devices(attacker):
    assert set(attacker("result = os.listdir('/dev')")) == {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr"}
    assert attacker("result = attempt(os.chmod, '/dev/null', 0o600)") in ("EPERM", "EROFS")
    flags = "result = [bool(os.statvfs(place).f_flag & (os.ST_NOSUID | os.ST_NODEV)) for place in ('/', '/usr', '/tmp', '/var/task', '/proc')]"
    assert attacker(flags) == [True] * 5


def test_programs_with_the_set_uid_bit(attacker):
    found = attacker('''
suid = [path for path in glob.glob("/usr/bin/*") + glob.glob("/usr/sbin/*") if os.stat(path).st_mode & stat.S_ISUID]
state = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
tried = [subprocess.run([path, "-c", "id -u"], input="", capture_output=True, text=True, timeout=10).stdout for path in suid if path.endswith("/su")]
result = [os.geteuid() != 0, state["NoNewPrivs"].strip(), state["CapEff"].strip(), state["CapBnd"].strip(), [text for text in tried if "0" in text.split()]]
''')
    assert found == [True, "1", "0" * 16, "0" * 16, []]


def test_sockets_of_the_host(attacker):
    abstract, stream = "\0escape" + os.urandom(8).hex(), socket.socket()
    stream.bind(("127.0.0.1", 0))
    stream.listen()
    host = socket.socket(socket.AF_UNIX)
    host.bind(abstract)
    host.listen()
    found = attacker(f'''
def connect(family, address):
    with socket.socket(family) as made:
        made.settimeout(5)
        made.connect(address)
        return "connected"
result = {{
    "abstract": attempt(connect, socket.AF_UNIX, {abstract!r}), "loopback": attempt(connect, socket.AF_INET, ("127.0.0.1", {stream.getsockname()[1]})),
    "metadata": attempt(connect, socket.AF_INET, ("169.254.169.254", 80)), "docker": attempt(connect, socket.AF_UNIX, "/var/run/docker.sock"),
}}''')
    host.close()
    stream.close()
    assert found == {"abstract": "ECONNREFUSED", "loopback": "ECONNREFUSED", "metadata": "ECONNREFUSED", "docker": "ENOENT"}


def test_unusual_sockets(attacker):
    found = attacker('''
kinds = {"raw": (2, 3, 1), "raw ip": (2, 3, 255), "packet": (17, 3, 3), "vsock": (40, 1, 0), "alg": (38, 5, 0), "bluetooth": (31, 3, 1),
         "sctp": (2, 5, 132), "dccp": (2, 6, 33), "netfilter": (16, 3, 12), "generic netlink": (16, 3, 16), "audit": (16, 3, 9)}
result = {name: attempt(lambda: socket.socket(*kind) and "open") for name, kind in kinds.items()}
result["route"] = attempt(lambda: socket.socket(16, 3, 0) and "open")
result["names"] = bool(socket.if_nameindex())
''')
    assert found.pop("route") == "open" and found.pop("names")
    assert set(found.values()) <= {"EPERM", "EAFNOSUPPORT", "EPROTONOSUPPORT"}, found


def test_another_functions_sandbox(server, attacker, name):
    victim = another(server, name)
    victim("open('/tmp/secret', 'w').write('secret')\nkept = socket.socket()\nkept.bind(('127.0.0.1', 7777))\nkept.listen()")
    found = attacker('''
result = [os.path.exists("/tmp/secret"), attempt(lambda: socket.create_connection(("127.0.0.1", 7777), 5))]
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        result.append(NAME in open(f"/proc/{pid}/environ").read())
    except OSError:
        pass
'''.replace("NAME", repr(name)))
    assert found[:2] == [False, "ECONNREFUSED"] and not any(found[2:])


def test_a_fork_bomb_harms_nobody_else(server, name, attacker):
    bomb = another(server, name, MemorySize=3008)
    done = bomb('''
import _thread
result = []
for _ in range(20):
    if os.fork() == 0:
        while True:
            pass
made = 0
try:
    while made < 5000:
        _thread.start_new_thread(signal.pause, ())
        made += 1
except RuntimeError:
    result = [made < 1100, attempt(os.fork)]
''')
    # All that is still there, running or frozen: the others work.
    assert attacker("result = 1") == 1
    assert server.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    server.client("lambda").delete_function(FunctionName=name)


def test_connections_without_end(server, name, attacker):
    """Each costs the platform a descriptor: a function gets so many and no more."""
    greedy = another(server, name, MemorySize=1024)
    before = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    greedy('''
import urllib.parse
port = urllib.parse.urlparse(os.environ["AWS_ENDPOINT_URL"]).port
told, kept = os.pipe(), []
for _ in range(3):
    if os.fork() == 0:
        for _ in range(900):
            made = socket.socket()
            made.setblocking(False)
            made.connect_ex(("127.0.0.1", port))
            kept.append(made)
            time.sleep(0.0002)
        os.write(told[1], b"x")
        signal.pause()
result = [os.read(told[0], 1) for _ in range(3)] and None
''')
    assert attacker("result = 1") == 1
    assert server.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert len(os.listdir(f"/proc/{server.process.pid}/fd")) < before + 1200
    server.client("lambda").delete_function(FunctionName=name)


def test_memory_beyond_the_limit(server, name):
    eater = another(server, name, MemorySize=128)
    assert eater("result = 'fine'") == "fine"
    answer = server.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"code": "kept = [bytearray(10 << 20) for _ in range(100)]"}),
                                            LogType="Tail")
    body = json.load(answer["Payload"])
    assert answer["FunctionError"] == "Unhandled" and body["errorType"] == "Runtime.ExitError"
    assert body["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert eater("result = 'again'") == "again"


def test_a_full_tmp(server, name):
    writer = another(server, name, EphemeralStorage={"Size": 600})
    found = writer('''
written = 0
try:
    with open("/tmp/big", "wb", buffering=0) as file:
        while written < 1 << 30:
            written += file.write(bytes(8 << 20))
except OSError as error:
    result = [errno.errorcode[error.errno], written >> 20]
os.unlink("/tmp/big")
''')
    assert found[0] == "ENOSPC" and 590 <= found[1] <= 600


def test_what_is_left_running_stands_still_between_invocations(attacker, eventually):
    attacker('''
gap, last, rounds = 0.0, time.monotonic(), 0
def busy():
    global gap, last, rounds
    while rounds >= 0:
        now = time.monotonic()
        gap, last, rounds = max(gap, now - last), now, rounds + 1
threading.Thread(target=busy, daemon=True).start()
if os.fork() == 0:
    while True:
        pass
''')
    # The busy thread notes the longest time it did not run: the freezing, once the sandbox is used again.
    def stood_still():
        time.sleep(0.5)
        return attacker("result = gap") > 0.3

    eventually(stood_still)
    attacker("rounds = -10 ** 9\nos.kill(-1, 9)")


@pytest.mark.parametrize("path", ["../evil.py", "/tmp/evil.py", "a/../../evil.py"])
def test_paths_that_lead_out_of_the_archive(server, name, path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass\n")
        archive.writestr(path, "evil")
    with refused("InvalidParameterValueException", 400):
        function(server, name, buffer.getvalue())
    assert not list(pathlib.Path(server.data).parent.rglob("evil.py")) and not os.path.exists("/tmp/evil.py")


def test_links_that_lead_out_of_the_archive(server, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return open('link').read()\n")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/shadow")
    function(server, name, buffer.getvalue())
    body = server.client("lambda").invoke(FunctionName=name)["Payload"].read().decode()
    assert "root:" not in body


@pytest.mark.parametrize("variable", ["NODE_OPTIONS", "LD_PRELOAD"])
def test_what_the_interpreter_is_told_is_obeyed_inside_only(server, name, variable):
    """These variables are read when Node.js starts: at that time nothing of the host may be there."""
    outside = pathlib.Path(tempfile.mkdtemp())
    try:
        outside.chmod(0o755)
        (outside / "evil.js").write_text("globalThis.evil = require('fs').readdirSync('/.host/old');\n")
        (outside / "evil.js").chmod(0o644)
        values = [f"{root}{outside}/evil.js" for root in ("/.host/old", "/.host", "")]
        value = f"--require {values[0]}" if variable == "NODE_OPTIONS" else ":".join(values)
        code = "exports.handler = async () => globalThis.evil || 'nothing';\n"
        function(server, name, zipped(app__js=code), runtime="nodejs20.x", Environment={"Variables": {variable: value}})
        answer = server.client("lambda").invoke(FunctionName=name)
        body = json.load(answer["Payload"])
        assert "FunctionError" in answer if variable == "NODE_OPTIONS" else body == "nothing", body
    finally:
        shutil.rmtree(outside)


def below(pid):
    """All processes below one."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            children.setdefault(int(pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
        except OSError:
            continue
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, [])]
        found += new
    return found


def test_nothing_outlives_a_platform_that_is_killed(private_server, name, eventually):
    started = another(private_server, name)
    started("if os.fork() == 0:\n    os.setsid()\n    while True:\n        pass")
    family = below(private_server.process.pid)
    frozen = [pid for pid in family if "/tidemill-" in pathlib.Path(f"/proc/{pid}/cgroup").read_text()]
    assert len(frozen) >= 2

    def stands_still():
        return all(b"frozen" in pathlib.Path(f"/proc/{pid}/wchan").read_bytes() or state(pid) in "DT" for pid in frozen[:2])

    def state(pid):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    eventually(stands_still)
    private_server.kill()
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family))


def test_functions_and_the_platform_answer_while_another_prints_without_end(server, attacker, name):
    noisy = another(server, name)
    printing = threading.Thread(target=lambda: noisy("line = 'x' * 1000 + '\\n'\nfor _ in range(20000):\n    sys.stdout.write(line)"))
    printing.start()
    assert attacker("result = 1") == 1
    printing.join()
