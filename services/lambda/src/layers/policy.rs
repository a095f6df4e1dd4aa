//! Layer policies: which other accounts may use a version. Conditions on organizations are kept and answered; there are
//! no organizations here, so they let nobody in.

use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use super::{
    layer_arn, number,
    shelf::{LayerRow, VersionRow},
};
use crate::{
    Lambda,
    api::{
        AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, GetLayerVersionPolicyRequest,
        GetLayerVersionPolicyResponse, PreconditionFailedException, RemoveLayerVersionPermissionRequest,
        ResourceConflictException, ResourceNotFoundException,
    },
};

pub async fn add_layer_version_permission(
    lambda: &Lambda,
    cx: &Cx,
    input: AddLayerVersionPermissionRequest,
) -> Result<AddLayerVersionPermissionResponse, Fault> {
    let (arn, number) = (layer_arn(cx, &input.layer_name), number(input.version_number)?);
    let revision = cx.random().uuid();
    let statement = statement(&format!("{arn}:{number}"), &input).to_string();
    let answer = AddLayerVersionPermissionResponse {
        statement: Some(statement.clone()),
        revision_id: Some(revision.clone()),
    };
    change(lambda, &arn, number, |version| {
        expect_revision(version, input.revision_id.as_deref())?;
        if version.statements.contains_key(&input.statement_id) {
            let sentence = format!("The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.", input.statement_id);
            return Err(ResourceConflictException::new(sentence).into());
        }
        version.statements.insert(input.statement_id.clone(), statement);
        version.policy_revision = revision;
        Ok(answer)
    })
    .await
}

fn statement(resource: &str, input: &AddLayerVersionPermissionRequest) -> Value {
    let principal = match input.principal.as_str() {
        "*" => json!("*"),
        arn if arn.starts_with("arn:") => json!({ "AWS": arn }),
        account => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
    };
    let mut statement = json!({
        "Sid": input.statement_id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": input.action,
        "Resource": resource,
    });
    if let Some(organization) = &input.organization_id {
        statement["Condition"] = json!({ "StringEquals": { "aws:PrincipalOrgID": organization } });
    }
    statement
}

pub async fn remove_layer_version_permission(
    lambda: &Lambda,
    cx: &Cx,
    input: RemoveLayerVersionPermissionRequest,
) -> Result<Unit, Fault> {
    let (arn, number) = (layer_arn(cx, &input.layer_name), number(input.version_number)?);
    let revision = cx.random().uuid();
    change(lambda, &arn, number, |version| {
        expect_revision(version, input.revision_id.as_deref())?;
        if version.statements.remove(&input.statement_id).is_none() {
            let sentence = format!("Statement {} is not found in resource policy.", input.statement_id);
            return Err(ResourceNotFoundException::new(sentence).into());
        }
        version.policy_revision = revision;
        Ok(Unit)
    })
    .await
}

pub async fn get_layer_version_policy(
    lambda: &Lambda,
    cx: &Cx,
    input: GetLayerVersionPolicyRequest,
) -> Result<GetLayerVersionPolicyResponse, Fault> {
    let (arn, number) = (layer_arn(cx, &input.layer_name), number(input.version_number)?);
    let row = lambda.layers.get(&arn).ok_or_else(|| no_version(&arn, number))?;
    let version = row.versions.get(&number).ok_or_else(|| no_version(&arn, number))?;
    if version.statements.is_empty() {
        return Err(ResourceNotFoundException::new("No policy is associated with the given resource.").into());
    }
    let list: Vec<Value> = statements(version).collect();
    let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": list });
    Ok(GetLayerVersionPolicyResponse {
        policy: Some(policy.to_string()),
        revision_id: Some(version.policy_revision.clone()),
    })
}

/// The layer's own account may use it, others as its policy says.
pub fn may_read(cx: &Cx, row: &LayerRow, number: u64, version: &VersionRow) -> Result<(), Fault> {
    let account = cx.account();
    if row.account == account {
        return Ok(());
    }
    let root = format!("arn:aws:iam::{account}:root");
    let lets_in = |statement: &Value| {
        let principal = statement.get("Principal");
        let named = principal.and_then(|principal| principal.get("AWS")).and_then(Value::as_str);
        statement.get("Condition").is_none()
            && (principal.and_then(Value::as_str) == Some("*") || named == Some(&root))
    };
    if statements(version).any(|statement| lets_in(&statement)) {
        return Ok(());
    }
    let sentence = format!(
        "User: {} is not authorized to perform: lambda:GetLayerVersion on resource: {}:{number} because no resource-based policy allows the lambda:GetLayerVersion action",
        cx.request().principal.arn,
        row.arn
    );
    Err(Fault::new("AccessDeniedException", sentence).with_status(403))
}

fn statements(version: &VersionRow) -> impl Iterator<Item = Value> {
    version.statements.values().filter_map(|text| serde_json::from_str(text).ok())
}

async fn change<T>(
    lambda: &Lambda,
    arn: &str,
    number: u64,
    change: impl FnOnce(&mut VersionRow) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let on_layer =
        |row: &mut LayerRow| change(row.versions.get_mut(&number).ok_or_else(|| no_version(arn, number))?);
    lambda.layers.change(&lambda.platform, arn, || Err(no_version(arn, number)), on_layer).await
}

fn expect_revision(version: &VersionRow, revision: Option<&str>) -> Result<(), Fault> {
    match revision {
        Some(revision) if revision != version.policy_revision => Err(PreconditionFailedException::new("The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id").into()),
        _ => Ok(()),
    }
}

fn no_version(arn: &str, number: u64) -> Fault {
    ResourceNotFoundException::new(format!("Layer version {arn}:{number} does not exist.")).into()
}
