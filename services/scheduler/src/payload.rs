//! What a run gives its target: the schedule's input with its keywords replaced, or a notification where there is none.
//! Source: "Adding context attributes" in the EventBridge Scheduler user guide.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidemill_delivery::Handover;
use tidemill_platform::Arn;

use crate::rows::TargetRow;

pub const EXECUTION_ID: &str = "execution-id";
pub const SCHEDULED_TIME: &str = "scheduled-time";
pub const MESSAGE_GROUP_ID: &str = "message-group-id";
pub const DETAIL_TYPE: &str = "detail-type";
pub const EVENT_SOURCE: &str = "event-source";
pub const DEAD_LETTERS: &str = "dead-letter-arn";

/// What the hand-over has to know of its schedule, which may be gone when it is attempted.
pub fn attributes(target: &TargetRow, execution: &str, at: &str) -> BTreeMap<String, String> {
    let (kind, source) = target.event.clone().unzip();
    let all = [
        (EXECUTION_ID, Some(execution.to_string())),
        (SCHEDULED_TIME, Some(at.to_string())),
        (MESSAGE_GROUP_ID, target.group_id.clone()),
        (DETAIL_TYPE, kind),
        (EVENT_SOURCE, source),
        (DEAD_LETTERS, target.dead_letter_arn.clone()),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
}

/// What a target gets whose schedule has no input.
pub fn notification(schedule: &Arn, id: &str, at: &str) -> String {
    json!({
        "version": "0",
        "id": id,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": schedule.account,
        "time": at,
        "region": schedule.region,
        "resources": [schedule.to_string()],
        "detail": "{}",
    })
    .to_string()
}

/// The input of an attempt, 1 for the first, with its keywords replaced.
pub fn input(handover: &Handover, attempt: u32) -> String {
    let text = String::from_utf8_lossy(&handover.payload).into_owned();
    if !text.contains("<aws.scheduler.") {
        return text;
    }
    let of = |name: &str| handover.attributes.get(name).cloned().unwrap_or_default();
    text.replace("<aws.scheduler.schedule-arn>", &handover.source)
        .replace("<aws.scheduler.scheduled-time>", &of(SCHEDULED_TIME))
        .replace("<aws.scheduler.execution-id>", &of(EXECUTION_ID))
        .replace("<aws.scheduler.attempt-number>", &attempt.to_string())
}

/// The event that a bus gets.
pub fn bus_event(handover: &Handover, input: &str) -> Option<String> {
    let of = |name: &str| handover.attributes.get(name).cloned().unwrap_or_default();
    let detail: Value = serde_json::from_str(input).ok().filter(Value::is_object)?;
    let event = json!({
        "source": of(EVENT_SOURCE),
        "detail-type": of(DETAIL_TYPE),
        "resources": [handover.source],
        "detail": detail,
    });
    Some(event.to_string())
}
