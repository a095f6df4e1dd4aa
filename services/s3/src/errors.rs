//! S3's errors.

use s3s::{S3Error, S3ErrorCode, s3_error};
use tidemill_api::Fault;

pub fn no_such_bucket(_: &str) -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}

pub fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

pub fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}

pub fn invalid_argument(sentence: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, sentence)
}

/// An error that `s3s` has no name for.
pub fn custom(code: &'static str, status: u16, sentence: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), sentence);
    error.set_status_code(http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST));
    error
}

/// An operation's option that is not built.
pub fn not_implemented(what: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("Tidemill does not implement {what} yet."))
}

/// The store found damage: the caller learns only that it failed.
pub fn damaged(damaged: tidemill_store::Damaged) -> S3Error {
    tracing::error!(%damaged, "an object cannot be read back");
    s3_error!(InternalError, "We encountered an internal error. Please try again.")
}

pub fn internal(error: impl std::fmt::Display) -> S3Error {
    tracing::error!(%error, "a request failed inside S3");
    s3_error!(InternalError, "We encountered an internal error. Please try again.")
}

pub fn of_fault(fault: &Fault) -> S3Error {
    let mut error = S3Error::with_message(
        S3ErrorCode::Custom(fault.code().to_string().into()),
        fault.message().to_string(),
    );
    if let Ok(status) = http::StatusCode::from_u16(fault.status()) {
        error.set_status_code(status);
    }
    error
}

/// For those who ask through the objects door.
pub fn to_fault(error: &S3Error) -> Fault {
    let status = error.status_code().map_or(400, |status| status.as_u16());
    Fault::new(error.code().as_str().to_string(), error.message().unwrap_or_default().to_string())
        .with_status(status)
}
