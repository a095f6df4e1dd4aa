//! EventBridge event patterns, and their dialects: SNS filter policies (`FilterPolicy`) and the filters of Lambda event
//! source mappings and Pipes (a `Pattern` on the record). Pure: no I/O, no clock.
//!
//! `Pattern::parse` reads one pattern with AWS's error sentences, `Pattern::explain` says why an event did not match,
//! and `Matcher` finds which of many patterns match an event in a time that depends on the event, not on their number:
//! `matcher` is the place to begin, its head comment tells how.

mod address;
mod arrays;
mod compile;
mod condition;
mod error;
mod explain;
mod fields;
mod flatten;
mod index;
mod matcher;
mod naive;
mod net;
mod number;
mod operator;
mod paths;
mod pattern;
mod persistent;
mod scan;
mod sns;
mod source;
mod text;
mod wildcard;
mod wildcard_index;

pub use address::Network;
pub use condition::{Condition, Excluded, Literal, Range, Scalar, Word};
pub use error::{EventError, PatternError};
pub use explain::{Explanation, Failure, Found};
pub use matcher::{Edit, Matcher, Snapshot};
pub use number::Number;
pub use pattern::{Limits, Pattern};
pub use sns::{Attribute, FilterPolicy, FilterPolicyError, Scope, attribute_fields};
pub use wildcard::Wildcard;
