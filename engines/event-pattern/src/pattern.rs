//! A parsed pattern: every way in which an event can match, each a set of fields that must all hold. `$or` is unfolded
//! here, as Event Ruler does. How patterns are read is in `compile`; how many are matched at once in `matcher`.

use crate::compile::compile;
use crate::condition::Condition;
use crate::error::PatternError;
use crate::explain::{Explanation, explain};
use crate::flatten::flatten;
use crate::naive;
use serde_json::Value;
use std::str::FromStr;
use std::sync::Arc;

/// The limits a pattern is read under.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest pattern, in bytes.
    pub bytes: usize,
    /// The most conjunctions that `$or` may unfold into.
    pub combinations: usize,
    /// The deepest nesting of objects.
    pub depth: usize,
}

impl Default for Limits {
    /// EventBridge's: 4096 bytes (the API's bound; the account quota of 2048 is its service's to apply) and 1000
    /// `$or` combinations. The depth is ours.
    fn default() -> Self {
        Self { bytes: 4096, combinations: 1000, depth: 100 }
    }
}

/// An event pattern, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    conjunctions: Arc<[Conjunction]>,
}

/// Fields that must all hold, sorted by path; a path is the names joined by dots.
pub(crate) type Conjunction = Vec<Field>;

/// One field and its alternatives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) path: Arc<str>,
    pub(crate) conditions: Arc<[Condition]>,
}

impl Pattern {
    /// Parses an EventBridge pattern.
    ///
    /// # Errors
    /// What EventBridge's `InvalidEventPatternException` says.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        Self::parse_within(source, Limits::default())
    }

    /// Parses a pattern under other limits than EventBridge's.
    ///
    /// # Errors
    /// As `parse`.
    pub fn parse_within(source: &str, limits: Limits) -> Result<Self, PatternError> {
        Ok(Self { conjunctions: compile(source, limits)?.into() })
    }

    /// Whether the event matches, by the plain definition: each alternative tried on each value. A `Matcher` answers
    /// the same for any number of patterns at once. What is not an object matches nothing.
    pub fn matches_naive(&self, event: &Value) -> bool {
        naive::matches(&self.conjunctions, &flatten(event))
    }

    /// Whether the event matches and, where it does not, which fields failed and what stood there.
    pub fn explain(&self, event: &Value) -> Explanation {
        explain(&self.conjunctions, &flatten(event))
    }

    /// The paths the pattern looks at, names joined by dots, each once.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.conjunctions.iter().flatten().map(|field| &*field.path).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    pub(crate) fn conjunctions(&self) -> &[Conjunction] {
        &self.conjunctions
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Self, Self::Err> {
        Self::parse(source)
    }
}
