//! The events of archives in the store: each in the batch that acknowledges it, ordered by its time for replays and by
//! its arrival for retention, counted exactly. `retention` takes them away again.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::{Deserialize, Serialize};
use tidemill_store::{Batch, Damaged, Partition, Store, Table};

use crate::archives::ArchiveRow;

/// (archive's id, time in milliseconds since 1970, number) → event; all of an archive is in the partition of its id.
const EVENTS: Table<(String, u64, u64), Archived> = Table::new("events.archived");
/// (archive's id, arrival in milliseconds since 1970, number) → (time, bytes)
const ARRIVALS: Table<(String, u64, u64), (u64, u64)> = Table::new("events.arrival");
/// Archive's id → what is in it.
const TALLIES: Table<String, Tally> = Table::new("events.tally");
/// Ids of archives that were deleted and whose events are still there. In the partition of the id.
const DOOMED: Table<String, ()> = Table::new("events.doomed");

/// An event as it was when it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Archived {
    pub id: String,
    /// The event in its envelope.
    pub text: String,
    /// What journeys say of it.
    pub told: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub count: u64,
    pub bytes: u64,
    /// The next event's number.
    next: u64,
}

/// Where a replay is: the time and number of the last event it had.
pub type Place = (u64, u64);

/// An archive that is in use.
pub struct Vault {
    pub id: String,
    pub bus_arn: String,
    /// Name of its rule.
    pub rule: String,
    /// `None` once the archive is deleted.
    tally: Mutex<Option<Tally>>,
    /// When its events are looked at next, in milliseconds since 1970; timers for other moments are of the past.
    pub due_at: Mutex<Option<i64>>,
}

/// Archive ARN → its vault.
#[derive(Default)]
pub struct Vaults(RwLock<BTreeMap<String, Arc<Vault>>>);

impl Vaults {
    pub fn get(&self, arn: &str) -> Option<Arc<Vault>> {
        self.0.read().get(arn).cloned()
    }

    /// The vault of an archive, opened when it is not.
    pub fn open(&self, store: &Store, row: &ArchiveRow, rule: &str) -> Result<Arc<Vault>, Damaged> {
        let mut all = self.0.write();
        if let Some(vault) = all.get(&row.arn).filter(|vault| vault.id == row.id) {
            return Ok(vault.clone());
        }
        let tally = store.get(&TALLIES, Partition::of(&row.id), &row.id)?;
        let vault = Arc::new(Vault {
            id: row.id.clone(),
            bus_arn: row.source_arn.clone(),
            rule: rule.into(),
            tally: Mutex::new(Some(tally.map(|found| found.value).unwrap_or_default())),
            due_at: Mutex::default(),
        });
        if let Some(old) = all.insert(row.arn.clone(), vault.clone()) {
            *old.tally.lock() = None;
        }
        Ok(vault)
    }

    /// Takes a deleted archive's vault away; nothing comes into it any more.
    pub fn close(&self, arn: &str) -> Option<Arc<Vault>> {
        let vault = self.0.write().remove(arn)?;
        *vault.tally.lock() = None;
        Some(vault)
    }

    /// Events and bytes in an archive.
    pub fn size(&self, arn: &str) -> (i64, i64) {
        let tally = self.get(arn).and_then(|vault| vault.tally.lock().clone()).unwrap_or_default();
        (tally.count.cast_signed(), tally.bytes.cast_signed())
    }
}

/// Events put into a batch whose vault is locked until the batch is submitted, so that numbers follow the log.
pub struct Deposit<'a> {
    tally: MutexGuard<'a, Option<Tally>>,
    next: Tally,
    /// Whether these are the first ones in the archive.
    pub is_first: bool,
}

