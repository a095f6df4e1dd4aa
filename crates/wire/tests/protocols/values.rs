//! The values of the cases as trees: there blobs are plain text and special floats words.

use serde_json::Value;
use tidemill_api::{At, Bytes, Kind, Schema, Timestamp};
use tidemill_wire::{Dynamic, text};

/// A case's value as a tree of its schema.
pub fn tree(schema: &'static Schema, value: &Value) -> Dynamic {
    match schema.kind {
        Kind::Structure | Kind::Union => {
            let members = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            let members = members.map(|(name, value)| {
                let index = schema.members.iter().position(|member| member.name == name);
                let index = index.unwrap_or_else(|| panic!("{} has no member {name}", schema.name));
                (index, tree(schema.members[index].schema(), value))
            });
            Dynamic::Structure(schema, members.collect())
        }
        Kind::List => {
            let elements = value.as_array().into_iter().flatten().filter(|value| !value.is_null());
            Dynamic::List(schema, elements.map(|value| tree(schema.members[0].schema(), value)).collect())
        }
        Kind::Map => {
            let entries = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            let entries = entries.map(|(key, value)| (key.clone(), tree(schema.members[1].schema(), value)));
            Dynamic::Map(schema, entries.collect())
        }
        Kind::String if value.is_string() => {
            Dynamic::String(schema, value.as_str().unwrap_or_default().into())
        }
        Kind::String => Dynamic::String(schema, value.to_string()),
        Kind::Boolean => Dynamic::Boolean(schema, value == true),
        Kind::Integer => Dynamic::Integer(schema, value.as_i64().expect("an integer") as i32),
        Kind::Long => Dynamic::Long(schema, value.as_i64().expect("a long")),
        Kind::Float => Dynamic::Float(schema, number(value) as f32),
        Kind::Double => Dynamic::Double(schema, number(value)),
        Kind::Blob => Dynamic::Blob(schema, Bytes::from(value.as_str().expect("a blob").to_string())),
        Kind::Timestamp => Dynamic::Timestamp(schema, moment(value)),
        Kind::Document => Dynamic::Document(schema, value.clone()),
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| text::parse_double(value.as_str()?)).expect("a number")
}

fn moment(value: &Value) -> Timestamp {
    match value {
        Value::String(text) => text::parse_timestamp(text).expect("a moment"),
        value => text::timestamp_of_seconds(value.as_f64().expect("seconds")).expect("a moment"),
    }
}

/// Header names have no case on the wire: keys of prefix headers are compared in lower case.
pub fn lower_prefix_keys(value: Dynamic) -> Dynamic {
    let Dynamic::Structure(schema, members) = value else { return value };
    let members = members.into_iter().map(|(index, value)| match value {
        Dynamic::Map(map, entries) if schema.members[index].at == At::Headers => {
            let entries = entries.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value));
            (index, Dynamic::Map(map, entries.collect()))
        }
        value => (index, value),
    });
    Dynamic::Structure(schema, members.collect())
}
