//! What SQS keeps: queues by region, account and name; their messages in the store, their state machine in memory from
//! the first touch on. One timer a queue wakes it when something becomes visible.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::{Deserialize, Serialize};
use tidemill_delivery::Delivery;
use tidemill_platform::{Arn, Cx, Fault, Platform, Timers, Timestamp, Trace};
use tidemill_store::{Batch, Damaged, Partition, Table};
use tokio::sync::Notify;

use crate::{
    api::QueueDoesNotExist,
    moves::TaskRow,
    queue::{Queue as Machine, Receives},
    settings::Settings,
};

/// ARN → queue, in the partition of the ARN as everything of a queue.
pub const QUEUES: Table<String, QueueRow> = Table::new("sqs.queue");
/// (queue id, number) → message.
pub const MESSAGES: Table<(u64, u64), MessageRow> = Table::new("sqs.message");
/// (queue id, number) → how often it was received and until when it is out.
pub const RECEIVES: Table<(u64, u64), ReceiveRow> = Table::new("sqs.receive");
/// (queue id, deduplication id) → the message it stands for.
pub const DEDUP: Table<(u64, String), DedupRow> = Table::new("sqs.dedup");
/// Queue id → messages up to this number are gone and their rows wait to be removed.
pub const GRAVES: Table<u64, u64> = Table::new("sqs.grave");
/// Task handle → move task, in the partition of its source.
pub const TASKS: Table<String, TaskRow> = Table::new("sqs.task");

