//! A document of one of the three syntaxes, for what carries documents of any: REST bodies and events.

use tidemill_api::{Schema, Writer, event_stream::AnyEventStream};

use crate::{
    cbor::CborWriter,
    json::{JsonWriter, Naming},
    xml::{Root, XmlWriter},
};

/// How documents are written, and what they are called in headers.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    Json(&'static str, Naming),
    Xml,
    Cbor,
}

pub(crate) enum Document {
    Json(JsonWriter),
    Xml(XmlWriter),
    Cbor(CborWriter),
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Json(content_type, _) => content_type,
            Format::Xml => "application/xml",
            Format::Cbor => "application/cbor",
        }
    }

    /// An empty document; `root` names the outermost element where the syntax has one.
    pub(crate) fn document(self, root: Root) -> Document {
        match self {
            Format::Json(_, naming) => Document::Json(JsonWriter::new(naming)),
            Format::Xml => Document::Xml(XmlWriter::new(root)),
            Format::Cbor => Document::Cbor(CborWriter::new()),
        }
    }
}

impl Document {
    pub(crate) fn writer(&mut self) -> &mut dyn Writer {
        match self {
            Document::Json(writer) => writer,
            Document::Xml(writer) => writer,
            Document::Cbor(writer) => writer,
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Document::Json(writer) => writer.into_bytes(),
            Document::Xml(writer) => writer.into_bytes(),
            Document::Cbor(writer) => writer.into_parts().0,
        }
    }
}

/// The stream of events an output goes on as, with its union's schema.
pub(crate) type Events = Option<(&'static Schema, AnyEventStream)>;
