//! Why an event does or does not match: the fields that failed, what was asked of them and what stood there.

use crate::condition::{Condition, Quoted, Scalar};
use crate::flatten::Leaf;
use crate::naive;
use crate::number::Number;
use crate::pattern::{Conjunction, Field};
use std::fmt;

/// The most values of one field that an explanation quotes.
const MOST_VALUES: usize = 20;

/// The verdict on one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Whether the event matches.
    pub matched: bool,
    /// The fields that failed; with `$or`, those of the alternative that came nearest. Empty when it matched.
    pub failures: Vec<Failure>,
}

/// A field that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The field's names joined by dots.
    pub path: String,
    /// The alternatives, any of which would have done.
    pub asked: Vec<Condition>,
    /// What the event has.
    pub found: Found,
}

/// What an event has where a pattern looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The field is not there, or holds only objects.
    Nothing,
    /// These values, as JSON, at most 20.
    Values(Vec<String>),
    /// Values that satisfy this field and others that satisfy the other fields, but in different elements of an array.
    OtherElements(Vec<String>),
}

pub(crate) fn explain(conjunctions: &[Conjunction], leaves: &[Leaf<'_>]) -> Explanation {
    let mut nearest: Option<Vec<Failure>> = None;
    for fields in conjunctions {
        let failures = failures(fields, leaves);
        if failures.is_empty() {
            return Explanation { matched: true, failures };
        }
        if nearest.as_ref().is_none_or(|best| failures.len() < best.len()) {
            nearest = Some(failures);
        }
    }
    Explanation { matched: false, failures: nearest.unwrap_or_default() }
}

fn failures(fields: &[Field], leaves: &[Leaf<'_>]) -> Vec<Failure> {
    let failed: Vec<&Field> = fields.iter().filter(|field| !naive::holds(field, leaves)).collect();
    if !failed.is_empty() {
        return failed.into_iter().map(|field| failure(field, leaves, Found::Values)).collect();
    }
    if naive::is_consistent(fields, leaves) {
        return Vec::new();
    }
    let in_arrays =
        |field: &&Field| leaves.iter().any(|leaf| leaf.path == *field.path && !leaf.elements.is_empty());
    fields.iter().filter(in_arrays).map(|field| failure(field, leaves, Found::OtherElements)).collect()
}

fn failure(field: &Field, leaves: &[Leaf<'_>], found: fn(Vec<String>) -> Found) -> Failure {
    let values: Vec<String> = leaves
        .iter()
        .filter(|leaf| leaf.path == *field.path)
        .take(MOST_VALUES)
        .map(|leaf| shown(&leaf.value))
        .collect();
    let found = if values.is_empty() { Found::Nothing } else { found(values) };
    Failure { path: field.path.to_string(), asked: field.conditions.to_vec(), found }
}

fn shown(value: &Scalar<'_>) -> String {
    match value {
        Scalar::Text(text) => Quoted(text).to_string(),
        Scalar::Word(word) => word.to_string(),
        Scalar::Number(number) => shown_number(*number),
    }
}

fn shown_number(number: Number) -> String {
    match number {
        Number::Signed(value) => value.to_string(),
        Number::Unsigned(value) => value.to_string(),
        Number::Double(bits) => f64::from_bits(bits).to_string(),
        Number::Micros(micros) => {
            let sign = if micros < 0 { "-" } else { "" };
            let (whole, millionths) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
            let text = format!("{sign}{whole}.{millionths:06}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.matched {
            return f.write_str("the event matches");
        }
        for (at, failure) in self.failures.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            failure.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked: Vec<String> = self.asked.iter().map(ToString::to_string).collect();
        write!(f, "{}: found {}, asked for [{}]", self.path, self.found, asked.join(", "))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Values(values) => f.write_str(&values.join(", ")),
            Self::OtherElements(values) => {
                write!(f, "{} in another element of the array than the other fields", values.join(", "))
            }
        }
    }
}
