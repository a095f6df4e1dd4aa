//! Events that wait for one subscriber: gathered into batches by number, size and time, bounded, and counted when they do not fit.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::report::iso_millis;

/// A subscriber that is behind by this many full batches loses what comes.
const BATCHES: usize = 4;

/// Lambda's buffering settings, already checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// 1,000 to 10,000.
    pub items: usize,
    /// 262,144 to 1,048,576.
    pub bytes: usize,
    /// 25 ms to 30 s.
    pub time: Duration,
}

pub struct Queue {
    buffering: Buffering,
    state: Mutex<State>,
    /// There is something to take, or more of it.
    filled: Notify,
    /// A batch was delivered.
    emptied: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Bytes>,
    bytes: usize,
    first_at: Option<Instant>,
    dropped: Dropped,
    flushing: bool,
    delivering: bool,
}

#[derive(Default)]
struct Dropped {
    records: usize,
    bytes: usize,
}

impl Queue {
    pub fn new(buffering: Buffering) -> Self {
        Self { buffering, state: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    pub fn push(&self, event: Bytes) {
        let mut state = self.state.lock();
        let most = (BATCHES * self.buffering.items, BATCHES * self.buffering.bytes);
        if state.events.len() >= most.0 || state.bytes + event.len() > most.1 {
            state.dropped.records += 1;
            state.dropped.bytes += event.len();
            return;
        }
        state.bytes += event.len();
        state.events.push_back(event);
        let first = state.first_at.is_none();
        state.first_at.get_or_insert_with(Instant::now);
        if first || self.is_full(&state) {
            self.filled.notify_one();
        }
    }

    /// The next batch, once it is full, old enough or wanted at once. Say [`delivered`](Self::delivered) after it.
    pub async fn batch(&self) -> Vec<Bytes> {
        loop {
            let due = {
                let mut state = self.state.lock();
                let due = state.first_at.map(|first| first + self.buffering.time);
                let ready = due.is_some_and(|due| due <= Instant::now());
                if (ready || state.flushing || self.is_full(&state)) && !state.events.is_empty() {
                    return self.take(&mut state);
                }
                due
            };
            tokio::select! {
                () = self.filled.notified() => {}
                () = until(due) => {}
            }
        }
    }

    pub fn delivered(&self) {
        let mut state = self.state.lock();
        state.delivering = false;
        if state.events.is_empty() {
            state.flushing = false;
        }
        drop(state);
        self.emptied.notify_waiters();
    }

    /// Waits until everything has been delivered.
    pub async fn flush(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.events.is_empty() && !state.delivering {
                    return;
                }
                state.flushing = true;
            }
            self.filled.notify_one();
            emptied.await;
        }
    }

    fn is_full(&self, state: &State) -> bool {
        state.events.len() >= self.buffering.items || state.bytes >= self.buffering.bytes
    }

    fn take(&self, state: &mut State) -> Vec<Bytes> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.events.front() {
            if batch.len() == self.buffering.items
                || (bytes + next.len() > self.buffering.bytes && !batch.is_empty())
            {
                break;
            }
            bytes += next.len();
            batch.extend(state.events.pop_front());
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        state.first_at = (!state.events.is_empty()).then(Instant::now);
        state.delivering = true;
        let Dropped { records, bytes } = std::mem::take(&mut state.dropped);
        if records > 0 {
            let record = json!({ "droppedRecords": records, "droppedBytes": bytes, "reason": "Consumer seems to have fallen behind as it has not acknowledged receipt of logs." });
            let event = json!({ "time": iso_millis(SystemTime::now()), "type": "platform.logsDropped", "record": record });
            batch.push(Bytes::from(event.to_string()));
        }
        batch
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn queue(items: usize) -> Queue {
        Queue::new(Buffering { items, bytes: 100, time: Duration::from_secs(3600) })
    }

    #[tokio::test]
    async fn a_batch_is_taken_when_it_is_full_or_asked_for() {
        let queue = queue(2);
        queue.push(Bytes::from_static(b"1"));
        assert!(queue.batch().now_or_never().is_none());
        queue.push(Bytes::from_static(b"2"));
        queue.push(Bytes::from_static(b"3"));
        assert_eq!(queue.batch().await, ["1", "2"]);
        queue.delivered();
        assert!(queue.batch().now_or_never().is_none());
        let taker = async {
            assert_eq!(queue.batch().await, ["3"]);
            queue.delivered();
        };
        tokio::join!(queue.flush(), taker);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted() {
        let queue = queue(1000);
        for _ in 0..BATCHES + 2 {
            queue.push(Bytes::from(vec![b'x'; 100]));
        }
        assert_eq!(queue.batch().await.len(), 2);
        queue.delivered();
        let all = String::from_utf8(queue.batch().await.concat()).unwrap();
        assert!(!all.contains("logsDropped"), "it is said once");
    }
}
