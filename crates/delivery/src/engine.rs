//! The engine: takes staged rows once they are durable, runs their attempts lane by lane, and decides what follows.
//! Nothing polls: a row is run when it is released, when its lane has room, or when its timer fires.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tidemill_platform::{Arn, Cx, Fault, Platform, Timers, Timestamp};
use tidemill_store::{Batch, Damaged, Partition, Seq, Table};

use crate::{
    Attempt, Event, Fate, Handover, Outcome, Removal, Route, Step, Taken, Target,
    lane::{Lanes, Pending},
    ledger::Ledger,
    policy,
};

/// Id → row, in the partition of the target's ARN. Ids grow with time, so their order is that of acceptance.
pub(crate) const PENDING: Table<u64, Handover> = Table::new("delivery.pending");

/// Bytes of rows that memory keeps beside the store; further ones are read again when their turn comes.
const KEPT_BYTES: usize = 64 << 20;

/// The delivery engine. Clones share it.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    platform: Arc<Platform>,
    targets: RwLock<FxHashMap<String, Arc<dyn Target>>>,
    routes: RwLock<HashMap<String, Arc<dyn Route>>>,
    lanes: Lanes,
    timers: OnceLock<Timers<Pending>>,
    ledger: Ledger,
    next_id: AtomicU64,
    kept_bytes: AtomicUsize,
}

/// A row in a batch that has not been submitted yet. Dropping it forgets nothing but the row's place in memory: if the
/// batch is refused, nothing happened.
#[must_use = "release it when the batch is submitted"]
pub struct Staged(Stage);

enum Stage {
    Row { delivery: Delivery, id: u64, partition: Partition, handover: Box<Handover> },
    Taken(Box<dyn Taken>),
}

impl Delivery {
    /// Opens the engine over the platform's store. Rows left from before are attempted after [`Delivery::start`].
    pub fn open(platform: &Arc<Platform>) -> Result<Delivery, Damaged> {
        let ledger = Ledger::open(&platform.store)?;
        let inner = Arc::new(Inner {
            platform: platform.clone(),
            targets: RwLock::default(),
            routes: RwLock::default(),
            lanes: Lanes::default(),
            timers: OnceLock::new(),
            ledger,
            next_id: AtomicU64::new(0),
            kept_bytes: AtomicUsize::new(0),
        });
        Ok(Delivery(inner))
    }

    /// Registers the targets of a service, by its name in ARNs (`lambda`, `sqs`).
    pub fn target(&self, service: &str, target: Arc<dyn Target>) {
        self.0.targets.write().insert(service.into(), target);
    }

    /// Registers a kind of hop by the name its rows carry.
    pub fn route(&self, name: &str, route: Arc<dyn Route>) {
        self.0.routes.write().insert(name.into(), route);
    }

    /// Begins to attempt rows, first those that an earlier run left. To be called once all routes are registered.
    pub fn start(&self) -> Result<(), Damaged> {
        let engine = self.clone();
        let timers = Timers::new(self.0.platform.clock.clone(), move |pending| engine.enter(pending));
        if self.0.timers.set(timers).is_err() {
            return Ok(());
        }
        let mut left = Vec::new();
        for partition in Partition::ALL {
            self.0.platform.store.scan(&PENDING, partition, .., |id, handover| {
                left.push((id, partition, handover));
                std::ops::ControlFlow::Continue(())
            })?;
        }
        left.sort_by_key(|(id, ..)| *id);
        if let Some((last, ..)) = left.last() {
            self.0.next_id.fetch_max(last + 1, Ordering::Relaxed);
        }
        for (id, partition, handover) in left {
            self.schedule(id, partition, Seq::ZERO, handover);
        }
        Ok(())
    }

