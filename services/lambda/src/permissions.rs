//! Resource policies: who may invoke a function. They are kept and answered; enforcement comes with IAM's.

use serde_json::{Map, Value, json};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{
        AddPermissionRequest, AddPermissionResponse, GetPolicyRequest, GetPolicyResponse,
        PreconditionFailedException, RemovePermissionRequest, ResourceConflictException,
        ResourceNotFoundException,
    },
    names::Named,
    state::FunctionRow,
};

pub async fn add_permission(
    lambda: &Lambda,
    cx: &Cx,
    input: AddPermissionRequest,
) -> Result<AddPermissionResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let statement = statement(&named, &input).to_string();
    lambda
        .change(&named, None, |row| {
            if !row.has(named.qualifier.as_deref()) {
                return Err(named.not_found());
            }
            expect_policy(row, input.revision_id.as_deref())?;
            let statements = row.statements.entry(named.qualifier.clone().unwrap_or_default()).or_default();
            if statements.contains_key(&input.statement_id) {
                let sentence = format!("The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing statement.", input.statement_id);
                return Err(ResourceConflictException::new(sentence).into());
            }
            statements.insert(input.statement_id.clone(), statement.clone());
            Ok(AddPermissionResponse { statement: Some(statement) })
        })
        .await
}

fn expect_policy(row: &FunctionRow, revision: Option<&str>) -> Result<(), Fault> {
    if revision.is_none_or(|revision| revision == row.latest.revision_id) {
        return Ok(());
    }
    Err(PreconditionFailedException::new("The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id").into())
}

fn statement(named: &Named, input: &AddPermissionRequest) -> Value {
    let principal = match input.principal.as_str() {
        "*" => json!("*"),
        service if service.ends_with(".amazonaws.com") => json!({ "Service": service }),
        account if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) => {
            json!({ "AWS": format!("arn:aws:iam::{account}:root") })
        }
        arn => json!({ "AWS": arn }),
    };
    let mut condition = Map::new();
    let mut when = |operator: &str, key: &str, value: &Option<String>| {
        if let Some(value) = value {
            condition.entry(operator).or_insert_with(|| json!({}))[key] = json!(value);
        }
    };
    when("StringEquals", "AWS:SourceAccount", &input.source_account);
    when("StringEquals", "lambda:EventSourceToken", &input.event_source_token);
    when("StringEquals", "aws:PrincipalOrgID", &input.principal_org_id);
    when(
        "StringEquals",
        "lambda:FunctionUrlAuthType",
        &input.function_url_auth_type.as_ref().map(ToString::to_string),
    );
    when("ArnLike", "AWS:SourceArn", &input.source_arn);
    let by_url = input.invoked_via_function_url.map(|by_url| by_url.to_string());
    when("Bool", "lambda:InvokedViaFunctionUrl", &by_url);
    let mut statement = json!({
        "Sid": input.statement_id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": input.action,
        "Resource": named.qualified_arn(),
    });
    if !condition.is_empty() {
        statement["Condition"] = Value::Object(condition);
    }
    statement
}

pub async fn remove_permission(
    lambda: &Lambda,
    cx: &Cx,
    input: RemovePermissionRequest,
) -> Result<Unit, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    lambda
        .change(&named, None, |row| {
            expect_policy(row, input.revision_id.as_deref())?;
            let statements = row.statements.entry(named.qualifier.clone().unwrap_or_default()).or_default();
            if statements.remove(&input.statement_id).is_none() {
                return Err(ResourceNotFoundException::new(format!(
                    "Statement {} is not found in resource policy.",
                    input.statement_id
                ))
                .into());
            }
            Ok(Unit)
        })
        .await
}

pub async fn get_policy(
    lambda: &Lambda,
    cx: &Cx,
    input: GetPolicyRequest,
) -> Result<GetPolicyResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let row = lambda.get(&named)?;
    let statements = row
        .statements
        .get(named.qualifier.as_deref().unwrap_or_default())
        .filter(|statements| !statements.is_empty());
    let statements = statements.ok_or_else(|| {
        Fault::from(ResourceNotFoundException::new("The resource you requested does not exist."))
    })?;
    let list: Vec<Value> = statements.values().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": list });
    Ok(GetPolicyResponse {
        policy: Some(policy.to_string()),
        revision_id: Some(row.latest.revision_id.clone()),
    })
}
