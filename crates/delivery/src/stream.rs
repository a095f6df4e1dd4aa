//! Reading streams on behalf of a mapping: batches in order per shard and lane, retries with back-off, bisecting, age
//! and attempt limits, checkpoints that outlive the process. DynamoDB streams are read by it, Kinesis will be.
//!
//! A [`StreamSource`] holds records, a [`Consumer`] takes batches (a function, a pipe). Nothing polls: a pump that has
//! read everything waits for the source's next write. `windows` hands a state on within stretches of time.

mod beginning;
mod gate;
mod windows;

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, Fault, Platform, Timestamp, Trace};
use tidemill_store::{Batch, Partition, Table, Ticket};
use tokio::sync::watch;

use crate::{Delivery, Fate, Handover, Step};

use gate::{Gate, Reading};
pub use windows::Window;

/// (mapping id, shard id, lane) → the last sequence number that is done with. In the mapping's partition.
const CHECKPOINTS: Table<(String, (String, u64)), Checkpoint> = Table::new("delivery.checkpoint");

/// The wait before a failed batch is tried again: doubles from the first to the last, in milliseconds.
const FIRST_WAIT_MS: i64 = 1000;
const LAST_WAIT_MS: i64 = 60_000;
/// What one batch may hold in bytes: Lambda's payload limit, with room for the wrapping.
const MOST_BYTES: usize = 6_000_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Checkpoint {
    done: String,
    #[serde(default)]
    window: Option<windows::Open>,
    /// How many lanes there were; 0 where that was not kept.
    #[serde(default)]
    lanes: u64,
}

/// One record as a consumer sees it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Grows within a shard; compared as a number.
    pub sequence: String,
    /// When it was written.
    pub at: Timestamp,
    pub event_id: String,
    /// Decides which of a shard's lanes takes it.
    pub partition_key: String,
    /// The record as JSON, in the form Lambda hands it to functions.
    pub json: Bytes,
    /// The trace of whoever wrote it.
    pub trace: Trace,
}

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub id: String,
    /// Read before this one.
    pub parent: Option<String>,
    /// No record will follow the last one.
    pub closed: bool,
}

/// A service that keeps streams; registered under its name in ARNs.
pub trait StreamSource: Send + Sync {
    /// The shards from the oldest that still has records; a fault when there is no such stream.
    fn shards(&self, stream: &str) -> Result<Vec<Shard>, Fault>;

    /// Up to `most` durable records after a sequence number; from the oldest when there is none.
    fn read(&self, stream: &str, shard: &str, after: Option<&str>, most: usize)
    -> Result<Vec<Record>, Fault>;

    /// The sequence number of the newest record, for those who begin at the end.
    fn latest(&self, stream: &str, shard: &str) -> Result<Option<String>, Fault>;

    /// Changes whenever there may be more to read.
    fn watch(&self, stream: &str) -> Result<watch::Receiver<u64>, Fault>;
}

/// Where a mapping without a checkpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Oldest,
    Latest,
}

/// How a stream is read.
#[derive(Clone)]
pub struct StreamMapping {
    /// Names the mapping in checkpoints.
    pub id: String,
    pub stream: String,
    /// ARN of who takes the batches, for the ledger.
    pub target: String,
    pub start: Start,
    /// Records in a batch.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more, in milliseconds.
    pub window_ms: i64,
    /// Batches of one shard at the same time; records of one partition key stay in order.
    pub lanes: u64,
    /// Retries of a failing batch; `None` for as long as its records live.
    pub retries: Option<u32>,
    /// Records older than this are given up, in seconds.
    pub max_age_s: Option<i64>,
    pub bisect: bool,
    pub consumer: Arc<dyn Consumer>,
}

/// What a batch came to.
pub enum Consumed {
    Done,
    /// Everything before this sequence number is done; it and what follows is tried again.
    FailedFrom(String),
    Failed {
        reason: String,
    },
    /// Not taken, and not counted.
    Throttled,
}

/// Who takes the batches of a mapping.
pub trait Consumer: Send + Sync {
    /// Whether a record is wanted at all.
    fn wants(&self, record: &Record) -> bool;

    fn consume<'a>(&'a self, cx: &'a Cx, shard: &'a str, records: &'a [Record]) -> BoxFuture<'a, Consumed>;

    /// The length of tumbling windows, in milliseconds; 0 where there are none.
    fn window_ms(&self) -> i64 {
        0
    }

