//! One value without parts, whatever its type: writers that only care where a value goes take it through one method.
//! [`scalar_methods`] fills in the typed methods of a `Writer`, [`text_methods`] those of a `Reader` over text.

use tidemill_api::{Bytes, Document, ReadError, Schema, TimeFormat, Timestamp, Writer};

use crate::text;

#[derive(Clone, Copy)]
pub(crate) enum Scalar<'a> {
    String(&'a str),
    Boolean(bool),
    Integer(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Blob(&'a Bytes),
    Timestamp(Timestamp),
    Document(&'a Document),
}

impl Scalar<'_> {
    pub(crate) fn write(self, schema: &'static Schema, writer: &mut dyn Writer) {
        match self {
            Scalar::String(value) => writer.string(schema, value),
            Scalar::Boolean(value) => writer.boolean(schema, value),
            Scalar::Integer(value) => writer.integer(schema, value),
            Scalar::Long(value) => writer.long(schema, value),
            Scalar::Float(value) => writer.float(schema, value),
            Scalar::Double(value) => writer.double(schema, value),
            Scalar::Blob(value) => writer.blob(schema, value),
            Scalar::Timestamp(value) => writer.timestamp(schema, value),
            Scalar::Document(value) => writer.document(schema, value),
        }
    }

    /// As text: blobs in base64, documents as JSON, moments in the format given.
    pub(crate) fn to_text(self, format: TimeFormat) -> String {
        let mut out = Vec::new();
        match self {
            Scalar::String(value) => return value.to_string(),
            Scalar::Boolean(value) => return value.to_string(),
            Scalar::Integer(value) => return value.to_string(),
            Scalar::Long(value) => return value.to_string(),
            Scalar::Float(value) => text::push_float(&mut out, value),
            Scalar::Double(value) => text::push_double(&mut out, value),
            Scalar::Blob(value) => return text::base64(value),
            Scalar::Timestamp(value) => return text::timestamp(value, format),
            Scalar::Document(value) => return value.to_string(),
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

/// The typed methods of a `Writer` that has a method `scalar(schema, Scalar)`.
macro_rules! scalar_methods {
    () => {
        $crate::scalar::scalar_methods! {
            string(&str) String, boolean(bool) Boolean, integer(i32) Integer, long(i64) Long, float(f32) Float,
            double(f64) Double, blob(&tidemill_api::Bytes) Blob, timestamp(tidemill_api::Timestamp) Timestamp,
            document(&tidemill_api::Document) Document
        }
    };
    ($($method:ident($type:ty) $variant:ident),*) => {
        $(fn $method(&mut self, schema: &'static tidemill_api::Schema, value: $type) {
            self.scalar(schema, $crate::scalar::Scalar::$variant(value));
        })*
    };
}
pub(crate) use scalar_methods;

pub(crate) fn integer(text: &str) -> Result<i32, ReadError> {
    text.trim().parse().map_err(|_| unreadable(text, "an Integer"))
}

pub(crate) fn long(text: &str) -> Result<i64, ReadError> {
    text.trim().parse().map_err(|_| unreadable(text, "a Long"))
}

pub(crate) fn float(text: &str) -> Result<f32, ReadError> {
    let value = double(text)?;
    let float = value as f32;
    if value.is_finite() && !float.is_finite() {
        return Err(unreadable(text, "a Float"));
    }
    Ok(float)
}

pub(crate) fn double(text: &str) -> Result<f64, ReadError> {
    text::parse_double(text.trim()).ok_or_else(|| unreadable(text, "a Double"))
}

pub(crate) fn boolean(text: &str) -> Result<bool, ReadError> {
    text::parse_boolean(text.trim()).ok_or_else(|| unreadable(text, "a Boolean"))
}

pub(crate) fn document(text: &str) -> Result<Document, ReadError> {
    serde_json::from_str(text).map_err(|_| unreadable(text, "a document"))
}

fn unreadable(text: &str, noun: &str) -> ReadError {
    ReadError::new(format!("'{}' can not be converted to {noun}", text::shown(text)))
}

/// The typed methods of a `Reader` that has a method `text() -> Result<String, ReadError>`.
macro_rules! text_methods {
    () => {
        fn string(&mut self, _: &'static Schema) -> Result<String, ReadError> {
            self.text()
        }
        fn boolean(&mut self, _: &'static Schema) -> Result<bool, ReadError> {
            $crate::scalar::boolean(&self.text()?)
        }
        fn integer(&mut self, _: &'static Schema) -> Result<i32, ReadError> {
            $crate::scalar::integer(&self.text()?)
        }
        fn long(&mut self, _: &'static Schema) -> Result<i64, ReadError> {
            $crate::scalar::long(&self.text()?)
        }
        fn float(&mut self, _: &'static Schema) -> Result<f32, ReadError> {
            $crate::scalar::float(&self.text()?)
        }
        fn double(&mut self, _: &'static Schema) -> Result<f64, ReadError> {
            $crate::scalar::double(&self.text()?)
        }
        fn blob(&mut self, _: &'static Schema) -> Result<tidemill_api::Bytes, ReadError> {
            $crate::text::parse_base64(self.text()?.trim())
        }
        fn timestamp(&mut self, _: &'static Schema) -> Result<tidemill_api::Timestamp, ReadError> {
            $crate::text::parse_timestamp(&self.text()?)
        }
        fn document(&mut self, _: &'static Schema) -> Result<tidemill_api::Document, ReadError> {
            $crate::scalar::document(&self.text()?)
        }
    };
}
pub(crate) use text_methods;
