//! The operators: `{"prefix": …}`, `{"numeric": …}`, `{"anything-but": …}` and the others.

use crate::address::Network;
use crate::condition::{Condition, Excluded, Literal, Range};
use crate::error::PatternError;
use crate::number::{LIMIT_MICROS, Number, comparable};
use crate::source::{Source, Token};
use crate::text::fold;
use crate::wildcard::Wildcard;

/// Reads an operator whose opening brace has been read, to its closing brace.
pub(crate) fn read_operator(source: &mut Source<'_>) -> Result<Condition, PatternError> {
    if source.next()? != Token::Name {
        return Err(source.error("Match expression name not found"));
    }
    let name = source.text()?;
    match &*name {
        "exactly" => {
            let text = string(source, "exact match pattern must be a string")?;
            close(source, Condition::Equals(Literal::Text(text.into())))
        }
        "prefix" | "suffix" => affix(source, &name),
        "numeric" => numeric(source),
        "anything-but" => anything_but(source),
        "exists" => exists(source),
        "cidr" => {
            // The sentence says "prefix" in Event Ruler too.
            let text = string(source, "prefix match pattern must be a string")?;
            let network = Network::parse(&text).map_err(PatternError::new)?;
            close(source, Condition::Cidr(network))
        }
        "equals-ignore-case" => {
            let text = string(source, "equals-ignore-case match pattern must be a string")?;
            close(source, Condition::EqualsIgnoreCase(fold(&text).into()))
        }
        "wildcard" => {
            let text = string(source, "wildcard match pattern must be a string")?;
            let wildcard = Wildcard::parse(&text).map_err(|reason| source.error(reason))?;
            close(source, Condition::Wildcard(wildcard))
        }
        _ => Err(source.error(format!("Unrecognized match type {name}"))),
    }
}

fn string(source: &mut Source<'_>, sentence: &str) -> Result<String, PatternError> {
    if source.next()? != Token::Text {
        return Err(source.error(sentence));
    }
    source.text()
}

fn close(source: &mut Source<'_>, condition: Condition) -> Result<Condition, PatternError> {
    if source.next()? != Token::EndObject {
        return Err(source.error("Only one key allowed in match expression"));
    }
    Ok(condition)
}

fn affix(source: &mut Source<'_>, name: &str) -> Result<Condition, PatternError> {
    match source.next()? {
        Token::Text => {
            let text = source.text()?.into();
            close(source, if name == "prefix" { Condition::Prefix(text) } else { Condition::Suffix(text) })
        }
        Token::StartObject => affix_ignoring_case(source, name),
        _ => Err(source.error(format!("{name} match pattern must be a string"))),
    }
}

fn affix_ignoring_case(source: &mut Source<'_>, name: &str) -> Result<Condition, PatternError> {
    if source.next()? != Token::Name {
        let kind = if name == "prefix" { "Prefix" } else { "Suffix" };
        return Err(source.error(format!("{kind} expression name not found")));
    }
    let inner = source.text()?;
    if inner != "equals-ignore-case" {
        return Err(source.error(format!("Unsupported {name} pattern: {inner}")));
    }
    let text = string(source, "equals-ignore-case match pattern must be a string")?;
    let folded = fold(&text).into();
    let condition = match name {
        "prefix" => Condition::PrefixIgnoreCase(folded),
        _ => Condition::SuffixIgnoreCase(folded),
    };
    let condition = close(source, condition)?;
    close(source, condition)
}

fn exists(source: &mut Source<'_>) -> Result<Condition, PatternError> {
    let condition = match source.next()? {
        Token::True => Condition::Exists,
        Token::False => Condition::Absent,
        _ => return Err(source.error("exists match pattern must be either true or false.")),
    };
    close(source, condition)
}

fn numeric(source: &mut Source<'_>) -> Result<Condition, PatternError> {
    if source.next()? != Token::StartArray {
        return Err(source.error("Value of numeric must be an array."));
    }
    let start = source.position().saturating_sub(1);
    let (low, high, exact) = numeric_terms(source)?;
    let text = source.slice(start, source.position());
    let condition = match exact {
        Some(number) => Condition::Equals(Literal::Number(Number::Micros(low), number.into())),
        None => Condition::Range(Range { low, high, source: text.into() }),
    };
    if source.next()? != Token::EndObject {
        return Err(source.error("Too many elements in numeric expression"));
    }
    Ok(condition)
}

/// The range's ends in millionths, and the number's text where the operator is `=`.
fn numeric_terms(source: &mut Source<'_>) -> Result<(i64, i64, Option<String>), PatternError> {
    if source.next()? != Token::Text {
        let member = source.text()?;
        return Err(source.error(format!("Invalid member in numeric match: {member}")));
    }
    let operator = source.text()?;
    let token = source.next()?;
    if !matches!(&*operator, "=" | "<" | "<=" | ">" | ">=") {
        return Err(source.error(format!("Unrecognized numeric range operator: {operator}")));
    }
    if token != Token::Number {
        let named = if operator == "=" { "equals" } else { &operator };
        return Err(source.error(format!("Value of {named} must be numeric")));
    }
    let text = source.text()?;
    let next = source.next()?;
    if next != Token::EndArray && !operator.starts_with('>') {
        return Err(source.error("Too many elements in numeric expression"));
    }
    if next != Token::EndArray {
        return bounded(source, next, &operator, &text);
    }
    let value = comparable(&text).map_err(|reason| source.error(reason))?;
    Ok(match &*operator {
        "=" => (value, value, Some(text)),
        "<" => (-LIMIT_MICROS, value - 1, None),
        "<=" => (-LIMIT_MICROS, value, None),
        ">" => (value + 1, LIMIT_MICROS, None),
        _ => (value, LIMIT_MICROS, None),
    })
}

