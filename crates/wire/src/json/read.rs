//! Pulls values out of JSON text. Strings without escapes are borrowed until they are handed over; unknown members are
//! stepped over; wrong types answer the sentences AWS's JSON services were seen to answer.

use std::borrow::Cow;

use memchr::memchr2;
use smallvec::SmallVec;
use tidemill_api::{At, Bytes, Document, ReadError, Reader, Schema, Timestamp};

use super::Naming;
use crate::{MAX_DEPTH, text};

/// Reads one JSON value. After the outermost one only white space may follow.
pub struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    naming: Naming,
    stack: SmallVec<[Frame; 12]>,
}

struct Frame {
    schema: &'static Schema,
    /// Where the next member is looked for first: documents mostly keep the contract's order.
    expected: usize,
    /// Nothing was read from it yet.
    fresh: bool,
}

/// Room for the rest of a text in which there are escapes, in bytes.
const ESCAPED: usize = 256;

/// What stands at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Text,
    Number,
    True,
    False,
    Null,
    List,
    Object,
    Other,
}

impl<'a> JsonReader<'a> {
    /// An empty body reads as `{}`.
    pub fn new(body: &'a [u8], naming: Naming) -> Result<JsonReader<'a>, ReadError> {
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let text = if text.is_empty() { "{}" } else { text };
        let mut reader = JsonReader { text, at: 0, naming, stack: SmallVec::new() };
        reader.space();
        Ok(reader)
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn token(&self) -> Token {
        match self.peek() {
            Some(b'"') => Token::Text,
            Some(b'-' | b'0'..=b'9') => Token::Number,
            Some(b'[') => Token::List,
            Some(b'{') => Token::Object,
            _ if self.follows(b"true") => Token::True,
            _ if self.follows(b"false") => Token::False,
            _ if self.follows(b"null") => Token::Null,
            _ => Token::Other,
        }
    }

    fn follows(&self, word: &[u8]) -> bool {
        self.bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word))
    }

    fn enter(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.at += 1;
        self.stack.push(Frame { schema, expected: 0, fresh: true });
        Ok(())
    }

