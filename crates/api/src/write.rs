//! Writing a value without knowing the protocol. Generated code pushes members in the contract's order.
//!
//! Implementations live in `wire`.

use bytes::Bytes;

use crate::{Document, Member, Schema, Timestamp, event_stream::AnyEventStream};

/// Receives one value. Calls nest: `begin_structure`, then per present member `member` followed by its value, then
/// `end_structure`; lists and maps likewise. Writing cannot fail: what a handler answers is already typed.
pub trait Writer {
    fn begin_structure(&mut self, schema: &'static Schema);
    /// The value of `member` comes next. Absent members are not announced.
    fn member(&mut self, member: &'static Member);
    fn end_structure(&mut self);

    fn begin_list(&mut self, schema: &'static Schema, len: usize);
    /// An element's value comes next.
    fn element(&mut self);
    fn end_list(&mut self);

    fn begin_map(&mut self, schema: &'static Schema, len: usize);
    /// The value of `key` comes next.
    fn key(&mut self, key: &str);
    fn end_map(&mut self);

    fn string(&mut self, schema: &'static Schema, value: &str);
    fn boolean(&mut self, schema: &'static Schema, value: bool);
    fn integer(&mut self, schema: &'static Schema, value: i32);
    fn long(&mut self, schema: &'static Schema, value: i64);
    fn float(&mut self, schema: &'static Schema, value: f32);
    fn double(&mut self, schema: &'static Schema, value: f64);
    fn blob(&mut self, schema: &'static Schema, value: &Bytes);
    fn timestamp(&mut self, schema: &'static Schema, value: Timestamp);
    fn document(&mut self, schema: &'static Schema, value: &Document);

    /// The answer goes on as a stream of events. Protocols without streams keep the default, which writes nothing.
    fn events(&mut self, schema: &'static Schema, stream: AnyEventStream) {
        let _ = (schema, stream);
    }
}

/// The part of [`crate::Shape`] that works behind a pointer.
pub trait WriteShape: Send + Sync {
    fn write(&self, writer: &mut dyn Writer);
}
