//! The executor: takes an invocation, finds or makes a sandbox for it, and keeps what is worth keeping.
//!
//! Here is what callers see; `executor/` has what happens then: `running.rs` (an invocation), `making.rs` (a new sandbox), `restoring.rs`
//! (one from a snapshot), `provisioning.rs` (sandboxes made ahead) and `keeping.rs` (after an invocation). `pool.rs` says what there is,
//! `sandbox.rs` is one sandbox. Retries, concurrency limits and queues are the caller's.

mod keeping;
mod making;
mod provisioning;
mod restoring;
mod running;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::admission::Admission;
use crate::cgroup::Hierarchy;
use crate::farewell::end_all;
use crate::pool::Pool;
use crate::provisioned::{Provisioned, Provisions};
use crate::sandbox::random_bytes;
use crate::snapshots::{Snapshots, Snapshotted};
use crate::waiting::{Factory, Machine};
use crate::wasm::{self, Wasm};
use crate::{
    ExecutorConfig, FunctionSpec, Hooks, Invocation, Outcome, SandboxError, Tier, TierReport, scratch,
    startup,
};
use making::Runtime;

/// Lambda's limit of the init phase; beyond it init runs again as part of the invocation.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// The same for sandboxes that nobody waits for, unless the function's own timeout is longer.
const INIT_LIMIT_AHEAD: Duration = Duration::from_secs(130);

/// The longest wait for the machine to take away what was ended.
const LONGEST_END: Duration = Duration::from_secs(10);

/// Runs functions. Cheap to clone; all clones share the same sandboxes.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Inner>,
}

struct Inner {
    factory: Factory,
    wasm: Wasm,
    hooks: Hooks,
    tier: TierReport,
    pool: Mutex<Pool>,
    admission: Admission,
    provisions: Mutex<Provisions>,
    snapshots: Mutex<Snapshots>,
    runtimes: Mutex<HashMap<String, Arc<Runtime>>>,
    /// Those of them that have a JVM waiting, the one used last at the end.
    sizes: Mutex<Vec<Arc<Runtime>>>,
    runtime_dir: PathBuf,
    /// Wakes the task that freezes and expires before the time it waits for.
    tend: Arc<Notify>,
    finished: Notify,
    stage: watch::Sender<Stage>,
    gone: tokio::sync::Mutex<Option<mpsc::Receiver<()>>>,
}

/// How far the executor is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// What runs may finish; what nobody waits for is given up.
    Closing,
    Ended,
}

/// How many sandboxes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    pub busy: usize,
    pub idle: usize,
    /// Runtimes that wait for a function.
    pub prewarmed: usize,
    /// Memory promised to busy and idle sandboxes, in MB.
    pub promised_mb: u64,
}