    /// Moves to the next member or element of the innermost object or list; `false` behind its end.
    fn advance(&mut self, close: u8) -> Result<bool, ReadError> {
        let frame = self.stack.last_mut().ok_or_else(malformed)?;
        let fresh = std::mem::replace(&mut frame.fresh, false);
        self.space();
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.leave()?;
                Ok(false)
            }
            Some(b',') if !fresh => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(_) if fresh => Ok(true),
            _ => Err(malformed()),
        }
    }

    fn leave(&mut self) -> Result<(), ReadError> {
        self.stack.pop();
        if self.stack.is_empty() {
            self.space();
            if self.at != self.text.len() {
                return Err(malformed());
            }
        }
        Ok(())
    }

    /// Reads `"key":` and stands at the value.
    fn key(&mut self) -> Result<Cow<'a, str>, ReadError> {
        let key = self.raw_string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(malformed());
        }
        self.at += 1;
        self.space();
        Ok(key)
    }

    fn raw_string(&mut self) -> Result<Cow<'a, str>, ReadError> {
        if self.peek() != Some(b'"') {
            return Err(malformed());
        }
        let start = self.at + 1;
        let rest = self.bytes().get(start..).unwrap_or_default();
        let length = memchr2(b'"', b'\\', rest).ok_or_else(malformed)?;
        let plain = self.text.get(start..start + length).ok_or_else(malformed)?;
        if has_control(plain) {
            return Err(malformed());
        }
        self.at = start + length;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        // Where there is one escape there are more, as in JSON within JSON.
        let mut out = String::with_capacity((length + ESCAPED).min(rest.len()));
        out.push_str(plain);
        self.escaped_string(out).map(Cow::Owned)
    }

    /// The rest of a string from its first backslash on.
    fn escaped_string(&mut self, mut out: String) -> Result<String, ReadError> {
        loop {
            let rest = self.bytes().get(self.at..).unwrap_or_default();
            let length = memchr2(b'"', b'\\', rest).ok_or_else(malformed)?;
            let plain = self.text.get(self.at..self.at + length).ok_or_else(malformed)?;
            if has_control(plain) {
                return Err(malformed());
            }
            out.push_str(plain);
            self.at += length + 1;
            if rest.get(length) == Some(&b'"') {
                return Ok(out);
            }
            out.push(self.escape()?);
        }
    }

    /// One escape; the cursor stands behind its backslash.
    fn escape(&mut self) -> Result<char, ReadError> {
        let byte = self.peek().ok_or_else(malformed)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(malformed()),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, ReadError> {
        let unit = self.hex4()?;
        if !(0xD800..0xDC00).contains(&unit) {
            return char::from_u32(unit).ok_or_else(malformed);
        }
        if !self.follows(b"\\u") {
            return Err(malformed());
        }
        self.at += 2;
        let low = self.hex4()?;
        if !(0xDC00..0xE000).contains(&low) {
            return Err(malformed());
        }
        char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)).ok_or_else(malformed)
    }

    fn hex4(&mut self) -> Result<u32, ReadError> {
        let digits = self.bytes().get(self.at..self.at + 4).ok_or_else(malformed)?;
        self.at += 4;
        let digit = |value: u32, byte: &u8| Some(value * 16 + char::from(*byte).to_digit(16)?);
        digits.iter().try_fold(0, digit).ok_or_else(malformed)
    }

    fn number(&mut self) -> Result<&'a str, ReadError> {
        let rest = self.bytes().get(self.at..).unwrap_or_default();
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(|byte| digit(byte)).count();
        let number = self.text.get(self.at..self.at + length).ok_or_else(malformed)?;
        self.at += length;
        Ok(number)
    }

    /// A whole number. AWS cuts fractions off rather than refuse them.
    fn whole(&mut self, noun: &str, type_name: &str) -> Result<i64, ReadError> {
        if self.token() != Token::Number {
            return Err(self.mismatch(noun));
        }
        let number = self.number()?;
        if let Ok(whole) = number.parse() {
            return Ok(whole);
        }
        let double: f64 = number.parse().map_err(|_| malformed())?;
        // 2^63 itself is the first double that no long holds.
        if double.is_finite() && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&double)
        {
            return Ok(double.trunc() as i64);
        }
        Err(out_of_range(number, type_name))
    }

    fn floating(&mut self, noun: &str) -> Result<f64, ReadError> {
        match self.token() {
            Token::Number => {
                let number = self.number()?;
                let double: f64 = number.parse().map_err(|_| malformed())?;
                if double.is_finite() { Ok(double) } else { Err(out_of_range(number, "double")) }
            }
            Token::Text => {
                let word = self.raw_string()?;
                match &*word {
                    "NaN" | "Infinity" | "-Infinity" => text::parse_double(&word).ok_or_else(malformed),
                    _ => Err(ReadError::new(format!("STRING_VALUE can not be converted to {noun}"))),
                }
            }
            _ => Err(self.mismatch(noun)),
        }
    }

    /// The sentence for a scalar of the wrong type.
    fn mismatch(&self, noun: &str) -> ReadError {
        let value = match self.token() {
            Token::Text => "STRING_VALUE",
            Token::Number => "NUMBER_VALUE",
            Token::True => "TRUE_VALUE",
            Token::False => "FALSE_VALUE",
            Token::Null => "NULL_VALUE",
            Token::List | Token::Object => return self.collection_mismatch(""),
            Token::Other => return malformed(),
        };
        ReadError::new(format!("{value} can not be converted to {noun}"))
    }

    /// The sentence for something that is not the collection it should be.
    fn collection_mismatch(&self, expected: &str) -> ReadError {
        match self.token() {
            Token::List => ReadError::new("Start of list found where not expected"),
            Token::Object => ReadError::new("Start of structure or map found where not expected."),
            Token::Other => malformed(),
            _ => ReadError::new(expected),
        }
    }

    /// Steps over one value of any kind.
    fn skip(&mut self, depth: usize) -> Result<(), ReadError> {
        match self.token() {
            Token::Text => self.raw_string().map(drop),
            Token::Number => self.number()?.parse::<f64>().map(drop).map_err(|_| malformed()),
            Token::True | Token::Null => {
                self.at += 4;
                Ok(())
            }
            Token::False => {
                self.at += 5;
                Ok(())
            }
            Token::List | Token::Object if depth >= MAX_DEPTH => Err(too_deep()),
            Token::List => self.skip_items(b']', depth),
            Token::Object => self.skip_items(b'}', depth),
            Token::Other => Err(malformed()),
        }
    }

    fn skip_items(&mut self, close: u8, depth: usize) -> Result<(), ReadError> {
        self.at += 1;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if close == b'}' {
                self.key()?;
            }
            self.skip(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(malformed()),
            }
        }
    }

    fn skip_null(&mut self) -> bool {
        let null = self.follows(b"null");
        if null {
            self.at += 4;
        }
        null
    }
}