    /// Takes a batch of a window, or with no records its end. Beside what became of it gives the state for the next batch.
    fn consume_in<'a>(
        &'a self,
        cx: &'a Cx,
        shard: &'a str,
        _: Window<'a>,
        records: &'a [Record],
    ) -> BoxFuture<'a, (Consumed, Option<String>)> {
        windows::plainly(self, cx, shard, records)
    }

    /// What follows when records are given up: the hand-over to the failure destination, if there is one.
    fn given_up(&self, cx: &Cx, lost: &GivenUp<'_>) -> Vec<Handover>;
}

/// Records that will not be tried again, as a failure destination is told.
pub struct GivenUp<'a> {
    pub stream: &'a str,
    pub shard: &'a str,
    pub records: &'a [Record],
    pub attempts: u32,
    pub reason: &'a str,
    /// They were too old, rather than tried too often.
    pub expired: bool,
}

/// The pumps of all mappings.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    platform: Arc<Platform>,
    delivery: Delivery,
    sources: RwLock<HashMap<String, Arc<dyn StreamSource>>>,
    running: Mutex<HashMap<String, Reading>>,
    /// Stopped, but not yet at an end.
    ending: Mutex<HashMap<String, Reading>>,
}

impl Streams {
    pub fn new(platform: &Arc<Platform>, delivery: &Delivery) -> Streams {
        Streams(Arc::new(Inner {
            platform: platform.clone(),
            delivery: delivery.clone(),
            sources: RwLock::default(),
            running: Mutex::default(),
            ending: Mutex::default(),
        }))
    }

    /// Registers a service's streams, by its name in ARNs (`dynamodb`, `kinesis`).
    pub fn source(&self, service: &str, source: Arc<dyn StreamSource>) {
        self.0.sources.write().insert(service.into(), source);
    }

    /// The source that keeps the stream of this ARN.
    pub fn source_of(&self, stream_arn: &str) -> Option<Arc<dyn StreamSource>> {
        self.0.source_of(stream_arn)
    }

    /// Begins to read for a mapping, or begins anew with its changed settings once what is being consumed is finished. It goes on where
    /// its checkpoints are. Gives the ticket of where a new one begins, to be awaited before its creation is acknowledged.
    pub fn run(&self, mapping: StreamMapping) -> Option<Ticket> {
        self.stop(&mapping.id);
        let begins = if mapping.start == Start::Latest { self.0.begin_at_the_end(&mapping) } else { None };
        let (id, gate) = (mapping.id.clone(), Arc::new(Gate::default()));
        let before = self.0.ending.lock().remove(&id);
        let following = follow(self.0.clone(), Arc::new(mapping), gate.clone());
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.task.await;
            }
            following.await;
        });
        self.0.running.lock().insert(id, Reading { task, gate });
        begins
    }

    /// Stops reading. What is being consumed is finished, and remembered.
    pub fn stop(&self, id: &str) {
        let Some(reading) = self.0.running.lock().remove(id) else { return };
        let mut ending = self.0.ending.lock();
        ending.retain(|_, reading| !reading.task.is_finished());
        ending.insert(id.into(), reading.end());
    }

    /// Forgets where a mapping was, in the batch of its removal.
    pub fn forget(&self, batch: &mut Batch, id: &str) -> Result<(), Fault> {
        for readings in [&self.0.running, &self.0.ending] {
            if let Some(reading) = readings.lock().get(id) {
                reading.gate.forget();
            }
        }
        let range = (id.to_string(), (String::new(), 0))..(format!("{id}\u{1}"), (String::new(), 0));
        let scanned = self.0.platform.store.scan(&CHECKPOINTS, Partition::of(id), range, |key, _| {
            batch.delete_in(Partition::of(id), &CHECKPOINTS, &key);
            ControlFlow::Continue(())
        });
        scanned.map_err(Fault::internal)
    }
}

impl Inner {
    fn source_of(&self, stream: &str) -> Option<Arc<dyn StreamSource>> {
        self.sources.read().get(stream.split(':').nth(2)?).cloned()
    }
}

