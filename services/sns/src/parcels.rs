//! Hand-overs to the [`provider`](crate::provider): what subscriptions of e-mails, SMS and applications get, and what is
//! published to one phone or device. Source of the retries: the SNS developer guide, "Amazon SNS message delivery retries".

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Route, policy::Backoff};
use tidemill_platform::{Arn, Cx, Fault, Trace};

use crate::{
    Sns, devices, mail,
    notification::Notification,
    phone,
    provider::{Parcel, Receipt, Refusal},
    state::{Standing, SubscriptionRow, TopicRow},
    status::{Ended, Status},
};

pub const ROUTE: &str = "sns.parcel";

/// Parcels of one subscription, phone or device on their way at the same time.
const WIDTH: usize = 8;
const NOTIFICATION: &str = "Notification";

/// Whether a protocol's deliveries go through the provider.
pub fn carries(protocol: &str) -> bool {
    matches!(protocol, "email" | "email-json" | "sms" | "application")
}

/// The row that carries a parcel. `target` is the subscription's ARN, the device's, or one that stands for a phone.
pub fn handover(cx: &Cx, target: String, kind: &str, mut event: Event, mut parcel: Parcel) -> Handover {
    event.payload = std::mem::take(&mut parcel.text).into();
    event.attributes.insert("kind".into(), kind.into());
    event.attributes.insert("parcel".into(), serde_json::to_string(&parcel).unwrap_or_default());
    Handover::new(ROUTE, target, event, policy(), cx.now())
}

/// Two retries ten seconds apart, ten that back off to ten minutes, then one every ten minutes: fifty in all.
fn policy() -> Policy {
    let backing_off = (0..10).map(|step| (10.0 * 60_f64.powf(f64::from(step) / 9.0)).round() as i64);
    let waits = [10, 10].into_iter().chain(backing_off).chain(std::iter::repeat_n(600, 38));
    Policy { max_attempts: 51, max_age_s: 28_800, backoff: Backoff::Fixed(waits.collect()) }
}

/// What a subscription gets of a message.
pub fn of_notification(
    cx: &Cx,
    topic: &TopicRow,
    notification: &Notification<'_>,
    row: &SubscriptionRow,
    trace: &Trace,
) -> Result<Handover, Fault> {
    let message = notification.message;
    let text = message.text_for(&row.protocol);
    let parcel = match row.protocol.as_str() {
        "email" => {
            let url = notification.unsubscribe_url(&row.arn);
            let parcel = mail::to(topic, row, mail::subject(message.subject.as_ref()));
            Parcel { text: mail::notification(text, &url), ..parcel }
        }
        "email-json" => {
            let parcel = mail::to(topic, row, mail::subject(message.subject.as_ref()));
            Parcel { text: notification.document(&row.arn, &row.protocol)?, ..parcel }
        }
        "sms" => {
            let mut parcel = phone::parcel(&row.endpoint, &phone::of_topic(topic, text), message);
            parcel.details.insert("TopicArn".into(), topic.arn.clone());
            parcel
        }
        _ => {
            let platform = devices::platform(&row.endpoint).unwrap_or_default();
            let mut parcel = devices::parcel(&row.endpoint, message.text_for(platform), message);
            parcel.details.insert("TopicArn".into(), topic.arn.clone());
            parcel
        }
    };
    let event = Event {
        id: notification.id.into(),
        source: topic.arn.clone(),
        via: row.arn.clone(),
        trace: trace.clone(),
        ..Event::default()
    };
    Ok(handover(cx, row.arn.clone(), NOTIFICATION, event, parcel))
}

pub struct Parcels(pub Arc<Sns>);

