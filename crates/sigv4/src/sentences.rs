//! The words of AWS: code, status, sentence and members of every [`AuthError`], in the dialects of the families.
//! Sources: "Troubleshoot signed requests for AWS APIs" (IAM User Guide), the Common Errors pages, "Error responses"
//! (S3 API Reference), and answers quoted by users where those pages do not give the sentence.

use crate::{
    AmzDate,
    error::{AuthError, Family, Missing, Place},
};

const CHECK_SECRET: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                            Secret Access Key and signing method. Consult the service documentation for details.";
const CHECK_KEY: &str = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";

/// What the families other than S3 distinguish.
#[derive(Clone, Copy)]
enum Kind {
    MissingToken,
    Incomplete,
    Signature,
    UnknownKey,
    ExpiredToken,
    Body,
}

pub(crate) fn code(error: &AuthError, family: Family) -> &'static str {
    match (family, kind(error)) {
        (Family::S3, _) => s3_code(error).0,
        (Family::Query, Kind::MissingToken) => "MissingAuthenticationToken",
        (Family::Query, Kind::Incomplete) => "IncompleteSignature",
        (Family::Query, Kind::Signature) => "SignatureDoesNotMatch",
        (Family::Query, Kind::UnknownKey) => "InvalidClientTokenId",
        (Family::Query, Kind::ExpiredToken) => "ExpiredToken",
        (_, Kind::MissingToken) => "MissingAuthenticationTokenException",
        (_, Kind::Incomplete) => "IncompleteSignatureException",
        (_, Kind::Signature) => "InvalidSignatureException",
        (_, Kind::UnknownKey) => "UnrecognizedClientException",
        (_, Kind::ExpiredToken) => "ExpiredTokenException",
        (_, Kind::Body) => s3_code(error).0,
    }
}

pub(crate) fn status(error: &AuthError, family: Family) -> u16 {
    match (family, kind(error)) {
        (Family::S3, _) | (_, Kind::Body) => s3_code(error).1,
        (Family::Json, _) | (Family::Query, Kind::Incomplete) => 400,
        (Family::RestJson | Family::Query, _) => 403,
    }
}

pub(crate) fn message(error: &AuthError, family: Family) -> String {
    match (family, kind(error)) {
        (Family::S3, _) | (_, Kind::Body) => s3_message(error),
        (Family::Query, Kind::MissingToken) => "Request is missing Authentication Token".to_owned(),
        _ => common_message(error),
    }
}

fn kind(error: &AuthError) -> Kind {
    use AuthError::*;
    match error {
        MissingToken => Kind::MissingToken,
        NotAws { .. }
        | NotKeyValue { .. }
        | Incomplete { .. }
        | IncompleteQuery { .. }
        | IncompleteV2Query
        | IncompleteForm { .. }
        | UnsupportedAlgorithm { .. }
        | TwoMechanisms { .. }
        | MalformedCredential { .. }
        | BadDate { .. }
        | ExpiresNotANumber
        | ExpiresNegative
        | ExpiresTooLong
        | BadV2Expires { .. } => Kind::Incomplete,
        EmptyAccessKey { .. } | UnknownAccessKey { .. } | InvalidToken => Kind::UnknownKey,
        ExpiredToken => Kind::ExpiredToken,
        WrongTerminator { .. }
        | WrongDate { .. }
        | WrongRegion { .. }
        | WrongService { .. }
        | Skewed { .. }
        | UrlExpired { .. }
        | V2UrlExpired { .. }
        | UrlNotYetValid { .. }
        | HostNotSigned
        | HeadersNotSigned { .. }
        | Mismatch(_) => Kind::Signature,
        MissingContentSha256
        | BadContentSha256 { .. }
        | ContentSha256Mismatch { .. }
        | MissingDecodedLength
        | IncompleteBody
        | ChunkTooSmall { .. }
        | MalformedTrailer => Kind::Body,
    }
}

