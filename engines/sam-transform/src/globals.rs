//! The `Globals` section: maps are merged, lists joined, everything else is the resource's own if it has it.

use serde_json::{Map, Value};

use crate::SamError;

pub(crate) struct Globals(Map<String, Value>);

const KINDS: &[&str] = &["Function", "SimpleTable", "LayerVersion"];

impl Globals {
    pub fn read(section: Option<&Value>) -> Result<Globals, SamError> {
        let Some(section) = section else { return Ok(Globals(Map::new())) };
        let kinds = section
            .as_object()
            .ok_or_else(|| SamError::new("Globals", "It must be a non-empty dictionary"))?;
        match kinds.keys().find(|kind| !KINDS.contains(&kind.as_str())) {
            Some(kind) => Err(SamError::not_translated("Globals", format_args!("Section {kind}"))),
            None => Ok(Globals(kinds.clone())),
        }
    }

    pub fn function(&self, resource: &Value) -> Value {
        self.over("Function", resource)
    }

    pub fn simple_table(&self, resource: &Value) -> Value {
        self.over("SimpleTable", resource)
    }

    pub fn layer(&self, resource: &Value) -> Value {
        self.over("LayerVersion", resource)
    }

    fn over(&self, kind: &str, resource: &Value) -> Value {
        let mut resource = resource.clone();
        let own = resource.get("Properties").cloned().unwrap_or(Value::Object(Map::new()));
        let merged = match self.0.get(kind) {
            Some(global) => merge(global, &own),
            None => own,
        };
        if let Some(members) = resource.as_object_mut() {
            members.insert("Properties".into(), merged);
        }
        resource
    }
}

fn merge(global: &Value, own: &Value) -> Value {
    match (global, own) {
        (Value::Object(global), Value::Object(mine)) if !is_function(global) && !is_function(mine) => {
            let mut merged = global.clone();
            for (name, value) in mine {
                let value = global.get(name).map_or_else(|| value.clone(), |under| merge(under, value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(global), Value::Array(mine)) => global.iter().chain(mine).cloned().collect(),
        (_, own) => own.clone(),
    }
}

fn is_function(members: &Map<String, Value>) -> bool {
    let first = members.keys().next().filter(|_| members.len() == 1);
    first.is_some_and(|name| name == "Ref" || name.starts_with("Fn::"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_resource_comes_before_the_globals() {
        let globals = Globals::read(Some(&json!({"Function": {
            "Timeout": 5, "Layers": ["a"], "Environment": {"Variables": {"A": "1", "B": "1"}}}})))
        .expect("they are good");
        let own = json!({"Properties": {"Timeout": 7, "Layers": ["b"], "Environment": {"Variables": {"B": {"Ref": "X"}}}}});
        assert_eq!(
            globals.function(&own)["Properties"],
            json!({"Timeout": 7, "Layers": ["a", "b"], "Environment": {"Variables": {"A": "1", "B": {"Ref": "X"}}}})
        );
    }
}
