//! `AWS::Lambda::LayerVersion` and `AWS::Lambda::LayerVersionPermission`. Versions do not change: every update makes a new
//! one.

use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, Wanted, text},
};

use super::{
    add_layer_version_permission, delete_layer_version, publish_layer_version,
    remove_layer_version_permission, shelf,
};
use crate::{
    Lambda,
    api::{
        AddLayerVersionPermissionRequest, DeleteLayerVersionRequest, LayerVersionContentInput,
        PublishLayerVersionRequest, RemoveLayerVersionPermissionRequest,
    },
    resources::{provided, strings},
};

pub async fn publish(lambda: &Lambda, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
    let properties = wanted.properties;
    let content = properties.get("Content").unwrap_or(&Value::Null);
    let runtimes = strings(properties, "CompatibleRuntimes");
    let architectures = strings(properties, "CompatibleArchitectures");
    let input = PublishLayerVersionRequest {
        layer_name: text(properties, "LayerName").unwrap_or_else(|| wanted.generated_name.to_string()),
        description: text(properties, "Description"),
        content: LayerVersionContentInput {
            s3_bucket: text(content, "S3Bucket"),
            s3_key: text(content, "S3Key"),
            s3_object_version: text(content, "S3ObjectVersion"),
            zip_file: None,
        },
        compatible_runtimes: Some(runtimes.iter().map(|name| name.as_str().into()).collect()),
        license_info: text(properties, "LicenseInfo"),
        compatible_architectures: Some(architectures.iter().map(|name| name.as_str().into()).collect()),
    };
    let made = publish_layer_version(lambda, cx, input).await?;
    let arn = made.layer_version_arn.unwrap_or_default();
    Ok(provided(&arn, [("LayerVersionArn", arn.clone())]))
}

pub async fn delete(lambda: &Lambda, cx: &Cx, arn: &str) -> Result<(), Fault> {
    let Some((layer_name, version_number)) = named(arn) else { return Ok(()) };
    let input = DeleteLayerVersionRequest { layer_name, version_number };
    delete_layer_version(lambda, cx, input).await.map(drop)
}

pub async fn permit(lambda: &Lambda, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
    let properties = wanted.properties;
    let arn = text(properties, "LayerVersionArn").unwrap_or_default();
    let missing = || Fault::validation(format!("Invalid layer version ARN: {arn}"));
    let (layer_name, version_number) = named(&arn).ok_or_else(missing)?;
    let statement_id: String = wanted.generated_name.chars().take(100).collect();
    let input = AddLayerVersionPermissionRequest {
        layer_name,
        version_number,
        statement_id: statement_id.clone(),
        action: text(properties, "Action").unwrap_or_default(),
        principal: text(properties, "Principal").unwrap_or_default(),
        organization_id: text(properties, "OrganizationId"),
        revision_id: None,
    };
    add_layer_version_permission(lambda, cx, input).await?;
    let id = format!("{arn}#{statement_id}");
    Ok(provided(&id, [("Id", id.clone())]))
}

pub async fn forbid(lambda: &Lambda, cx: &Cx, id: &str) -> Result<(), Fault> {
    let Some((arn, statement_id)) = id.split_once('#') else { return Ok(()) };
    let Some((layer_name, version_number)) = named(arn) else { return Ok(()) };
    let input = RemoveLayerVersionPermissionRequest {
        layer_name,
        version_number,
        statement_id: statement_id.to_string(),
        revision_id: None,
    };
    remove_layer_version_permission(lambda, cx, input).await.map(drop)
}

fn named(arn: &str) -> Option<(String, i64)> {
    let (layer, number) = shelf::split(arn)?;
    Some((layer.to_string(), i64::try_from(number).ok()?))
}
