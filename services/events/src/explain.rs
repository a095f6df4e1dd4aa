//! Why an event does or does not match the rules of a bus: for every rule the verdict, and the fields that failed with
//! what was asked and what stood there.

use serde_json::{Map, Value, json};
use tidemill_delivery::{Fate, Step};
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

/// Rules that did not match, in one step of a journey.
const MOST_NOT_MATCHED: usize = 10;

impl EventBridge {
    /// The steps of a journey, and after each arrival on a bus one that says which of the bus's rules do not match and
    /// the first field for which they do not. It is made when somebody asks, from the event as an archive of the bus has
    /// it and the rules of now; where no archive has the event nothing is added.
    pub fn with_not_matched(&self, steps: Vec<Fate>) -> Result<Vec<Fate>, Fault> {
        let mut told = Vec::with_capacity(steps.len());
        for step in steps {
            let missed = match step.step {
                Step::Happened => self.not_matched(&step)?,
                _ => None,
            };
            told.push(step);
            told.extend(missed);
        }
        Ok(told)
    }

    fn not_matched(&self, arrival: &Fate) -> Result<Option<Fate>, Fault> {
        if !arrival.source.contains(":event-bus/") {
            return Ok(None);
        }
        let Some(bus) = self.by_arn(&arrival.source) else { return Ok(None) };
        let Some(event) = self.archived(&arrival.source, &arrival.event, arrival.at)? else {
            return Ok(None);
        };
        let rules: Vec<_> = bus.rules.read().values().cloned().collect();
        let (mut all, mut missed, mut first) = (0, 0, Vec::new());
        for rule in rules.iter().filter(|rule| rule.row.is_enabled() && rule.row.managed_by.is_none()) {
            let Some(pattern) = rule.row.pattern.as_deref().and_then(|text| Pattern::parse(text).ok()) else {
                continue;
            };
            all += 1;
            if pattern.matches_naive(&event) {
                continue;
            }
            missed += 1;
            if first.len() < MOST_NOT_MATCHED {
                first.push(because(rule, &event));
            }
        }
        let detail = format!("{missed} of {all} rules do not match: {}", first.join("; "));
        Ok((missed > 0).then(|| Fate {
            step: Step::NotMatched,
            detail,
            target: String::new(),
            via: String::new(),
            ..arrival.clone()
        }))
    }

    fn archived(&self, bus_arn: &str, event_id: &str, at: i64) -> Result<Option<Value>, Fault> {
        for archive in self.archives.all().iter().filter(|archive| archive.source_arn == bus_arn) {
            let Some(vault) = self.vaults.get(&archive.arn) else { continue };
            if let Some(found) = vault.find(&self.platform.store, event_id, at).map_err(Fault::internal)? {
                return Ok(serde_json::from_str(&found.text).ok());
            }
        }
        Ok(None)
    }
}

/// A rule's name and the first field that failed.
fn because(rule: &Rule, event: &Value) -> String {
    let told = verdict(rule, event);
    let text = |name: &str| told["failures"][0][name].as_str().unwrap_or_default().to_string();
    format!("{} ({} asks for {}, found {})", rule.row.name, text("path"), text("asked"), text("found"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api, rules, testing};

    #[tokio::test]
    async fn archived_events_tell_which_rules_they_missed() {
        let (bridge, cx) = testing::bridge();
        for (name, pattern) in [("hit", r#"{"source":["shop"]}"#), ("miss", r#"{"detail":{"n":[2]}}"#)] {
            let input = api::PutRuleRequest {
                name: name.into(),
                event_pattern: Some(pattern.into()),
                ..api::PutRuleRequest::default()
            };
            rules::put_rule(&bridge, &cx, input).await.unwrap();
        }
        let before = testing::put(&bridge, &cx, r#"{"n":1}"#).await;
        testing::archive(&bridge, &cx).await;
        let id = testing::put(&bridge, &cx, r#"{"n":1}"#).await;
        let (bus, now) = (testing::bus(&bridge, &cx), cx.now());
        let arrival = |id: &str| Fate::happened(now, cx.trace(), id, &*bus, "Order");
        let told = bridge.with_not_matched(vec![arrival(&before), arrival(&id)]).unwrap();
        let missed = Fate {
            step: Step::NotMatched,
            detail: "1 of 2 rules do not match: miss (detail.n asks for 2, found 1)".into(),
            ..arrival(&id)
        };
        assert_eq!(told, [arrival(&before), arrival(&id), missed]);
    }
}
