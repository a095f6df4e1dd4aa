//! The door out of a snapshot's sandbox: the process that ran init may not enter new namespaces, unless a restore is under way.
//!
//! A seccomp filter with user notification holds that one call back until it is answered here. It passes once for each restore that was asked
//! for; at any other time, and for any other process, it is refused like for every function. The answer may be "go on" because the call's only
//! argument is a number, which nobody can change after it was looked at. Whoever passes gets every capability in a user namespace of its
//! own, which owns nothing but the namespaces made in the same call; all else the filter refuses stays refused.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::async_fd;

// linux/seccomp.h
const RECEIVE: libc::c_ulong = 0xC050_2100;
const SEND: libc::c_ulong = 0xC018_2101;
const IS_VALID: libc::c_ulong = 0x4008_2102;
const GO_ON: u32 = 1;

pub struct Gate {
    expected: Arc<Mutex<Option<Expected>>>,
    _keeping: JoinSet<()>,
}

/// A restore that was asked for.
struct Expected {
    /// Where the process belongs from the moment it passes: its sandbox's control groups.
    entrances: Vec<OwnedFd>,
    passed: oneshot::Sender<Passed>,
}

/// The process that passed: its number on this machine, and itself.
pub struct Passed {
    pub pid: i32,
    pub process: OwnedFd,
}

impl Gate {
    /// Keeps the gate whose filter asks on `listener`, as long as this lives.
    pub fn keep(listener: OwnedFd) -> io::Result<Self> {
        let listener = async_fd::register(listener, Interest::READABLE)?;
        let expected: Arc<Mutex<Option<Expected>>> = Arc::default();
        let (mut keeping, known) = (JoinSet::new(), expected.clone());
        keeping.spawn(async move {
            // Ends when nobody is left who could ask.
            while answer_next(&listener, &known).await.is_ok() {}
            // Whoever waits for a process to pass hears that none will.
            known.lock().take();
        });
        Ok(Self { expected, _keeping: keeping })
    }

    /// Lets the next process that asks pass.
    pub fn open_once(&self, entrances: Vec<OwnedFd>) -> oneshot::Receiver<Passed> {
        let (passed, told) = oneshot::channel();
        *self.expected.lock() = Some(Expected { entrances, passed });
        told
    }

    pub fn shut(&self) {
        self.expected.lock().take();
    }
}

async fn answer_next(listener: &AsyncFd<OwnedFd>, expected: &Mutex<Option<Expected>>) -> io::Result<()> {
    let mut ready = listener.readable().await?;
    let mut waited = [PollFd::new(listener.get_ref().as_fd(), PollFlags::POLLIN)];
    poll(&mut waited, PollTimeout::ZERO)?;
    let events = waited[0].revents().unwrap_or(PollFlags::empty());
    if events.contains(PollFlags::POLLHUP) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    if !events.contains(PollFlags::POLLIN) {
        ready.clear_ready();
        return Ok(());
    }
    // SAFETY: all-zero is what the kernel wants to be given.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    if ioctl(listener.get_ref(), RECEIVE, &mut asked).is_err() {
        // Whoever asked has ended.
        return Ok(());
    }
    let passed = match expected.lock().take() {
        Some(expected) => let_pass(listener.get_ref(), &mut asked, &expected.entrances)
            .map(|passed| (expected.passed, passed))
            .map_err(|error| tracing::warn!("a restored function is stopped: {error}"))
            .ok(),
        None => None,
    };
    let (error, flags) = if passed.is_some() { (0, GO_ON) } else { (-libc::EPERM, 0) };
    let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags };
    if ioctl(listener.get_ref(), SEND, &mut answer).is_ok()
        && let Some((told, passed)) = passed
    {
        let _ = told.send(passed);
    }
    Ok(())
}

fn let_pass(
    listener: &OwnedFd,
    asked: &mut libc::seccomp_notif,
    entrances: &[OwnedFd],
) -> io::Result<Passed> {
    let pid = asked.pid as i32;
    // SAFETY: opens a descriptor; no pointers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    let process = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // Valid still, so the number meant the process that waits for the answer.
    ioctl(listener, IS_VALID, &mut asked.id)?;
    for entrance in entrances {
        File::from(entrance.try_clone()?).write_all(pid.to_string().as_bytes())?;
    }
    Ok(Passed { pid, process })
}

fn ioctl<T>(fd: &OwnedFd, request: libc::c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: each request is passed with the structure it reads and writes.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument as *mut T) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
