//! Buses and API destinations as targets: of rules of other buses, of S3 and other services. The event arrives with the removal of its
//! hand-over in one batch, so exactly once; `invocation` calls API destinations.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Route, Target};
use tidemill_platform::{Arn, Cx, Fault, Timestamp};
use tidemill_store::Partition;

use crate::{
    EventBridge,
    api::ResourceNotFoundException,
    enforcement::{VIOLATION, Verdict},
    envelope::envelope,
    events::{Outgoing, Way},
    invocation,
    replaying::with_replay,
};

pub const ROUTE: &str = "events.bus";
/// Buses an event may pass before it is taken for a circle.
const MOST_HOPS: u32 = 10;
const WIDTH: usize = 64;

pub struct Buses(pub Arc<EventBridge>);

impl Target for Buses {
    fn accept(&self, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault> {
        if target.resource.starts_with("api-destination/") {
            return invocation::accept(&self.0, cx, target, event);
        }
        let arn = target.to_string();
        if self.0.by_arn(&arn).is_none() {
            return Err(ResourceNotFoundException::new(format!(
                "Event bus {} does not exist.",
                target.resource
            ))
            .into());
        }
        Ok(Handover::new(ROUTE, arn, event, Policy::event_bridge(), cx.now()))
    }
}

impl Route for Buses {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: WIDTH }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let hops = handover.attributes.get("hops").and_then(|text| text.parse().ok()).unwrap_or(0);
            if hops > MOST_HOPS {
                return Outcome::GiveUp {
                    reason: "the event went through more buses than any way needs".into(),
                };
            }
            let Some(bus) = self.0.by_arn(&handover.target) else {
                return Outcome::GiveUp { reason: "there is no such bus".into() };
            };
            let Ok(event) = serde_json::from_slice::<Value>(&handover.payload) else {
                return Outcome::GiveUp { reason: "the event is no JSON".into() };
            };
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_string();
            let resources: Vec<String> = event["resources"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| Some(one.as_str()?.to_string()))
                .collect();
            let at = text("time")
                .parse::<jiff::Timestamp>()
                .map_or(cx.now(), |at| Timestamp::from_millis(at.as_millisecond()));
            let detail = event.get("detail").map_or_else(|| "{}".to_string(), Value::to_string);
            let mut sent = envelope(cx, &bus, &text("source"), &text("detail-type"), at, &resources, &detail);
            if let Some(id) = event["id"].as_str() {
                // Between buses an event stays the same event.
                sent.text = sent.text.replacen(&sent.id, id, 1);
                sent.id = id.into();
            }
            if let Some(replay) = event["replay-name"].as_str() {
                sent.text = with_replay(&sent.text, replay);
            }
            let mut outgoing = Outgoing::new(Partition::of(&handover.target));
            attempt.removal.add_to(&mut outgoing.batch);
            let way = Way { trace: &handover.trace(), hops, only: &[] };
            let verdict = match event["replay-name"].as_str() {
                Some(_) => Verdict::Good,
                None => self.0.enforce(cx, &bus, &sent, way.trace, &mut outgoing),
            };
            match verdict {
                Verdict::Good => self.0.route(cx, &bus, &sent, &way, &mut outgoing),
                Verdict::DeadLettered => {}
                Verdict::Rejected(why) => return Outcome::GiveUp { reason: format!("{VIOLATION}: {why}") },
            }
            match self.0.send(cx, outgoing) {
                Ok(ticket) => Outcome::Taken { detail: String::new(), seq: ticket.seq() },
                Err(fault) => Outcome::Retry { reason: fault.to_string(), counts: false, after_ms: None },
            }
        }
        .boxed()
    }

    fn exhausted(&self, _: &Cx, _: &Handover, _: &str) -> Vec<Handover> {
        Vec::new()
    }
}
