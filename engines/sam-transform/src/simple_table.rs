//! `AWS::Serverless::SimpleTable`: a table with one key, whose name and type are the template's.

use serde_json::{Value, json};

use crate::{
    SamError,
    made::{Made, tag_list},
};

const PROPERTIES: &[&str] = &[
    "PrimaryKey",
    "ProvisionedThroughput",
    "TableName",
    "Tags",
    "SSESpecification",
    "PointInTimeRecoverySpecification",
];

pub(crate) fn translate(made: &mut Made, name: &str, resource: &Value) -> Result<(), SamError> {
    let properties = &resource["Properties"];
    crate::function::check_known(name, "AWS::Serverless::SimpleTable", properties, PROPERTIES)?;
    let key = properties.get("PrimaryKey");
    let attribute = key.and_then(|key| key.get("Name")).cloned().unwrap_or_else(|| json!("id"));
    let kind = match key.map(|key| key.get("Type").and_then(Value::as_str).unwrap_or("String")) {
        None | Some("String") => "S",
        Some("Number") => "N",
        Some("Binary") => "B",
        Some(other) => {
            return Err(SamError::new(name, format!("Invalid 'Type' \"{other}\".")));
        }
    };
    let mut table = json!({
        "AttributeDefinitions": [{"AttributeName": attribute, "AttributeType": kind}],
        "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
    });
    match properties.get("ProvisionedThroughput") {
        Some(throughput) => table["ProvisionedThroughput"] = throughput.clone(),
        None => table["BillingMode"] = json!("PAY_PER_REQUEST"),
    }
    for kept in ["TableName", "SSESpecification", "PointInTimeRecoverySpecification"] {
        if let Some(value) = properties.get(kept) {
            table[kept] = value.clone();
        }
    }
    if properties.get("Tags").is_some() {
        table["Tags"] = Value::Array(tag_list(properties.get("Tags")));
    }
    let mut plain = resource.clone();
    plain["Type"] = json!("AWS::DynamoDB::Table");
    plain["Properties"] = table;
    made.put(name, plain);
    Ok(())
}
