//! From one message to its subscriptions: who gets it, in what form, in the rows of one batch.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_delivery::{Event, Fate, Handover, Staged, Step};
use tidemill_event_pattern::attribute_fields;
use tidemill_platform::{Arn, Cx, Fault, Timestamp, Trace};
use tidemill_store::{Batch, Seq};

use crate::{
    Sns, endpoint,
    message::{Content, Message},
    notification::Notification,
    order, parcels,
    state::{Subscription, SubscriptionRow, Topic, TopicRow},
    status::{Ended, Status},
};

/// Attributes that a queue's message can carry; a raw message with more is not deliverable.
const MOST_RAW_ATTRIBUTES: usize = 10;
/// Characters of the message that journeys show.
const TOLD: usize = 120;
/// Stands for the subscription's ARN in a document made for many. JSON texts never have it as it is.
const BLANK: &str = "\u{1}";

/// What follows when the batch is submitted.
#[derive(Default)]
pub struct Effects {
    staged: Vec<Staged>,
    /// For the ledger, written together.
    pub fates: Vec<Fate>,
    statuses: Vec<Status>,
}

/// A message with its number, accepted by a topic.
#[derive(Clone, Copy)]
pub struct Accepted<'a> {
    pub id: &'a str,
    pub message: &'a Message,
    /// Of FIFO topics.
    pub number: Option<u64>,
    pub trace: &'a Trace,
}

impl Effects {
    /// Lets what was handed over go on its way. No `await` between submitting and this.
    pub fn release(self, cx: &Cx, seq: Seq) {
        self.staged.into_iter().for_each(|staged| staged.release(seq));
        self.statuses.iter().for_each(|status| status.write(cx));
    }
}

impl Topic {
    /// Those whose filter policies let the message through.
    fn receivers(&self, message: &Message) -> Vec<Arc<Subscription>> {
        let mut receivers: Vec<_> = self.open.read().values().cloned().collect();
        let mut ids = self.by_attributes.snapshot().matches_fields(attribute_fields(message.filtered()));
        // A body that is no JSON object passes no policy.
        ids.extend(self.by_body.matches(&message.text).unwrap_or_default());
        if !ids.is_empty() {
            let subscriptions = self.subscriptions.read();
            receivers.extend(ids.iter().filter_map(|id| subscriptions.get(&**id).cloned()));
        }
        receivers
    }
}

impl Sns {
    /// Puts the deliveries of a message into a batch.
    pub fn fan_out(
        &self,
        cx: &Cx,
        topic: &Topic,
        accepted: &Accepted<'_>,
        batch: &mut Batch,
        effects: &mut Effects,
    ) {
        let row = topic.row();
        let protected = topic.protection.read().is_some().then(|| topic.outbound(accepted.message));
        let accepted = &match &protected {
            None => *accepted,
            Some(Some(message)) => Accepted { message, ..*accepted },
            Some(None) => {
                let told = "no message for anybody: the data protection policy denies it".to_string();
                effects.fates.push(Fate::happened(cx.now(), accepted.trace, accepted.id, &row.arn, told));
                return;
            }
        };
        let receivers = topic.receivers(accepted.message);
        let told = self.told(topic, accepted.message, receivers.len());
        effects.fates.push(Fate::happened(cx.now(), accepted.trace, accepted.id, &row.arn, told));
        let notification = self.notification(cx, &row, accepted);
        let mut way = Way { cx, topic, accepted, notification, document: None };
        for subscription in receivers {
            let sent = self.send(&mut way, &subscription, batch, effects);
            if let Err(fault) = sent {
                self.undeliverable(&mut way, &subscription, &fault, batch, effects);
            }
        }
    }

