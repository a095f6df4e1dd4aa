//! Conditional requests.

use s3s::{
    S3Error, S3Result,
    dto::{ETag, ETagCondition, Timestamp},
    s3_error,
};

use crate::state::ObjectRow;

/// The conditions of a read.
pub struct Conditions<'a> {
    pub if_match: Option<&'a ETagCondition>,
    pub if_none_match: Option<&'a ETagCondition>,
    pub if_modified_since: Option<&'a Timestamp>,
    pub if_unmodified_since: Option<&'a Timestamp>,
}

/// Whether a read goes on: 412 where it must not, 304 where the reader has the object already. `If-Match` outranks
/// `If-Unmodified-Since`, `If-None-Match` outranks `If-Modified-Since` (RFC 9110).
pub fn check_read(object: &ObjectRow, conditions: &Conditions<'_>) -> S3Result<()> {
    let modified = object.modified_at.div_euclid(1000);
    let since = |timestamp: &Timestamp| time::OffsetDateTime::from(timestamp.clone()).unix_timestamp();
    match (conditions.if_match, conditions.if_unmodified_since) {
        (Some(wanted), _) if !matches(wanted, &object.etag) => return Err(failed()),
        (None, Some(moment)) if modified > since(moment) => return Err(failed()),
        _ => {}
    }
    match (conditions.if_none_match, conditions.if_modified_since) {
        (Some(unwanted), _) if matches(unwanted, &object.etag) => Err(not_modified()),
        (None, Some(moment)) if modified <= since(moment) => Err(not_modified()),
        _ => Ok(()),
    }
}

/// Whether a write goes on over what is there.
pub fn check_write(
    there: Option<&ObjectRow>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if let Some(wanted) = if_match {
        let Some(there) = there else { return Err(crate::errors::no_such_key()) };
        if !matches(wanted, &there.etag) {
            return Err(failed());
        }
    }
    match (if_none_match, there) {
        (Some(ETagCondition::Any), Some(_)) => Err(failed()),
        (Some(ETagCondition::ETag(_)), _) => Err(s3_error!(
            NotImplemented,
            "A header you provided implies functionality that is not implemented."
        )),
        _ => Ok(()),
    }
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(value) | ETag::Weak(value)) => value == etag,
    }
}

fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

fn not_modified() -> S3Error {
    s3_error!(NotModified, "Not Modified")
}
