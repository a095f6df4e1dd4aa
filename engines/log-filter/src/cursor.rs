//! A place in a pattern.

use crate::Invalid;

pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Regular expressions read so far.
    regexes: usize,
}

/// Regular expressions in one pattern. Source: the user guide's quotas.
const MOST_REGEXES: usize = 2;

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0, regexes: 0 }
    }

    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub fn skip_whitespace(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes `token` after blanks, if it stands there.
    pub fn eat(&mut self, token: &str) -> bool {
        self.skip_whitespace();
        let is_there = self.rest().starts_with(token);
        self.at += if is_there { token.len() } else { 0 };
        is_there
    }

    /// Takes `token` after blanks.
    pub fn expect(&mut self, token: &str) -> Result<(), Invalid> {
        if self.eat(token) { Ok(()) } else { Err(self.wrong(&format!("'{token}'"))) }
    }

    /// Takes `word` after blanks, if it stands there as a whole word.
    pub fn eat_word(&mut self, word: &str) -> bool {
        self.skip_whitespace();
        let after = self.rest().strip_prefix(word);
        let is_there =
            after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    /// Takes characters for as long as `takes` says so of them and of what follows them.
    pub fn take_while(&mut self, takes: impl Fn(char, &str) -> bool) -> &'a str {
        let rest = self.rest();
        let end =
            rest.char_indices().find(|(at, c)| !takes(*c, &rest[*at..])).map_or(rest.len(), |(at, _)| at);
        self.at += end;
        &rest[..end]
    }

    /// Takes what stands between here and `quote`, which is taken as well; a backslash keeps the character behind it.
    pub fn quoted(&mut self, quote: char) -> Result<String, Invalid> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(Invalid(format!("a closing {quote} is missing"))),
                Some('\\') => text.extend(self.next()),
                Some(c) if c == quote => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    pub fn count_regex(&mut self) -> Result<(), Invalid> {
        self.regexes += 1;
        if self.regexes <= MOST_REGEXES {
            return Ok(());
        }
        Err(Invalid(format!("a filter pattern has at most {MOST_REGEXES} regular expressions")))
    }

    pub fn wrong(&self, awaited: &str) -> Invalid {
        let found: String = self.rest().chars().take(20).collect();
        match found.is_empty() {
            true => Invalid(format!("{awaited} is missing at the end")),
            false => Invalid(format!("{awaited} is expected at '{found}'")),
        }
    }
}
