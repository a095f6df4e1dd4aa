//! This service's errors carry their kind in `Code` beside the sentence.

use tidemill_platform::Fault;

use crate::api::{BadRequestException, ConflictException, NotFoundException, PreconditionFailedException};

pub fn bad_request(message: impl Into<String>) -> Fault {
    BadRequestException { code: "BadRequest".into(), message: message.into() }.into()
}

pub fn conflict(message: impl Into<String>) -> Fault {
    ConflictException { code: "Conflict".into(), message: message.into() }.into()
}

pub fn not_found(message: impl Into<String>) -> Fault {
    NotFoundException { code: "NotFound".into(), message: message.into() }.into()
}

pub fn precondition_failed(message: impl Into<String>) -> Fault {
    PreconditionFailedException { code: "PreconditionFailed".into(), message: message.into() }.into()
}

pub fn bad_token() -> Fault {
    bad_request("The NextToken is not valid.")
}
