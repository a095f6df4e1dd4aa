//! The fate ledger: for every event × subscriber × attempt what was decided and why. Rows are written in the batches of
//! the decisions themselves and the oldest are dropped beyond a bound. Journeys, explanations and replays read it.
//! How steps stand in a row is in `packed`.

use std::ops::{ControlFlow, Range};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_platform::{Timestamp, Trace};
use tidemill_store::{Batch, Damaged, Partition, Store, Table};

use crate::{kept::Kept, packed::Packed};

/// Number of the first → what was decided together, one step after the other. Lives in partition 0, where rows come and
/// go in the order of their keys.
const STEPS: Table<u64, Packed> = Table::new("delivery.steps");
/// (trace root, number) → nothing: where the steps of a journey are. Lives in the partition of the trace root.
const JOURNEYS: Table<(String, u64), ()> = Table::new("delivery.journeys");

const STEPS_PARTITION: Partition = Partition::FIRST;
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
    numbers: Mutex<Numbers>,
}

struct Numbers {
    next: u64,
    oldest: u64,
    /// The first that is in `kept`.
    opened_at: u64,
    kept: Kept,
}

impl Ledger {
    pub(crate) fn open(store: &Store) -> Result<Ledger, Damaged> {
        let mut next = 0;
        store.scan_back(&STEPS, STEPS_PARTITION, .., |number, row| {
            next = number + row.len() as u64;
            ControlFlow::Break(())
        })?;
        let first = store.first_key(&STEPS, STEPS_PARTITION)?;
        Ok(Ledger {
            store: store.clone(),
            numbers: Mutex::new(Numbers {
                next,
                oldest: first.unwrap_or(next),
                opened_at: next,
                kept: Kept::default(),
            }),
        })
    }

    /// Writes a step into the batch of the decision it tells of. Events without a trace leave none.
    pub fn record(&self, batch: &mut Batch, fate: &Fate) {
        self.write(batch, std::slice::from_ref(fate));
    }

    /// Writes steps that are decided together: they share a row, so that many of them cost little more than one.
    pub fn record_all(&self, batch: &mut Batch, fates: Vec<Fate>) {
        self.write(batch, &fates);
    }

    fn write(&self, batch: &mut Batch, fates: &[Fate]) {
        let row = Packed::of(fates.iter().filter(|fate| !fate.trace.is_empty()));
        if row.len() == 0 {
            return;
        }
        let (number, overdue) = self.numbers.lock().take(&row);
        for trace in row.traces() {
            batch.add_in(Partition::of(trace), &JOURNEYS, &(trace.to_string(), number), &());
        }
        batch.add_in(STEPS_PARTITION, &STEPS, &number, &row);
        if let Some(overdue) = overdue {
            self.drop_rows(batch, overdue);
        }
    }

    fn drop_rows(&self, batch: &mut Batch, overdue: Overdue) {
        let mut drop = |number: u64, trace: String| {
            batch.delete_in(STEPS_PARTITION, &STEPS, &number);
            batch.delete_in(Partition::of(&trace), &JOURNEYS, &(trace, number));
        };
        for (number, trace) in overdue.known {
            drop(number, trace);
        }
        if overdue.unknown.is_empty() {
            return;
        }
        let read = self.store.scan(&STEPS, STEPS_PARTITION, overdue.unknown, |number, row| {
            row.traces().for_each(|trace| drop(number, trace.to_string()));
            ControlFlow::Continue(())
        });
        if let Err(damaged) = read {
            tracing::error!(%damaged, "steps of journeys cannot be dropped");
        }
    }
}

/// Rows to be dropped: those of this run with their journeys, and the numbers of those from before it.
struct Overdue {
    known: Vec<(u64, String)>,
    unknown: Range<u64>,
}

