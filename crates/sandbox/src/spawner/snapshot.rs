//! Makes a sandbox around a process that was forked from a snapshot and has just entered namespaces of its own.
//!
//! The process has no rights outside of its fresh user namespace, so what a cell's init does for others (`cell.rs`) is done to it from here: a
//! child of the spawner maps its user, enters its namespaces one by one, and opens and mounts there what is to be new. The process waits
//! meanwhile. Everything it may have left behind on purpose is harmless: nothing here follows a path or a descriptor it made.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigHandler, Signal, signal};

use super::cell::{RUNTIME_API_PORT, Step, XRAY_PORT, loopback_up, reply, step};
use super::messages::{Ready, RestorePlan};
use super::template::{GID, UID};
use super::{landlock, mounts, tun};

/// In a child of the spawner: answers on `control` with what it opened. `passed` is the process that entered the namespaces.
pub fn run(plan: &RestorePlan, control: &OwnedFd, passed: &OwnedFd) -> i32 {
    let made = make(plan, passed);
    let sent = match made {
        Ok((ready, opened)) => {
            let opened: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
            reply(control, &ready, &opened)
        }
        Err((step, error)) => {
            reply(control, &Ready { error: Some((step.into(), error.to_string())), ..Ready::default() }, &[])
        }
    };
    i32::from(sent.is_err())
}

fn make(plan: &RestorePlan, passed: &OwnedFd) -> Step<(Ready, Vec<OwnedFd>)> {
    // SAFETY: the default disposition: the child below is to be waited for.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    let first = step("process", first_process(plan.pid, passed))?;
    step("user", map_user(plan))?;
    let mut ready = Ready::default();
    let (mut opened, mut missing) = (Vec::new(), Vec::new());
    let mut give = |name: &str, fd: OwnedFd| {
        ready.fds.push(name.into());
        opened.push(fd);
    };
    let enter = |flags: CloneFlags| setns(&first, flags).map_err(io::Error::from);
    step("network namespace", enter(CloneFlags::CLONE_NEWNET))?;
    step("loopback", loopback_up())?;
    give("api", step("runtime api", TcpListener::bind(("127.0.0.1", RUNTIME_API_PORT)))?.into());
    give("endpoint", step("endpoint", TcpListener::bind(("127.0.0.1", plan.endpoint_port)))?.into());
    if plan.xray {
        give("xray", step("x-ray", UdpSocket::bind(("127.0.0.1", XRAY_PORT)))?.into());
    }
    if plan.tun {
        // The way to the host's device is closed once the mounts are the sandbox's.
        match tun::open() {
            Ok(tun) => give("tun", tun),
            Err(error) => missing.push(format!("Functions have no outbound network: {error}")),
        }
    }
    step("process namespace", enter(CloneFlags::CLONE_NEWPID))?;
    step("mount namespace", enter(CloneFlags::CLONE_NEWNS))?;
    let (uid, gid) = plan.uid.map_or((UID, GID), |uid| (uid, uid));
    let tmp = format!("size={}m,mode=700,uid={uid},gid={gid}", plan.tmp_mb);
    step("tmp", mounts::tmpfs(Path::new("/tmp"), &tmp))?;
    step("proc", mount_proc())?;
    if let Some(rules) = step("landlock", landlock::rules())? {
        give("landlock", rules);
    }
    give("init", first);
    ready.missing = missing;
    Ok((ready, opened))
}

/// The child of the process that entered: the first one in the new process namespace.
fn first_process(pid: i32, passed: &OwnedFd) -> io::Result<OwnedFd> {
    let children = fs::read_to_string(of(pid, &format!("task/{pid}/children")))?;
    let child = children.split_whitespace().next().and_then(|child| child.parse().ok());
    let Some(child) = child else { return Err(io::ErrorKind::NotFound.into()) };
    let child = pidfd(child)?;
    // Both numbers meant these processes if the parent still lives: it stays until its child goes on.
    let mut waited = [PollFd::new(passed.as_fd(), PollFlags::POLLIN)];
    if poll(&mut waited, PollTimeout::ZERO)? != 0 {
        return Err(io::Error::other("it has ended"));
    }
    Ok(child)
}

/// In the new user namespace there is one user: the one the function had before.
fn map_user(plan: &RestorePlan) -> io::Result<()> {
    let (uid, gid) = plan.uid.map_or((UID, GID), |uid| (uid, uid));
    fs::write(of(plan.pid, "uid_map"), format!("{uid} {uid} 1"))?;
    fs::write(of(plan.pid, "gid_map"), format!("{gid} {gid} 1"))
}

/// Its own processes only. A mount of `/proc` shows those of whoever makes it, so that must be somebody in there.
fn mount_proc() -> io::Result<()> {
    let pid = super::serve::fork(CloneFlags::empty())?;
    if pid == 0 {
        std::process::exit(i32::from(mounts::proc(Path::new("/proc")).is_err()));
    }
    let mut status = 0;
    // SAFETY: waits for the child just made and writes one integer.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    if waited == pid && status == 0 { Ok(()) } else { Err(io::Error::other("it could not be mounted")) }
}

fn of(pid: i32, file: &str) -> PathBuf {
    mounts::of_host(&Path::new("/proc").join(pid.to_string()).join(file))
}

fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: opens a descriptor; no pointers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
