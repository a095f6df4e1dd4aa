//! The scheduler's CloudFormation types: schedules and their groups.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_api::Shape;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, text},
};
use tidemill_wire::{
    Dynamic,
    validate::{self, Dialect},
    value::{ValueReader, from_value},
};

use crate::{
    Scheduler, api,
    api::CreateScheduleInput,
    rows::{DEFAULT_GROUP, group_arn, schedule_arn},
};

const SCHEDULE: &str = "AWS::Scheduler::Schedule";
const GROUP: &str = "AWS::Scheduler::ScheduleGroup";

pub struct Resources(pub Arc<Scheduler>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[SCHEDULE, GROUP]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            let name = text(wanted.properties, "Name")
                .unwrap_or_else(|| shortened(wanted.generated_name).to_string());
            let arn = if wanted.resource_type == GROUP {
                self.0.create_group(cx, &name, tags(&wanted), None).await
            } else {
                self.0.create(cx, input(&name, wanted.properties)?).await
            };
            match arn {
                Ok(arn) => Ok(provided(wanted.resource_type, &name, &arn, cx)),
                Err(fault) if fault.code() == "ConflictException" => {
                    Err(Fault::new("AlreadyExists", format!("{name} already exists")))
                }
                Err(fault) => Err(fault),
            }
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
            let same = |name: &str| old.get(name) == wanted.properties.get(name);
            if !same("Name") || !same("GroupName") {
                return Ok(Updated::Replace);
            }
            let arn = if wanted.resource_type == GROUP {
                let (arn, tags) = (group_arn(cx, physical_id), tags(&wanted));
                self.0.change_tags(cx, &arn, |kept| *kept = tags).await?;
                arn
            } else {
                self.0.update(cx, input(physical_id, wanted.properties)?).await?
            };
            Ok(Updated::InPlace(provided(wanted.resource_type, physical_id, &arn, cx)))
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        resource_type: &'a str,
        physical_id: &'a str,
        properties: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let gone = if resource_type == GROUP {
                self.0.delete_group(cx, physical_id, None).await
            } else {
                let group = text(properties, "GroupName").unwrap_or_else(|| DEFAULT_GROUP.into());
                self.0.delete(&schedule_arn(cx, &group, physical_id), None).await
            };
            match gone {
                Err(fault) if fault.code() == "ResourceNotFoundException" => Ok(()),
                other => other,
            }
        }
        .boxed()
    }
}

/// Names have at most 64 characters.
fn shortened(name: &str) -> &str {
    name.char_indices().rev().nth(63).map_or(name, |(at, _)| &name[at..]).trim_start_matches('-')
}

/// The properties of a schedule are the members of the request that makes it, and subject to the same constraints.
fn input(name: &str, properties: &Value) -> Result<CreateScheduleInput, Fault> {
    let schema = CreateScheduleInput::schema();
    let mut request = properties.clone();
    let members = request.as_object_mut().ok_or_else(|| Fault::validation("Properties must be an object"))?;
    members.insert("Name".into(), json!(name));
    if let Some(unknown) = members.keys().find(|key| schema.members.iter().all(|known| known.name != **key)) {
        return Err(Fault::validation(format!("Unsupported property {unknown}")));
    }
    let refused = |error: tidemill_api::ReadError| Fault::validation(error.message);
    let read = Dynamic::read(schema, &mut ValueReader::new(&request)).map_err(refused)?;
    match validate::explain(&read, Dialect::of(&api::SERVICE)) {
        Some(fault) => Err(fault),
        None => from_value(&request).map_err(refused),
    }
}

fn tags(wanted: &Wanted<'_>) -> BTreeMap<String, String> {
    let mut tags = wanted.tags.clone();
    for tag in wanted.properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (text(tag, "Key"), text(tag, "Value")) {
            tags.insert(key, value);
        }
    }
    tags
}

fn provided(resource_type: &str, name: &str, arn: &str, cx: &Cx) -> Provided {
    let mut attributes = BTreeMap::from([("Arn".to_string(), Value::from(arn))]);
    if resource_type == GROUP {
        attributes.insert("State".into(), "ACTIVE".into());
        let now = crate::runs::printed(cx.now().millis());
        attributes.insert("CreationDate".into(), now.clone().into());
        attributes.insert("LastModificationDate".into(), now.into());
    }
    Provided { physical_id: name.into(), attributes }
}
