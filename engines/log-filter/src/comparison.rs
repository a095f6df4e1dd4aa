//! `= "text*"`, `!= 400`, `>= 1e3`, `= %regular expression%`: what stands behind a selector or a column.

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use crate::{Invalid, cursor::Cursor};

#[derive(Debug, Clone)]
pub struct Comparison {
    operator: Operator,
    operand: Operand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
enum Operand {
    Number(f64),
    /// Text in which `*` stands for anything.
    Text(String),
    Regex(Regex),
}

/// The longer ones first.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Comparison {
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Comparison, Invalid> {
        let found = OPERATORS.iter().find(|(token, _)| cursor.eat(token));
        let (_, operator) = found.ok_or_else(|| cursor.wrong("an operator (=, !=, <, <=, >, >=)"))?;
        let operand = Operand::read(cursor)?;
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        match operand {
            Operand::Number(_) => Ok(Comparison { operator: *operator, operand }),
            _ if is_equality => Ok(Comparison { operator: *operator, operand }),
            _ => Err(Invalid("only numbers are greater or less than others".into())),
        }
    }

    /// Arrays and objects compare to nothing.
    pub fn match_json(&self, value: &Value) -> bool {
        match (value, &self.operand) {
            (Value::Array(_) | Value::Object(_) | Value::Null, _) => false,
            (Value::Number(number), Operand::Number(wanted)) => {
                number.as_f64().is_some_and(|number| self.orders(number, *wanted))
            }
            (_, Operand::Number(_)) => self.operator == Operator::NotEqual,
            (Value::String(text), _) => self.equals(text),
            (other, _) => self.equals(&other.to_string()),
        }
    }

    pub fn match_text(&self, text: &str) -> bool {
        match (&self.operand, text.parse::<f64>()) {
            (Operand::Number(wanted), Ok(number)) => self.orders(number, *wanted),
            (Operand::Number(_), Err(_)) => self.operator == Operator::NotEqual,
            _ => self.equals(text),
        }
    }

    #[allow(clippy::float_cmp)]
    fn orders(&self, number: f64, wanted: f64) -> bool {
        match self.operator {
            Operator::Equal => number == wanted,
            Operator::NotEqual => number != wanted,
            Operator::Less => number < wanted,
            Operator::LessOrEqual => number <= wanted,
            Operator::Greater => number > wanted,
            Operator::GreaterOrEqual => number >= wanted,
        }
    }

    fn equals(&self, text: &str) -> bool {
        let is_equal = match &self.operand {
            Operand::Number(_) => false,
            Operand::Text(pattern) => matches_glob(pattern, text),
            Operand::Regex(regex) => regex.is_match(text.as_bytes()),
        };
        is_equal == (self.operator == Operator::Equal)
    }
}

impl Operand {
    fn read(cursor: &mut Cursor<'_>) -> Result<Operand, Invalid> {
        cursor.skip_whitespace();
        match cursor.peek() {
            Some('"') => {
                cursor.next();
                cursor.quoted('"').map(Operand::Text)
            }
            Some('%') => read_regex(cursor).map(Operand::Regex),
            _ => Operand::bare(cursor),
        }
    }

    fn bare(cursor: &mut Cursor<'_>) -> Result<Operand, Invalid> {
        let text = cursor.take_while(|c, rest| {
            let ends = c.is_whitespace() || matches!(c, ')' | '}' | ']' | ',' | '(' | '=' | '<' | '>');
            !ends && !rest.starts_with("&&") && !rest.starts_with("||")
        });
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
        match text.parse::<f64>() {
            _ if text.is_empty() => Err(cursor.wrong("a value")),
            Ok(number) if is_number => Ok(Operand::Number(number)),
            _ => Ok(Operand::Text(text.into())),
        }
    }
}

/// Reads `%…%`.
pub fn read_regex(cursor: &mut Cursor<'_>) -> Result<Regex, Invalid> {
    cursor.expect("%")?;
    cursor.count_regex()?;
    let text = cursor.take_while(|c, _| c != '%');
    cursor.expect("%")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || " :_#=@/;,-^$?[]{}|\\*+.".contains(c);
    if let Some(other) = text.chars().find(|c| !allowed(*c)) {
        return Err(Invalid(format!("'{other}' is not supported in a regular expression")));
    }
    let built = RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
    built.map_err(|_| Invalid(format!("'{text}' is no regular expression")))
}

/// Whether `*` in the pattern can stand for the rest of the text. Time grows with both lengths' product at worst, and a
/// pattern is short.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}
