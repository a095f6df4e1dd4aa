//! The end of a sandbox that has extensions: the runtime is asked to end, then they are told and given a moment, as Lambda's shutdown phase
//! does. Sandboxes without extensions are simply killed, as on Lambda.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use tokio::time::{Instant, timeout_at};

use crate::extensions::ShutdownReason;
use crate::sandbox::Sandbox;
use crate::spawner::messages::Command;

/// Lambda's time for a shutdown with external extensions.
const WITH_PROGRAMS: Duration = Duration::from_secs(2);
/// And with internal ones only: what the runtime has in either case.
const RUNTIME: Duration = Duration::from_millis(500);

impl Sandbox {
    /// Ends it: at once, or in the background where extensions are to hear of it.
    pub fn end(self) {
        if self.diary.extensions.any() {
            self.body.runtime.clone().spawn(self.farewell());
        }
    }

    /// Whether extensions still work on the last invocation, whose answer has gone out already.
    pub fn lingers(&self) -> bool {
        !self.diary.extensions.are_ready()
    }

    /// Waits until extensions are done, for what is left of the function's time. Whether the sandbox can be used again.
    pub async fn linger(&mut self) -> bool {
        let extensions = self.diary.extensions.clone();
        let ready = tokio::select! {
            () = extensions.ready() => true,
            _ = extensions.failed() => false,
            _ = self.body.process.ended() => false,
            () = tokio::time::sleep_until(self.deadline.into()) => {
                self.ended_by = ShutdownReason::Timeout;
                false
            }
            () = self.log.pump() => false,
        };
        self.log.flush().await;
        ready
    }

    async fn farewell(mut self) {
        if let Some(cgroup) = &self.body.cgroup {
            cgroup.thaw();
        }
        let begun = Instant::now();
        let programs = self.diary.extensions.programs();
        let end = begun + if programs { WITH_PROGRAMS } else { RUNTIME };
        self.end_runtime(begun + RUNTIME).await;
        let diary = self.diary.clone();
        // First what they still want to know; once they are told of the end they go.
        let _ = timeout_at(begun + RUNTIME, diary.telemetry.flush()).await;
        let left = end.saturating_duration_since(Instant::now());
        let deadline_ms =
            (SystemTime::now() + left).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        diary.extensions.shut_down(self.ended_by, deadline_ms);
        let _ = timeout_at(end, diary.extensions.gone()).await;
        self.log.drain(true).await;
        self.log.flush().await;
    }

    /// SIGTERM to a runtime that may still do something about it; what failed or ran out of time is killed.
    async fn end_runtime(&mut self, until: Instant) {
        let gently = self.ended_by == ShutdownReason::Spindown;
        let signal = if gently { Signal::SIGTERM } else { Signal::SIGKILL };
        if self.body.forked {
            self.body.process.signal_forked(signal);
        } else if let Some(cell) = &self.body.cell {
            let _ = cell.control.command(&Command::Signal(signal as i32), &[]).await;
        }
        let ended = async {
            tokio::select! {
                _ = self.body.process.ended() => {}
                () = self.log.pump() => {}
            }
        };
        let _ = timeout_at(until, ended).await;
    }
}

/// Ends all of them.
pub fn end_all(sandboxes: Vec<Sandbox>) {
    sandboxes.into_iter().for_each(Sandbox::end);
}
