//! The fate ledger: for every event × subscriber × attempt what was decided and why. Rows are written in the batches of
//! the decisions themselves and the oldest are dropped beyond a bound. Journeys, explanations and replays read it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidemill_platform::{Timestamp, Trace};
use tidemill_store::{Batch, Partition, Store, Table};

/// (trace root, number) → what happened. Lives in the partition of the trace root.
const FATES: Table<(String, u64), Fate> = Table::new("delivery.fate");
/// Event id → trace root. Lives in the partition of the event id.
const EVENTS: Table<String, String> = Table::new("delivery.event");
/// Number → (trace root, event id), to drop the oldest. Lives in partition 0.
const ORDER: Table<u64, (String, String)> = Table::new("delivery.order");

const ORDER_PARTITION: Partition = Partition::FIRST;
/// Rows kept before the oldest are dropped.
const KEPT: u64 = 100_000;
/// Rows dropped at once.
const DROPPED: u64 = 256;

/// One step of an event's way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fate {
    /// Milliseconds since 1970.
    pub at: i64,
    pub event: String,
    /// Trace root; every hop of a journey shares it.
    pub trace: String,
    /// ARN of where the event comes from.
    pub source: String,
    /// ARN of where it goes; empty for what just happened.
    pub target: String,
    /// The notification, subscription, rule or mapping that connects them.
    pub via: String,
    pub step: Step,
    /// For people: the answer, the reason, the field that did not match.
    pub detail: String,
    /// 1 for the first attempt; 0 where there is none.
    pub attempt: u32,
    /// How long the attempt took, in microseconds.
    pub took_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Something happened that others may hear of.
    Happened,
    Matched,
    NotMatched,
    Filtered,
    Accepted,
    Delivered,
    Failed,
    DeadLettered,
    /// Given up without a dead-letter target.
    Dropped,
}

impl Fate {
    /// Something that happened to `source`, as the beginning of a hop.
    pub fn happened(
        at: Timestamp,
        trace: &Trace,
        event: impl Into<String>,
        source: impl Into<String>,
        detail: impl Into<String>,
    ) -> Fate {
        Fate {
            at: at.millis(),
            event: event.into(),
            trace: trace.root.clone(),
            source: source.into(),
            target: String::new(),
            via: String::new(),
            step: Step::Happened,
            detail: detail.into(),
            attempt: 0,
            took_us: 0,
        }
    }
}

/// Numbers the rows and bounds them.
pub struct Ledger {
    next: AtomicU64,
    oldest: AtomicU64,
}

impl Ledger {
    pub(crate) fn open(store: &Store) -> Result<Ledger, tidemill_store::Damaged> {
        let last = store.last_key(&ORDER, ORDER_PARTITION)?;
        let first = store.first_key(&ORDER, ORDER_PARTITION)?;
        let next = last.map_or(0, |number| number + 1);
        Ok(Ledger { next: AtomicU64::new(next), oldest: AtomicU64::new(first.unwrap_or(next)) })
    }

    /// Writes a step into the batch of the decision it tells of. Events without a trace leave none.
    pub fn record(&self, batch: &mut Batch, fate: &Fate) {
        if fate.trace.is_empty() {
            return;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        batch.put_in(Partition::of(&fate.trace), &FATES, &(fate.trace.clone(), number), fate);
        batch.put_in(ORDER_PARTITION, &ORDER, &number, &(fate.trace.clone(), fate.event.clone()));
        if !fate.event.is_empty() && fate.event != fate.trace {
            batch.put_in(Partition::of(&fate.event), &EVENTS, &fate.event, &fate.trace);
        }
    }

    /// Drops the oldest rows into `batch` when there are too many. Costs nothing most of the time.
    pub(crate) fn prune(&self, store: &Store, batch: &mut Batch) {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let kept = self.next.load(Ordering::Relaxed).saturating_sub(oldest);
        if kept < KEPT + DROPPED {
            return;
        }
        if self
            .oldest
            .compare_exchange(oldest, oldest + DROPPED, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        for number in oldest..oldest + DROPPED {
            if let Ok(Some(found)) = store.get(&ORDER, ORDER_PARTITION, &number) {
                let (trace, event) = found.value;
                batch.delete_in(ORDER_PARTITION, &ORDER, &number);
                batch.delete_in(Partition::of(&trace), &FATES, &(trace, number));
                batch.delete_in(Partition::of(&event), &EVENTS, &event);
            }
        }
    }
}

/// Every step of the journey to which an id belongs (trace root, request, event or message id), in the order of
/// decision; empty when the ledger knows none. At most `limit` steps.
pub fn journey(store: &Store, id: &str, limit: usize) -> Result<Vec<Fate>, tidemill_store::Damaged> {
    let known = store.get(&EVENTS, Partition::of(id), &id.to_string())?;
    let root = known.map_or_else(|| id.to_string(), |found| found.value);
    let mut steps = Vec::new();
    let (from, to) = ((root.clone(), 0), (root.clone(), u64::MAX));
    store.scan(&FATES, Partition::of(&root), from..=to, |_, fate| {
        steps.push(fate);
        if steps.len() < limit {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    })?;
    Ok(steps)
}

/// The newest journeys: trace roots with their first step, newest first.
pub fn recent(store: &Store, limit: usize) -> Result<Vec<Fate>, tidemill_store::Damaged> {
    let mut roots: Vec<String> = Vec::new();
    store.scan_back(&ORDER, ORDER_PARTITION, .., |_, (trace, _)| {
        if !roots.contains(&trace) {
            roots.push(trace);
        }
        if roots.len() < limit {
            std::ops::ControlFlow::Continue(())
        } else {
            std::ops::ControlFlow::Break(())
        }
    })?;
    let mut first = Vec::new();
    for root in roots {
        first.extend(journey(store, &root, 1)?);
    }
    Ok(first)
}
