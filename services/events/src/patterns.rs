//! Patterns tried without a rule.

use serde_json::Value;
use tidemill_event_pattern::Pattern;
use tidemill_platform::{Cx, Fault};

use crate::{
    EventBridge,
    api::{InvalidEventPatternException, TestEventPatternRequest, TestEventPatternResponse},
};

/// What an event has to have for a pattern to be tried on it.
const NEEDED: &[&str] = &["id", "account", "source", "time", "region", "resources", "detail-type"];

pub async fn test_event_pattern(
    _: &EventBridge,
    _: &Cx,
    input: TestEventPatternRequest,
) -> Result<TestEventPatternResponse, Fault> {
    let pattern = Pattern::parse(&input.event_pattern)
        .map_err(|error| InvalidEventPatternException::new(error.to_string()))?;
    let event: Value = serde_json::from_str(&input.event).map_err(|_| {
        Fault::validation("Parameter Event is not valid. Reason: The event is not valid JSON.")
    })?;
    if let Some(missing) = NEEDED.iter().find(|name| event.get(**name).is_none()) {
        return Err(Fault::validation(format!(
            "Parameter Event is not valid. Reason: {missing} is a required argument."
        )));
    }
    Ok(TestEventPatternResponse { result: Some(pattern.matches_naive(&event)) })
}
