//! A runtime that waits for a function: a cell with a started interpreter in it, ready to be told what to run.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

use crate::body::{Body, ProcessWatch};
use crate::cgroup::Hierarchy;
use crate::channel::Channel;
use crate::link::Link;
use crate::logs::LogReader;
use crate::runtime_api::{Api, ApiLink};
use crate::runtimes::plan::{Family, Plan};
use crate::spawner::messages::{CellPlan, Command, Program, Settings};
use crate::spawner::{Cell, Spawner};
use crate::zygote::{Named, Order, Zygote};
use crate::{ExecutorConfig, SandboxError};

/// Host user ids given to sandboxes when we are root: far above those of people and services.
const FIRST_UID: u32 = 600_000;
const UIDS: u32 = 50_000;
/// With 0 the kernel would still run the host's own program for core files; this number it takes as a refusal.
const NO_CORE: u64 = 1;

/// A runtime without a function.
pub struct Waiting {
    pub body: Body,
    pub link: Link,
    pub log: LogReader,
    /// Kept until the function's process is started with them, where that needs to know the function.
    pub ends: Option<Ends>,
    /// What answers a runtime that speaks the Runtime API.
    pub api: Option<Arc<Api>>,
    /// Where the APIs of the sandbox are served, if they are.
    pub listener: Option<TcpListener>,
    /// Where the Runtime API listens, if it does.
    pub api_address: Option<String>,
    /// Whether an SDK is mounted at a parent folder of the code.
    pub sdk_near_code: bool,
}

/// The write ends a process that is not yet started will get.
pub struct Ends {
    pub log: OwnedFd,
    pub status: OwnedFd,
    /// The program and its end of the channel, where they are known already.
    pub program: Option<(Program, OwnedFd)>,
}

/// What was found out about this machine, and what is wanted of it.
pub struct Machine {
    /// Whether sandboxes get host user ids of their own.
    pub own_uids: bool,
    /// Whether somebody takes X-Ray segments.
    pub xray: bool,
    pub hierarchy: Hierarchy,
    /// The program that is started again as the spawner.
    pub program: PathBuf,
}

/// Makes waiting runtimes.
pub struct Factory {
    pub config: Arc<ExecutorConfig>,
    pub settings: Settings,
    pub machine: Machine,
    spawner: Mutex<Option<Arc<Spawner>>>,
    uids: AtomicU32,
    names: AtomicU64,
    alive: parking_lot::Mutex<Option<mpsc::Sender<()>>>,
}

impl Factory {
    pub fn new(
        config: Arc<ExecutorConfig>,
        settings: Settings,
        machine: Machine,
        spawner: Spawner,
        alive: mpsc::Sender<()>,
    ) -> Self {
        Self {
            config,
            settings,
            machine,
            spawner: Mutex::new(Some(Arc::new(spawner))),
            uids: AtomicU32::new(0),
            names: AtomicU64::new(0),
            alive: parking_lot::Mutex::new(Some(alive)),
        }
    }

    /// No new sandboxes from here on.
    pub fn close(&self) {
        self.alive.lock().take();
    }

    pub fn alive(&self) -> Result<mpsc::Sender<()>, SandboxError> {
        self.alive.lock().clone().ok_or(SandboxError::ShutDown)
    }

    pub fn namespaces(&self) -> bool {
        self.settings.namespaces
    }

    /// The spawner; started again if it has died.
    pub async fn spawner(&self) -> Result<Arc<Spawner>, SandboxError> {
        let mut slot = self.spawner.lock().await;
        if let Some(spawner) = &*slot {
            return Ok(spawner.clone());
        }
        let failed = |reason: String| SandboxError::Launch { step: "spawner", reason };
        let (spawner, hello) =
            Spawner::start(&self.machine.program, &self.settings).await.map_err(|e| failed(e.to_string()))?;
        if let Some(error) = hello.error {
            return Err(failed(error));
        }
        self.alive()?;
        let spawner = Arc::new(spawner);
        *slot = Some(spawner.clone());
        Ok(spawner)
    }

    /// Forgets a spawner that does not answer any more.
    pub async fn replace_spawner(&self) {
        *self.spawner.lock().await = None;
    }

    /// A runtime of `plan`, without a function. `ahead` is for one nobody waits for yet.
    pub async fn make(
        &self,
        plan: &Plan,
        zygote: Option<&Zygote>,
        node_env: Option<&[(String, String)]>,
        ahead: bool,
    ) -> Result<Waiting, SandboxError> {
        self.make_with(plan, zygote, node_env, ahead, None).await
    }

