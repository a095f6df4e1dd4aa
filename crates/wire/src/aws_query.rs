//! The query protocol: a form in, XML out. <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>
//!
//! Names are `wire` names: SQS's old ones (`Attribute.1.Name`) come from its contract's patch.

use std::borrow::Cow;

use tidemill_api::{At, OperationMeta, ReadError, Reader, Schema, ServiceMeta, WriteShape};

use crate::{
    Encoded, Incoming, MAX_DEPTH,
    scalar::text_methods,
    text,
    xml::{Root, XmlWriter},
};

/// The value of `Action` in a query string or form body.
pub fn action<'a>(query: &'a str, body: &'a [u8]) -> Option<Cow<'a, str>> {
    let body = std::str::from_utf8(body).unwrap_or_default();
    let pieces = query.split('&').chain(body.split('&'));
    let raw = pieces.filter_map(|piece| piece.strip_prefix("Action=")).next()?;
    text::percent_decoded(raw, true).ok()
}

/// Parameters may stand in the body, the query string, or both.
pub(crate) fn reader<'a>(incoming: &'a Incoming<'a>) -> Result<QueryReader<'a>, ReadError> {
    let body = std::str::from_utf8(&incoming.body).map_err(|_| ReadError::new("The form is not UTF-8"))?;
    let mut pairs = text::form_pairs(incoming.query)?;
    pairs.extend(text::form_pairs(body.trim_end())?);
    // Stable: of two values for one name the last one given comes last.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(QueryReader { pairs, path: String::new(), base: 0, flattened: false, frames: Vec::new() })
}

/// Reads shapes out of sorted `path=value` pairs: everything below a path is one range.
pub(crate) struct QueryReader<'a> {
    pairs: Vec<text::Pair<'a>>,
    /// The path of the value to be read next, `Entries.1.Body`.
    path: String,
    /// Where the path's last name begins: flattened lists may replace it.
    base: usize,
    flattened: bool,
    frames: Vec<Frame>,
}

struct Frame {
    schema: &'static Schema,
    /// How much of the path is this collection's own.
    length: usize,
    /// A list's or map's indexes.
    indexes: Vec<u32>,
    next: usize,
}

impl QueryReader<'_> {
    fn value(&self, path: &str) -> Option<&str> {
        let end = self.pairs.partition_point(|(name, _)| name.as_ref() <= path);
        let (name, value) = self.pairs.get(end.checked_sub(1)?)?;
        (name == path).then_some(value.as_ref())
    }

    /// The pairs below a path that ends with a dot.
    fn below(&self, path: &str) -> impl Iterator<Item = &text::Pair<'_>> {
        let start = self.pairs.partition_point(|(name, _)| name.as_ref() < path);
        self.pairs.iter().skip(start).take_while(move |(name, _)| name.starts_with(path))
    }

    /// Whether the current path has a value or something below it.
    fn exists(&mut self) -> bool {
        if self.value(&self.path).is_some() {
            return true;
        }
        self.path.push('.');
        let any = self.below(&self.path).next().is_some();
        self.path.pop();
        any
    }

    /// The numbers that follow the current path, in order, each once.
    fn indexes(&self) -> Vec<u32> {
        let prefix = format!("{}.", self.path);
        let number = |name: &str| name.get(prefix.len()..)?.split('.').next()?.parse().ok();
        let mut indexes: Vec<u32> = self.below(&prefix).filter_map(|(name, _)| number(name)).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    fn push(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.base = self.path.len();
        self.path.push_str(name);
    }

    fn enter(&mut self, schema: &'static Schema, indexes: Vec<u32>) -> Result<(), ReadError> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(ReadError::new(format!("Parameters nest deeper than {MAX_DEPTH} levels")));
        }
        self.frames.push(Frame { schema, length: self.path.len(), indexes, next: 0 });
        Ok(())
    }

    /// Stands at the next index of the innermost list or map; leaves it behind the last.
    fn next_index(&mut self) -> bool {
        let Some(frame) = self.frames.last_mut() else { return false };
        self.path.truncate(frame.length);
        let index = frame.indexes.get(frame.next).copied();
        frame.next += 1;
        match index {
            Some(index) => self.push(itoa::Buffer::new().format(index)),
            None => drop(self.frames.pop()),
        }
        self.flattened = false;
        index.is_some()
    }

    fn text(&self) -> Result<String, ReadError> {
        let missing = || ReadError::new(format!("The parameter {} has no value", self.path));
        self.value(&self.path).map(str::to_string).ok_or_else(missing)
    }
}

impl Reader for QueryReader<'_> {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        self.enter(schema, Vec::new())
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        while let Some(frame) = self.frames.last_mut() {
            self.path.truncate(frame.length);
            let index = frame.next;
            let Some(member) = frame.schema.members.get(index) else { break };
            frame.next += 1;
            if member.at != At::Body {
                continue;
            }
            self.push(member.wire);
            self.flattened = member.flattened || member.schema().flattened;
            if self.exists() {
                return Ok(Some(index));
            }
            // A flattened list under the name of its elements (`AttributeName.1` for `AttributeNames`).
            let part = member.schema().members.first().filter(|part| part.named && self.flattened);
            if let Some(part) = part {
                self.path.truncate(self.base);
                self.path.push_str(part.wire);
                if self.exists() {
                    return Ok(Some(index));
                }
            }
        }
        self.frames.pop();
        Ok(None)
    }

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if !self.flattened {
            self.push(schema.members.first().map_or("member", |part| part.wire));
        }
        let indexes = self.indexes();
        self.enter(schema, indexes)
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        Ok(self.next_index())
    }

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if !self.flattened {
            self.push("entry");
        }
        let indexes = self.indexes();
        self.enter(schema, indexes)
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        while self.next_index() {
            let Some(frame) = self.frames.last() else { break };
            let schema = frame.schema;
            let part = |index: usize, usual| schema.members.get(index).map_or(usual, |part| part.wire);
            let (key_name, value_name) = (part(0, "key"), part(1, "value"));
            let length = self.path.len();
            self.push(key_name);
            let key = self.value(&self.path).map(str::to_string);
            self.path.truncate(length);
            self.push(value_name);
            if let Some(key) = key
                && self.exists()
            {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    text_methods!();
}

/// `<OpResponse><OpResult>…</OpResult><ResponseMetadata><RequestId>…`
pub(crate) fn encode(
    service: &ServiceMeta,
    operation: &OperationMeta,
    output: &dyn WriteShape,
    request_id: &str,
) -> Encoded {
    let response = format!("{}Response", operation.name);
    let usual = format!("{}Result", operation.name);
    let nothing = std::ptr::eq(operation.output, &tidemill_api::unit::SCHEMA);
    let result = if nothing { "" } else { operation.result_wrapper.unwrap_or(&usual) };
    let mut writer = XmlWriter::new(Root { name: result.to_string().into(), namespace: None });
    writer.open(&response, service.xml_namespace);
    output.write(&mut writer);
    writer.open("ResponseMetadata", None);
    writer.leaf("RequestId", request_id);
    writer.close("ResponseMetadata");
    writer.close(&response);
    let mut encoded = Encoded::new(200, "text/xml", writer.into_bytes());
    encoded.header("x-amzn-RequestId", request_id);
    encoded
}
