"""Keeps one interpreter warm, with the AWS SDK imported, and forks it into each new sandbox.

Started by the spawner with fd 3 as its control socket. Each message asks for one fork and carries the file descriptors of the sandbox
it goes to. The forked process enters the sandbox's namespaces and cgroup, gives up every privilege, and continues in bootstrap.py.
"""

import array
import ctypes
import gc
import json
import os
import random
import resource
import signal
import socket
import struct
import sys

SERVICES = ("s3", "dynamodb", "sqs", "sns", "events", "lambda", "kinesis", "stepfunctions", "secretsmanager", "ssm", "logs", "sts")
CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 22, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_LAST = 63
LANDLOCK_RESTRICT_SELF, CLOSE_RANGE = 446, 436
SECCOMP_CALL, SECCOMP_FILTER_FLAG_NEW_LISTENER = 277 if os.uname().machine == "aarch64" else 317, 8

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def check(result, step):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")


def receive(control):
    """One message and its descriptors, or None when the platform has gone."""
    size = struct.calcsize("i")
    data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(64 * size), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for _, _, content in ancillary:
        fds.frombytes(content[: len(content) - len(content) % size])
    return (json.loads(data), list(fds)) if data else None


def warm_up():
    """Imports the SDK and builds clients once, so that forks find modules, models and caches in memory.

    A generator that pauses after each step: a fork somebody waits for does not wait for all of them.
    """
    import base64, collections, concurrent.futures, datetime, decimal, email.parser, functools, hashlib, http.client  # noqa: E401,F401
    import io, itertools, re, ssl, tempfile, threading, urllib.parse, urllib.request, uuid, zlib  # noqa: E401,F401

    yield
    if SDK:
        sys.path.insert(1, SDK)
    try:
        import urllib3  # noqa: F401

        yield
        import botocore.session

        yield
        import boto3
        import botocore.loaders
    except ImportError:
        return
    share_models(botocore.loaders)
    # The session boto3.client() uses, made but not used: what it reads from the environment it reads after the fork.
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    boto3.setup_default_session()
    for service in SERVICES:
        yield
        warm_clients(boto3, (service,))
    for service in ("dynamodb", "s3"):
        yield
        warm_session(boto3).resource(service, endpoint_url="http://127.0.0.1:1")


def advance(steps, control):
    """The next step of warming up; after the last one the platform is told. Gives what is left to do."""
    try:
        next(steps)
        return steps
    except StopIteration:
        pass
    except Exception:
        import traceback

        traceback.print_exc()
    gc.collect()
    gc.freeze()
    control.send(b'{"ready":true}')
    return None


def warm_session(boto3):
    """A session to throw away that fills the caches of the default session's loader."""
    session = boto3.Session(aws_access_key_id="warm", aws_secret_access_key="warm", region_name="us-east-1")
    shared = boto3.DEFAULT_SESSION._session.get_component("data_loader")
    session._session.register_component("data_loader", shared)
    session._loader = shared
    return session


def warm_clients(boto3, services):
    session = warm_session(boto3)
    for service in services:
        session.client(service, endpoint_url="http://127.0.0.1:1")


def share_models(loaders):
    """Service models are parsed, and their folders listed, once an interpreter instead of once a session.

    Their prose is left out: every fork would carry it, and nothing but help() shows it.
    """
    load, list_services = loaders.JSONFileLoader._load_file, loaders.Loader.list_available_services
    models, services = {}, {}

    def without_prose(pairs):
        return {name: "" if name == "documentation" and isinstance(value, str) else value for name, value in pairs}

    def load_file(self, full_path, open_method):
        if full_path not in models:
            if not os.path.isfile(full_path):
                return None
            try:
                with open_method(full_path, "rb") as file:
                    models[full_path] = json.loads(file.read().decode("utf-8"), object_pairs_hook=without_prose)
            except ValueError:
                return load(self, full_path, open_method)
        return models[full_path]

    def list_available_services(self, type_name):
        key = (type_name, *self.search_paths)
        if key not in services:
            services[key] = list_services(self, type_name)
        return list(services[key])

    loaders.JSONFileLoader._load_file = load_file
    loaders.Loader.list_available_services = list_available_services