    fn notification<'a>(&'a self, cx: &Cx, row: &'a TopicRow, accepted: &Accepted<'a>) -> Notification<'a> {
        Notification {
            message: accepted.message,
            id: accepted.id,
            topic_arn: &row.arn,
            at: cx.now(),
            sequence: accepted.number.map(order::printed),
            is_replayed: false,
            signature_version: row.settings.signature_version,
            base_url: cx.base_url(),
            notary: &self.notary,
            signatures: OnceCell::new(),
        }
    }

    /// The row in which a subscription gets a message of the archive again, or its dead-letter queue does.
    pub fn replayed(
        &self,
        cx: &Cx,
        topic: &Topic,
        subscription: &Subscription,
        accepted: &Accepted<'_>,
        at: Timestamp,
    ) -> Option<Handover> {
        let row = topic.row();
        let notification = Notification { at, is_replayed: true, ..self.notification(cx, &row, accepted) };
        let mut way = Way { cx, topic, accepted, notification, document: None };
        let target = subscription.target.as_ref()?;
        let taken = way.event(subscription).and_then(|event| self.delivery.accept(cx, target, event));
        taken.ok().or_else(|| {
            let queue: Arn = subscription.row.settings.dead_letter_arn.as_deref()?.parse().ok()?;
            self.delivery.accept(cx, &queue, way.event(subscription).ok()?).ok()
        })
    }

    fn told(&self, topic: &Topic, message: &Message, receivers: usize) -> String {
        let filtered = topic.by_attributes.len() + topic.by_body.len();
        let all = topic.open.read().len() + filtered;
        let beginning: String = message.text.chars().take(TOLD).collect();
        match filtered {
            0 => format!("message for {all} subscriptions: {beginning}"),
            _ => format!(
                "message for {receivers} of {all} subscriptions, by their filter policies: {beginning}"
            ),
        }
    }

    fn send(
        &self,
        way: &mut Way<'_>,
        subscription: &Subscription,
        batch: &mut Batch,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let row = &subscription.row;
        if parcels::carries(&row.protocol) {
            let handover = way.parcel(row)?;
            effects.staged.push(self.delivery.stage(batch, handover));
            return Ok(());
        }
        let event = way.event(subscription)?;
        if row.protocol.starts_with("http") {
            let policy = endpoint::policy(way.topic, subscription)?;
            let handover = endpoint::handover(way.cx, row, event, policy, "Notification");
            effects.staged.push(self.delivery.stage(batch, handover));
            return Ok(());
        }
        let target = subscription.target.as_ref().ok_or_else(no_endpoint)?;
        let (staged, fate) = self.delivery.deliver_untold(way.cx, batch, target, event)?;
        let status = if fate.step == Step::Delivered { "Message delivered" } else { "Accepted" };
        effects.statuses.extend(way.status(self, subscription, Ended::Delivered, status));
        effects.staged.push(staged);
        effects.fates.push(fate);
        Ok(())
    }

    /// To the subscription's dead-letter queue, or nowhere.
    fn undeliverable(
        &self,
        way: &mut Way<'_>,
        subscription: &Subscription,
        fault: &Fault,
        batch: &mut Batch,
        effects: &mut Effects,
    ) {
        let queue: Option<Arn> =
            subscription.row.settings.dead_letter_arn.as_deref().and_then(|arn| arn.parse().ok());
        let staged = queue.and_then(|arn| {
            let mut event = way.event(subscription).ok()?;
            event.source = subscription.row.arn.clone();
            event.via = "dead-letter queue".into();
            self.delivery.deliver(way.cx, batch, &arn, event).ok()
        });
        effects.fates.push(Fate {
            at: way.cx.now().millis(),
            event: way.accepted.id.into(),
            trace: way.accepted.trace.root.clone(),
            source: way.topic.arn.to_string(),
            target: subscription.row.endpoint.clone(),
            via: subscription.row.arn.clone(),
            step: if staged.is_some() { Step::DeadLettered } else { Step::Dropped },
            detail: fault.message().to_string(),
            attempt: 1,
            took_us: 0,
        });
        effects.statuses.extend(way.status(self, subscription, Ended::Failed, fault.message()));
        effects.staged.extend(staged);
    }
}

/// A message on its way to all its receivers.
struct Way<'a> {
    cx: &'a Cx,
    topic: &'a Topic,
    accepted: &'a Accepted<'a>,
    notification: Notification<'a>,
    /// The document for queues, before and after the subscription's ARN.
    document: Option<(String, String)>,
}

impl Way<'_> {
    fn parcel(&self, row: &SubscriptionRow) -> Result<Handover, Fault> {
        parcels::of_notification(self.cx, &self.topic.row(), &self.notification, row, self.accepted.trace)
    }

    fn event(&mut self, subscription: &Subscription) -> Result<Event, Fault> {
        let row = &subscription.row;
        let mut attributes = BTreeMap::new();
        let message = self.accepted.message;
        let payload = match row.protocol.as_str() {
            "sqs" if row.settings.raw => {
                if message.attributes.len() > MOST_RAW_ATTRIBUTES {
                    return Err(Fault::new(
                        "InvalidParameterValue",
                        "A raw message to a queue can carry 10 message attributes at most.",
                    ));
                }
                attributes.extend(raw_attributes(message));
                Bytes::from(message.text_for("sqs").to_string())
            }
            "sqs" => {
                attributes.insert("unsigned".into(), "true".into());
                self.queue_document(&row.arn)
            }
            "lambda" => Bytes::from(self.notification.event(&row.arn)?.to_string()),
            protocol if row.settings.raw => Bytes::from(message.text_for(protocol).to_string()),
            protocol => Bytes::from(self.notification.document(&row.arn, protocol)?),
        };
        if let Some(group) = &message.group {
            attributes.insert("message-group-id".into(), group.clone());
        }
        if let (Some(_), Some(dedup)) = (self.accepted.number, &message.dedup) {
            attributes.insert("message-deduplication-id".into(), dedup.clone());
        }
        Ok(Event {
            id: self.accepted.id.into(),
            source: self.notification.topic_arn.into(),
            via: row.arn.clone(),
            payload,
            attributes,
            trace: self.accepted.trace.clone(),
        })
    }

    fn queue_document(&mut self, subscription_arn: &str) -> Bytes {
        let notification = &self.notification;
        let (before, after) = self.document.get_or_insert_with(|| {
            let document = notification.unsigned_document(BLANK, "sqs");
            match document.rsplit_once(BLANK) {
                Some((before, after)) => (before.to_string(), after.to_string()),
                None => (document, String::new()),
            }
        });
        Bytes::from([before.as_str(), subscription_arn, after.as_str()].concat())
    }

    fn status(&self, sns: &Sns, subscription: &Subscription, ended: Ended, answer: &str) -> Option<Status> {
        if self.topic.row().settings.feedback.is_empty() {
            return None;
        }
        let text = self.accepted.message.text_for(&subscription.row.protocol);
        Status::of(self.cx, sns, &subscription.row, self.accepted.id, text, ended, answer)
    }
}

fn raw_attributes(message: &Message) -> Option<(String, String)> {
    if message.attributes.is_empty() {
        return None;
    }
    let one = |(name, attribute): (&String, &crate::message::Attribute)| {
        let field = match attribute.value {
            Content::Text(_) => "StringValue",
            Content::Binary(_) => "BinaryValue",
        };
        (name.clone(), json!({"DataType": attribute.data_type, field: attribute.printed()}))
    };
    let all: serde_json::Map<String, Value> = message.attributes.iter().map(one).collect();
    Some(("message-attributes".into(), Value::Object(all).to_string()))
}

fn no_endpoint() -> Fault {
    Fault::new("InvalidParameter", "The subscription's endpoint is not the ARN of a resource.")
}
