//! The executor: takes an invocation, finds or makes a sandbox for it, and keeps what is worth keeping.
//!
//! `pool.rs` says what there is, `waiting.rs` makes runtimes, `sandbox.rs` runs one invocation. Retries, concurrency limits and queues are the
//! caller's.

mod restoring;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::admission::{Admission, TURN, Turn};
use crate::cgroup::Hierarchy;
use crate::farewell::end_all;
use crate::init::Initialised;
use crate::pool::{Found, Place, Pool};
use crate::provisioned::{Provisioned, Provisions};
use crate::runtimes::plan::{self, Family, Plan};
use crate::sandbox::{Sandbox, random_bytes};
use crate::snapshots::{Snapshots, Snapshotted};
use crate::verdict::Verdict;
use crate::waiting::{Factory, Machine, Waiting};
use crate::wasm::{self, Wasm};
use crate::zygote::Zygote;
use crate::{
    ExecutorConfig, FunctionSpec, Hooks, Initialization, Invocation, Outcome, Overhead, SandboxError, Tier,
    TierReport, scratch, startup,
};

/// Lambda's limit of the init phase; beyond it init runs again as part of the invocation.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// The same for sandboxes that nobody waits for, unless the function's own timeout is longer.
const INIT_LIMIT_AHEAD: Duration = Duration::from_secs(130);

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
    runtime_dir: PathBuf,
    /// Wakes the task that freezes and expires before the time it waits for.
    tend: Arc<Notify>,
    finished: Notify,
    closed: AtomicBool,
    gone: tokio::sync::Mutex<Option<mpsc::Receiver<()>>>,
}

/// What is kept of one runtime.
#[derive(Default)]
struct Runtime {
    plan: tokio::sync::OnceCell<Arc<Plan>>,
    zygote: tokio::sync::Mutex<Option<Arc<Zygote>>>,
    waiting: Mutex<Vec<Waiting>>,
    filling: AtomicBool,
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
            runtime_dir: scratch.runtime,
            tend: Arc::default(),
            finished: Notify::new(),
            closed: AtomicBool::new(false),
            gone: tokio::sync::Mutex::new(Some(gone)),
        });
        tokio::spawn(tend(Arc::downgrade(&inner)));
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
        match tokio::spawn(async move { inner.run(function, invocation).await }).await {
            Ok(result) => result,
            Err(error) => Err(SandboxError::Launch { step: "invoke", reason: error.to_string() }),
        }
    }

    /// Whether this machine can run `runtime`: the check for `CreateFunction`. Also begins to warm the runtime up, without waiting for that.
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
        inner.closed.store(true, Ordering::Release);
        let quiet = async {
            loop {
                let finished = inner.finished.notified();
                if inner.pool.lock().busy() == 0 {
                    return;
                }
                finished.await;
            }
        };
        let _ = tokio::time::timeout(grace, quiet).await;
        let ended = inner.pool.lock().take_all();
        end_all(ended);
        inner.wasm.close();
        inner.snapshots.lock().clear();
        inner.runtimes.lock().clear();
        inner.factory.close();
        if let Some(mut gone) = inner.gone.lock().await.take() {
            let _ = tokio::time::timeout(Duration::from_secs(10), gone.recv()).await;
        }
        inner.factory.replace_spawner().await;
        inner.factory.machine.hierarchy.remove();
    }
}