impl Executor {
    /// Starts the spawner and finds out which tier this machine allows. Takes a few milliseconds; no interpreter is started yet.
    /// Must be called inside a Tokio runtime.
    pub async fn new(config: ExecutorConfig, hooks: Hooks) -> Result<Self, SandboxError> {
        let failed = |step: &'static str| {
            move |error: std::io::Error| SandboxError::Launch { step, reason: error.to_string() }
        };
        let scratch = scratch::prepare(&config.scratch_dir).map_err(failed("scratch folder"))?;
        startup::raise_file_limit();
        let program = match &config.launcher {
            Some(path) => path.clone(),
            None => PathBuf::from("/proc/self/exe"),
        };
        let started = startup::start_spawner(&config, &program, &scratch).await?;
        let mut missing = started.missing;
        let name = format!("tidemill-{}-{}", std::process::id(), hex::encode(&random_bytes()[..3]));
        let hierarchy = Hierarchy::find(&name, &mut missing);
        let tier = if started.settings.namespaces { Tier::Namespace } else { Tier::Process };
        let tier = TierReport { tier, fallback: started.fallback, missing };
        let (alive, gone) = mpsc::channel(1);
        let config = Arc::new(config);
        let wasm = Wasm::new(config.clone(), hooks.clone(), program.clone());
        let machine =
            Machine { own_uids: started.own_uids, xray: hooks.segments.is_some(), hierarchy, program };
        let factory = Factory::new(config, started.settings, machine, started.spawner, alive);
        let inner = Arc::new(Inner {
            factory,
            wasm,
            hooks,
            tier,
            pool: Mutex::default(),
            admission: Admission::new(),
            provisions: Mutex::default(),
            snapshots: Mutex::default(),
            runtimes: Mutex::default(),
            sizes: Mutex::default(),
            runtime_dir: scratch.runtime,
            tend: Arc::default(),
            finished: Notify::new(),
            stage: watch::Sender::new(Stage::Open),
            gone: tokio::sync::Mutex::new(Some(gone)),
        });
        tokio::spawn(keeping::tend(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// The tier in force and what is missing from it.
    pub fn tier(&self) -> TierReport {
        self.inner.tier.clone()
    }

    /// Runs `function` once and waits for its outcome. The invocation goes on when the future is dropped.
    pub async fn invoke(
        &self,
        function: &Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Result<Outcome, SandboxError> {
        let (inner, function) = (self.inner.clone(), function.clone());
        let running = async move {
            let run = inner.clone().run(function, invocation);
            inner.before(Stage::Ended, run).await.unwrap_or(Err(SandboxError::ShutDown))
        };
        match tokio::spawn(running).await {
            Ok(result) => result,
            Err(error) => Err(SandboxError::Launch { step: "invoke", reason: error.to_string() }),
        }
    }

    /// Whether this machine can run `runtime`: the check for `CreateFunction`. Also begins to warm the runtime up, without waiting for that.
    /// A name from [`runtimes::java::sized`](crate::runtimes::java::sized) warms up what functions of one memory size need.
    pub async fn expect(&self, runtime: &str) -> Result<(), SandboxError> {
        if runtime == wasm::RUNTIME {
            return Ok(());
        }
        let kept = self.inner.runtime(runtime);
        let plan = self.inner.plan(&kept, runtime).await?;
        self.inner.clone().fill(kept, plan);
        Ok(())
    }

    /// Compiles the program of a function whose runtime is [`WASM_RUNTIME`](crate::WASM_RUNTIME), or says why it is none.
    pub async fn prepare_wasm(&self, program: bytes::Bytes) -> Result<(), SandboxError> {
        self.inner.wasm.prepare(program).await
    }

    /// Lets go of every idle sandbox of the function (all versions), and of the busy ones when they finish. Call when code or configuration
    /// changes or the function is deleted.
    pub fn forget(&self, arn: &str) {
        self.inner.wasm.forget(arn);
        let ended = self.inner.pool.lock().forget(arn);
        end_all(ended);
    }

    /// Keeps `wanted` sandboxes of a function version ready from now on; the function's initialization is
    /// [`Initialization::Provisioned`](crate::Initialization). Returns at once; [`Executor::provisioned`] says how far it is. A failure of the
    /// init phase ends the attempts until this is called again.
    pub fn provision(&self, function: &Arc<FunctionSpec>, wanted: usize) {
        let surplus = self.inner.provisions.lock().want(function, wanted);
        let ended = self.inner.pool.lock().take_provisioned(function, surplus);
        for _ in &ended {
            self.inner.provisions.lock().lost(function);
        }
        end_all(ended);
        self.inner.fill_provisioned(&function.arn, &function.version);
    }

    /// How far provisioning of a version is.
    pub fn provisioned(&self, arn: &str, version: &str) -> Provisioned {
        self.inner.provisions.lock().of(arn, version)
    }

    /// Ends provisioning of those versions of a function that `wanted` does not name.
    pub fn provision_only(&self, arn: &str, wanted: &dyn Fn(&str) -> bool) {
        let versions = self.inner.provisions.lock().versions(arn);
        versions.iter().filter(|spec| !wanted(&spec.version)).for_each(|spec| self.provision(spec, 0));
    }

    /// Runs the init phase of a version whose initialization is [`Initialization::SnapStart`](crate::Initialization) and keeps what came of
    /// it: each cold start of the version begins there from now on.
    pub async fn snapshot(&self, function: &Arc<FunctionSpec>) -> Result<Snapshotted, SandboxError> {
        self.inner.snapshots.lock().begin(function, Instant::now());
        self.inner.take_snapshot(function).await
    }

    /// Lets go of the snapshots of those versions of a function that `keep` does not name.
    pub fn snapshot_only(&self, arn: &str, keep: &dyn Fn(&str) -> bool) {
        self.inner.snapshots.lock().keep_only(arn, keep);
    }

    pub fn stats(&self) -> PoolStats {
        let prewarmed = self.inner.runtimes.lock().values().map(|runtime| runtime.waiting.lock().len()).sum();
        PoolStats { prewarmed, ..self.inner.pool.lock().stats() }
    }

    /// Waits up to `grace` for running invocations, then kills everything and removes cgroups and mounts. New invocations are refused.
    pub async fn shutdown(&self, grace: Duration) {
        let inner = &self.inner;
        inner.stage.send_replace(Stage::Closing);
        let _ = tokio::time::timeout(grace, inner.quiet()).await;
        inner.stage.send_replace(Stage::Ended);
        let ended = std::mem::take(&mut *inner.pool.lock()).take_all();
        end_all(ended);
        inner.wasm.close();
        inner.snapshots.lock().clear();
        inner.runtimes.lock().clear();
        inner.sizes.lock().clear();
        inner.factory.close();
        if let Some(mut gone) = inner.gone.lock().await.take() {
            let _ = tokio::time::timeout(LONGEST_END, gone.recv()).await;
        }
        inner.factory.replace_spawner().await;
        inner.factory.machine.hierarchy.remove();
    }
}

impl Inner {
    /// Whether no new sandboxes are wanted any more.
    fn is_closed(&self) -> bool {
        *self.stage.borrow() >= Stage::Closing
    }

    /// Does the work; gives it up where the executor gets to `stage` first.
    async fn before<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Option<T> {
        let mut reached = self.stage.subscribe();
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = reached.wait_for(|now| *now >= stage) => None,
        }
    }

    /// Waits until no invocation runs.
    async fn quiet(&self) {
        loop {
            let finished = self.finished.notified();
            if self.pool.lock().busy() == 0 {
                return;
            }
            finished.await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tend.notify_one();
    }
}
