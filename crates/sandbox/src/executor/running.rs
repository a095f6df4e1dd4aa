//! An invocation on its way to a sandbox: a warm one, or a new one whose turn it is, or none where the program is WebAssembly.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{INIT_LIMIT, Inner};
use crate::admission::{TURN, Turn};
use crate::farewell::end_all;
use crate::init::Initialised;
use crate::pool::{Found, Place};
use crate::sandbox::Sandbox;
use crate::verdict::Verdict;
use crate::{FunctionSpec, Invocation, Outcome, Overhead, SandboxError, wasm};

/// What an invocation was given.
enum Admitted<'a> {
    Warm(Box<Sandbox>, Place),
    New(Place, Turn<'a>),
}

impl Inner {
    /// Runs a function once.
    pub(super) async fn run(
        self: Arc<Self>,
        function: Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Result<Outcome, SandboxError> {
        let begun = Instant::now();
        if self.is_closed() {
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
