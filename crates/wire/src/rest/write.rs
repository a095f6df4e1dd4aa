//! Writes an output that is spread over the message: headers, status, and a body that is one member or a document.

use tidemill_api::{
    At, Bytes, Member, OperationMeta, Schema, TimeFormat, WriteShape, Writer, event_stream::AnyEventStream,
};

use super::bindings;
use crate::{
    Body, Encoded,
    document::{Document, Events, Format},
    event_stream,
    scalar::{Scalar, scalar_methods},
    text,
    xml::Root,
};

pub(super) fn encode(
    format: Format,
    root: Root,
    operation: &OperationMeta,
    output: &dyn WriteShape,
) -> Encoded {
    let mut writer = RestWriter {
        output: operation.output,
        document: format.document(root),
        written: false,
        raw: None,
        events: None,
        depth: 0,
        sink: Sink::Document,
        list: None,
        encoded: Encoded::new(operation.status, "", ""),
    };
    output.write(&mut writer);
    writer.finish(format)
}

struct RestWriter {
    output: &'static Schema,
    document: Document,
    /// Something was written into the document, so it is the body.
    written: bool,
    /// A payload that is no document, with its content type.
    raw: Option<(Bytes, &'static str)>,
    events: Events,
    depth: usize,
    sink: Sink,
    /// The elements of a header's list so far.
    list: Option<Vec<String>>,
    encoded: Encoded,
}

/// Where the value of the output's current member goes.
enum Sink {
    Document,
    Header(&'static Member),
    /// The header's name: prefix and key.
    Prefixed(&'static Member, String),
    Status,
    Payload,
}

impl RestWriter {
    fn finish(mut self, format: Format) -> Encoded {
        let (body, content_type) = match (self.raw, self.written) {
            _ if self.encoded.status == 204 => (Bytes::new(), ""),
            (Some((bytes, content_type)), _) => (bytes, content_type),
            (None, true) => (self.document.into_bytes().into(), format.content_type()),
            (None, false) => (Bytes::new(), ""),
        };
        self.encoded.body = Body::Full(body);
        let mut content_type = content_type;
        if let Some((schema, stream)) = self.events {
            content_type = event_stream::CONTENT_TYPE;
            self.encoded.body = Body::Events(event_stream::frames(format, schema, None, stream));
        }
        if !content_type.is_empty() && !self.encoded.headers.contains_key("content-type") {
            self.encoded.header("content-type", content_type);
        }
        self.encoded
    }

    fn scalar(&mut self, schema: &'static Schema, value: Scalar) {
        match &self.sink {
            Sink::Header(member) => {
                let format = member.time_format.or(schema.time_format).unwrap_or(TimeFormat::Rfc822);
                let text = value.to_text(format);
                match &mut self.list {
                    Some(list) if matches!(value, Scalar::String(_)) => list.push(bindings::quoted(&text)),
                    Some(list) => list.push(text),
                    None if member.json_value => {
                        self.encoded.header(member.wire, &text::base64(text.as_bytes()))
                    }
                    None => self.encoded.header(member.wire, &text),
                }
            }
            Sink::Prefixed(_, name) => self.encoded.header(name, &value.to_text(TimeFormat::Rfc822)),
            Sink::Status => {
                if let Scalar::Integer(status) = value {
                    self.encoded.status = u16::try_from(status).unwrap_or(self.encoded.status);
                }
            }
            Sink::Payload if self.depth == 1 => self.payload(schema, value),
            Sink::Payload | Sink::Document => value.write(schema, self.document.writer()),
        }
    }

    fn payload(&mut self, schema: &'static Schema, value: Scalar) {
        match value {
            Scalar::Blob(bytes) => self.raw = Some((bytes.clone(), "application/octet-stream")),
            Scalar::String(text) => self.raw = Some((Bytes::copy_from_slice(text.as_bytes()), "text/plain")),
            other => {
                self.written = true;
                other.write(schema, self.document.writer());
            }
        }
    }

    /// Whether a list or map belongs to a header; if not, the document gets it.
    fn in_header(&self) -> bool {
        matches!(self.sink, Sink::Header(_) | Sink::Prefixed(..))
    }

    fn nest(&mut self) {
        self.depth += 1;
        self.written = true;
    }

    /// Whether the output's own structure is the body's document: an output without members for it is `{}` in JSON
    /// and nothing in XML. Paths and queries have no place in answers, so what is bound to them counts as body.
    fn is_document(&self) -> bool {
        let in_body = |member: &Member| !matches!(member.at, At::Header | At::Headers | At::StatusCode);
        let members = self.output.members;
        if self.output.payload.is_some() || members.iter().any(|member| member.schema().event_stream) {
            return false;
        }
        let json = matches!(self.document, Document::Json(_));
        members.iter().any(in_body) || (json && !std::ptr::eq(self.output, &tidemill_api::unit::SCHEMA))
    }
}

impl Writer for RestWriter {
    fn begin_structure(&mut self, schema: &'static Schema) {
        if self.depth > 0 || self.is_document() {
            self.written = true;
            self.document.writer().begin_structure(schema);
        }
        self.depth += 1;
    }

    fn member(&mut self, member: &'static Member) {
        if self.depth != 1 {
            return self.document.writer().member(member);
        }
        let payload = self.output.payload.and_then(|index| self.output.members.get(index));
        self.sink = match member.at {
            At::Header => Sink::Header(member),
            At::Headers => Sink::Prefixed(member, String::new()),
            At::StatusCode => Sink::Status,
            _ if payload.is_some_and(|payload| std::ptr::eq(payload, member)) => Sink::Payload,
            _ => Sink::Document,
        };
        if matches!(self.sink, Sink::Document) {
            self.document.writer().member(member);
        }
    }

    fn end_structure(&mut self) {
        self.depth -= 1;
        if self.depth > 0 || self.is_document() {
            self.document.writer().end_structure();
        }
    }

    fn begin_list(&mut self, schema: &'static Schema, len: usize) {
        if self.in_header() {
            self.list = Some(Vec::with_capacity(len));
        } else {
            self.nest();
            self.document.writer().begin_list(schema, len);
        }
    }

    fn element(&mut self) {
        if !self.in_header() {
            self.document.writer().element();
        }
    }

    fn end_list(&mut self) {
        if !self.in_header() {
            self.depth -= 1;
            return self.document.writer().end_list();
        }
        let list = self.list.take().unwrap_or_default();
        if let Sink::Header(member) = self.sink
            && !list.is_empty()
        {
            self.encoded.header(member.wire, &bindings::joined(list.into_iter()));
        }
    }

    fn begin_map(&mut self, schema: &'static Schema, len: usize) {
        if !self.in_header() {
            self.nest();
            self.document.writer().begin_map(schema, len);
        }
    }

    fn key(&mut self, key: &str) {
        match &mut self.sink {
            Sink::Prefixed(member, name) => *name = format!("{}{key}", member.wire),
            _ => self.document.writer().key(key),
        }
    }

    fn end_map(&mut self) {
        if !self.in_header() {
            self.depth -= 1;
            self.document.writer().end_map();
        }
    }

    scalar_methods!();

    fn events(&mut self, schema: &'static Schema, stream: AnyEventStream) {
        self.events = Some((schema, stream));
    }
}
