//! The JSON reader for patterns. It exists because AWS's errors name the line and column at which its reader (Jackson)
//! stood: strings are read only when asked for, and a field's name is read together with the first character of its
//! value. Events are read by `scan`.

use crate::error::PatternError;
use crate::number::Number;

/// How much of the source an error quotes, in characters; Jackson's limit.
const QUOTED_CHARS: usize = 500;

/// One step of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    StartObject,
    EndObject,
    StartArray,
    EndArray,
    Name,
    Text,
    Number,
    True,
    False,
    Null,
    End,
}

impl Token {
    /// How a token reads in a sentence of Event Ruler's that quotes "the text of the token".
    fn symbol(self) -> &'static str {
        match self {
            Self::StartObject => "{",
            Self::EndObject => "}",
            Self::StartArray => "[",
            Self::EndArray => "]",
            Self::True => "true",
            Self::False => "false",
            Self::Null => "null",
            _ => "",
        }
    }
}

struct Context {
    object: bool,
    entries: usize,
    start: usize,
}

/// A pull reader over a pattern.
pub(crate) struct Source<'s> {
    text: &'s str,
    at: usize,
    contexts: Vec<Context>,
    current: Token,
    /// The token that was read together with a field's name.
    pending: Option<Token>,
    /// Where the current string's content begins, while it has not been read.
    unread: Option<usize>,
    name: String,
    /// The current string or number.
    value: String,
}

impl<'s> Source<'s> {
    pub(crate) fn new(text: &'s str) -> Self {
        Self {
            text,
            at: 0,
            contexts: Vec::new(),
            current: Token::End,
            pending: None,
            unread: None,
            name: String::new(),
            value: String::new(),
        }
    }

    /// The next token; `End` after the document.
    pub(crate) fn next(&mut self) -> Result<Token, PatternError> {
        let token = match self.pending.take() {
            Some(token) => token,
            None => {
                self.finish_string()?;
                self.read_token()?
            }
        };
        match token {
            Token::StartObject | Token::StartArray => self.contexts.push(Context {
                object: token == Token::StartObject,
                entries: 0,
                start: self.at.saturating_sub(1),
            }),
            Token::EndObject | Token::EndArray => {
                self.contexts.pop();
            }
            _ => {}
        }
        self.current = token;
        Ok(token)
    }

    /// The current token's text: a name, a string's content, a number as written, or the symbol.
    pub(crate) fn text(&mut self) -> Result<String, PatternError> {
        if self.current == Token::Name {
            return Ok(self.name.clone());
        }
        self.finish_string()?;
        Ok(match self.current {
            Token::Text | Token::Number => self.value.clone(),
            token => token.symbol().to_owned(),
        })
    }

    /// The current position, a byte offset.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The source between two positions.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'s str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// An error at the current position.
    pub(crate) fn error(&self, message: impl AsRef<str>) -> PatternError {
        PatternError::new(format!("{}\n at {}", message.as_ref(), self.location(self.at)))
    }

    fn location(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().encode_utf16().count() + 1;
        let quoted: String = self.text.chars().take(QUOTED_CHARS).collect();
        let left_out = self.text.chars().count().saturating_sub(QUOTED_CHARS);
        let truncated = if left_out > 0 { format!("[truncated {left_out} chars]") } else { String::new() };
        format!("[Source: (String)\"{quoted}\"{truncated}; line: {line}, column: {column}]")
    }

    fn read_token(&mut self) -> Result<Token, PatternError> {
        let Some(mut letter) = self.skip_space() else { return self.at_end() };
        if let Some(closed) = self.close(letter)? {
            return Ok(closed);
        }
        if let Some(context) = self.contexts.last_mut() {
            let object = context.object;
            let first = context.entries == 0;
            context.entries += 1;
            if !first {
                let kind = if object { "Object" } else { "Array" };
                if letter != ',' {
                    return Err(
                        self.unexpected(letter, &format!("was expecting comma to separate {kind} entries"))
                    );
                }
                self.at += 1;
                letter = self.skip_space().ok_or_else(|| self.unexpected_end())?;
            }
            if object {
                return self.read_name(letter);
            }
        }
        self.read_value(letter)
    }

    fn close(&mut self, letter: char) -> Result<Option<Token>, PatternError> {
        let (token, object) = match letter {
            '}' => (Token::EndObject, true),
            ']' => (Token::EndArray, false),
            _ => return Ok(None),
        };
        match self.contexts.last() {
            Some(context) if context.object == object => {
                self.at += 1;
                Ok(Some(token))
            }
            Some(context) => {
                let (expected, kind) = if context.object { ('}', "Object") } else { (']', "Array") };
                let start = self.location(context.start);
                self.at += 1;
                Err(self.error(format!(
                    "Unexpected close marker '{letter}': expected '{expected}' (for {kind} starting at {start})"
                )))
            }
            None => Ok(None),
        }
    }

