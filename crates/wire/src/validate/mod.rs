//! The contract's constraints: required members, lengths, ranges, patterns, enumerations.
//!
//! [`Validating`] checks them while a value is read and only remembers whether all hold, which costs next to nothing.
//! When one does not, the value is read again as a tree and [`explain`] words everything that is wrong with it.

mod explain;

pub use explain::{Dialect, explain};
use smallvec::SmallVec;
use tidemill_api::{Bytes, Document, Kind, ReadError, Reader, Schema, Timestamp};

use crate::pattern;

/// A reader that checks what passes through it. It changes nothing: broken constraints show in [`Validating::holds`].
pub struct Validating<'r> {
    inner: &'r mut dyn Reader,
    open: SmallVec<[Open; 12]>,
    holds: bool,
}

/// A structure, list or map being read.
struct Open {
    schema: &'static Schema,
    /// Members seen, a bit each.
    seen: u128,
    /// Elements or entries seen.
    count: usize,
}

impl<'r> Validating<'r> {
    pub fn new(inner: &'r mut dyn Reader) -> Validating<'r> {
        Validating { inner, open: SmallVec::new(), holds: true }
    }

    /// Whether every constraint held so far.
    pub fn holds(&self) -> bool {
        self.holds
    }

    fn begin(&mut self, schema: &'static Schema) {
        self.open.push(Open { schema, seen: 0, count: 0 });
    }

    fn count(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.count += 1;
        }
    }

    fn end_structure(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let members = open.schema.members;
        // A structure too large for the bits is left to the tree.
        let missing = |(index, required): (usize, bool)| required && open.seen >> index & 1 == 0;
        self.holds &=
            members.len() <= 128 && !members.iter().map(|member| member.required).enumerate().any(missing);
    }

    fn end_collection(&mut self) {
        if let Some(open) = self.open.pop() {
            self.holds &= length_fits(open.schema, open.count);
        }
    }

    fn number(&mut self, schema: &Schema, value: f64) {
        self.holds &= number_fits(schema, value);
    }
}

/// Whether a length of a string, blob, list or map is within the shape's limits.
pub(crate) fn length_fits(schema: &Schema, length: usize) -> bool {
    let length = length as f64;
    schema.min.is_none_or(|min| length >= min) && schema.max.is_none_or(|max| length <= max)
}

pub(crate) fn number_fits(schema: &Schema, value: f64) -> bool {
    schema.min.is_none_or(|min| value >= min) && schema.max.is_none_or(|max| value <= max)
}

/// Whether a string is as long, as listed and as shaped as it must be. Lengths count characters, not bytes.
pub(crate) fn string_fits(schema: &'static Schema, value: &str) -> bool {
    let unbounded = schema.min.is_none() && schema.max.is_none();
    (unbounded || length_fits(schema, value.chars().count()))
        && (schema.values.is_empty() || schema.values.contains(&value))
        && (schema.pattern.is_none() || pattern::matches(schema, value))
}

impl Reader for Validating<'_> {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        self.begin(schema);
        self.inner.begin_structure(schema)
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        let member = self.inner.next_member()?;
        match (member, self.open.last_mut()) {
            (Some(index @ ..128), Some(open)) => open.seen |= 1 << index,
            (Some(_), _) => {}
            (None, _) => self.end_structure(),
        }
        Ok(member)
    }

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        self.begin(schema);
        self.inner.begin_list(schema)
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        let more = self.inner.next_element()?;
        if more {
            self.count()
        } else {
            self.end_collection()
        }
        Ok(more)
    }

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        self.begin(schema);
        self.inner.begin_map(schema)
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        let key = self.inner.next_key()?;
        match (&key, self.open.last()) {
            (Some(key), Some(open)) => {
                let of = open.schema.members.first().map(|part| part.schema());
                self.holds &= of.is_none_or(|of| of.kind != Kind::String || string_fits(of, key));
                self.count();
            }
            (Some(_), None) => {}
            (None, _) => self.end_collection(),
        }
        Ok(key)
    }

    fn string(&mut self, schema: &'static Schema) -> Result<String, ReadError> {
        let value = self.inner.string(schema)?;
        self.holds &= string_fits(schema, &value);
        Ok(value)
    }

    fn boolean(&mut self, schema: &'static Schema) -> Result<bool, ReadError> {
        self.inner.boolean(schema)
    }

    fn integer(&mut self, schema: &'static Schema) -> Result<i32, ReadError> {
        let value = self.inner.integer(schema)?;
        self.number(schema, value.into());
        Ok(value)
    }

    fn long(&mut self, schema: &'static Schema) -> Result<i64, ReadError> {
        let value = self.inner.long(schema)?;
        self.number(schema, value as f64);
        Ok(value)
    }

    fn float(&mut self, schema: &'static Schema) -> Result<f32, ReadError> {
        let value = self.inner.float(schema)?;
        self.number(schema, value.into());
        Ok(value)
    }

    fn double(&mut self, schema: &'static Schema) -> Result<f64, ReadError> {
        let value = self.inner.double(schema)?;
        self.number(schema, value);
        Ok(value)
    }

    fn blob(&mut self, schema: &'static Schema) -> Result<Bytes, ReadError> {
        let value = self.inner.blob(schema)?;
        self.holds &= length_fits(schema, value.len());
        Ok(value)
    }

    fn timestamp(&mut self, schema: &'static Schema) -> Result<Timestamp, ReadError> {
        self.inner.timestamp(schema)
    }

    fn document(&mut self, schema: &'static Schema) -> Result<Document, ReadError> {
        self.inner.document(schema)
    }

    fn is_present(&self) -> bool {
        self.inner.is_present()
    }
}
