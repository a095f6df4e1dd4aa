//! SnapStart: a function whose init phase ran once, from which each new sandbox is forked.
//!
//! The process that ran init stays as it was, in its sandbox and without any privilege. A restore has it fork; the copy passes a gate that is
//! open for that moment only (`snapshot_gate.rs`), into namespaces of its own, where a child of the spawner mounts `/tmp` and `/proc` and
//! opens the network for it (`spawner/snapshot.rs`); then it takes what init left in `/tmp`, shuts the gate behind itself and goes on
//! (`runtimes/python/snapshot.py`). So copies of one version see neither each other nor their origin; only their process namespaces lie
//! inside the origin's, which therefore lives as long as they do. What a fork cannot copy (other threads, child processes, open pipes,
//! shared memory) keeps a function from being snapshotted: it then starts as if SnapStart was not asked for.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::body::{Body, ProcessWatch};
use crate::channel::Channel;
use crate::environment;
use crate::extensions;
use crate::init::{Initialised, named, places};
use crate::link::Link;
use crate::logs::LogReader;
use crate::report::{self, Restored};
use crate::runtimes::plan::Plan;
use crate::sandbox::{LONGEST_LIFE, Sandbox};
use crate::snapshot_gate::Gate;
use crate::spawner::messages::RestorePlan;
use crate::spawner::{Cell, Socket};
use crate::verdict::Verdict;
use crate::waiting::{Factory, Waiting, listener};
use crate::zygote::Named;
use crate::{FunctionSpec, Hooks, SandboxError, runtimes};

/// Lambda's limit for a restore with its hooks.
pub const RESTORE_LIMIT: Duration = Duration::from_secs(10);

/// A version ready to be restored. Its process ends when nobody has this any more.
pub struct Snapshot {
    origin: tokio::sync::Mutex<Origin>,
    /// A copy that waits to be used, and where its APIs are.
    spare: parking_lot::Mutex<Option<(Waiting, String)>>,
    revision: String,
    born: Instant,
    uid: Option<u32>,
}

struct Origin {
    /// Never invoked: it is only kept alive.
    _sandbox: Sandbox,
    gate: Gate,
    orders: Socket,
}

/// What became of taking one.
pub enum Taken {
    Yes(Arc<Snapshot>),
    /// The function works, but copies of it would not: why.
    Unfit(String),
    /// Init failed.
    No(Verdict),
}

#[derive(Deserialize)]
struct Fit {
    unfit: Option<String>,
}

#[derive(Serialize)]
struct Order {
    fds: Vec<String>,
}

#[derive(Serialize)]
struct Fresh<'a> {
    env: &'a BTreeMap<String, String>,
}

fn failed(error: std::io::Error) -> SandboxError {
    SandboxError::Launch { step: "restore", reason: error.to_string() }
}

/// Why a function is not even tried.
pub fn unfit(function: &FunctionSpec, factory: &Factory) -> Option<String> {
    if !factory.namespaces() {
        return Some("SnapStart needs sandboxes with namespaces".into());
    }
    if runtimes::java::wanted(&function.runtime).is_some() {
        return Some("a JVM cannot be copied while it runs".into());
    }
    let extensions = !extensions::wanted(function).is_empty();
    extensions.then(|| "extensions are processes of their own, which a copy would not have".into())
}

impl Snapshot {
    /// Has a waiting runtime, made with a gate whose other end is `orders`, run the function's init phase.
    pub async fn take(
        mut waiting: Waiting,
        orders: Socket,
        function: Arc<FunctionSpec>,
        plan: &Plan,
        factory: &Factory,
        hooks: &Hooks,
        limit: Duration,
    ) -> Result<Taken, SandboxError> {
        let (api, uid) = (waiting.api_address.take(), waiting.body.uid);
        let revision = function.revision.clone();
        let mut sandbox = Sandbox::assign(waiting, function, factory, hooks).await?;
        let (_, listener) = orders.receive::<IgnoredAny>().await.map_err(failed)?;
        let listener =
            listener.into_iter().next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let gate = Gate::keep(listener).map_err(failed)?;
        match sandbox.initialise(None, api.as_deref(), plan, factory, limit).await? {
            Initialised::Not(verdict, took) => {
                sandbox.report_init(&verdict, took).await;
                return Ok(Taken::No(verdict));
            }
            Initialised::Ready(_) | Initialised::Restored => sandbox.flush_log().await,
        }
        if sandbox.diary.extensions.any() {
            return Ok(Taken::Unfit("extensions that began during init do not go on in a copy".into()));
        }
        let fit = tokio::time::timeout(RESTORE_LIMIT, orders.receive::<Fit>()).await;
        let (fit, _) = fit.map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        if let Some(reason) = fit.unfit {
            return Ok(Taken::Unfit(reason));
        }
        let (born, origin) = (sandbox.born, Origin { _sandbox: sandbox, gate, orders });
        Ok(Taken::Yes(Arc::new(Self {
            origin: tokio::sync::Mutex::new(origin),
            spare: parking_lot::Mutex::new(None),
            revision,
            born,
            uid,
        })))
    }

    /// Whether it is of this revision, and copies would have credentials for long enough.
    pub fn serves(&self, function: &FunctionSpec) -> bool {
        self.revision == function.revision && self.born.elapsed() < LONGEST_LIFE
    }