impl Inner {
    async fn run(
        self: Arc<Self>,
        function: Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Result<Outcome, SandboxError> {
        let begun = Instant::now();
        if self.closed.load(Ordering::Acquire) {
            return Err(SandboxError::ShutDown);
        }
        if function.runtime == wasm::RUNTIME {
            return self.run_wasm(&function, &invocation, begun).await;
        }
        let (mut sandbox, place) = match self.admit(&function).await? {
            Admitted::Warm(sandbox, place) => (*sandbox, place),
            Admitted::New(place, turn) => {
                return self.run_cold(&function, &invocation, place, turn, begun).await;
            }
        };
        let acquire = begun.elapsed();
        sandbox.begin_log();
        let (verdict, duration) = sandbox.invoke(&invocation, Duration::ZERO).await;
        let keep = keeps(&verdict);
        let mut outcome = sandbox.conclude(&invocation, verdict, duration, None, false).await;
        self.put_back(sandbox, &place, keep);
        outcome.overhead = Overhead { acquire, total: begun.elapsed().saturating_sub(duration) };
        Ok(outcome)
    }

    /// WebAssembly has no sandboxes to keep: each invocation takes its memory and gives it back.
    async fn run_wasm(
        &self,
        function: &Arc<FunctionSpec>,
        invocation: &Invocation,
        begun: Instant,
    ) -> Result<Outcome, SandboxError> {
        let limit_mb = self.factory.config.max_memory_mb;
        let mut dropped = Vec::new();
        let place = self.pool.lock().room(function, limit_mb, &mut dropped);
        end_all(dropped);
        let place = place.ok_or(SandboxError::Busy { limit_mb })?;
        let result = self.wasm.run(function, invocation, begun.into_std()).await;
        self.pool.lock().give_up(&place);
        self.finished.notify_waiters();
        result
    }

    /// A warm sandbox, or room for a new one and the turn to make it, whichever comes first.
    async fn admit(self: &Arc<Self>, function: &Arc<FunctionSpec>) -> Result<Admitted<'_>, SandboxError> {
        loop {
            let place = match self.acquire(function)? {
                (Some(sandbox), place) => return Ok(Admitted::Warm(sandbox, place)),
                (None, place) => place,
            };
            if let Some(turn) = self.admission.try_turn() {
                return Ok(Admitted::New(place, turn));
            }
            let come_back = self.pool.lock().wait(function);
            tokio::select! {
                biased;
                Ok(()) = come_back => self.pool.lock().give_up(&place),
                turn = self.admission.turn() => return Ok(Admitted::New(place, turn)),
            }
        }
    }

    /// A warm sandbox that still lives, or room for a new one.
    fn acquire(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
    ) -> Result<(Option<Box<Sandbox>>, Place), SandboxError> {
        let limit_mb = self.factory.config.max_memory_mb;
        loop {
            let mut dropped = Vec::new();
            let short = || self.admission.memory_is_short();
            let found = self.pool.lock().acquire(function, limit_mb, short, &mut dropped);
            end_all(dropped);
            match found {
                Found::Full => return Err(SandboxError::Busy { limit_mb }),
                Found::New(place) => return Ok((None, place)),
                Found::Warm(mut sandbox, place) => {
                    if !sandbox.body.process.has_ended() && !sandbox.outlived() {
                        return Ok((Some(sandbox), place));
                    }
                    self.pool.lock().give_up(&place);
                    self.lose(&sandbox);
                    sandbox.end();
                }
            }
        }
    }

    /// Has what a lost provisioned sandbox leaves open filled again.
    fn lose(self: &Arc<Self>, sandbox: &Sandbox) {
        if sandbox.provisioned() {
            self.provisions.lock().lost(&sandbox.function);
            self.fill_provisioned(&sandbox.function.arn, &sandbox.function.version);
        }
    }

    /// Makes what is wanted of a version, a few at a time, in the background.
    fn fill_provisioned(self: &Arc<Self>, arn: &str, version: &str) {
        while !self.closed.load(Ordering::Acquire) {
            let Some(function) = self.provisions.lock().begin(arn, version) else { return };
            tokio::spawn(self.clone().make_provisioned(function));
        }
    }

