//! Pulls values out of CBOR. Lengths in the bytes are believed only as far as there are bytes behind them.

use minicbor::{
    Decoder,
    data::{Tag, Type},
};
use smallvec::SmallVec;
use tidemill_api::{Bytes, Document, ReadError, Reader, Schema, Timestamp};

use crate::{MAX_DEPTH, text};

pub(crate) struct CborReader<'a> {
    decoder: Decoder<'a>,
    stack: SmallVec<[Frame; 12]>,
    /// There were no bytes at all, which reads as an empty structure.
    absent: bool,
}

struct Frame {
    schema: &'static Schema,
    expected: usize,
    /// Entries still to come; `None` where a break ends them.
    left: Option<u64>,
}

impl<'a> CborReader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> CborReader<'a> {
        CborReader { decoder: Decoder::new(body), stack: SmallVec::new(), absent: body.is_empty() }
    }

    fn enter(&mut self, schema: &'static Schema, left: Option<u64>) -> Result<(), ReadError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(ReadError::new(format!("The document nests deeper than {MAX_DEPTH} levels")));
        }
        self.stack.push(Frame { schema, expected: 0, left });
        Ok(())
    }

    /// Whether the innermost collection holds another entry; leaves it when not.
    fn advance(&mut self) -> Result<bool, ReadError> {
        let frame = self.stack.last_mut().ok_or_else(malformed)?;
        let more = match &mut frame.left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => {
                let end = self.decoder.datatype().map_err(bad)? == Type::Break;
                if end {
                    self.decoder.set_position(self.decoder.position() + 1);
                }
                !end
            }
        };
        if !more {
            self.stack.pop();
            if self.stack.is_empty() && self.decoder.position() != self.decoder.input().len() {
                return Err(malformed());
            }
        }
        Ok(more)
    }

    fn skip_null(&mut self) -> Result<bool, ReadError> {
        let null = matches!(self.decoder.datatype().map_err(bad)?, Type::Null | Type::Undefined);
        if null {
            self.decoder.skip().map_err(bad)?;
        }
        Ok(null)
    }

    fn text(&mut self) -> Result<String, ReadError> {
        match self.decoder.datatype().map_err(bad)? {
            Type::String => self.decoder.str().map(str::to_string).map_err(bad),
            Type::StringIndef => {
                let pieces = self.decoder.str_iter().map_err(bad)?;
                pieces.collect::<Result<String, _>>().map_err(bad)
            }
            other => Err(mismatch(other, "a String")),
        }
    }

    fn whole(&mut self, noun: &str) -> Result<i64, ReadError> {
        let kind = self.decoder.datatype().map_err(bad)?;
        match kind {
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => {
                let number = i128::from(self.decoder.int().map_err(bad)?);
                i64::try_from(number).map_err(|_| out_of_range(number, "long"))
            }
            Type::F16 | Type::F32 | Type::F64 => {
                let number = self.decimal(noun)?;
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
                if fits { Ok(number.trunc() as i64) } else { Err(out_of_range(number, "long")) }
            }
            other => Err(mismatch(other, noun)),
        }
    }

    fn decimal(&mut self, noun: &str) -> Result<f64, ReadError> {
        match self.decoder.datatype().map_err(bad)? {
            Type::F16 => self.decoder.f16().map(f64::from).map_err(bad),
            Type::F32 => self.decoder.f32().map(f64::from).map_err(bad),
            Type::F64 => self.decoder.f64().map_err(bad),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => Ok(i128::from(self.decoder.int().map_err(bad)?) as f64),
            other => Err(mismatch(other, noun)),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Document, ReadError> {
        if depth >= MAX_DEPTH {
            return Err(malformed());
        }
        let kind = self.decoder.datatype().map_err(bad)?;
        Ok(match kind {
            Type::Null | Type::Undefined => {
                self.decoder.skip().map_err(bad)?;
                Document::Null
            }
            Type::Bool => Document::Bool(self.decoder.bool().map_err(bad)?),
            Type::String | Type::StringIndef => Document::String(self.text()?),
            Type::F16 | Type::F32 | Type::F64 => self.decimal("a document")?.into(),
            Type::Array | Type::ArrayIndef => self.array_value(depth)?,
            Type::Map | Type::MapIndef => self.map_value(depth)?,
            _ => self.whole("a document")?.into(),
        })
    }

    fn array_value(&mut self, depth: usize) -> Result<Document, ReadError> {
        let mut left = self.decoder.array().map_err(bad)?;
        let mut values = Vec::new();
        while self.more(&mut left)? {
            values.push(self.value(depth + 1)?);
        }
        Ok(Document::Array(values))
    }

    fn map_value(&mut self, depth: usize) -> Result<Document, ReadError> {
        let mut left = self.decoder.map().map_err(bad)?;
        let mut members = serde_json::Map::new();
        while self.more(&mut left)? {
            let key = self.text()?;
            members.insert(key, self.value(depth + 1)?);
        }
        Ok(Document::Object(members))
    }

    fn more(&mut self, left: &mut Option<u64>) -> Result<bool, ReadError> {
        match left {
            Some(0) => Ok(false),
            Some(count) => {
                *count -= 1;
                Ok(true)
            }
            None if self.decoder.datatype().map_err(bad)? == Type::Break => {
                self.decoder.set_position(self.decoder.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

impl Reader for CborReader<'_> {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if self.absent {
            return self.enter(schema, Some(0));
        }
        match self.decoder.datatype().map_err(bad)? {
            Type::Map | Type::MapIndef => {
                let left = self.decoder.map().map_err(bad)?;
                self.enter(schema, left)
            }
            other => Err(mismatch(other, "a structure")),
        }
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        while self.advance()? {
            let key = match self.decoder.datatype().map_err(bad)? {
                Type::String => std::borrow::Cow::Borrowed(self.decoder.str().map_err(bad)?),
                _ => std::borrow::Cow::Owned(self.text()?),
            };
            if self.skip_null()? {
                continue;
            }
            let frame = self.stack.last_mut().ok_or_else(malformed)?;
            let members = frame.schema.members;
            let named = |index: &usize| members.get(*index).is_some_and(|member| member.name == key);
            let found = Some(frame.expected).filter(named).or_else(|| (0..members.len()).find(named));
            match found {
                Some(index) => {
                    frame.expected = index + 1;
                    return Ok(Some(index));
                }
                None => self.decoder.skip().map_err(bad)?,
            }
        }
        Ok(None)
    }

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        match self.decoder.datatype().map_err(bad)? {
            Type::Array | Type::ArrayIndef => {
                let left = self.decoder.array().map_err(bad)?;
                self.enter(schema, left)
            }
            other => Err(mismatch(other, "a list")),
        }
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        while self.advance()? {
            if !self.skip_null()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        match self.decoder.datatype().map_err(bad)? {
            Type::Map | Type::MapIndef => {
                let left = self.decoder.map().map_err(bad)?;
                self.enter(schema, left)
            }
            other => Err(mismatch(other, "a map")),
        }
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        while self.advance()? {
            let key = self.text()?;
            if !self.skip_null()? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn string(&mut self, _: &'static Schema) -> Result<String, ReadError> {
        self.text()
    }

    fn boolean(&mut self, _: &'static Schema) -> Result<bool, ReadError> {
        match self.decoder.datatype().map_err(bad)? {
            Type::Bool => self.decoder.bool().map_err(bad),
            other => Err(mismatch(other, "a Boolean")),
        }
    }

    fn integer(&mut self, _: &'static Schema) -> Result<i32, ReadError> {
        let whole = self.whole("an Integer")?;
        i32::try_from(whole).map_err(|_| out_of_range(whole, "int"))
    }

    fn long(&mut self, _: &'static Schema) -> Result<i64, ReadError> {
        self.whole("a Long")
    }

    fn float(&mut self, _: &'static Schema) -> Result<f32, ReadError> {
        let value = self.decimal("a Float")?;
        let float = value as f32;
        if value.is_finite() && !float.is_finite() {
            return Err(out_of_range(value, "float"));
        }
        Ok(float)
    }

    fn double(&mut self, _: &'static Schema) -> Result<f64, ReadError> {
        self.decimal("a Double")
    }

    fn blob(&mut self, _: &'static Schema) -> Result<Bytes, ReadError> {
        match self.decoder.datatype().map_err(bad)? {
            Type::Bytes => self.decoder.bytes().map(Bytes::copy_from_slice).map_err(bad),
            Type::BytesIndef => {
                let mut out = Vec::new();
                for piece in self.decoder.bytes_iter().map_err(bad)? {
                    out.extend_from_slice(piece.map_err(bad)?);
                }
                Ok(out.into())
            }
            other => Err(mismatch(other, "a Blob")),
        }
    }

    fn timestamp(&mut self, _: &'static Schema) -> Result<Timestamp, ReadError> {
        let kind = self.decoder.datatype().map_err(bad)?;
        if kind != Type::Tag || self.decoder.tag().map_err(bad)? != Tag::new(1) {
            return Err(mismatch(kind, "a timestamp"));
        }
        let seconds = self.decimal("a timestamp")?;
        text::timestamp_of_seconds(seconds).ok_or_else(|| out_of_range(seconds, "timestamp"))
    }

    fn document(&mut self, _: &'static Schema) -> Result<Document, ReadError> {
        let depth = self.stack.len();
        self.value(depth)
    }
}

fn bad(_: minicbor::decode::Error) -> ReadError {
    malformed()
}

fn malformed() -> ReadError {
    ReadError::new("The body is not well-formed CBOR")
}

fn mismatch(found: Type, noun: &str) -> ReadError {
    ReadError::new(format!("A CBOR item of type {found} can not be converted to {noun}"))
}

fn out_of_range(number: impl std::fmt::Display, type_name: &str) -> ReadError {
    ReadError::new(format!("Numeric value ({number}) out of range of {type_name}"))
}
