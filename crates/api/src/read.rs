//! Reading a value without knowing the protocol. Generated code pulls members in whatever order the bytes hold them.
//!
//! Implementations live in `wire`; `wire::validate` wraps any of them to check constraints on the way.

use std::fmt;

use bytes::Bytes;

use crate::{Document, Schema, Timestamp};

/// Pulls one value out of a message. Calls follow the schema: `begin_structure`, then `next_member` until it answers
/// `None`, reading each member's value in between; likewise for lists and maps.
///
/// A reader skips members it does not find in the schema and members whose value is null, limits nesting, and never
/// panics on any bytes.
pub trait Reader {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError>;
    /// The index in `schema.members` of the next member whose value is to be read; `None` at the structure's end.
    fn next_member(&mut self) -> Result<Option<usize>, ReadError>;

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError>;
    /// Whether another element follows; its value is to be read next. `false` at the list's end.
    fn next_element(&mut self) -> Result<bool, ReadError>;

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError>;
    /// The next key, whose value is to be read next; `None` at the map's end.
    fn next_key(&mut self) -> Result<Option<String>, ReadError>;

    fn string(&mut self, schema: &'static Schema) -> Result<String, ReadError>;
    fn boolean(&mut self, schema: &'static Schema) -> Result<bool, ReadError>;
    fn integer(&mut self, schema: &'static Schema) -> Result<i32, ReadError>;
    fn long(&mut self, schema: &'static Schema) -> Result<i64, ReadError>;
    fn float(&mut self, schema: &'static Schema) -> Result<f32, ReadError>;
    fn double(&mut self, schema: &'static Schema) -> Result<f64, ReadError>;
    fn blob(&mut self, schema: &'static Schema) -> Result<Bytes, ReadError>;
    fn timestamp(&mut self, schema: &'static Schema) -> Result<Timestamp, ReadError>;
    fn document(&mut self, schema: &'static Schema) -> Result<Document, ReadError>;

    /// Whether this reader was given the value at all (an absent HTTP payload is not an empty one).
    fn is_present(&self) -> bool {
        true
    }
}

/// The message cannot be read as the shape. The gateway words it as the protocol's `SerializationException`,
/// `MalformedInput` or such; `message` is what AWS says where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    pub message: String,
    /// An error code other than the protocol's usual one, such as `ValidationException` for a value that parses but
    /// is refused by a hand-written shape.
    pub code: Option<&'static str>,
}

impl ReadError {
    pub fn new(message: impl Into<String>) -> ReadError {
        ReadError { message: message.into(), code: None }
    }

    pub fn with_code(code: &'static str, message: impl Into<String>) -> ReadError {
        ReadError { message: message.into(), code: Some(code) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}
