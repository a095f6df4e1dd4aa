//! A pipe's hops in the ledger of what became of events: into the pipe, to the enrichment, to the target. What crate
//! `delivery` notes by itself (streams that are read) is left to it. The lines wait for a batch that is written anyway;
//! those of one event that come together share a row.

use parking_lot::Mutex;
use tidemill_delivery::{Fate, Step};
use tidemill_platform::{Cx, Fault, Trace};
use tidemill_store::{Batch, Partition};

use crate::{
    Pipes,
    execution::Item,
    plan::{Plan, Source},
    sending::{Outgoing, Sent},
    target::Target,
};

pub struct Journey<'a> {
    pipes: &'a Pipes,
    plan: &'a Plan,
    cx: &'a Cx,
    waiting: Mutex<Vec<Fate>>,
}

impl<'a> Journey<'a> {
    pub fn new(pipes: &'a Pipes, plan: &'a Plan, cx: &'a Cx) -> Journey<'a> {
        Journey { pipes, plan, cx, waiting: Mutex::default() }
    }

    /// The pipe took events from its source.
    pub fn arrived(&self, items: &[Item]) {
        if matches!(self.plan.source, Source::Queue(_)) {
            let (from, to) = (&self.plan.source_arn, &self.plan.arn);
            self.note(items.iter().map(|item| self.fate(&item.id, &item.trace, from, to, None)));
        }
    }

    /// An enrichment had events, or failed.
    pub fn enriched(&self, items: &[Item], enrichment: &str, failure: Option<&str>) {
        let from = &self.plan.arn;
        self.note(items.iter().map(|item| self.fate(&item.id, &item.trace, from, enrichment, failure)));
    }

    /// The target had its turn; what crate `delivery` delivered is noted already.
    pub fn sent(&self, events: &[Outgoing], sent: &Sent) {
        let is_noted = match &self.plan.target {
            Target::Function { waits } => !waits,
            Target::Queue { is_fifo, .. } => !is_fifo,
            Target::Topic | Target::Bus(_) => true,
            Target::LogGroup { .. } | Target::Destination(_) => false,
        };
        let target = self.plan.target_arn.to_string();
        let fate = |event: &Outgoing| {
            let failure = failure(sent, event);
            let id = event.origin.as_deref().unwrap_or_else(|| self.cx.request_id());
            (failure.is_some() || !is_noted)
                .then(|| self.fate(id, &event.trace, &self.plan.arn, &target, failure))
        };
        self.note(events.iter().filter_map(fate));
    }

    /// Puts what waits and what was delivered into the batch of the delivery.
    pub fn write_into(&self, batch: &mut Batch, delivered: Vec<Fate>) {
        let mut fates = std::mem::take(&mut *self.waiting.lock());
        fates.extend(delivered);
        self.pipes.delivery.ledger().record_all(batch, fates);
    }

    /// Writes what still waits.
    pub fn end(&self) {
        if self.waiting.lock().is_empty() {
            return;
        }
        let mut batch = Batch::new(Partition::of(&self.plan.arn));
        self.write_into(&mut batch, Vec::new());
        // The ledger tells of what happened; it does not decide. A full disk costs its lines, not the events.
        let _: Result<_, Fault> = self.pipes.platform.submit(batch);
    }

    /// Events without a trace leave nothing.
    fn note(&self, fates: impl Iterator<Item = Fate>) {
        self.waiting.lock().extend(fates.filter(|fate| !fate.trace.is_empty()));
    }

    fn fate(&self, id: &str, trace: &Trace, source: &str, target: &str, failure: Option<&str>) -> Fate {
        Fate {
            at: self.cx.now().millis(),
            event: id.into(),
            trace: trace.root.clone(),
            source: source.into(),
            target: target.into(),
            via: self.plan.arn.clone(),
            step: if failure.is_some() { Step::Failed } else { Step::Delivered },
            detail: failure.unwrap_or_default().into(),
            attempt: 1,
            took_us: 0,
        }
    }
}

/// Why an event was not taken.
fn failure<'s>(sent: &'s Sent, event: &Outgoing) -> Option<&'s str> {
    match sent {
        Sent::All => None,
        Sent::Except { failed, reason } => {
            event.origin.as_ref().filter(|id| failed.contains(id)).map(|_| reason.as_str())
        }
        Sent::Failed { reason } | Sent::Throttled { reason } => Some(reason),
    }
}
