//! New sandboxes: a runtime that waits is given its function. What is kept of each runtime (its zygote, those that wait) is here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Inner, Stage};
use crate::init::Initialised;
use crate::java::{SIZES_WAITING, must_know};
use crate::runtimes::java;
use crate::runtimes::plan::{self, Family, Plan};
use crate::sandbox::Sandbox;
use crate::waiting::Waiting;
use crate::zygote::Zygote;
use crate::{FunctionSpec, Initialization, SandboxError};

/// What is kept of one runtime.
#[derive(Default)]
pub(super) struct Runtime {
    plan: tokio::sync::OnceCell<Arc<Plan>>,
    zygote: tokio::sync::Mutex<Option<Arc<Zygote>>>,
    pub(super) waiting: Mutex<Vec<Waiting>>,
    filling: AtomicBool,
}

impl Inner {
    /// A sandbox of a function whose init phase was run, for up to `limit`; and how long it took until that began.
    pub(super) async fn new_sandbox(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
        limit: Duration,
        begun: Instant,
    ) -> Result<(Sandbox, Initialised, Duration), SandboxError> {
        let name = java::sized(&function.runtime, function.memory_mb);
        let kept = self.runtime(&name);
        let plan = self.plan(&kept, &name).await?;
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
        let special = match plan.family {
            Family::Node => {
                function.env.keys().any(|name| name.starts_with("NODE_") || name.starts_with("LD_"))
            }
            Family::Java => must_know(&function.env),
            Family::Python | Family::Provided => false,
        };
        if special {
            // Node.js and Java read these when they start, so they are started for this function.
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

    pub(super) async fn zygote(&self, kept: &Runtime, plan: &Plan) -> Result<Arc<Zygote>, SandboxError> {
        let mut slot = kept.zygote.lock().await;
        if let Some(zygote) = &*slot {
            return Ok(zygote.clone());
        }
        let spawner = self.factory.spawner().await?;
        let zygote = Arc::new(Zygote::start(&spawner, plan).await?);
        *slot = Some(zygote.clone());
        Ok(zygote)
    }

    pub(super) fn runtime(&self, name: &str) -> Arc<Runtime> {
        self.runtimes.lock().entry(name.to_owned()).or_default().clone()
    }

    pub(super) async fn plan(&self, kept: &Runtime, runtime: &str) -> Result<Arc<Plan>, SandboxError> {
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

    /// How many are to wait. A JVM waits for functions of one memory size; the sizes used long ago have none.
    fn wanted(&self, kept: &Arc<Runtime>, plan: &Plan) -> usize {
        let most = self.factory.config.prewarmed;
        let Some(jvm) = &plan.java else { return most };
        if jvm.memory_mb.is_none() || !self.factory.namespaces() {
            return 0;
        }
        let mut sizes = self.sizes.lock();
        sizes.retain(|other| !Arc::ptr_eq(other, kept));
        sizes.push(kept.clone());
        let surplus = sizes.len().saturating_sub(SIZES_WAITING);
        sizes.drain(..surplus).for_each(|other| other.waiting.lock().clear());
        most.min(1)
    }

    /// Brings the number of waiting runtimes up to what is wanted, in the background, one after the other.
    pub(super) fn fill(self: Arc<Self>, kept: Arc<Runtime>, plan: Arc<Plan>) {
        if kept.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(async move {
            let wanted = self.wanted(&kept, &plan);
            while kept.waiting.lock().len() < wanted {
                let making = async {
                    self.admission.quiet().await;
                    self.make(&kept, &plan, true).await
                };
                match self.before(Stage::Closing, making).await {
                    Some(Ok(waiting)) => kept.waiting.lock().push(waiting),
                    None | Some(Err(SandboxError::ShutDown)) => break,
                    Some(Err(error)) => {
                        tracing::warn!("a runtime of {} could not be made ready: {error}", plan.runtime);
                        break;
                    }
                }
            }
            kept.filling.store(false, Ordering::Release);
            if self.is_closed() {
                kept.waiting.lock().clear();
            }
        });
    }
}
