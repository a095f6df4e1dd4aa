//! What waits is woken: one task per set of timers sleeps until the earliest moment and hands what is due to a function.
//!
//! Timers are memory. Whoever owns the durable fact behind one (a retry's time, a schedule) sets it again on opening.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tidemill_api::Timestamp;
use tokio::sync::Notify;

use crate::Clock;

/// Timers that carry a value each. Dropping the last handle ends their task.
pub struct Timers<T> {
    shared: Arc<Shared<T>>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared<T> {
    due: Mutex<BTreeMap<(Timestamp, u64), T>>,
    /// Never given twice, so that cancelling a timer that has fired cannot meet another one.
    next_number: AtomicU64,
    earlier: Notify,
}

/// Names a timer so that it can be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    at: Timestamp,
    number: u64,
}

impl<T: Send + 'static> Timers<T> {
    /// Begins a set of timers; `fire` is called from their task with each value that is due, in order of time, and
    /// must not block.
    pub fn new(clock: Clock, fire: impl Fn(T) + Send + 'static) -> Timers<T> {
        let shared = Arc::new(Shared {
            due: Mutex::new(BTreeMap::new()),
            next_number: AtomicU64::new(0),
            earlier: Notify::new(),
        });
        let task = tokio::spawn(run(shared.clone(), clock, fire));
        Timers { shared, task }
    }

    /// Sets a timer. Timers of the same moment fire in the order they were set.
    pub fn set(&self, at: Timestamp, value: T) -> Timer {
        let mut due = self.shared.due.lock();
        let first = due.first_key_value().map(|(key, _)| *key);
        let number = self.shared.next_number.fetch_add(1, Ordering::Relaxed);
        due.insert((at, number), value);
        drop(due);
        if first.is_none_or(|(first, _)| at < first) {
            self.shared.earlier.notify_one();
        }
        Timer { at, number }
    }

    /// Takes a timer back; `None` when it has fired.
    pub fn cancel(&self, timer: Timer) -> Option<T> {
        self.shared.due.lock().remove(&(timer.at, timer.number))
    }
}

impl<T> Drop for Timers<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<T>(shared: Arc<Shared<T>>, clock: Clock, fire: impl Fn(T)) {
    loop {
        let earlier = shared.earlier.notified();
        let first = shared.due.lock().first_key_value().map(|((at, _), _)| *at);
        match first {
            None => earlier.await,
            Some(at) => tokio::select! {
                () = clock.sleep_until(at) => fire_due(&shared, clock.now(), &fire),
                () = earlier => {}
            },
        }
    }
}

fn fire_due<T>(shared: &Shared<T>, now: Timestamp, fire: &impl Fn(T)) {
    loop {
        let mut due = shared.due.lock();
        let Some(entry) = due.first_entry().filter(|entry| entry.key().0 <= now) else { return };
        let value = entry.remove();
        drop(due);
        fire(value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn timers_fire_in_order_when_the_clock_moves() {
        let clock = Clock::manual(Timestamp::from_secs(0));
        let (fired, mut seen) = mpsc::unbounded_channel();
        let timers = Timers::new(clock.clone(), move |name| fired.send(name).expect("somebody listens"));
        timers.set(Timestamp::from_secs(20), "later");
        timers.set(Timestamp::from_secs(10), "sooner");
        let cancelled = timers.set(Timestamp::from_secs(15), "never");
        assert_eq!(timers.cancel(cancelled), Some("never"));
        clock.advance(Duration::from_secs(30));
        assert_eq!((seen.recv().await, seen.recv().await), (Some("sooner"), Some("later")));
        assert!(seen.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_timer_that_fired_is_not_another_one_of_its_moment() {
        let clock = Clock::manual(Timestamp::from_secs(0));
        let (fired, mut seen) = mpsc::unbounded_channel();
        let timers = Timers::new(clock.clone(), move |name| fired.send(name).expect("somebody listens"));
        let first = timers.set(Timestamp::from_secs(10), "first");
        clock.advance(Duration::from_secs(10));
        assert_eq!(seen.recv().await, Some("first"));
        timers.set(Timestamp::from_secs(10), "second");
        assert_eq!(timers.cancel(first), None);
        assert_eq!(seen.recv().await, Some("second"));
    }
}
