//! EventBridge's CloudFormation types: buses and rules here, `connections` with API destinations,
//! `archives`, `policies`.

mod archives;
mod connections;
mod policies;

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, number, text},
};

use self::{
    archives::{ARCHIVE, pattern},
    connections::{CONNECTION, DESTINATION},
    policies::POLICY,
};
use crate::{EventBridge, api, api::PutRuleRequest, buses::Settings};

const BUS: &str = "AWS::Events::EventBus";
const RULE: &str = "AWS::Events::Rule";

/// Characters of a name.
fn longest(resource_type: &str) -> usize {
    match resource_type {
        ARCHIVE => 48,
        CONNECTION | DESTINATION | RULE => 64,
        _ => 256,
    }
}

/// A generated name without what does not fit before its random end.
fn short(name: &str, most: usize) -> String {
    const END: usize = 13;
    if name.len() <= most || !name.is_ascii() {
        return name.into();
    }
    format!("{}{}", &name[..most - END], &name[name.len() - END..])
}

/// The property that names a resource of a type.
fn name_of(resource_type: &str) -> &'static str {
    if resource_type == ARCHIVE { "ArchiveName" } else { "Name" }
}

pub struct Resources(pub Arc<EventBridge>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[BUS, RULE, CONNECTION, DESTINATION, ARCHIVE, POLICY]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            let given = text(wanted.properties, name_of(wanted.resource_type));
            let name = given.unwrap_or_else(|| short(wanted.generated_name, longest(wanted.resource_type)));
            match wanted.resource_type {
                BUS => return self.create_bus(cx, &name, wanted.properties).await,
                CONNECTION => return self.create_connection(cx, &name, wanted.properties).await,
                DESTINATION => return self.create_destination(cx, &name, wanted.properties).await,
                ARCHIVE => return self.create_archive(cx, &name, wanted.properties).await,
                POLICY => return self.put_statement(cx, wanted.properties).await,
                _ => {}
            }
            let bus = text(wanted.properties, "EventBusName");
            if self.0.bus(cx, bus.as_deref())?.rule(&name).is_ok() {
                return Err(Fault::new("AlreadyExists", format!("{name} already exists")));
            }
            self.set_rule(cx, &name, wanted.properties).await
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
            if !same(name_of(wanted.resource_type))
                || !same("EventBusName")
                || !same("SourceArn")
                || !same("StatementId")
            {
                return Ok(Updated::Replace);
            }
            let made = match wanted.resource_type {
                BUS => {
                    if !same("Policy") {
                        self.set_bus_policy(cx, physical_id, wanted.properties.get("Policy")).await?;
                    }
                    Some(self.update_bus(cx, physical_id, wanted.properties).await?)
                }
                CONNECTION => Some(self.update_connection(cx, physical_id, wanted.properties).await?),
                DESTINATION => Some(self.update_destination(cx, physical_id, wanted.properties).await?),
                ARCHIVE => Some(self.update_archive(cx, physical_id, wanted.properties).await?),
                POLICY => Some(self.put_statement(cx, wanted.properties).await?),
                _ => None,
            };
            if let Some(made) = made {
                return Ok(Updated::InPlace(made));
            }
            let name = physical_id.rsplit('|').next().unwrap_or(physical_id);
            self.set_rule(cx, name, wanted.properties).await.map(Updated::InPlace)
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
            match resource_type {
                BUS => return self.0.unmake(cx, physical_id).await,
                CONNECTION => return self.delete_connection(cx, physical_id).await,
                DESTINATION => return self.delete_destination(cx, physical_id).await,
                ARCHIVE => return self.delete_archive(cx, physical_id).await,
                POLICY => return self.remove_statement(cx, physical_id).await,
                _ => {}
            }
            let bus = text(properties, "EventBusName");
            let Ok(bus) = self.0.bus(cx, bus.as_deref()) else { return Ok(()) };
            let name = physical_id.rsplit('|').next().unwrap_or(physical_id);
            self.0.change_rule(&bus, name, |_| Ok((None, ()))).await
        }
        .boxed()
    }
}

impl Resources {
    async fn create_bus(&self, cx: &Cx, name: &str, properties: &Value) -> Result<Provided, Fault> {
        let settings = bus_settings(properties)?;
        let tags = tags_of(properties);
        let row = self.0.make(cx, name, text(properties, "Description"), settings, tags).await?;
        if let Some(policy) = properties.get("Policy")
            && let Err(fault) = self.set_bus_policy(cx, name, Some(policy)).await
        {
            self.0.unmake(cx, name).await?;
            return Err(fault);
        }
        Ok(provided(name.into(), &[("Arn", &row.arn), ("Name", name)]))
    }

    async fn set_bus_policy(&self, cx: &Cx, name: &str, policy: Option<&Value>) -> Result<(), Fault> {
        let bus = self.0.bus(cx, Some(name))?;
        let policy = policy.map(|policy| policy.as_str().map_or_else(|| policy.to_string(), String::from));
        self.0.set_policy(&bus, policy).await
    }

    async fn update_bus(&self, cx: &Cx, name: &str, properties: &Value) -> Result<Provided, Fault> {
        let bus = self.0.bus(cx, Some(name))?;
        let description = text(properties, "Description").unwrap_or_default();
        let row = self
            .0
            .change_settings(
                cx,
                &bus,
                Some(description),
                bus_settings(properties)?,
                Some(tags_of(properties)),
            )
            .await?;
        Ok(provided(name.into(), &[("Arn", &row.arn), ("Name", name)]))
    }

