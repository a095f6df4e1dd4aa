//! CloudFormation types: registries, their policies, schemas and discoverers. What they are known by is their ARN.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, boolean, text},
};

use crate::{
    Schemas, content,
    rows::{DiscovererRow, SchemaRow, Tags, registry_arn},
    schemas::Text,
};

const REGISTRY: &str = "AWS::EventSchemas::Registry";
const POLICY: &str = "AWS::EventSchemas::RegistryPolicy";
const SCHEMA: &str = "AWS::EventSchemas::Schema";
const DISCOVERER: &str = "AWS::EventSchemas::Discoverer";

pub struct Resources(pub Arc<Schemas>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[REGISTRY, POLICY, SCHEMA, DISCOVERER]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            match wanted.resource_type {
                REGISTRY => self.create_registry(cx, &wanted).await,
                POLICY => self.set_policy(cx, wanted.properties).await,
                SCHEMA => self.create_schema(cx, &wanted).await,
                _ => self.create_discoverer(cx, &wanted).await,
            }
            .map_err(taken)
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
            let name = physical_id.rsplit('/').next().unwrap_or(physical_id);
            let (tags, description) = (tags(&wanted), text(wanted.properties, "Description"));
            let provided = match wanted.resource_type {
                POLICY if same("RegistryName") => self.set_policy(cx, wanted.properties).await?,
                REGISTRY if same("RegistryName") => {
                    let set = |row: &mut crate::rows::RegistryRow| {
                        (row.description, row.tags) = (description, tags);
                        Ok(())
                    };
                    self.0.change_registry(cx, name, set).await?;
                    registry(cx, name)
                }
                SCHEMA if same("RegistryName") && same("SchemaName") => {
                    let changes = !same("Content") || !same("Type");
                    let written = if changes { Some(schema_text(wanted.properties)?) } else { None };
                    let registry = required(wanted.properties, "RegistryName")?;
                    let set = |row: &mut SchemaRow| (row.description, row.tags) = (description, tags);
                    let text =
                        written.as_ref().map(|(kind, content)| Text { kind, content: content.clone() });
                    schema(self.0.update_schema(cx, (&registry, name), text, None, set).await?)
                }
                DISCOVERER if same("SourceArn") => {
                    let cross_account = boolean(wanted.properties, "CrossAccount").unwrap_or(true);
                    let set = |row: &mut DiscovererRow| {
                        (row.description, row.tags, row.cross_account) = (description, tags, cross_account);
                    };
                    discoverer(self.0.change_discoverer(cx, name, set).await?)
                }
                _ => return Ok(Updated::Replace),
            };
            Ok(Updated::InPlace(provided))
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        resource_type: &'a str,
        physical_id: &'a str,
        _: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let parts: Vec<&str> = physical_id.split('/').collect();
            let gone = match (resource_type, parts.as_slice()) {
                (REGISTRY, [_, name]) => self.0.delete_registry(cx, name).await,
                (POLICY, [name]) => self.0.delete_policy(cx, name).await,
                (SCHEMA, [_, registry, name]) => self.0.delete_schema(cx, registry, name).await,
                (DISCOVERER, [_, id]) => self.0.delete_discoverer(cx, id).await,
                _ => Ok(()),
            };
            match gone {
                Err(fault) if fault.code() == "NotFoundException" => Ok(()),
                other => other,
            }
        }
        .boxed()
    }
}

impl Resources {
    async fn create_registry(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let name = text(wanted.properties, "RegistryName").unwrap_or_else(|| generated(wanted, 64));
        self.0.create_registry(cx, &name, text(wanted.properties, "Description"), tags(wanted)).await?;
        Ok(registry(cx, &name))
    }

    async fn create_schema(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let named = required(wanted.properties, "RegistryName")?;
        let name = text(wanted.properties, "SchemaName").unwrap_or_else(|| generated(wanted, 385));
        let (kind, content) = schema_text(wanted.properties)?;
        let description = text(wanted.properties, "Description");
        let written = Text { kind: &kind, content };
        self.0.create_schema(cx, (&named, &name), written, description, tags(wanted)).await.map(schema)
    }

    async fn create_discoverer(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let source = required(wanted.properties, "SourceArn")?;
        let cross_account = boolean(wanted.properties, "CrossAccount").unwrap_or(true);
        let description = text(wanted.properties, "Description");
        let row = self.0.create_discoverer(cx, &source, description, cross_account, tags(wanted)).await?;
        Ok(discoverer(row))
    }

    async fn set_policy(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        let registry = required(properties, "RegistryName")?;
        let policy = match properties.get("Policy") {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(Fault::validation("Property Policy cannot be empty.")),
        };
        let revision = text(properties, "RevisionId");
        let (revision, _) = self.0.put_policy(cx, &registry, policy, revision.as_deref()).await?;
        Ok(provided(registry.clone(), &[("Id", &registry), ("RevisionId", &revision)]))
    }
}

fn required(properties: &Value, name: &str) -> Result<String, Fault> {
    text(properties, name).ok_or_else(|| Fault::validation(format!("Property {name} cannot be empty.")))
}

/// Kind and text of a schema.
fn schema_text(properties: &Value) -> Result<(String, String), Fault> {
    let kind = required(properties, "Type")?;
    if kind != content::OPEN_API && kind != content::JSON_SCHEMA {
        return Err(Fault::validation(format!("{kind} is no type of a schema")));
    }
    Ok((kind, required(properties, "Content")?))
}

fn generated(wanted: &Wanted<'_>, longest: usize) -> String {
    let name = wanted.generated_name;
    let from = name.len().saturating_sub(longest);
    name.get(from..).unwrap_or(name).trim_start_matches('-').to_string()
}

fn tags(wanted: &Wanted<'_>) -> Tags {
    let mut tags = wanted.tags.clone();
    for tag in wanted.properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (text(tag, "Key"), text(tag, "Value")) {
            tags.insert(key, value);
        }
    }
    tags
}

fn taken(fault: Fault) -> Fault {
    if fault.code() == "ConflictException" {
        Fault::new("AlreadyExists", fault.message().replace(" already exists.", " already exists"))
    } else {
        fault
    }
}

fn registry(cx: &Cx, name: &str) -> Provided {
    let arn = registry_arn(cx, name);
    provided(arn.clone(), &[("RegistryArn", &arn), ("RegistryName", name)])
}

fn schema(row: SchemaRow) -> Provided {
    let version = row.latest().number.to_string();
    let attributes =
        [("SchemaArn", row.arn.as_str()), ("SchemaName", &row.name), ("SchemaVersion", &version)];
    provided(row.arn.clone(), &attributes)
}

fn discoverer(row: DiscovererRow) -> Provided {
    let state = if row.started { "STARTED" } else { "STOPPED" };
    let attributes = [("DiscovererArn", row.arn.as_str()), ("DiscovererId", &row.id), ("State", state)];
    provided(row.arn.clone(), &attributes)
}

fn provided(physical_id: String, attributes: &[(&str, &str)]) -> Provided {
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), Value::from(*value)));
    Provided { physical_id, attributes: attributes.collect() }
}
