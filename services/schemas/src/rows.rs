//! What is stored of registries, schemas and discoverers. Everything is in the partition of its ARN.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_platform::Cx;
use tidemill_store::Table;

use crate::shape::Shape;

pub const REGISTRIES: Table<String, RegistryRow> = Table::new("schemas.registry");
pub const SCHEMAS: Table<String, SchemaRow> = Table::new("schemas.schema");
/// (schema ARN, version) → the version's text. The only rows that memory does not keep.
pub const CONTENTS: Table<(String, u64), String> = Table::new("schemas.content");
pub const DISCOVERERS: Table<String, DiscovererRow> = Table::new("schemas.discoverer");

/// Where discoverers put what they find.
pub const DISCOVERED: &str = "discovered-schemas";

pub type Tags = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RegistryRow {
    pub name: String,
    pub arn: String,
    pub description: Option<String>,
    pub tags: Tags,
    /// Revision and text.
    pub policy: Option<(String, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SchemaRow {
    pub name: String,
    pub registry: String,
    pub arn: String,
    pub description: Option<String>,
    pub tags: Tags,
    /// Oldest first; never empty.
    pub versions: Vec<Version>,
    /// Milliseconds since 1970.
    pub changed_at: i64,
    /// Of the last update.
    pub client_token: Option<String>,
    /// What events showed so far, of a schema that was discovered.
    #[serde(default)]
    pub shape: Option<Shape>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub number: u64,
    /// `OpenApi3` or `JSONSchemaDraft4`.
    pub kind: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DiscovererRow {
    pub id: String,
    pub arn: String,
    pub source_arn: String,
    pub description: Option<String>,
    pub started: bool,
    /// Events of other accounts count too.
    pub cross_account: bool,
    pub tags: Tags,
}

impl SchemaRow {
    pub fn latest(&self) -> Version {
        self.versions.last().cloned().unwrap_or_default()
    }
}

pub fn registry_arn(cx: &Cx, name: &str) -> String {
    cx.arn("schemas", format!("registry/{name}")).to_string()
}

pub fn schema_arn(cx: &Cx, registry: &str, name: &str) -> String {
    cx.arn("schemas", format!("schema/{registry}/{name}")).to_string()
}

pub fn discoverer_arn(cx: &Cx, id: &str) -> String {
    cx.arn("schemas", format!("discoverer/{id}")).to_string()
}