/// Follows a stream: one task a shard and lane, new shards as they appear, children after their parents.
async fn follow(streams: Arc<Inner>, mapping: Arc<StreamMapping>, gate: Arc<Gate>) {
    let Some(source) = streams.source_of(&mapping.stream) else {
        tracing::error!(stream = mapping.stream, "a mapping reads from a service that has no streams");
        return;
    };
    let mut lanes = tokio::task::JoinSet::new();
    let mut begun: HashMap<String, u64> = HashMap::new();
    let mut finished: HashMap<String, u64> = HashMap::new();
    loop {
        // A stream that is gone ends the mapping's reading.
        let (Ok(shards), Ok(mut changed)) = (source.shards(&mapping.stream), source.watch(&mapping.stream))
        else {
            return;
        };
        for shard in &shards {
            let parent_done = shard.parent.as_ref().is_none_or(|parent| {
                finished.get(parent).is_some_and(|done| *done >= mapping.lanes)
                    || !shards.iter().any(|known| known.id == *parent)
            });
            if parent_done && !begun.contains_key(&shard.id) {
                begun.insert(shard.id.clone(), mapping.lanes);
                streams.share_out(&mapping, &shard.id);
                for lane in 0..mapping.lanes {
                    let pump = Pump {
                        streams: streams.clone(),
                        mapping: mapping.clone(),
                        source: source.clone(),
                        shard: shard.id.clone(),
                        lane,
                        window: Mutex::default(),
                        gate: gate.clone(),
                    };
                    lanes.spawn(pump.run());
                }
            }
        }
        if lanes.is_empty() {
            if changed.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            Some(ended) = lanes.join_next() => match ended {
                Ok(shard) => *finished.entry(shard).or_default() += 1,
                Err(failed) => tracing::error!(%failed, stream = mapping.stream, "a stream's pump ended early"),
            },
            moved = wait_for_shards(&*source, &mapping.stream, shards.len()) => if moved.is_err() { return },
        }
    }
}

/// Returns when the number of shards has changed.
async fn wait_for_shards(source: &dyn StreamSource, stream: &str, known: usize) -> Result<(), Fault> {
    let mut changed = source.watch(stream)?;
    while source.shards(stream)?.len() == known {
        if changed.changed().await.is_err() {
            return Err(Fault::new("ResourceNotFoundException", "the stream is gone"));
        }
    }
    Ok(())
}

/// Reads one lane of one shard.
struct Pump {
    streams: Arc<Inner>,
    mapping: Arc<StreamMapping>,
    source: Arc<dyn StreamSource>,
    shard: String,
    lane: u64,
    /// The tumbling window that has begun.
    window: Mutex<Option<windows::Open>>,
    gate: Arc<Gate>,
}

impl Pump {
    /// Runs until the shard is closed and read; gives the shard's id.
    async fn run(self) -> String {
        let mut done = self.begin();
        loop {
            let Ok(mut changed) = self.source.watch(&self.mapping.stream) else { return self.shard };
            changed.borrow_and_update();
            match self.next(&done) {
                Ok((_, records, seen)) if records.is_empty() => {
                    if let Some(seen) = seen {
                        // Nothing of it was for this lane; it need not be looked at again.
                        done = Some(seen);
                        continue;
                    }
                    let closed = self
                        .source
                        .shards(&self.mapping.stream)
                        .map_or(true, |shards| shards.iter().any(|s| s.id == self.shard && s.closed));
                    let ends = self.window_ends();
                    if ends.is_some_and(|ends| closed || ends <= self.streams.platform.clock.now()) {
                        self.end_window(&done).await;
                        continue;
                    }
                    if closed || self.moved(&mut changed, ends).await.is_err() {
                        return self.shard;
                    }
                }
                Ok((full, records, _)) => {
                    let records = if full { records } else { self.fill(&done, records).await };
                    let records = self.within_window(&done, records).await;
                    done = Some(self.consume_all(records).await);
                    if self.window_overgrown() {
                        self.end_window(&done).await;
                    }
                }
                Err(fault) => {
                    tracing::error!(%fault, stream = self.mapping.stream, "a stream cannot be read");
                    return self.shard;
                }
            }
        }
    }

    /// Waits for the source to write, or until the open window ends.
    async fn moved(
        &self,
        changed: &mut watch::Receiver<u64>,
        ends: Option<Timestamp>,
    ) -> Result<(), watch::error::RecvError> {
        let Some(ends) = ends else { return changed.changed().await };
        tokio::select! {
            moved = changed.changed() => moved,
            () = self.streams.platform.clock.sleep_until(ends) => Ok(()),
        }
    }