    /// The same; with a `gate` one that can be kept for SnapStart.
    pub async fn make_with(
        &self,
        plan: &Plan,
        zygote: Option<&Zygote>,
        node_env: Option<&[(String, String)]>,
        ahead: bool,
        gate: Option<&OwnedFd>,
    ) -> Result<Waiting, SandboxError> {
        let failed =
            |error: std::io::Error| SandboxError::Launch { step: "sandbox", reason: error.to_string() };
        let uid = self.machine.own_uids.then(|| FIRST_UID + self.uids.fetch_add(1, Ordering::Relaxed) % UIDS);
        let cell = self.cell(plan, uid).await?;
        let name = self.name();
        let cgroup = self.machine.hierarchy.create(&name).map_err(failed)?;
        let (log, log_end) = LogReader::pipe().map_err(failed)?;
        let (process, status_end) = ProcessWatch::pipe().map_err(failed)?;
        let tmp = if self.namespaces() { None } else { Some(self.private_tmp(&name).map_err(failed)?) };
        let body = Body {
            cell,
            cgroup,
            process,
            forked: plan.family == Family::Python,
            namespaces: self.namespaces(),
            tmp,
            uid,
            runtime: Handle::current(),
            within: None,
            alive: self.alive()?,
        };
        let ends = Ends { log: log_end, status: status_end, program: None };
        let mut waiting = match plan.family {
            Family::Provided => {
                self.stand_by(&body).await?;
                provided(body, log, ends)
            }
            Family::Python => self.python(zygote, body, log, ends, (uid, ahead, gate)).await?,
            Family::Node => self.node(plan, node_env, ahead, body, log, ends).await?,
            Family::Java => self.java(plan, node_env.is_some(), body, log, ends).await?,
        };
        if let Some(cell) = &mut waiting.body.cell {
            // Whoever needed the namespaces' names has them: a thousand sandboxes have many descriptors.
            cell.fds.retain(|name, _| matches!(name.as_str(), "init" | "api" | "endpoint" | "xray" | "tun"));
        }
        let inside = waiting.body.cell.as_mut().and_then(|cell| cell.fds.remove("api"));
        waiting.listener = match inside {
            Some(fd) => Some(listener(fd).map_err(failed)?),
            None if waiting.api.is_some() => Some(TcpListener::bind("127.0.0.1:0").await.map_err(failed)?),
            None => None,
        };
        if let Some(listener) = &waiting.listener {
            waiting.api_address = Some(listener.local_addr().map_err(failed)?.to_string());
        }
        Ok(waiting)
    }

