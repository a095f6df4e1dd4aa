//! The resources as they are being made, and the ids that references have to follow.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// Resources in the making.
pub(crate) struct Made<'a> {
    resources: Map<String, Value>,
    /// What the template wrote → what it is now: `Layer` → `Layer1723934ca2`, `Fn.Alias` → `FnAliaslive`.
    renamed: BTreeMap<String, String>,
    parameters: &'a BTreeMap<String, Value>,
}

/// What resources that come from one SAM resource have in common.
#[derive(Clone, Default)]
pub(crate) struct Passed {
    pub condition: Option<Value>,
    pub deletion_policy: Option<Value>,
}

impl Passed {
    pub fn of(resource: &Value) -> Passed {
        Passed {
            condition: resource.get("Condition").cloned(),
            deletion_policy: resource.get("DeletionPolicy").cloned(),
        }
    }

    /// A resource with what is passed on to it.
    pub fn resource(&self, kind: &str, properties: Value) -> Value {
        let mut resource = json!({"Type": kind, "Properties": properties});
        if let Some(condition) = &self.condition {
            resource["Condition"] = condition.clone();
        }
        if let Some(policy) = &self.deletion_policy {
            resource["DeletionPolicy"] = policy.clone();
        }
        resource
    }
}

impl<'a> Made<'a> {
    pub fn new(resources: &Map<String, Value>, parameters: &'a BTreeMap<String, Value>) -> Made<'a> {
        Made { resources: resources.clone(), renamed: BTreeMap::new(), parameters }
    }

    pub fn finish(self) -> (Map<String, Value>, BTreeMap<String, String>) {
        (self.resources, self.renamed)
    }

    pub fn put(&mut self, name: impl Into<String>, resource: Value) {
        self.resources.insert(name.into(), resource);
    }

    pub fn remove(&mut self, name: &str) {
        self.resources.remove(name);
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.resources.get_mut(name)
    }

    pub fn rename(&mut self, from: impl Into<String>, to: impl Into<String>) {
        self.renamed.insert(from.into(), to.into());
    }

    /// A text, also when it is written as a reference to a parameter.
    pub fn text(&self, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            other => {
                let name = other.get("Ref")?.as_str()?;
                self.parameters.get(name)?.as_str().map(String::from)
            }
        }
    }
}

/// The ten characters by which ids of versions and layers tell their content.
pub(crate) fn content_id(content: &Value) -> String {
    let digest = Sha1::digest(sorted(content).to_string().as_bytes());
    hex::encode(digest)[..10].to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let ordered: BTreeMap<&String, Value> =
                members.iter().map(|(name, one)| (name, sorted(one))).collect();
            Value::Object(ordered.into_iter().map(|(name, one)| (name.clone(), one)).collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// `{"a": "b"}` → `[{"Key": "a", "Value": "b"}]`.
pub(crate) fn tag_list(tags: Option<&Value>) -> Vec<Value> {
    let members = tags.and_then(Value::as_object).into_iter().flatten();
    members.map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

pub(crate) fn get_att(resource: &str, attribute: &str) -> Value {
    json!({"Fn::GetAtt": [resource, attribute]})
}

/// The resource a `Ref` names.
pub(crate) fn referenced(value: &Value) -> Option<&str> {
    value.get("Ref")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_content_as_the_translator_computes_them() {
        let cases = [
            (json!({"ZipFile": "def h(e,c): pass", "Variables": {"G": "g"}}), "625c449310"),
            (
                json!({"S3Key": "k", "S3Bucket": "b", "SnapStart": {"ApplyOn": "PublishedVersions"}}),
                "85a77ad8ef",
            ),
        ];
        for (content, id) in cases {
            assert_eq!(content_id(&content), id);
        }
    }
}
