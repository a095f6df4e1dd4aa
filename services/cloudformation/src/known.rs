//! What a stack's expressions can see: its resources as they are now, and the exports of others.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use serde_json::Value;
use tidemill_cfn_template::{Known, TemplateError};
use tidemill_platform::Cx;

use crate::{CloudFormation, exports, state::Stack};

pub struct Resources<'a> {
    pub cf: &'a CloudFormation,
    pub cx: &'a Cx,
    pub stack: &'a Stack,
    /// Exports that were asked for.
    pub imported: Mutex<BTreeSet<String>>,
    /// Answer for what does not exist yet, where only a comparison is wanted.
    pub unknown: Option<Value>,
}

impl<'a> Resources<'a> {
    pub fn new(cf: &'a CloudFormation, cx: &'a Cx, stack: &'a Stack) -> Resources<'a> {
        Resources { cf, cx, stack, imported: Mutex::default(), unknown: None }
    }
}

impl Known for Resources<'_> {
    fn reference(&self, resource: &str) -> Result<Value, TemplateError> {
        let found = self.stack.look(|state| state.resources.get(resource)?.physical_id.clone());
        found.map(Value::String).or_else(|| self.unknown.clone()).ok_or_else(|| {
            TemplateError::new(format!("Template error: resource {resource} does not exist yet"))
        })
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, TemplateError> {
        let (found, exists) = self.stack.look(|state| {
            let row = state.resources.get(resource);
            let value = row.and_then(|row| nested(&row.attributes, attribute));
            (value, row.is_some_and(|row| row.physical_id.is_some()))
        });
        let unknown = self.unknown.clone().filter(|_| !exists);
        found.or(unknown).ok_or_else(|| {
            TemplateError::new(format!(
                "Template error: resource {resource} does not support attribute type {attribute} in Fn::GetAtt"
            ))
        })
    }

    fn import(&self, name: &str) -> Result<Value, TemplateError> {
        self.imported.lock().insert(name.into());
        let all = exports::exports(self.cf, self.cx);
        let found = all.into_iter().find(|export| export.name.as_deref() == Some(name));
        let value = found.and_then(|export| export.value).map(Value::String);
        value.ok_or_else(|| TemplateError::new(format!("No export named {name} found.")))
    }
}

/// `Endpoint.Address` may be kept whole or as a map.
fn nested(attributes: &std::collections::BTreeMap<String, Value>, name: &str) -> Option<Value> {
    if let Some(value) = attributes.get(name) {
        return Some(value.clone());
    }
    let (first, rest) = name.split_once('.')?;
    attributes.get(first)?.get(rest).cloned()
}