    async fn set_rule(&self, cx: &Cx, name: &str, properties: &Value) -> Result<Provided, Fault> {
        let bus = self.0.bus(cx, text(properties, "EventBusName").as_deref())?;
        let input = PutRuleRequest {
            name: name.into(),
            schedule_expression: text(properties, "ScheduleExpression"),
            event_pattern: pattern(properties),
            state: text(properties, "State").map(|state| state.as_str().into()),
            description: text(properties, "Description"),
            role_arn: text(properties, "RoleArn"),
            tags: Some(tags_of(properties).into_iter().map(|(key, value)| api::Tag { key, value }).collect()),
            ..PutRuleRequest::default()
        };
        let targets = properties.get("Targets").and_then(Value::as_array).into_iter().flatten();
        let targets = targets.map(target).collect::<Result<Vec<_>, _>>()?;
        // A rule whose targets are refused is not made.
        let targets = self.0.checked_targets(&bus, targets)?;
        let arn = self.0.set_rule(cx, &bus, input).await?;
        self.0.set_targets(&bus, name, targets, true).await?;
        let of = bus.row.read().name.clone();
        let physical_id = if of == "default" { name.to_string() } else { format!("{of}|{name}") };
        Ok(provided(physical_id, &[("Arn", &arn)]))
    }
}

fn tags_of(properties: &Value) -> std::collections::BTreeMap<String, String> {
    let tags = properties.get("Tags").and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|one| Some((text(one, "Key")?, text(one, "Value")?))).collect()
}

fn bus_settings(properties: &Value) -> Result<Settings, Fault> {
    if properties.get("EventSourceName").is_some() {
        return Err(Fault::not_implemented(format!("EventSourceName of {BUS}")));
    }
    let log = properties.get("LogConfig").map(|one| api::LogConfig {
        include_detail: text(one, "IncludeDetail").map(|detail| detail.as_str().into()),
        level: text(one, "Level").map(|level| level.as_str().into()),
    });
    let dead_letter =
        properties.get("DeadLetterConfig").map(|one| api::DeadLetterConfig { arn: text(one, "Arn") });
    Settings::checked(BUS, text(properties, "KmsKeyIdentifier"), log, dead_letter)
}

fn target(value: &Value) -> Result<api::Target, Fault> {
    const KNOWN: &[&str] = &[
        "Id",
        "Arn",
        "RoleArn",
        "Input",
        "InputPath",
        "InputTransformer",
        "SqsParameters",
        "DeadLetterConfig",
        "RetryPolicy",
        "HttpParameters",
    ];
    if let Some((unknown, _)) =
        value.as_object().into_iter().flatten().find(|(name, _)| !KNOWN.contains(&name.as_str()))
    {
        return Err(Fault::not_implemented(format!("{unknown} of a rule's target")));
    }
    let nested = |part: &str| value.get(part).cloned().unwrap_or_default();
    let (transformer, retry) = (nested("InputTransformer"), nested("RetryPolicy"));
    let small = |name: &str| number(&retry, name).and_then(|number| i32::try_from(number).ok());
    Ok(api::Target {
        id: text(value, "Id").unwrap_or_default(),
        arn: text(value, "Arn").unwrap_or_default(),
        role_arn: text(value, "RoleArn"),
        input: text(value, "Input"),
        input_path: text(value, "InputPath"),
        input_transformer: value.get("InputTransformer").map(|_| api::InputTransformer {
            input_paths_map: transformer.get("InputPathsMap").and_then(Value::as_object).map(|paths| {
                paths
                    .iter()
                    .filter_map(|(name, path)| Some((name.clone(), path.as_str()?.to_string())))
                    .collect()
            }),
            input_template: text(&transformer, "InputTemplate").unwrap_or_default(),
        }),
        sqs_parameters: value
            .get("SqsParameters")
            .map(|one| api::SqsParameters { message_group_id: text(one, "MessageGroupId") }),
        dead_letter_config: value
            .get("DeadLetterConfig")
            .map(|one| api::DeadLetterConfig { arn: text(one, "Arn") }),
        retry_policy: value.get("RetryPolicy").map(|_| api::RetryPolicy {
            maximum_retry_attempts: small("MaximumRetryAttempts"),
            maximum_event_age_in_seconds: small("MaximumEventAgeInSeconds"),
        }),
        http_parameters: value.get("HttpParameters").map(http),
        ..api::Target::default()
    })
}

fn http(value: &Value) -> api::HttpParameters {
    let map = |name: &str| {
        let members = value.get(name).and_then(Value::as_object)?;
        Some(members.keys().filter_map(|key| Some((key.clone(), text(&value[name], key)?))).collect())
    };
    let path = value.get("PathParameterValues").and_then(Value::as_array);
    api::HttpParameters {
        path_parameter_values: path
            .map(|values| values.iter().filter_map(|one| one.as_str().map(String::from)).collect()),
        header_parameters: map("HeaderParameters"),
        query_string_parameters: map("QueryStringParameters"),
    }
}

fn provided(physical_id: String, attributes: &[(&str, &str)]) -> Provided {
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), Value::from(*value)));
    Provided { physical_id, attributes: attributes.collect() }
}
