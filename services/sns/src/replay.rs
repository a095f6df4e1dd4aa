//! Replays: a subscription of a FIFO topic gets messages of the archive again, in order and each of them once. Source: the
//! SNS developer guide, "Amazon SNS message replay for FIFO topic subscribers".
//!
//! A replay is one hand-over that stands for the place it has come to. An attempt turns it into hand-overs of the next
//! messages and one for the place behind them, all in the commit that takes it away, so a crash neither loses nor
//! repeats any. The new place waits in the lane of the last message, so a slow queue is not run over.
//!
//! A replay without an end holds new messages back: it reaches them in the archive, and when it has caught up, under the
//! lock that orders publishes, the subscription gets new messages at once again.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Removal, Route, policy::Backoff};
use tidemill_platform::{Cx, Fault, Timestamp};
use tidemill_store::{Damaged, Seq};

use crate::{
    Sns,
    archive::ArchivedRow,
    fan_out::Accepted,
    order,
    state::{Standing, Subscription, SubscriptionRow, Topic, invalid},
};

pub const ROUTE: &str = "sns.replay";

/// The beginning of an archive moves on between the question where it is and the replay that starts there.
const SLACK_MS: i64 = 300_000;
/// Messages that go on their way together.
const CHUNK: usize = 100;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// As it was given.
    pub policy: String,
    /// Milliseconds since 1970, both ends included.
    pub from: i64,
    pub to: Option<i64>,
    pub status: Status,
    /// Tells a replay from an earlier one of the same subscription.
    pub generation: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Pending,
    InProgress,
    Completed,
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "Pending",
            Status::InProgress => "In progress",
            Status::Completed => "Completed",
            Status::Failed => "Failed",
        }
    }
}

impl Replay {
    /// The replay a policy asks for; `None` for the empty policy, which ends one.
    pub fn read(cx: &Cx, topic: &Topic, value: &str) -> Result<Option<Replay>, Fault> {
        let wrong = |why: &str| invalid(format!("ReplayPolicy: {why}"));
        if !topic.row().is_fifo {
            return Err(invalid("AttributeName"));
        }
        if value.trim().is_empty() {
            return Ok(None);
        }
        let given: Map<String, Value> =
            serde_json::from_str(value).map_err(|_| wrong("Unable to parse JSON"))?;
        if given.is_empty() {
            return Ok(None);
        }
        let of = |name: &str| given.get(name).and_then(Value::as_str);
        if let Some(other) =
            given.keys().find(|name| !["PointType", "StartingPoint", "EndingPoint"].contains(&name.as_str()))
        {
            return Err(wrong(&format!("invalid JSON. Attribute {other} is unknown.")));
        }
        let (Some(kind), Some(start)) = (of("PointType"), of("StartingPoint")) else {
            return Err(wrong("JSON is missing required fields"));
        };
        if kind != "Timestamp" {
            return Err(wrong("Invalid PointType"));
        }
        let now = cx.now().millis();
        let begins = topic.row().archive_begins(now);
        let begins = begins.ok_or_else(|| wrong("Topic does not have an ArchivePolicy"))?;
        let from = moment(start).filter(|from| (begins - SLACK_MS..=now).contains(from));
        let from = from.ok_or_else(|| wrong("Invalid StartingPoint value"))?;
        let to = match given.get("EndingPoint") {
            None => None,
            Some(end) => {
                let end = end.as_str().and_then(moment).filter(|to| (from..=now).contains(to));
                Some(end.ok_or_else(|| wrong("Invalid EndingPoint value"))?)
            }
        };
        let generation = cx.random().hex::<8>();
        Ok(Some(Replay { policy: value.into(), from, to, status: Status::Pending, generation }))
    }

    /// New messages wait until it is through.
    pub fn holds_new(&self) -> bool {
        self.to.is_none() && matches!(self.status, Status::Pending | Status::InProgress)
    }

    /// The hand-over with which it begins.
    pub fn begin(&self, cx: &Cx, row: &SubscriptionRow) -> Handover {
        self.place(cx, row, order::first_number(self.from), row.arn.clone())
    }

    fn place(&self, cx: &Cx, row: &SubscriptionRow, next: u64, lane: String) -> Handover {
        let attributes = [
            ("generation".to_string(), self.generation.clone()),
            ("next".to_string(), next.to_string()),
            ("lane".to_string(), lane),
        ];
        let event = Event {
            id: format!("replay-{}", self.generation),
            source: row.topic_arn.clone(),
            via: row.arn.clone(),
            attributes: attributes.into(),
            ..Event::default()
        };
        Handover::new(ROUTE, row.arn.clone(), event, policy(), cx.now())
    }
}

/// Only the store can fail, and it is tried until it does not.
fn policy() -> Policy {
    Policy {
        max_attempts: u32::MAX,
        max_age_s: i64::MAX / 10_000,
        backoff: Backoff::Exponential { first_ms: 1000, max_ms: 60_000 },
    }
}

/// An ISO 8601 moment in milliseconds.
fn moment(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// What an attempt is about.
struct Place<'a> {
    topic: &'a Topic,
    subscription: &'a Subscription,
    replay: &'a Replay,
    next: u64,
}

