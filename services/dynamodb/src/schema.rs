//! What a table looks like: its keys, indexes, stream and settings; from requests and back to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_dynamo_expression::{AttributeValue, Item};
use tidemill_platform::{Fault, Timestamp};

use crate::api::{
    self, AttributeDefinition, BillingModeSummary, GlobalSecondaryIndexDescription, IndexStatus,
    KeySchemaElement, KeyType, LocalSecondaryIndexDescription, Projection, ProvisionedThroughputDescription,
    ScalarAttributeType, StreamSpecification, TableDescription, TableStatus,
};
use crate::expiry::TimeToLive;

/// A table as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableRow {
    pub id: String,
    pub name: String,
    pub arn: String,
    pub account: String,
    pub region: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Key attribute → `S`, `N` or `B`, for the table and all its indexes.
    pub types: BTreeMap<String, String>,
    pub keys: Keys,
    pub indexes: Vec<Index>,
    pub on_demand: bool,
    /// Read and write capacity units; 0 on demand.
    pub capacity: (i64, i64),
    pub stream: Option<StreamRow>,
    pub deletion_protected: bool,
    pub table_class: Option<String>,
    #[serde(default)]
    pub time_to_live: Option<TimeToLive>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    pub hash: String,
    pub range: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    pub id: String,
    pub name: String,
    pub global: bool,
    pub keys: Keys,
    /// `ALL`, `KEYS_ONLY` or `INCLUDE`.
    pub projection: String,
    pub included: Vec<String>,
    pub capacity: (i64, i64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamRow {
    pub arn: String,
    pub label: String,
    pub view: String,
}

/// Bytes of UTF-8 or binary that a hash key and a range key may have.
const MOST_HASH: usize = 2048;
const MOST_RANGE: usize = 1024;

impl Keys {
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.hash).chain(&self.range)
    }

    /// The key attributes of an item.
    pub fn of(&self, item: &Item) -> Item {
        self.names().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
    }

    fn wire(&self) -> Vec<KeySchemaElement> {
        let element = |name: &String, key_type| KeySchemaElement { attribute_name: name.clone(), key_type };
        std::iter::once(element(&self.hash, KeyType::Hash))
            .chain(self.range.as_ref().map(|name| element(name, KeyType::Range)))
            .collect()
    }

    fn check_sizes(&self, item: &Item) -> Result<(), Fault> {
        let size = |name: &String| match item.get(name) {
            Some(AttributeValue::S(text)) => text.len(),
            Some(AttributeValue::B(bytes)) => bytes.len(),
            _ => 0,
        };
        if size(&self.hash) > MOST_HASH {
            // The missing space is DynamoDB's.
            return Err(Fault::validation(format!(
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of{MOST_HASH} bytes"
            )));
        }
        if self.range.as_ref().is_some_and(|range| size(range) > MOST_RANGE) {
            return Err(Fault::validation(format!(
                "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of {MOST_RANGE} bytes"
            )));
        }
        Ok(())
    }
}

