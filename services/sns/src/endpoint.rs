//! HTTP endpoints: requests to them, their retries by the delivery policy, and the dead-letter queue after the last.
//! Each subscription is a lane of its own, so that a slow endpoint holds up nobody else.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Route};
use tidemill_outbound::{Answer, Request};
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Sns,
    delivery_policy::DeliveryPolicy,
    parcels,
    state::{Standing, Subscription, SubscriptionRow, Topic},
    status::{Ended, Status},
};

pub const ROUTE: &str = "sns.http";

/// Requests to one endpoint at the same time.
const WIDTH: usize = 32;
/// How long an endpoint may take; SNS's own limit.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 4096;
/// Characters of what an endpoint said that are kept.
const MOST_SAID: usize = 200;

/// The policy that holds for a subscription.
pub fn policy(topic: &Topic, subscription: &Subscription) -> Result<DeliveryPolicy, Fault> {
    let topic = topic.row();
    DeliveryPolicy::of_topic(topic.settings.delivery_policy.as_deref())?
        .of_subscription(subscription.row.settings.delivery_policy.as_deref())
}

/// The row of a request; `kind` is what `x-amz-sns-message-type` says.
pub fn handover(
    cx: &Cx,
    row: &SubscriptionRow,
    mut event: Event,
    policy: DeliveryPolicy,
    kind: &str,
) -> Handover {
    event.attributes.insert("kind".into(), kind.into());
    event.attributes.insert("url".into(), row.endpoint.clone());
    event.attributes.insert("content-type".into(), policy.content_type.clone());
    if let Some(rate) = policy.max_receives_per_second {
        event.attributes.insert("pace".into(), rate.to_string());
    }
    if row.settings.raw && kind == "Notification" {
        event.attributes.insert("raw".into(), "true".into());
    }
    Handover::new(ROUTE, row.arn.clone(), event, policy.policy(), cx.now())
}

/// The confirmation of a new subscription is tried as often as AWS does.
pub fn confirmation_policy() -> DeliveryPolicy {
    DeliveryPolicy::default()
}

pub struct Endpoints(pub Arc<Sns>);

impl Route for Endpoints {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: WIDTH }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let of = |name: &str| handover.attributes.get(name).map(String::as_str).unwrap_or_default();
            if of("kind") == "Notification" && !self.stands(&handover.target) {
                return Outcome::GiveUp { reason: "the subscription is gone".into() };
            }
            if let Ok(rate) = of("pace").parse() {
                let slot = self.0.pace.slot(&handover.target, rate, cx.now().millis());
                cx.clock().sleep_until(Timestamp::from_millis(slot)).await;
            }
            match self.0.outbound.send(request(handover)).await {
                Ok(answer) => self.answered(cx, handover, &answer),
                Err(failure) => Outcome::Retry { reason: failure.to_string(), counts: true, after_ms: None },
            }
        }
        .boxed()
    }

    fn exhausted(&self, cx: &Cx, handover: &Handover, reason: &str) -> Vec<Handover> {
        let Ok((_, subscription)) = self.0.subscription(&handover.target) else { return Vec::new() };
        self.log(cx, handover, Ended::Failed, reason);
        parcels::dead_letter(&self.0, cx, handover, &subscription.row).into_iter().collect()
    }
}

/// What an endpoint said, as journeys and logs of deliveries tell it.
fn shortened(said: &str) -> String {
    match said.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said.to_string(),
    }
}

impl Endpoints {
    fn stands(&self, arn: &str) -> bool {
        self.0.subscription(arn).is_ok_and(|(_, one)| one.row.standing == Standing::Confirmed)
    }

    /// Success is any 2xx. What the client did wrong (4xx) will not get better; being too fast and the server's own
    /// trouble will.
    fn answered(&self, cx: &Cx, handover: &Handover, answer: &Answer) -> Outcome {
        let text = String::from_utf8_lossy(&answer.body);
        let said = shortened(&format!("{} {}", answer.status, text.trim()));
        match answer.status {
            200..300 => {
                self.log(cx, handover, Ended::Delivered, &said);
                Outcome::Delivered { detail: said, then: Vec::new() }
            }
            429 | 500..600 => Outcome::Retry { reason: said, counts: true, after_ms: None },
            _ => Outcome::GiveUp { reason: said },
        }
    }

    fn log(&self, cx: &Cx, handover: &Handover, ended: Ended, answer: &str) {
        let Ok((_, subscription)) = self.0.subscription(&handover.target) else { return };
        let text = String::from_utf8_lossy(&handover.payload);
        let status = Status::of(cx, &self.0, &subscription.row, &handover.event_id, &text, ended, answer);
        if let Some(status) = status {
            status.write(cx);
        }
    }
}

fn request(handover: &Handover) -> Request {
    let of = |name: &str| handover.attributes.get(name).cloned().unwrap_or_default();
    let topic = handover.target.rsplit_once(':').map_or("", |(topic, _)| topic);
    let mut headers = vec![
        ("x-amz-sns-message-type".to_string(), of("kind")),
        ("x-amz-sns-message-id".into(), handover.event_id.clone()),
        ("x-amz-sns-topic-arn".into(), topic.to_string()),
        ("content-type".into(), of("content-type")),
        ("user-agent".into(), "Amazon Simple Notification Service Agent".into()),
        ("accept-encoding".into(), "gzip,deflate".into()),
    ];
    if of("kind") != "SubscriptionConfirmation" {
        headers.push(("x-amz-sns-subscription-arn".into(), handover.target.clone()));
    }
    if of("raw") == "true" {
        headers.push(("x-amz-sns-rawdelivery".into(), "true".into()));
    }
    if !handover.trace.is_empty() {
        headers.push(("x-amzn-trace-id".into(), handover.trace.clone()));
    }
    Request {
        method: "POST".into(),
        url: of("url"),
        headers,
        body: handover.payload.clone(),
        timeout: TIMEOUT,
        max_answer: MOST_ANSWER,
    }
}