    /// The name of a new sandbox.
    pub fn name(&self) -> String {
        format!("s{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    async fn cell(&self, plan: &Plan, uid: Option<u32>) -> Result<Option<Cell>, SandboxError> {
        if !self.namespaces() && plan.family == Family::Python {
            return Ok(None);
        }
        let request = CellPlan {
            mounts: plan.mounts.clone(),
            uid,
            endpoint_port: self.config.endpoint.port(),
            xray: self.machine.xray,
            tun: self.config.outbound_network,
        };
        let spawner = self.spawner().await?;
        match Cell::create(&spawner, &request).await {
            Err(SandboxError::Launch { step: "spawner", .. }) => {
                self.replace_spawner().await;
                let spawner = self.spawner().await?;
                Ok(Some(Cell::create(&spawner, &request).await?))
            }
            other => other.map(Some),
        }
    }

    fn private_tmp(&self, name: &str) -> std::io::Result<PathBuf> {
        let dir = self.config.scratch_dir.join("tmp").join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Limits every process of a function gets. Lambda allows 1,024 files and 1,024 processes.
    pub fn rlimits(&self) -> Vec<(String, u64)> {
        let mut limits = vec![("RLIMIT_NOFILE".to_owned(), 1024), ("RLIMIT_CORE".to_owned(), NO_CORE)];
        if self.machine.own_uids {
            limits.push(("RLIMIT_NPROC".to_owned(), 1024));
        }
        limits
    }

    async fn python(
        &self,
        zygote: Option<&Zygote>,
        body: Body,
        log: LogReader,
        ends: Ends,
        (uid, ahead, gate): (Option<u32>, bool, Option<&OwnedFd>),
    ) -> Result<Waiting, SandboxError> {
        let failed =
            |error: std::io::Error| SandboxError::Launch { step: "zygote", reason: error.to_string() };
        let Some(zygote) = zygote else {
            return Err(SandboxError::Launch { step: "zygote", reason: "none was started".into() });
        };
        let (channel, channel_end) = Channel::pair().map_err(failed)?;
        let mut named = Named::default();
        named.add_owned("channel", &channel_end);
        named.add_owned("log", &ends.log);
        named.add_owned("status", &ends.status);
        if let Some(cell) = &body.cell {
            for name in ["pidns", "netns", "ipcns", "utsns", "mntns", "landlock"] {
                // Rules for one sandbox's /tmp would keep a process out of the next one's.
                if let Some(fd) = cell.fds.get(name).filter(|_| name != "landlock" || gate.is_none()) {
                    named.add_owned(name, fd);
                }
            }
        }
        if let Some(gate) = gate {
            named.add_owned("gate", gate);
        }
        let entrances = body.entrances().map_err(failed)?;
        for (index, fd) in entrances.iter().enumerate() {
            named.add_owned(&format!("cgroup{index}"), fd);
        }
        let order = Order {
            uid,
            confine: self.namespaces(),
            touch: ahead,
            rlimits: self.rlimits(),
            fds: named.names,
        };
        zygote.fork(&order, &named.fds).await.map_err(failed)?;
        Ok(Waiting {
            link: Link::Channel(channel),
            body,
            log,
            ends: None,
            api: None,
            listener: None,
            api_address: None,
            sdk_near_code: false,
        })
    }

    async fn node(
        &self,
        plan: &Plan,
        env: Option<&[(String, String)]>,
        ahead: bool,
        mut body: Body,
        log: LogReader,
        ends: Ends,
    ) -> Result<Waiting, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Launch { step: "node", reason: error.to_string() };
        let (channel, channel_end) = Channel::pair().map_err(failed)?;
        let for_function = env.is_some();
        let mut env = env.map(<[_]>::to_vec).unwrap_or_default();
        env.push(("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()));
        env.push(("TZ".to_owned(), ":UTC".to_owned()));
        if ahead && let Some(near) = plan.sdk_path.as_deref().and_then(|sdk| Path::new(sdk).parent()) {
            env.push(("TIDEMILL_AHEAD".to_owned(), near.display().to_string()));
        }
        let args = vec![format!("{}/bootstrap.cjs", plan.runtime_root)];
        let program = Program { path: plan.program.clone(), args, env, cwd: "/".into() };
        let ends = if for_function {
            // What the function says to Node.js is obeyed only where nothing but the function can be seen.
            Some(Ends { program: Some((program, channel_end)), ..ends })
        } else {
            self.exec(&mut body, ends, program, Some(&channel_end)).await?;
            None
        };
        Ok(Waiting {
            link: Link::Channel(channel),
            body,
            log,
            ends,
            api: None,
            listener: None,
            api_address: None,
            sdk_near_code: plan.sdk_path.is_some(),
        })
    }

    /// Has the process that will be the runtime enter its cgroups ahead.
    async fn stand_by(&self, body: &Body) -> Result<(), SandboxError> {
        let failed = |reason: String| SandboxError::Launch { step: "stand by", reason };
        let entrances = body.entrances().map_err(|e| failed(e.to_string()))?;
        let Some(cell) = body.cell.as_ref().filter(|_| !entrances.is_empty()) else { return Ok(()) };
        let mut named = Named::default();
        for (index, fd) in entrances.iter().enumerate() {
            named.add_owned(&format!("cgroup{index}"), fd);
        }
        let command = Command::StandBy { fds: named.names };
        let done = cell.control.command(&command, &named.fds).await.map_err(|e| failed(e.to_string()))?;
        done.error.map_or(Ok(()), |(_, reason, _)| Err(failed(reason)))
    }

    /// Starts the runtime in the sandbox by its init.
    pub async fn exec(
        &self,
        body: &mut Body,
        ends: Ends,
        program: Program,
        channel: Option<&OwnedFd>,
    ) -> Result<(), SandboxError> {
        self.exec_as(true, body, ends, program, channel).await
    }

    /// Starts a program that runs beside the runtime.
    pub async fn exec_beside(
        &self,
        body: &mut Body,
        ends: Ends,
        program: Program,
    ) -> Result<(), SandboxError> {
        self.exec_as(false, body, ends, program, None).await
    }

    async fn exec_as(
        &self,
        main: bool,
        body: &mut Body,
        ends: Ends,
        program: Program,
        channel: Option<&OwnedFd>,
    ) -> Result<(), SandboxError> {
        let failed = |reason: String| SandboxError::Launch { step: "exec", reason };
        let Some(cell) = &body.cell else { return Err(failed("no cell".into())) };
        let mut named = Named::default();
        named.add_owned("log", &ends.log);
        named.add_owned("status", &ends.status);
        if let Some(channel) = channel {
            named.add_owned("channel", channel);
        }
        let entrances = body.entrances().map_err(|e| failed(e.to_string()))?;
        for (index, fd) in entrances.iter().enumerate() {
            named.add_owned(&format!("cgroup{index}"), fd);
        }
        let shown = program.path.display().to_string();
        let command = Command::Exec { program, main, rlimits: self.rlimits(), fds: named.names };
        let done = cell.control.command(&command, &named.fds).await.map_err(|e| failed(e.to_string()))?;
        match done.error {
            None => Ok(()),
            Some((_, _, Some(number))) => {
                Err(SandboxError::Entrypoint { path: shown, reason: errno_text(number) })
            }
            Some((_, reason, None)) => Err(SandboxError::Entrypoint { path: shown, reason }),
        }
    }
}

/// A cell whose program is not known yet.
fn provided(body: Body, log: LogReader, ends: Ends) -> Waiting {
    let (link, api) = ApiLink::new();
    Waiting {
        link: Link::Api(link),
        body,
        log,
        ends: Some(ends),
        api: Some(api),
        listener: None,
        api_address: None,
        sdk_near_code: false,
    }
}

/// The error texts of Go's system package, which Lambda prints.
fn errno_text(number: i32) -> String {
    match number {
        libc::ENOENT => "no such file or directory".into(),
        libc::EACCES => "permission denied".into(),
        libc::ENOEXEC => "exec format error".into(),
        other => std::io::Error::from_raw_os_error(other).to_string().to_lowercase(),
    }
}

/// A listener opened elsewhere.
pub fn listener(fd: OwnedFd) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(fd.as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
