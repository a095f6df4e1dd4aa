//! What the platform tells the executor once: where things lie, which tier to use, and who takes log lines and connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::TcpStream;

use crate::FunctionSpec;

/// Settings of an [`Executor`](crate::Executor). `ExecutorConfig::new` gives the defaults of a developer's machine.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// A folder of the platform for what sandboxes need while they live. Emptied of our own leftovers at start.
    pub scratch_dir: PathBuf,
    /// The platform's AWS endpoint on the host. Functions reach it as `AWS_ENDPOINT_URL`, on the same port, inside their own network.
    pub endpoint: SocketAddr,
    pub tier: TierChoice,
    /// Where [`runtimes::prepare`](crate::runtimes::prepare) put SDKs: `<dir>/python3.11/`, `<dir>/nodejs20.x/node_modules/`.
    pub runtimes_dir: Option<PathBuf>,
    pub region: String,
    /// The 12-digit account functions run in.
    pub account: String,
    /// The most memory, in MB, all live sandboxes may have been promised together. Beyond it idle ones are let go, then invocations
    /// answer [`SandboxError::Busy`](crate::SandboxError::Busy). Functions seldom use what they are promised: by default sixteen
    /// times what the machine has. Where the machine's memory really runs out, nothing is added either.
    pub max_memory_mb: u64,
    /// How long a sandbox may stay idle before it is let go.
    pub idle_timeout: Duration,
    /// Waiting runtimes kept ready for each interpreter in use, so that a cold start finds one.
    pub prewarmed: usize,
    /// Whether `nodejs18.x` may run on the Node.js of another major version when that is all the machine has (said once in the log).
    pub allow_other_versions: bool,
    /// Whether functions reach the outside network.
    pub outbound_network: bool,
    /// The program that calls [`spawner_main`](crate::spawner_main) first thing in `main`; `None` is the running program.
    pub launcher: Option<PathBuf>,
}

impl ExecutorConfig {
    pub fn new(scratch_dir: impl Into<PathBuf>, endpoint: SocketAddr) -> Self {
        Self {
            scratch_dir: scratch_dir.into(),
            endpoint,
            tier: TierChoice::Auto,
            runtimes_dir: None,
            region: "us-east-1".into(),
            account: "000000000000".into(),
            max_memory_mb: 16 * machine_memory_mb(),
            idle_timeout: Duration::from_secs(600),
            prewarmed: 2,
            allow_other_versions: true,
            outbound_network: true,
            launcher: None,
        }
    }
}

fn machine_memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kb = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kb.unwrap_or(4 << 20) / 1024
}

/// Which tier is wanted. `Auto` is `namespace`, or `process` where the kernel forbids namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierChoice {
    Auto,
    Namespace,
    Process,
}

/// How functions are kept apart from the machine and from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Own mount, pid, network, ipc and uts namespaces, own cgroup, seccomp, no privileges, a read-only root.
    Namespace,
    /// A process group with resource limits; a fallback, not a border.
    Process,
}

/// The tier in force, and what of it this machine could not give.
#[derive(Clone, Debug)]
pub struct TierReport {
    pub tier: Tier,
    /// Why `process` is in force although `namespace` was preferred.
    pub fallback: Option<String>,
    /// One sentence for each protection or limit that is missing, e.g. cgroups that cannot be written.
    pub missing: Vec<String>,
}

/// Short-lived credentials of a function's execution role.
#[derive(Clone)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

/// Gives the credentials a new sandbox of a function starts with. Called once a sandbox.
pub trait CredentialsProvider: Send + Sync {
    fn credentials(&self, function_arn: &str) -> Credentials;
}

impl<F: Fn(&str) -> Credentials + Send + Sync> CredentialsProvider for F {
    fn credentials(&self, function_arn: &str) -> Credentials {
        self(function_arn)
    }
}

/// Who takes what the executor hands out.
#[derive(Clone)]
pub struct Hooks {
    pub logs: Arc<dyn LogSink>,
    /// Serves connections functions open to their AWS endpoint. `None`: their bytes are copied to `ExecutorConfig::endpoint`.
    pub connections: Option<Arc<dyn ConnectionHandler>>,
    /// Takes X-Ray segments. `None`: functions find no X-Ray daemon.
    pub segments: Option<Arc<dyn SegmentSink>>,
}

/// One event of a function's log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the platform read it, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// At most 256 KiB; ends with the newline the function wrote, as CloudWatch Logs shows it.
    pub message: String,
}

/// Takes log lines in the order they were written, a batch at a time, one batch of a stream at once.
pub trait LogSink: Send + Sync {
    /// The next batch of `log_stream` waits until the future ends; a few batches are buffered, then the function's writes wait too.
    fn write<'a>(
        &'a self,
        function: &'a FunctionSpec,
        log_stream: &'a str,
        lines: Vec<LogLine>,
    ) -> BoxFuture<'a, ()>;
}

/// Takes the connections that functions open to the AWS endpoint, so that the gateway serves them with no hop between.
pub trait ConnectionHandler: Send + Sync {
    /// Serves the connection to its end. `function` is who is calling.
    fn connected(&self, function: Arc<FunctionSpec>, stream: TcpStream) -> BoxFuture<'static, ()>;
}

/// Takes what functions send to the X-Ray daemon's port.
pub trait SegmentSink: Send + Sync {
    /// One datagram: a header line and a segment document. Called on a Tokio worker; must not block.
    fn segment(&self, function: &FunctionSpec, datagram: &[u8]);
}
