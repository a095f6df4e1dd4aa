//! What is wrong with a template, in CloudFormation's words.

use std::fmt;

/// CloudFormation's sentence; it reaches callers as the message of a `ValidationError`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl TemplateError {
    pub fn new(sentence: impl Into<String>) -> TemplateError {
        TemplateError(sentence.into())
    }

    /// `Template format error: …`
    pub(crate) fn format(what: impl fmt::Display) -> TemplateError {
        TemplateError(format!("Template format error: {what}"))
    }

    /// `Template error: …`
    pub(crate) fn template(what: impl fmt::Display) -> TemplateError {
        TemplateError(format!("Template error: {what}"))
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}
