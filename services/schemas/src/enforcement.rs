//! Events held to the latest version of their schema: JSON Schema draft 4 as it is, OpenAPI 3 as its export.
//!
//! Schemas are compiled when an event first needs them and kept within a bound. Their patterns take time linear in the
//! text, references lead nowhere outside the document, and one that cannot be compiled lets no event pass.

use std::{collections::HashMap, sync::Arc};

use jsonschema::{Draft, PatternOptions, Validator};
use parking_lot::Mutex;
use serde_json::Value;
use tidemill_platform::{Arn, Trace};

use crate::{
    Schemas,
    content::JSON_SCHEMA,
    discovery::schema_name,
    export,
    rows::{Version, schema_arn},
};

/// Compiled schemas that are kept; with one more all are compiled anew.
const MOST_COMPILED: usize = 256;
/// Of an event, what an error tells of.
const MOST_ERRORS: usize = 3;
/// Characters of one error.
const LONGEST_ERROR: usize = 300;
/// Checks that one look at an event may take, references followed.
const MOST_CHECKS: u64 = 100_000;

/// A validator, or why there is none.
type Made = Arc<Result<Validator, String>>;

/// ARN, number and time of a version → what was made of it.
#[derive(Default)]
pub struct Compiled(Mutex<HashMap<(String, u64, i64), Made>>);

impl Schemas {
    /// Holds an event to its schema in a registry; an event without a schema passes.
    pub fn check(&self, bus: &Arn, registry: &str, event: &str) -> Result<(), String> {
        let parsed: Value = serde_json::from_str(event)
            .map_err(|_| "The event is nested too deeply to be checked.".to_string())?;
        let text = |name: &str| parsed[name].as_str().unwrap_or_default();
        let name = schema_name(text("source"), text("detail-type"));
        let cx = self.platform.cx(&bus.account, &bus.region, Trace::default());
        let arn = schema_arn(&cx, registry, &name);
        let Some(version) = self.read(|kept| Some(kept.schemas.get(&arn)?.latest())) else { return Ok(()) };
        let validator = self.validator(&arn, &version);
        let validator = validator.as_ref().as_ref();
        let validator = validator.map_err(|why| format!("Schema {name} cannot be used: {why}."))?;
        let errors = validator.iter_errors(&parsed).take(MOST_ERRORS);
        let told: Vec<String> = errors.map(|error| told(&error)).collect();
        if told.is_empty() {
            return Ok(());
        }
        let number = version.number;
        Err(format!("The event breaks version {number} of schema {name}: {}.", told.join("; ")))
    }

    fn validator(&self, arn: &str, version: &Version) -> Made {
        let key = (arn.to_string(), version.number, version.created_at);
        if let Some(known) = self.compiled.0.lock().get(&key) {
            return known.clone();
        }
        let content = self.content(arn, version.number).map_err(|fault| fault.to_string());
        let made = Arc::new(content.and_then(|text| compiled(&version.kind, &text)));
        let mut all = self.compiled.0.lock();
        if all.len() >= MOST_COMPILED {
            all.clear();
        }
        all.insert(key, made.clone());
        made
    }
}

fn told(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "/".to_string() } else { place };
    let text: String = error.to_string().chars().take(LONGEST_ERROR).collect();
    format!("{text} at {place}")
}

fn compiled(kind: &str, text: &str) -> Result<Validator, String> {
    let lacking = || "it has no components".to_string();
    let text =
        if kind == JSON_SCHEMA { text.into() } else { export::to_json_schema(text).ok_or_else(lacking)? };
    let schema: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut known = HashMap::new();
    if checks(&schema, &schema, &mut known) > MOST_CHECKS {
        return Err("its references multiply beyond measure".into());
    }
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string().chars().take(LONGEST_ERROR).collect())
}

/// How many schemas one look goes through: a few references that double one another would take for ever.
fn checks(schema: &Value, root: &Value, known: &mut HashMap<String, u64>) -> u64 {
    let mut all = 1_u64;
    match schema {
        Value::Object(members) => {
            for (name, one) in members {
                let inside = match (name.as_str(), one) {
                    ("$ref", Value::String(target)) => followed(target, root, known),
                    ("definitions" | "enum" | "default" | "required", _) => 0,
                    _ => checks(one, root, known),
                };
                all = all.saturating_add(inside);
            }
        }
        Value::Array(items) => {
            for one in items {
                all = all.saturating_add(checks(one, root, known));
            }
        }
        _ => return 0,
    }
    all
}

fn followed(target: &str, root: &Value, known: &mut HashMap<String, u64>) -> u64 {
    if let Some(count) = known.get(target) {
        return *count;
    }
    // A circle counts once.
    known.insert(target.into(), 1);
    let found = target.strip_prefix('#').and_then(|path| root.pointer(path));
    let count = found.map_or(1, |one| checks(one, root, known));
    known.insert(target.into(), count);
    count
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::content::OPEN_API;

    fn errors(kind: &str, schema: &Value, detail: Value) -> Vec<String> {
        let validator = compiled(kind, &schema.to_string()).unwrap();
        let event = json!({"source": "shop", "detail": detail});
        validator.iter_errors(&event).map(|error| told(&error)).collect()
    }

    #[test]
    fn both_kinds_are_understood() {
        let order = json!({"type": "object", "required": ["id"], "properties": {
            "id": {"type": "integer", "minimum": 1}, "at": {"type": "string", "format": "date-time"}}});
        let event = |at: &str| json!({"type": "object", "required": ["detail"], "properties": {"detail": {"$ref": at}}});
        let mut json_schema = event("#/definitions/Order");
        json_schema["definitions"] = json!({"Order": order});
        let open_api = json!({"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": {}, "components": {
            "schemas": {"AWSEvent": event("#/components/schemas/Order"), "Order": order}}});
        for (kind, schema) in [(JSON_SCHEMA, json_schema), (OPEN_API, open_api)] {
            assert_eq!(
                errors(kind, &schema, json!({"id": 5, "at": "2026-11-23T00:00:00Z"})),
                [""; 0],
                "{kind}"
            );
            assert_eq!(
                errors(kind, &schema, json!({})),
                [r#""id" is a required property at /detail"#],
                "{kind}"
            );
            assert_eq!(errors(kind, &schema, json!({"id": 0, "at": "now"})).len(), 2, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_so() {
        let refused = |schema: Value| compiled(JSON_SCHEMA, &schema.to_string()).is_err();
        assert!(refused(json!({"type": 5})));
        assert!(refused(json!({"pattern": "(?=a)b"})), "looking around is not linear in time");
        assert!(refused(json!({"$ref": "http://example.com/schema"})), "nothing is fetched");
        assert!(!refused(json!({"$ref": "#"})));
        let mut definitions = serde_json::Map::new();
        for at in 0..40 {
            let next = json!({"$ref": format!("#/definitions/d{}", at + 1)});
            definitions.insert(format!("d{at}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("d40".into(), json!({"type": "object"}));
        assert!(refused(json!({"$ref": "#/definitions/d0", "definitions": definitions})));
    }
}
