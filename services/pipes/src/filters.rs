//! Filters: an event is wanted when one of the patterns matches. Source: "Event filtering in Amazon EventBridge Pipes": a
//! pattern for a message's body means its JSON when the pattern is an object, and its text when it is a list.

use serde_json::Value;
use tidemill_event_pattern::Pattern;
use tidemill_platform::Fault;

#[derive(Default)]
pub struct Filters(Vec<Filter>);

struct Filter {
    pattern: Pattern,
    reads_body: bool,
}

impl Filters {
    pub fn parse<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Filters, Fault> {
        let parse = |text: &str| {
            let pattern = Pattern::parse(text)
                .map_err(|error| Fault::validation(format!("Invalid filter pattern: {error}")))?;
            let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
            Ok(Filter { pattern, reads_body: value.get("body").is_some_and(Value::is_object) })
        };
        texts.map(parse).collect::<Result<_, Fault>>().map(Filters)
    }

    pub fn want(&self, event: &Value) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let parsed = if self.0.iter().any(|filter| filter.reads_body) { with_body(event) } else { None };
        self.0.iter().any(|filter| match (&parsed, filter.reads_body) {
            (Some(event), true) => filter.pattern.matches_naive(event),
            (None, true) => false,
            (_, false) => filter.pattern.matches_naive(event),
        })
    }
}

/// The event with its body's text read as JSON; `None` when it is none.
fn with_body(event: &Value) -> Option<Value> {
    let body: Value = serde_json::from_str(event.get("body")?.as_str()?).ok()?;
    let mut event = event.clone();
    event["body"] = body;
    Some(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_json_or_text_as_the_pattern_says() {
        let wants = |pattern: &str, body: &str| {
            Filters::parse([pattern].into_iter()).unwrap().want(&json!({"messageId": "1", "body": body}))
        };
        for (pattern, body, expected) in [
            (r#"{"body":{"kind":["order"]}}"#, r#"{"kind":"order"}"#, true),
            (r#"{"body":{"kind":["order"]}}"#, r#"{"kind":"other"}"#, false),
            (r#"{"body":{"kind":["order"]}}"#, "order", false),
            (r#"{"body":["order"]}"#, "order", true),
            (r#"{"body":["order"]}"#, r#"{"kind":"order"}"#, false),
            (r#"{"messageId":["1"]}"#, "anything", true),
            (r#"{"body":{"n":[{"numeric":[">",5]}]}}"#, r#"{"n":7}"#, true),
        ] {
            assert_eq!(wants(pattern, body), expected, "{pattern} {body}");
        }
        assert!(Filters::parse([].into_iter()).unwrap().want(&json!({})));
        assert!(Filters::parse(["{"].into_iter()).is_err());
    }
}
