//! What a sandbox consists of in the machine's eyes: its cell, its cgroup and its process. Dropping it ends all of it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::async_fd;
use crate::cgroup::Cgroup;
use crate::report::Exit;
use crate::snapshot::Snapshot;
use crate::spawner::Cell;

/// The living parts of a sandbox.
pub struct Body {
    pub cell: Option<Cell>,
    pub cgroup: Option<Cgroup>,
    pub process: ProcessWatch,
    /// Whether a zygote forked the process: its pid is then the machine's, otherwise the sandbox's.
    pub forked: bool,
    pub namespaces: bool,
    /// Removed with the sandbox: the process tier's folder for temporary files.
    pub tmp: Option<std::path::PathBuf>,
    /// The user of its processes, where it is not ours.
    pub uid: Option<u32>,
    pub runtime: Handle,
    /// What it was restored from and must not outlive.
    pub within: Option<Arc<Snapshot>>,
    /// Held until everything is gone: the executor's shutdown waits for the last of these.
    pub alive: mpsc::Sender<()>,
}

impl Body {
    /// What a process of the sandbox enters its cgroup by.
    pub fn entrances(&self) -> std::io::Result<Vec<OwnedFd>> {
        self.cgroup.as_ref().map_or(Ok(Vec::new()), Cgroup::entrances)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.thaw();
        }
        if !self.namespaces
            && let Some(pid) = self.process.pid()
            && !self.process.has_ended()
        {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let init = self.cell.take().and_then(|mut cell| cell.fds.remove("init"));
        if let Some(init) = &init
            && self.namespaces
        {
            kill(init);
        }
        let (cgroup, tmp, namespaces) = (self.cgroup.take(), self.tmp.take(), self.namespaces);
        let alive = self.alive.clone();
        self.runtime.spawn(async move {
            clean_up(init, cgroup, tmp, namespaces).await;
            drop(alive);
        });
    }
}

fn kill(init: &OwnedFd) {
    // SAFETY: sends a signal to the process the descriptor names.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            init.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
}

/// Removes the cgroup once everything in it has ended.
async fn clean_up(
    init: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    tmp: Option<std::path::PathBuf>,
    namespaces: bool,
) {
    if let Some(init) = init
        && let Ok(init) = async_fd::register(init, Interest::READABLE)
    {
        let _ = init.readable().await;
    }
    if let Some(tmp) = tmp {
        let _ = tokio::fs::remove_dir_all(tmp).await;
    }
    let Some(cgroup) = cgroup else { return };
    // The kernel has ended init after the rest; an exit may still be on its way through the scheduler.
    for attempt in 0..20 {
        if !namespaces {
            cgroup.kill_all();
        }
        if cgroup.remove() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10 << attempt.min(5))).await;
    }
}

/// Learns the main process's pid and how it ended, from the pipe its parent writes both to.
pub struct ProcessWatch {
    pipe: pipe::Receiver,
    bytes: Vec<u8>,
    closed: bool,
}

impl ProcessWatch {
    /// The watch and the end for the parent.
    pub fn pipe() -> std::io::Result<(Self, OwnedFd)> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok((Self { pipe: pipe::Receiver::from_owned_fd(read)?, bytes: Vec::new(), closed: false }, write))
    }

    /// Waits for the end. May be dropped and called again.
    pub async fn ended(&mut self) -> Exit {
        loop {
            self.read();
            if let Some(exit) = self.exit() {
                return exit;
            }
            if self.pipe.readable().await.is_err() {
                return Exit::Unknown;
            }
        }
    }

    /// Signals a process that a zygote forked.
    pub fn signal_forked(&mut self, signal: Signal) {
        if let Some(pid) = self.pid()
            && !self.has_ended()
        {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.read();
        self.exit().is_some()
    }

    fn pid(&mut self) -> Option<i32> {
        self.read();
        self.bytes.first_chunk::<4>().map(|bytes| i32::from_le_bytes(*bytes))
    }

    fn exit(&self) -> Option<Exit> {
        match self.bytes.get(4..).and_then(|rest| rest.first_chunk::<4>()) {
            Some(status) => Some(Exit::from_wait_status(i32::from_le_bytes(*status))),
            None => self.closed.then_some(Exit::Unknown),
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 8];
        while let Ok(read) = self.pipe.try_read(&mut buffer) {
            if read == 0 {
                self.closed = true;
                return;
            }
            self.bytes.extend(buffer.iter().take(read));
        }
    }
}
