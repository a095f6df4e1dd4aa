//! Templates of EventBridge Pipes: paths stand directly in the template (`<$.body.id>`), beside the pipe's own
//! variables. A source's payload fields (`body`, `data`, `key`, `value`) that are JSON text are read as JSON; payloads
//! in base64 are the caller's to decode first.

use crate::path::InputPath;
use crate::template::{Template, TemplateError};
use serde_json::Value;
use std::borrow::Cow;

/// The fields that sources put their payload in.
const PAYLOAD_FIELDS: [&str; 4] = ["body", "data", "key", "value"];

/// A pipe's input template, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct PipeTemplate {
    template: Template<Variable>,
}

/// What the reserved variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct PipeContext<'c> {
    /// `<aws.pipes.pipe-arn>`
    pub pipe_arn: &'c str,
    /// `<aws.pipes.pipe-name>`
    pub pipe_name: &'c str,
    /// `<aws.pipes.source-arn>`
    pub source_arn: &'c str,
    /// `<aws.pipes.enrichment-arn>`; missing where the pipe has none.
    pub enrichment_arn: Option<&'c str>,
    /// `<aws.pipes.target-arn>`
    pub target_arn: &'c str,
    /// `<aws.pipes.event.ingestion-time>`, as ISO 8601.
    pub ingestion_time: &'c str,
}

#[derive(Clone, Debug, PartialEq)]
enum Variable {
    Path(InputPath),
    PipeArn,
    PipeName,
    SourceArn,
    EnrichmentArn,
    TargetArn,
    IngestionTime,
    Event,
    EventJson,
}

impl PipeTemplate {
    /// Parses a pipe's `InputTemplate`.
    ///
    /// # Errors
    /// As `InputTransformer::parse`.
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        Ok(Self { template: Template::parse(template, resolve)? })
    }

    /// What the target or the enrichment receives for one event.
    pub fn apply(&self, event: &Value, context: &PipeContext<'_>) -> String {
        self.template.fill(|variable| match variable {
            Variable::Path(path) => path.walk(event, |value, name| Some(parsed(value, name))),
            Variable::PipeArn => Some(context.pipe_arn.into()),
            Variable::PipeName => Some(context.pipe_name.into()),
            Variable::SourceArn => Some(context.source_arn.into()),
            Variable::EnrichmentArn => context.enrichment_arn.map(Into::into),
            Variable::TargetArn => Some(context.target_arn.into()),
            Variable::IngestionTime => Some(context.ingestion_time.into()),
            Variable::Event => Some(with_payload(event)),
            Variable::EventJson => Some(event.clone()),
        })
    }
}

fn resolve(name: &str) -> Result<Variable, TemplateError> {
    Ok(match name {
        "aws.pipes.pipe-arn" => Variable::PipeArn,
        "aws.pipes.pipe-name" => Variable::PipeName,
        "aws.pipes.source-arn" => Variable::SourceArn,
        "aws.pipes.enrichment-arn" => Variable::EnrichmentArn,
        "aws.pipes.target-arn" => Variable::TargetArn,
        "aws.pipes.event.ingestion-time" => Variable::IngestionTime,
        "aws.pipes.event" => Variable::Event,
        "aws.pipes.event.json" => Variable::EventJson,
        path => Variable::Path(InputPath::parse(path).map_err(|_| TemplateError::unknown(path))?),
    })
}

/// A payload field's text as the object or array it spells.
fn parsed<'e>(value: &'e Value, name: Option<&str>) -> Cow<'e, Value> {
    let (Value::String(text), Some(name)) = (value, name) else { return Cow::Borrowed(value) };
    if !PAYLOAD_FIELDS.contains(&name) {
        return Cow::Borrowed(value);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(parsed) if parsed.is_object() || parsed.is_array() => Cow::Owned(parsed),
        _ => Cow::Borrowed(value),
    }
}

/// The event with its payload fields read as JSON.
fn with_payload(event: &Value) -> Value {
    let Some(fields) = event.as_object() else { return event.clone() };
    let read = fields.iter().map(|(name, value)| (name.clone(), parsed(value, Some(name)).into_owned()));
    Value::Object(read.collect())
}

#[cfg(test)]
mod tests {
    use super::{PipeContext, PipeTemplate};
    use serde_json::json;

    const CONTEXT: PipeContext<'static> = PipeContext {
        pipe_arn: "arn:aws:pipes:us-east-1:123456789012:pipe/p",
        pipe_name: "p",
        source_arn: "arn:source",
        enrichment_arn: None,
        target_arn: "arn:target",
        ingestion_time: "2026-11-22T18:43:48Z",
    };

    #[test]
    fn templates_are_filled() {
        let event = json!({
            "messageId": "m1", "body": r#"{"order": {"id": 7, "items": ["a", "b"]}, "name": "n"}"#, "text": "{}",
        });
        let cases = [
            (r#"{"id": <$.body.order.id>, "first": <$.body.order.items[0]>}"#, r#"{"id": 7, "first": "a"}"#),
            (r#"{"order": <$.body.order>}"#, r#"{"order": {"id":7,"items":["a","b"]}}"#),
            (r#""<$.messageId>: <$.body.name>""#, r#""m1: n""#),
            (r#"{"all": <$.body>}"#, r#"{"all": {"order":{"id":7,"items":["a","b"]},"name":"n"}}"#),
            (r#"{"text": <$.text>}"#, r#"{"text": "{}"}"#),
            (r#"{"items": <$.body.order.items[*]>}"#, r#"{"items": ["a","b"]}"#),
            (r#"{"p": <aws.pipes.pipe-name>, "e": <aws.pipes.enrichment-arn>}"#, r#"{"p": "p", "e": ""}"#),
            (r#"{"m": <$.missing>}"#, r#"{"m": ""}"#),
        ];
        for (template, expected) in cases {
            let template = PipeTemplate::parse(template).expect(template);
            assert_eq!(template.apply(&event, &CONTEXT), expected);
        }
        let whole = PipeTemplate::parse("<aws.pipes.event.json>").expect("a template");
        assert_eq!(whole.apply(&event, &CONTEXT), event.to_string());
    }

    #[test]
    fn unknown_variables_are_refused() {
        for template in [r#"{"a": <body>}"#, "<aws.pipes.other>", r#"{"a": <$..b>}"#] {
            assert!(PipeTemplate::parse(template).is_err(), "{template}");
        }
    }
}
