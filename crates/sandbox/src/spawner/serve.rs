//! The spawner's loop: one request at a time from the platform, a fork for each.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sched::CloneFlags;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::messages::{CellPlan, Hello, Mounts, Ready, Request, RestorePlan, Settings};
use super::{cell, fds, mounts, snapshot, template};

/// The spawner's socket is its standard input.
const CONTROL: RawFd = 0;

/// Serves until the platform goes.
pub fn run() -> i32 {
    // A terminal's Ctrl-C goes to the whole foreground group; the platform decides about its sandboxes, not the terminal.
    let _ = nix::unistd::setsid();
    // SAFETY: default dispositions only; no handler code runs. Ignoring SIGCHLD lets the kernel reap cells and zygotes.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    // So are the forks of a zygote that ended before them: a sandbox is not gone until they are collected.
    let _ = super::confine::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("sandbox spawner: {error}");
            1
        }
    }
}

fn serve() -> io::Result<()> {
    let Some((bytes, _)) = fds::receive(CONTROL)? else { return Ok(()) };
    let settings: Settings = serde_json::from_slice(&bytes)?;
    let mut hello = Hello::default();
    if settings.namespaces {
        match template::build(&settings) {
            Ok(built) => (hello.own_uids, hello.missing) = (built.own_uids, built.missing),
            Err(error) => hello.error = Some(error.to_string()),
        }
    }
    let usable = hello.error.is_none();
    fds::send(CONTROL, &serde_json::to_vec(&hello)?, &[])?;
    if !usable {
        return Ok(());
    }
    while let Some((bytes, received)) = fds::receive(CONTROL)? {
        match serde_json::from_slice(&bytes)? {
            Request::Cell(plan) => start_cell(&settings, &plan, received),
            Request::Restore(plan) => start_restore(&plan, received)?,
            Request::Zygote { program, args, env, mounts } => {
                start_zygote(&settings, &program, &args, &env, &mounts, received)?
            }
        }
    }
    Ok(())
}

fn start_cell(settings: &Settings, plan: &CellPlan, mut received: Vec<OwnedFd>) {
    let Some(control) = received.pop() else { return };
    let flags = if settings.namespaces {
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
    } else {
        CloneFlags::empty()
    };
    match fork(flags) {
        Ok(0) => {
            drop(received);
            let code = if release_control().is_ok() { cell::run(settings, plan, control) } else { 1 };
            std::process::exit(code);
        }
        Ok(_) => {}
        Err(error) => {
            let failed = Ready { error: Some(("namespaces".into(), error.to_string())), ..Ready::default() };
            let _ = fds::send(control.as_raw_fd(), &serde_json::to_vec(&failed).unwrap_or_default(), &[]);
        }
    }
}

fn start_restore(plan: &RestorePlan, received: Vec<OwnedFd>) -> io::Result<()> {
    if let [control, passed] = received.as_slice()
        && fork(CloneFlags::empty())? == 0
    {
        let code = if release_control().is_ok() { snapshot::run(plan, control, passed) } else { 1 };
        std::process::exit(code);
    }
    Ok(())
}

/// A child's copy of the spawner's socket is replaced by nothing, so that the platform's going is noticed by the spawner alone.
fn release_control() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // SAFETY: descriptor 0 is replaced on purpose; both are ours.
    if unsafe { libc::dup2(null.as_raw_fd(), CONTROL) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// fork, with namespaces. Only the spawner calls it, and the spawner has one thread, so the child may run ordinary code.
pub fn fork(flags: CloneFlags) -> io::Result<i32> {
    // SAFETY: no stack and no thread pointers are given, so this is fork(2) with flags.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags.bits() as libc::c_long | libc::SIGCHLD as libc::c_long,
            0,
            0,
            0,
            0,
        )
    };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid as i32) }
}

fn start_zygote(
    settings: &Settings,
    program: &Path,
    args: &[String],
    env: &[(String, String)],
    mounts: &Mounts,
    received: Vec<OwnedFd>,
) -> io::Result<()> {
    let flags = if settings.namespaces { CloneFlags::CLONE_NEWNS } else { CloneFlags::empty() };
    if fork(flags)? != 0 {
        return Ok(());
    }
    let error = exec_zygote(settings, program, args, env, mounts, &received);
    let message = format!("{}: {error}\n", program.display());
    if let Some(log) = received.get(1) {
        let _ = nix::unistd::write(log.as_fd(), message.as_bytes());
    }
    std::process::exit(127);
}

/// Returns only when it failed.
fn exec_zygote(
    settings: &Settings,
    program: &Path,
    args: &[String],
    env: &[(String, String)],
    mounts: &Mounts,
    received: &[OwnedFd],
) -> io::Error {
    let prepared = || -> io::Result<()> {
        if settings.namespaces {
            mounts::bind_runtime(mounts)?;
            mounts::drop_host()?;
            super::confine::keep_capabilities_over_exec();
        }
        let [control, log] = received else { return Err(io::Error::other("a zygote needs two descriptors")) };
        place(control.as_raw_fd(), log.as_raw_fd())?;
        Ok(())
    };
    if let Err(error) = prepared() {
        return error;
    }
    exec(program, args, env)
}

/// Descriptor 3 is the control socket, 1 and 2 the log, 0 nothing.
fn place(control: RawFd, log: RawFd) -> io::Result<()> {
    // Moved up first: the targets may be among the sources.
    let high = |fd: RawFd| -> io::Result<RawFd> {
        // SAFETY: plain descriptor duplication.
        let duplicate = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 20) };
        if duplicate < 0 { Err(io::Error::last_os_error()) } else { Ok(duplicate) }
    };
    let (control, log) = (high(control)?, high(log)?);
    let null = CString::from(c"/dev/null");
    // SAFETY: a constant path and descriptors we own; dup2 replaces what was there on purpose.
    unsafe {
        let null = libc::open(null.as_ptr(), libc::O_RDWR);
        for (from, to) in [(null, 0), (log, 1), (log, 2), (control, 3)] {
            if libc::dup2(from, to) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        if null > 3 {
            libc::close(null);
        }
    }
    Ok(())
}

/// execve with exactly this environment. Returns only when it failed.
pub fn exec(program: &Path, args: &[String], env: &[(String, String)]) -> io::Error {
    let build = || -> Result<_, std::ffi::NulError> {
        let path = CString::new(program.as_os_str().as_bytes())?;
        let mut argv = vec![path.clone()];
        for arg in args {
            argv.push(CString::new(arg.as_str())?);
        }
        let envp = env
            .iter()
            .map(|(name, value)| CString::new(format!("{name}={value}")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((path, argv, envp))
    };
    match build() {
        Ok((path, argv, envp)) => match nix::unistd::execve(&path, &argv, &envp) {
            Err(error) => error.into(),
            Ok(never) => match never {},
        },
        Err(error) => io::Error::new(io::ErrorKind::InvalidInput, error),
    }
}
