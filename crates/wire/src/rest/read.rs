//! Reads an input that is spread over the message: first what is bound to path, query and headers, then the body, which
//! is either one member (the payload) or a document of all remaining ones.

use tidemill_api::{At, Bytes, Document, Kind, ReadError, Reader, Schema, Timestamp};

use super::bindings::{Bound, Query};
use crate::{Incoming, scalar, text};

pub(crate) struct RestReader<'a, D> {
    incoming: &'a Incoming<'a>,
    query: Query<'a>,
    schema: &'static Schema,
    document: Option<D>,
    /// The next member to look for outside of the body.
    next: usize,
    stage: Stage,
    /// Structures, lists and maps of the body's document that were begun and not ended, without the outermost.
    depth: usize,
}

enum Stage {
    Start,
    /// Reading a member from here.
    Bound(Bound),
    /// The body is the member, as it stands.
    Raw,
    /// The body's document is the member.
    Payload,
    /// The body's document holds the remaining members.
    Body,
    Done,
}

impl<'a, D: Reader> RestReader<'a, D> {
    pub(super) fn new(
        schema: &'static Schema,
        incoming: &'a Incoming<'a>,
        parse: impl FnOnce(&'a [u8]) -> Result<D, ReadError>,
    ) -> Result<RestReader<'a, D>, ReadError> {
        let in_document = match payload(schema) {
            Some(kind) => !matches!(kind, Kind::Blob | Kind::String),
            None => schema.members.iter().any(|member| member.at == At::Body),
        };
        let document =
            (in_document && !incoming.body.is_empty()).then(|| parse(&incoming.body)).transpose()?;
        let query = text::form_pairs(incoming.query)?;
        Ok(RestReader { incoming, query, schema, document, next: 0, stage: Stage::Start, depth: 0 })
    }

    /// The next member from outside of the body.
    fn next_bound(&mut self) -> Result<Option<usize>, ReadError> {
        while let Some(member) = self.schema.members.get(self.next) {
            let index = self.next;
            self.next += 1;
            if let Some(bound) = Bound::find(member, self.incoming, &self.query)? {
                self.stage = Stage::Bound(bound);
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The payload member, or the first of the body's document.
    fn enter_body(&mut self) -> Result<Option<usize>, ReadError> {
        self.stage = Stage::Done;
        match (self.schema.payload, &mut self.document) {
            (Some(index), Some(_)) => {
                self.stage = Stage::Payload;
                Ok(Some(index))
            }
            (Some(index), None) if !self.incoming.body.is_empty() => {
                self.stage = Stage::Raw;
                Ok(Some(index))
            }
            (None, Some(document)) => {
                document.begin_structure(self.schema)?;
                self.stage = Stage::Body;
                document.next_member()
            }
            _ => Ok(None),
        }
    }

    fn document(&mut self) -> Result<&mut D, ReadError> {
        self.document.as_mut().ok_or_else(|| ReadError::new("The body is empty"))
    }

    /// The value to be read, if it stands outside of the body.
    fn text(&self) -> Option<&str> {
        match &self.stage {
            Stage::Bound(bound) => Some(&bound.text),
            _ => None,
        }
    }
}

fn payload(schema: &Schema) -> Option<Kind> {
    schema.members.get(schema.payload?).map(|member| member.schema().kind)
}

/// A value from outside of the body is text; one inside is the document's.
macro_rules! either {
    ($($method:ident -> $type:ty: $parse:path),*) => {
        $(fn $method(&mut self, schema: &'static Schema) -> Result<$type, ReadError> {
            match self.text() {
                Some(text) => $parse(text),
                None => self.document()?.$method(schema),
            }
        })*
    };
}

impl<D: Reader> Reader for RestReader<'_, D> {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        match self.stage {
            Stage::Start => Ok(()),
            _ => {
                self.depth += 1;
                self.document()?.begin_structure(schema)
            }
        }
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        if self.depth > 0 {
            let member = self.document()?.next_member()?;
            if member.is_none() {
                self.depth -= 1;
            }
            return Ok(member);
        }
        match self.stage {
            Stage::Start | Stage::Bound(_) => match self.next_bound()? {
                Some(index) => Ok(Some(index)),
                None => self.enter_body(),
            },
            Stage::Body => self.document()?.next_member(),
            Stage::Raw | Stage::Payload | Stage::Done => {
                self.stage = Stage::Done;
                Ok(None)
            }
        }
    }

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if let Stage::Bound(_) = self.stage {
            return Ok(());
        }
        self.depth += 1;
        self.document()?.begin_list(schema)
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        if let Stage::Bound(bound) = &mut self.stage {
            let value = bound.values.next();
            let more = value.is_some();
            bound.text = value.unwrap_or_default();
            return Ok(more);
        }
        let more = self.document()?.next_element()?;
        if !more {
            self.depth = self.depth.saturating_sub(1);
        }
        Ok(more)
    }

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if let Stage::Bound(_) = self.stage {
            return Ok(());
        }
        self.depth += 1;
        self.document()?.begin_map(schema)
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        if let Stage::Bound(bound) = &mut self.stage {
            let Some((key, values)) = bound.entries.next() else { return Ok(None) };
            bound.text = values.first().cloned().unwrap_or_default();
            bound.values = values.into_iter();
            return Ok(Some(key));
        }
        let key = self.document()?.next_key()?;
        if key.is_none() {
            self.depth = self.depth.saturating_sub(1);
        }
        Ok(key)
    }

    fn string(&mut self, schema: &'static Schema) -> Result<String, ReadError> {
        if let Stage::Raw = self.stage {
            let body = self.incoming.body.to_vec();
            return String::from_utf8(body).map_err(|_| ReadError::new("The body is not UTF-8"));
        }
        match self.text() {
            Some(text) => Ok(text.to_string()),
            None => self.document()?.string(schema),
        }
    }

    fn blob(&mut self, schema: &'static Schema) -> Result<Bytes, ReadError> {
        if let Stage::Raw = self.stage {
            return Ok(self.incoming.body.clone());
        }
        match self.text() {
            Some(text) => text::parse_base64(text),
            None => self.document()?.blob(schema),
        }
    }

    either! {
        boolean -> bool: scalar::boolean,
        integer -> i32: scalar::integer,
        long -> i64: scalar::long,
        float -> f32: scalar::float,
        double -> f64: scalar::double,
        timestamp -> Timestamp: text::parse_timestamp,
        document -> Document: scalar::document
    }
}
