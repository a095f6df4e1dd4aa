//! Queues as targets of events: standard ones take an event in the sender's own batch, FIFO ones by a hand-over whose
//! row goes away in the very batch in which the message arrives. Either way it arrives exactly once.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_delivery::{
    Attempt, Event, Handover, Lane, Outcome, Policy, Route, Taken, Target, policy::Backoff,
};
use tidemill_platform::{Arn, Cx, Fault, Trace};
use tidemill_store::{Batch, Seq};

use crate::{
    Sqs,
    sending::{Outgoing, check, with_content_dedup},
    state::{Attribute, MESSAGES, MessageRow, Queue, no_queue},
};

pub const ROUTE: &str = "sqs.queue";

pub struct Queues(pub Arc<Sqs>);

impl Queues {
    fn find(&self, target: &Arn) -> Result<Arc<Queue>, Fault> {
        self.0.by_parts(target).ok_or_else(no_queue)
    }
}

impl Target for Queues {
    fn accept(&self, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault> {
        let queue = self.find(target)?;
        if queue.is_fifo {
            // What is refused only later has no way back to its sender's dead-letter queue.
            check(&queue, &outgoing(&event.payload, &event.attributes, &event.source, ""))?;
        }
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
        let queue = self.find(target)?;
        if queue.is_fifo {
            return Ok(None);
        }
        let trace = printed(&event.trace);
        let message = outgoing(&event.payload, &event.attributes, &event.source, &trace);
        check(&queue, &message)?;
        let now = cx.now().millis();
        self.0.warm(&queue, now)?;
        let number = self.0.number(now);
        let visible_at = now + message.delay_s.map_or(queue.row.read().settings.delay_s, i64::from) * 1000;
        let row = MessageRow {
            id: cx.random().uuid(),
            body: message.body,
            attributes: message.attributes,
            trace_header: message.trace_header,
            sender: message.sender,
            sent_at: now,
            visible_at,
            group: message.group,
            dedup: None,
            source: None,
            trace,
            unsigned: message.unsigned,
        };
        batch.add_in(queue.partition, &MESSAGES, &(queue.id, number), &row);
        Ok(Some(Box::new(Arriving { sqs: self.0.clone(), queue, number, visible_at })))
    }
}

/// A message in a batch that has not been submitted yet.
struct Arriving {
    sqs: Arc<Sqs>,
    queue: Arc<Queue>,
    number: u64,
    visible_at: i64,
}

impl Taken for Arriving {
    fn submitted(self: Box<Self>, _: Seq) {
        // Receivers wait by themselves until what they show is durable.
        let now = self.sqs.platform.clock.now().millis();
        match self.sqs.hot(&self.queue, now) {
            Ok(mut hot) => {
                hot.machine.insert(self.number, None, self.visible_at, now);
                self.sqs.plan(&self.queue, &mut hot);
            }
            Err(fault) => tracing::error!(%fault, "a queue cannot be read"),
        }
        self.queue.arrived.notify_one();
    }
}

impl Route for Queues {
    fn lane(&self, handover: &Handover) -> Lane {
        let group = handover.attributes.get("message-group-id").map(String::as_str).unwrap_or_default();
        Lane { key: format!("{}#{group}", handover.target), width: 1 }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let put = || -> Result<Seq, Fault> {
                let arn: Arn = handover.target.parse().map_err(|_| no_queue())?;
                let queue = self.find(&arn)?;
                let trace = handover.trace().to_string();
                let message = outgoing(&handover.payload, &handover.attributes, &handover.source, &trace);
                check(&queue, &message)?;
                let message = with_content_dedup(&queue, message);
                let mut batch = Batch::new(queue.partition);
                attempt.removal.add_to(&mut batch);
                let (_, ticket) = self
                    .0
                    .put_into(cx, &queue, vec![message], &mut batch, |batch| self.0.platform.submit(batch))?;
                Ok(ticket.seq())
            };
            match put() {
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

fn printed(trace: &Trace) -> String {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "{trace}");
    text
}

/// The message that an event becomes.
fn outgoing(payload: &Bytes, attributes: &BTreeMap<String, String>, source: &str, trace: &str) -> Outgoing {
    let of = |name: &str| attributes.get(name).cloned();
    Outgoing {
        body: match std::str::from_utf8(payload) {
            Ok(text) => text.to_string(),
            Err(_) => String::from_utf8_lossy(payload).into_owned(),
        },
        delay_s: of("delay-seconds").and_then(|text| text.parse().ok()),
        attributes: of("message-attributes").map(|text| typed(&text)).unwrap_or_default(),
        trace_header: (!trace.is_empty() && trace.contains("Root=")).then(|| trace.to_string()),
        group: of("message-group-id"),
        dedup: of("message-deduplication-id"),
        sender: source.into(),
        trace: trace.into(),
        unsigned: attributes.contains_key("unsigned"),
    }
}

fn typed(text: &str) -> BTreeMap<String, Attribute> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let given: Value = serde_json::from_str(text).unwrap_or_default();
    let member = |one: &Value, name: &str| one[name].as_str().map(String::from);
    let read = |(name, one): (&String, &Value)| {
        let attribute = Attribute {
            data_type: member(one, "DataType").unwrap_or_else(|| "String".into()),
            text: member(one, "StringValue"),
            binary: member(one, "BinaryValue")
                .and_then(|text| BASE64_STANDARD.decode(text).ok())
                .map(Bytes::from),
        };
        (name.clone(), attribute)
    };
    given.as_object().into_iter().flatten().map(read).collect()
}