    /// Where to go on: the checkpoint, else the oldest record.
    fn begin(&self) -> Option<String> {
        let checkpoints = &self.streams.platform.store;
        let found =
            checkpoints.get(&CHECKPOINTS, Partition::of(&self.mapping.id), &self.key()).ok().flatten();
        let checkpoint = found?.value;
        *self.window.lock() = checkpoint.window.filter(|_| self.mapping.consumer.window_ms() > 0);
        Some(checkpoint.done).filter(|done| !done.is_empty())
    }

    fn key(&self) -> (String, (String, u64)) {
        (self.mapping.id.clone(), (self.shard.clone(), self.lane))
    }

    /// The next batch of this lane; whether it is full, and the last record looked at.
    fn next(&self, done: &Option<String>) -> Result<(bool, Vec<Record>, Option<String>), Fault> {
        let read =
            self.source.read(&self.mapping.stream, &self.shard, done.as_deref(), self.mapping.batch_size)?;
        let seen = read.last().map(|record| record.sequence.clone());
        let full = read.len() >= self.mapping.batch_size;
        let mine = |record: &Record| {
            self.mapping.lanes == 1 || lane_of(&record.partition_key, self.mapping.lanes) == self.lane
        };
        let mut bytes = 0;
        let records = read.into_iter().filter(mine).take_while(|record| {
            bytes += record.json.len() + 1;
            bytes <= MOST_BYTES || bytes == record.json.len() + 1
        });
        Ok((full, records.collect(), seen))
    }

    /// Waits out the batching window, or until the batch is full.
    async fn fill(&self, done: &Option<String>, mut records: Vec<Record>) -> Vec<Record> {
        if self.mapping.window_ms == 0 {
            return records;
        }
        let clock = &self.streams.platform.clock;
        let until = Timestamp::from_millis(clock.now().millis() + self.mapping.window_ms);
        loop {
            let Ok(mut changed) = self.source.watch(&self.mapping.stream) else { return records };
            changed.borrow_and_update();
            match self.next(done) {
                Ok((true, more, _)) => return more,
                Ok((false, more, _)) => records = more,
                Err(_) => return records,
            }
            tokio::select! {
                () = clock.sleep_until(until) => return records,
                moved = changed.changed() => if moved.is_err() { return records },
            }
        }
    }

    /// Consumes records until each is done or given up; gives the last sequence number.
    async fn consume_all(&self, records: Vec<Record>) -> String {
        let last = records.last().map(|record| record.sequence.clone()).unwrap_or_default();
        let wanted: Vec<Record> =
            records.into_iter().filter(|record| self.mapping.consumer.wants(record)).collect();
        let mut stack = vec![(wanted, 0_u32)];
        while let Some((mut batch, mut attempts)) = stack.pop() {
            let mut waits = 0_u32;
            while !batch.is_empty() {
                self.give_up_expired(&mut batch, attempts);
                if batch.is_empty() {
                    break;
                }
                let inside = self.gate.enter().await;
                let cx = self.cx(&batch);
                let began = std::time::Instant::now();
                let consumed = self.consume(&cx, &batch).await;
                let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                match consumed {
                    Consumed::Done => {
                        self.note(&batch, Step::Delivered, "", attempts + 1, took_us);
                        break;
                    }
                    Consumed::Throttled => {}
                    Consumed::FailedFrom(sequence) => {
                        let split = batch.iter().position(|record| record.sequence == sequence).unwrap_or(0);
                        let rest = batch.split_off(split);
                        self.note(&batch, Step::Delivered, "", attempts + 1, took_us);
                        self.note(
                            &rest,
                            Step::Failed,
                            "reported as a batch item failure",
                            attempts + 1,
                            took_us,
                        );
                        if let Some(before) = batch.last() {
                            self.checkpoint(
                                &before.sequence,
                                Batch::new(Partition::of(&self.mapping.id)),
                                Vec::new(),
                            );
                            attempts = 0;
                        } else {
                            attempts += 1;
                        }
                        batch = rest;
                        self.give_up_exhausted(&mut batch, attempts, "batch item failures");
                    }
                    Consumed::Failed { reason } => {
                        attempts += 1;
                        self.note(&batch, Step::Failed, &reason, attempts, took_us);
                        if self.mapping.bisect && batch.len() > 1 {
                            // What is split has not used up a retry.
                            attempts -= 1;
                            let second = batch.split_off(batch.len() / 2);
                            stack.push((second, attempts));
                        } else {
                            self.give_up_exhausted(&mut batch, attempts, &reason);
                        }
                    }
                }
                drop(inside);
                if !batch.is_empty() {
                    waits += 1;
                    let wait = (FIRST_WAIT_MS << (waits - 1).min(16)).min(LAST_WAIT_MS);
                    self.streams.platform.clock.sleep(wait).await;
                }
            }
        }
        self.checkpoint(&last, Batch::new(Partition::of(&self.mapping.id)), Vec::new());
        last
    }