impl Vault {
    /// Puts events (their times in milliseconds) into a batch; `None` when the archive was deleted meanwhile.
    pub fn deposit(&self, batch: &mut Batch, now: i64, events: &[(i64, Archived)]) -> Option<Deposit<'_>> {
        let tally = self.tally.lock();
        let mut next = tally.clone()?;
        let is_first = next.count == 0;
        let (partition, arrived) = (Partition::of(&self.id), now.max(0).unsigned_abs());
        for (at, event) in events {
            let (at, bytes) = ((*at).max(0).unsigned_abs(), event.text.len() as u64);
            batch.put_in(partition, &EVENTS, &(self.id.clone(), at, next.next), event);
            batch.put_in(partition, &ARRIVALS, &(self.id.clone(), arrived, next.next), &(at, bytes));
            next.count += 1;
            next.bytes += bytes;
            next.next += 1;
        }
        batch.put_in(partition, &TALLIES, &self.id, &next);
        Some(Deposit { tally, next, is_first })
    }

    /// Takes up to `most` events that arrived by `until` out of the archive; `None` when there are none.
    pub fn withdraw(
        &self,
        store: &Store,
        until: i64,
        most: usize,
    ) -> Result<Option<(Batch, Deposit<'_>)>, Damaged> {
        let tally = self.tally.lock();
        let Some(mut next) = tally.clone() else { return Ok(None) };
        let partition = Partition::of(&self.id);
        let mut batch = Batch::new(partition);
        let (low, high) = ((self.id.clone(), 0, 0), (self.id.clone(), until.max(0).unsigned_abs(), u64::MAX));
        let mut taken = 0;
        store.scan(&ARRIVALS, partition, low..=high, |key, (at, bytes)| {
            batch.delete(&EVENTS, &(self.id.clone(), at, key.2));
            batch.delete(&ARRIVALS, &key);
            next.count = next.count.saturating_sub(1);
            next.bytes = next.bytes.saturating_sub(bytes);
            taken += 1;
            if taken < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if taken == 0 {
            return Ok(None);
        }
        batch.put(&TALLIES, &self.id, &next);
        Ok(Some((batch, Deposit { tally, next, is_first: false })))
    }

    /// When the oldest event arrived, in milliseconds since 1970.
    pub fn oldest(&self, store: &Store) -> Result<Option<i64>, Damaged> {
        let mut oldest = None;
        let (low, high) = ((self.id.clone(), 0, 0), (self.id.clone(), u64::MAX, u64::MAX));
        store.scan(&ARRIVALS, Partition::of(&self.id), low..=high, |key, _| {
            oldest = Some(key.1.cast_signed());
            ControlFlow::Break(())
        })?;
        Ok(oldest)
    }

    /// An event that arrived about `at`, by its id.
    pub fn find(&self, store: &Store, id: &str, at: i64) -> Result<Option<Archived>, Damaged> {
        const AROUND_MS: i64 = 1000;
        const MOST: usize = 10_000;
        let moment = |at: i64| at.max(0).unsigned_abs();
        let low = (self.id.clone(), moment(at - AROUND_MS), 0);
        let high = (self.id.clone(), moment(at + AROUND_MS), u64::MAX);
        let (mut places, partition) = (Vec::new(), Partition::of(&self.id));
        store.scan(&ARRIVALS, partition, low..=high, |key, (at, _)| {
            places.push((self.id.clone(), at, key.2));
            if places.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for place in places {
            let event = store.get(&EVENTS, partition, &place)?.map(|found| found.value);
            if let Some(event) = event.filter(|event| event.id == id) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

impl Deposit<'_> {
    /// The batch was submitted: what it says stands.
    pub fn done(mut self) {
        *self.tally = Some(self.next);
    }
}

/// Up to `most` events of an archive between two times (both included) after a place, in the order of their times.
pub fn read(
    store: &Store,
    id: &str,
    (from, to): (i64, i64),
    after: Option<Place>,
    most: usize,
) -> Result<Vec<(Place, Archived)>, Damaged> {
    let mut events = Vec::new();
    let low = match after {
        Some((at, number)) => Bound::Excluded((id.to_string(), at, number)),
        None => Bound::Included((id.to_string(), from.max(0).unsigned_abs(), 0)),
    };
    let high = Bound::Included((id.to_string(), to.max(0).unsigned_abs(), u64::MAX));
    store.scan(&EVENTS, Partition::of(id), (low, high), |(_, at, number), event| {
        events.push(((at, number), event));
        if events.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(events)
}

/// Notes in the batch that deletes an archive that its events have to follow.
pub fn doom(batch: &mut Batch, id: &str) {
    batch.put_in(Partition::of(id), &DOOMED, &id.to_string(), &());
}

/// Archives whose events are still to be deleted.
pub fn doomed(store: &Store) -> Result<Vec<String>, Damaged> {
    let mut ids = Vec::new();
    for partition in Partition::ALL {
        ids.extend(store.all(&DOOMED, partition)?.into_iter().map(|(id, ())| id));
    }
    Ok(ids)
}

/// A batch that deletes up to `most` events of a doomed archive; with the last ones all that is left of it.
pub fn sweep(store: &Store, id: &str, most: usize) -> Result<(Batch, bool), Damaged> {
    let partition = Partition::of(id);
    let mut batch = Batch::new(partition);
    let (low, high) = ((id.to_string(), 0, 0), (id.to_string(), u64::MAX, u64::MAX));
    let mut taken = 0;
    store.scan(&ARRIVALS, partition, low..=high, |key, (at, _)| {
        batch.delete(&EVENTS, &(id.to_string(), at, key.2));
        batch.delete(&ARRIVALS, &key);
        taken += 1;
        if taken < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let is_last = taken < most;
    if is_last {
        batch.delete(&TALLIES, &id.to_string());
        batch.delete(&DOOMED, &id.to_string());
    }
    Ok((batch, is_last))
}
