//! Who makes a sandbox now. A few are made at a time, so that a burst is served in order instead of all of it at once and late; what is made
//! ahead waits until nobody needs one.
//!
//! Whoever waits for a turn may be served first by a sandbox that comes back: see `executor.rs`. Also says when the machine's memory runs out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Sandboxes made at the same time, for each CPU: some of the steps wait for the kernel.
const TURNS_PER_CPU: usize = 3;
/// A turn is over after this long even where the sandbox is not ready: it is the function's own code then that takes its time.
pub const TURN: Duration = Duration::from_millis(150);
/// How old an answer about the machine's memory may be.
const MEMORY_KNOWN: Duration = Duration::from_millis(50);
/// Below this share of its memory available, a machine has none for more sandboxes.
const MEMORY_LEFT: u64 = 20;

pub struct Admission {
    turns: Semaphore,
    /// Those who make one or wait to.
    wanting: AtomicUsize,
    quiet: Notify,
    memory: Mutex<Option<(Instant, bool)>>,
}

impl Admission {
    pub fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Semaphore::new(TURNS_PER_CPU * cpus),
            wanting: AtomicUsize::new(0),
            quiet: Notify::new(),
            memory: Mutex::new(None),
        }
    }

    /// A turn to make a sandbox, if nobody has to wait for one.
    pub fn try_turn(&self) -> Option<Turn<'_>> {
        let permit = self.turns.try_acquire().ok()?;
        let mut turn = self.wanted();
        turn.permit = Some(permit);
        Some(turn)
    }

    /// Waits for a turn; whoever came first has it first.
    pub async fn turn(&self) -> Turn<'_> {
        let mut turn = self.wanted();
        turn.permit = self.turns.acquire().await.ok();
        turn
    }

    fn wanted(&self) -> Turn<'_> {
        self.wanting.fetch_add(1, Ordering::AcqRel);
        Turn { admission: self, permit: None }
    }

    /// Waits until nobody makes a sandbox that is needed now.
    pub async fn quiet(&self) {
        loop {
            let quiet = self.quiet.notified();
            if self.wanting.load(Ordering::Acquire) == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// Whether this machine is so short of memory that nothing more should be kept in it.
    pub fn memory_is_short(&self) -> bool {
        let mut known = self.memory.lock();
        let now = Instant::now();
        if let Some((at, short)) = *known
            && now < at + MEMORY_KNOWN
        {
            return short;
        }
        let short = available().is_some_and(|(available, total)| available < total / MEMORY_LEFT);
        *known = Some((now, short));
        short
    }
}

/// Available and total memory, in KB.
fn available() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let value = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().trim_end_matches(" kB").parse().ok()
    };
    Some((value("MemAvailable:")?, value("MemTotal:")?))
}

/// Held while a sandbox is made.
pub struct Turn<'a> {
    admission: &'a Admission,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        if self.admission.wanting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.admission.quiet.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn turns_are_few_and_it_is_quiet_when_all_are_over() {
        let admission = Admission::new();
        let mut held: Vec<Turn<'_>> = std::iter::from_fn(|| admission.try_turn()).collect();
        assert!(!held.is_empty() && held.len().is_multiple_of(TURNS_PER_CPU));
        let mut next = Box::pin(admission.turn());
        assert!(next.as_mut().now_or_never().is_none());
        held.pop();
        held.push(next.await);
        assert!(admission.quiet().now_or_never().is_none());
        held.clear();
        assert!(admission.quiet().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_not_waited_for() {
        let admission = Admission::new();
        let held: Vec<Turn<'_>> = std::iter::from_fn(|| admission.try_turn()).collect();
        let mut waiting = Box::pin(admission.turn());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop((waiting, held));
        assert!(admission.quiet().now_or_never().is_some());
    }
}