def pre_touch():
    """In a process that waits for a function: copies the pages a first client will touch, before anybody waits for them."""
    boto3 = sys.modules.get("boto3")
    if boto3 is not None:
        warm_clients(boto3, ("s3",))


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def seccomp(program):
    libc_filter = Filter(len(program) // 8, program)
    check(libc.prctl(PR_SET_SECCOMP, 2, ctypes.addressof(libc_filter), 0, 0), "seccomp")


def seccomp_with_gate(program):
    """Installs a filter that asks somebody about some calls. Gives the descriptor they are asked on."""
    libc_filter = Filter(len(program) // 8, program)
    listener = libc.syscall(SECCOMP_CALL, 1, SECCOMP_FILTER_FLAG_NEW_LISTENER, ctypes.byref(libc_filter))
    check(listener, "seccomp listener")
    return listener


def enter(order, namespaces, cgroups):
    for fd in cgroups:
        os.write(fd, b"0")
        os.close(fd)
    for fd in namespaces:
        check(libc.setns(fd, 0), "setns")
        os.close(fd)


def give_up_privileges(order, rules, gate):
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    if order["confine"]:
        for capability in range(CAP_LAST + 1):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
                break
    for name, value in order["rlimits"]:
        number = getattr(resource, name)
        _, hard = resource.getrlimit(number)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (limit, limit))
    if order["uid"] is not None:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    if order["confine"]:
        header = struct.pack("Ii", 0x20080522, 0)
        check(libc.capset(header, bytes(24)), "capset")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if rules is not None:
        check(libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0), "landlock")
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if gate is not None:
        listener = seccomp_with_gate(SECCOMP_WITH_GATE)
        gate.sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
        os.close(listener)
    elif order["confine"] and SECCOMP:
        seccomp(SECCOMP)


def redirect(log):
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def close_from(first, fds, children):
    """Closes everything from `first` on. Kernels before 5.9 have no call for that and are told where it ends."""
    if libc.syscall(CLOSE_RANGE, first, ctypes.c_ulong(0xFFFFFFFF), 0) < 0:
        os.closerange(first, max(*fds, *children.values()) + 8)


def become_function(order, fds, control, children):
    """The forked process: from here on nothing is ours but the channel and the log."""
    names = order["fds"]
    held = dict(zip(names, fds))
    control.detach()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    enter(order, [held[n] for n in names if n.endswith("ns") and n != "pidns"], [held[n] for n in names if n.startswith("cgroup")])
    redirect(held["log"])
    os.dup2(held["channel"], 3, inheritable=False)
    rules = os.dup2(held["landlock"], 4) if "landlock" in held else None
    # Only one of both: what SnapStart keeps is bound to its rules when it is restored.
    gate = socket.socket(fileno=os.dup2(held["gate"], 4, inheritable=False)) if "gate" in held else None
    close_from(4 if rules is None and gate is None else 5, fds, children)
    channel = socket.socket(fileno=3)
    give_up_privileges(order, rules, gate)
    if rules is not None:
        os.close(rules)
    # Changing user id clears the signal; it is asked for again.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    random.seed()
    if order["touch"]:
        pre_touch()
    import bootstrap

    snapshot = None
    if gate is not None:
        import snapshot
    for name in ("zygote", "bootstrap", "snapshot"):
        sys.modules.pop(name, None)
    bootstrap.entrypoint(channel, 2, gate and (lambda: snapshot.hold(gate, SECCOMP)))


def fork(order, fds, control, children):
    held = dict(zip(order["fds"], fds))
    if "pidns" in held:
        check(libc.setns(held["pidns"], CLONE_NEWPID), "setns pid")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become_function(order, fds, control, children)
            code = 0
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code & 0xFF)
    for name, fd in held.items():
        if name != "status":
            os.close(fd)
    os.write(held["status"], struct.pack("<i", pid))
    children[pid] = held["status"]


def reap(children):
    """Tells each sandbox's platform side how its process ended: its pid was written at the fork, now its wait status."""
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        fd = children.pop(pid, None)
        if fd is not None:
            try:
                os.write(fd, struct.pack("<i", status))
            except OSError:
                pass
            os.close(fd)


def main():
    control = socket.socket(fileno=3)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    children = {}
    import select

    control.send(b'{"ready":true}')
    steps = warm_up()
    while True:
        ready, _, _ = select.select([control, wake_read], [], [], 0 if steps else None)
        if steps and not ready:
            steps = advance(steps, control)
        if wake_read in ready:
            os.read(wake_read, 4096)
            reap(children)
        if control in ready:
            message = receive(control)
            if message is None:
                os._exit(0)
            order, fds = message
            try:
                fork(order, fds, control, children)
            except OSError as error:
                print(f"fork: {error}", file=sys.stderr, flush=True)
                for fd in fds:
                    try:
                        os.close(fd)
                    except OSError:
                        pass


SDK = os.environ.pop("TIDEMILL_SDK", "")
SECCOMP = bytes.fromhex(os.environ.pop("TIDEMILL_SECCOMP", ""))
SECCOMP_WITH_GATE = bytes.fromhex(os.environ.pop("TIDEMILL_SECCOMP_WITH_GATE", ""))

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import bootstrap  # noqa: F401  (compiled before the first fork)

    main()
