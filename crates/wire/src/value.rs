//! Typed shapes from and to JSON values in memory, for calls inside the platform (a workflow's task, a target's input).
//! Names are the model's; blobs are base64 text, moments seconds since 1970 (or any of the three formats when read).

use serde_json::{Map, Value};
use tidemill_api::{
    Bytes, Document, Member, ReadError, Reader, Schema, Shape, TimeFormat, Timestamp, WriteShape, Writer,
};

use crate::{
    MAX_DEPTH, scalar,
    scalar::{Scalar, scalar_methods},
    text,
};

/// Reads a shape from a JSON value.
pub fn from_value<T: Shape>(value: &Value) -> Result<T, ReadError> {
    T::read(&mut ValueReader::new(value))
}

/// A shape as a JSON value. A stream of events in it is left out.
pub fn to_value(shape: &dyn WriteShape) -> Value {
    let mut writer = ValueWriter::default();
    shape.write(&mut writer);
    writer.finish()
}

/// Reads one JSON value. Scalars may be written as text where AWS's templates do so (`"5"`, `"true"`).
pub struct ValueReader<'a> {
    current: &'a Value,
    frames: Vec<Frame<'a>>,
}

enum Frame<'a> {
    Structure(&'static Schema, serde_json::map::Iter<'a>),
    List(std::slice::Iter<'a, Value>),
    Map(serde_json::map::Iter<'a>),
}

impl<'a> ValueReader<'a> {
    pub fn new(value: &'a Value) -> ValueReader<'a> {
        ValueReader { current: value, frames: Vec::new() }
    }

    fn enter(&mut self, frame: Frame<'a>) -> Result<(), ReadError> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(ReadError::new(format!("The value nests deeper than {MAX_DEPTH} levels")));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn mismatch(&self, noun: &str) -> ReadError {
        let value = match self.current {
            Value::Null => "NULL_VALUE",
            Value::Bool(true) => "TRUE_VALUE",
            Value::Bool(false) => "FALSE_VALUE",
            Value::Number(_) => "NUMBER_VALUE",
            Value::String(_) => "STRING_VALUE",
            Value::Array(_) => return ReadError::new("Start of list found where not expected"),
            Value::Object(_) => return ReadError::new("Start of structure or map found where not expected."),
        };
        ReadError::new(format!("{value} can not be converted to {noun}"))
    }

    fn object(&self, expected: &str) -> Result<&'a Map<String, Value>, ReadError> {
        match self.current {
            Value::Object(members) => Ok(members),
            Value::Array(_) => Err(self.mismatch("")),
            _ => Err(ReadError::new(expected)),
        }
    }

    fn number(&self, noun: &str) -> Result<f64, ReadError> {
        match self.current {
            Value::Number(number) => number.as_f64().ok_or_else(|| self.mismatch(noun)),
            Value::String(text) => scalar::double(text),
            _ => Err(self.mismatch(noun)),
        }
    }

    fn text(&self, noun: &str) -> Result<&'a str, ReadError> {
        self.current.as_str().ok_or_else(|| self.mismatch(noun))
    }
}

