//! One alternative of a field's list: a value, or an operator. `accepts` is the plain definition of what each means;
//! the matcher's index must agree with it, and property tests hold it to that.

use crate::address::{Address, Network};
use crate::number::Number;
use crate::text::{ends_folded, is_folded, starts_folded};
use crate::wildcard::Wildcard;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A leaf of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'e> {
    /// A string, unescaped.
    Text(Cow<'e, str>),
    /// A number.
    Number(Number),
    /// `true`, `false` or `null`.
    Word(Word),
}

/// The JSON values that are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// A value that a pattern names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// A string, compared byte by byte.
    Text(Arc<str>),
    /// A number, compared by value.
    Number(Number, Arc<str>),
    /// `true`, `false` or `null`.
    Word(Word),
}

/// What a field may be: one element of its array in the pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Exactly this value.
    Equals(Literal),
    /// A string that spells this address.
    Address(Network, Arc<str>),
    /// This text in any letter case (kept folded).
    EqualsIgnoreCase(Arc<str>),
    /// Text that begins so.
    Prefix(Arc<str>),
    /// Text that begins so in any letter case (kept folded).
    PrefixIgnoreCase(Arc<str>),
    /// Text that ends so.
    Suffix(Arc<str>),
    /// Text that ends so in any letter case (kept folded).
    SuffixIgnoreCase(Arc<str>),
    /// Text of this shape.
    Wildcard(Wildcard),
    /// A number in this range.
    Range(Range),
    /// A string that spells an address in this network.
    Cidr(Network),
    /// The field is there.
    Exists,
    /// The field is not there.
    Absent,
    /// The field is there and is none of these.
    AnythingBut(Excluded),
}

/// What `anything-but` excludes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Excluded {
    /// These values.
    Values(Vec<Literal>),
    /// These texts in any letter case (kept folded).
    EqualsIgnoreCase(Vec<Arc<str>>),
    /// Text that begins so.
    Prefix(Vec<Arc<str>>),
    /// Text that ends so.
    Suffix(Vec<Arc<str>>),
    /// Text of these shapes.
    Wildcard(Vec<Wildcard>),
}

/// A range of numbers, both ends included, in millionths (exact, because comparable numbers have six decimals).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    pub(crate) low: i64,
    pub(crate) high: i64,
    /// The array as the pattern wrote it, for people.
    pub(crate) source: Arc<str>,
}