    /// The ledger, for services that note what happened or why an event went no further.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// Sends an event to whatever `target` names: the rows in which it arrives, or is handed over, go into `batch`.
    pub fn deliver(&self, cx: &Cx, batch: &mut Batch, target: &Arn, event: Event) -> Result<Staged, Fault> {
        let (staged, fate) = self.deliver_untold(cx, batch, target, event)?;
        self.0.ledger.record(batch, &fate);
        Ok(staged)
    }

    /// The same for senders that tell the ledger of many steps at once ([`Ledger::record_all`]): gives the step.
    pub fn deliver_untold(
        &self,
        cx: &Cx,
        batch: &mut Batch,
        target: &Arn,
        event: Event,
    ) -> Result<(Staged, Fate), Fault> {
        let taker = self.taker(target)?;
        let Some(taken) = taker.take(cx, target, &event, batch)? else {
            let handover = taker.accept(cx, target, event)?;
            let fate = self.fate(&handover, Step::Accepted, String::new(), 0, 0);
            return Ok((self.stage_untold(batch, handover), fate));
        };
        let fate = Fate {
            at: cx.now().millis(),
            event: event.id,
            trace: event.trace.root,
            source: event.source,
            target: printed(target),
            via: event.via,
            step: Step::Delivered,
            detail: String::new(),
            attempt: 1,
            took_us: 0,
        };
        Ok((Staged(Stage::Taken(taken)), fate))
    }

