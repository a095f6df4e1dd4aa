//! `application/vnd.amazon.eventstream`: frames with a prelude, headers, a payload and two checksums.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>
//!
//! Frames are encoded for answers; [`decode`] serves clients inside the platform and the tests. Streams of events
//! towards the platform are not read.

use std::pin::Pin;

use futures::{Stream, StreamExt, future, stream};
use tidemill_api::{
    Bytes, Fault, Member, Schema, TimeFormat, Timestamp, WriteShape, Writer, event_stream::AnyEventStream,
};

pub use crate::document::Format;
use crate::{
    document::Document,
    fault,
    scalar::{Scalar, scalar_methods},
    xml::Root,
};

pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub headers: Vec<(String, Value)>,
    pub payload: Bytes,
}

/// A header's value. Shorter integers than `Integer` are read as one; UUIDs as their 16 bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Boolean(bool),
    Integer(i32),
    Long(i64),
    Blob(Bytes),
    String(String),
    Timestamp(Timestamp),
}

/// The event that carries an answer's members beside its stream (RPC protocols).
pub(crate) fn initial_response(format: Format, payload: Bytes) -> Message {
    Message {
        headers: event_headers("event", ":event-type", "initial-response", format.content_type()),
        payload,
    }
}

/// The frames of a stream of events; the first fault ends it as a frame of its own.
pub(crate) fn frames(
    format: Format,
    schema: &'static Schema,
    first: Option<Message>,
    events: AnyEventStream,
) -> Pin<Box<dyn Stream<Item = Bytes> + Send>> {
    let frames = events.scan(false, move |ended, event| {
        if *ended {
            return future::ready(None);
        }
        *ended = event.is_err();
        let message = match event {
            Ok(event) => event_message(format, &*event),
            Err(fault) => fault_message(format, schema, &fault),
        };
        future::ready(Some(message))
    });
    Box::pin(stream::iter(first).chain(frames).map(|message| encode(&message)))
}

fn event_message(format: Format, event: &dyn WriteShape) -> Message {
    let mut writer = EventWriter {
        format,
        depth: 0,
        member: None,
        headers: Vec::new(),
        header: None,
        raw: None,
        document: format.document(Root::default()),
    };
    event.write(&mut writer);
    writer.into_message()
}

/// A fault the stream's union lists is an exception with its members; any other is an error with code and message.
fn fault_message(format: Format, schema: &'static Schema, fault: &Fault) -> Message {
    let listed = schema
        .members
        .iter()
        .find(|member| member.schema().error.is_some_and(|error| error.code == fault.code()));
    let Some(member) = listed else {
        let headers =
            [(":message-type", "error"), (":error-code", fault.code()), (":error-message", fault.message())];
        let headers = headers.map(|(name, value)| (name.to_string(), Value::String(value.to_string())));
        return Message { headers: headers.into(), payload: Bytes::new() };
    };
    let mut document = format.document(Root { name: member.name.into(), namespace: None });
    fault::members(fault, member.schema()).write(document.writer());
    Message {
        headers: event_headers("exception", ":exception-type", member.name, format.content_type()),
        payload: document.into_bytes().into(),
    }
}

fn event_headers(kind: &str, type_header: &str, type_name: &str, content_type: &str) -> Vec<(String, Value)> {
    [(":message-type", kind), (type_header, type_name), (":content-type", content_type)]
        .map(|(name, value)| (name.to_string(), Value::String(value.to_string())))
        .into()
}

/// Takes one event apart: the union's member names it, its members go into headers, the raw payload or a document.
struct EventWriter {
    format: Format,
    depth: usize,
    /// The union's member: which event this is.
    member: Option<&'static Member>,
    headers: Vec<(String, Value)>,
    /// The next value is this header.
    header: Option<&'static str>,
    /// A payload that is no document, with its content type.
    raw: Option<(Bytes, &'static str)>,
    document: Document,
}

/// How deep the members of an event stand: union, event.
const IN_EVENT: usize = 2;

impl EventWriter {
    fn into_message(self) -> Message {
        let exception = self.member.is_some_and(|member| member.schema().error.is_some());
        let (kind, header) =
            if exception { ("exception", ":exception-type") } else { ("event", ":event-type") };
        let (payload, content_type) = match self.raw {
            Some(raw) => raw,
            None => (self.document.into_bytes().into(), self.format.content_type()),
        };
        let mut headers =
            event_headers(kind, header, self.member.map_or("", |member| member.name), content_type);
        headers.extend(self.headers);
        if payload.is_empty() {
            headers.retain(|(name, _)| name != ":content-type");
        }
        Message { headers, payload }
    }

    fn scalar(&mut self, schema: &'static Schema, value: Scalar) {
        if let Some(name) = self.header.take() {
            self.headers.push((name.to_string(), header_value(value)));
        } else if self.depth == IN_EVENT && self.raw.is_some() {
            self.raw = match value {
                Scalar::Blob(bytes) => Some((bytes.clone(), "application/octet-stream")),
                Scalar::String(text) => Some((Bytes::copy_from_slice(text.as_bytes()), "text/plain")),
                _ => None,
            };
        } else {
            value.write(schema, self.document.writer());
        }
    }
}

fn header_value(value: Scalar) -> Value {
    match value {
        Scalar::Boolean(value) => Value::Boolean(value),
        Scalar::Integer(value) => Value::Integer(value),
        Scalar::Long(value) => Value::Long(value),
        Scalar::Blob(value) => Value::Blob(value.clone()),
        Scalar::Timestamp(value) => Value::Timestamp(value),
        other => Value::String(other.to_text(TimeFormat::Iso8601)),
    }
}

/// Whether an event's members make up a document: none of them is the payload, and not all are headers.
fn is_document(event: &Schema) -> bool {
    !event.members.iter().any(|member| member.event_payload)
        && (event.members.is_empty() || event.members.iter().any(|member| !member.event_header))
}

impl Writer for EventWriter {
    fn begin_structure(&mut self, schema: &'static Schema) {
        self.depth += 1;
        if self.depth > IN_EVENT || (self.depth == IN_EVENT && is_document(schema)) {
            self.raw = None;
            self.document.writer().begin_structure(schema);
        }
    }