impl Reader for ValueReader<'_> {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        let members = self.object("Expected null")?;
        self.enter(Frame::Structure(schema, members.iter()))
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        while let Some(Frame::Structure(schema, members)) = self.frames.last_mut() {
            let Some((name, value)) = members.next() else { break };
            let index = schema.members.iter().position(|member| member.name == name);
            if index.is_some() && !value.is_null() {
                self.current = value;
                return Ok(index);
            }
        }
        self.frames.pop();
        Ok(None)
    }

    fn begin_list(&mut self, _: &'static Schema) -> Result<(), ReadError> {
        match self.current {
            Value::Array(elements) => self.enter(Frame::List(elements.iter())),
            Value::Object(_) => Err(self.mismatch("")),
            _ => Err(ReadError::new("Expected list or null")),
        }
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        while let Some(Frame::List(elements)) = self.frames.last_mut() {
            let Some(value) = elements.next() else { break };
            if !value.is_null() {
                self.current = value;
                return Ok(true);
            }
        }
        self.frames.pop();
        Ok(false)
    }

    fn begin_map(&mut self, _: &'static Schema) -> Result<(), ReadError> {
        let members = self.object("Expected map or null")?;
        self.enter(Frame::Map(members.iter()))
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        while let Some(Frame::Map(entries)) = self.frames.last_mut() {
            let Some((key, value)) = entries.next() else { break };
            if !value.is_null() {
                self.current = value;
                return Ok(Some(key.clone()));
            }
        }
        self.frames.pop();
        Ok(None)
    }

    fn string(&mut self, _: &'static Schema) -> Result<String, ReadError> {
        self.text("a String").map(str::to_string)
    }

    fn boolean(&mut self, _: &'static Schema) -> Result<bool, ReadError> {
        match self.current {
            Value::Bool(value) => Ok(*value),
            Value::String(text) => scalar::boolean(text),
            _ => Err(self.mismatch("a Boolean")),
        }
    }

    fn integer(&mut self, schema: &'static Schema) -> Result<i32, ReadError> {
        let long = self.long(schema)?;
        i32::try_from(long).map_err(|_| ReadError::new(format!("Numeric value ({long}) out of range of int")))
    }

    fn long(&mut self, _: &'static Schema) -> Result<i64, ReadError> {
        if let Value::String(text) = self.current {
            return scalar::long(text);
        }
        let exact = self.current.as_i64();
        if let Some(exact) = exact {
            return Ok(exact);
        }
        let number = self.number("a Long")?;
        let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
        if fits {
            Ok(number.trunc() as i64)
        } else {
            Err(ReadError::new(format!("Numeric value ({number}) out of range of long")))
        }
    }

    fn float(&mut self, _: &'static Schema) -> Result<f32, ReadError> {
        self.number("a Float").map(|number| number as f32)
    }

    fn double(&mut self, _: &'static Schema) -> Result<f64, ReadError> {
        self.number("a Double")
    }

    fn blob(&mut self, _: &'static Schema) -> Result<Bytes, ReadError> {
        text::parse_base64(self.text("a Blob")?)
    }

    fn timestamp(&mut self, _: &'static Schema) -> Result<Timestamp, ReadError> {
        match self.current {
            Value::String(text) => text::parse_timestamp(text),
            Value::Number(number) => {
                let moment = number.as_f64().and_then(text::timestamp_of_seconds);
                moment.ok_or_else(|| {
                    ReadError::new(format!("Numeric value ({number}) out of range of timestamp"))
                })
            }
            _ => Err(self.mismatch("milliseconds since epoch")),
        }
    }

    fn document(&mut self, _: &'static Schema) -> Result<Document, ReadError> {
        Ok(self.current.clone())
    }
}

/// Builds a JSON value.
#[derive(Default)]
pub struct ValueWriter {
    /// Collections begun and not ended, each with the name or key its next value goes under.
    open: Vec<(Value, String)>,
    done: Value,
    time_format: Option<TimeFormat>,
}

impl ValueWriter {
    pub fn finish(self) -> Value {
        self.done
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.done = value,
            Some((Value::Object(members), name)) => drop(members.insert(std::mem::take(name), value)),
            Some((Value::Array(elements), _)) => elements.push(value),
            Some(_) => {}
        }
    }

    fn end(&mut self) {
        if let Some((value, _)) = self.open.pop() {
            self.put(value);
        }
    }

    fn name(&mut self, name: &str) {
        if let Some((_, waiting)) = self.open.last_mut() {
            *waiting = name.into();
        }
    }

    fn scalar(&mut self, schema: &'static Schema, value: Scalar) {
        let format = self.time_format.take().or(schema.time_format).unwrap_or(TimeFormat::UnixTimestamp);
        let number = |number: f64| match text::special(number) {
            Some(word) => word.into(),
            None => number.into(),
        };
        self.put(match value {
            Scalar::String(value) => value.into(),
            Scalar::Boolean(value) => value.into(),
            Scalar::Integer(value) => value.into(),
            Scalar::Long(value) => value.into(),
            Scalar::Float(value) => number(value.into()),
            Scalar::Double(value) => number(value),
            Scalar::Blob(value) => text::base64(value).into(),
            Scalar::Timestamp(value) if format != TimeFormat::UnixTimestamp => {
                text::timestamp(value, format).into()
            }
            Scalar::Timestamp(value) if value.millis() % 1000 == 0 => value.secs().into(),
            Scalar::Timestamp(value) => value.secs_f64().into(),
            Scalar::Document(value) => value.clone(),
        });
    }
}

impl Writer for ValueWriter {
    fn begin_structure(&mut self, _: &'static Schema) {
        self.open.push((Value::Object(Map::new()), String::new()));
    }

    fn member(&mut self, member: &'static Member) {
        self.time_format = member.time_format;
        self.name(member.name);
    }

    fn end_structure(&mut self) {
        self.end();
    }

    fn begin_list(&mut self, _: &'static Schema, len: usize) {
        self.open.push((Value::Array(Vec::with_capacity(len)), String::new()));
    }

    fn element(&mut self) {}

    fn end_list(&mut self) {
        self.end();
    }

    fn begin_map(&mut self, _: &'static Schema, _: usize) {
        self.open.push((Value::Object(Map::new()), String::new()));
    }

    fn key(&mut self, key: &str) {
        self.name(key);
    }

    fn end_map(&mut self) {
        self.end();
    }

    scalar_methods!();
}
