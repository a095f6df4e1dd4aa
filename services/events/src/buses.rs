//! Buses and their policies.

use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    EventBridge, api,
    api::{
        CreateEventBusRequest, CreateEventBusResponse, DeleteEventBusRequest, DescribeEventBusRequest,
        DescribeEventBusResponse, ListEventBusesRequest, ListEventBusesResponse, PutPermissionRequest,
        RemovePermissionRequest, ResourceAlreadyExistsException, ResourceNotFoundException,
    },
    state::BusRow,
};

pub async fn create_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: CreateEventBusRequest,
) -> Result<CreateEventBusResponse, Fault> {
    for (what, given) in [
        ("partner event buses", input.event_source_name.is_some()),
        ("CreateEventBus with KmsKeyIdentifier", input.kms_key_identifier.is_some()),
        ("CreateEventBus with DeadLetterConfig", input.dead_letter_config.is_some()),
        ("CreateEventBus with LogConfig", input.log_config.is_some()),
    ] {
        if given {
            return Err(Fault::not_implemented(what));
        }
    }
    if input.name.contains('/') {
        return Err(Fault::validation("Event bus name must not contain '/'."));
    }
    let row = bridge.make(cx, &input.name, input.description, tags(input.tags)).await?;
    Ok(CreateEventBusResponse {
        event_bus_arn: Some(row.arn),
        description: row.description,
        ..CreateEventBusResponse::default()
    })
}

impl EventBridge {
    pub async fn make(
        &self,
        cx: &Cx,
        name: &str,
        description: Option<String>,
        tags: std::collections::BTreeMap<String, String>,
    ) -> Result<BusRow, Fault> {
        let now = cx.now().millis();
        let row = BusRow {
            name: name.into(),
            arn: cx.arn("events", format!("event-bus/{name}")).to_string(),
            account: cx.account().into(),
            region: cx.region().into(),
            description,
            policy: None,
            tags,
            created_at: now,
            changed_at: now,
        };
        if !self.insert(row.clone()).await? {
            return Err(
                ResourceAlreadyExistsException::new(format!("Event bus {name} already exists.")).into()
            );
        }
        Ok(row)
    }

    /// Takes a bus away; one with rules stays.
    pub async fn unmake(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        // What is not there is deleted already.
        let Ok(bus) = self.bus(cx, Some(name)) else { return Ok(()) };
        if bus.row.read().name == "default" {
            return Err(Fault::validation("Cannot delete event bus default."));
        }
        if !bus.rules.read().is_empty() {
            return Err(Fault::validation("Event bus can't be deleted since it has rules."));
        }
        self.remove(&bus.arn.to_string()).await
    }
}

pub fn tags(given: Option<Vec<api::Tag>>) -> std::collections::BTreeMap<String, String> {
    given.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

pub async fn delete_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: DeleteEventBusRequest,
) -> Result<Unit, Fault> {
    bridge.unmake(cx, &input.name).await?;
    Ok(Unit)
}

pub async fn describe_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeEventBusRequest,
) -> Result<DescribeEventBusResponse, Fault> {
    let bus = bridge.bus(cx, input.name.as_deref())?;
    let row = bus.row.read().clone();
    Ok(DescribeEventBusResponse {
        name: Some(row.name),
        arn: Some(row.arn),
        description: row.description,
        policy: row.policy,
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        ..DescribeEventBusResponse::default()
    })
}

pub async fn list_event_buses(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListEventBusesRequest,
) -> Result<ListEventBusesResponse, Fault> {
    let prefix = input.name_prefix.unwrap_or_default();
    let rows = bridge.of_caller(cx).into_iter().map(|bus| bus.row.read().clone());
    let rows: Vec<BusRow> = rows.filter(|row| row.name.starts_with(&prefix)).collect();
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page =
        page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::EventBus {
        name: Some(row.name),
        arn: Some(row.arn),
        description: row.description,
        policy: row.policy,
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    });
    Ok(ListEventBusesResponse { event_buses: Some(shown.collect()), next_token: page.next_token })
}

pub fn bad_token() -> Fault {
    Fault::validation("Invalid nextToken.")
}

/// Policies are kept and shown; they are enforced with IAM's.
pub async fn put_permission(
    bridge: &EventBridge,
    cx: &Cx,
    input: PutPermissionRequest,
) -> Result<Unit, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let arn = bus.arn.to_string();
    bridge
        .change_bus(&bus, |row| {
            if let Some(policy) = input.policy {
                let parsed: Result<Value, _> = serde_json::from_str(&policy);
                if !parsed.is_ok_and(|value| value.is_object()) {
                    return Err(Fault::validation("Policy is not valid JSON."));
                }
                row.policy = Some(policy);
                return Ok(());
            }
            let (Some(action), Some(principal), Some(sid)) =
                (input.action, input.principal, input.statement_id)
            else {
                return Err(Fault::validation(
                    "Action, Principal and StatementId are required when Policy is not given.",
                ));
            };
            if input.condition.is_some() {
                return Err(Fault::not_implemented("PutPermission with Condition"));
            }
            let who = if principal == "*" {
                json!("*")
            } else {
                json!({"AWS": format!("arn:aws:iam::{principal}:root")})
            };
            let mut statements = statements(row.policy.as_deref());
            statements.retain(|one| one["Sid"] != sid.as_str());
            statements.push(
                json!({"Sid": sid, "Effect": "Allow", "Principal": who, "Action": action, "Resource": arn}),
            );
            row.policy = Some(json!({"Version": "2012-10-17", "Statement": statements}).to_string());
            Ok(())
        })
        .await?;
    Ok(Unit)
}

pub async fn remove_permission(
    bridge: &EventBridge,
    cx: &Cx,
    input: RemovePermissionRequest,
) -> Result<Unit, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    bridge
        .change_bus(&bus, |row| {
            let mut left = statements(row.policy.as_deref());
            let before = left.len();
            match &input.statement_id {
                _ if input.remove_all_permissions == Some(true) => left.clear(),
                Some(sid) => left.retain(|one| one["Sid"] != sid.as_str()),
                None => return Err(Fault::validation("StatementId is required.")),
            }
            if left.len() == before && input.remove_all_permissions != Some(true) {
                let sid = input.statement_id.clone().unwrap_or_default();
                return Err(ResourceNotFoundException::new(format!(
                    "Statement with the provided id {sid} does not exist."
                ))
                .into());
            }
            row.policy =
                (!left.is_empty()).then(|| json!({"Version": "2012-10-17", "Statement": left}).to_string());
            Ok(())
        })
        .await?;
    Ok(Unit)
}

fn statements(policy: Option<&str>) -> Vec<Value> {
    let parsed: Value = policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    parsed["Statement"].as_array().cloned().unwrap_or_default()
}
