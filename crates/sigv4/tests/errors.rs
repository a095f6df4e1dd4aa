//! What callers are told, family by family.

use http::{HeaderMap, HeaderName};
use tidemill_sigv4::{
    AuthError, Body, Claim, Family, PayloadToSign, RequestParts, Signer, Verifier, VerifyOptions,
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z
const NOW_S: i64 = 1_440_938_160;

/// Signs a request, lets `change` spoil it, and answers what the verifier says at `now_s`.
fn refusal(
    service: &'static str,
    options: &VerifyOptions<'_>,
    now_s: i64,
    change: impl Fn(&mut HeaderMap, &mut String),
) -> AuthError {
    let mut headers = HeaderMap::new();
    headers.insert("host", "localhost".parse().unwrap());
    let signer = Signer::new("AKIDEXAMPLE", SECRET, "us-east-1", service);
    signer.sign_headers("GET", "/", "", &mut headers, PayloadToSign::Bytes(b""), NOW_S).unwrap();
    let mut query = String::new();
    change(&mut headers, &mut query);
    let request =
        RequestParts { method: "GET", path: "/", query: &query, authority: None, headers: &headers };
    match Claim::read(&request) {
        Ok(Some(claim)) => {
            Verifier::new().verify(&request, &claim, SECRET, Body::Whole(b""), now_s, options).unwrap_err()
        }
        Ok(None) => AuthError::MissingToken,
        Err(error) => error,
    }
}

fn told(error: &AuthError, family: Family) -> (u16, &'static str, String) {
    (error.status(family), error.code(family), error.message(family))
}

fn sqs(now_s: i64, change: impl Fn(&mut HeaderMap, &mut String)) -> AuthError {
    refusal("sqs", &VerifyOptions::service(&["sqs"]).in_region("us-east-1"), now_s, change)
}

fn s3(now_s: i64, change: impl Fn(&mut HeaderMap, &mut String)) -> AuthError {
    refusal("s3", &VerifyOptions::s3().in_region("us-east-1"), now_s, change)
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
}

fn edit(headers: &mut HeaderMap, from: &str, to: &str) {
    let authorization = headers["authorization"].to_str().unwrap().replace(from, to);
    set(headers, "authorization", &authorization);
}

#[test]
fn a_missing_signature() {
    let error = sqs(NOW_S, |headers, _| drop(headers.remove("authorization")));
    let missing = "Missing Authentication Token".to_owned();
    assert_eq!(told(&error, Family::Json), (400, "MissingAuthenticationTokenException", missing.clone()));
    assert_eq!(told(&error, Family::RestJson), (403, "MissingAuthenticationTokenException", missing));
    let query = "Request is missing Authentication Token".to_owned();
    assert_eq!(told(&error, Family::Query), (403, "MissingAuthenticationToken", query));
    assert_eq!(told(&error, Family::S3), (403, "AccessDenied", "Access Denied".to_owned()));
}

#[test]
fn a_signature_that_is_not_ours() {
    let error = sqs(NOW_S, |headers, _| edit(headers, "Signature=", "Signature=0"));
    let sentence = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                    Access Key and signing method. Consult the service documentation for details.";
    assert_eq!(told(&error, Family::Json), (400, "InvalidSignatureException", sentence.to_owned()));
    assert_eq!(told(&error, Family::Query), (403, "SignatureDoesNotMatch", sentence.to_owned()));

    let error = s3(NOW_S, |headers, _| edit(headers, "Signature=", "Signature=0"));
    assert_eq!((error.status(Family::S3), error.code(Family::S3)), (403, "SignatureDoesNotMatch"));
    let fields = error.fields();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let expected = [
        "AWSAccessKeyId",
        "StringToSign",
        "SignatureProvided",
        "StringToSignBytes",
        "CanonicalRequest",
        "CanonicalRequestBytes",
    ];
    assert_eq!(names, expected);
    assert_eq!(fields[0].1, "AKIDEXAMPLE");
    assert!(
        fields[1].1.starts_with("AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/s3/aws4_request\n")
    );
    assert!(fields[3].1.starts_with("41 57 53 34 2d"));
    assert!(fields[4].1.starts_with("GET\n/\n\nhost:localhost\n"));
}

#[test]
fn an_incomplete_header() {
    let error = sqs(NOW_S, |headers, _| set(headers, "authorization", "AWS4-HMAC-SHA256 Credential="));
    let sentence = "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' \
                    parameter. Authorization=AWS4-HMAC-SHA256 Credential=";
    assert_eq!(told(&error, Family::Json), (400, "IncompleteSignatureException", sentence.to_owned()));
    assert_eq!(told(&error, Family::Query), (400, "IncompleteSignature", sentence.to_owned()));
    let sentence = "The authorization header is malformed; the authorization header requires three components: \
                    Credential, SignedHeaders, and Signature.";
    assert_eq!(told(&error, Family::S3), (400, "AuthorizationHeaderMalformed", sentence.to_owned()));

    let error = sqs(NOW_S, |headers, _| drop(headers.remove("x-amz-date")));
    let sentence = error.message(Family::Json);
    let start = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4";
    assert!(sentence.starts_with(start), "{sentence}");
    let sentence = "AWS authentication requires a valid Date or x-amz-date header".to_owned();
    assert_eq!(told(&error, Family::S3), (403, "AccessDenied", sentence));
}

#[test]
fn a_header_that_is_not_aws() {
    let error = sqs(NOW_S, |headers, _| set(headers, "authorization", "Bearer eyJ"));
    let sentence =
        "'eyJ' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer eyJ'.";
    assert_eq!(told(&error, Family::RestJson), (403, "IncompleteSignatureException", sentence.to_owned()));
    assert_eq!(
        told(&error, Family::S3),
        (400, "InvalidArgument", "Unsupported Authorization Type".to_owned())
    );
    let fields = [("ArgumentName", "Authorization".to_owned()), ("ArgumentValue", "Bearer eyJ".to_owned())];
    assert_eq!(error.fields(), fields);

    let error = sqs(NOW_S, |headers, _| set(headers, "authorization", "Basic ZTo="));
    let sentence = "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
                    parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires \
                    existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=Basic ZTo=";
    assert_eq!(error.message(Family::RestJson), sentence);

    let error = sqs(NOW_S, |headers, _| edit(headers, "Credential=", "Credential= "));
    assert!(
        error
            .message(Family::Json)
            .starts_with("'AKIDEXAMPLE/20150830/us-east-1/sqs/aws4_request' not a valid key=value")
    );
}

#[test]
fn version_4a_and_version_2_elsewhere() {
    let error = sqs(NOW_S, |headers, _| edit(headers, "HMAC-SHA256", "ECDSA-P256-SHA256"));
    let sentence = "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'.".to_owned();
    assert_eq!(told(&error, Family::Json), (400, "IncompleteSignatureException", sentence));
    let sentence =
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    assert_eq!(told(&error, Family::S3), (400, "InvalidRequest", sentence.to_owned()));
    let error = sqs(NOW_S, |headers, _| set(headers, "authorization", "AWS AKID:c2ln"));
    assert_eq!(error.message(Family::Query), "Unsupported AWS 'algorithm': 'AWS'.");
}

#[test]
fn a_date_that_is_too_far_away() {
    let sentence = "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)";
    let error = sqs(NOW_S + 301, |_, _| {});
    assert_eq!(told(&error, Family::Json), (400, "InvalidSignatureException", sentence.to_owned()));
    assert_eq!(told(&error, Family::Query), (403, "SignatureDoesNotMatch", sentence.to_owned()));
    let sentence = "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)";
    assert_eq!(sqs(NOW_S - 301, |_, _| {}).message(Family::Json), sentence);

    let error = s3(NOW_S + 901, |_, _| {});
    let sentence = "The difference between the request time and the current time is too large.".to_owned();
    assert_eq!(told(&error, Family::S3), (403, "RequestTimeTooSkewed", sentence));
    let fields = [
        ("RequestTime", "20150830T123600Z".to_owned()),
        ("ServerTime", "2015-08-30T12:51:01Z".to_owned()),
        ("MaxAllowedSkewMilliseconds", "900000".to_owned()),
    ];
    assert_eq!(error.fields(), fields);
}

#[test]
fn a_scope_of_something_else() {
    let scope = |from: &'static str, to: &'static str| sqs(NOW_S, move |headers, _| edit(headers, from, to));
    let cases = [
        (
            scope("/us-east-1/", "/us-east-2/"),
            "Credential should be scoped to a valid region, not 'us-east-2'. ",
        ),
        (scope("/sqs/", "/sns/"), "Credential should be scoped to correct service: 'sqs'. "),
        (
            scope("/20150830/", "/20150831/"),
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150831' != \
             '20150830', from '20150830T123600Z'.",
        ),
        (
            scope("aws4_request", "aws3"),
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3'. ",
        ),
    ];
    for (error, sentence) in cases {
        assert_eq!(told(&error, Family::Json), (400, "InvalidSignatureException", sentence.to_owned()));
    }
    let error = s3(NOW_S, |headers, _| edit(headers, "/us-east-1/", "/us-east-2/"));
    let sentence =
        "The authorization header is malformed; the region 'us-east-2' is wrong; expecting 'us-east-1'";
    assert_eq!(told(&error, Family::S3), (400, "AuthorizationHeaderMalformed", sentence.to_owned()));
    assert_eq!(error.fields(), [("Region", "us-east-1".to_owned())]);
    let error = s3(NOW_S, |headers, _| edit(headers, "/us-east-1/", "/"));
    let sentence = "The authorization header is malformed; the Credential is mal-formed; expecting \
                    \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
    assert_eq!(told(&error, Family::S3), (400, "AuthorizationHeaderMalformed", sentence.to_owned()));
}

#[test]
fn headers_that_should_be_signed() {
    let error = s3(NOW_S, |headers, _| set(headers, "x-amz-acl", "public-read"));
    let sentence = "There were headers present in the request which were not signed".to_owned();
    assert_eq!(told(&error, Family::S3), (403, "AccessDenied", sentence));
    assert_eq!(error.fields(), [("HeadersNotSigned", "x-amz-acl".to_owned())]);
    let error = sqs(NOW_S, |headers, _| edit(headers, "SignedHeaders=host;", "SignedHeaders="));
    assert_eq!(
        error.message(Family::Json),
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    );
}

#[test]
fn two_signatures_at_once() {
    let error = s3(NOW_S, |_, query| query.push_str("X-Amz-Signature=abc"));
    assert_eq!((error.status(Family::S3), error.code(Family::S3)), (400, "InvalidArgument"));
    assert!(error.message(Family::S3).starts_with("Only one auth mechanism allowed; "));
    assert_eq!(error.fields()[0], ("ArgumentName", "Authorization".to_owned()));
    let error = sqs(NOW_S, |_, query| query.push_str("X-Amz-Signature=abc"));
    assert_eq!(error.code(Family::Json), "IncompleteSignatureException");
}

#[test]
fn bodies_of_s3() {
    let error = s3(NOW_S, |headers, _| drop(headers.remove("x-amz-content-sha256")));
    let sentence = "Missing required header for this request: x-amz-content-sha256".to_owned();
    assert_eq!(told(&error, Family::S3), (400, "InvalidRequest", sentence));
    let error = s3(NOW_S, |headers, _| set(headers, "x-amz-content-sha256", "none"));
    assert_eq!(error.code(Family::S3), "InvalidArgument");

    let mut headers = HeaderMap::new();
    headers.insert("host", "localhost".parse().unwrap());
    let signer = Signer::new("AKIDEXAMPLE", SECRET, "us-east-1", "s3");
    signer.sign_headers("PUT", "/b/k", "", &mut headers, PayloadToSign::Bytes(b"one"), NOW_S).unwrap();
    let request = RequestParts { method: "PUT", path: "/b/k", query: "", authority: None, headers: &headers };
    let claim = Claim::read(&request).unwrap().unwrap();
    let verifier = Verifier::new();
    let error = verifier
        .verify(&request, &claim, SECRET, Body::Whole(b"two"), NOW_S, &VerifyOptions::s3())
        .unwrap_err();
    let sentence = "The provided 'x-amz-content-sha256' header does not match what was computed.".to_owned();
    assert_eq!(told(&error, Family::S3), (400, "XAmzContentSHA256Mismatch", sentence));
    assert_eq!(error.fields()[0].0, "ClientComputedContentSHA256");
}

fn presigned(service: &str, query: &str, change: &str, now_s: i64) -> AuthError {
    let signer = Signer::new("AKIDEXAMPLE", SECRET, "us-east-1", service);
    let query = signer.presign("GET", "localhost", "/", query, 60, NOW_S).replace("X-Amz-Expires=60", change);
    let headers = HeaderMap::new();
    let request = RequestParts {
        method: "GET",
        path: "/",
        query: &query,
        authority: Some("localhost"),
        headers: &headers,
    };
    let services = [service];
    let options = if service == "s3" { VerifyOptions::s3() } else { VerifyOptions::service(&services) };
    let claim = match Claim::read(&request) {
        Ok(claim) => claim.unwrap(),
        Err(error) => return error,
    };
    Verifier::new().verify(&request, &claim, SECRET, Body::Whole(b""), now_s, &options).unwrap_err()
}

#[test]
fn presigned_urls() {
    let same = "X-Amz-Expires=60";
    let error = presigned("s3", "", same, NOW_S + 60);
    assert_eq!(told(&error, Family::S3), (403, "AccessDenied", "Request has expired".to_owned()));
    let fields = [
        ("X-Amz-Expires", "60".to_owned()),
        ("Expires", "2015-08-30T12:37:00Z".to_owned()),
        ("ServerTime", "2015-08-30T12:37:00Z".to_owned()),
    ];
    assert_eq!(error.fields(), fields);
    let sentence = "Signature expired: 20150830T123600Z is now earlier than 20150830T123600Z (20150830T123700Z - 1 min.)";
    assert_eq!(presigned("sqs", "", same, NOW_S + 60).message(Family::Query), sentence);
    // STS does not look at X-Amz-Expires: 15 minutes, always.
    assert!(presigned("sts", "", same, NOW_S + 900).message(Family::Query).ends_with(" - 15 min.)"));
    assert_eq!(presigned("s3", "", same, NOW_S - 901).message(Family::S3), "Request is not yet valid");
    for (change, sentence) in [
        ("X-Amz-Expires=x", "X-Amz-Expires should be a number"),
        ("X-Amz-Expires=-1", "X-Amz-Expires must be non-negative"),
        (
            "X-Amz-Expires=604801",
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        ),
        (
            "a=b",
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
             X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        ),
    ] {
        let told = told(&presigned("s3", "", change, NOW_S), Family::S3);
        assert_eq!(told, (400, "AuthorizationQueryParametersError", sentence.to_owned()));
    }
}

#[test]
fn keys_and_tokens_the_caller_looks_up() {
    let unknown = AuthError::UnknownAccessKey { access_key: "AKID".to_owned() };
    let sentence = "The security token included in the request is invalid.".to_owned();
    assert_eq!(told(&unknown, Family::Json), (400, "UnrecognizedClientException", sentence.clone()));
    assert_eq!(told(&unknown, Family::RestJson), (403, "UnrecognizedClientException", sentence.clone()));
    assert_eq!(told(&unknown, Family::Query), (403, "InvalidClientTokenId", sentence));
    let sentence = "The AWS Access Key Id you provided does not exist in our records.".to_owned();
    assert_eq!(told(&unknown, Family::S3), (403, "InvalidAccessKeyId", sentence));
    assert_eq!(unknown.fields(), [("AWSAccessKeyId", "AKID".to_owned())]);
    let sentence = "The security token included in the request is expired".to_owned();
    assert_eq!(
        told(&AuthError::ExpiredToken, Family::Json),
        (400, "ExpiredTokenException", sentence.clone())
    );
    assert_eq!(told(&AuthError::ExpiredToken, Family::Query), (403, "ExpiredToken", sentence));
    let sentence = "The provided token has expired.".to_owned();
    assert_eq!(told(&AuthError::ExpiredToken, Family::S3), (400, "ExpiredToken", sentence));
}