    fn give_up_expired(&self, batch: &mut Vec<Record>, attempts: u32) {
        let Some(max_age_s) = self.mapping.max_age_s else { return };
        let oldest = self.streams.platform.clock.now().millis() - max_age_s * 1000;
        let fresh = batch.iter().position(|record| record.at.millis() >= oldest).unwrap_or(batch.len());
        let expired: Vec<Record> = batch.drain(..fresh).collect();
        if !expired.is_empty() {
            self.give_up(&expired, attempts, "the records are too old", true);
        }
    }

    fn give_up_exhausted(&self, batch: &mut Vec<Record>, attempts: u32, reason: &str) {
        if self.mapping.retries.is_some_and(|retries| attempts > retries) {
            let lost = std::mem::take(batch);
            self.give_up(&lost, attempts, reason, false);
        }
    }

    fn give_up(&self, records: &[Record], attempts: u32, reason: &str, expired: bool) {
        let cx = self.cx(records);
        let lost =
            GivenUp { stream: &self.mapping.stream, shard: &self.shard, records, attempts, reason, expired };
        let follow = self.mapping.consumer.given_up(&cx, &lost);
        let step = if follow.is_empty() { Step::Dropped } else { Step::DeadLettered };
        self.note(records, step, reason, attempts, 0);
        if let Some(last) = records.last() {
            self.checkpoint(&last.sequence, Batch::new(Partition::of(&self.mapping.id)), follow);
        }
    }

    /// Remembers how far this lane is, together with what follows from it.
    fn checkpoint(&self, sequence: &str, mut batch: Batch, follow: Vec<Handover>) {
        if self.gate.is_forgotten() {
            return;
        }
        let (done, window) = (sequence.to_string(), self.window.lock().clone());
        let checkpoint = Checkpoint { done, window, lanes: self.mapping.lanes };
        batch.put(&CHECKPOINTS, &self.key(), &checkpoint);
        let staged: Vec<_> =
            follow.into_iter().map(|row| self.streams.delivery.stage(&mut batch, row)).collect();
        match self.streams.platform.store.submit(batch) {
            Ok(ticket) => staged.into_iter().for_each(|row| row.release(ticket.seq())),
            // The records are consumed again after a restart; nothing is lost.
            Err(refused) => {
                tracing::warn!(%refused, stream = self.mapping.stream, "a checkpoint was not written")
            }
        }
    }

    /// The context of a batch: the trace of its first record.
    fn cx(&self, records: &[Record]) -> Cx {
        let mut parts = self.mapping.stream.split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let trace = records.first().map(|record| record.trace.clone()).filter(|trace| !trace.root.is_empty());
        let platform = &self.streams.platform;
        platform.cx(
            account,
            region,
            trace.unwrap_or_else(|| Trace::begin(platform.clock.now(), &platform.random)),
        )
    }

    /// One line in the ledger for every record with a trace.
    fn note(&self, records: &[Record], step: Step, detail: &str, attempt: u32, took_us: u64) {
        let mut batch = Batch::new(Partition::of(&self.mapping.id));
        for record in records {
            let fate = Fate {
                at: self.streams.platform.clock.now().millis(),
                event: record.event_id.clone(),
                trace: record.trace.root.clone(),
                source: self.mapping.stream.clone(),
                target: self.mapping.target.clone(),
                via: self.mapping.id.clone(),
                step,
                detail: detail.to_string(),
                attempt,
                took_us,
            };
            self.streams.delivery.ledger().record(&mut batch, &fate);
        }
        if !batch.is_empty() {
            // The ledger tells of what happened; it does not decide. A full disk costs its lines, not the records.
            let _ = self.streams.platform.store.submit(batch);
        }
    }
}

/// FNV-1a over the key, so that a key always takes the same lane.
fn lane_of(key: &str, lanes: u64) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) % lanes.max(1)
}