pub struct Replays(pub Arc<Sns>);

impl Route for Replays {
    fn lane(&self, handover: &Handover) -> Lane {
        let key = handover.attributes.get("lane").cloned().unwrap_or_else(|| handover.target.clone());
        Lane { key, width: 1 }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let of = |name: &str| handover.attributes.get(name).map(String::as_str).unwrap_or_default();
            let stopped = || Outcome::Delivered { detail: "the replay was stopped".into(), then: Vec::new() };
            let Ok((topic, subscription)) = self.0.subscription(&handover.target) else { return stopped() };
            let replay = subscription.row.replay.as_ref().filter(|one| one.generation == of("generation"));
            let (Some(replay), Ok(next)) = (replay, of("next").parse()) else { return stopped() };
            if subscription.row.standing != Standing::Confirmed {
                return stopped();
            }
            let place = Place { topic: &topic, subscription: &subscription, replay, next };
            let gone_on = self.go_on(cx, &place, &attempt.removal);
            gone_on.unwrap_or_else(|reason| Outcome::Retry { reason, counts: true, after_ms: None })
        }
        .boxed()
    }

    fn exhausted(&self, _: &Cx, handover: &Handover, _: &str) -> Vec<Handover> {
        if let Ok((topic, subscription)) = self.0.subscription(&handover.target) {
            let _ = self.0.mark_replay(&topic, &subscription.row.id, Status::Failed, None);
        }
        Vec::new()
    }
}

impl Replays {
    fn go_on(&self, cx: &Cx, place: &Place<'_>, removal: &Removal) -> Result<Outcome, String> {
        let id = &place.subscription.row.id;
        let mut chunk = self.chunk(cx, place).map_err(|damaged| damaged.to_string())?;
        if chunk.is_empty() {
            // What is published from here on waits for the lock and finds the replay completed.
            let _order = place.topic.order.lock();
            chunk = self.chunk(cx, place).map_err(|damaged| damaged.to_string())?;
            if chunk.is_empty() {
                let done = self.0.mark_replay(place.topic, id, Status::Completed, Some(removal));
                let seq = done.map_err(|fault| fault.to_string())?;
                return Ok(Outcome::Taken { detail: "the replay is completed".into(), seq });
            }
        }
        if place.replay.status == Status::Pending {
            let begun = self.0.mark_replay(place.topic, id, Status::InProgress, None);
            begun.map_err(|fault| fault.to_string())?;
        }
        Ok(Outcome::Delivered {
            detail: format!("{} messages of the archive", chunk.len()),
            then: self.then(cx, place, &chunk),
        })
    }

    /// The next messages of the archive.
    fn chunk(&self, cx: &Cx, place: &Place<'_>) -> Result<Vec<(u64, ArchivedRow)>, Damaged> {
        let begins = place.topic.row().archive_begins(cx.now().millis()).unwrap_or(i64::MAX);
        let (from, to) = (place.replay.from.max(begins), place.replay.to.unwrap_or(i64::MAX));
        let mut chunk = Vec::new();
        place.topic.archived(&self.0.platform.store, place.next, None, |number, row| {
            if row.at > to {
                return false;
            }
            if row.at >= from {
                chunk.push((number, row));
            }
            chunk.len() < CHUNK
        })?;
        Ok(chunk)
    }

    /// Hand-overs of the messages that pass the filter policy, and of the place behind them.
    fn then(&self, cx: &Cx, place: &Place<'_>, chunk: &[(u64, ArchivedRow)]) -> Vec<Handover> {
        let row = &place.subscription.row;
        let mut then: Vec<Handover> =
            chunk.iter().filter_map(|(number, one)| self.again(cx, place, *number, one)).collect();
        let last = chunk.last().map_or(place.next, |(number, _)| *number);
        let group = then.last().and_then(|last| last.attributes.get("message-group-id").cloned());
        // As queues name the lane of a message group.
        let lane = group.map_or_else(|| row.arn.clone(), |group| format!("{}#{group}", row.endpoint));
        then.push(place.replay.place(cx, row, last + 1, lane));
        then
    }

    fn again(&self, cx: &Cx, place: &Place<'_>, number: u64, one: &ArchivedRow) -> Option<Handover> {
        if !place.subscription.lets_through(&one.message) {
            return None;
        }
        let message = place.topic.outbound(&one.message)?;
        let accepted = Accepted { id: &one.id, message: &message, number: Some(number), trace: cx.trace() };
        self.0.replayed(cx, place.topic, place.subscription, &accepted, Timestamp::from_millis(one.at))
    }
}

impl Sns {
    /// Sets how far a replay is, perhaps in the batch that takes its hand-over away.
    fn mark_replay(
        &self,
        topic: &Topic,
        id: &str,
        status: Status,
        removal: Option<&Removal>,
    ) -> Result<Seq, Fault> {
        self.change_now(topic, id, removal, |row| {
            if let Some(replay) = &mut row.replay {
                replay.status = status;
            }
        })
    }
}
