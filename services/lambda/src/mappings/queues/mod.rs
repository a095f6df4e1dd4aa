//! Mappings of SQS queues: one reader a mapping gathers batches, as many functions run as there are batches and the limit
//! allows. A reader without messages waits inside the queue and is woken by the next one.
//!
//! As on AWS, messages that a function failed on stay in flight until their visibility timeout ends. Readers hold a
//! bounded amount of messages in memory, all mappings together.

mod answer;
mod batch;
mod journey;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidemill_platform::{Cx, Fault, Timestamp, Trace, doors::Queues};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use self::{
    batch::{Batch, Gather},
    journey::Ended,
};
use super::{MappingRow, filters::Filters};
use crate::{Lambda, names::Named, run::Call};

/// Messages held by all mappings together, in KiB.
const HELD_KIB: usize = 256 << 10;
/// The wait after a refused invocation or a queue that is not there: doubles from the first to the last.
const FIRST_WAIT_MS: i64 = 500;
const LAST_WAIT_MS: i64 = 60_000;

/// The readers of all enabled mappings, by UUID.
pub struct Readers {
    tasks: Mutex<HashMap<String, JoinHandle<()>>>,
    held: Arc<Semaphore>,
}

impl Default for Readers {
    fn default() -> Readers {
        Readers { tasks: Mutex::default(), held: Arc::new(Semaphore::new(HELD_KIB)) }
    }
}

impl Readers {
    /// Begins to read, or begins anew with changed settings. Batches that run already go on.
    pub fn run(&self, lambda: &Lambda, row: &MappingRow) -> Result<(), Fault> {
        let reader = Arc::new(Reader {
            lambda: lambda.this.clone(),
            queues: lambda.platform.doors.queues.ask("SQS")?.clone(),
            filters: Filters::parse(&row.filters)?,
            row: row.clone(),
        });
        let task = tokio::spawn(reader.read(self.held.clone()));
        if let Some(before) = self.tasks.lock().insert(row.uuid.clone(), task) {
            before.abort();
        }
        Ok(())
    }

    pub fn stop(&self, uuid: &str) {
        if let Some(task) = self.tasks.lock().remove(uuid) {
            task.abort();
        }
    }

    pub fn stop_all(&self) {
        for (_, task) in self.tasks.lock().drain() {
            task.abort();
        }
    }
}

struct Reader {
    lambda: Weak<Lambda>,
    queues: Arc<dyn Queues>,
    row: MappingRow,
    filters: Filters,
}

