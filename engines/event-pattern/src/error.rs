//! What can be wrong with a pattern and with an event.

use std::fmt;

/// A pattern that AWS refuses. `Display` gives EventBridge's sentence; `reason` what other services put in theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    reason: String,
}

impl PatternError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason alone, with its place in the source where there is one.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event pattern is not valid. Reason: {}", self.reason)
    }
}

impl std::error::Error for PatternError {}

/// An event that is not a JSON object, or is nested more than 512 levels deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventError {
    /// The byte offset at which reading stopped.
    pub offset: usize,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The event is not a valid JSON object (at byte {})", self.offset)
    }
}

impl std::error::Error for EventError {}
