//! Tokens of expressions.

use crate::Invalid;

/// Expressions may be this long, in bytes.
pub const MOST_LENGTH: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// An attribute name, a function or a keyword.
    Word(&'a str),
    /// `#name`
    Name(&'a str),
    /// `:value`
    Value(&'a str),
    /// Digits, in list indexes.
    Index(&'a str),
    /// `( ) [ ] . , + - = <> < <= > >=`
    Sign(&'a str),
    End,
}

/// Reads an expression token by token, one ahead.
pub struct Lexer<'a> {
    text: &'a str,
    /// Where the token ahead begins and ends.
    begins: usize,
    ends: usize,
    ahead: Token<'a>,
    /// Where the last taken token began.
    before: usize,
}

impl<'a> Lexer<'a> {
    /// `kind` names the expression in refusals: `ConditionExpression`, …
    pub fn new(kind: &str, text: &'a str) -> Result<Lexer<'a>, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::new(format!("Invalid {kind}: The expression can not be empty;")));
        }
        if text.len() > MOST_LENGTH {
            return Err(Invalid::new(format!(
                "Invalid {kind}: Expression size has exceeded the maximum allowed size; expression size: {}",
                text.len()
            )));
        }
        let mut lexer = Lexer { text, begins: 0, ends: 0, ahead: Token::End, before: 0 };
        lexer.advance(kind)?;
        Ok(lexer)
    }

    pub fn peek(&self) -> Token<'a> {
        self.ahead
    }

    pub fn next(&mut self, kind: &str) -> Result<Token<'a>, Invalid> {
        let token = self.ahead;
        self.before = self.begins;
        self.advance(kind)?;
        Ok(token)
    }

    /// Whether the token ahead is this word, in whatever case.
    pub fn at_word(&self, word: &str) -> bool {
        matches!(self.ahead, Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    pub fn at_sign(&self, sign: &str) -> bool {
        self.ahead == Token::Sign(sign)
    }

    /// Takes the sign ahead if it is this one.
    pub fn accept(&mut self, kind: &str, sign: &str) -> Result<bool, Invalid> {
        let there = self.at_sign(sign);
        if there {
            self.next(kind)?;
        }
        Ok(there)
    }

    pub fn expect(&mut self, kind: &str, sign: &str) -> Result<(), Invalid> {
        if self.accept(kind, sign)? { Ok(()) } else { Err(self.unexpected(kind)) }
    }

    /// `Syntax error; token: "x", near: "… x …"` about the token ahead.
    pub fn unexpected(&self, kind: &str) -> Invalid {
        let token = if self.ahead == Token::End { "<EOF>" } else { &self.text[self.begins..self.ends] };
        let mut near_end = self.ends;
        if let Some(rest) = self.text.get(self.ends..) {
            let following = rest.len() - rest.trim_start().len();
            let word = rest.trim_start().find(|c: char| c.is_whitespace()).unwrap_or(rest.trim_start().len());
            near_end = self.ends + (following + word).min(rest.len());
        }
        let near = self.text.get(self.before..near_end).unwrap_or(token).trim();
        Invalid::new(format!("Invalid {kind}: Syntax error; token: \"{token}\", near: \"{near}\""))
    }

    fn advance(&mut self, kind: &str) -> Result<(), Invalid> {
        let rest = &self.text[self.ends..];
        let skipped = rest.len() - rest.trim_start().len();
        self.begins = self.ends + skipped;
        let rest = &self.text[self.begins..];
        let bytes = rest.as_bytes();
        let run = |from: usize, allowed: fn(u8) -> bool| {
            from + bytes[from..].iter().take_while(|b| allowed(**b)).count()
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let (length, make): (usize, fn(&'a str) -> Token<'a>) = match bytes.first() {
            None => (0, |_| Token::End),
            Some(b'#') => (run(1, word), Token::Name),
            Some(b':') => (run(1, word), Token::Value),
            Some(b'0'..=b'9') => (run(0, |b| b.is_ascii_digit()), Token::Index),
            Some(b) if b.is_ascii_alphabetic() || *b == b'_' => (run(0, word), Token::Word),
            Some(b'<') if matches!(bytes.get(1), Some(b'>' | b'=')) => (2, Token::Sign),
            Some(b'>') if bytes.get(1) == Some(&b'=') => (2, Token::Sign),
            Some(b'(' | b')' | b'[' | b']' | b'.' | b',' | b'+' | b'-' | b'=' | b'<' | b'>') => {
                (1, Token::Sign)
            }
            Some(_) => {
                let odd = rest.chars().next().map_or(1, char::len_utf8);
                self.ends = self.begins + odd;
                self.ahead = Token::Sign("?");
                return Err(self.unexpected(kind));
            }
        };
        self.ends = self.begins + length;
        self.ahead = make(&self.text[self.begins..self.ends]);
        Ok(())
    }
}
