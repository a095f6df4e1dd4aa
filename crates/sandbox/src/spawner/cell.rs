//! A cell's init: the first process of a sandbox. It prepares mounts and network, then waits for commands on its control socket.
//!
//! It is process 1 of the sandbox's process namespace, so when it ends the kernel ends everything in the sandbox. It ends when the platform closes
//! the socket, for whatever reason: no sandbox outlives its platform.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::messages::{CellPlan, Command, Done, Program, Ready, Settings};
use super::mounts;
use super::template::{GID, UID, USER};
use super::{confine, fds, landlock, serve};

/// The port of the Runtime API; `AWS_LAMBDA_RUNTIME_API` on Lambda.
pub const RUNTIME_API_PORT: u16 = 9001;
pub const XRAY_PORT: u16 = 2000;

/// Serves one sandbox until the platform closes `control`.
pub fn run(settings: &Settings, plan: &CellPlan, control: OwnedFd) -> i32 {
    let _ = confine::prctl(libc::PR_SET_DUMPABLE, 0);
    if !settings.namespaces {
        let _ = nix::unistd::setsid();
        let _ = confine::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
    let mut cell = Cell {
        settings,
        plan,
        control,
        rules: None,
        freezer: None,
        main: None,
        stand_in: None,
        children: HashMap::new(),
        assigned: false,
    };
    match cell.prepare() {
        Ok((ready, opened)) => {
            let borrowed: Vec<BorrowedFd<'_>> = opened.iter().map(AsFd::as_fd).collect();
            if reply(&cell.control, &ready, &borrowed).is_err() {
                return 1;
            }
        }
        Err((step, error)) => {
            let ready = Ready { error: Some((step.into(), error.to_string())), ..Ready::default() };
            let _ = reply(&cell.control, &ready, &[]);
            return 1;
        }
    }
    let code = cell.serve().map_or(1, |()| 0);
    cell.thaw();
    if !settings.namespaces {
        kill_descendants();
    }
    code
}

struct Cell<'a> {
    settings: &'a Settings,
    plan: &'a CellPlan,
    control: OwnedFd,
    /// What the function's processes are bound to.
    rules: Option<OwnedFd>,
    /// The state of a version 1 freezer, whose frozen processes cannot even be killed.
    freezer: Option<OwnedFd>,
    /// The runtime, if it was started here and not forked by a zygote.
    main: Option<Pid>,
    stand_in: Option<StandIn>,
    /// What was started here and where its exit status goes.
    children: HashMap<i32, OwnedFd>,
    assigned: bool,
}