fn bounded(
    source: &mut Source<'_>,
    next: Token,
    lower: &str,
    bottom: &str,
) -> Result<(i64, i64, Option<String>), PatternError> {
    let member = source.text()?;
    if next != Token::Text {
        return Err(source.error(format!("Bad value in numeric range: {member}")));
    }
    if member != "<" && member != "<=" {
        return Err(source.error(format!("Bad numeric range operator: {member}")));
    }
    if source.next()? != Token::Number {
        return Err(source.error(format!("Value of {member} must be numeric")));
    }
    let top = source.text()?;
    if source.next()? != Token::EndArray {
        return Err(source.error("Too many terms in numeric range expression"));
    }
    let low = comparable(bottom).map_err(|reason| source.error(reason))?;
    let high = comparable(&top).map_err(|reason| source.error(reason))?;
    if low >= high {
        return Err(source.error("Bottom must be less than top"));
    }
    Ok((low + i64::from(lower == ">"), high - i64::from(member == "<"), None))
}

/// Which texts `anything-but` excludes when an operator stands inside it.
#[derive(Clone, Copy, PartialEq)]
enum Inner {
    EqualsIgnoreCase,
    Prefix,
    Suffix,
    Wildcard,
}

fn anything_but(source: &mut Source<'_>) -> Result<Condition, PatternError> {
    let mut token = source.next()?;
    let mut inner = None;
    if token == Token::StartObject {
        inner = Some(inner_operator(source)?);
        token = source.next()?;
    }
    if !matches!(token, Token::StartArray | Token::Text | Token::Number) {
        return Err(source.error("Value of anything-but must be an array or single string/number value."));
    }
    let excluded = match inner {
        None => Excluded::Values(excluded_values(source, token)?),
        Some(inner) => excluded_texts(source, token, inner)?,
    };
    if source.next()? != Token::EndObject || (inner.is_some() && source.next()? != Token::EndObject) {
        return Err(source.error("Too many elements in numeric expression"));
    }
    Ok(Condition::AnythingBut(excluded))
}

fn inner_operator(source: &mut Source<'_>) -> Result<Inner, PatternError> {
    if source.next()? != Token::Name {
        return Err(source.error("Anything-But expression name not found"));
    }
    let name = source.text()?;
    match &*name {
        "equals-ignore-case" => Ok(Inner::EqualsIgnoreCase),
        "prefix" => Ok(Inner::Prefix),
        "suffix" => Ok(Inner::Suffix),
        "wildcard" => Ok(Inner::Wildcard),
        _ => Err(source.error(format!("Unsupported anything-but pattern: {name}"))),
    }
}

fn excluded_values(source: &mut Source<'_>, token: Token) -> Result<Vec<Literal>, PatternError> {
    if token != Token::StartArray {
        return Ok(vec![excluded_value(source, token)?]);
    }
    let mut values = Vec::new();
    loop {
        let token = source.next()?;
        if token == Token::EndArray {
            break;
        }
        values.push(excluded_value(source, token)?);
    }
    let numbers = values.iter().filter(|value| matches!(value, Literal::Number(..))).count();
    if values.is_empty() || (numbers != 0 && numbers != values.len()) {
        return Err(source.error(
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ));
    }
    Ok(values)
}

fn excluded_value(source: &mut Source<'_>, token: Token) -> Result<Literal, PatternError> {
    match token {
        Token::Text => Ok(Literal::Text(source.text()?.into())),
        Token::Number => {
            let text = source.text()?;
            let value = comparable(&text).map_err(|reason| source.error(reason))?;
            Ok(Literal::Number(Number::Micros(value), text.into()))
        }
        _ => Err(source.error("Inside anything but list, start|null|boolean is not supported.")),
    }
}

fn excluded_texts(source: &mut Source<'_>, token: Token, inner: Inner) -> Result<Excluded, PatternError> {
    let mut texts = Vec::new();
    if token == Token::StartArray {
        loop {
            let token = source.next()?;
            if token == Token::EndArray {
                break;
            }
            texts.push(excluded_text(source, token, inner)?);
        }
    } else {
        texts.push(excluded_text(source, token, inner)?);
    }
    let boxed = |texts: Vec<String>| texts.into_iter().map(Into::into).collect();
    Ok(match inner {
        Inner::EqualsIgnoreCase => {
            Excluded::EqualsIgnoreCase(texts.iter().map(|text| fold(text).into()).collect())
        }
        Inner::Prefix => Excluded::Prefix(boxed(texts)),
        Inner::Suffix => Excluded::Suffix(boxed(texts)),
        Inner::Wildcard => {
            let parsed: Result<_, _> = texts.iter().map(|text| Wildcard::parse(text)).collect();
            Excluded::Wildcard(parsed.map_err(|reason| source.error(reason))?)
        }
    })
}

fn excluded_text(source: &mut Source<'_>, token: Token, inner: Inner) -> Result<String, PatternError> {
    if token != Token::Text {
        return Err(source.error(match inner {
            Inner::EqualsIgnoreCase => {
                "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
            }
            Inner::Wildcard => "wildcard match pattern must be a string",
            Inner::Prefix | Inner::Suffix => "prefix/suffix match pattern must be a string",
        }));
    }
    let text = source.text()?;
    if text.is_empty() && matches!(inner, Inner::Prefix | Inner::Suffix) {
        return Err(source.error("Null prefix/suffix not allowed"));
    }
    Ok(text)
}
