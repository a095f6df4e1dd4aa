//! Time is an input. A [`Clock`] is real with an offset that `tidemill clock advance` moves, or manual in tests; whoever
//! waits on it is woken when the time it shows reaches what was asked, however that came about.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tidemill_api::Timestamp;
use tokio::sync::Notify;

/// The platform's time in milliseconds. Clones share it.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    /// Whether the system's clock stands behind it; otherwise `millis` is the time itself.
    real: bool,
    /// Real: what is added to the system's time. Manual: the time.
    millis: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The system's time plus `offset_ms`, which earlier advances left behind.
    pub fn real(offset_ms: i64) -> Clock {
        Clock(Arc::new(Inner { real: true, millis: AtomicI64::new(offset_ms), moved: Notify::new() }))
    }

    /// A clock that stands still until it is advanced.
    pub fn manual(now: Timestamp) -> Clock {
        Clock(Arc::new(Inner { real: false, millis: AtomicI64::new(now.millis()), moved: Notify::new() }))
    }

    pub fn now(&self) -> Timestamp {
        let millis = self.0.millis.load(Ordering::Acquire);
        Timestamp::from_millis(if self.0.real { system_millis().saturating_add(millis) } else { millis })
    }

    /// How far the clock is ahead of the system's, in milliseconds; 0 for a manual clock.
    pub fn offset_ms(&self) -> i64 {
        if self.0.real { self.0.millis.load(Ordering::Acquire) } else { 0 }
    }

    /// Moves the clock forward and wakes everyone whose moment has come.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        // A century ahead is further than any wait AWS allows, and keeps sums from overflowing.
        let limit = 100 * 365 * 86_400_000;
        self.0.millis.fetch_add(by.min(limit), Ordering::AcqRel);
        self.0.moved.notify_waiters();
    }

    /// Returns once the clock shows `until` or later.
    pub async fn sleep_until(&self, until: Timestamp) {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let left = until.millis().saturating_sub(self.now().millis());
            if left <= 0 {
                return;
            }
            if !self.0.real {
                moved.await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(left.unsigned_abs())) => {}
                () = moved => {}
            }
        }
    }

    /// Returns after `millis` of this clock's time.
    pub async fn sleep(&self, millis: i64) {
        self.sleep_until(Timestamp::from_millis(self.now().millis().saturating_add(millis))).await;
    }
}

fn system_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn advancing_wakes_whoever_waits() {
        let clock = Clock::manual(Timestamp::from_secs(100));
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(3_600_000).await;
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(3600));
        assert_eq!(waiting.await.unwrap(), Timestamp::from_secs(3700));
    }

    #[tokio::test]
    async fn a_real_clock_can_be_ahead() {
        let clock = Clock::real(0);
        let before = clock.now();
        clock.advance(Duration::from_secs(7200));
        assert!(clock.now().millis() - before.millis() >= 7_200_000);
        assert!(clock.offset_ms() == 7_200_000);
    }
}
