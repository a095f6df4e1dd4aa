//! What the engine asks of services: targets take events, routes attempt rows.

use futures::future::BoxFuture;
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_store::{Batch, Seq};

use crate::{Event, Handover, engine::PENDING};

/// A service whose resources events can be sent to; registered under the service's name in ARNs.
pub trait Target: Send + Sync {
    /// The row in which the resource takes the event, with the resource's own policy. Faults are the sender's to
    /// handle: the resource does not exist, may not be used or does not take such events.
    fn accept(&self, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault>;

    /// Takes the event right away, in rows of its own that it puts into the sender's batch (with `put_in`): then the
    /// sender's acknowledgement covers the arrival, and no hand-over is needed. `None`, as by default: the event has to
    /// be handed over. A target that keeps an order must not do this, for batches of several senders overtake each other.
    fn take(
        &self,
        _cx: &Cx,
        _target: &Arn,
        _event: &Event,
        _batch: &mut Batch,
    ) -> Result<Option<Box<dyn Taken>>, Fault> {
        Ok(None)
    }
}

/// What a target took in a sender's batch. Dropped when the batch is refused: then nothing happened.
pub trait Taken: Send {
    /// The batch was submitted with this sequence; once that is durable, others may see what was taken.
    fn submitted(self: Box<Self>, seq: Seq);
}

/// One kind of hop; registered under the name that its rows carry.
pub trait Route: Send + Sync {
    /// Which rows wait for each other.
    fn lane(&self, handover: &Handover) -> Lane;

    /// Tries once. Runs in a task of its own and may take as long as the target does; it is never cancelled except by
    /// the end of the process, after which it is tried again.
    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome>;

    /// What follows when an event is given up: its dead letter, its failure destination. These rows are durable
    /// together with the removal of the given-up one.
    fn exhausted(&self, cx: &Cx, handover: &Handover, reason: &str) -> Vec<Handover>;
}

/// Rows of one lane share a limit, so that a slow target holds up nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub key: String,
    /// Attempts at the same time; at least 1. With 1 the rows go in the order they were accepted and wait for a failing
    /// one ahead of them.
    pub width: usize,
}

/// One try of a row.
pub struct Attempt<'a> {
    pub handover: &'a Handover,
    /// 1 for the first try.
    pub number: u32,
    pub removal: Removal,
}

/// The right to take the row away. A target inside the platform puts it into the batch in which it takes the event, so
/// that the hand-over happens exactly once.
pub struct Removal {
    pub(crate) partition: tidemill_store::Partition,
    pub(crate) id: u64,
}

impl Removal {
    pub fn add_to(&self, batch: &mut Batch) {
        batch.delete_in(self.partition, &PENDING, &self.id);
    }
}

/// What an attempt came to.
pub enum Outcome {
    /// Done. `detail` is for the ledger; `then` are hand-overs that follow from it (a success destination).
    Delivered { detail: String, then: Vec<Handover> },
    /// Done, and the row's removal is part of the batch with this sequence.
    Taken { detail: String, seq: Seq },
    /// Try again. `counts` is false for throttles, which only the age limit ends; `after_ms` overrides the policy.
    Retry { reason: String, counts: bool, after_ms: Option<i64> },
    /// No further attempt can help.
    GiveUp { reason: String },
}
