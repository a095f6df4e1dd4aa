//! Input transformers of rules: named paths, and a template that uses the names and EventBridge's own variables.

use crate::path::InputPath;
use crate::template::{Template, TemplateError};
use serde_json::{Map, Value};
use std::collections::HashMap;

const MOST_PATHS: usize = 100;

/// An input transformer, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct InputTransformer {
    template: Template<Variable>,
}

/// What the reserved variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct RuleContext<'c> {
    /// `<aws.events.rule-arn>`
    pub rule_arn: &'c str,
    /// `<aws.events.rule-name>`
    pub rule_name: &'c str,
    /// `<aws.events.event.ingestion-time>`, as ISO 8601.
    pub ingestion_time: &'c str,
}

#[derive(Clone, Debug, PartialEq)]
enum Variable {
    Path(InputPath),
    RuleArn,
    RuleName,
    IngestionTime,
    /// The event without its detail.
    Event,
    EventJson,
}

impl InputTransformer {
    /// Parses `InputPathsMap` and `InputTemplate`.
    ///
    /// # Errors
    /// What `PutTargets` says of them; see `TemplateError::for_target`.
    pub fn parse<'p>(
        paths: impl IntoIterator<Item = (&'p str, &'p str)>,
        template: &str,
    ) -> Result<Self, TemplateError> {
        let mut known = HashMap::new();
        for (name, path) in paths {
            if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws.")) {
                return Err(TemplateError::reserved(name));
            }
            let parsed = InputPath::parse(path).map_err(|_| TemplateError::bad_path(name, path))?;
            known.insert(name, parsed);
        }
        if known.len() > MOST_PATHS {
            return Err(TemplateError::too_many_paths());
        }
        let resolve = |name: &str| match known.get(name) {
            Some(path) => Ok(Variable::Path(path.clone())),
            None => reserved(name).ok_or_else(|| TemplateError::unknown(name)),
        };
        Ok(Self { template: Template::parse(template, resolve)? })
    }

    /// What the target receives for an event. It is text as the template makes it, which need not be valid JSON: a
    /// string with quotes in it, put into a string, is not escaped.
    pub fn apply(&self, event: &Value, context: &RuleContext<'_>) -> String {
        self.template.fill(|variable| match variable {
            Variable::Path(path) => path.select(event),
            Variable::RuleArn => Some(context.rule_arn.into()),
            Variable::RuleName => Some(context.rule_name.into()),
            Variable::IngestionTime => Some(context.ingestion_time.into()),
            Variable::Event => Some(without_detail(event)),
            Variable::EventJson => Some(event.clone()),
        })
    }
}

fn reserved(name: &str) -> Option<Variable> {
    match name {
        "aws.events.rule-arn" => Some(Variable::RuleArn),
        "aws.events.rule-name" => Some(Variable::RuleName),
        "aws.events.event.ingestion-time" => Some(Variable::IngestionTime),
        "aws.events.event" => Some(Variable::Event),
        "aws.events.event.json" => Some(Variable::EventJson),
        _ => None,
    }
}