pub type Step<T> = Result<T, (&'static str, io::Error)>;

pub fn step<T>(name: &'static str, result: io::Result<T>) -> Step<T> {
    result.map_err(|error| (name, error))
}

impl Cell<'_> {
    fn prepare(&mut self) -> Step<(Ready, Vec<OwnedFd>)> {
        let mut ready = Ready::default();
        let mut opened = Vec::new();
        let mut give = |name: &str, fd: OwnedFd| {
            ready.fds.push(name.into());
            opened.push(fd);
        };
        give("init", step("pidfd", own_pidfd())?);
        if !self.settings.namespaces {
            return Ok((ready, opened));
        }
        step("hostname", nix::unistd::sethostname("sandbox").map_err(io::Error::from))?;
        step("mounts", self.mount_own())?;
        step("loopback", loopback_up())?;
        for (name, path) in
            [("pidns", "pid"), ("mntns", "mnt"), ("netns", "net"), ("ipcns", "ipc"), ("utsns", "uts")]
        {
            // Without /proc the namespaces cannot be named, so nothing could be forked into them.
            give(name, step("namespaces", fs::File::open(format!("/proc/self/ns/{path}")))?.into());
        }
        give("api", step("runtime api", TcpListener::bind(("127.0.0.1", RUNTIME_API_PORT)))?.into());
        self.rules = step("landlock", landlock::rules())?;
        if let Some(rules) = &self.rules {
            give("landlock", step("landlock", rules.try_clone())?);
        }
        give("endpoint", step("endpoint", TcpListener::bind(("127.0.0.1", self.plan.endpoint_port)))?.into());
        if self.plan.xray {
            give("xray", step("x-ray", UdpSocket::bind(("127.0.0.1", XRAY_PORT)))?.into());
        }
        if self.plan.tun {
            match super::tun::open() {
                Ok(tun) => give("tun", tun),
                Err(error) => ready.missing.push(format!("Functions have no outbound network: {error}")),
            }
        }
        Ok((ready, opened))
    }

    fn mount_own(&self) -> io::Result<()> {
        let (uid, gid) = self.plan.uid.map_or((UID, GID), |uid| (uid, uid));
        mounts::proc(Path::new("/proc"))?;
        mounts::tmpfs(Path::new("/tmp"), &format!("size=512m,mode=700,uid={uid},gid={gid}"))?;
        if self.plan.uid.is_some() {
            name_user(uid, gid)?;
        }
        mounts::bind_runtime(&self.plan.mounts)
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        // SAFETY: back to the default disposition the spawner had changed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl)? };
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        loop {
            let mut waited = [
                PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(children.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut waited, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let (commanded, died) = (waited[0].any().unwrap_or(false), waited[1].any().unwrap_or(false));
            if died {
                while let Ok(Some(_)) = children.read_signal() {}
                self.reap();
            }
            if commanded {
                let Some((bytes, received)) = fds::receive(self.control.as_raw_fd())? else { return Ok(()) };
                let (answer, error) = match self.obey(&bytes, received) {
                    Ok(answer) => (answer, None),
                    Err((step, error)) => {
                        (None, Some((step.into(), error.to_string(), error.raw_os_error())))
                    }
                };
                let opened: Vec<BorrowedFd<'_>> = answer.iter().map(AsFd::as_fd).collect();
                reply(&self.control, &Done { error }, &opened)?;
            }
        }
    }

    /// What a command opened, if it opens something.
    fn obey(&mut self, bytes: &[u8], received: Vec<OwnedFd>) -> Step<Option<OwnedFd>> {
        match step("command", serde_json::from_slice(bytes).map_err(io::Error::from))? {
            Command::Assign { code, layers, tmp_mb, hide } => {
                self.freezer = received.into_iter().next();
                step("code", self.assign(&code, &layers, tmp_mb, hide.as_deref()))?;
            }
            Command::StandBy { fds } => {
                step("stand by", self.stand_by(&fds.into_iter().zip(received).collect()))?;
            }
            Command::Exec { program, main, rlimits, fds } => {
                let held: HashMap<String, OwnedFd> = fds.into_iter().zip(received).collect();
                let pid = step("exec", self.exec(Launch { program, rlimits }, held, main))?;
                if main {
                    self.main = Some(pid);
                }
            }
            Command::Signal(number) => {
                let sent = match (self.main, Signal::try_from(number)) {
                    (Some(main), Ok(signal)) => kill(main, signal).map_err(io::Error::from),
                    _ => Err(io::ErrorKind::NotFound.into()),
                };
                step("signal", sent)?;
            }
            Command::Socket => return step("socket", tcp_socket()).map(Some),
        }
        Ok(None)
    }

    /// So that what is frozen can end with this process.
    fn thaw(&self) {
        if let Some(freezer) = &self.freezer {
            let _ = nix::unistd::write(freezer, b"THAWED");
        }
    }

    fn assign(
        &mut self,
        code: &Path,
        layers: &[PathBuf],
        tmp_mb: u32,
        hide: Option<&Path>,
    ) -> io::Result<()> {
        if !self.settings.namespaces || self.assigned {
            return Ok(());
        }
        if self.plan.mounts.started_early {
            mounts::link_code(&mounts::of_host(code))?;
        }
        mounts::bind_read_only(&mounts::of_host(code), Path::new("/var/task"))?;
        let layers: Vec<PathBuf> = layers.iter().map(|layer| mounts::of_host(layer)).collect();
        mounts::layers(&layers, Path::new("/opt"))?;
        if tmp_mb != 512 {
            mounts::resize_tmpfs(Path::new("/tmp"), &format!("size={tmp_mb}m"))?;
        }
        if let Some(hidden) = hide {
            nix::mount::umount2(hidden, nix::mount::MntFlags::MNT_DETACH)?;
        }
        mounts::drop_host()?;
        self.assigned = true;
        Ok(())
    }

    /// Makes the process that will be the runtime before its program is known.
    fn stand_by(&mut self, groups: &HashMap<String, OwnedFd>) -> io::Result<()> {
        let (orders, theirs) = fds::pair()?;
        let pid = serve::fork(CloneFlags::empty())?;
        if pid == 0 {
            drop(orders);
            let entered = enter(groups);
            if let Ok(Some((bytes, received))) = fds::receive(theirs.as_raw_fd())
                && let Ok((launch, names)) = serde_json::from_slice::<(Launch, Vec<String>)>(&bytes)
            {
                launch.run(self, entered, names.into_iter().zip(received).collect());
            }
            std::process::exit(0);
        }
        self.stand_in = Some(StandIn { pid, orders });
        Ok(())
    }

    fn exec(&mut self, launch: Launch, mut held: HashMap<String, OwnedFd>, main: bool) -> io::Result<Pid> {
        let status = held.remove("status").ok_or_else(|| io::Error::other("no status descriptor"))?;
        let (failed_read, failed_write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        held.insert(FAILED.into(), failed_write);
        let stand_in = self.stand_in.take_if(|_| main);
        let pid = match stand_in.and_then(|stand_in| stand_in.becomes(&launch, &held).ok()) {
            Some(pid) => pid,
            None => serve::fork(CloneFlags::empty())?,
        };
        if pid == 0 {
            launch.run(self, enter(&held), held);
        }
        drop(held);
        let mut number = [0; 4];
        let failed = nix::unistd::read(&failed_read, &mut number)? == number.len();
        if failed {
            return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number)));
        }
        let _ = nix::unistd::write(&status, &pid.to_le_bytes());
        self.children.insert(pid, status);
        Ok(Pid::from_raw(pid))
    }

    /// Collects every process that has ended; the status of one started here goes to the platform.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: waits for any child without blocking and writes one integer.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if self.main.is_some_and(|main| main.as_raw() == pid) {
                self.main = None;
            }
            self.stand_in.take_if(|stand_in| stand_in.pid == pid);
            if let Some(fd) = self.children.remove(&pid) {
                let _ = fs::File::from(fd).write_all(&status.to_le_bytes());
            }
        }
    }
}

