//! Writes CBOR. Structures are maps of indefinite length, since their members are not counted in advance.

use minicbor::{Encoder, data::Tag};
use tidemill_api::{Bytes, Document, Member, Schema, Timestamp, Writer, event_stream::AnyEventStream};

use crate::document::Events;

pub(crate) struct CborWriter {
    encoder: Encoder<Vec<u8>>,
    events: Events,
}

impl CborWriter {
    pub(crate) fn new() -> CborWriter {
        CborWriter { encoder: Encoder::new(Vec::with_capacity(256)), events: None }
    }

    pub(crate) fn into_parts(self) -> (Vec<u8>, Events) {
        (self.encoder.into_writer(), self.events)
    }

    /// A member that no schema knows, such as an error's `__type`.
    pub(crate) fn extra(&mut self, name: &str, value: &str) {
        self.put(|encoder| drop(encoder.str(name).and_then(|encoder| encoder.str(value))));
    }

    /// Writing into memory has nothing to fail on.
    fn put(&mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>)) {
        write(&mut self.encoder);
    }

    fn push_document(&mut self, value: &Document) {
        match value {
            Document::Null => self.put(|e| drop(e.null())),
            Document::Bool(value) => self.put(|e| drop(e.bool(*value))),
            Document::String(value) => self.put(|e| drop(e.str(value))),
            Document::Number(value) => match (value.as_i64(), value.as_u64()) {
                (Some(number), _) => self.put(|e| drop(e.i64(number))),
                (_, Some(number)) => self.put(|e| drop(e.u64(number))),
                _ => self.put(|e| drop(e.f64(value.as_f64().unwrap_or(f64::NAN)))),
            },
            Document::Array(values) => {
                self.put(|e| drop(e.array(values.len() as u64)));
                values.iter().for_each(|value| self.push_document(value));
            }
            Document::Object(members) => {
                self.put(|e| drop(e.map(members.len() as u64)));
                for (name, value) in members {
                    self.put(|e| drop(e.str(name)));
                    self.push_document(value);
                }
            }
        }
    }
}

impl Writer for CborWriter {
    fn begin_structure(&mut self, _: &'static Schema) {
        self.put(|e| drop(e.begin_map()));
    }

    fn member(&mut self, member: &'static Member) {
        if !member.schema().event_stream {
            self.put(|e| drop(e.str(member.name)));
        }
    }

    fn end_structure(&mut self) {
        self.put(|e| drop(e.end()));
    }

    fn begin_list(&mut self, _: &'static Schema, len: usize) {
        self.put(|e| drop(e.array(len as u64)));
    }

    fn element(&mut self) {}

    fn end_list(&mut self) {}

    fn begin_map(&mut self, _: &'static Schema, len: usize) {
        self.put(|e| drop(e.map(len as u64)));
    }

    fn key(&mut self, key: &str) {
        self.put(|e| drop(e.str(key)));
    }

    fn end_map(&mut self) {}

    fn string(&mut self, _: &'static Schema, value: &str) {
        self.put(|e| drop(e.str(value)));
    }

    fn boolean(&mut self, _: &'static Schema, value: bool) {
        self.put(|e| drop(e.bool(value)));
    }

    fn integer(&mut self, _: &'static Schema, value: i32) {
        self.put(|e| drop(e.i32(value)));
    }

    fn long(&mut self, _: &'static Schema, value: i64) {
        self.put(|e| drop(e.i64(value)));
    }

    fn float(&mut self, _: &'static Schema, value: f32) {
        self.put(|e| drop(e.f32(value)));
    }

    fn double(&mut self, _: &'static Schema, value: f64) {
        self.put(|e| drop(e.f64(value)));
    }

    fn blob(&mut self, _: &'static Schema, value: &Bytes) {
        self.put(|e| drop(e.bytes(value)));
    }

    /// Tag 1: seconds since 1970, a double where there is a fraction.
    fn timestamp(&mut self, _: &'static Schema, value: Timestamp) {
        self.put(|e| drop(e.tag(Tag::new(1))));
        if value.millis() % 1000 == 0 {
            self.put(|e| drop(e.i64(value.secs())));
        } else {
            self.put(|e| drop(e.f64(value.secs_f64())));
        }
    }

    fn document(&mut self, _: &'static Schema, value: &Document) {
        self.push_document(value);
    }

    fn events(&mut self, schema: &'static Schema, stream: AnyEventStream) {
        self.events = Some((schema, stream));
    }
}
