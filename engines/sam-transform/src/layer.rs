//! `AWS::Serverless::LayerVersion`: a layer whose id tells its content, so that a change publishes a new version.

use serde_json::{Map, Value, json};

use crate::{
    SamError,
    function::{check_known, code_location},
    made::{Made, content_id},
};

const PROPERTIES: &[&str] = &[
    "LayerName",
    "Description",
    "ContentUri",
    "CompatibleArchitectures",
    "CompatibleRuntimes",
    "LicenseInfo",
    "RetentionPolicy",
];

pub(crate) fn translate(made: &mut Made, name: &str, resource: &Value) -> Result<(), SamError> {
    let properties = &resource["Properties"];
    check_known(name, "AWS::Serverless::LayerVersion", properties, PROPERTIES)?;
    let content = properties
        .get("ContentUri")
        .ok_or_else(|| SamError::new(name, "Missing required property 'ContentUri'."))?;
    let mut layer = json!({
        "Content": code_location(name, "ContentUri", content)?,
        "LayerName": properties.get("LayerName").cloned().unwrap_or_else(|| json!(name)),
    });
    for kept in ["Description", "CompatibleArchitectures", "CompatibleRuntimes", "LicenseInfo"] {
        if let Some(value) = properties.get(kept) {
            layer[kept] = value.clone();
        }
    }
    let policy = properties
        .get("RetentionPolicy")
        .and_then(|value| made.text(value))
        .unwrap_or_else(|| "Retain".into());
    let policy = match policy.to_lowercase().as_str() {
        "retain" => "Retain",
        "delete" => "Delete",
        _ => {
            return Err(SamError::new(
                name,
                "'RetentionPolicy' must be one of the following options: ['Retain', 'Delete'].",
            ));
        }
    };
    let whole = json!({"Type": "AWS::Serverless::LayerVersion", "Properties": properties});
    let id = format!("{name}{}", content_id(&Value::Object(Map::from_iter([(name.to_string(), whole)]))));
    let mut plain = resource.clone();
    plain["Type"] = json!("AWS::Lambda::LayerVersion");
    plain["DeletionPolicy"] = json!(policy);
    plain["Properties"] = layer;
    made.remove(name);
    made.put(&id, plain);
    made.rename(name, id);
    Ok(())
}