impl Index {
    /// What the index keeps of an item; `None` when the item lacks one of its keys.
    pub fn project(&self, item: &Item, table: &Keys) -> Option<Item> {
        if !self.keys.names().all(|name| item.contains_key(name)) {
            return None;
        }
        if self.projection == "ALL" {
            return Some(item.clone());
        }
        let kept = |name: &String| {
            self.keys.names().chain(table.names()).chain(&self.included).any(|known| known == name)
        };
        Some(
            item.iter()
                .filter(|(name, _)| kept(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }
}

/// Reads the keys of a table or index.
pub fn keys(schema: &[KeySchemaElement]) -> Result<Keys, Fault> {
    let invalid = || {
        Fault::validation(
            "1 validation error detected: Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        )
    };
    match schema {
        [hash] if hash.key_type == KeyType::Hash => {
            Ok(Keys { hash: hash.attribute_name.clone(), range: None })
        }
        [hash, range] if hash.key_type == KeyType::Hash && range.key_type == KeyType::Range => {
            if hash.attribute_name == range.attribute_name {
                return Err(Fault::validation(
                    "Both the Hash Key and the Range Key element in the KeySchema have the same name",
                ));
            }
            Ok(Keys { hash: hash.attribute_name.clone(), range: Some(range.attribute_name.clone()) })
        }
        [hash, _] if hash.key_type == KeyType::Hash => {
            Err(Fault::validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"))
        }
        [_] | [_, _] => Err(invalid()),
        many => Err(Fault::validation(format!(
            "1 validation error detected: Value '[...]' at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2 ({})",
            many.len()
        ))),
    }
}

pub fn types(definitions: &[AttributeDefinition]) -> Result<BTreeMap<String, String>, Fault> {
    let mut types = BTreeMap::new();
    for definition in definitions {
        if types.insert(definition.attribute_name.clone(), definition.attribute_type.to_string()).is_some() {
            return Err(Fault::validation("Cannot redefine an attribute"));
        }
    }
    Ok(types)
}

/// Every key must be defined, and nothing else may be.
pub fn check_definitions(
    types: &BTreeMap<String, String>,
    keys: &Keys,
    indexes: &[Index],
) -> Result<(), Fault> {
    let mut used: Vec<&String> = keys.names().collect();
    used.extend(indexes.iter().flat_map(|index| index.keys.names()));
    let listed = |names: Vec<&String>| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let missing: Vec<&String> = used.iter().filter(|name| !types.contains_key(**name)).copied().collect();
    if !missing.is_empty() {
        return Err(Fault::validation(format!(
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
            listed(used),
            listed(types.keys().collect())
        )));
    }
    if types.keys().any(|name| !used.contains(&name)) {
        return Err(Fault::validation(
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
        ));
    }
    Ok(())
}

pub fn index(
    id: String,
    name: String,
    global: bool,
    schema: &[KeySchemaElement],
    projection: Option<Projection>,
    capacity: (i64, i64),
) -> Result<Index, Fault> {
    let projection = projection.unwrap_or_default();
    let kind = projection.projection_type.map_or_else(|| "ALL".to_string(), |kind| kind.to_string());
    let included = projection.non_key_attributes.unwrap_or_default();
    if kind != "INCLUDE" && !included.is_empty() {
        return Err(Fault::validation(format!(
            "One or more parameter values were invalid: ProjectionType is {kind}, but NonKeyAttributes is specified"
        )));
    }
    if kind == "INCLUDE" && included.is_empty() {
        return Err(Fault::validation(
            "One or more parameter values were invalid: ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
        ));
    }
    Ok(Index { id, name, global, keys: keys(schema)?, projection: kind, included, capacity })
}

impl TableRow {
    /// The key of an item, checked against the table.
    pub fn key_of_item(&self, item: &Item) -> Result<Item, Fault> {
        for name in self.keys.names() {
            let value = item.get(name).ok_or_else(|| {
                Fault::validation(format!(
                    "One or more parameter values were invalid: Missing the key {name} in the item"
                ))
            })?;
            self.check_key(name, value, |expected, actual| format!("One or more parameter values were invalid: Type mismatch for key {name} expected: {expected} actual: {actual}"))?;
        }
        self.keys.check_sizes(item)?;
        Ok(self.keys.of(item))
    }

    /// A key as requests give it: the key attributes and nothing else.
    pub fn check_key_argument(&self, key: &Item) -> Result<(), Fault> {
        let mismatch = || Fault::validation("The provided key element does not match the schema");
        if key.len() != self.keys.names().count() {
            return Err(mismatch());
        }
        for name in self.keys.names() {
            let value = key.get(name).ok_or_else(mismatch)?;
            self.check_key(name, value, |_, _| "The provided key element does not match the schema".into())?;
        }
        self.keys.check_sizes(key)
    }

    /// The keys of indexes must have their types where an item has them at all.
    pub fn check_index_keys(&self, item: &Item) -> Result<(), Fault> {
        for index in &self.indexes {
            for name in index.keys.names() {
                let Some(value) = item.get(name) else { continue };
                self.check_key(name, value, |expected, actual| {
                    format!("One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: {expected} Actual: {actual} IndexName: {}", index.name)
                })?;
            }
            index.keys.check_sizes(item)?;
        }
        Ok(())
    }

    fn check_key(
        &self,
        name: &str,
        value: &AttributeValue,
        mismatch: impl Fn(&str, &str) -> String,
    ) -> Result<(), Fault> {
        let expected = self.types.get(name).map_or("S", String::as_str);
        if value.type_name() != expected {
            return Err(Fault::validation(mismatch(expected, value.type_name())));
        }
        let empty = match value {
            AttributeValue::S(text) if text.is_empty() => Some("string"),
            AttributeValue::B(bytes) if bytes.is_empty() => Some("binary"),
            _ => None,
        };
        match empty {
            Some(kind) => Err(Fault::validation(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {kind} value. Key: {name}"
            ))),
            None => Ok(()),
        }
    }

    /// The table as DynamoDB describes it.
    pub fn describe(&self, status: TableStatus, count: i64, bytes: i64) -> TableDescription {
        let throughput = |(read, write): (i64, i64)| ProvisionedThroughputDescription {
            number_of_decreases_today: Some(0),
            read_capacity_units: Some(read),
            write_capacity_units: Some(write),
            ..ProvisionedThroughputDescription::default()
        };
        let projection = |index: &Index| Projection {
            projection_type: Some(index.projection.as_str().into()),
            non_key_attributes: (!index.included.is_empty()).then(|| index.included.clone()),
        };
        let local =
            self.indexes.iter().filter(|index| !index.global).map(|index| LocalSecondaryIndexDescription {
                index_name: Some(index.name.clone()),
                key_schema: Some(index.keys.wire()),
                projection: Some(projection(index)),
                index_size_bytes: Some(0),
                item_count: Some(0),
                index_arn: Some(format!("{}/index/{}", self.arn, index.name)),
            });
        let global =
            self.indexes.iter().filter(|index| index.global).map(|index| GlobalSecondaryIndexDescription {
                index_name: Some(index.name.clone()),
                key_schema: Some(index.keys.wire()),
                projection: Some(projection(index)),
                index_status: Some(if status == TableStatus::Creating {
                    IndexStatus::Creating
                } else {
                    IndexStatus::Active
                }),
                provisioned_throughput: Some(throughput(index.capacity)),
                index_size_bytes: Some(0),
                item_count: Some(0),
                index_arn: Some(format!("{}/index/{}", self.arn, index.name)),
                ..GlobalSecondaryIndexDescription::default()
            });
        let (local, global): (Vec<_>, Vec<_>) = (local.collect(), global.collect());
        let definitions = self.types.iter().map(|(name, kind)| AttributeDefinition {
            attribute_name: name.clone(),
            attribute_type: ScalarAttributeType::from(kind.as_str()),
        });
        TableDescription {
            attribute_definitions: Some(definitions.collect()),
            table_name: Some(self.name.clone()),
            key_schema: Some(self.keys.wire()),
            table_status: Some(status),
            creation_date_time: Some(Timestamp::from_millis(self.created_at)),
            provisioned_throughput: Some(throughput(self.capacity)),
            table_size_bytes: Some(bytes),
            item_count: Some(count),
            table_arn: Some(self.arn.clone()),
            table_id: Some(self.id.clone()),
            billing_mode_summary: self.on_demand.then(|| BillingModeSummary {
                billing_mode: Some(api::BillingMode::PayPerRequest),
                last_update_to_pay_per_request_date_time: Some(Timestamp::from_millis(self.created_at)),
            }),
            local_secondary_indexes: (!local.is_empty()).then_some(local),
            global_secondary_indexes: (!global.is_empty()).then_some(global),
            stream_specification: self.stream.as_ref().map(|stream| StreamSpecification {
                stream_enabled: true,
                stream_view_type: Some(stream.view.as_str().into()),
            }),
            latest_stream_label: self.stream.as_ref().map(|stream| stream.label.clone()),
            latest_stream_arn: self.stream.as_ref().map(|stream| stream.arn.clone()),
            table_class_summary: self.table_class.as_ref().map(|class| api::TableClassSummary {
                table_class: Some(class.as_str().into()),
                last_update_date_time: None,
            }),
            deletion_protection_enabled: Some(self.deletion_protected),
            ..TableDescription::default()
        }
    }
}
