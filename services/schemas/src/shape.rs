//! The structure of JSON values: what kinds of value were seen where. Merging what two values show gives the structure of
//! both, and merging often enough changes nothing any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Objects nested deeper are taken for any value.
const DEEPEST: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// Nothing was seen: a null, an item of an empty list.
    #[default]
    Nothing,
    /// Different things were seen.
    Any,
    Boolean,
    Number,
    Text,
    /// A text that is a moment, such as `2026-11-22T18:43:48Z`.
    Moment,
    List(Box<Shape>),
    Object(BTreeMap<String, Field>),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Field {
    pub shape: Shape,
    /// It was in every object seen.
    pub required: bool,
}

impl Shape {
    pub fn of(value: &Value) -> Shape {
        Shape::within(value, 0)
    }

    fn within(value: &Value, depth: usize) -> Shape {
        match value {
            _ if depth >= DEEPEST => Shape::Any,
            Value::Null => Shape::Nothing,
            Value::Bool(_) => Shape::Boolean,
            Value::Number(_) => Shape::Number,
            Value::String(text) if is_moment(text) => Shape::Moment,
            Value::String(_) => Shape::Text,
            Value::Array(items) => {
                let shapes = items.iter().map(|item| Shape::within(item, depth + 1));
                Shape::List(Box::new(shapes.reduce(Shape::merged).unwrap_or_default()))
            }
            Value::Object(members) => {
                let fields = members.iter().map(|(name, value)| {
                    (name.clone(), Field { shape: Shape::within(value, depth + 1), required: true })
                });
                Shape::Object(fields.collect())
            }
        }
    }

    /// What both show together.
    pub fn merged(self, other: Shape) -> Shape {
        match (self, other) {
            (one, two) if one == two => one,
            (Shape::Nothing, known) | (known, Shape::Nothing) => known,
            (Shape::Text, Shape::Moment) | (Shape::Moment, Shape::Text) => Shape::Text,
            (Shape::List(one), Shape::List(two)) => Shape::List(Box::new(one.merged(*two))),
            (Shape::Object(one), Shape::Object(two)) => Shape::Object(both(one, two)),
            _ => Shape::Any,
        }
    }
}

fn both(mut one: BTreeMap<String, Field>, two: BTreeMap<String, Field>) -> BTreeMap<String, Field> {
    for (name, field) in &mut one {
        field.required &= two.get(name).is_some_and(|other| other.required);
    }
    for (name, field) in two {
        match one.get_mut(&name) {
            Some(there) => there.shape = std::mem::take(&mut there.shape).merged(field.shape),
            None => drop(one.insert(name, Field { required: false, ..field })),
        }
    }
    one
}

/// `yyyy-mm-ddThh:mm:ss` and what may follow.
fn is_moment(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 19
        && bytes.len() <= 40
        && bytes.iter().take(19).enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(values: &[Value]) -> Shape {
        values.iter().map(Shape::of).reduce(Shape::merged).expect("values")
    }

    #[test]
    fn what_is_not_always_there_is_optional() {
        let Shape::Object(fields) = merged(&[json!({"a": 1, "b": "x"}), json!({"a": 2, "c": true})]) else {
            panic!("an object")
        };
        let required: Vec<_> = fields.iter().map(|(name, field)| (name.as_str(), field.required)).collect();
        assert_eq!(required, [("a", true), ("b", false), ("c", false)]);
    }

    #[test]
    fn merging_comes_to_rest() {
        let values = [json!({"a": [1, 2]}), json!({"a": []}), json!({"a": ["x"]}), json!({"a": {"b": null}})];
        let all = merged(&values);
        for value in &values {
            assert_eq!(all.clone().merged(Shape::of(value)), all);
        }
    }

    #[test]
    fn nulls_and_empty_lists_say_nothing_and_mixtures_stay_mixed() {
        assert_eq!(merged(&[json!({"a": null}), json!({"a": 1})]), Shape::of(&json!({"a": 1})));
        assert_eq!(merged(&[json!([]), json!(["x"])]), Shape::of(&json!(["x"])));
        let mixed = Shape::List(Box::new(Shape::Any));
        assert_eq!(merged(&[json!([1, "x"]), json!([1])]), mixed);
        assert_eq!(merged(&[json!([1]), json!(["x"]), json!([])]), mixed);
    }

    #[test]
    fn moments_are_texts_of_a_form() {
        assert_eq!(Shape::of(&json!("2026-11-22T18:43:48.123Z")), Shape::Moment);
        assert_eq!(Shape::of(&json!("2026-11-22")), Shape::Text);
        assert_eq!(merged(&[json!("2026-11-22T18:43:48Z"), json!("soon")]), Shape::Text);
    }
}
