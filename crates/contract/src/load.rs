//! Reads a contract and lays its patch over it.

use std::{fmt, fs, path::Path};

use serde_json::Value;

use crate::Contract;

/// Reads `<folder>/<service>.json` and, where there is one, lays `<folder>/patches/<service>.json` over it as a JSON
/// merge patch (RFC 7396). The patch's `evidence` member says where each fact was seen and is not part of the contract.
pub fn load(folder: &Path, service: &str) -> Result<Contract, Error> {
    let mut contract = read(&folder.join(format!("{service}.json")))?;
    let patch_path = folder.join("patches").join(format!("{service}.json"));
    if patch_path.exists() {
        let mut patch = read(&patch_path)?;
        if let Some(members) = patch.as_object_mut() {
            members.shift_remove("evidence");
        }
        merge(&mut contract, patch);
    }
    serde_json::from_value(contract).map_err(|error| Error(format!("contract of {service}: {error}")))
}

/// RFC 7396: objects merge member by member, null removes, everything else replaces.
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(members) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Default::default());
    }
    let Value::Object(into) = target else { return };
    for (name, value) in members {
        if value.is_null() {
            into.shift_remove(&name);
        } else {
            merge(into.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn read(path: &Path) -> Result<Value, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| Error(format!("{}: {error}", path.display())))
}

/// Why a contract could not be read, with the file's name.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn a_patch_adds_replaces_and_removes() {
        let mut contract = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut contract, json!({"a": {"b": null, "e": 3}, "d": [2, 3]}));
        assert_eq!(contract, json!({"a": {"c": 2, "e": 3}, "d": [2, 3]}));
    }
}
