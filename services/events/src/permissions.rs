//! Policies of buses: who else may put events, make rules and targets. They are checked for their form, kept and shown;
//! what they allow is decided with IAM's policies, which are not enforced yet.

use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_platform::{
    Cx, Fault,
    policy::{Flaw, check_resource_policy},
};

use crate::{
    EventBridge,
    api::{
        PolicyLengthExceededException, PutPermissionRequest, RemovePermissionRequest,
        ResourceNotFoundException,
    },
    state::Bus,
};

/// Characters of a policy. Source: "Amazon EventBridge quotas".
const LONGEST: usize = 10_240;
/// The action that the short form of `PutPermission` can allow.
const SHORT_FORM_ACTION: &str = "events:PutEvents";

pub async fn put_permission(
    bridge: &EventBridge,
    cx: &Cx,
    input: PutPermissionRequest,
) -> Result<Unit, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let is_short = input.action.is_some()
        || input.principal.is_some()
        || input.statement_id.is_some()
        || input.condition.is_some();
    match input.policy {
        Some(_) if is_short => {
            return Err(Fault::validation(
                "Policy cannot be given together with Action, Principal, StatementId or Condition.",
            ));
        }
        Some(policy) => bridge.set_policy(&bus, Some(policy)).await?,
        None => {
            let (sid, statement) = statement(&bus, input)?;
            bridge.put_statement(&bus, &sid, statement).await?;
        }
    }
    Ok(Unit)
}

/// The statement of the short form, and its id.
fn statement(bus: &Bus, input: PutPermissionRequest) -> Result<(String, Value), Fault> {
    let (Some(action), Some(principal), Some(sid)) = (input.action, input.principal, input.statement_id)
    else {
        return Err(Fault::validation(
            "Action, Principal and StatementId are required when Policy is not given.",
        ));
    };
    if action != SHORT_FORM_ACTION {
        return Err(Fault::validation("Provided value in parameter 'action' is not supported."));
    }
    let who = match principal.as_str() {
        "*" => json!("*"),
        account => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
    };
    let mut statement = json!({
        "Sid": sid, "Effect": "Allow", "Principal": who, "Action": action, "Resource": bus.arn.to_string(),
    });
    if let Some(condition) = input.condition {
        statement["Condition"] = json!({condition.r#type: {condition.key: condition.value}});
    }
    Ok((sid, statement))
}

pub async fn remove_permission(
    bridge: &EventBridge,
    cx: &Cx,
    input: RemovePermissionRequest,
) -> Result<Unit, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    match input.statement_id {
        _ if input.remove_all_permissions == Some(true) => bridge.set_policy(&bus, None).await?,
        Some(sid) => bridge.remove_statement(&bus, &sid).await?,
        None => return Err(Fault::validation("StatementId is required.")),
    }
    Ok(Unit)
}

impl EventBridge {
    /// Replaces the policy of a bus, or takes it away.
    pub async fn set_policy(&self, bus: &Bus, policy: Option<String>) -> Result<(), Fault> {
        if let Some(policy) = &policy {
            check(bus, policy)?;
        }
        self.change_bus(bus, |row| {
            row.policy = policy;
            Ok(())
        })
        .await
    }

    /// Adds a statement to the policy of a bus; one of the same id is replaced.
    pub async fn put_statement(&self, bus: &Bus, sid: &str, statement: Value) -> Result<(), Fault> {
        self.change_bus(bus, |row| {
            let mut all = statements(row.policy.as_deref());
            all.retain(|one| one["Sid"] != sid);
            all.push(statement);
            let policy = policy_of(&all);
            check(bus, &policy)?;
            row.policy = Some(policy);
            Ok(())
        })
        .await
    }

    /// # Errors
    /// `ResourceNotFoundException` where there is no such statement.
    pub async fn remove_statement(&self, bus: &Bus, sid: &str) -> Result<(), Fault> {
        self.change_bus(bus, |row| {
            let mut left = statements(row.policy.as_deref());
            let before = left.len();
            left.retain(|one| one["Sid"] != sid);
            if left.len() == before {
                let sentence = match &row.policy {
                    Some(_) => "Statement with the provided id does not exist.",
                    None => "EventBus does not have a policy.",
                };
                return Err(ResourceNotFoundException::new(sentence).into());
            }
            row.policy = (!left.is_empty()).then(|| policy_of(&left));
            Ok(())
        })
        .await
    }
}

fn policy_of(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn statements(policy: Option<&str>) -> Vec<Value> {
    let parsed: Value = policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match &parsed["Statement"] {
        Value::Array(all) => all.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// A document that can be the policy of this bus.
fn check(bus: &Bus, policy: &str) -> Result<(), Fault> {
    if policy.chars().count() > LONGEST {
        return Err(PolicyLengthExceededException::new(format!(
            "The policy is longer than {LONGEST} characters."
        ))
        .into());
    }
    if serde_json::from_str::<Value>(policy).is_err() {
        return Err(Fault::validation("This policy contains invalid Json"));
    }
    check_resource_policy(policy, "events").map_err(|flaw| {
        Fault::validation(match flaw {
            Flaw::Form => "The policy does not have the form of a resource policy.",
            Flaw::OtherService => "The policy allows actions that are not those of EventBridge.",
        })
    })?;
    statements(Some(policy)).iter().try_for_each(|statement| check_resources(bus, statement))
}

/// A statement is about this bus, or rules.
fn check_resources(bus: &Bus, statement: &Value) -> Result<(), Fault> {
    let arn = bus.arn.to_string();
    let resources: Vec<&str> = match &statement["Resource"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    for resource in resources {
        let relative = resource.splitn(6, ':').nth(5).unwrap_or_default();
        if relative.starts_with("event-bus/") && !relative.contains('*') && resource != arn {
            return Err(Fault::validation(format!(
                "The relative-id \"{relative}\" is invalid for ARN \"{resource}\""
            )));
        }
    }
    Ok(())
}
