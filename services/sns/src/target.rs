//! Topics as targets: of S3's notifications, of rules, of functions' destinations. A standard topic publishes in the
//! sender's own batch, so that the sender's acknowledgement covers every queue behind it; a FIFO topic takes a hand-over.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tidemill_delivery::{
    Attempt, Event, Handover, Lane, Outcome, Policy, Route, Taken, Target, policy::Backoff,
};
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_store::{Batch, Seq};

use crate::{
    Sns,
    fan_out::{Accepted, Effects},
    message::{Given, Message},
    state::{Topic, no_topic},
};

pub const ROUTE: &str = "sns.topic";

pub struct Topics(pub Arc<Sns>);

impl Topics {
    fn find(&self, target: &Arn) -> Result<Arc<Topic>, Fault> {
        self.0.by_arn(&target.to_string()).ok_or_else(no_topic)
    }
}

impl Target for Topics {
    fn accept(&self, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault> {
        let topic = self.find(target)?;
        topic.row().ready(message(&event, topic.row().is_fifo)?)?;
        let policy = Policy { max_attempts: 3, max_age_s: 3600, backoff: Backoff::Fixed(vec![1, 5]) };
        Ok(Handover::new(ROUTE, target.to_string(), event, policy, cx.now()))
    }

    fn take(
        &self,
        cx: &Cx,
        target: &Arn,
        event: &Event,
        batch: &mut Batch,
    ) -> Result<Option<Box<dyn Taken>>, Fault> {
        let topic = self.find(target)?;
        if topic.row().is_fifo {
            return Ok(None);
        }
        let message = self.0.admitted(cx, &topic, message(event, false)?)?;
        let (id, mut effects) = (cx.random().uuid(), Effects::default());
        let accepted = Accepted { id: &id, message: &message, number: None, trace: &event.trace };
        self.0.fan_out(cx, &topic, &accepted, batch, &mut effects);
        self.0.delivery.ledger().record_all(batch, std::mem::take(&mut effects.fates));
        Ok(Some(Box::new(Published { cx: cx.clone(), effects })))
    }
}

struct Published {
    cx: Cx,
    effects: Effects,
}

impl Taken for Published {
    fn submitted(self: Box<Self>, seq: Seq) {
        self.effects.release(&self.cx, seq);
    }
}

/// The message that an event becomes.
fn message(event: &Event, is_fifo: bool) -> Result<Message, Fault> {
    let of = |name: &str| event.attributes.get(name).cloned();
    Message::read(Given {
        message: String::from_utf8_lossy(&event.payload).into_owned(),
        subject: of("subject"),
        structure: None,
        attributes: None,
        group: of("message-group-id"),
        dedup: of("message-deduplication-id").filter(|_| is_fifo),
    })
}

impl Route for Topics {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: 1 }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let event = Event {
                payload: handover.payload.clone(),
                attributes: handover.attributes.clone(),
                ..Event::default()
            };
            let publish = || -> Result<Seq, Fault> {
                let arn: Arn = handover.target.parse().map_err(|_| no_topic())?;
                let topic = self.find(&arn)?;
                let message = self.0.admitted(cx, &topic, message(&event, topic.row().is_fifo)?)?;
                let mut batch = Batch::new(topic.partition);
                attempt.removal.add_to(&mut batch);
                Ok(self.0.publish(cx, &topic, &[message], &handover.trace(), batch)?.1)
            };
            match publish() {
                // It was published before: only the row is left to be taken away.
                Ok(Seq::ZERO) => Outcome::Delivered { detail: "published before".into(), then: Vec::new() },
                Ok(seq) => Outcome::Taken { detail: String::new(), seq },
                Err(fault) if fault.status() >= 500 => {
                    Outcome::Retry { reason: fault.to_string(), counts: false, after_ms: None }
                }
                Err(fault) => Outcome::GiveUp { reason: fault.to_string() },
            }
        }
        .boxed()
    }

    fn exhausted(&self, _: &Cx, _: &Handover, _: &str) -> Vec<Handover> {
        Vec::new()
    }
}