    /// A new sandbox in which init has already run.
    pub async fn restore(
        self: &Arc<Self>,
        function: Arc<FunctionSpec>,
        plan: &Plan,
        factory: &Factory,
        hooks: &Hooks,
    ) -> Result<(Sandbox, Initialised), SandboxError> {
        let begun = Instant::now();
        let mut spare = self.spare.lock().take();
        if spare.as_mut().is_some_and(|(waiting, _)| waiting.body.process.has_ended()) {
            spare = None;
        }
        let (mut waiting, api) = match spare {
            Some(spare) => spare,
            None => self.fork(&function, factory).await?,
        };
        waiting.body.within = Some(self.clone());
        let mut sandbox = Sandbox::settle(waiting, function, factory, hooks)?;
        sandbox.born = self.born;
        let went = sandbox.resume(&api, plan, factory, begun).await?;
        Ok((sandbox, went))
    }

    /// Makes a copy ahead of the next restore, which then only waits for the function's own hooks.
    pub async fn prepare(&self, function: &FunctionSpec, factory: &Factory) -> Result<(), SandboxError> {
        if self.spare.lock().is_none() {
            let made = self.fork(function, factory).await?;
            *self.spare.lock() = Some(made);
        }
        Ok(())
    }

    async fn fork(
        &self,
        function: &FunctionSpec,
        factory: &Factory,
    ) -> Result<(Waiting, String), SandboxError> {
        let cgroup = factory.machine.hierarchy.create(&factory.name()).map_err(failed)?;
        let (process, status) = ProcessWatch::pipe().map_err(failed)?;
        let mut body = Body {
            cell: None,
            cgroup,
            process,
            forked: false,
            namespaces: true,
            tmp: None,
            uid: self.uid,
            runtime: Handle::current(),
            within: None,
            alive: factory.alive()?,
        };
        let (log, log_end) = LogReader::pipe().map_err(failed)?;
        let (channel, channel_end) = Channel::pair().map_err(failed)?;
        let mut cell = self.pass(function, factory, &body, [channel_end, log_end, status]).await?;
        let listener = cell.fds.remove("api").map(listener).transpose().map_err(failed)?;
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        body.cell = Some(cell);
        let waiting = Waiting {
            body,
            link: Link::Channel(channel),
            log,
            ends: None,
            api: None,
            listener,
            api_address: None,
            sdk_near_code: false,
        };
        Ok((waiting, address.map(|address| address.to_string()).unwrap_or_default()))
    }

    /// Has the origin fork and the copy pass the gate, one at a time.
    async fn pass(
        &self,
        function: &FunctionSpec,
        factory: &Factory,
        body: &Body,
        [channel, log, status]: [OwnedFd; 3],
    ) -> Result<Cell, SandboxError> {
        let spawner = factory.spawner().await?;
        let origin = self.origin.lock().await;
        let (sync, sync_end) = Socket::pair().map_err(failed)?;
        let mut order = Named::default();
        for (name, fd) in [("channel", &channel), ("log", &log), ("status", &status), ("sync", &sync_end)] {
            order.add_owned(name, fd);
        }
        let told = origin.gate.open_once(body.entrances().map_err(failed)?);
        let _shut = Shut(&origin.gate);
        origin.orders.send(&Order { fds: order.names }, &order.fds).await.map_err(failed)?;
        drop((channel, log, status, sync_end));
        let passed = told.await.map_err(|_| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        sync.receive::<IgnoredAny>().await.map_err(failed)?;
        let plan = RestorePlan {
            pid: passed.pid,
            uid: self.uid,
            endpoint_port: factory.config.endpoint.port(),
            xray: factory.machine.xray,
            tun: factory.config.outbound_network,
            tmp_mb: function.tmp_mb,
        };
        let mut cell = Cell::around(&spawner, &plan, passed.process.as_fd()).await.map_err(failed)?;
        let rules = cell.fds.remove("landlock");
        let rules: Vec<_> = rules.iter().map(AsFd::as_fd).collect();
        sync.send(&(), &rules).await.map_err(failed)?;
        Ok(cell)
    }
}

/// A restore that is given up leaves no gate open.
struct Shut<'a>(&'a Gate);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl Sandbox {
    /// Gives a copy its own environment and waits until its hooks have run.
    async fn resume(
        &mut self,
        api: &str,
        plan: &Plan,
        factory: &Factory,
        begun: Instant,
    ) -> Result<Initialised, SandboxError> {
        self.log.begin();
        let (family, version) = named(plan);
        self.log.add(report::restore_start(family, version, &factory.config.region));
        let places = places(&self.function, factory, plan, Some(api), None);
        let credentials = self.function.credentials.credentials(&self.function.arn);
        let stream = &self.diary.log_stream;
        let env = environment::build(&self.function, &places, stream, &factory.config.region, &credentials);
        let resumed = Instant::now();
        let Link::Channel(channel) = &mut self.link else {
            return Err(SandboxError::Launch { step: "restore", reason: "no channel".into() });
        };
        // A copy that is gone says so on the other side: whoever listens hears it.
        let _ = channel.send(&Fresh { env: &env }, &[]).await;
        let result = self.runtime_ready(resumed + RESTORE_LIMIT).await;
        self.log.drain(false).await;
        let took = begun.elapsed();
        self.restored = Some(Restored { took, billed: resumed.elapsed() });
        let kind = match &result {
            Ok(()) => None,
            Err(Verdict::Failed { kind, .. }) => Some(kind.as_str()),
            Err(Verdict::TimedOut(_)) => Some("Sandbox.Timedout"),
            Err(_) => Some("Runtime.ExitError"),
        };
        self.log.add(report::restore_report(took, kind));
        self.diary.restored(&result, took);
        Ok(match result {
            Ok(()) => Initialised::Restored,
            Err(verdict) => Initialised::Not(verdict, took),
        })
    }
}
