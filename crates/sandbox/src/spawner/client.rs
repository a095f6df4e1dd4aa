//! The platform's side: starting the spawner, asking it for cells, and commanding a cell's init.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::messages::{CellPlan, Command, Done, Hello, Ready, Request, RestorePlan, Settings};
use super::{SPAWNER_ARG, fds};
use crate::{SandboxError, async_fd};

/// A message socket with descriptors, awaited.
pub struct Socket {
    fd: AsyncFd<OwnedFd>,
}

impl Socket {
    /// Our end, and the end to give away.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = fds::pair()?;
        nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        Ok((Self { fd: async_fd::register(ours, Interest::READABLE | Interest::WRITABLE)? }, theirs))
    }

    pub async fn send<T: Serialize>(&self, message: &T, with: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        self.fd.async_io(Interest::WRITABLE, |fd| fds::send(fd.as_raw_fd(), &bytes, with)).await
    }

    /// The next message; an error when the other side has gone.
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<(T, Vec<OwnedFd>)> {
        let received = self.fd.async_io(Interest::READABLE, |fd| fds::receive(fd.as_raw_fd())).await?;
        let Some((bytes, with)) = received else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        Ok((serde_json::from_slice(&bytes)?, with))
    }
}

/// The running spawner. Ends when dropped.
pub struct Spawner {
    socket: Socket,
    child: Child,
}

impl Spawner {
    /// Starts `program` again as the spawner. `Hello::error` says why namespaces cannot be used; the spawner has ended then.
    pub async fn start(program: &Path, settings: &Settings) -> io::Result<(Self, Hello)> {
        let (socket, theirs) = Socket::pair()?;
        let child = Process::new(program)
            .arg(SPAWNER_ARG)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        socket.send(settings, &[]).await?;
        let (hello, _) = socket.receive().await?;
        Ok((Self { socket, child }, hello))
    }

    pub async fn request(&self, request: &Request, with: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.socket.send(request, with).await
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // It ends by itself when the socket closes; this only collects one that already has.
        let _ = self.child.try_wait();
    }
}

/// A sandbox's init, seen from the platform. What it opened is in `fds` by name.
pub struct Cell {
    pub control: Arc<Control>,
    pub fds: HashMap<String, OwnedFd>,
    pub missing: Vec<String>,
}

impl Cell {
    /// A new cell; its init is ready when this returns.
    pub async fn create(spawner: &Spawner, plan: &CellPlan) -> Result<Self, SandboxError> {
        let failed = |error: io::Error| SandboxError::Launch { step: "spawner", reason: error.to_string() };
        let (control, theirs) = Socket::pair().map_err(failed)?;
        spawner.request(&Request::Cell(plan.clone()), &[theirs.as_fd()]).await.map_err(failed)?;
        drop(theirs);
        let (ready, opened): (Ready, _) = control.receive().await.map_err(failed)?;
        if let Some((step, reason)) = ready.error {
            return Err(SandboxError::Launch { step: "cell", reason: format!("{step}: {reason}") });
        }
        let control = Arc::new(Control { socket: Mutex::new(control) });
        Ok(Self { control, fds: ready.fds.into_iter().zip(opened).collect(), missing: ready.missing })
    }
}

impl Cell {
    /// A cell around a process that was restored from a snapshot; nobody takes commands there.
    pub async fn around(spawner: &Spawner, plan: &RestorePlan, passed: BorrowedFd<'_>) -> io::Result<Self> {
        let (control, theirs) = Socket::pair()?;
        spawner.request(&Request::Restore(plan.clone()), &[theirs.as_fd(), passed]).await?;
        drop(theirs);
        let (ready, opened): (Ready, _) = control.receive().await?;
        if let Some((step, reason)) = ready.error {
            return Err(io::Error::other(format!("{step}: {reason}")));
        }
        let control = Arc::new(Control { socket: Mutex::new(control) });
        Ok(Self { control, fds: ready.fds.into_iter().zip(opened).collect(), missing: ready.missing })
    }
}

/// The way to a sandbox's init, one command at a time.
pub struct Control {
    socket: Mutex<Socket>,
}

impl Control {
    /// Sends a command and waits until it is done.
    pub async fn command(&self, command: &Command, with: &[BorrowedFd<'_>]) -> io::Result<Done> {
        Ok(self.ask(command, with).await?.0)
    }

    /// A new TCP socket in the sandbox's network.
    pub async fn tcp_socket(&self) -> io::Result<OwnedFd> {
        let (done, opened) = self.ask(&Command::Socket, &[]).await?;
        if let Some((_, reason, _)) = done.error {
            return Err(io::Error::other(reason));
        }
        opened.into_iter().next().ok_or_else(|| io::Error::other("no socket came"))
    }

    async fn ask(&self, command: &Command, with: &[BorrowedFd<'_>]) -> io::Result<(Done, Vec<OwnedFd>)> {
        let socket = self.socket.lock().await;
        socket.send(command, with).await?;
        socket.receive().await
    }
}
