//! The entry: goes through a template's resources and replaces SAM's own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{SamError, function, globals::Globals, layer, made::Made, references, simple_table};

/// How templates name the transform.
pub const NAME: &str = "AWS::Serverless-2016-10-31";

/// A SAM template as plain CloudFormation. `parameters` are the values given, with which references in SAM's own
/// resources are replaced where the outcome depends on them.
///
/// # Errors
/// The first resource that is wrong or uses what is not translated.
pub fn transform(template: &Value, parameters: &BTreeMap<String, Value>) -> Result<Value, SamError> {
    let globals = Globals::read(template.get("Globals"))?;
    let empty = Map::new();
    let resources = template.get("Resources").and_then(Value::as_object).unwrap_or(&empty);
    let mut made = Made::new(resources, parameters);
    for (name, resource) in resources {
        translate(&globals, &mut made, name, resource)?;
    }
    let (resources, renamed) = made.finish();
    let mut sections = template.as_object().cloned().unwrap_or_default();
    sections.remove("Transform");
    sections.remove("Globals");
    sections.insert("Resources".into(), Value::Object(resources));
    let mut whole = Value::Object(sections);
    references::rename(&mut whole, &renamed);
    Ok(whole)
}

fn translate(globals: &Globals, made: &mut Made, name: &str, resource: &Value) -> Result<(), SamError> {
    let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
    match kind.strip_prefix("AWS::Serverless::") {
        None => Ok(()),
        Some("Function") => function::translate(made, name, &globals.function(resource)),
        Some("SimpleTable") => simple_table::translate(made, name, &globals.simple_table(resource)),
        Some("LayerVersion") => layer::translate(made, name, &globals.layer(resource)),
        Some(_) => Err(SamError::not_translated(name, format_args!("Resource type {kind}"))),
    }
}
