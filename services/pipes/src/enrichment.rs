//! What an enrichment's answer means: an array is the events that go on, anything else is one event, and an empty answer
//! (`""`, `{}`, `[]`) ends the execution. Source: "Amazon EventBridge Pipes event enrichment".

use serde_json::Value;

use crate::{execution::Item, sending::Outgoing};

/// The events that an answer makes, each with the id of the source's event it was made of where it kept one.
pub fn events(answer: Value, items: &[Item], cx: &tidemill_platform::Cx) -> Vec<Outgoing> {
    let is_empty = match &answer {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    if is_empty {
        return Vec::new();
    }
    let events = match answer {
        Value::Array(events) => events,
        other => vec![other],
    };
    events
        .into_iter()
        .map(|event| {
            let origin = origin(&event, items);
            let trace = origin.map_or_else(|| cx.trace().clone(), |item| item.trace.clone());
            Outgoing { origin: origin.map(|item| item.id.clone()), text: String::new(), event, trace }
        })
        .collect()
}

/// "These fields need to be included in any array payload returned by the enrichment": `messageId` or `eventID`.
fn origin<'i>(event: &Value, items: &'i [Item]) -> Option<&'i Item> {
    let id = ["messageId", "eventID"].iter().find_map(|name| event.get(name)?.as_str())?;
    items.iter().find(|item| item.id == id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidemill_platform::{Platform, Trace};

    use super::*;

    #[test]
    fn answers_become_events() {
        let cx = Platform::for_tests().cx("000000000000", "us-east-1", Trace::default());
        let items = [Item { id: "m1".into(), event: json!({}), trace: Trace::default() }];
        let made = |answer: Value| {
            let events = events(answer, &items, &cx);
            events.into_iter().map(|event| (event.event, event.origin)).collect::<Vec<_>>()
        };
        for nothing in [json!(null), json!(""), json!({}), json!([])] {
            assert_eq!(made(nothing), []);
        }
        assert_eq!(made(json!([{}])), [(json!({}), None)]);
        assert_eq!(made(json!({"a": 1})), [(json!({"a": 1}), None)]);
        let known = json!({"messageId": "m1"});
        assert_eq!(made(json!([known, "text"])), [(known, Some("m1".into())), (json!("text"), None)]);
    }
}
