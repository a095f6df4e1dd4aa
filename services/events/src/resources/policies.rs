//! `AWS::Events::EventBusPolicy`: one statement of a bus's policy.

use serde_json::{Value, json};
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, text},
};

use super::{Resources, provided};

pub const POLICY: &str = "AWS::Events::EventBusPolicy";

impl Resources {
    pub async fn put_statement(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        let named = text(properties, "EventBusName").unwrap_or_else(|| "default".into());
        let bus = self.0.bus(cx, Some(&named))?;
        let sid = text(properties, "StatementId")
            .ok_or_else(|| Fault::validation(format!("StatementId of {POLICY} is required.")))?;
        let statement = match properties.get("Statement") {
            Some(statement) => {
                let mut statement = statement.clone();
                if statement.is_object() && statement.get("Sid").is_none() {
                    statement["Sid"] = Value::from(sid.clone());
                }
                statement
            }
            None => short_form(&bus.arn.to_string(), &sid, properties),
        };
        self.0.put_statement(&bus, &sid, statement).await?;
        Ok(provided(format!("{named}|{sid}"), &[]))
    }

    pub async fn remove_statement(&self, cx: &Cx, physical_id: &str) -> Result<(), Fault> {
        let (bus, sid) = physical_id.rsplit_once('|').unwrap_or(("default", physical_id));
        // What is not there is deleted already.
        let Ok(bus) = self.0.bus(cx, Some(bus)) else { return Ok(()) };
        match self.0.remove_statement(&bus, sid).await {
            Err(fault) if fault.code() == "ResourceNotFoundException" => Ok(()),
            done => done,
        }
    }
}

/// `Action`, `Principal` and `Condition` as a statement.
fn short_form(bus: &str, sid: &str, properties: &Value) -> Value {
    let who = match text(properties, "Principal").as_deref() {
        Some("*") => json!("*"),
        Some(account) => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
        None => Value::Null,
    };
    let mut statement = json!({
        "Sid": sid, "Effect": "Allow", "Principal": who, "Action": properties.get("Action"), "Resource": bus,
    });
    if let Some(condition) = properties.get("Condition") {
        let part = |name: &str| text(condition, name).unwrap_or_default();
        statement["Condition"] = json!({part("Type"): {part("Key"): part("Value")}});
    }
    statement
}
