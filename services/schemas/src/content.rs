//! What counts as a schema's text.

use serde_json::Value;
use tidemill_platform::Fault;

use crate::faults::bad_request;

pub const OPEN_API: &str = "OpenApi3";
pub const JSON_SCHEMA: &str = "JSONSchemaDraft4";

/// The longest text of a version, in bytes.
pub const LONGEST: usize = 100_000;

/// Checks that a text is a schema of this kind.
pub fn check(kind: &str, text: &str) -> Result<(), Fault> {
    if text.len() > LONGEST {
        return Err(bad_request(format!("Schema content is longer than {LONGEST} bytes.")));
    }
    let parsed: Value = serde_json::from_str(text)
        .map_err(|error| bad_request(format!("Schema content is not valid JSON: {error}.")))?;
    let Value::Object(members) = &parsed else {
        return Err(bad_request("Schema content must be a JSON object."));
    };
    let lacks = |what: &str| Err(bad_request(format!("Schema content is no valid {kind}: {what}.")));
    let is_object = |name: &str| members.get(name).is_some_and(Value::is_object);
    if kind == JSON_SCHEMA {
        return match members.get("$schema").map(Value::as_str) {
            None => Ok(()),
            Some(Some(dialect)) if dialect.contains("draft-04") => Ok(()),
            Some(_) => lacks("$schema is not that of draft 4"),
        };
    }
    if !members.get("openapi").and_then(Value::as_str).is_some_and(|version| version.starts_with("3.")) {
        return lacks("openapi must be a version 3");
    }
    let info = |name: &str| parsed["info"][name].is_string();
    if !info("title") || !info("version") {
        return lacks("info must have a title and a version");
    }
    if !is_object("paths") {
        return lacks("paths must be an object");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_from_schemas() {
        let open = r#"{"openapi": "3.0.0", "info": {"title": "a", "version": "1"}, "paths": {}}"#;
        assert!(check(OPEN_API, open).is_ok());
        for text in ["", "[]", "{}", r#"{"openapi": "2.0"}"#, &open.replace("\"paths\"", "\"path\"")] {
            assert!(check(OPEN_API, text).is_err(), "{text}");
        }
        assert!(check(JSON_SCHEMA, r#"{"type": "object"}"#).is_ok());
        assert!(check(JSON_SCHEMA, r#"{"$schema": "http://json-schema.org/draft-04/schema#"}"#).is_ok());
        assert!(check(JSON_SCHEMA, r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#).is_err());
    }
}
