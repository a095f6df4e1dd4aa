//! The fate ledger: for every event × subscriber × attempt what was decided and why. Rows are written in the batches of
//! the decisions themselves and the oldest are dropped beyond a bound. Journeys, explanations and replays read it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidemill_platform::{Timestamp, Trace};
use tidemill_store::{Batch, Partition, Store, Table};

/// (trace root, number of the first) → what happened, one after the other. Lives in the partition of the trace root.
const FATES: Table<(String, u64), Vec<Fate>> = Table::new("delivery.fates");
/// Event id → trace root. Lives in the partition of the event id.
const EVENTS: Table<String, String> = Table::new("delivery.event");
/// Number of the first → (trace root, event ids), to drop the oldest. Lives in partition 0.
const ORDER: Table<u64, (String, Vec<String>)> = Table::new("delivery.fates_order");

const ORDER_PARTITION: Partition = Partition::FIRST;
/// Steps kept before the oldest are dropped.
const KEPT: u64 = 100_000;
/// Steps dropped at once.
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
    store: Store,
    next: AtomicU64,
    oldest: AtomicU64,
}

impl Ledger {
    pub(crate) fn open(store: &Store) -> Result<Ledger, tidemill_store::Damaged> {
        let last = store.last_key(&ORDER, ORDER_PARTITION)?;
        let first = store.first_key(&ORDER, ORDER_PARTITION)?;
        let next = last.map_or(0, |number| number + 1);
        Ok(Ledger {
            store: store.clone(),
            next: AtomicU64::new(next),
            oldest: AtomicU64::new(first.unwrap_or(next)),
        })
    }

    /// Writes a step into the batch of the decision it tells of. Events without a trace leave none.
    pub fn record(&self, batch: &mut Batch, fate: &Fate) {
        self.record_all(batch, vec![fate.clone()]);
    }

    /// Writes steps that are decided together: those of one trace share a row, so that many of them cost little more
    /// than one.
    pub fn record_all(&self, batch: &mut Batch, fates: Vec<Fate>) {
        let mut by_trace: Vec<(String, Vec<Fate>)> = Vec::new();
        for fate in fates.into_iter().filter(|fate| !fate.trace.is_empty()) {
            match by_trace.iter_mut().find(|(trace, _)| *trace == fate.trace) {
                Some((_, list)) => list.push(fate),
                None => by_trace.push((fate.trace.clone(), vec![fate])),
            }
        }
        for (trace, list) in by_trace {
            let number = self.next.fetch_add(list.len() as u64, Ordering::Relaxed);
            let mut events: Vec<String> = list.iter().map(|fate| fate.event.clone()).collect();
            events.dedup();
            events.retain(|event| !event.is_empty() && *event != trace);
            for event in &events {
                batch.put_in(Partition::of(event), &EVENTS, event, &trace);
            }
            batch.put_in(ORDER_PARTITION, &ORDER, &number, &(trace.clone(), events));
            batch.put_in(Partition::of(&trace), &FATES, &(trace, number), &list);
        }
        self.prune(batch);
    }

    /// Drops the oldest rows into `batch` when there are too many. Costs nothing most of the time.
    fn prune(&self, batch: &mut Batch) {
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
            if let Ok(Some(found)) = self.store.get(&ORDER, ORDER_PARTITION, &number) {
                let (trace, events) = found.value;
                batch.delete_in(ORDER_PARTITION, &ORDER, &number);
                batch.delete_in(Partition::of(&trace), &FATES, &(trace, number));
                for event in events {
                    batch.delete_in(Partition::of(&event), &EVENTS, &event);
                }
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
    store.scan(&FATES, Partition::of(&root), from..=to, |_, list| {
        let room = limit - steps.len();
        steps.extend(list.into_iter().take(room));
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

#[cfg(test)]
mod tests {
    use tidemill_platform::Platform;

    use super::*;

    fn step(trace: &str, event: &str) -> Fate {
        let fate = Fate::happened(Timestamp::from_secs(1), &Trace::default(), event, "arn:source", event);
        Fate { trace: trace.into(), ..fate }
    }

    #[test]
    fn steps_told_together_are_found_by_any_of_their_ids() {
        let platform = Platform::for_tests();
        let ledger = Ledger::open(&platform.store).expect("it opens");
        let mut batch = Batch::new(Partition::FIRST);
        ledger.record_all(&mut batch, vec![step("t1", "a"), step("t2", "x"), step("t1", "b")]);
        ledger.record(&mut batch, &step("t1", "c"));
        ledger.record(&mut batch, &step("", "untraced"));
        drop(platform.store.submit(batch).expect("taken"));
        let events = |id: &str| -> Vec<String> {
            journey(&platform.store, id, 10).expect("whole").into_iter().map(|fate| fate.event).collect()
        };
        for id in ["t1", "a", "b", "c"] {
            assert_eq!(events(id), ["a", "b", "c"], "{id}");
        }
        assert_eq!(events("x"), ["x"]);
        assert_eq!(journey(&platform.store, "t1", 2).expect("whole").len(), 2);
        assert!(events("untraced").is_empty());
        let newest: Vec<String> =
            recent(&platform.store, 5).expect("whole").into_iter().map(|fate| fate.trace).collect();
        assert_eq!(newest, ["t1", "t2"]);
    }

    #[test]
    fn the_oldest_steps_go_when_there_are_too_many() {
        let platform = Platform::for_tests();
        let ledger = Ledger::open(&platform.store).expect("it opens");
        for round in 0..(KEPT / 100 + 20) {
            let mut batch = Batch::new(Partition::FIRST);
            let trace = format!("t{round}");
            ledger.record_all(&mut batch, (0..100).map(|n| step(&trace, &format!("{round}-{n}"))).collect());
            drop(platform.store.submit(batch).expect("taken"));
        }
        let known = |id: &str| !journey(&platform.store, id, 1).expect("whole").is_empty();
        assert!(!known("t0") && !known("0-0"), "the first are gone");
        assert!(known(&format!("t{}", KEPT / 100 + 19)), "the last are there");
        let left = platform.store.all(&ORDER, ORDER_PARTITION).expect("whole").len() as u64;
        assert!(left <= (KEPT + 2 * DROPPED) / 100 + 1, "{left} rows");
    }
}