impl Reader for JsonReader<'_> {
    fn begin_structure(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if self.peek() != Some(b'{') {
            return Err(self.collection_mismatch("Expected null"));
        }
        self.enter(schema)
    }

    fn next_member(&mut self) -> Result<Option<usize>, ReadError> {
        while self.advance(b'}')? {
            let key = self.key()?;
            if self.skip_null() {
                continue;
            }
            let naming = self.naming;
            let frame = self.stack.last_mut().ok_or_else(malformed)?;
            match find(frame.schema, frame.expected, naming, &key) {
                Some(index) => {
                    frame.expected = index + 1;
                    return Ok(Some(index));
                }
                None => {
                    let depth = self.stack.len();
                    self.skip(depth)?;
                }
            }
        }
        Ok(None)
    }

    fn begin_list(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if self.peek() != Some(b'[') {
            return Err(self.collection_mismatch("Expected list or null"));
        }
        self.enter(schema)
    }

    fn next_element(&mut self) -> Result<bool, ReadError> {
        while self.advance(b']')? {
            if !self.skip_null() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin_map(&mut self, schema: &'static Schema) -> Result<(), ReadError> {
        if self.peek() != Some(b'{') {
            return Err(self.collection_mismatch("Expected map or null"));
        }
        self.enter(schema)
    }

    fn next_key(&mut self) -> Result<Option<String>, ReadError> {
        while self.advance(b'}')? {
            let key = self.key()?;
            if !self.skip_null() {
                return Ok(Some(key.into_owned()));
            }
        }
        Ok(None)
    }

    fn string(&mut self, _: &'static Schema) -> Result<String, ReadError> {
        if self.peek() != Some(b'"') {
            return Err(self.mismatch("a String"));
        }
        self.raw_string().map(Cow::into_owned)
    }

    fn boolean(&mut self, _: &'static Schema) -> Result<bool, ReadError> {
        match self.token() {
            Token::True => self.at += 4,
            Token::False => {
                self.at += 5;
                return Ok(false);
            }
            Token::Text => {
                let word = self.raw_string()?;
                let refused =
                    || ReadError::new(format!("'{}' can not be converted to a Boolean", text::shown(&word)));
                return text::parse_boolean(&word).ok_or_else(refused);
            }
            _ => return Err(self.mismatch("a Boolean")),
        }
        Ok(true)
    }

    fn integer(&mut self, _: &'static Schema) -> Result<i32, ReadError> {
        let whole = self.whole("an Integer", "int")?;
        i32::try_from(whole).map_err(|_| out_of_range(&whole.to_string(), "int"))
    }

    fn long(&mut self, _: &'static Schema) -> Result<i64, ReadError> {
        self.whole("a Long", "long")
    }

    fn float(&mut self, _: &'static Schema) -> Result<f32, ReadError> {
        let value = self.floating("a Float")?;
        let float = value as f32;
        if value.is_finite() && !float.is_finite() {
            return Err(out_of_range(&value.to_string(), "float"));
        }
        Ok(float)
    }

    fn double(&mut self, _: &'static Schema) -> Result<f64, ReadError> {
        self.floating("a Double")
    }

    fn blob(&mut self, _: &'static Schema) -> Result<Bytes, ReadError> {
        if self.peek() != Some(b'"') {
            return Err(self.mismatch("a Blob"));
        }
        text::parse_base64(&self.raw_string()?)
    }

    fn timestamp(&mut self, _: &'static Schema) -> Result<Timestamp, ReadError> {
        let noun = "milliseconds since epoch";
        match self.token() {
            Token::Number => {
                let number = self.number()?;
                let seconds: f64 = number.parse().map_err(|_| malformed())?;
                text::timestamp_of_seconds(seconds).ok_or_else(|| out_of_range(number, "timestamp"))
            }
            Token::Text => text::parse_timestamp(&self.raw_string()?),
            _ => Err(self.mismatch(noun)),
        }
    }

    fn document(&mut self, _: &'static Schema) -> Result<Document, ReadError> {
        let start = self.at;
        let depth = self.stack.len();
        self.skip(depth)?;
        let text = self.text.get(start..self.at).ok_or_else(malformed)?;
        serde_json::from_str(text).map_err(|_| malformed())
    }
}

/// Members the message binds elsewhere (a label, a header) are unknown to the document.
fn find(schema: &'static Schema, expected: usize, naming: Naming, key: &str) -> Option<usize> {
    let matches =
        |index: &usize| schema.members.get(*index).is_some_and(|m| m.at == At::Body && naming.of(m) == key);
    if matches(&expected) {
        return Some(expected);
    }
    (0..schema.members.len()).find(matches)
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20)
}

/// Text that is not JSON. AWS answers the bare code without a sentence.
fn malformed() -> ReadError {
    ReadError::new("")
}

fn too_deep() -> ReadError {
    ReadError::new(format!("The document nests deeper than {MAX_DEPTH} levels"))
}

fn out_of_range(number: &str, type_name: &str) -> ReadError {
    ReadError::new(format!("Numeric value ({}) out of range of {type_name}", text::shown(number)))
}
