//! Events that a target did not get, as its dead-letter queue gets them: with the attributes AWS adds.
//! Source: "Using dead-letter queues to process undelivered events" in the EventBridge user guide.

use bytes::Bytes;
use serde_json::json;
use tidemill_delivery::Event;
use tidemill_platform::{Fault, Trace};

/// Why an event was not delivered.
pub struct DeadLetter<'a> {
    pub id: &'a str,
    pub rule_arn: &'a str,
    pub target_arn: &'a str,
    pub code: &'a str,
    pub sentence: &'a str,
    /// Retries that were made and what ended them, where the target was tried at all.
    pub retries: Option<(u32, Option<&'static str>)>,
}

impl DeadLetter<'_> {
    pub fn event(&self, payload: Bytes, trace: Trace) -> Event {
        let text = |value: &str| json!({"DataType": "String", "StringValue": value});
        let mut attributes = json!({
            "RULE_ARN": text(self.rule_arn),
            "TARGET_ARN": text(self.target_arn),
            "ERROR_CODE": text(self.code),
            "ERROR_MESSAGE": text(self.sentence),
        });
        if let Some((retries, condition)) = self.retries {
            attributes["RETRY_ATTEMPTS"] = text(&retries.to_string());
            if let Some(condition) = condition {
                attributes["EXHAUSTED_RETRY_CONDITION"] = text(condition);
            }
        }
        Event {
            id: self.id.into(),
            source: self.target_arn.into(),
            via: "dead-letter queue".into(),
            payload,
            attributes: [("message-attributes".to_string(), attributes.to_string())].into(),
            trace,
        }
    }
}

/// AWS's code for a target that refuses an event, and the sentence.
pub fn error_of(fault: &Fault) -> (&'static str, String) {
    let code = match fault.code() {
        code if code.contains("NotFound") || code.contains("DoesNotExist") || code.starts_with("NoSuch") => {
            "RESOURCE_NOT_FOUND"
        }
        code if code.contains("Denied") => "NO_PERMISSIONS",
        code if code.contains("Invalid") || code.contains("Validation") => "INVALID_PARAMETER",
        _ => "SDK_CLIENT_ERROR",
    };
    (code, fault.message().to_string())
}
