//! Tumbling windows: batches of one stretch of time hand a state on from each to the next, and an empty one ends them.
//!
//! A record belongs to the window in which it was written. The state is kept with the checkpoint, so a restart goes on in the
//! middle of a window. Source: "Tumbling windows" in the Lambda developer guide.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, Timestamp};
use tidemill_store::{Batch, Partition};

use super::{Consumed, Consumer, FIRST_WAIT_MS, LAST_WAIT_MS, Pump, Record};

/// A state that grows beyond this ends its window early, in bytes.
const MOST_STATE: usize = 1 << 20;
/// How long the end of a window is tried: as long as records live.
const LONGEST_END_MS: i64 = 24 * 3600 * 1000;

/// A window as its consumer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    pub start: Timestamp,
    pub end: Timestamp,
    /// JSON: what the last batch of the window answered.
    pub state: &'a str,
    /// Nothing follows in this window.
    pub is_last: bool,
    /// It ends before its time, because its state has grown too large.
    pub is_early: bool,
}

/// A window that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    start_ms: i64,
    state: String,
    overgrown: bool,
}

impl Open {
    fn at(start_ms: i64) -> Open {
        Open { start_ms, state: "{}".into(), overgrown: false }
    }

    fn shown(&self, length_ms: i64, is_last: bool) -> Window<'_> {
        Window {
            start: Timestamp::from_millis(self.start_ms),
            end: Timestamp::from_millis(self.start_ms + length_ms),
            state: &self.state,
            is_last,
            is_early: is_last && self.overgrown,
        }
    }
}

/// What consumers without windows do with one.
pub(super) fn plainly<'a, C: Consumer + ?Sized>(
    consumer: &'a C,
    cx: &'a Cx,
    shard: &'a str,
    records: &'a [Record],
) -> BoxFuture<'a, (Consumed, Option<String>)> {
    consumer.consume(cx, shard, records).map(|consumed| (consumed, None)).boxed()
}

impl Pump {
    fn window_ms(&self) -> i64 {
        self.mapping.consumer.window_ms()
    }

    /// Consumes a batch, in its window if there are windows.
    pub(super) async fn consume(&self, cx: &Cx, records: &[Record]) -> Consumed {
        let consumer = &self.mapping.consumer;
        let Some(open) = self.window.lock().clone() else {
            return consumer.consume(cx, &self.shard, records).await;
        };
        let window = open.shown(self.window_ms(), false);
        let (consumed, state) = consumer.consume_in(cx, &self.shard, window, records).await;
        if let (Some(state), Some(open)) = (state, self.window.lock().as_mut()) {
            open.overgrown = state.len() > MOST_STATE;
            if !open.overgrown {
                open.state = state;
            }
        }
        consumed
    }

    /// Those of the records that belong to one window, which begins if it has not; an earlier one is ended first.
    pub(super) async fn within_window(&self, done: &Option<String>, mut records: Vec<Record>) -> Vec<Record> {
        let length = self.window_ms();
        let Some(first) = records.first().filter(|_| length > 0) else { return records };
        let start_of = |record: &Record| record.at.millis().div_euclid(length) * length;
        let start = start_of(first);
        if self.window.lock().as_ref().is_some_and(|open| open.start_ms != start) {
            self.end_window(done).await;
        }
        records.truncate(records.iter().take_while(|record| start_of(record) == start).count());
        if records.iter().any(|record| self.mapping.consumer.wants(record)) {
            self.window.lock().get_or_insert_with(|| Open::at(start));
        }
        records
    }

    /// When the open window ends.
    pub(super) fn window_ends(&self) -> Option<Timestamp> {
        let open = self.window.lock();
        open.as_ref().map(|open| Timestamp::from_millis(open.start_ms + self.window_ms()))
    }

    /// Whether the open window ends before its time.
    pub(super) fn window_overgrown(&self) -> bool {
        self.window.lock().as_ref().is_some_and(|open| open.overgrown)
    }

    /// Tells the consumer that nothing follows in the open window, until it has taken that or it is too late.
    pub(super) async fn end_window(&self, done: &Option<String>) {
        let Some(open) = self.window.lock().clone() else { return };
        let clock = &self.streams.platform.clock;
        let (mut attempts, mut waits) = (0_u32, 0_u32);
        loop {
            let inside = self.gate.enter().await;
            let cx = self.cx(&[]);
            let window = open.shown(self.window_ms(), true);
            let too_late = clock.now().millis() > window.end.millis() + LONGEST_END_MS;
            let (consumed, _) = self.mapping.consumer.consume_in(&cx, &self.shard, window, &[]).await;
            match consumed {
                Consumed::Done | Consumed::FailedFrom(_) => break,
                Consumed::Throttled => {}
                Consumed::Failed { reason } => {
                    attempts += 1;
                    if too_late || self.mapping.retries.is_some_and(|retries| attempts > retries) {
                        tracing::warn!(reason, stream = self.mapping.stream, "a window was not ended");
                        break;
                    }
                }
            }
            drop(inside);
            let wait = (FIRST_WAIT_MS << waits.min(16)).min(LAST_WAIT_MS);
            waits += 1;
            clock.sleep(wait).await;
        }
        *self.window.lock() = None;
        let batch = Batch::new(Partition::of(&self.mapping.id));
        self.checkpoint(done.as_deref().unwrap_or_default(), batch, Vec::new());
    }
}
