//! Groups and streams in memory, their rows and all events in the store.
//!
//! Every group has an id of its own, so that a deleted group's events never show under a new one of the same name; what
//! a deletion leaves behind is cleared in the background and, after a crash, at the next start.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Seq, Table, Ticket};
use tokio::sync::broadcast;

use crate::api::{ResourceAlreadyExistsException, ResourceNotFoundException};

/// Group ARN → group. In the group's partition.
const GROUPS: Table<String, GroupRow> = Table::new("logs.group");
/// (group id, stream name) → stream. In the group's partition.
pub(crate) const STREAMS: Table<(String, String), StreamRow> = Table::new("logs.stream");
/// ((group id, stream name), (timestamp in ms, number))
type EventKey = ((String, String), (u64, u64));
/// Where an event stands → event. In the group's partition.
pub(crate) const EVENTS: Table<EventKey, EventRow> = Table::new("logs.event");
/// (group id, stream name) of which nothing but events may be left. In the group's partition.
const GARBAGE: Table<(String, String), ()> = Table::new("logs.garbage");

/// Events removed by one batch.
const SWEEP: usize = 1000;
/// Expired events removed by one write to their stream.
const TRIM: usize = 64;
/// Batches a live tail may be behind before it loses some.
const TAIL_BUFFER: usize = 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRow {
    pub id: String,
    pub name: String,
    pub arn: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    #[serde(default)]
    pub retention_days: Option<i32>,
    #[serde(default)]
    pub class: Option<String>,
    #[serde(default)]
    pub deletion_protected: bool,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StreamRow {
    pub created_at: i64,
    pub first_at: Option<i64>,
    pub last_at: Option<i64>,
    pub ingested_at: Option<i64>,
    pub bytes: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventRow {
    pub message: String,
    pub ingested_at: i64,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub row: GroupRow,
    pub streams: BTreeMap<String, StreamRow>,
}

/// Lines just written, for those who follow.
#[derive(Debug, Clone)]
pub struct Written {
    pub group_arn: String,
    pub group_name: String,
    pub stream: String,
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub at: i64,
    pub ingested_at: i64,
    pub message: String,
}

pub struct Logs {
    pub platform: Arc<Platform>,
    /// By ARN.
    pub groups: Mutex<HashMap<String, Group>>,
    pub written: broadcast::Sender<Arc<Written>>,
    /// Distinguishes events of the same millisecond.
    pub(crate) number: AtomicU64,
}

impl Logs {
    pub fn open(platform: Arc<Platform>) -> Result<Logs, Damaged> {
        let mut groups = HashMap::new();
        for partition in Partition::ALL {
            let mut by_id: HashMap<String, BTreeMap<String, StreamRow>> = HashMap::new();
            for ((id, name), stream) in platform.store.all(&STREAMS, partition)? {
                by_id.entry(id).or_default().insert(name, stream);
            }
            for (arn, row) in platform.store.all(&GROUPS, partition)? {
                let streams = by_id.remove(&row.id).unwrap_or_default();
                groups.insert(arn, Group { row, streams });
            }
            // Streams whose group was deleted while they came to be.
            let lost = by_id
                .into_iter()
                .flat_map(|(id, streams)| streams.into_keys().map(move |stream| (id.clone(), stream)));
            lost.for_each(|key| discard(&platform, partition, key));
            for ((id, stream), ()) in platform.store.all(&GARBAGE, partition)? {
                tokio::spawn(sweep(platform.clone(), partition, id, stream));
            }
        }
        // Numbers need only grow within a millisecond; starting from the time makes them grow across restarts too.
        let number = AtomicU64::new(platform.clock.now().millis().unsigned_abs() << 12);
        Ok(Logs { platform, groups: Mutex::new(groups), written: broadcast::channel(TAIL_BUFFER).0, number })
    }

    /// Makes a group. The ticket is awaited by the caller, outside the lock.
    pub fn create(&self, groups: &mut HashMap<String, Group>, row: GroupRow) -> Result<Ticket, Fault> {
        if groups.contains_key(&row.arn) {
            return Err(ResourceAlreadyExistsException::new("The specified log group already exists").into());
        }
        let ticket = self.save(&row)?;
        groups.insert(row.arn.clone(), Group { row, streams: BTreeMap::new() });
        Ok(ticket)
    }

    pub fn save(&self, row: &GroupRow) -> Result<Ticket, Fault> {
        let mut batch = Batch::new(Partition::of(&row.arn));
        batch.put(&GROUPS, &row.arn, row);
        self.platform.submit(batch)
    }

    /// Changes a group's row and answers when that is durable.
    pub async fn change(
        &self,
        arn: &str,
        change: impl FnOnce(&mut GroupRow) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let ticket = {
            let mut groups = self.groups.lock();
            let group = groups.get_mut(arn).ok_or_else(no_group)?;
            let mut row = group.row.clone();
            change(&mut row)?;
            let ticket = self.save(&row)?;
            group.row = row;
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub async fn remove(&self, arn: &str) -> Result<(), Fault> {
        let ticket = {
            let mut groups = self.groups.lock();
            let group = groups.get(arn).ok_or_else(no_group)?;
            if group.row.deletion_protected {
                return Err(Fault::validation(
                    "The log group is protected from deletion. Disable deletion protection first.",
                ));
            }
            let mut batch = Batch::new(Partition::of(arn));
            batch.delete(&GROUPS, &arn.to_string());
            for stream in group.streams.keys() {
                let key = (group.row.id.clone(), stream.clone());
                batch.delete(&STREAMS, &key);
                batch.put(&GARBAGE, &key, &());
            }
            let ticket = self.platform.submit(batch)?;
            if let Some(group) = groups.remove(arn) {
                for stream in group.streams.into_keys() {
                    tokio::spawn(sweep(
                        self.platform.clone(),
                        Partition::of(arn),
                        group.row.id.clone(),
                        stream,
                    ));
                }
            }
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub async fn create_stream(&self, arn: &str, name: &str) -> Result<(), Fault> {
        let ticket = {
            let mut groups = self.groups.lock();
            let group = groups.get_mut(arn).ok_or_else(no_group)?;
            if group.streams.contains_key(name) {
                return Err(
                    ResourceAlreadyExistsException::new("The specified log stream already exists").into()
                );
            }
            let stream = StreamRow { created_at: self.platform.clock.now().millis(), ..StreamRow::default() };
            let mut batch = Batch::new(Partition::of(arn));
            batch.put(&STREAMS, &(group.row.id.clone(), name.to_string()), &stream);
            let ticket = self.platform.submit(batch)?;
            group.streams.insert(name.to_string(), stream);
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub async fn remove_stream(&self, arn: &str, name: &str) -> Result<(), Fault> {
        let ticket = {
            let mut groups = self.groups.lock();
            let group = groups.get_mut(arn).ok_or_else(no_group)?;
            if !group.streams.contains_key(name) {
                return Err(no_stream());
            }
            // The stream's name may come back; until its events are gone they must not show there.
            let key = (group.row.id.clone(), name.to_string());
            let mut batch = Batch::new(Partition::of(arn));
            batch.delete(&STREAMS, &key);
            self.delete_events(&mut batch, &key)?;
            let ticket = self.platform.submit(batch)?;
            group.streams.remove(name);
            ticket
        };
        ticket.await;
        Ok(())
    }

    fn delete_events(&self, batch: &mut Batch, stream: &(String, String)) -> Result<(), Fault> {
        let range = (stream.clone(), (0, 0))..=(stream.clone(), (u64::MAX, u64::MAX));
        let partition = batch.partition();
        let all = self.platform.store.scan(&EVENTS, partition, range, |key, _| {
            batch.delete(&EVENTS, &key);
            ControlFlow::Continue(())
        });
        all.map_err(Fault::internal)
    }

    /// Writes lines to a stream that exists. They are seen at once and durable when the ticket is through; soon after
    /// where `hurry` says that nobody waits for it.
    pub fn append(
        &self,
        group: &mut Group,
        stream: &str,
        lines: Vec<Line>,
        hurry: Hurry,
    ) -> Result<Ticket, Fault> {
        let partition = Partition::of(&group.row.arn);
        let mut row = group.streams.get(stream).cloned().ok_or_else(no_stream)?;
        let key = (group.row.id.clone(), stream.to_string());
        let mut batch = Batch::new(partition);
        for line in &lines {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let event = EventRow { message: line.message.clone(), ingested_at: line.ingested_at };
            batch.put(&EVENTS, &(key.clone(), (line.at.unsigned_abs(), number)), &event);
            row.count(line);
        }
        self.trim(&mut batch, group, &key)?;
        batch.put(&STREAMS, &key, &row);
        if hurry == Hurry::No {
            batch.unhurried();
        }
        let ticket = self.platform.submit(batch)?;
        group.streams.insert(stream.to_string(), row);
        self.tell(|| Written {
            group_arn: group.row.arn.clone(),
            group_name: group.row.name.clone(),
            stream: stream.into(),
            lines,
        });
        Ok(ticket)
    }

    /// Tells those who follow.
    pub fn tell(&self, written: impl FnOnce() -> Written) {
        if self.written.receiver_count() > 0 {
            // Nobody listening any more is no failure.
            let _ = self.written.send(Arc::new(written()));
        }
    }

    /// Takes away a stream whose group is gone.
    pub fn discard(&self, partition: Partition, stream: (String, String)) {
        discard(&self.platform, partition, stream);
    }

    /// Retention: a write takes some of the stream's expired events away; reads do not show the others.
    fn trim(&self, batch: &mut Batch, group: &Group, key: &(String, String)) -> Result<(), Fault> {
        let Some(expired) = group.expired_before(self.platform.clock.now().millis()) else { return Ok(()) };
        let range = (key.clone(), (0, 0))..(key.clone(), (expired.unsigned_abs(), 0));
        let mut left = TRIM;
        let scanned = self.platform.store.scan(&EVENTS, batch.partition(), range, |event, _| {
            batch.delete(&EVENTS, &event);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        scanned.map_err(Fault::internal)
    }
}

impl StreamRow {
    /// Takes a line into account.
    pub fn count(&mut self, line: &Line) {
        self.first_at = Some(self.first_at.map_or(line.at, |first| first.min(line.at)));
        self.last_at = Some(self.last_at.map_or(line.at, |last| last.max(line.at)));
        self.ingested_at = Some(line.ingested_at);
        // CloudWatch counts 26 bytes of overhead an event.
        self.bytes += i64::try_from(line.message.len()).unwrap_or(0) + 26;
    }
}

impl Group {
    /// Events older than this moment (ms) are not shown any more.
    pub fn expired_before(&self, now: i64) -> Option<i64> {
        let days = i64::from(self.row.retention_days?);
        (self.streams.values().any(|s| s.first_at.is_some())).then(|| now - days * 86_400_000)
    }
}

/// Whether somebody waits until what is written is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    Yes,
    No,
}

/// Takes away a stream that no group has, and its events in the background.
fn discard(platform: &Arc<Platform>, partition: Partition, stream: (String, String)) {
    let mut batch = Batch::new(partition);
    batch.delete(&STREAMS, &stream);
    batch.put(&GARBAGE, &stream, &());
    match platform.submit(batch) {
        Ok(_) => drop(tokio::spawn(sweep(platform.clone(), partition, stream.0, stream.1))),
        Err(fault) => tracing::warn!(%fault, "a log stream without a group stays until the next start"),
    }
}

/// Removes the events of a stream that is gone, a batch at a time.
async fn sweep(platform: Arc<Platform>, partition: Partition, group_id: String, stream: String) {
    let key = (group_id, stream);
    loop {
        let mut batch = Batch::new(partition);
        let mut count = 0;
        let range = (key.clone(), (0, 0))..=(key.clone(), (u64::MAX, u64::MAX));
        let scanned = platform.store.scan(&EVENTS, partition, range, |event, _| {
            batch.delete(&EVENTS, &event);
            count += 1;
            if count < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if count < SWEEP {
            batch.delete(&GARBAGE, &key);
        }
        let done: Result<Seq, String> = match scanned {
            Ok(()) => platform.store.commit(batch).await.map_err(|e| e.to_string()),
            Err(damaged) => Err(damaged.to_string()),
        };
        if let Err(error) = done {
            tracing::warn!(error, "events of a deleted log stream stay until the next start");
            return;
        }
        if count < SWEEP {
            return;
        }
    }
}

/// The ARN of a group of the caller's.
pub fn group_arn(cx: &Cx, name: &str) -> String {
    cx.arn("logs", format!("log-group:{name}")).to_string()
}

pub fn no_group() -> Fault {
    ResourceNotFoundException::new("The specified log group does not exist.").into()
}

pub fn no_stream() -> Fault {
    ResourceNotFoundException::new("The specified log stream does not exist.").into()
}
