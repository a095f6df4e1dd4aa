//! Filter patterns of CloudWatch Logs: which log events a metric filter, a subscription, `FilterLogEvents` or a live tail
//! is about.
//!
//! Four languages by the first character: words (`words`), `%regular expressions%` (`comparison`), `{ JSON conditions }`
//! (`json`, `selector`) and `[space-delimited columns]` (`columns`); `logic` is what the last two share. Source: "Filter
//! pattern syntax" in the CloudWatch Logs user guide.

mod columns;
mod comparison;
mod cursor;
mod json;
mod logic;
mod selector;
mod words;

use std::{collections::BTreeMap, fmt};

use columns::Columns;
use cursor::Cursor;
use json::Condition;
use words::Words;

/// A pattern is no longer than this, in characters. Source: the API's `FilterPattern`.
pub const MOST_CHARACTERS: usize = 1024;

/// A parsed pattern; the empty one matches everything.
#[derive(Debug, Clone)]
pub struct Filter(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Words(Words),
    Regex(regex::bytes::Regex),
    Json(Condition),
    Columns(Columns),
}

/// The pattern cannot be read; says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl Filter {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The pattern is too long or not of the language.
    pub fn parse(pattern: &str) -> Result<Filter, Invalid> {
        if pattern.chars().count() > MOST_CHARACTERS {
            return Err(Invalid(format!("a filter pattern has at most {MOST_CHARACTERS} characters")));
        }
        let mut cursor = Cursor::new(pattern.trim());
        let kind = match cursor.peek() {
            Some('{') => Kind::Json(Condition::read(&mut cursor)?),
            Some('[') => Kind::Columns(Columns::read(&mut cursor)?),
            Some('%') => Kind::Regex(comparison::read_regex(&mut cursor)?),
            _ => return Words::read(cursor.rest()).map(Kind::Words).map(Filter),
        };
        cursor.skip_whitespace();
        match cursor.peek() {
            None => Ok(Filter(kind)),
            Some(_) => Err(Invalid(format!("nothing may follow the pattern: '{}'", cursor.rest()))),
        }
    }

    /// Whether a log event's message matches.
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::Words(words) => words.match_text(message),
            Kind::Regex(regex) => regex.is_match(message.as_bytes()),
            Kind::Json(condition) => condition.match_text(message),
            Kind::Columns(columns) => columns.match_text(message),
        }
    }

    /// What the pattern names in a message it matches: the values of a condition's selectors, the columns.
    pub fn extract(&self, message: &str) -> BTreeMap<String, String> {
        match &self.0 {
            Kind::Words(_) | Kind::Regex(_) => BTreeMap::new(),
            Kind::Json(condition) => condition.extract(message),
            Kind::Columns(columns) => columns.extract(message),
        }
    }
}

#[cfg(test)]
mod tests;
