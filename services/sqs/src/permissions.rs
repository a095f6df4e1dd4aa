//! Permissions as statements of the queue's policy. Policies are kept and shown; they are enforced with IAM's.

use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Sqs,
    api::{AddPermissionRequest, RemovePermissionRequest},
    state::invalid,
};

/// What others than a queue's owner can be allowed.
const SHARED: [&str; 9] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];

pub async fn add_permission(sqs: &Sqs, cx: &Cx, input: AddPermissionRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    let accounts: Vec<String> =
        input.aws_account_ids.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    let actions: Vec<String> = input.actions.iter().map(|action| format!("SQS:{action}")).collect();
    if accounts.is_empty() || actions.is_empty() {
        return Err(Fault::new("MissingParameter", "The request must contain accounts and actions."));
    }
    if let Some(action) = input.actions.iter().find(|action| !SHARED.contains(&action.as_str())) {
        return Err(invalid(format!(
            "Value SQS:{action} for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action."
        )));
    }
    let is_account = |id: &String| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    if !input.aws_account_ids.iter().all(is_account) {
        return Err(invalid(format!(
            "Value [{}] for parameter PrincipalId is invalid. Reason: Unable to verify.",
            input.aws_account_ids.join(", ")
        )));
    }
    sqs.change(&queue, |row| {
        let mut policy = read(row.settings.policy.as_deref(), &row.arn);
        let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        if statements.iter().any(|one| one["Sid"] == input.label.as_str()) {
            return Err(invalid(format!(
                "Value {} for parameter Label is invalid. Reason: Already exists.",
                input.label
            )));
        }
        let statement = json!({
            "Sid": input.label,
            "Effect": "Allow",
            "Principal": {"AWS": single(accounts)},
            "Action": single(actions),
            "Resource": row.arn,
        });
        policy["Statement"] = statements.into_iter().chain([statement]).collect();
        row.settings.policy = Some(policy.to_string());
        Ok(Unit)
    })
    .await
}

pub async fn remove_permission(sqs: &Sqs, cx: &Cx, input: RemovePermissionRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    sqs.change(&queue, |row| {
        let mut policy = read(row.settings.policy.as_deref(), &row.arn);
        let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        let left: Vec<Value> =
            statements.iter().filter(|one| one["Sid"] != input.label.as_str()).cloned().collect();
        if left.len() == statements.len() {
            return Err(invalid(format!(
                "Value {} for parameter Label is invalid. Reason: can't find label on existing policy.",
                input.label
            )));
        }
        policy["Statement"] = Value::Array(left.clone());
        row.settings.policy = (!left.is_empty()).then(|| policy.to_string());
        Ok(Unit)
    })
    .await
}

fn read(policy: Option<&str>, arn: &str) -> Value {
    policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(
        || json!({"Version": "2008-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": []}),
    )
}

/// AWS prints a list of one as the one.
fn single(mut all: Vec<String>) -> Value {
    if all.len() == 1 { Value::String(all.remove(0)) } else { Value::from(all) }
}