/// The sentences of JSON and query services.
fn common_message(error: &AuthError) -> String {
    use AuthError::*;
    match error {
        MissingToken => "Missing Authentication Token".to_owned(),
        NotAws { authorization } => not_aws(authorization),
        NotKeyValue { piece, authorization } => not_key_value(piece, authorization),
        Incomplete { missing, authorization } => incomplete(*missing, authorization),
        IncompleteQuery { missing } => incomplete_query(*missing),
        UnsupportedAlgorithm { given, .. } => format!("Unsupported AWS 'algorithm': '{given}'."),
        MalformedCredential { given, .. } => format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{given}'"
        ),
        WrongTerminator { given, .. } => {
            format!("Credential should be scoped with a valid terminator: 'aws4_request', not '{given}'. ")
        }
        EmptyAccessKey { .. } | UnknownAccessKey { .. } | InvalidToken => {
            "The security token included in the request is invalid.".to_owned()
        }
        ExpiredToken => "The security token included in the request is expired".to_owned(),
        WrongDate { given, signed_at, .. } => format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '{given}' != '{}', from '{signed_at}'.",
            signed_at.day()
        ),
        WrongRegion { given, .. } => {
            format!("Credential should be scoped to a valid region, not '{given}'. ")
        }
        WrongService { expected, .. } => {
            format!("Credential should be scoped to correct service: '{expected}'. ")
        }
        BadDate { given, .. } => format!(
            "Date must be in ISO-8601 'basic format'. Got '{given}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ),
        Skewed { signed_at, now, allowed_s } if signed_at < now => expired(*signed_at, *now, *allowed_s),
        Skewed { signed_at, now, allowed_s } | UrlNotYetValid { signed_at, now, allowed_s } => {
            not_yet_current(*signed_at, *now, *allowed_s)
        }
        UrlExpired { signed_at, life_s, now } => expired(*signed_at, *now, *life_s),
        HostNotSigned => {
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned()
        }
        Mismatch(_) => CHECK_SECRET.to_owned(),
        other => s3_message(other),
    }
}

/// A foreign authorization type is taken apart like AWS's own: the first part without an equal sign is the complaint.
fn not_aws(authorization: &str) -> String {
    let parts = authorization.split_once(' ').map_or("", |(_, parts)| parts);
    match parts.split([',', ' ']).find(|piece| !piece.is_empty() && !piece.contains('=')) {
        Some(piece) => not_key_value(piece, authorization),
        None => incomplete(
            Missing { credential: true, signature: true, signed_headers: true, date: true, algorithm: false },
            authorization,
        ),
    }
}

fn not_key_value(piece: &str, authorization: &str) -> String {
    format!(
        "'{piece}' not a valid key=value pair (missing equal-sign) in Authorization header: '{authorization}'."
    )
}

fn incomplete(missing: Missing, authorization: &str) -> String {
    let mut message = String::new();
    let parts = [
        (missing.credential, "Credential"),
        (missing.signature, "Signature"),
        (missing.signed_headers, "SignedHeaders"),
    ];
    for (_, name) in parts.iter().filter(|(absent, _)| *absent) {
        message.push_str(&format!("Authorization header requires '{name}' parameter. "));
    }
    if missing.date {
        message.push_str(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        );
    }
    message + "Authorization=" + authorization
}

fn incomplete_query(missing: Missing) -> String {
    let parts = [
        (missing.algorithm, "X-Amz-Algorithm"),
        (missing.credential, "X-Amz-Credential"),
        (missing.signature, "X-Amz-Signature"),
        (missing.signed_headers, "X-Amz-SignedHeaders"),
        (missing.date, "X-Amz-Date"),
    ];
    let mut message = String::new();
    for (_, name) in parts.iter().filter(|(absent, _)| *absent) {
        message.push_str(&format!("AWS query-string parameters must include '{name}'. "));
    }
    message + "Re-examine the query-string parameters."
}

fn expired(signed_at: AmzDate, now: AmzDate, allowed_s: i64) -> String {
    let earliest = AmzDate::from_secs(now.secs().saturating_sub(allowed_s));
    format!("Signature expired: {signed_at} is now earlier than {earliest} ({now} - {}.)", span(allowed_s))
}

fn not_yet_current(signed_at: AmzDate, now: AmzDate, allowed_s: i64) -> String {
    let latest = AmzDate::from_secs(now.secs().saturating_add(allowed_s));
    format!(
        "Signature not yet current: {signed_at} is still later than {latest} ({now} + {}.)",
        span(allowed_s)
    )
}

fn span(seconds: i64) -> String {
    if seconds % 60 == 0 { format!("{} min", seconds / 60) } else { format!("{seconds} sec") }
}