/// A deduplication id is remembered this long.
pub const DEDUP_MS: i64 = 5 * 60_000;
/// Rows removed in one batch.
const REMOVED_AT_ONCE: usize = 500;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueRow {
    /// Never used again, so that a new queue of the same name finds no old messages.
    pub id: u64,
    pub name: String,
    pub arn: String,
    pub account: String,
    pub region: String,
    pub is_fifo: bool,
    pub created_at: i64,
    pub changed_at: i64,
    pub settings: Settings,
    pub tags: BTreeMap<String, String>,
    /// Messages up to this number were purged.
    pub purged_to: u64,
    pub purged_at: i64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MessageRow {
    pub id: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Attribute>,
    /// The trace header the sender gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_header: Option<String>,
    pub sender: String,
    pub sent_at: i64,
    pub visible_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<String>,
    /// ARN of the queue it was moved from as a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The trace in which it was sent, for journeys.
    #[serde(default)]
    pub trace: String,
    /// A notification whose signature is added when it is given out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unsigned: bool,
}

impl MessageRow {
    /// The trace it is part of: what the sender said (`AWSTraceHeader`) counts before the request's own.
    pub fn trace(&self) -> Option<Trace> {
        let said = self.trace_header.as_deref().and_then(Trace::parse);
        said.or_else(|| Trace::parse(&self.trace))
    }
}

fn is_false(given: &bool) -> bool {
    !given
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attribute {
    pub data_type: String,
    pub text: Option<String>,
    pub binary: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReceiveRow {
    pub count: u32,
    pub first_at: i64,
    pub until: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DedupRow {
    pub message_id: String,
    pub number: u64,
    pub until: i64,
}

/// A queue.
pub struct Queue {
    pub arn: Arn,
    pub id: u64,
    pub is_fifo: bool,
    pub partition: Partition,
    pub row: RwLock<QueueRow>,
    hot: Mutex<Option<Hot>>,
    /// Whether `hot` is there; asked by who holds another queue's and must not wait for this one's.
    loaded: AtomicBool,
    /// Wakes who waits for messages.
    pub arrived: Notify,
}

/// What memory keeps of a queue that is in use.
pub struct Hot {
    pub machine: Machine,
    pub dedup: HashMap<String, DedupRow>,
    dedup_order: VecDeque<(i64, String)>,
    /// Forgotten in memory; their rows go with the next batch.
    dedup_expired: Vec<String>,
    wakes_at: Option<i64>,
    /// Receive attempts of FIFO queues that may be repeated: id → (until, numbers).
    pub attempts: HashMap<String, (i64, Vec<u64>)>,
}

pub struct Sqs {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    pub me: Weak<Sqs>,
    queues: RwLock<BTreeMap<String, Arc<Queue>>>,
    /// The same by ARN in parts, as deliveries name them.
    by_parts: RwLock<HashMap<Arn, Arc<Queue>, foldhash::fast::RandomState>>,
    next_number: AtomicU64,
    timers: Timers<String>,
    pub tasks: Mutex<BTreeMap<String, TaskRow>>,
}

impl Sqs {
    pub fn open(platform: Arc<Platform>, delivery: Delivery) -> Result<Arc<Sqs>, Damaged> {
        let (mut queues, mut tasks, mut graves) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for partition in Partition::ALL {
            for (arn, row) in platform.store.all(&QUEUES, partition)? {
                if let Some(queue) = Queue::of(row) {
                    queues.insert(arn, queue);
                }
            }
            tasks.extend(platform.store.all(&TASKS, partition)?);
            graves.extend(
                platform.store.all(&GRAVES, partition)?.into_iter().map(|(id, to)| (partition, id, to)),
            );
        }
        let sqs = Arc::new_cyclic(|me: &Weak<Sqs>| {
            let woken = me.clone();
            let timers = Timers::new(platform.clock.clone(), move |arn: String| {
                if let Some(sqs) = woken.upgrade() {
                    sqs.wake(&arn);
                }
            });
            Sqs {
                platform,
                delivery,
                me: me.clone(),
                by_parts: RwLock::new(
                    queues.values().map(|queue| (queue.arn.clone(), queue.clone())).collect(),
                ),
                queues: RwLock::new(queues),
                next_number: AtomicU64::new(0),
                timers,
                tasks: Mutex::new(tasks),
            }
        });
        for (partition, id, to) in graves {
            sqs.bury(partition, id, to);
        }
        // Delays that passed while nobody ran are noticed when a queue is first touched; timers of queues with waiting
        // receivers are set then, too.
        Ok(sqs)
    }

    /// A number for a message: grows with time, never given twice.
    pub fn number(&self, now: i64) -> u64 {
        let by_time = now.unsigned_abs() << 20;
        self.next_number.fetch_max(by_time, Ordering::Relaxed);
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// The queue of this ARN.
    pub fn by_arn(&self, arn: &str) -> Option<Arc<Queue>> {
        self.queues.read().get(arn).cloned()
    }

    /// The same without the ARN as a text.
    pub fn by_parts(&self, arn: &Arn) -> Option<Arc<Queue>> {
        self.by_parts.read().get(arn).cloned()
    }

    /// The queue that a URL (or a bare name) of the caller names.
    pub fn by_url(&self, cx: &Cx, url: &str) -> Result<Arc<Queue>, Fault> {
        let path = url.split("://").last().unwrap_or_default();
        let mut parts = path.rsplit('/');
        let name = parts.next().unwrap_or_default();
        let account =
            parts.next().filter(|part| part.len() == 12 && part.bytes().all(|b| b.is_ascii_digit()));
        let arn = Arn::new("sqs", cx.region(), account.unwrap_or_else(|| cx.account()), name).to_string();
        self.by_arn(&arn).ok_or_else(no_queue)
    }

    /// The caller's queues, by name.
    pub fn of_caller(&self, cx: &Cx) -> Vec<Arc<Queue>> {
        let prefix = format!("arn:aws:sqs:{}:{}:", cx.region(), cx.account());
        let queues = self.queues.read();
        queues
            .range(prefix.clone()..)
            .take_while(|(arn, _)| arn.starts_with(&prefix))
            .map(|(_, q)| q.clone())
            .collect()
    }

    /// Every queue of the platform.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.read().values().cloned().collect()
    }

    /// Puts a queue beside the others unless there is one of its ARN, which then is the answer.
    pub async fn insert(&self, row: QueueRow) -> Result<Arc<Queue>, Fault> {
        let (queue, ticket) = {
            let mut queues = self.queues.write();
            if let Some(there) = queues.get(&row.arn) {
                return Ok(there.clone());
            }
            let mut batch = Batch::new(Partition::of(&row.arn));
            batch.put(&QUEUES, &row.arn, &row);
            let arn = row.arn.clone();
            let queue = Queue::of(row).ok_or_else(no_queue)?;
            let ticket = self.platform.submit(batch)?;
            queues.insert(arn, queue.clone());
            self.by_parts.write().insert(queue.arn.clone(), queue.clone());
            (queue, ticket)
        };
        ticket.await;
        Ok(queue)
    }

    /// Changes what is kept of a queue besides its messages.
    pub async fn change<T>(
        &self,
        queue: &Queue,
        decide: impl FnOnce(&mut QueueRow) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (ticket, answer) = {
            let mut row = queue.row.write();
            let mut next = row.clone();
            let answer = decide(&mut next)?;
            let mut batch = Batch::new(queue.partition);
            batch.put(&QUEUES, &next.arn, &next);
            let ticket = self.platform.submit(batch)?;
            *row = next;
            (ticket, answer)
        };
        ticket.await;
        Ok(answer)
    }

    /// Takes a queue away; its messages are removed in the background.
    pub async fn remove(&self, queue: &Queue) -> Result<(), Fault> {
        let arn = queue.arn.to_string();
        let ticket = {
            let mut queues = self.queues.write();
            let mut batch = Batch::new(queue.partition);
            batch.delete(&QUEUES, &arn);
            batch.put(&GRAVES, &queue.id, &u64::MAX);
            let ticket = self.platform.submit(batch)?;
            queues.remove(&arn);
            self.by_parts.write().remove(&queue.arn);
            ticket
        };
        ticket.await;
        queue.arrived.notify_waiters();
        self.bury(queue.partition, queue.id, u64::MAX);
        Ok(())
    }

    /// Removes the rows of messages up to a number, a batch at a time.
    pub fn bury(&self, partition: Partition, id: u64, to: u64) {
        let Some(sqs) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            while let Ok(Some(ticket)) = sqs.bury_some(partition, id, to) {
                ticket.await;
            }
        });
    }

    fn bury_some(
        &self,
        partition: Partition,
        id: u64,
        to: u64,
    ) -> Result<Option<tidemill_store::Ticket>, Fault> {
        let store = &self.platform.store;
        let mut numbers = Vec::new();
        let found = store.scan(&MESSAGES, partition, (id, 0)..=(id, to), |(_, number), _| {
            numbers.push(number);
            if numbers.len() < REMOVED_AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        found.map_err(Fault::internal)?;
        let mut batch = Batch::new(partition);
        for number in &numbers {
            batch.delete(&MESSAGES, &(id, *number));
            batch.delete(&RECEIVES, &(id, *number));
        }
        let is_last = numbers.len() < REMOVED_AT_ONCE;
        if is_last {
            batch.delete(&GRAVES, &id);
        }
        let ticket = self.platform.submit(batch)?;
        Ok((!is_last).then_some(ticket))
    }

    /// The queue's state machine, loaded if this is the first touch, with everything received that is due.
    pub fn hot<'a>(&self, queue: &'a Queue, now: i64) -> Result<HotQueue<'a>, Fault> {
        let mut hot = queue.hot.lock();
        if hot.is_none() {
            *hot = Some(self.load(queue, now).map_err(Fault::internal)?);
            queue.loaded.store(true, Ordering::Release);
        }
        let mut hot = HotQueue(hot);
        hot.machine.due(now);
        hot.forget_dedup(now);
        Ok(hot)
    }

    /// Loads a queue before a batch puts a row into it: loading afterwards would find the row, and the message would be
    /// there twice when it arrives. The caller holds no queue's lock.
    pub fn warm(&self, queue: &Queue, now: i64) -> Result<(), Fault> {
        if !queue.is_loaded() {
            drop(self.hot(queue, now)?);
        }
        Ok(())
    }

    fn load(&self, queue: &Queue, now: i64) -> Result<Hot, Damaged> {
        let store = &self.platform.store;
        let from = (queue.id, queue.row.read().purged_to + 1);
        let range = from..=(queue.id, u64::MAX);
        let mut receives = HashMap::new();
        store.scan(&RECEIVES, queue.partition, range.clone(), |(_, number), row| {
            receives.insert(number, row);
            ControlFlow::Continue(())
        })?;
        let mut machine = Machine::new(queue.is_fifo);
        let mut last = 0;
        store.scan(&MESSAGES, queue.partition, range, |(_, number), row: MessageRow| {
            last = number;
            match receives.get(&number) {
                Some(ReceiveRow { count, first_at, until }) => {
                    let known = Receives { count: *count, first_at: *first_at };
                    machine.restore(number, row.group.as_deref(), known, *until, now);
                }
                None => machine.insert(number, row.group.as_deref(), row.visible_at, now),
            }
            ControlFlow::Continue(())
        })?;
        self.next_number.fetch_max(last + 1, Ordering::Relaxed);
        let mut dedup: Vec<(String, DedupRow)> = Vec::new();
        store.scan(&DEDUP, queue.partition, (queue.id, String::new()).., |(id, key), row| {
            if id != queue.id {
                return ControlFlow::Break(());
            }
            dedup.push((key, row));
            ControlFlow::Continue(())
        })?;
        dedup.sort_by_key(|(_, row)| row.until);
        let dedup_order = dedup.iter().map(|(key, row)| (row.until, key.clone())).collect();
        Ok(Hot {
            machine,
            dedup: dedup.into_iter().collect(),
            dedup_order,
            dedup_expired: Vec::new(),
            wakes_at: None,
            attempts: HashMap::new(),
        })
    }

    /// Sets the timer for the next message that becomes visible. To be called after every change.
    pub fn plan(&self, queue: &Queue, hot: &mut HotQueue<'_>) {
        let Some(next) = hot.machine.next_due() else { return };
        if hot.wakes_at.is_none_or(|at| next < at) {
            hot.wakes_at = Some(next);
            self.timers.set(Timestamp::from_millis(next), queue.arn.to_string());
        }
    }

    fn wake(&self, arn: &str) {
        let Some(queue) = self.by_arn(arn) else { return };
        let now = self.platform.clock.now().millis();
        let Ok(mut hot) = self.hot(&queue, now) else { return };
        hot.wakes_at = None;
        let visible = hot.machine.visible();
        self.plan(&queue, &mut hot);
        drop(hot);
        for _ in 0..visible.min(64) {
            queue.arrived.notify_one();
        }
    }
}

/// A queue's hot part under its lock.
pub struct HotQueue<'a>(MutexGuard<'a, Option<Hot>>);

impl std::ops::Deref for HotQueue<'_> {
    type Target = Hot;

    fn deref(&self) -> &Hot {
        self.0.as_ref().expect("loaded when it was locked")
    }
}

