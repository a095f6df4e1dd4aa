//! Settings of targets that are the same for every event, or a path into the event (`$.body.customer`). Source: "Dynamic
//! path parameters" in the EventBridge user guide. As in templates, payload fields that are JSON text are read as JSON.

use serde_json::Value;
use tidemill_input_transformer::{PipeContext, PipeTemplate};
use tidemill_platform::Fault;

pub enum Setting {
    Constant(String),
    Path { path: String, template: PipeTemplate },
}

impl Setting {
    /// A text that begins with `$.` (or is `$`) is a path.
    pub fn parse(name: &str, text: &str) -> Result<Setting, Fault> {
        if text != "$" && !text.starts_with("$.") {
            return Ok(Setting::Constant(text.into()));
        }
        let template = PipeTemplate::parse(&format!("<{text}>"))
            .map_err(|_| Fault::validation(format!("{name} is not a valid JSON path: {text}")))?;
        Ok(Setting::Path { path: text.into(), template })
    }

    pub fn parse_some(name: &str, text: Option<&String>) -> Result<Option<Setting>, Fault> {
        text.filter(|text| !text.is_empty()).map(|text| Setting::parse(name, text)).transpose()
    }

    /// The text for an event; a fault when its path leads to nothing, or to something that is no text.
    pub fn of(&self, event: &Value, context: &PipeContext<'_>) -> Result<String, Fault> {
        let (path, template) = match self {
            Setting::Constant(text) => return Ok(text.clone()),
            Setting::Path { path, template } => (path, template),
        };
        match serde_json::from_str(&template.apply(event, context)) {
            Ok(Value::String(text)) if !text.is_empty() => Ok(text),
            Ok(Value::Number(number)) => Ok(number.to_string()),
            Ok(Value::Bool(value)) => Ok(value.to_string()),
            _ => Err(Fault::validation(format!("The path {path} does not lead to a text in the event."))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_texts_or_paths() {
        let context = PipeContext {
            pipe_arn: "",
            pipe_name: "",
            source_arn: "",
            enrichment_arn: None,
            target_arn: "",
            ingestion_time: "",
        };
        let event = json!({"messageId": "m", "body": r#"{"customer": "c", "n": 7, "deep": {"a": [1]}}"#});
        let of = |text: &str| Setting::parse("Group", text)?.of(&event, &context);
        for (text, expected) in [
            ("all", Some("all")),
            ("$5", Some("$5")),
            ("$.messageId", Some("m")),
            ("$.body.customer", Some("c")),
            ("$.body.n", Some("7")),
            ("$.body.deep.a[0]", Some("1")),
            ("$.body.deep", None),
            ("$.body.missing", None),
            ("$..body", None),
        ] {
            assert_eq!(of(text).ok().as_deref(), expected, "{text}");
        }
    }
}
