//! CloudFormation resource types. Each service provides its own (`AWS::SQS::Queue` is SQS's), so that the
//! CloudFormation service needs to know none of them.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::Value;
use tidemill_api::Fault;

use crate::Cx;

/// What a stack asks of a resource.
pub struct Wanted<'a> {
    /// `AWS::SQS::Queue`
    pub resource_type: &'a str,
    pub stack_name: &'a str,
    pub stack_id: &'a str,
    /// The resource's name in the template.
    pub logical_id: &'a str,
    /// Resolved properties: no intrinsic functions are left. Scalars may be strings where the template wrote strings
    /// (`"5"`, `"true"`); see [`crate::provider::number`] and [`crate::provider::boolean`].
    pub properties: &'a Value,
    /// A name for a resource whose template gives none, as CloudFormation makes it:
    /// `<stack>-<logical id>-<12 random characters>`.
    pub generated_name: &'a str,
    /// The stack's tags, to be put on resources that can carry them.
    pub tags: &'a BTreeMap<String, String>,
}

/// A resource that exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provided {
    /// What `Ref` answers and `describe-stack-resources` prints.
    pub physical_id: String,
    /// What `Fn::GetAtt` answers, by attribute name.
    pub attributes: BTreeMap<String, Value>,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq)]
pub enum Updated {
    InPlace(Provided),
    /// The change needs a new resource: CloudFormation creates one, then deletes the old.
    Replace,
}

/// Makes, changes and removes resources of some types. Faults become the resource's status reason.
pub trait ResourceProvider: Send + Sync {
    fn types(&self) -> &'static [&'static str];

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>>;

    fn update<'a>(
        &'a self,
        cx: &'a Cx,
        physical_id: &'a str,
        old: &'a Value,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>>;

    /// Deleting what is already gone succeeds.
    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        resource_type: &'a str,
        physical_id: &'a str,
        properties: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>>;
}

/// A text property; numbers and booleans are printed as CloudFormation does.
pub fn text(properties: &Value, name: &str) -> Option<String> {
    match properties.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A whole number, written as one or as a string.
pub fn number(properties: &Value, name: &str) -> Option<i64> {
    match properties.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A boolean, written as one or as `"true"` and `"false"`.
pub fn boolean(properties: &Value, name: &str) -> Option<bool> {
    match properties.get(name)? {
        Value::Bool(value) => Some(*value),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