impl Condition {
    /// Whether a field that is there and has this value satisfies the condition.
    pub(crate) fn accepts(&self, value: &Scalar<'_>) -> bool {
        match self {
            Self::Exists => true,
            Self::Absent => false,
            Self::Equals(literal) => literal.is(value),
            Self::AnythingBut(excluded) => !excluded.contains(value),
            Self::Range(range) => range.contains(value),
            _ => match value {
                Scalar::Text(text) => self.accepts_text(text),
                _ => false,
            },
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            Self::Address(network, _) | Self::Cidr(network) => {
                Address::parse(text).is_some_and(|address| network.contains(address))
            }
            Self::EqualsIgnoreCase(folded) => is_folded(text, folded),
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::PrefixIgnoreCase(prefix) => starts_folded(text, prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::SuffixIgnoreCase(suffix) => ends_folded(text, suffix),
            Self::Wildcard(wildcard) => wildcard.matches(text.as_bytes()),
            _ => false,
        }
    }

    /// How much of all traffic a condition lets through, from 0 (one value) to 3 (the field is missing). Fields are
    /// tested in this order, so that broad tests run only where narrow ones have held.
    pub(crate) fn breadth(&self) -> u8 {
        match self {
            Self::Equals(_) | Self::Address(..) | Self::EqualsIgnoreCase(_) => 0,
            Self::Exists | Self::AnythingBut(_) => 2,
            Self::Absent => 3,
            _ => 1,
        }
    }
}

impl Literal {
    pub(crate) fn is(&self, value: &Scalar<'_>) -> bool {
        match (self, value) {
            (Self::Text(expected), Scalar::Text(text)) => **expected == **text,
            (Self::Number(expected, _), Scalar::Number(number)) => expected == number,
            (Self::Word(expected), Scalar::Word(word)) => expected == word,
            _ => false,
        }
    }
}

impl Excluded {
    fn contains(&self, value: &Scalar<'_>) -> bool {
        if let Self::Values(values) = self {
            return values.iter().any(|literal| literal.is(value));
        }
        let Scalar::Text(text) = value else { return false };
        match self {
            Self::Values(_) => false,
            Self::EqualsIgnoreCase(texts) => texts.iter().any(|folded| is_folded(text, folded)),
            Self::Prefix(prefixes) => prefixes.iter().any(|prefix| text.starts_with(&**prefix)),
            Self::Suffix(suffixes) => suffixes.iter().any(|suffix| text.ends_with(&**suffix)),
            Self::Wildcard(wildcards) => wildcards.iter().any(|wildcard| wildcard.matches(text.as_bytes())),
        }
    }
}

impl Range {
    fn contains(&self, value: &Scalar<'_>) -> bool {
        let Scalar::Number(Number::Micros(micros)) = value else { return false };
        self.low <= *micros && *micros <= self.high
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "true",
            Self::False => "false",
            Self::Null => "null",
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", Quoted(text)),
            Self::Number(_, source) => f.write_str(source),
            Self::Word(word) => word.fmt(f),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(literal) => literal.fmt(f),
            Self::Address(_, text) => write!(f, "{}", Quoted(text)),
            Self::EqualsIgnoreCase(text) => write!(f, r#"{{"equals-ignore-case":{}}}"#, Quoted(text)),
            Self::Prefix(text) => write!(f, r#"{{"prefix":{}}}"#, Quoted(text)),
            Self::PrefixIgnoreCase(text) => {
                write!(f, r#"{{"prefix":{{"equals-ignore-case":{}}}}}"#, Quoted(text))
            }
            Self::Suffix(text) => write!(f, r#"{{"suffix":{}}}"#, Quoted(text)),
            Self::SuffixIgnoreCase(text) => {
                write!(f, r#"{{"suffix":{{"equals-ignore-case":{}}}}}"#, Quoted(text))
            }
            Self::Wildcard(wildcard) => write!(f, r#"{{"wildcard":{}}}"#, Quoted(&wildcard.to_string())),
            Self::Range(range) => write!(f, r#"{{"numeric":{}}}"#, range.source),
            Self::Cidr(network) => write!(f, r#"{{"cidr":"{network}"}}"#),
            Self::Exists => f.write_str(r#"{"exists":true}"#),
            Self::Absent => f.write_str(r#"{"exists":false}"#),
            Self::AnythingBut(excluded) => write!(f, r#"{{"anything-but":{excluded}}}"#),
        }
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => list(f, values.iter()),
            Self::EqualsIgnoreCase(texts) => {
                under(f, "equals-ignore-case", texts.iter().map(|text| Quoted(text)))
            }
            Self::Prefix(texts) => under(f, "prefix", texts.iter().map(|text| Quoted(text))),
            Self::Suffix(texts) => under(f, "suffix", texts.iter().map(|text| Quoted(text))),
            Self::Wildcard(wildcards) => {
                let sources: Vec<String> = wildcards.iter().map(ToString::to_string).collect();
                under(f, "wildcard", sources.iter().map(|text| Quoted(text)))
            }
        }
    }
}

fn under(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    write!(f, r#"{{"{name}":"#)?;
    list(f, items)?;
    f.write_str("}")
}

fn list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    f.write_str("[")?;
    for (at, item) in items.enumerate() {
        if at > 0 {
            f.write_str(",")?;
        }
        item.fmt(f)?;
    }
    f.write_str("]")
}

/// Text as a JSON string.
pub(crate) struct Quoted<'t>(pub(crate) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::Value::from(self.0).to_string())
    }
}