    /// The row in which `target` would take an event, for those who stage it themselves.
    pub fn accept(&self, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault> {
        self.taker(target)?.accept(cx, target, event)
    }

    fn taker(&self, target: &Arn) -> Result<Arc<dyn Target>, Fault> {
        let taker = self.0.targets.read().get(&target.service).cloned();
        taker.ok_or_else(|| Fault::not_implemented(format!("delivery to {}", target.service)))
    }

    /// Whether a service takes events at all.
    pub fn takes(&self, service: &str) -> bool {
        self.0.targets.read().contains_key(service)
    }

    /// Puts a row into the batch of the fact it tells of.
    pub fn stage(&self, batch: &mut Batch, handover: Handover) -> Staged {
        self.record(batch, &handover, Step::Accepted, String::new(), 0, 0);
        self.stage_untold(batch, handover)
    }

    fn stage_untold(&self, batch: &mut Batch, handover: Handover) -> Staged {
        let partition = Partition::of(&handover.target);
        let id = self.fresh_id();
        batch.add_in(partition, &PENDING, &id, &handover);
        Staged(Stage::Row { delivery: self.clone(), id, partition, handover: Box::new(handover) })
    }

    fn fresh_id(&self) -> u64 {
        let by_time = (self.0.platform.clock.now().millis().unsigned_abs()) << 20;
        let next = &self.0.next_id;
        next.fetch_max(by_time, Ordering::Relaxed);
        next.fetch_add(1, Ordering::Relaxed)
    }

    fn schedule(&self, id: u64, partition: Partition, seq: Seq, handover: Handover) {
        let Some(route) = self.0.routes.read().get(&handover.route).cloned() else {
            tracing::error!(
                route = handover.route,
                target = handover.target,
                "a hand-over waits for a route nobody registered"
            );
            return;
        };
        let lane = route.lane(&handover);
        let due_at = handover.due_at;
        let kept = self.0.kept_bytes.load(Ordering::Relaxed) < KEPT_BYTES;
        if kept {
            self.0.kept_bytes.fetch_add(handover.weight(), Ordering::Relaxed);
        }
        let pending = Pending {
            id,
            partition,
            seq,
            lane: self.0.lanes.name(&lane),
            width: lane.width,
            handover: kept.then(|| Arc::new(handover)),
        };
        if due_at > self.0.platform.clock.now().millis() {
            self.wait_until(due_at, pending);
        } else {
            self.enter(pending);
        }
    }

    fn wait_until(&self, due_at: i64, pending: Pending) {
        if let Some(timers) = self.0.timers.get() {
            timers.set(Timestamp::from_millis(due_at), pending);
        }
    }

    fn enter(&self, pending: Pending) {
        if let Some(pending) = self.0.lanes.enter(pending) {
            self.spawn(pending);
        }
    }

    fn spawn(&self, pending: Pending) {
        let engine = self.clone();
        tokio::spawn(async move {
            let mut next = Some(pending);
            while let Some(pending) = next {
                let lane = pending.lane.clone();
                engine.run(pending).await;
                next = engine.0.lanes.leave(&lane);
            }
        });
    }

    /// One row, from its turn to its end or its next wait. In a lane of width 1 the wait is sat out here, so that the
    /// rows behind keep their order.
    async fn run(&self, mut pending: Pending) {
        self.0.platform.store.durable(pending.seq).await;
        loop {
            let Some(handover) = self.load(&mut pending) else { return };
            match self.attempt(&pending, &handover).await {
                None => return self.forget(pending),
                Some(again) => {
                    let due_at = again.due_at;
                    pending.handover = pending.handover.is_some().then(|| Arc::new(again));
                    if pending.width > 1 {
                        return self.wait_until(due_at, pending);
                    }
                    self.0.platform.clock.sleep_until(Timestamp::from_millis(due_at)).await;
                }
            }
        }
    }

    /// The row, from memory or from the store; `None` when it is gone.
    fn load(&self, pending: &mut Pending) -> Option<Arc<Handover>> {
        if let Some(handover) = &pending.handover {
            return Some(handover.clone());
        }
        match self.0.platform.store.get(&PENDING, pending.partition, &pending.id) {
            Ok(found) => found.map(|found| Arc::new(found.value)),
            Err(damaged) => {
                tracing::error!(%damaged, "a hand-over cannot be read back");
                None
            }
        }
    }

    fn forget(&self, pending: Pending) {
        if let Some(handover) = pending.handover {
            self.0.kept_bytes.fetch_sub(handover.weight(), Ordering::Relaxed);
        }
    }

    /// Tries once and makes the outcome durable. Gives the row back when it is to be tried again.
    async fn attempt(&self, pending: &Pending, handover: &Arc<Handover>) -> Option<Handover> {
        let route = self.0.routes.read().get(&handover.route).cloned()?;
        let target: Option<Arn> = handover.target.parse().ok();
        let config = &self.0.platform.config;
        let account = target.as_ref().map_or(config.account.as_str(), |arn| arn.account.as_str());
        let region = target.as_ref().map_or(config.region.as_str(), |arn| arn.region.as_str());
        let cx = self.0.platform.cx(account, region, handover.trace());
        let removal = Removal { partition: pending.partition, id: pending.id };
        let began = Instant::now();
        let number = handover.tries + 1;
        let outcome = route.attempt(&cx, Attempt { handover, number, removal }).await;
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.settle(&cx, &*route, pending, handover, outcome, took_us).await
    }

    async fn settle(
        &self,
        cx: &Cx,
        route: &dyn Route,
        pending: &Pending,
        handover: &Handover,
        outcome: Outcome,
        took_us: u64,
    ) -> Option<Handover> {
        let mut batch = Batch::new(pending.partition);
        let (mut staged, mut again) = (Vec::new(), None);
        match outcome {
            Outcome::Taken { detail, seq } => {
                self.0.platform.store.durable(seq).await;
                self.record(&mut batch, handover, Step::Delivered, detail, handover.tries + 1, took_us);
            }
            Outcome::Delivered { detail, then } => {
                batch.delete(&PENDING, &pending.id);
                self.record(&mut batch, handover, Step::Delivered, detail, handover.tries + 1, took_us);
                staged.extend(then.into_iter().map(|row| self.stage(&mut batch, row)));
            }
            Outcome::Retry { reason, counts, after_ms } => {
                self.record(&mut batch, handover, Step::Failed, reason.clone(), handover.tries + 1, took_us);
                match self.next_try(handover, counts, after_ms) {
                    Some(next) => {
                        batch.put(&PENDING, &pending.id, &next);
                        again = Some(next);
                    }
                    None => staged = self.give_up(cx, route, pending, handover, &reason, &mut batch),
                }
            }
            Outcome::GiveUp { reason } => {
                self.record(&mut batch, handover, Step::Failed, reason.clone(), handover.tries + 1, took_us);
                staged = self.give_up(cx, route, pending, handover, &reason, &mut batch);
            }
        }
        self.submit(batch, staged).await;
        again
    }

    /// A refused batch (no space) is tried again until there is: the outcome stands, only its record waits.
    async fn submit(&self, batch: Batch, staged: Vec<Staged>) {
        loop {
            match self.0.platform.store.submit(batch.clone()) {
                Ok(ticket) => {
                    let seq = ticket.seq();
                    staged.into_iter().for_each(|row| row.release(seq));
                    return;
                }
                Err(refused) => {
                    tracing::warn!(%refused, "the outcome of a delivery cannot be recorded yet");
                    self.0.platform.clock.sleep(1000).await;
                }
            }
        }
    }

    /// The row for the next attempt, or `None` when policy says that was the last.
    fn next_try(&self, handover: &Handover, counts: bool, after_ms: Option<i64>) -> Option<Handover> {
        let mut next = handover.clone();
        next.tries += 1;
        next.attempts += u32::from(counts);
        if next.attempts >= next.policy.max_attempts {
            return None;
        }
        let now = self.0.platform.clock.now().millis();
        let by_policy = if counts {
            next.policy.wait_ms(next.attempts, &self.0.platform.random)
        } else {
            policy::throttle_wait_ms(next.tries - next.attempts)
        };
        next.due_at = now.saturating_add(after_ms.unwrap_or(by_policy));
        let ends_at = next.accepted_at.saturating_add(next.policy.max_age_s.saturating_mul(1000));
        (next.due_at <= ends_at).then_some(next)
    }

    fn give_up(
        &self,
        cx: &Cx,
        route: &dyn Route,
        pending: &Pending,
        handover: &Handover,
        reason: &str,
        batch: &mut Batch,
    ) -> Vec<Staged> {
        batch.delete(&PENDING, &pending.id);
        let follow = route.exhausted(cx, handover, reason);
        let step = if follow.is_empty() { Step::Dropped } else { Step::DeadLettered };
        self.record(batch, handover, step, reason.to_string(), handover.tries + 1, 0);
        follow.into_iter().map(|row| self.stage(batch, row)).collect()
    }

    fn record(
        &self,
        batch: &mut Batch,
        handover: &Handover,
        step: Step,
        detail: String,
        attempt: u32,
        took_us: u64,
    ) {
        self.0.ledger.record(batch, &self.fate(handover, step, detail, attempt, took_us));
    }

    fn fate(&self, handover: &Handover, step: Step, detail: String, attempt: u32, took_us: u64) -> Fate {
        Fate {
            at: self.0.platform.clock.now().millis(),
            event: handover.event_id.clone(),
            trace: handover.trace().root,
            source: handover.source.clone(),
            target: handover.target.clone(),
            via: handover.via.clone(),
            step,
            detail,
            attempt,
            took_us,
        }
    }
}

/// An ARN's text in one allocation: it is made for every delivery.
fn printed(arn: &Arn) -> String {
    let mut text = String::with_capacity(96);
    let _ = write!(text, "{arn}");
    text
}

impl Staged {
    /// Lets the row be attempted as soon as the sequence of its batch is durable. To be called right after the batch was
    /// submitted, with no `await` in between: the caller of a handler may go away at any of those.
    pub fn release(self, seq: Seq) {
        match self.0 {
            Stage::Row { delivery, id, partition, handover } => {
                delivery.schedule(id, partition, seq, *handover);
            }
            Stage::Taken(taken) => taken.submitted(seq),
        }
    }
}
