//! OpenAPI 3 documents as JSON Schema, draft 4: the event (or the first component) is the schema, the other components its
//! definitions.

use serde_json::{Map, Value, json};

const DIALECT: &str = "http://json-schema.org/draft-04/schema#";

/// The document as JSON Schema; `None` when it has no components.
pub fn to_json_schema(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text).ok()?;
    let schemas = document["components"]["schemas"].as_object()?;
    let root = if schemas.contains_key("AWSEvent") { "AWSEvent" } else { schemas.keys().next()? };
    let mut schema = Map::from_iter([("$schema".to_string(), json!(DIALECT))]);
    if let Some(title) = document["info"]["title"].as_str() {
        schema.insert("title".into(), json!(title));
    }
    let others = schemas.iter().filter(|(name, _)| *name != root);
    let definitions: Map<String, Value> =
        others.map(|(name, one)| (name.clone(), converted(one, root))).collect();
    if !definitions.is_empty() {
        schema.insert("definitions".into(), Value::Object(definitions));
    }
    if let Value::Object(members) = converted(schemas.get(root)?, root) {
        schema.extend(members);
    }
    Some(Value::Object(schema).to_string())
}

/// A schema of OpenAPI in the words of JSON Schema. Documents nest no deeper than their parser allows.
fn converted(schema: &Value, root: &str) -> Value {
    match schema {
        Value::Object(members) => {
            let mut out = Map::new();
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        out.insert(name.clone(), json!(pointer(target, root)));
                    }
                    // Words that only OpenAPI knows.
                    ("nullable" | "example" | "discriminator" | "xml" | "externalDocs" | "deprecated", _) => {
                    }
                    ("readOnly" | "writeOnly", _) => {}
                    ("properties", Value::Object(properties)) => {
                        let inside =
                            properties.iter().map(|(name, one)| (name.clone(), converted(one, root)));
                        out.insert(name.clone(), Value::Object(inside.collect()));
                    }
                    ("enum" | "default" | "required", _) => {
                        out.insert(name.clone(), value.clone());
                    }
                    _ => {
                        out.insert(name.clone(), converted(value, root));
                    }
                }
            }
            if let (Some(true), Some(Value::String(kind))) =
                (members.get("nullable").and_then(Value::as_bool), members.get("type"))
            {
                out.insert("type".into(), json!([kind, "null"]));
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(|item| converted(item, root)).collect(),
        other => other.clone(),
    }
}

fn pointer(target: &str, root: &str) -> String {
    match target.strip_prefix("#/components/schemas/") {
        Some(name) if name == root => "#".into(),
        Some(name) => format!("#/definitions/{name}"),
        None => target.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_become_definitions() {
        let text = json!({"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": {}, "components": {"schemas": {
            "Other": {"type": "string", "nullable": true, "example": "x"},
            "AWSEvent": {"type": "object", "properties": {"example": {"$ref": "#/components/schemas/Other"}}},
        }}});
        let exported: Value =
            serde_json::from_str(&to_json_schema(&text.to_string()).expect("exported")).expect("JSON");
        assert_eq!(
            exported,
            json!({"$schema": DIALECT, "title": "T", "definitions": {"Other": {"type": ["string", "null"]}},
                   "type": "object", "properties": {"example": {"$ref": "#/definitions/Other"}}})
        );
        assert_eq!(to_json_schema("{}"), None);
    }
}