impl std::ops::DerefMut for HotQueue<'_> {
    fn deref_mut(&mut self) -> &mut Hot {
        self.0.as_mut().expect("loaded when it was locked")
    }
}

impl Hot {
    fn forget_dedup(&mut self, now: i64) {
        while self.dedup_order.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.dedup_order.pop_front() {
                self.dedup.remove(&key);
                self.dedup_expired.push(key);
            }
        }
        if !self.attempts.is_empty() {
            self.attempts.retain(|_, (until, _)| *until > now);
        }
    }

    pub fn take_expired_dedup(&mut self) -> Vec<String> {
        std::mem::take(&mut self.dedup_expired)
    }

    pub fn remember_dedup(&mut self, key: String, row: DedupRow) {
        self.dedup_order.push_back((row.until, key.clone()));
        self.dedup.insert(key, row);
    }
}

impl Queue {
    fn of(row: QueueRow) -> Option<Arc<Queue>> {
        let arn: Arn = row.arn.parse().ok()?;
        Some(Arc::new(Queue {
            id: row.id,
            is_fifo: row.is_fifo,
            partition: Partition::of(&row.arn),
            arn,
            row: RwLock::new(row),
            hot: Mutex::new(None),
            loaded: AtomicBool::new(false),
            arrived: Notify::new(),
        }))
    }

    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    pub fn url(&self, cx: &Cx) -> String {
        format!("{}/{}/{}", cx.base_url(), self.arn.account, self.arn.resource)
    }

    pub fn settings(&self) -> Settings {
        self.row.read().settings.clone()
    }
}

pub fn no_queue() -> Fault {
    QueueDoesNotExist::new("The specified queue does not exist.").into()
}

/// SQS's error for parameters that have the right type and a wrong value.
pub fn invalid(sentence: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterValue", sentence.into())
}
