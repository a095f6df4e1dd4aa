//! Permissions as statements of the topic's policy. Policies are kept and shown; they are enforced with IAM's.

use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Sns,
    api::{AddPermissionInput, RemovePermissionInput},
    state::{TopicRow, invalid},
    topic_settings::default_policy,
};

const ACTIONS: &[&str] = &[
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
    "Receive",
];

pub async fn add_permission(sns: &Sns, _: &Cx, input: AddPermissionInput) -> Result<Unit, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    if input.action_name.iter().any(|action| !ACTIONS.contains(&action.as_str()) && action != "*") {
        return Err(invalid("Policy statement action out of service scope!"));
    }
    if input.aws_account_id.iter().any(|id| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit())) {
        return Err(invalid("Policy Error: PrincipalNotFound"));
    }
    sns.change(&topic, |row| {
        let mut policy = read(row);
        let mut statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        if statements.iter().any(|one| one["Sid"] == input.label.as_str()) {
            return Err(invalid("Statement already exists"));
        }
        let principals: Vec<String> =
            input.aws_account_id.iter().map(|id| format!("arn:aws:iam::{id}:root")).collect();
        let actions: Vec<String> = input.action_name.iter().map(|action| format!("SNS:{action}")).collect();
        statements.push(json!({
            "Sid": input.label,
            "Effect": "Allow",
            "Principal": {"AWS": single(principals)},
            "Action": single(actions),
            "Resource": row.arn,
        }));
        policy["Statement"] = Value::Array(statements);
        row.settings.policy = Some(policy.to_string());
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn remove_permission(sns: &Sns, _: &Cx, input: RemovePermissionInput) -> Result<Unit, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    sns.change(&topic, |row| {
        let mut policy = read(row);
        let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        let left = statements.into_iter().filter(|one| one["Sid"] != input.label.as_str());
        policy["Statement"] = Value::Array(left.collect());
        row.settings.policy = Some(policy.to_string());
        Ok(())
    })
    .await?;
    Ok(Unit)
}

fn read(row: &TopicRow) -> Value {
    let text = row.settings.policy.clone().unwrap_or_else(|| default_policy(&row.arn, &row.account));
    serde_json::from_str(&text).unwrap_or_default()
}

/// AWS prints a list of one as the one.
fn single(mut all: Vec<String>) -> Value {
    if all.len() == 1 { Value::String(all.remove(0)) } else { Value::from(all) }
}
