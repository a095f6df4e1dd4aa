//! Why an event does or does not match the rules of a bus: for every rule the verdict, and the fields that failed with
//! what was asked and what stood there.

use serde_json::{Map, Value, json};
use tidemill_event_pattern::{Found, Pattern};
use tidemill_platform::{Cx, Fault};

use crate::{EventBridge, state::Rule};

impl EventBridge {
    /// The verdict of every rule of a bus on an event, in the order of their names. The event is an envelope, or an
    /// entry as `PutEvents` takes it.
    pub fn explain(&self, cx: &Cx, bus: Option<&str>, event: &Value) -> Result<Value, Fault> {
        let bus = self.bus(cx, bus)?;
        let event = enveloped(cx, event)?;
        let rules = bus.rules.read();
        Ok(rules.values().map(|rule| verdict(rule, &event)).collect())
    }
}

fn verdict(rule: &Rule, event: &Value) -> Value {
    let row = &rule.row;
    let mut told =
        json!({"rule": row.name, "arn": row.arn, "state": row.state, "targets": row.targets.len()});
    let Some(pattern) = row.pattern.as_deref().and_then(|pattern| Pattern::parse(pattern).ok()) else {
        told["matched"] = false.into();
        told["failures"] = json!([{"path": "", "asked": "a schedule", "found": "the rule has no pattern"}]);
        return told;
    };
    let explanation = pattern.explain(event);
    told["matched"] = explanation.matched.into();
    told["failures"] = explanation
        .failures
        .iter()
        .map(|failure| {
            let asked: Vec<String> = failure.asked.iter().map(ToString::to_string).collect();
            let found = match &failure.found {
                Found::Nothing => "nothing".to_string(),
                Found::Values(values) => values.join(", "),
                Found::OtherElements(values) => format!("{} in other elements", values.join(", ")),
            };
            json!({"path": failure.path, "asked": asked.join(" or "), "found": found})
        })
        .collect();
    told
}

/// The event with what EventBridge would have put around it.
fn enveloped(cx: &Cx, event: &Value) -> Result<Value, Fault> {
    let members = event.as_object().ok_or_else(|| Fault::validation("The event is not a JSON object."))?;
    let mut whole = Map::from_iter([
        ("version".to_string(), json!("0")),
        ("id".to_string(), json!(cx.random().uuid())),
        ("account".to_string(), json!(cx.account())),
        ("region".to_string(), json!(cx.region())),
        ("resources".to_string(), json!([])),
        ("time".to_string(), json!("1970-01-01T00:00:00Z")),
    ]);
    let entry = [
        ("Source", "source"),
        ("DetailType", "detail-type"),
        ("Resources", "resources"),
        ("Detail", "detail"),
    ];
    for (name, value) in members {
        let known = entry.iter().find(|(of_entry, _)| of_entry == name);
        let value = match (name.as_str(), value) {
            ("Detail", Value::String(text)) => {
                serde_json::from_str(text).map_err(|_| Fault::validation("Detail is malformed."))?
            }
            _ => value.clone(),
        };
        whole.insert(known.map_or(name.as_str(), |(_, inside)| inside).to_string(), value);
    }
    Ok(Value::Object(whole))
}
