//! Reads the paths that rules look at out of an event's JSON, in one pass that skips everything else. What is skipped
//! is not checked beyond its quotes and brackets: events were validated when they were put. Nesting is bounded.

use crate::condition::{Scalar, Word};
use crate::error::EventError;
use crate::fields::{Element, Fields};
use crate::number::Number;
use crate::paths::PathNode;
use std::borrow::Cow;

/// The deepest nesting read.
const DEEPEST: usize = 512;

/// Adds the fields of the event in `json` that lie on the paths of `tree`.
pub(crate) fn scan<'e>(json: &'e str, tree: &PathNode, fields: &mut Fields<'e>) -> Result<(), EventError> {
    let mut scanner = Scanner { json, at: 0, fields, arrays: 0 };
    scanner.document(tree).ok_or(EventError { offset: scanner.at })?;
    fields.group();
    Ok(())
}

struct Scanner<'e, 'f> {
    json: &'e str,
    at: usize,
    fields: &'f mut Fields<'e>,
    arrays: u32,
}

/// `None` stands for malformed JSON at `at`.
impl<'e> Scanner<'e, '_> {
    fn document(&mut self, tree: &PathNode) -> Option<()> {
        self.expect(b'{')?;
        self.object(tree, 0, 0)?;
        self.space();
        (self.at == self.json.len()).then_some(())
    }

    /// An object whose brace has been read.
    fn object(&mut self, node: &PathNode, element: u32, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        if self.next_is(b'}') {
            return Some(());
        }
        loop {
            self.expect(b'"')?;
            let name = self.string()?;
            self.expect(b':')?;
            match node.descend(&name) {
                Some(child) => self.value(child, element, depth)?,
                None => self.skip_value()?,
            }
            if self.next_is(b',') {
                continue;
            }
            return self.expect(b'}');
        }
    }

    fn array(&mut self, node: &PathNode, element: u32, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let array = self.arrays;
        self.arrays += 1;
        if self.next_is(b']') {
            return Some(());
        }
        for index in 0.. {
            self.space();
            let nested = matches!(self.peek()?, b'{' | b'[');
            let inner = if nested { self.enter(element, array, index) } else { element };
            self.value(node, inner, depth)?;
            if !self.next_is(b',') {
                break;
            }
        }
        self.expect(b']')
    }

    fn enter(&mut self, outer: u32, array: u32, index: u32) -> u32 {
        self.fields.elements.push(Element { outer, array, index });
        self.fields.elements.len() as u32
    }

    fn value(&mut self, node: &PathNode, element: u32, depth: usize) -> Option<()> {
        self.space();
        let first = self.peek()?;
        match first {
            b'{' if node.is_leaf() => return self.skip_value(),
            b'{' => {
                self.at += 1;
                return self.object(node, element, depth + 1);
            }
            b'[' => {
                self.at += 1;
                return self.array(node, element, depth + 1);
            }
            _ => {}
        }
        let Some(path) = node.id else { return self.skip_value() };
        let scalar = match first {
            b'"' => {
                self.at += 1;
                Scalar::Text(self.string()?)
            }
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                self.skip_plain();
                Scalar::Number(Number::parse(self.json.get(start..self.at)?)?)
            }
            _ => Scalar::Word(self.word()?),
        };
        self.fields.push(path, scalar, element);
        Some(())
    }

    fn word(&mut self) -> Option<Word> {
        let start = self.at;
        self.skip_plain();
        match self.json.get(start..self.at)? {
            "true" => Some(Word::True),
            "false" => Some(Word::False),
            "null" => Some(Word::Null),
            _ => None,
        }
    }

    /// A string whose opening quote has been read.
    fn string(&mut self) -> Option<Cow<'e, str>> {
        let start = self.at;
        if !self.skip_string()? {
            return Some(Cow::Borrowed(self.json.get(start..self.at - 1)?));
        }
        let quoted = self.json.get(start - 1..self.at)?;
        serde_json::from_str::<String>(quoted).ok().map(Cow::Owned)
    }

    /// Moves behind the closing quote; true when there were escapes. Strings in events are short: eight bytes at a time
    /// in place are quicker than a call that takes thirty-two.
    fn skip_string(&mut self) -> Option<bool> {
        let bytes = self.json.as_bytes();
        let mut escaped = false;
        loop {
            while let Some(word) = bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
                let marks = marks(u64::from_le_bytes(*word));
                if marks != 0 {
                    self.at += marks.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match *bytes.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        self.space();
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.skip_string().map(|_| ())
            }
            b'{' | b'[' => self.skip_nested(),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.skip_plain();
                Some(())
            }
            _ => None,
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        let bytes = self.json.as_bytes();
        let mut open = 0usize;
        loop {
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => {
                    self.skip_string()?;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open -= 1;
                    if open == 0 {
                        return Some(());
                    }
                }
                _ => {}
            }
        }
    }

    /// Moves behind a number or a word.
    fn skip_plain(&mut self) {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.next_is(byte).then_some(())
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.space();
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }
}

/// The high bit of each byte that is a quote or a backslash, exact up to the first such byte.
fn marks(word: u64) -> u64 {
    zero_bytes(word ^ 0x2222_2222_2222_2222) | zero_bytes(word ^ 0x5c5c_5c5c_5c5c_5c5c)
}

fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080
}
