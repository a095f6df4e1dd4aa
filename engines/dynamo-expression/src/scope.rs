//! The names and values that a request's expressions refer to, and whether all of them are.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use crate::{AttributeValue, Invalid};

/// `ExpressionAttributeNames` and `ExpressionAttributeValues` of one request, shared by its expressions.
pub struct Scope<'a> {
    names: Option<&'a BTreeMap<String, String>>,
    values: Option<&'a BTreeMap<String, AttributeValue>>,
    used_names: RefCell<BTreeSet<String>>,
    used_values: RefCell<BTreeSet<String>>,
}

impl<'a> Scope<'a> {
    /// Checks the placeholders themselves.
    pub fn new(
        names: Option<&'a BTreeMap<String, String>>,
        values: Option<&'a BTreeMap<String, AttributeValue>>,
    ) -> Result<Scope<'a>, Invalid> {
        if names.is_some_and(BTreeMap::is_empty) {
            return Err(Invalid::new("ExpressionAttributeNames must not be empty"));
        }
        if values.is_some_and(BTreeMap::is_empty) {
            return Err(Invalid::new("ExpressionAttributeValues must not be empty"));
        }
        let well_formed = |key: &str, sign: char| {
            key.strip_prefix(sign).is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            })
        };
        if let Some(bad) = names.iter().flat_map(|names| names.keys()).find(|key| !well_formed(key, '#')) {
            return Err(Invalid::new(format!(
                "ExpressionAttributeNames contains invalid key: Syntax error; key: \"{bad}\""
            )));
        }
        if let Some(bad) = values.iter().flat_map(|values| values.keys()).find(|key| !well_formed(key, ':')) {
            return Err(Invalid::new(format!(
                "ExpressionAttributeValues contains invalid key: Syntax error; key: \"{bad}\""
            )));
        }
        for (key, value) in values.into_iter().flatten() {
            value.check().map_err(|invalid| {
                Invalid::new(format!(
                    "ExpressionAttributeValues contains invalid value: {} for key {key}",
                    invalid.0
                ))
            })?;
        }
        Ok(Scope { names, values, used_names: RefCell::default(), used_values: RefCell::default() })
    }

    pub(crate) fn name(&self, kind: &str, placeholder: &str) -> Result<String, Invalid> {
        let found = self.names.and_then(|names| names.get(placeholder));
        let found = found.ok_or_else(|| Invalid::new(format!("Invalid {kind}: An expression attribute name used in the document path is not defined; attribute name: {placeholder}")))?;
        self.used_names.borrow_mut().insert(placeholder.to_string());
        Ok(found.clone())
    }

    pub(crate) fn value(&self, kind: &str, placeholder: &str) -> Result<AttributeValue, Invalid> {
        let found = self.values.and_then(|values| values.get(placeholder));
        let found = found.ok_or_else(|| Invalid::new(format!("Invalid {kind}: An expression attribute value used in expression is not defined; attribute value: {placeholder}")))?;
        self.used_values.borrow_mut().insert(placeholder.to_string());
        Ok(found.clone())
    }

    /// To be called when all expressions are parsed: placeholders nobody used are refused.
    pub fn finish(&self) -> Result<(), Invalid> {
        let unused = |all: Vec<&String>, used: &BTreeSet<String>| -> Vec<String> {
            all.into_iter().filter(|key| !used.contains(*key)).cloned().collect()
        };
        let names = unused(
            self.names.into_iter().flat_map(|names| names.keys()).collect(),
            &self.used_names.borrow(),
        );
        if !names.is_empty() {
            return Err(Invalid::new(format!(
                "Value provided in ExpressionAttributeNames unused in expressions: keys: {{{}}}",
                names.join(", ")
            )));
        }
        let values = unused(
            self.values.into_iter().flat_map(|values| values.keys()).collect(),
            &self.used_values.borrow(),
        );
        if !values.is_empty() {
            return Err(Invalid::new(format!(
                "Value provided in ExpressionAttributeValues unused in expressions: keys: {{{}}}",
                values.join(", ")
            )));
        }
        Ok(())
    }
}