/// The event without its detail. AWS was seen to spell `detail-type` as `detailType` in it.
fn without_detail(event: &Value) -> Value {
    let Some(fields) = event.as_object() else { return event.clone() };
    let kept = fields.iter().filter(|(name, _)| *name != "detail");
    let renamed = kept.map(|(name, value)| {
        let name = if name == "detail-type" { "detailType" } else { name };
        (name.to_owned(), value.clone())
    });
    Value::Object(renamed.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::{InputTransformer, RuleContext};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const CONTEXT: RuleContext<'static> = RuleContext {
        rule_arn: "arn:aws:events:us-east-1:123456789012:rule/example",
        rule_name: "example",
        ingestion_time: "2026-11-22T18:43:48Z",
    };

    const PATHS: [(&str, &str); 7] = [
        ("instance", "$.detail.instance-id"),
        ("state", "$.detail.state"),
        ("detail", "$.detail"),
        ("resources", "$.resources"),
        ("count", "$.detail.count"),
        ("nothing", "$.detail.nothing"),
        ("none", "$.detail.none"),
    ];

    fn event() -> Value {
        json!({
            "version": "0", "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2",
            "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
            "detail": {"instance-id": "i-0123456789", "state": "RUNNING", "count": 3, "none": null},
        })
    }

    /// Most templates are the user guide's.
    #[test]
    fn templates_are_filled() {
        let cases = [
            (r#""instance <instance> is in <state>""#, r#""instance i-0123456789 is in RUNNING""#),
            (r#""instance \"<instance>\" is in <state>""#, r#""instance \"i-0123456789\" is in RUNNING""#),
            (
                r#"{"instance": <instance>, "state": <state>}"#,
                r#"{"instance": "i-0123456789", "state": "RUNNING"}"#,
            ),
            (
                r#"{"instance": <instance>, "state": "<state>", "instanceStatus": "instance \"<instance>\" is in <state>"}"#,
                r#"{"instance": "i-0123456789", "state": "RUNNING", "instanceStatus": "instance \"i-0123456789\" is in RUNNING"}"#,
            ),
            (
                r#"{"instance": <instance>, "state": [9, <state>, true], "Transformed": "Yes"}"#,
                r#"{"instance": "i-0123456789", "state": [9, "RUNNING", true], "Transformed": "Yes"}"#,
            ),
            (
                r#"{"rule": <aws.events.rule-arn>, "name": "<aws.events.rule-name>", "at": <aws.events.event.ingestion-time>}"#,
                r#"{"rule": "arn:aws:events:us-east-1:123456789012:rule/example", "name": "example", "at": "2026-11-22T18:43:48Z"}"#,
            ),
            (
                r#"{"detail": <detail>, "n": <count>}"#,
                r#"{"detail": {"instance-id":"i-0123456789","state":"RUNNING","count":3,"none":null}, "n": 3}"#,
            ),
            (
                r#""Detail is <detail>""#,
                r#""Detail is {instance-id:i-0123456789,state:RUNNING,count:3,none:null}""#,
            ),
            (r#"{"r": <resources>}"#, r#"{"r": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"]}"#),
            (r#"{"a": <nothing>, "b": "x<nothing>y", "c": <none>}"#, r#"{"a": "", "b": "xy", "c": null}"#),
            ("\"<state>\"\n\"<instance>\"", "\"RUNNING\"\n\"i-0123456789\""),
            ("<state>", "\"RUNNING\""),
        ];
        for (template, expected) in cases {
            let transformer = InputTransformer::parse(PATHS, template).expect(template);
            assert_eq!(transformer.apply(&event(), &CONTEXT), expected, "{template}");
        }
    }

    #[test]
    fn the_event_variables_are_json() {
        let transformer = InputTransformer::parse([], "<aws.events.event.json>").expect("a template");
        assert_eq!(transformer.apply(&event(), &CONTEXT), event().to_string());
        let transformer = InputTransformer::parse([], r#"{"e": <aws.events.event>}"#).expect("a template");
        let filled: Value = serde_json::from_str(&transformer.apply(&event(), &CONTEXT)).expect("JSON");
        assert_eq!(filled["e"]["detailType"], "EC2 Instance State-change Notification");
        assert_eq!(filled["e"].get("detail"), None);
    }

    #[test]
    fn bad_templates_are_refused() {
        let cases = [
            (
                "<instance> is in state <state>",
                "Invalid InputTemplate for target t : [Source: (String)\"null is in state null\"; line: 1, column: 6]",
            ),
            (r#"{"a": <unknown>}"#, "InputTemplate for target t contains invalid placeholder unknown."),
            (r#""a < b, <state>""#, "InputTemplate for target t contains invalid placeholder  b, <state."),
        ];
        for (template, sentence) in cases {
            let error = InputTransformer::parse(PATHS, template).expect_err(template);
            assert_eq!(error.for_target("t"), sentence);
        }
        for template in
            ["", "  ", r#"{"<state>": 1}"#, "{<state>: 1}", r#"{"a": }"#, r#""open"#, r#"{"<state>" : 1}"#]
        {
            assert!(InputTransformer::parse(PATHS, template).is_err(), "{template}");
        }
        assert!(InputTransformer::parse(PATHS, r#"{"a": "<state>", "b": "x"}"#).is_ok());
    }

    #[test]
    fn bad_paths_are_refused() {
        assert!(InputTransformer::parse([("aws.x", "$.a")], "<aws.x>").is_err());
        assert!(InputTransformer::parse([("x", "a")], "<x>").is_err());
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        assert!(InputTransformer::parse(many.iter().map(|name| (name.as_str(), "$")), "<0>").is_err());
    }

    proptest! {
        #[test]
        fn no_template_crashes(template in "[<>{}\\[\\]\":,a\\\\ \nstate]{0,40}") {
            if let Ok(transformer) = InputTransformer::parse(PATHS, &template) {
                transformer.apply(&event(), &CONTEXT);
            }
        }
    }
}