impl Reader {
    async fn read(self: Arc<Self>, held: Arc<Semaphore>) {
        let Some(quota) = self.lambda.upgrade().map(|lambda| lambda.quotas.concurrency.max(1)) else {
            return;
        };
        let most = self.row.max_concurrency.unwrap_or(quota).clamp(1, quota);
        let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
        let mut gather = Gather::new(&self.row);
        let mut wait_ms = FIRST_WAIT_MS;
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Some(cx) = self.cx() else { return };
            match gather.next(&cx, &*self.queues).await {
                Ok(Some(batch)) => {
                    wait_ms = FIRST_WAIT_MS;
                    let kib = u32::try_from(batch.bytes / 1024 + 1).unwrap_or(u32::MAX).min(HELD_KIB as u32);
                    let Ok(weight) = held.clone().acquire_many_owned(kib).await else { return };
                    tokio::spawn(self.clone().work(cx, batch, (place, weight)));
                }
                Ok(None) => {}
                Err(fault) => {
                    tracing::warn!(%fault, mapping = self.row.uuid, "a queue cannot be read");
                    pause(&cx, &mut wait_ms).await;
                }
            }
        }
    }

    /// The context of a batch that is yet to come; `None` when the platform stops.
    fn cx(&self) -> Option<Cx> {
        let platform = self.lambda.upgrade()?.platform.clone();
        let trace = Trace::begin(platform.clock.now(), &platform.random);
        Some(Cx::internal(platform, &self.row.account, &self.row.region, trace))
    }

    /// The context of a batch: it goes on in the trace of its first message.
    fn cx_of(&self, cx: Cx, batch: &Batch) -> Cx {
        let trace = batch.items.first().and_then(|item| Trace::parse(&item.trace));
        match trace {
            Some(trace) => Cx::internal(cx.platform().clone(), &self.row.account, &self.row.region, trace),
            None => cx,
        }
    }

    /// Runs the function with a batch and deletes what is done with.
    async fn work(
        self: Arc<Self>,
        cx: Cx,
        batch: Batch,
        _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) {
        let (batch, unwanted) = batch.split(|record| self.filters.let_message_in(record));
        if let Some(lambda) = self.lambda.upgrade() {
            journey::note_filtered(&lambda, &cx, &self.row, &unwanted);
        }
        self.delete(&cx, unwanted.receipts()).await;
        if batch.items.is_empty() {
            return;
        }
        let cx = self.cx_of(cx, &batch);
        let began = Instant::now();
        let (done, detail) = self.invoke(&cx, &batch).await;
        let ended = Ended { done, detail, began };
        if let Some(lambda) = self.lambda.upgrade() {
            journey::note(&lambda, &cx, &self.row, &batch, &ended);
        }
        self.delete(&cx, ended.done).await;
    }

    /// The receipts of the messages that are done with, and for people how it went.
    async fn invoke(&self, cx: &Cx, batch: &Batch) -> (Vec<String>, Result<String, String>) {
        let none = |reason: &str| (Vec::new(), Err(reason.to_string()));
        let visible_again = self.visible_again(cx);
        let mut wait_ms = FIRST_WAIT_MS;
        loop {
            let Some(lambda) = self.lambda.upgrade() else { return none("the platform is ending") };
            let Ok(named) = Named::read(cx, &self.row.function_arn, None) else {
                return none("the mapping names no function");
            };
            let call = Call { payload: batch.event(), ..Call::new(cx.random().uuid()) };
            match lambda.run(cx, &named, call).await {
                Ok((_, ran)) if ran.function_error.is_some() => {
                    return none(&String::from_utf8_lossy(&ran.payload));
                }
                Ok((_, ran)) if self.row.reports_failures => {
                    return (answer::done(&ran.payload, batch), Ok(ran.told()));
                }
                Ok((_, ran)) => return (batch.receipts(), Ok(ran.told())),
                Err(fault) if fault.code() == "TooManyRequestsException" => {
                    drop(lambda);
                    if cx.now().millis() + wait_ms >= visible_again.millis() {
                        return none("the function was throttled until the messages' visibility ended");
                    }
                    pause(cx, &mut wait_ms).await;
                }
                Err(fault) => {
                    tracing::warn!(%fault, mapping = self.row.uuid, "a function could not be run");
                    return none(&fault.to_string());
                }
            }
        }
    }

    /// Until when messages received now are nobody else's.
    fn visible_again(&self, cx: &Cx) -> Timestamp {
        let visibility_s = self.queues.describe(&self.row.source_arn).map_or(0, |queue| queue.visibility_s);
        Timestamp::from_millis(cx.now().millis() + visibility_s * 1000)
    }

    async fn delete(&self, cx: &Cx, receipts: Vec<String>) {
        if receipts.is_empty() {
            return;
        }
        if let Err(fault) = self.queues.delete(cx, &self.row.source_arn, &receipts).await {
            tracing::warn!(%fault, mapping = self.row.uuid, "messages that are done with were not deleted");
        }
    }
}

async fn pause(cx: &Cx, wait_ms: &mut i64) {
    let until = Timestamp::from_millis(cx.now().millis() + *wait_ms);
    cx.clock().sleep_until(until).await;
    *wait_ms = (*wait_ms * 2).min(LAST_WAIT_MS);
}

/// Longer than any reader lives: it is woken by a message, not by time.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
