//! Writes JSON into one buffer. Whether a comma is due is read off the last byte, so no stack is needed.

use serde_json::ser::Serializer;
use tidemill_api::{
    Bytes, Document, Member, Schema, TimeFormat, Timestamp, Writer, event_stream::AnyEventStream,
};

use super::Naming;
use crate::text;

/// Writes one JSON value.
pub struct JsonWriter {
    out: Vec<u8>,
    naming: Naming,
    /// The format the member announced for the moment that follows.
    time_format: Option<TimeFormat>,
    events: Option<(&'static Schema, AnyEventStream)>,
}

impl JsonWriter {
    pub fn new(naming: Naming) -> JsonWriter {
        JsonWriter { out: Vec::with_capacity(256), naming, time_format: None, events: None }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// What was written, and the stream of events the value goes on as.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Option<(&'static Schema, AnyEventStream)>) {
        (self.out, self.events)
    }

    /// A member that no schema knows, such as an error's `__type`.
    pub(crate) fn extra(&mut self, name: &str, value: &str) {
        self.comma();
        push_string(&mut self.out, name);
        self.out.push(b':');
        push_string(&mut self.out, value);
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    fn quoted_or(&mut self, special: Option<&'static str>, push: impl FnOnce(&mut Vec<u8>)) {
        if special.is_some() {
            self.out.push(b'"');
        }
        push(&mut self.out);
        if special.is_some() {
            self.out.push(b'"');
        }
    }
}

impl Writer for JsonWriter {
    fn begin_structure(&mut self, _: &'static Schema) {
        self.out.push(b'{');
    }

    fn member(&mut self, member: &'static Member) {
        if member.schema().event_stream {
            return;
        }
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(self.naming.of(member).as_bytes());
        self.out.extend_from_slice(b"\":");
        self.time_format = member.time_format;
    }

    fn end_structure(&mut self) {
        self.out.push(b'}');
    }

    fn begin_list(&mut self, _: &'static Schema, _: usize) {
        self.out.push(b'[');
    }

    fn element(&mut self) {
        self.comma();
    }

    fn end_list(&mut self) {
        self.out.push(b']');
    }

    fn begin_map(&mut self, _: &'static Schema, _: usize) {
        self.out.push(b'{');
    }

    fn key(&mut self, key: &str) {
        self.comma();
        push_string(&mut self.out, key);
        self.out.push(b':');
    }

    fn end_map(&mut self) {
        self.out.push(b'}');
    }

    fn string(&mut self, _: &'static Schema, value: &str) {
        push_string(&mut self.out, value);
    }

    fn boolean(&mut self, _: &'static Schema, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn integer(&mut self, _: &'static Schema, value: i32) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn long(&mut self, _: &'static Schema, value: i64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn float(&mut self, _: &'static Schema, value: f32) {
        self.quoted_or(text::special(f64::from(value)), |out| text::push_float(out, value));
    }

    fn double(&mut self, _: &'static Schema, value: f64) {
        self.quoted_or(text::special(value), |out| text::push_double(out, value));
    }

    fn blob(&mut self, _: &'static Schema, value: &Bytes) {
        self.out.push(b'"');
        text::push_base64(&mut self.out, value);
        self.out.push(b'"');
    }

    fn timestamp(&mut self, schema: &'static Schema, value: Timestamp) {
        let format = self.time_format.take().or(schema.time_format).unwrap_or(TimeFormat::UnixTimestamp);
        let printed = text::timestamp(value, format);
        match format {
            TimeFormat::UnixTimestamp => self.out.extend_from_slice(printed.as_bytes()),
            _ => push_string(&mut self.out, &printed),
        }
    }

    fn document(&mut self, _: &'static Schema, value: &Document) {
        use serde::Serialize;
        // Writing a JSON value into memory has nothing to fail on.
        let _ = value.serialize(&mut Serializer::new(&mut self.out));
    }

    fn events(&mut self, schema: &'static Schema, stream: AnyEventStream) {
        self.events = Some((schema, stream));
    }
}

/// A quoted string; only what must be escaped is.
pub(crate) fn push_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}