    fn member(&mut self, member: &'static Member) {
        match self.depth {
            1 => self.member = Some(member),
            IN_EVENT if member.event_header => self.header = Some(member.wire),
            IN_EVENT if member.event_payload => self.raw = Some((Bytes::new(), "")),
            _ => self.document.writer().member(member),
        }
    }

    fn end_structure(&mut self) {
        let event = self.member.map(|member| member.schema());
        if self.depth > IN_EVENT || (self.depth == IN_EVENT && event.is_some_and(is_document)) {
            self.document.writer().end_structure();
        }
        self.depth -= 1;
    }

    fn begin_list(&mut self, schema: &'static Schema, len: usize) {
        self.depth += 1;
        self.document.writer().begin_list(schema, len);
    }

    fn element(&mut self) {
        self.document.writer().element();
    }

    fn end_list(&mut self) {
        self.depth -= 1;
        self.document.writer().end_list();
    }

    fn begin_map(&mut self, schema: &'static Schema, len: usize) {
        self.depth += 1;
        self.document.writer().begin_map(schema, len);
    }

    fn key(&mut self, key: &str) {
        self.document.writer().key(key);
    }

    fn end_map(&mut self) {
        self.depth -= 1;
        self.document.writer().end_map();
    }

    scalar_methods!();
}

/// The bytes of a frame.
pub fn encode(message: &Message) -> Bytes {
    let mut headers = Vec::new();
    for (name, value) in &message.headers {
        push_header(&mut headers, name, value);
    }
    let total = 16 + headers.len() + message.payload.len();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(&message.payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.into()
}

/// A name has at most 255 bytes, a value 65,535; what is longer is cut at a character's edge.
fn push_header(out: &mut Vec<u8>, name: &str, value: &Value) {
    let name = cut(name, 255);
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    let mut sized = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Blob(bytes) => sized(6, bytes.get(..bytes.len().min(65_535)).unwrap_or_default()),
        Value::String(text) => sized(7, cut(text, 65_535).as_bytes()),
        Value::Boolean(value) => out.push(if *value { 0 } else { 1 }),
        Value::Integer(value) => {
            out.push(4);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Long(value) => {
            out.push(5);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Timestamp(value) => {
            out.push(8);
            out.extend_from_slice(&value.millis().to_be_bytes());
        }
    }
}

fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Takes one frame off the front of `bytes`; `None` when it is not all there yet.
///
/// Errors name what is wrong with the frame: a length that cannot be, a checksum, a header of unknown type.
pub fn decode(bytes: &mut Bytes) -> Result<Option<Message>, &'static str> {
    let mut cursor = Cursor(bytes);
    let (Some(total), Some(headers)) = (cursor.number::<4>(), cursor.number::<4>()) else { return Ok(None) };
    let (total, headers) = (u32::from_be_bytes(total) as usize, u32::from_be_bytes(headers) as usize);
    if total < 16 || headers > total - 16 || total > 25 * 1024 * 1024 {
        return Err("a frame's lengths do not fit");
    }
    let Some(frame) = bytes.get(..total) else { return Ok(None) };
    let sum = |range: &[u8]| crc32fast::hash(range).to_be_bytes();
    if frame.get(8..12) != Some(&sum(frame.get(..8).unwrap_or_default())[..]) {
        return Err("a frame's prelude has the wrong checksum");
    }
    if frame.get(total - 4..) != Some(&sum(frame.get(..total - 4).unwrap_or_default())[..]) {
        return Err("a frame has the wrong checksum");
    }
    let message = Message {
        headers: decode_headers(frame.get(12..12 + headers).unwrap_or_default())?,
        payload: bytes.slice(12 + headers..total - 4),
    };
    *bytes = bytes.slice(total..);
    Ok(Some(message))
}

fn decode_headers(bytes: &[u8]) -> Result<Vec<(String, Value)>, &'static str> {
    let mut cursor = Cursor(bytes);
    let mut headers = Vec::new();
    while !cursor.0.is_empty() {
        headers.push(cursor.header().ok_or("a frame's header cannot be read")?);
    }
    Ok(headers)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.number()?);
        self.take(length.into())
    }

    fn header(&mut self) -> Option<(String, Value)> {
        let [length] = self.number()?;
        let name = String::from_utf8(self.take(length.into())?.to_vec()).ok()?;
        let [kind] = self.number()?;
        let value = match kind {
            0 | 1 => Value::Boolean(kind == 0),
            2 => Value::Integer(i8::from_be_bytes(self.number()?).into()),
            3 => Value::Integer(i16::from_be_bytes(self.number()?).into()),
            4 => Value::Integer(i32::from_be_bytes(self.number()?)),
            5 => Value::Long(i64::from_be_bytes(self.number()?)),
            6 => Value::Blob(Bytes::copy_from_slice(self.sized()?)),
            7 => Value::String(String::from_utf8(self.sized()?.to_vec()).ok()?),
            8 => Value::Timestamp(Timestamp(i64::from_be_bytes(self.number()?))),
            9 => Value::Blob(Bytes::copy_from_slice(self.take(16)?)),
            _ => return None,
        };
        Some((name, value))
    }
}
