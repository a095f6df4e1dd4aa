//! Queues as sources: one reader a pipe gathers batches, several of which run at the same time. A reader without messages
//! waits inside the queue and is woken by the next one. Messages are deleted when the target has them; those that failed
//! stay in flight until their visibility timeout ends.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tidemill_platform::{Cx, Fault, Platform, doors::Queues};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    Pipes,
    execution::{Item, execute},
    gather::{Gather, Message},
    plan::{Plan, Source},
    sending::Sent,
};

/// Batches of one pipe at the same time.
const AT_ONCE: usize = 100;
/// Messages held by all pipes together, in KiB.
const HELD_KIB: usize = 128 << 10;
/// The wait after a throttled batch, or when a queue cannot be read: doubles from the first to the last.
const FIRST_WAIT_MS: i64 = 500;
const LAST_WAIT_MS: i64 = 60_000;

/// The readers of all pipes that run, by the pipe's id. A reader whose sender is dropped brings what it has received on
/// its way and ends.
pub struct Readers {
    running: Mutex<HashMap<String, oneshot::Sender<()>>>,
    held: Arc<Semaphore>,
}

impl Default for Readers {
    fn default() -> Readers {
        Readers { running: Mutex::default(), held: Arc::new(Semaphore::new(HELD_KIB)) }
    }
}

impl Readers {
    /// Begins to read, or begins anew with changed settings. Batches that run already go on.
    pub fn run(&self, pipes: &Pipes, plan: Arc<Plan>) -> Result<(), Fault> {
        let Source::Queue(queue) = &plan.source else { return Ok(()) };
        let queues = pipes.platform.doors.queues.ask("SQS")?.clone();
        let (running, stopped) = oneshot::channel();
        self.running.lock().insert(plan.id.clone(), running);
        let gather = Gather::new(&plan, queue);
        let (pipes, platform) = (pipes.me.clone(), pipes.platform.clone());
        let reader = Arc::new(Reader { pipes, platform, queues, plan, held: self.held.clone() });
        tokio::spawn(reader.read(gather, stopped));
        Ok(())
    }

    pub fn stop(&self, id: &str) {
        self.running.lock().remove(id);
    }
}

struct Reader {
    pipes: Weak<Pipes>,
    platform: Arc<Platform>,
    queues: Arc<dyn Queues>,
    plan: Arc<Plan>,
    held: Arc<Semaphore>,
}

impl Reader {
    async fn read(self: Arc<Self>, mut gather: Gather, mut stopped: oneshot::Receiver<()>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut wait_ms = FIRST_WAIT_MS;
        loop {
            let cx = self.plan.cx(&self.platform, None);
            let place = tokio::select! {
                biased;
                _ = &mut stopped => return,
                place = places.clone().acquire_owned() => place,
            };
            let Ok(place) = place else { return };
            let waited = tokio::select! {
                biased;
                _ = &mut stopped => None,
                waited = gather.wait(&cx, &*self.queues) => Some(waited),
            };
            match waited {
                None => return self.begin(gather.take(&cx), place).await,
                Some(Ok(())) => {
                    wait_ms = FIRST_WAIT_MS;
                    self.begin(gather.take(&cx), place).await;
                }
                Some(Err(fault)) => {
                    tracing::warn!(%fault, pipe = self.plan.arn, "a queue cannot be read");
                    tokio::select! {
                        _ = &mut stopped => return,
                        () = pause(&cx, &mut wait_ms) => {}
                    }
                }
            }
            if self.queues.describe(&self.plan.source_arn).is_none() {
                return self.source_is_gone();
            }
        }
    }

    /// Nothing can wake a reader whose queue is gone: the pipe stops and says why.
    fn source_is_gone(&self) {
        let Some(pipes) = self.pipes.upgrade() else { return };
        pipes.stop_because(&self.plan.arn, &self.plan.id, "The source queue does not exist.");
    }

    /// Lets a batch run by itself, once there is room for it.
    async fn begin(self: &Arc<Self>, messages: Vec<Message>, place: OwnedSemaphorePermit) {
        if messages.is_empty() {
            return;
        }
        let bytes: usize = messages.iter().map(|message| message.bytes).sum();
        let kib = u32::try_from((bytes / 1024 + 1).min(HELD_KIB)).unwrap_or(u32::MAX);
        let Ok(weight) = self.held.clone().acquire_many_owned(kib).await else { return };
        tokio::spawn(self.clone().work(messages, (place, weight)));
    }

    async fn work(
        self: Arc<Self>,
        messages: Vec<Message>,
        _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    ) {
        let (wanted, unwanted): (Vec<Message>, Vec<Message>) =
            messages.into_iter().partition(|message| self.plan.filters.want(&message.item.event));
        let trace = wanted.first().map(|message| message.item.trace.clone());
        let cx = self.plan.cx(&self.platform, trace);
        self.delete(&cx, unwanted.into_iter().map(|message| message.receipt).collect()).await;
        if wanted.is_empty() {
            return;
        }
        let (items, receipts): (Vec<Item>, Vec<String>) =
            wanted.into_iter().map(|message| (message.item, message.receipt)).unzip();
        let sent = self.execute(&cx, &items).await;
        let is_done = |item: &Item| match &sent {
            Sent::All => true,
            Sent::Except { failed, .. } => !failed.contains(&item.id),
            Sent::Failed { .. } | Sent::Throttled { .. } => false,
        };
        let done = items.iter().zip(receipts).filter(|(item, _)| is_done(item));
        self.delete(&cx, done.map(|(_, receipt)| receipt).collect()).await;
    }

    /// Tries again while it is throttled and the messages are nobody else's.
    async fn execute(&self, cx: &Cx, items: &[Item]) -> Sent {
        let visibility_s = self.queues.describe(&self.plan.source_arn).map_or(0, |queue| queue.visibility_s);
        let visible_again = cx.now().millis() + visibility_s * 1000;
        let mut wait_ms = FIRST_WAIT_MS;
        loop {
            let Some(pipes) = self.pipes.upgrade() else {
                return Sent::Throttled { reason: "the platform stops".into() };
            };
            let sent = execute(&pipes, &self.plan, cx, items).await;
            drop(pipes);
            let throttled = matches!(sent, Sent::Throttled { .. });
            if !throttled || cx.now().millis() + wait_ms >= visible_again {
                return sent;
            }
            pause(cx, &mut wait_ms).await;
        }
    }

    async fn delete(&self, cx: &Cx, receipts: Vec<String>) {
        if receipts.is_empty() {
            return;
        }
        if let Err(fault) = self.queues.delete(cx, &self.plan.source_arn, &receipts).await {
            tracing::warn!(%fault, pipe = self.plan.arn, "messages that are done with were not deleted");
        }
    }
}

async fn pause(cx: &Cx, wait_ms: &mut i64) {
    cx.clock().sleep(*wait_ms).await;
    *wait_ms = (*wait_ms * 2).min(LAST_WAIT_MS);
}
