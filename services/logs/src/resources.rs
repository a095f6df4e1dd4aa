//! `AWS::Logs::LogGroup` for CloudFormation.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, number, text},
};

use crate::{
    Logs,
    state::{GroupRow, group_arn},
};

pub struct Resources(pub Arc<Logs>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &["AWS::Logs::LogGroup"]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            refuse(wanted.properties)?;
            let name =
                text(wanted.properties, "LogGroupName").unwrap_or_else(|| wanted.generated_name.to_string());
            let row = GroupRow {
                id: cx.random().hex::<8>(),
                arn: group_arn(cx, &name),
                name: name.clone(),
                created_at: cx.now().millis(),
                retention_days: retention(wanted.properties),
                class: text(wanted.properties, "LogGroupClass"),
                deletion_protected: false,
                tags: wanted.tags.clone(),
            };
            let ticket = self.0.create(&mut self.0.groups.lock(), row)?;
            ticket.await;
            Ok(provided(cx, &name))
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        cx: &'a Cx,
        physical_id: &'a str,
        old: &'a Value,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>> {
        async move {
            refuse(wanted.properties)?;
            if old.get("LogGroupName") != wanted.properties.get("LogGroupName") {
                return Ok(Updated::Replace);
            }
            let days = retention(wanted.properties);
            self.0
                .change(&group_arn(cx, physical_id), |row| {
                    row.retention_days = days;
                    Ok(())
                })
                .await?;
            Ok(Updated::InPlace(provided(cx, physical_id)))
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        _: &'a str,
        physical_id: &'a str,
        _: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match self.0.remove(&group_arn(cx, physical_id)).await {
                Err(fault) if fault.code() == "ResourceNotFoundException" => Ok(()),
                other => other,
            }
        }
        .boxed()
    }
}

fn refuse(properties: &Value) -> Result<(), Fault> {
    let unknown = ["KmsKeyId", "DataProtectionPolicy", "FieldIndexPolicies"]
        .into_iter()
        .find(|name| properties.get(name).is_some());
    unknown.map_or(Ok(()), |name| {
        Err(Fault::not_implemented(format!("the property {name} of AWS::Logs::LogGroup")))
    })
}

fn retention(properties: &Value) -> Option<i32> {
    number(properties, "RetentionInDays").and_then(|days| i32::try_from(days).ok())
}

fn provided(cx: &Cx, name: &str) -> Provided {
    let arn = format!("{}:*", group_arn(cx, name));
    Provided { physical_id: name.to_string(), attributes: [("Arn".to_string(), arn.into())].into() }
}
