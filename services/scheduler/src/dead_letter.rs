//! Dead letters: the input as the target would have got it, with message attributes that say what went wrong.
//! Source: "Configuring a schedule's dead-letter queue" in the EventBridge Scheduler user guide.

use serde_json::{Map, Value, json};
use tidemill_delivery::{Event, Handover};

use crate::payload::{self, EXECUTION_ID, SCHEDULED_TIME};

/// The code of runs that were due too long ago when the platform came back.
pub const TOO_OLD: &str = "EventAgeExceeded";

/// Longest error message kept, in characters.
const LONGEST_MESSAGE: usize = 1024;

/// The message of a run that was given up with this fault, printed as `code: sentence`.
pub fn letter(handover: &Handover, reason: &str) -> Event {
    let (code, sentence) = reason.split_once(": ").unwrap_or((reason, reason));
    let of = |name: &str| handover.attributes.get(name).cloned().unwrap_or_default();
    let sentence: String = sentence.chars().take(LONGEST_MESSAGE).collect();
    let mut attributes = Map::new();
    let mut say = |name: &str, value: String| {
        attributes.insert(name.into(), json!({"DataType": "String", "StringValue": value}));
    };
    say("ERROR_CODE", code.into());
    say("ERROR_MESSAGE", sentence);
    say("EXECUTION_ID", of(EXECUTION_ID));
    if let Some(condition) = exhausted(handover, code) {
        say("EXHAUSTED_RETRY_CONDITION", condition.into());
    }
    say("IS_PAYLOAD_TRUNCATED", "false".into());
    say("RETRY_ATTEMPTS", handover.tries.to_string());
    say("SCHEDULED_TIME", of(SCHEDULED_TIME));
    say("SCHEDULE_ARN", handover.source.clone());
    say("TARGET_ARN", handover.target.clone());
    Event {
        id: handover.event_id.clone(),
        source: handover.target.clone(),
        via: "dead-letter queue".into(),
        payload: payload::input(handover, handover.tries + 1).into(),
        attributes: [("message-attributes".to_string(), Value::Object(attributes).to_string())].into(),
        trace: handover.trace(),
    }
}

/// The part of the retry policy that ended the attempts; `None` where no attempt could have helped.
fn exhausted(handover: &Handover, code: &str) -> Option<&'static str> {
    if is_final(code) {
        None
    } else if code != TOO_OLD && handover.attempts + 1 >= handover.policy.max_attempts {
        Some("MaximumRetryAttempts")
    } else {
        Some("MaximumEventAgeInSeconds")
    }
}

/// Faults of the request itself, which trying again does not mend.
pub fn is_final(code: &str) -> bool {
    matches!(code, "NotImplemented" | "ValidationException" | "ValidationError" | "SerializationException")
}