impl Route for Parcels {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: WIDTH }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let parcel = match self.ready(cx, handover) {
                Ok(parcel) => parcel,
                Err(reason) => return Outcome::GiveUp { reason },
            };
            match self.0.provider.send(cx, parcel, attempt.removal).await {
                Ok(receipt) => {
                    self.log(cx, handover, Ended::Delivered, "accepted");
                    match receipt {
                        Receipt::Kept(seq) => Outcome::Taken { detail: "kept in the outbox".into(), seq },
                        Receipt::Sent(detail) => Outcome::Delivered { detail, then: Vec::new() },
                    }
                }
                Err(Refusal::Later(reason)) => Outcome::Retry { reason, counts: true, after_ms: None },
                Err(Refusal::Never(reason)) => {
                    Outcome::GiveUp { reason: self.unreachable(cx, handover, reason).await }
                }
            }
        }
        .boxed()
    }

    fn exhausted(&self, cx: &Cx, handover: &Handover, reason: &str) -> Vec<Handover> {
        self.log(cx, handover, Ended::Failed, reason);
        match self.0.subscription(&handover.target) {
            Ok((_, subscription)) => {
                dead_letter(&self.0, cx, handover, &subscription.row).into_iter().collect()
            }
            Err(_) => self.0.delivery_failed(cx, handover, reason).into_iter().collect(),
        }
    }
}

/// What goes to a subscription's dead-letter queue, if it has one.
pub fn dead_letter(sns: &Sns, cx: &Cx, handover: &Handover, row: &SubscriptionRow) -> Option<Handover> {
    let queue: Arn = row.settings.dead_letter_arn.as_deref()?.parse().ok()?;
    let event = Event {
        id: handover.event_id.clone(),
        source: handover.target.clone(),
        via: "dead-letter queue".into(),
        payload: handover.payload.clone(),
        trace: handover.trace(),
        ..Event::default()
    };
    sns.delivery.accept(cx, &queue, event).ok()
}

impl Parcels {
    /// The parcel as it can go now, or why it cannot.
    fn ready(&self, cx: &Cx, handover: &Handover) -> Result<Parcel, String> {
        let of = |name: &str| handover.attributes.get(name).map(String::as_str).unwrap_or_default();
        let mut parcel: Parcel = serde_json::from_str(of("parcel")).map_err(|error| error.to_string())?;
        parcel.text = String::from_utf8_lossy(&handover.payload).into_owned();
        let is_direct = handover.source == handover.target;
        if of("kind") == NOTIFICATION && !is_direct && !self.stands(&handover.target) {
            return Err("the subscription is gone".into());
        }
        match parcel.protocol.as_str() {
            "application" => self.0.addressed(parcel),
            "sms" if self.0.is_opted_out(cx.account(), &parcel.to) => Err("Phone number is opted out".into()),
            _ => Ok(parcel),
        }
    }

    fn stands(&self, arn: &str) -> bool {
        self.0.subscription(arn).is_ok_and(|(_, one)| one.row.standing == Standing::Confirmed)
    }

    /// A device that cannot be reached is disabled, as its platform's answer makes SNS do.
    async fn unreachable(&self, cx: &Cx, handover: &Handover, reason: String) -> String {
        let parcel: Option<Parcel> =
            handover.attributes.get("parcel").and_then(|text| serde_json::from_str(text).ok());
        match parcel {
            Some(parcel) if parcel.protocol == "application" => {
                let _ = self.0.disable(cx, &parcel.to).await;
                "Platform token associated with the endpoint is not valid".into()
            }
            _ => reason,
        }
    }

    fn log(&self, cx: &Cx, handover: &Handover, ended: Ended, answer: &str) {
        let text = String::from_utf8_lossy(&handover.payload);
        let Ok((_, subscription)) = self.0.subscription(&handover.target) else {
            return self.0.log_sms(cx, handover, ended, answer);
        };
        let status = Status::of(cx, &self.0, &subscription.row, &handover.event_id, &text, ended, answer);
        if let Some(status) = status {
            status.write(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_go_on_for_six_hours() {
        let Backoff::Fixed(waits) = policy().backoff else { panic!("waits are fixed") };
        assert_eq!((waits.len(), waits[2], waits[11], waits[49]), (50, 10, 600, 600));
        assert!(waits.iter().sum::<i64>() > 6 * 3600);
    }
}