fn s3_code(error: &AuthError) -> (&'static str, u16) {
    use AuthError::*;
    match error {
        MissingToken
        | BadDate { place: Place::Header, .. }
        | IncompleteV2Query
        | BadV2Expires { .. }
        | UrlExpired { .. }
        | V2UrlExpired { .. }
        | UrlNotYetValid { .. }
        | HostNotSigned
        | HeadersNotSigned { .. } => ("AccessDenied", 403),
        Incomplete { missing, .. } if only_date(*missing) => ("AccessDenied", 403),
        NotAws { .. } | TwoMechanisms { .. } | BadContentSha256 { .. } | IncompleteForm { .. } => {
            ("InvalidArgument", 400)
        }
        NotKeyValue { .. } | Incomplete { .. } => ("AuthorizationHeaderMalformed", 400),
        UnsupportedAlgorithm { place: Place::Query, .. } => ("AuthorizationQueryParametersError", 400),
        UnsupportedAlgorithm { .. } | MissingContentSha256 => ("InvalidRequest", 400),
        MalformedCredential { place, .. }
        | WrongTerminator { place, .. }
        | EmptyAccessKey { place }
        | WrongDate { place, .. }
        | WrongRegion { place, .. }
        | WrongService { place, .. }
        | BadDate { place, .. } => match place {
            Place::Header => ("AuthorizationHeaderMalformed", 400),
            Place::Query => ("AuthorizationQueryParametersError", 400),
            Place::Form => ("InvalidArgument", 400),
        },
        IncompleteQuery { .. } | ExpiresNotANumber | ExpiresNegative | ExpiresTooLong => {
            ("AuthorizationQueryParametersError", 400)
        }
        Skewed { .. } => ("RequestTimeTooSkewed", 403),
        ContentSha256Mismatch { .. } => ("XAmzContentSHA256Mismatch", 400),
        UnknownAccessKey { .. } => ("InvalidAccessKeyId", 403),
        InvalidToken => ("InvalidToken", 400),
        ExpiredToken => ("ExpiredToken", 400),
        Mismatch(_) => ("SignatureDoesNotMatch", 403),
        MissingDecodedLength => ("MissingContentLength", 411),
        IncompleteBody => ("IncompleteBody", 400),
        ChunkTooSmall { .. } => ("InvalidChunkSizeError", 400),
        MalformedTrailer => ("MalformedTrailerError", 400),
    }
}

fn only_date(missing: Missing) -> bool {
    missing == Missing { date: true, ..Missing::default() }
}

fn s3_message(error: &AuthError) -> String {
    use AuthError::*;
    match error {
        MalformedCredential { place, .. } => malformed(
            *place,
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        ),
        WrongTerminator { given, place } => malformed(
            *place,
            &format!("incorrect terminal \"{given}\". This endpoint uses \"aws4_request\"."),
        ),
        EmptyAccessKey { place } => {
            malformed(*place, "a non-empty Access Key (AKID) must be provided in the credential.")
        }
        WrongDate { given, signed_at, place } => malformed(
            *place,
            &format!(
                "Invalid credential date \"{given}\". This date is not the same as X-Amz-Date: \"{}\".",
                signed_at.day()
            ),
        ),
        WrongRegion { given, expected, place } => {
            malformed(*place, &format!("the region '{given}' is wrong; expecting '{expected}'"))
        }
        WrongService { given, expected, place } => malformed(
            *place,
            &format!("incorrect service \"{given}\". This endpoint belongs to \"{expected}\"."),
        ),
        UnsupportedAlgorithm { place: Place::Query, .. } => {
            "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"".to_owned()
        }
        IncompleteForm { field } => format!("Bucket POST must contain a field named '{field}'."),
        other => s3_plain_message(other).to_owned(),
    }
}

fn malformed(place: Place, what: &str) -> String {
    match place {
        Place::Header => format!("The authorization header is malformed; {what}"),
        Place::Query | Place::Form => format!("Error parsing the X-Amz-Credential parameter; {what}"),
    }
}