    fn read_name(&mut self, letter: char) -> Result<Token, PatternError> {
        if letter != '"' {
            // Here AWS names the letter's own place; elsewhere the one behind it.
            let what = "was expecting double-quote to start field name";
            return Err(
                self.error(format!("Unexpected character ('{letter}' (code {})): {what}", letter as u32))
            );
        }
        self.at += 1;
        self.read_string()?;
        match self.skip_space() {
            Some(':') => self.at += 1,
            Some(other) => {
                return Err(self.unexpected(other, "was expecting a colon to separate field name and value"));
            }
            None => return Err(self.unexpected_end()),
        }
        let first = self.skip_space().ok_or_else(|| self.unexpected_end())?;
        self.name = std::mem::take(&mut self.value);
        self.pending = Some(self.read_value(first)?);
        Ok(Token::Name)
    }

    fn read_value(&mut self, letter: char) -> Result<Token, PatternError> {
        match letter {
            '"' => {
                self.at += 1;
                self.unread = Some(self.at);
                Ok(Token::Text)
            }
            '{' => self.symbol(Token::StartObject),
            '[' => self.symbol(Token::StartArray),
            '-' | '0'..='9' => self.read_number(),
            letter if letter.is_ascii_alphabetic() => self.read_word(),
            other => Err(self.unexpected(
                other,
                "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
            )),
        }
    }

    fn symbol(&mut self, token: Token) -> Result<Token, PatternError> {
        self.at += 1;
        Ok(token)
    }

    fn read_number(&mut self) -> Result<Token, PatternError> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|&byte| is_number_byte(byte)).count();
        let number = self.slice(self.at, self.at + length);
        if Number::parse(number).is_none() {
            self.at += length;
            return Err(self.error(format!("Malformed numeric value ({number})")));
        }
        self.value = number.to_owned();
        self.at += length;
        Ok(Token::Number)
    }

    fn read_word(&mut self) -> Result<Token, PatternError> {
        let length =
            self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let word = self.slice(self.at, self.at + length);
        self.at += length;
        match word {
            "true" => Ok(Token::True),
            "false" => Ok(Token::False),
            "null" => Ok(Token::Null),
            _ => Err(self.error(format!(
                "Unrecognized token '{word}': was expecting (JSON String, Number, Array, Object or token 'null', \
                 'true' or 'false')"
            ))),
        }
    }

    fn finish_string(&mut self) -> Result<(), PatternError> {
        if self.unread.take().is_some() {
            self.read_string()?;
        }
        Ok(())
    }

    /// Reads a string's content from the position behind its opening quote, into `value`.
    fn read_string(&mut self) -> Result<(), PatternError> {
        self.value.clear();
        loop {
            let Some(letter) = self.rest().chars().next() else {
                return Err(
                    self.error("Unexpected end-of-input: was expecting closing quote for a string value")
                );
            };
            self.at += letter.len_utf8();
            match letter {
                '"' => return Ok(()),
                '\\' => {
                    let escaped = self.read_escape()?;
                    self.value.push(escaped);
                }
                control if control < ' ' => {
                    return Err(self.error(format!(
                        "Illegal unquoted character ((CTRL-CHAR, code {})): has to be escaped using backslash to be \
                         included in string value",
                        control as u32
                    )));
                }
                other => self.value.push(other),
            }
        }
    }

    fn read_escape(&mut self) -> Result<char, PatternError> {
        let letter = self
            .rest()
            .chars()
            .next()
            .ok_or_else(|| self.error("Unexpected end-of-input in character escape sequence"))?;
        self.at += letter.len_utf8();
        Ok(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.read_unicode(),
            other => {
                return Err(
                    self.error(format!("Unrecognized character escape '{other}' (code {})", other as u32))
                );
            }
        })
    }

    fn read_unicode(&mut self) -> Result<char, PatternError> {
        let high = self.read_hex()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if !self.rest().starts_with("\\u") {
            return Ok(char::REPLACEMENT_CHARACTER);
        }
        self.at += 2;
        let low = self.read_hex()?;
        let joined = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
        Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn read_hex(&mut self) -> Result<u32, PatternError> {
        let digits = self.slice(self.at, self.at + 4);
        let valid = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(code) = u32::from_str_radix(digits, 16).ok().filter(|_| valid) else {
            return Err(
                self.error("Unexpected character: expected a hex-digit for character escape sequence")
            );
        };
        self.at += 4;
        Ok(code)
    }

    fn skip_space(&mut self) -> Option<char> {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn rest(&self) -> &'s str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn at_end(&self) -> Result<Token, PatternError> {
        if self.contexts.is_empty() { Ok(Token::End) } else { Err(self.unexpected_end()) }
    }

    fn unexpected_end(&self) -> PatternError {
        let Some(context) = self.contexts.last() else { return self.error("Unexpected end-of-input") };
        let kind = if context.object { "Object" } else { "Array" };
        let start = self.location(context.start);
        self.error(format!(
            "Unexpected end-of-input: expected close marker for {kind} (start marker at {start})"
        ))
    }

    /// An error at a character that does not belong; Jackson stands behind it.
    fn unexpected(&self, letter: char, what: &str) -> PatternError {
        let message = format!("Unexpected character ('{letter}' (code {})): {what}", letter as u32);
        let place = self.location(self.at + letter.len_utf8());
        PatternError::new(format!("{message}\n at {place}"))
    }
}

fn is_number_byte(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}