impl Numbers {
    /// The number of a new row, and the oldest rows when there are too many now. Most of the time there are not.
    fn take(&mut self, row: &Packed) -> (u64, Option<Overdue>) {
        let number = self.next;
        self.next += row.len() as u64;
        self.kept.push(number, row.traces());
        if self.next - self.oldest < KEPT + DROPPED {
            return (number, None);
        }
        let from = self.oldest;
        self.oldest += DROPPED;
        let known = self.kept.take_before(self.oldest);
        (number, Some(Overdue { known, unknown: from..self.oldest.min(self.opened_at) }))
    }
}

/// Every step of the journey to which an id belongs (trace root, request, event or message id), in the order of
/// decision; empty when the ledger knows none. At most `limit` steps.
pub fn journey(store: &Store, id: &str, limit: usize) -> Result<Vec<Fate>, Damaged> {
    let steps = of_root(store, id, limit)?;
    if !steps.is_empty() {
        return Ok(steps);
    }
    match root_of(store, id)? {
        Some(root) => of_root(store, &root, limit),
        None => Ok(Vec::new()),
    }
}

fn of_root(store: &Store, root: &str, limit: usize) -> Result<Vec<Fate>, Damaged> {
    let (from, to) = ((root.to_string(), 0), (root.to_string(), u64::MAX));
    let mut numbers = Vec::new();
    store.scan(&JOURNEYS, Partition::of(root), from..=to, |(_, number), ()| {
        numbers.push(number);
        if numbers.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut steps = Vec::new();
    for number in numbers {
        if let Some(found) = store.get(&STEPS, STEPS_PARTITION, &number)? {
            let room = limit - steps.len();
            steps.extend(found.value.fates().filter(|fate| fate.trace == root).take(room));
        }
    }
    Ok(steps)
}

/// The journey of an event, by its id. There is no index: events come by the ten thousand and are asked for by the
/// handful, so whoever asks reads what is kept, the newest first.
fn root_of(store: &Store, event: &str) -> Result<Option<String>, Damaged> {
    let mut root = None;
    store.scan_back(&STEPS, STEPS_PARTITION, .., |_, row| {
        root = row.trace_of(event);
        if root.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(root)
}

/// The newest journeys: trace roots with their first step, newest first.
pub fn recent(store: &Store, limit: usize) -> Result<Vec<Fate>, Damaged> {
    let mut roots: Vec<String> = Vec::new();
    store.scan_back(&STEPS, STEPS_PARTITION, .., |_, row| {
        for root in row.traces().rev() {
            if roots.len() < limit && !roots.iter().any(|known| known == root) {
                roots.push(root.to_string());
            }
        }
        if roots.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut first = Vec::new();
    for root in roots {
        first.extend(of_root(store, &root, 1)?);
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
        assert!(
            platform.store.all(&STEPS, STEPS_PARTITION).expect("whole").len() == 2,
            "a row for what is told together"
        );
    }

    #[test]
    fn the_oldest_steps_go_when_there_are_too_many() {
        let platform = Platform::for_tests();
        let mut ledger = Ledger::open(&platform.store).expect("it opens");
        for round in 0..(KEPT / 100 + 20) {
            if round == 10 {
                // Of the first rows it knows nothing but what it reads.
                ledger = Ledger::open(&platform.store).expect("it opens");
            }
            let mut batch = Batch::new(Partition::FIRST);
            let trace = format!("t{round}");
            ledger.record_all(&mut batch, (0..100).map(|n| step(&trace, &format!("{round}-{n}"))).collect());
            drop(platform.store.submit(batch).expect("taken"));
        }
        let known = |id: &str| !journey(&platform.store, id, 1).expect("whole").is_empty();
        assert!(
            (0..15).all(|round| !known(&format!("t{round}")) && !known(&format!("{round}-0"))),
            "the first are gone"
        );
        assert!(known(&format!("t{}", KEPT / 100 + 19)), "the last are there");
        let left = platform.store.all(&STEPS, STEPS_PARTITION).expect("whole").len() as u64;
        assert!(left <= (KEPT + 2 * DROPPED) / 100 + 1, "{left} rows");
    }
}
