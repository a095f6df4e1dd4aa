//! What the platform, the spawner and the cells say to each other. Descriptors travel beside each message, named in order by `fds`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the spawner is started: its first message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Where the template root is mounted.
    pub root: PathBuf,
    /// The folder with our bootstraps, seen by functions as `/var/runtime`.
    pub runtime_dir: PathBuf,
    pub namespaces: bool,
}

/// The spawner's answer to `Settings`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hello {
    /// Why namespaces cannot be used, when they cannot.
    pub error: Option<String>,
    /// Whether sandboxes get host user ids of their own (root) or share ours inside a user namespace.
    pub own_uids: bool,
    pub missing: Vec<String>,
}

/// What the spawner is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// A new cell. Its control socket comes along.
    Cell(CellPlan),
    /// A zygote: `program` with descriptor 3 as its control socket and descriptor 4 for what it prints.
    Zygote { program: PathBuf, args: Vec<String>, env: Vec<(String, String)>, mounts: Mounts },
    /// A sandbox around a process that was restored. Its control socket comes along, and the process. It answers with `Ready`.
    Restore(RestorePlan),
}

/// A process in fresh namespaces, and what is to be made of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestorePlan {
    /// Of the process that entered the namespaces, on this machine; the first process inside is its child.
    pub pid: i32,
    /// As in `CellPlan`.
    pub uid: Option<u32>,
    pub endpoint_port: u16,
    pub xray: bool,
    pub tun: bool,
    pub tmp_mb: u32,
}

/// What of the host a runtime needs beyond `/usr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// The interpreter's prefix, seen as `/var/lang`.
    pub lang: Option<PathBuf>,
    /// The SDK: its folder on the host and where functions see it.
    pub sdk: Vec<(PathBuf, PathBuf)>,
    /// Whether the runtime is started in the folder of the code before there is any.
    pub started_early: bool,
}

/// A sandbox that does not know its function yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellPlan {
    pub mounts: Mounts,
    /// Host user and group id of the function's processes; `None` keeps ours.
    pub uid: Option<u32>,
    /// The port of the AWS endpoint inside.
    pub endpoint_port: u16,
    /// Whether to take X-Ray segments on UDP port 2000.
    pub xray: bool,
    /// Whether to make a tun device as the way out.
    pub tun: bool,
}

/// A cell's first message; descriptors as named.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ready {
    pub error: Option<(String, String)>,
    pub fds: Vec<String>,
    pub missing: Vec<String>,
}

/// What a cell's init is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Mount the function's code and layers, unmount `hide`, and let go of the host. A descriptor that comes along is the freezer's state.
    Assign { code: PathBuf, layers: Vec<PathBuf>, tmp_mb: u32, hide: Option<PathBuf> },
    /// Have a process ready that will be the runtime. Descriptors by name: `cgroup*`.
    StandBy { fds: Vec<String> },
    /// Start a program; `main` is the runtime. Descriptors by name: `log`, `status`, `channel` (becomes 3), `cgroup*`.
    Exec { program: Program, main: bool, rlimits: Vec<(String, u64)>, fds: Vec<String> },
    /// Send the runtime a signal.
    Signal(i32),
    /// Open a TCP socket in the sandbox's network; it comes with the answer.
    Socket,
}

/// A program to start, with exactly this environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
}

/// A cell's answer to a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// The step, what went wrong, and the system's error number.
    pub error: Option<(String, String, Option<i32>)>,
}
