//! Shapes as OpenAPI documents, as EventBridge's discovery writes them: the envelope is `AWSEvent`, every nested object a
//! component of its own. Source: "Creating a schema by using a template" in the EventBridge user guide.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::shape::{Field, Shape};

/// The document of events of one source and type, by the shape of their detail.
pub fn of_events(source: &str, detail_type: &str, detail: &Shape) -> Value {
    let title = pascal(detail_type);
    let mut components = Components::default();
    let name = components.name(&title);
    let detail = components.described(&name, detail);
    let text = json!({"type": "string"});
    let envelope = json!({
        "type": "object",
        "required": ["detail-type", "resources", "detail", "id", "source", "time", "region", "version", "account"],
        "x-amazon-events-detail-type": detail_type,
        "x-amazon-events-source": source,
        "properties": {
            "detail": {"$ref": reference(&name)},
            "account": text,
            "detail-type": text,
            "id": text,
            "region": text,
            "resources": {"type": "array", "items": text},
            "source": text,
            "time": {"type": "string", "format": "date-time"},
            "version": text,
        },
    });
    let mut schemas = Map::from_iter([("AWSEvent".to_string(), envelope), (name, detail)]);
    schemas.extend(components.done);
    document(&title, schemas)
}

/// The document of values that are no events.
pub fn of_values(title: &str, shape: &Shape) -> Value {
    let mut components = Components::default();
    let name = components.name(title);
    let root = components.described(&name, shape);
    let mut schemas = Map::from_iter([(name, root)]);
    schemas.extend(components.done);
    document(title, schemas)
}

fn document(title: &str, schemas: Map<String, Value>) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"version": "1.0.0", "title": title},
        "paths": {},
        "components": {"schemas": schemas},
    })
}

/// `Order Placed` as `OrderPlaced`.
pub fn pascal(text: &str) -> String {
    let words = text.split(|one: char| !one.is_ascii_alphanumeric());
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    let name: String = words.filter_map(capital).collect();
    if name.is_empty() { "Event".into() } else { name }
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

#[derive(Default)]
struct Components {
    /// Wanted name → how often it was, so that further ones are numbered without a search.
    wanted: HashMap<String, usize>,
    taken: HashSet<String>,
    done: Map<String, Value>,
}

impl Components {
    /// A name that no other component has.
    fn name(&mut self, wanted: &str) -> String {
        loop {
            let times = self.wanted.entry(wanted.to_string()).or_default();
            let name = if *times == 0 { wanted.to_string() } else { format!("{wanted}_{times}") };
            *times += 1;
            if name != "AWSEvent" && self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    /// The description of a shape; objects inside become components.
    fn described(&mut self, name: &str, shape: &Shape) -> Value {
        match shape {
            Shape::Nothing | Shape::Any => json!({}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Number => json!({"type": "number"}),
            Shape::Text => json!({"type": "string"}),
            Shape::Moment => json!({"type": "string", "format": "date-time"}),
            Shape::List(items) => json!({"type": "array", "items": self.inside(name, items)}),
            Shape::Object(fields) => self.object(fields),
        }
    }

    fn object(&mut self, fields: &BTreeMap<String, Field>) -> Value {
        let mut properties = Map::new();
        for (name, field) in fields {
            properties.insert(name.clone(), self.inside(name, &field.shape));
        }
        let required: Vec<&String> =
            fields.iter().filter(|(_, field)| field.required).map(|(name, _)| name).collect();
        if required.is_empty() {
            json!({"type": "object", "properties": properties})
        } else {
            json!({"type": "object", "required": required, "properties": properties})
        }
    }

    fn inside(&mut self, name: &str, shape: &Shape) -> Value {
        let Shape::Object(_) = shape else { return self.described(name, shape) };
        let name = self.name(&pascal(name));
        let described = self.described(&name, shape);
        self.done.insert(name.clone(), described);
        json!({"$ref": reference(&name)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_objects_become_components() {
        let detail =
            Shape::of(&json!({"id": 1, "to": {"city": "x"}, "items": [{"n": true}], "from": {"to": {}}}));
        let document = of_events("shop", "order placed!", &detail);
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let names: Vec<&str> = schemas.keys().map(String::as_str).collect();
        assert_eq!(names, ["AWSEvent", "OrderPlaced", "To", "From", "Items", "To_1"]);
        assert_eq!(
            schemas["OrderPlaced"]["properties"]["items"]["items"]["$ref"],
            "#/components/schemas/Items"
        );
        assert_eq!(schemas["AWSEvent"]["x-amazon-events-detail-type"], "order placed!");
        assert_eq!(document["info"]["title"], "OrderPlaced");
    }
}
