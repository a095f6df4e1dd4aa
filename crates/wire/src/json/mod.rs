//! JSON documents: a pull parser over the body's bytes and a writer into one buffer. Neither builds a tree.

mod read;
mod write;

pub use read::JsonReader;
use tidemill_api::Member;
pub use write::JsonWriter;

/// Which of a member's names stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The model's own name: awsJson and CBOR know no other. (No AWS service of these protocols has a `locationName`,
    /// which leaves `wire` free for the names SQS had in the query protocol.)
    Model,
    /// `locationName` where there is one: REST-JSON.
    Wire,
}

impl Naming {
    pub(crate) fn of(self, member: &Member) -> &'static str {
        match self {
            Naming::Model => member.name,
            Naming::Wire => member.wire,
        }
    }
}
