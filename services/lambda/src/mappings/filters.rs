//! Filters of mappings: a record is wanted when one of the patterns matches.
//!
//! Source: "Lambda event filtering" in the developer guide: a pattern for a message's body means its JSON when the pattern
//! is an object, and its text when it is a list.

use serde_json::Value;
use tidemill_event_pattern::Pattern;
use tidemill_platform::Fault;

use crate::api::InvalidParameterValueException;

#[derive(Default)]
pub struct Filters(Vec<Filter>);

struct Filter {
    pattern: Pattern,
    reads_body: bool,
}

impl Filters {
    pub fn parse(texts: &[String]) -> Result<Filters, Fault> {
        let parse = |text: &String| {
            let pattern = Pattern::parse(text).map_err(|_| invalid())?;
            let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
            Ok(Filter { pattern, reads_body: value.get("body").is_some_and(Value::is_object) })
        };
        texts.iter().map(parse).collect::<Result<_, Fault>>().map(Filters)
    }

    /// Whether a record of a queue is wanted.
    pub fn let_message_in(&self, record: &[u8]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Ok(as_text) = serde_json::from_slice::<Value>(record) else { return true };
        let body = as_text.get("body").and_then(Value::as_str).unwrap_or_default();
        let parsed: Option<Value> = serde_json::from_str(body).ok().filter(|body: &Value| !body.is_string());
        let as_json = parsed.map(|body| {
            let mut record = as_text.clone();
            record["body"] = body;
            record
        });
        self.0.iter().any(|filter| match (&as_json, filter.reads_body) {
            (Some(record), true) => filter.pattern.matches_naive(record),
            (None, true) => false,
            (_, false) => filter.pattern.matches_naive(&as_text),
        })
    }
}

pub fn invalid() -> Fault {
    InvalidParameterValueException::new("Invalid filter pattern definition.").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_or_text_as_the_pattern_says() {
        let wants = |pattern: &str, body: &str| {
            let record = serde_json::json!({"messageId": "1", "body": body}).to_string();
            Filters::parse(&[pattern.into()]).unwrap().let_message_in(record.as_bytes())
        };
        for (pattern, body, expected) in [
            (r#"{"body":{"kind":["order"]}}"#, r#"{"kind":"order"}"#, true),
            (r#"{"body":{"kind":["order"]}}"#, r#"{"kind":"other"}"#, false),
            (r#"{"body":{"kind":["order"]}}"#, "order", false),
            (r#"{"body":["order"]}"#, "order", true),
            (r#"{"body":["order"]}"#, r#"{"kind":"order"}"#, false),
            (r#"{"body":[{"prefix":"or"}]}"#, "order", true),
            (r#"{"messageId":["1"]}"#, "anything", true),
            (r#"{"body":{"n":[{"numeric":[">",5]}]}}"#, r#"{"n":7}"#, true),
        ] {
            assert_eq!(wants(pattern, body), expected, "{pattern} {body}");
        }
        assert!(Filters::parse(&[]).unwrap().let_message_in(b"{}"));
        assert!(Filters::parse(&["{".into()]).is_err());
    }
}
