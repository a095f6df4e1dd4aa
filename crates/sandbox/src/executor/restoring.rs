//! The executor's part of SnapStart: restoring where there is a snapshot, taking one where there may be, and making copies ahead.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{INIT_LIMIT_AHEAD, Inner, Stage};
use crate::init::Initialised;
use crate::runtimes::plan::Plan;
use crate::sandbox::Sandbox;
use crate::snapshot::{self, RESTORE_LIMIT, Snapshot, Taken};
use crate::snapshots::{Advice, Snapshotted};
use crate::spawner::Socket;
use crate::{FunctionSpec, SandboxError};

/// Nobody waits for a copy made ahead, but others wait for their turn with its origin.
const PREPARE_LIMIT: Duration = Duration::from_secs(2);

impl Inner {
    /// A sandbox restored from the version's snapshot, if it has one; if it might have, one is taken meanwhile.
    pub(super) async fn restored(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
        plan: &Plan,
    ) -> Option<(Sandbox, Initialised)> {
        let advice = self.snapshots.lock().advise(function, Instant::now());
        if let Advice::Restore(snapshot) = &advice {
            let restoring = snapshot.restore(function.clone(), plan, &self.factory, &self.hooks);
            match tokio::time::timeout(2 * RESTORE_LIMIT, restoring).await {
                Ok(Ok(restored)) => {
                    self.prepare(snapshot.clone(), function.clone());
                    return Some(restored);
                }
                Ok(Err(error)) => tracing::warn!("{} is initialised anew: {error}", function.arn),
                Err(_) => tracing::warn!("{} is initialised anew: its restore took too long", function.arn),
            }
            self.snapshots.lock().lost(function);
        }
        if !matches!(advice, Advice::Initialise) && self.snapshots.lock().begin(function, Instant::now()) {
            let (inner, function) = (self.clone(), function.clone());
            tokio::spawn(async move {
                match inner.take_snapshot(&function).await {
                    Ok(_) | Err(SandboxError::ShutDown) => {}
                    Err(error) => {
                        inner.snapshots.lock().lost(&function);
                        tracing::warn!("no snapshot of {} could be taken: {error}", function.arn);
                    }
                }
            });
        }
        None
    }

    /// Has a copy made for the next cold start of a version, once nobody waits for a sandbox of their own.
    fn prepare(self: &Arc<Self>, snapshot: Arc<Snapshot>, function: Arc<FunctionSpec>) {
        let inner = self.clone();
        tokio::spawn(async move {
            let preparing = async {
                inner.admission.quiet().await;
                tokio::time::timeout(PREPARE_LIMIT, snapshot.prepare(&function, &inner.factory)).await
            };
            if let Some(Ok(Err(error))) = inner.before(Stage::Closing, preparing).await {
                tracing::debug!("no copy of {} was made ahead: {error}", function.arn);
            }
        });
    }

    /// A future of a named type: sandboxes are made while one is taken.
    pub(super) fn take_snapshot(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
    ) -> BoxFuture<'static, Result<Snapshotted, SandboxError>> {
        let (inner, function) = (self.clone(), function.clone());
        async move {
            let taking = inner.try_snapshot(&function);
            inner.before(Stage::Closing, taking).await.unwrap_or(Err(SandboxError::ShutDown))
        }
        .boxed()
    }

    async fn try_snapshot(
        self: &Arc<Self>,
        function: &Arc<FunctionSpec>,
    ) -> Result<Snapshotted, SandboxError> {
        if let Some(reason) = snapshot::unfit(function, &self.factory) {
            return Ok(Snapshotted::Off(reason));
        }
        let kept = self.runtime(&function.runtime);
        let plan = self.plan(&kept, &function.runtime).await?;
        let failed =
            |error: std::io::Error| SandboxError::Launch { step: "snapshot", reason: error.to_string() };
        let (orders, gate) = Socket::pair().map_err(failed)?;
        let zygote = self.zygote(&kept, &plan).await?;
        let waiting = self.factory.make_with(&plan, Some(&zygote), None, false, Some(&gate)).await?;
        drop(gate);
        let limit = Duration::from_millis(function.timeout_ms).max(INIT_LIMIT_AHEAD);
        let (factory, hooks) = (&self.factory, &self.hooks);
        let taken = Snapshot::take(waiting, orders, function.clone(), &plan, factory, hooks, limit).await?;
        Ok(match taken {
            Taken::Yes(snapshot) => {
                self.snapshots.lock().taken(function, snapshot.clone());
                self.prepare(snapshot, function.clone());
                Snapshotted::On
            }
            Taken::Unfit(reason) => Snapshotted::Off(reason),
            Taken::No(verdict) => verdict.of_snapshot(),
        })
    }
}
