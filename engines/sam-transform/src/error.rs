//! What is wrong with a SAM template, in the translator's words.

use std::fmt;

/// A mistake in one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamError {
    resource: String,
    what: String,
}

impl SamError {
    pub(crate) fn new(resource: &str, what: impl Into<String>) -> SamError {
        SamError { resource: resource.into(), what: what.into() }
    }

    pub(crate) fn not_translated(resource: &str, what: impl fmt::Display) -> SamError {
        SamError::new(resource, format!("{what} is not implemented."))
    }
}

impl fmt::Display for SamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Invalid Serverless Application Specification document. Number of errors found: 1. Resource with id [{}] is invalid. {}",
            self.resource, self.what
        )
    }
}

impl std::error::Error for SamError {}