/// The sentences of S3 that name nothing of the request.
fn s3_plain_message(error: &AuthError) -> &'static str {
    use AuthError::*;
    match error {
        NotAws { .. } => "Unsupported Authorization Type",
        Incomplete { missing, .. } if only_date(*missing) => NEEDS_DATE,
        BadDate { place: Place::Header, .. } => NEEDS_DATE,
        BadDate { .. } => "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        NotKeyValue { .. } | Incomplete { .. } => {
            "The authorization header is malformed; the authorization header requires three components: Credential, \
             SignedHeaders, and Signature."
        }
        IncompleteQuery { .. } => {
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
             X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        }
        IncompleteV2Query => {
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        }
        BadV2Expires { .. } => "Invalid date (should be seconds since epoch)",
        UnsupportedAlgorithm { .. } => {
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        }
        TwoMechanisms { .. } => {
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
             or the Authorization header should be specified"
        }
        ExpiresNotANumber => "X-Amz-Expires should be a number",
        ExpiresNegative => "X-Amz-Expires must be non-negative",
        ExpiresTooLong => {
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds"
        }
        Skewed { .. } => "The difference between the request time and the current time is too large.",
        UrlExpired { .. } | V2UrlExpired { .. } => "Request has expired",
        UrlNotYetValid { .. } => "Request is not yet valid",
        HostNotSigned | HeadersNotSigned { .. } => {
            "There were headers present in the request which were not signed"
        }
        MissingContentSha256 => "Missing required header for this request: x-amz-content-sha256",
        BadContentSha256 { .. } => {
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
        }
        ContentSha256Mismatch { .. } => {
            "The provided 'x-amz-content-sha256' header does not match what was computed."
        }
        UnknownAccessKey { .. } => "The AWS Access Key Id you provided does not exist in our records.",
        InvalidToken => "The provided token is malformed or otherwise invalid.",
        ExpiredToken => "The provided token has expired.",
        Mismatch(_) => CHECK_KEY,
        MissingDecodedLength => "You must provide the Content-Length HTTP header.",
        IncompleteBody => "The request body terminated unexpectedly",
        ChunkTooSmall { .. } => "Only the last chunk is allowed to have a size less than 8192 bytes",
        MalformedTrailer => {
            "The request contained trailing data that was not well-formed or did not conform to our published schema."
        }
        _ => "Access Denied",
    }
}

const NEEDS_DATE: &str = "AWS authentication requires a valid Date or x-amz-date header";

pub(crate) fn fields(error: &AuthError) -> Vec<(&'static str, String)> {
    use AuthError::*;
    match error {
        NotAws { authorization } | TwoMechanisms { authorization } => {
            argument("Authorization", authorization)
        }
        BadContentSha256 { given } => argument("x-amz-content-sha256", given),
        IncompleteForm { field } => argument(field, ""),
        WrongRegion { expected, .. } => vec![("Region", expected.clone())],
        Skewed { signed_at, now, allowed_s } => vec![
            ("RequestTime", signed_at.to_string()),
            ("ServerTime", now.extended()),
            ("MaxAllowedSkewMilliseconds", allowed_s.saturating_mul(1000).to_string()),
        ],
        UrlExpired { signed_at, life_s, now } => vec![
            ("X-Amz-Expires", life_s.to_string()),
            ("Expires", AmzDate::from_secs(signed_at.secs().saturating_add(*life_s)).extended()),
            ("ServerTime", now.extended()),
        ],
        V2UrlExpired { expires, now } => {
            vec![("Expires", expires.extended()), ("ServerTime", now.extended())]
        }
        HostNotSigned => vec![("HeadersNotSigned", "host".to_owned())],
        HeadersNotSigned { names } => vec![("HeadersNotSigned", names.clone())],
        ContentSha256Mismatch { announced, computed } => vec![
            ("ClientComputedContentSHA256", announced.clone()),
            ("S3ComputedContentSHA256", computed.clone()),
        ],
        UnknownAccessKey { access_key } => vec![("AWSAccessKeyId", access_key.clone())],
        ChunkTooSmall { chunk, size } => {
            vec![("Chunk", chunk.to_string()), ("BadChunkSize", size.to_string())]
        }
        Mismatch(mismatch) => mismatch_fields(mismatch),
        _ => Vec::new(),
    }
}

fn argument(name: &str, value: &str) -> Vec<(&'static str, String)> {
    vec![("ArgumentName", name.to_owned()), ("ArgumentValue", value.to_owned())]
}

fn mismatch_fields(mismatch: &crate::Mismatch) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("AWSAccessKeyId", mismatch.access_key.clone()),
        ("StringToSign", mismatch.string_to_sign.clone()),
        ("SignatureProvided", mismatch.signature_provided.clone()),
        ("StringToSignBytes", spaced_hex(&mismatch.string_to_sign)),
    ];
    if let Some(canonical) = &mismatch.canonical_request {
        fields.push(("CanonicalRequest", canonical.clone()));
        fields.push(("CanonicalRequestBytes", spaced_hex(canonical)));
    }
    fields
}

/// `41 57 53 34`
fn spaced_hex(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