    /// A future of a named type: making one ends in filling, which makes others.
    fn make_provisioned(self: Arc<Self>, function: Arc<FunctionSpec>) -> BoxFuture<'static, ()> {
        let making = async move {
            let mut dropped = Vec::new();
            let place = self.pool.lock().room(&function, self.factory.config.max_memory_mb, &mut dropped);
            end_all(dropped);
            let made = match &place {
                Some(_) => self.make_ahead(&function).await,
                None => Err("all function memory is in use".to_owned()),
            };
            match (made, &place) {
                (Ok(sandbox), Some(place)) => {
                    let keep = self.provisions.lock().made(&function);
                    self.put_back_counted(sandbox, place, keep);
                }
                (Err(reason), place) => {
                    place.iter().for_each(|place| self.pool.lock().give_up(place));
                    self.provisions.lock().failed(&function, reason);
                    self.finished.notify_waiters();
                }
                _ => {}
            }
            self.fill_provisioned(&function.arn, &function.version);
        };
        making.boxed()
    }

    /// A sandbox of a function whose init phase is behind it.
    async fn make_ahead(self: &Arc<Self>, function: &Arc<FunctionSpec>) -> Result<Sandbox, String> {
        let limit = Duration::from_millis(function.timeout_ms).max(INIT_LIMIT_AHEAD);
        let made = self.new_sandbox(function, limit, Instant::now()).await;
        let (mut sandbox, initialised, _) = made.map_err(|error| error.to_string())?;
        match initialised {
            Initialised::Ready(_) | Initialised::Restored => {
                sandbox.flush_log().await;
                Ok(sandbox)
            }
            Initialised::Not(verdict, init) => {
                sandbox.report_init(&verdict, init).await;
                Err("FUNCTION_ERROR_INIT_FAILURE".to_owned())
            }
        }
    }

    async fn run_cold(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
        invocation: &Invocation,
        place: Place,
        turn: Turn<'_>,
        begun: Instant,
    ) -> Result<Outcome, SandboxError> {
        match self.cold(function, invocation, turn, begun).await {
            Ok((outcome, sandbox, keep)) => {
                self.put_back(sandbox, &place, keep);
                Ok(outcome)
            }
            Err(error) => {
                self.pool.lock().give_up(&place);
                self.finished.notify_waiters();
                Err(error)
            }
        }
    }

    async fn cold(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
        invocation: &Invocation,
        turn: Turn<'_>,
        begun: Instant,
    ) -> Result<(Outcome, Sandbox, bool), SandboxError> {
        let made = self.new_sandbox(function, INIT_LIMIT, begun);
        let (mut sandbox, initialised, mut acquire) = in_turn(made, turn).await?;
        let (mut verdict, init) = match initialised {
            Initialised::Ready(init) => (None, Some(init)),
            Initialised::Restored => (None, None),
            Initialised::Not(verdict, init) => (Some(verdict), Some(init)),
        };
        let mut used = Duration::ZERO;
        if let Some(failed) = &verdict
            && sandbox.restored.is_none()
        {
            sandbox.report_init(failed, init.unwrap_or_default()).await;
        }
        if matches!(verdict, Some(Verdict::TimedOut(_))) {
            // As on Lambda, init gets a second chance inside the invocation's own time.
            let timeout = Duration::from_millis(function.timeout_ms);
            let again = self.new_sandbox(function, timeout, Instant::now()).await?;
            (sandbox, acquire) = (again.0, again.2);
            (verdict, used) = match again.1 {
                Initialised::Ready(init) => (None, init),
                Initialised::Restored => (None, Duration::ZERO),
                Initialised::Not(verdict, init) => (Some(verdict), init),
            };
        }
        let (verdict, duration, init) = match verdict {
            Some(failed) => {
                sandbox.log_start(invocation);
                (failed, if used.is_zero() { init.unwrap_or_default() } else { used }, None)
            }
            None => {
                let (verdict, duration) = sandbox.invoke(invocation, used).await;
                (verdict, duration + used, init.filter(|_| used.is_zero()))
            }
        };
        let keep = keeps(&verdict);
        let mut outcome = sandbox.conclude(invocation, verdict, duration, init, true).await;
        let counted = duration + init.unwrap_or_default();
        outcome.overhead = Overhead { acquire, total: begun.elapsed().saturating_sub(counted) };
        Ok((outcome, sandbox, keep))
    }

    async fn new_sandbox(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
        limit: Duration,
        begun: Instant,
    ) -> Result<(Sandbox, Initialised, Duration), SandboxError> {
        let kept = self.runtime(&function.runtime);
        let plan = self.plan(&kept, &function.runtime).await?;
        if function.initialization == Initialization::SnapStart {
            if let Some((sandbox, restored)) = self.restored(function, &plan).await {
                return Ok((sandbox, restored, begun.elapsed()));
            }
            let plain =
                FunctionSpec { initialization: Initialization::OnDemand, ..FunctionSpec::clone(function) };
            return Box::pin(self.new_sandbox(&Arc::new(plain), limit, begun)).await;
        }
        let mut waiting = self.waiting_for(&kept, &plan, function).await?;
        let (ends, api) = (waiting.ends.take(), waiting.api_address.take());
        let mut sandbox = Sandbox::assign(waiting, function.clone(), &self.factory, &self.hooks).await?;
        let acquire = begun.elapsed();
        let initialised = sandbox.initialise(ends, api.as_deref(), &plan, &self.factory, limit).await?;
        self.clone().fill(kept, plan);
        Ok((sandbox, initialised, acquire))
    }

    /// A runtime without a function: one that is ready, or a new one.
    async fn waiting_for(
        &self,
        kept: &Runtime,
        plan: &Plan,
        function: &FunctionSpec,
    ) -> Result<Waiting, SandboxError> {
        let special = plan.family == Family::Node
            && function.env.keys().any(|name| name.starts_with("NODE_") || name.starts_with("LD_"));
        if special {
            // Node.js reads these when it starts, so it is started for this function.
            let env: Vec<(String, String)> =
                function.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            return self.factory.make(plan, None, Some(&env), false).await;
        }
        loop {
            let Some(mut ready) = kept.waiting.lock().pop() else { break };
            if !ready.body.process.has_ended() {
                return Ok(ready);
            }
        }
        self.make(kept, plan, false).await
    }

    async fn make(&self, kept: &Runtime, plan: &Plan, ahead: bool) -> Result<Waiting, SandboxError> {
        if plan.family != Family::Python {
            return self.factory.make(plan, None, None, ahead).await;
        }
        let zygote = self.zygote(kept, plan).await?;
        if ahead {
            // Whoever needs one now does not wait for this.
            zygote.warm().await;
        }
        match self.factory.make(plan, Some(&zygote), None, ahead).await {
            Err(SandboxError::Launch { step: "zygote", .. }) => {
                // It has died; another takes its place.
                *kept.zygote.lock().await = None;
                let zygote = self.zygote(kept, plan).await?;
                self.factory.make(plan, Some(&zygote), None, ahead).await
            }
            other => other,
        }
    }

    async fn zygote(&self, kept: &Runtime, plan: &Plan) -> Result<Arc<Zygote>, SandboxError> {
        let mut slot = kept.zygote.lock().await;
        if let Some(zygote) = &*slot {
            return Ok(zygote.clone());
        }
        let spawner = self.factory.spawner().await?;
        let zygote = Arc::new(Zygote::start(&spawner, plan).await?);
        *slot = Some(zygote.clone());
        Ok(zygote)
    }

    fn runtime(&self, name: &str) -> Arc<Runtime> {
        self.runtimes.lock().entry(name.to_owned()).or_default().clone()
    }

    async fn plan(&self, kept: &Runtime, runtime: &str) -> Result<Arc<Plan>, SandboxError> {
        let resolved = kept.plan.get_or_try_init(|| async {
            let (name, config) = (runtime.to_owned(), self.factory.config.clone());
            let (namespaces, dir) = (self.factory.namespaces(), self.runtime_dir.clone());
            let resolving =
                tokio::task::spawn_blocking(move || plan::resolve(&name, &config, namespaces, &dir)).await;
            resolving
                .map_err(|e| SandboxError::Launch { step: "runtime", reason: e.to_string() })?
                .map(Arc::new)
        });
        resolved.await.cloned()
    }

    /// Brings the number of waiting runtimes up to what is wanted, in the background, one after the other.
    fn fill(self: Arc<Self>, kept: Arc<Runtime>, plan: Arc<Plan>) {
        if kept.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(async move {
            while kept.waiting.lock().len() < self.factory.config.prewarmed
                && !self.closed.load(Ordering::Acquire)
            {
                self.admission.quiet().await;
                match self.make(&kept, &plan, true).await {
                    Ok(waiting) => kept.waiting.lock().push(waiting),
                    Err(SandboxError::ShutDown) => break,
                    Err(error) => {
                        tracing::warn!("a runtime of {} could not be made ready: {error}", plan.runtime);
                        break;
                    }
                }
            }
            kept.filling.store(false, Ordering::Release);
            if self.closed.load(Ordering::Acquire) {
                kept.waiting.lock().clear();
            }
        });
    }

    fn put_back(self: &Arc<Self>, sandbox: Sandbox, place: &Place, keep: bool) {
        if !sandbox.provisioned() {
            return self.put_back_counted(sandbox, place, keep);
        }
        let keep = keep && self.provisions.lock().keeps(&sandbox.function);
        if !keep {
            self.lose(&sandbox);
        }
        self.put_back_counted(sandbox, place, keep);
    }

    /// The answer is out, but extensions still work on the invocation.
    async fn put_back_later(self: Arc<Self>, mut sandbox: Sandbox, place: Place) {
        let keep = sandbox.linger().await;
        if !keep {
            self.lose(&sandbox);
        }
        self.put_back_counted(sandbox, &place, keep);
    }

    fn put_back_counted(self: &Arc<Self>, sandbox: Sandbox, place: &Place, keep: bool) {
        if keep && sandbox.lingers() {
            tokio::spawn(self.clone().put_back_later(sandbox, place.clone()));
            return;
        }
        if keep && !self.closed.load(Ordering::Acquire) {
            let now = Instant::now();
            let (rejected, earlier) = {
                let mut pool = self.pool.lock();
                (pool.release(sandbox, place, now), pool.must_look_earlier(now))
            };
            rejected.into_iter().for_each(Sandbox::end);
            if earlier {
                self.tend.notify_one();
            }
        } else {
            sandbox.end();
            self.pool.lock().give_up(place);
        }
        self.finished.notify_waiters();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tend.notify_one();
    }
}

/// What an invocation was given.
enum Admitted<'a> {
    Warm(Box<Sandbox>, Place),
    New(Place, Turn<'a>),
}

/// Does it as long as it takes, and keeps the turn for as long as turns last.
async fn in_turn<T>(making: impl Future<Output = T>, turn: Turn<'_>) -> T {
    let mut making = std::pin::pin!(making);
    let made = tokio::time::timeout(TURN, &mut making).await;
    drop(turn);
    match made {
        Ok(made) => made,
        Err(_) => making.await,
    }
}

/// Whether a sandbox can be used again after this.
fn keeps(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Done(_) | Verdict::TooLarge(_)) || matches!(verdict, Verdict::Failed { .. })
}

/// Freezes and ends idle sandboxes when they are due; sleeps until then, or until one is due earlier.
async fn tend(inner: std::sync::Weak<Inner>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let (ended, next) = strong.pool.lock().tend(Instant::now(), strong.factory.config.idle_timeout);
        end_all(ended);
        let wake = strong.tend.clone();
        drop(strong);
        let look = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = look => {}
            () = wake.notified() => {}
        }
    }
}
