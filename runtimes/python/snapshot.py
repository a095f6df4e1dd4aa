"""Keeps an initialised function for SnapStart and forks it into one sandbox after the other.

The process that ran init stays in a sandbox of its own and has no privileges. A fork of it leaves by one door only: a call of unshare that
its seccomp filter holds back until the platform, which knows when it asked for a restore, lets it pass (snapshot_gate.rs). It arrives in
namespaces of its own, where the spawner makes /tmp, /proc and the network new (spawner/snapshot.rs), and shuts the door behind itself
before any code of the function goes on.
"""

import array
import ctypes
import gc
import json
import os
import random
import signal
import socket
import stat
import struct
import sys
import threading

NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
PR_SET_SECCOMP, PR_CAPBSET_DROP = 22, 24
CAP_LAST = 63
LANDLOCK_RESTRICT_SELF = 446
# Standard streams, the channel and the gate.
OURS = 5
COPY_SIZE = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def check(result, step):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")


def receive(sock):
    """One message and its descriptors, or None when the platform has gone."""
    size = struct.calcsize("i")
    data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(64 * size), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for _, _, content in ancillary:
        fds.frombytes(content[: len(content) - len(content) % size])
    return (json.loads(data), list(fds)) if data else None


def hold(gate, seal):
    """Waits for restores in the process that ran init, and returns in each process that was restored from it.

    `seal` is the filter that shuts the door.
    """
    reason = unfit()
    drop_connections()
    gc.collect()
    gc.freeze()
    gate.send(json.dumps({"unfit": reason}).encode())
    while True:
        message = receive(gate)
        if message is None:
            os._exit(0)
        order, fds = message
        pid = os.fork()
        if pid == 0:
            try:
                enter(dict(zip(order["fds"], fds)), seal)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            gate.close()
            return
        for fd in fds:
            os.close(fd)
        os.waitpid(pid, 0)


def enter(held, seal):
    """Goes through the door into namespaces of its own, and on as the second process there; the first one only waits for it."""
    tmp = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    sync = socket.socket(fileno=held["sync"])
    check(libc.unshare(NAMESPACES), "unshare")
    let_go, hold_on = os.pipe()
    if os.fork():
        # The platform finds the new process as a child of this one, so this one stays until that is done.
        os.close(hold_on)
        sync.send(b"{}")
        os.read(let_go, 1)
        os._exit(0)
    go = receive(sync)
    os.close(hold_on)
    os.close(let_go)
    sync.close()
    if go is None:
        os._exit(1)
    shut_door(go[1], seal)
    pid = os.fork()
    if pid:
        watch(pid, held["status"])
    os.close(held["status"])
    os.setsid()
    for number in (1, 2):
        os.dup2(held["log"], number)
    os.dup2(held["channel"], 3, inheritable=False)
    os.close(held["log"])
    os.close(held["channel"])
    if os.getcwd().startswith("/tmp"):
        os.chdir("/var/task")
    take_along(tmp)
    own_files(tmp)
    os.close(tmp)
    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


def shut_door(fds, seal):
    for capability in range(CAP_LAST + 1):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    check(libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)), "capset")
    for rules in fds:
        check(libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0), "landlock")
        os.close(rules)
    program = ctypes.create_string_buffer(seal, len(seal))
    filter = struct.pack("HP", len(seal) // 8, ctypes.addressof(program))
    check(libc.prctl(PR_SET_SECCOMP, 2, ctypes.addressof(ctypes.create_string_buffer(filter, len(filter))), 0, 0), "seccomp")


def watch(pid, status):
    """The first process of the sandbox: collects others and tells the platform how the function's ended."""
    os.write(status, struct.pack("<i", pid))
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    for fd in open_files():
        if fd != status:
            os.close(fd)
    while True:
        ended, how = os.waitpid(-1, 0)
        if ended == pid:
            os.write(status, struct.pack("<i", how))
            os._exit(0)


def open_files():
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    # The folder that was listed is closed by now.
    return [fd for fd in fds if os.path.islink(f"/proc/self/fd/{fd}")]


def unfit():
    """Why forks of this process would not be what a snapshot's copies are, or None."""
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if threads:
        return "threads that began during init do not go on in a copy: " + ", ".join(threads[:5])
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as children:
            if children.read().strip():
                return "processes that began during init are not part of a copy"
    with open("/proc/self/maps") as maps:
        for line in maps:
            if line.split()[1].endswith("s") and "w" in line.split()[1]:
                return "copies would share memory: " + line.split(None, 5)[-1].strip()
    for fd in open_files():
        kind = os.readlink(f"/proc/self/fd/{fd}")
        if fd >= OURS and not kind.startswith("/") and not is_connection(fd):
            return f"copies would share an open {kind.partition(':')[0]}"
        if kind.startswith("/memfd:"):
            return "copies would share an open file in memory"
    return None


def is_connection(fd):
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.family in (socket.AF_INET, socket.AF_INET6)


def drop_connections():
    """Ends connections made during init, as a restore on Lambda does: no two copies may speak on one."""
    for fd in open_files():
        if fd >= OURS and is_connection(fd):
            with socket.socket(fileno=os.dup(fd)) as sock:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def take_along(tmp):
    """Copies what init left in /tmp, whose folder is open as `tmp`, into the new one."""
    for folder, folders, files, at in os.fwalk(".", dir_fd=tmp, follow_symlinks=False):
        into = os.path.normpath(os.path.join("/tmp", folder))
        for name in folders + files:
            there, found = os.path.join(into, name), os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(name, dir_fd=at), there)
            elif stat.S_ISDIR(found.st_mode):
                os.mkdir(there, 0o700)
            elif stat.S_ISREG(found.st_mode):
                copy(os.open(name, os.O_RDONLY, dir_fd=at), os.open(there, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            else:
                continue
            if not stat.S_ISLNK(found.st_mode):
                os.chmod(there, stat.S_IMODE(found.st_mode) | (0o700 if stat.S_ISDIR(found.st_mode) else 0))
                os.utime(there, ns=(found.st_atime_ns, found.st_mtime_ns))


def copy(source, target):
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        while chunk := reader.read(COPY_SIZE):
            writer.write(chunk)


def own_files(tmp):
    """Opens the files that init left open once more: a copy shares neither place nor content with another."""
    device = os.fstat(tmp).st_dev
    for fd in open_files():
        found = os.fstat(fd)
        if fd < OURS or fd == tmp or not stat.S_ISREG(found.st_mode):
            continue
        path, flags = os.readlink(f"/proc/self/fd/{fd}"), flags_of(fd)
        at, inheritable = os.lseek(fd, 0, os.SEEK_CUR), os.get_inheritable(fd)
        if found.st_dev != device:
            own = os.open(f"/proc/self/fd/{fd}", flags)
        elif os.path.lexists(path):
            own = os.open(path, flags | os.O_NOFOLLOW)
        else:
            own = os.open("/tmp", os.O_RDWR | os.O_TMPFILE, 0o600)
            copy(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), os.dup(own))
        os.lseek(own, at, os.SEEK_SET)
        os.dup2(own, fd, inheritable)
        os.close(own)


def flags_of(fd):
    with open(f"/proc/self/fdinfo/{fd}") as info:
        flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
    return flags & (os.O_ACCMODE | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
