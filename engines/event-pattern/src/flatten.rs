//! An event as a list of leaves: path, value, and the array elements it lies in. Arrays leave no trace in a path;
//! elements that are objects or arrays are remembered so that fields of different elements are not mixed
//! (Event Ruler's "array consistency"). Values that stand directly in an array belong to no element.

use crate::condition::{Scalar, Word};
use crate::number::Number;
use serde_json::Value;
use std::borrow::Cow;

/// A leaf of an event.
pub(crate) struct Leaf<'e> {
    pub(crate) path: String,
    pub(crate) value: Scalar<'e>,
    /// The elements it lies in, outermost first: which array of the event, and which element of it.
    pub(crate) elements: Vec<(u32, u32)>,
}

/// All leaves of the event; none when it is not an object.
pub(crate) fn flatten(event: &Value) -> Vec<Leaf<'_>> {
    let mut walk = Walk { leaves: Vec::new(), steps: Vec::new(), elements: Vec::new(), arrays: 0 };
    if event.is_object() {
        walk.value(event);
    }
    walk.leaves
}

struct Walk<'e> {
    leaves: Vec<Leaf<'e>>,
    steps: Vec<&'e str>,
    elements: Vec<(u32, u32)>,
    arrays: u32,
}

impl<'e> Walk<'e> {
    fn value(&mut self, value: &'e Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.steps.push(name);
                    self.value(value);
                    self.steps.pop();
                }
            }
            Value::Array(items) => self.array(items),
            Value::String(text) => self.leaf(Scalar::Text(Cow::Borrowed(text))),
            Value::Number(number) => {
                if let Some(number) = Number::parse(&number.to_string()) {
                    self.leaf(Scalar::Number(number));
                }
            }
            Value::Bool(true) => self.leaf(Scalar::Word(Word::True)),
            Value::Bool(false) => self.leaf(Scalar::Word(Word::False)),
            Value::Null => self.leaf(Scalar::Word(Word::Null)),
        }
    }

    fn array(&mut self, items: &'e [Value]) {
        let array = self.arrays;
        self.arrays += 1;
        for (index, item) in (0u32..).zip(items) {
            let nested = item.is_object() || item.is_array();
            if nested {
                self.elements.push((array, index));
            }
            self.value(item);
            if nested {
                self.elements.pop();
            }
        }
    }

    fn leaf(&mut self, value: Scalar<'e>) {
        self.leaves.push(Leaf { path: self.steps.join("."), value, elements: self.elements.clone() });
    }
}
