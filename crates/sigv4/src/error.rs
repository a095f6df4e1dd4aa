//! Everything that can be wrong with a signature. Each error knows its code, status, sentence and extra members in the
//! dialect of every family of services ([`Family`]); the sentences themselves stand in `sentences.rs`.

use std::fmt;

use crate::{AmzDate, sentences};

/// How a service words and counts its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// awsJson and rpcv2Cbor: `InvalidSignatureException`, status 400.
    Json,
    /// restJson, as in Lambda and API Gateway: the same codes, status 403.
    RestJson,
    /// awsQuery, as in STS, IAM and SNS: `SignatureDoesNotMatch`, `InvalidClientTokenId`, status 403.
    Query,
    /// S3's own codes and members.
    S3,
}

/// Where the signature stood; S3 words its errors accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Header,
    Query,
    Form,
}

/// Which parts of an authorization are absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    pub algorithm: bool,
    pub credential: bool,
    pub signature: bool,
    pub signed_headers: bool,
    pub date: bool,
}

/// What we computed where a signature does not match, so that a client's author can compare. It repeats what the caller
/// sent, a session token among it: for the answer, not for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub access_key: String,
    pub string_to_sign: String,
    pub signature_provided: String,
    /// Absent in version 2, in forms and for chunks, which have none.
    pub canonical_request: Option<String>,
}

/// Why a request is not authenticated. Its `Display` form is fit for logs; `Debug` and [`AuthError::message`] repeat parts
/// of the request, and the message is what the caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// There is no signature at all where one is needed.
    MissingToken,
    /// The Authorization header is not of AWS's making.
    NotAws {
        authorization: String,
    },
    /// A part of the header has no equal sign.
    NotKeyValue {
        piece: String,
        authorization: String,
    },
    /// The header lacks parts.
    Incomplete {
        missing: Missing,
        authorization: String,
    },
    /// A presigned URL lacks parameters.
    IncompleteQuery {
        missing: Missing,
    },
    /// A version 2 URL lacks parameters.
    IncompleteV2Query,
    /// A POST form lacks fields; `field` is the first of them.
    IncompleteForm {
        field: &'static str,
    },
    /// Signature Version 4A, an unknown algorithm, or version 2 where it is not taken.
    UnsupportedAlgorithm {
        given: String,
        place: Place,
    },
    /// Signatures in both the header and the URL.
    TwoMechanisms {
        authorization: String,
    },
    /// Not five elements between slashes.
    MalformedCredential {
        given: String,
        place: Place,
    },
    /// The credential does not end in `aws4_request`.
    WrongTerminator {
        given: String,
        place: Place,
    },
    EmptyAccessKey {
        place: Place,
    },
    /// The scope's day is not the day of the request's date.
    WrongDate {
        given: String,
        signed_at: AmzDate,
        place: Place,
    },
    /// The scope names another region.
    WrongRegion {
        given: String,
        expected: String,
        place: Place,
    },
    /// The scope names another service.
    WrongService {
        given: String,
        expected: String,
        place: Place,
    },
    /// The date is absent or not in a known format.
    BadDate {
        given: String,
        place: Place,
    },
    ExpiresNotANumber,
    ExpiresNegative,
    ExpiresTooLong,
    /// A version 2 URL's `Expires` is not a number of seconds.
    BadV2Expires {
        given: String,
    },
    /// Signed too long ago, or too far in the future, for a header.
    Skewed {
        signed_at: AmzDate,
        now: AmzDate,
        allowed_s: i64,
    },
    /// A presigned URL is past its end.
    UrlExpired {
        signed_at: AmzDate,
        life_s: i64,
        now: AmzDate,
    },
    /// A version 2 URL is past its end.
    V2UrlExpired {
        expires: AmzDate,
        now: AmzDate,
    },
    /// A presigned URL was signed too far in the future.
    UrlNotYetValid {
        signed_at: AmzDate,
        now: AmzDate,
        allowed_s: i64,
    },
    /// The Host header is not among the signed ones (services other than S3).
    HostNotSigned,
    /// Headers that S3 wants signed are not.
    HeadersNotSigned {
        names: String,
    },
    /// S3 needs `x-amz-content-sha256`.
    MissingContentSha256,
    /// `x-amz-content-sha256` is neither a hash nor a known word.
    BadContentSha256 {
        given: String,
    },
    /// The body is not the one announced.
    ContentSha256Mismatch {
        announced: String,
        computed: String,
    },
    /// The access key is not known. For the caller that looks keys up.
    UnknownAccessKey {
        access_key: String,
    },
    /// The session token does not belong to the access key. For the caller that looks keys up.
    InvalidToken,
    /// The session token's time is over. For the caller that looks keys up.
    ExpiredToken,
    /// The signature is another one than ours.
    Mismatch(Box<Mismatch>),
    /// An aws-chunked body without `x-amz-decoded-content-length`, or with one that is no number.
    MissingDecodedLength,
    /// An aws-chunked body that breaks off or is not in order.
    IncompleteBody,
    /// A chunk other than the last is smaller than S3 allows; `chunk` counts from 1 and names the chunk after it.
    ChunkTooSmall {
        chunk: u64,
        size: u64,
    },
    /// Trailing headers are malformed, not announced, or announced and absent.
    MalformedTrailer,
}

impl AuthError {
    /// The error's code in the words of that family.
    pub fn code(&self, family: Family) -> &'static str {
        sentences::code(self, family)
    }

    /// The HTTP status in that family.
    pub fn status(&self, family: Family) -> u16 {
        sentences::status(self, family)
    }

    /// What the caller is told, word for word as AWS has it.
    pub fn message(&self, family: Family) -> String {
        sentences::message(self, family)
    }

    /// The members S3 adds to the error's XML, in their order; other families have none.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        sentences::fields(self)
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code(Family::S3), self.message(Family::S3))
    }
}

impl std::error::Error for AuthError {}