/// Where a process that does not become its program says why.
const FAILED: &str = "failed";

/// A process that is in its cgroups already and waits for its program: to enter them can take ten milliseconds, whatever the machine does.
struct StandIn {
    pid: i32,
    orders: OwnedFd,
}

impl StandIn {
    /// Tells it what it is; gives its pid.
    fn becomes(&self, launch: &Launch, held: &HashMap<String, OwnedFd>) -> io::Result<i32> {
        let needed = held.iter().filter(|(name, _)| !name.starts_with("cgroup"));
        let (names, with): (Vec<&String>, Vec<BorrowedFd<'_>>) =
            needed.map(|(name, fd)| (name, fd.as_fd())).unzip();
        fds::send(self.orders.as_raw_fd(), &serde_json::to_vec(&(launch, names))?, &with)?;
        Ok(self.pid)
    }
}

/// Enters the cgroups among what a process was given.
fn enter(held: &HashMap<String, OwnedFd>) -> io::Result<()> {
    for (_, group) in held.iter().filter(|(name, _)| name.starts_with("cgroup")) {
        nix::unistd::write(group, b"0")?;
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Launch {
    program: Program,
    rlimits: Vec<(String, u64)>,
}

impl Launch {
    /// In the forked process: becomes the program, or says why not and ends.
    fn run(&self, cell: &Cell<'_>, entered: io::Result<()>, mut held: HashMap<String, OwnedFd>) -> ! {
        let failed = held.remove(FAILED);
        let error = match entered.and_then(|()| self.settle(cell, held)) {
            Ok(()) => serve::exec(&self.program.path, &self.program.args, &self.program.env),
            Err(error) => error,
        };
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        if let Some(failed) = failed {
            let _ = nix::unistd::write(&failed, &number.to_ne_bytes());
        }
        std::process::exit(127)
    }

    fn settle(&self, cell: &Cell<'_>, held: HashMap<String, OwnedFd>) -> io::Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        nix::unistd::setsid()?;
        nix::unistd::chdir(&self.program.cwd)?;
        let log = held.get("log").ok_or_else(|| io::Error::other("no log descriptor"))?;
        let null = fs::File::open("/dev/null")?;
        duplicate(null.as_raw_fd(), 0)?;
        duplicate(log.as_raw_fd(), 1)?;
        duplicate(log.as_raw_fd(), 2)?;
        if let Some(channel) = held.get("channel") {
            duplicate(channel.as_raw_fd(), 3)?;
        }
        let rules = cell.rules.as_ref().map(AsFd::as_fd);
        confine::give_up_privileges(cell.plan.uid, cell.settings.namespaces, &self.rlimits, rules)?;
        confine::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
    }
}

/// dup2 that also works when both are the same: the result stays open over exec.
fn duplicate(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: descriptors of this process; what was open at `to` is replaced on purpose.
    let result = unsafe { if from == to { libc::fcntl(to, libc::F_SETFD, 0) } else { libc::dup2(from, to) } };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub fn reply<T: Serialize>(control: &OwnedFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    fds::send(control.as_raw_fd(), &serde_json::to_vec(message)?, fds)
}

fn own_pidfd() -> io::Result<OwnedFd> {
    // SAFETY: opens a descriptor for this very process.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// `/etc/passwd` with this sandbox's own user id.
fn name_user(uid: u32, gid: u32) -> io::Result<()> {
    let passwd = Path::new("/tmp/passwd");
    fs::write(
        passwd,
        format!("root:x:0:0:root:/root:/sbin/nologin\n{USER}:x:{uid}:{gid}::/tmp:/sbin/nologin\n"),
    )?;
    mounts::bind_read_only(passwd, Path::new("/etc/passwd"))?;
    fs::remove_file(passwd)
}

fn tcp_socket() -> io::Result<OwnedFd> {
    Ok(nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Stream,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC | nix::sys::socket::SockFlag::SOCK_NONBLOCK,
        None,
    )?)
}

pub fn loopback_up() -> io::Result<()> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    super::tun::set_up(socket.as_raw_fd(), "lo")
}

/// The process tier's stand-in for a process namespace: whatever is still below this process is killed.
fn kill_descendants() {
    for _ in 0..64 {
        let children = fs::read_to_string(format!("/proc/self/task/{}/children", nix::unistd::getpid()))
            .unwrap_or_default();
        let pids: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
        }
    }
}
