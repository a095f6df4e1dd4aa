//! Signature Version 2 of S3 (`AWS AKID:signature`), which old clients still speak: HMAC-SHA1 over the method, a few
//! headers and the resource. <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html>

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode;
use sha1::Sha1;

use crate::{
    AmzDate,
    claim::{Claim, RequestParts, Scheme},
    error::AuthError,
    payload::BodyCheck,
    query,
    verify::{Verified, VerifyOptions, mismatch},
};

/// Parameters of the URL that belong to the resource, sorted.
const SUBRESOURCES: [&str; 36] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
];

/// Verifies a version 2 header or URL. Version 2 never covers the body, only its Content-MD5 header.
pub(crate) fn verify(
    request: &RequestParts<'_>,
    claim: &Claim,
    secret: &str,
    now: AmzDate,
    options: &VerifyOptions<'_>,
) -> Result<Verified, AuthError> {
    let expires_at = check_time(claim, now, options.skew_s)?;
    let string_to_sign = string_to_sign(request, claim, options.bucket);
    if !verifies(secret, &string_to_sign, &claim.signature) {
        return Err(mismatch(claim, string_to_sign, None));
    }
    Ok(Verified { signed_at: claim.signed_at, expires_at, body: BodyCheck::Unsigned })
}

/// Whether `signature` is the base64 HMAC-SHA1 of `text`; takes the same time either way.
pub(crate) fn verifies(secret: &str, text: &str, signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text.as_bytes());
    mac.verify_slice(&signature).is_ok()
}

fn check_time(claim: &Claim, now: AmzDate, allowed_s: i64) -> Result<Option<AmzDate>, AuthError> {
    match (claim.scheme, claim.signed_at, claim.expires_at_s) {
        (Scheme::V2Query, _, Some(expires_s)) => {
            let expires = AmzDate::from_secs(expires_s);
            if now.secs() > expires_s {
                Err(AuthError::V2UrlExpired { expires, now })
            } else {
                Ok(Some(expires))
            }
        }
        (Scheme::V2Header, Some(signed_at), _) => {
            let skewed = now.secs().saturating_sub(signed_at.secs()).abs() > allowed_s;
            if skewed { Err(AuthError::Skewed { signed_at, now, allowed_s }) } else { Ok(None) }
        }
        _ => Err(AuthError::IncompleteV2Query),
    }
}

fn string_to_sign(request: &RequestParts<'_>, claim: &Claim, bucket: Option<&str>) -> String {
    let in_url = claim.scheme == Scheme::V2Query;
    let part = |name: &str| {
        let in_query = || if in_url { query::value(request.query, name) } else { None };
        request.header(name).map(str::to_owned).or_else(in_query).unwrap_or_default()
    };
    let date = match claim.expires_at_s {
        Some(expires_s) => expires_s.to_string(),
        None if request.headers.contains_key("x-amz-date") => String::new(),
        None => part("date"),
    };
    let mut text = format!("{}\n{}\n{}\n{date}\n", request.method, part("content-md5"), part("content-type"));
    push_amz_headers(&mut text, request, in_url);
    push_resource(&mut text, request, bucket);
    text
}

/// `x-amz-` headers, sorted; a URL may carry them as parameters instead.
fn push_amz_headers(text: &mut String, request: &RequestParts<'_>, in_url: bool) {
    let mut headers: Vec<(String, String)> = Vec::new();
    for name in request.headers.keys().filter(|name| name.as_str().starts_with("x-amz-")) {
        let values = request.headers.get_all(name).iter();
        let values: Vec<String> =
            values.map(|value| folded(&String::from_utf8_lossy(value.as_bytes()))).collect();
        headers.push((name.as_str().to_owned(), values.join(",")));
    }
    if in_url {
        for (name, value) in query::pairs(request.query).filter(|(name, _)| name.starts_with("x-amz-")) {
            headers.push((name.to_owned(), folded(&String::from_utf8_lossy(&query::decode(value)))));
        }
    }
    headers.sort_unstable();
    for (name, value) in headers {
        text.push_str(&format!("{name}:{value}\n"));
    }
}

fn folded(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn push_resource(text: &mut String, request: &RequestParts<'_>, bucket: Option<&str>) {
    if let Some(bucket) = bucket {
        text.push('/');
        text.push_str(bucket);
    }
    text.push_str(if request.path.is_empty() { "/" } else { request.path });
    let mut parameters: Vec<(&str, String)> = Vec::new();
    for (name, value) in query::pairs(request.query).filter(|(name, _)| SUBRESOURCES.contains(name)) {
        let value = percent_decode(value.as_bytes()).decode_utf8_lossy().into_owned();
        parameters.push((name, value));
    }
    parameters.sort_unstable();
    for (index, (name, value)) in parameters.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{Body, Verifier};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    struct Example {
        method: &'static str,
        path: &'static str,
        query: &'static str,
        bucket: Option<&'static str>,
        headers: &'static [(&'static str, &'static str)],
        now_s: i64,
    }

    fn verified(example: &Example) -> Result<Verified, AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in example.headers {
            headers.append(*name, value.parse().unwrap());
        }
        let (method, path, query) = (example.method, example.path, example.query);
        let request = RequestParts { method, path, query, authority: None, headers: &headers };
        let claim = Claim::read(&request)?.unwrap();
        let options = VerifyOptions { bucket: example.bucket, ..VerifyOptions::s3() };
        Verifier::new().verify(&request, &claim, SECRET, Body::Streamed, example.now_s, &options)
    }

    /// The examples of "Signing and authenticating REST requests" in the S3 documentation.
    const EXAMPLES: [Example; 5] = [
        Example {
            method: "GET",
            path: "/photos/puppy.jpg",
            query: "",
            bucket: Some("awsexamplebucket1"),
            headers: &[
                ("date", "Tue, 27 Mar 2007 19:36:42 +0000"),
                ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g="),
            ],
            now_s: 1_175_024_202,
        },
        Example {
            method: "PUT",
            path: "/photos/puppy.jpg",
            query: "",
            bucket: Some("awsexamplebucket1"),
            headers: &[
                ("content-type", "image/jpeg"),
                ("content-length", "94328"),
                ("date", "Tue, 27 Mar 2007 21:15:45 +0000"),
                ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:iqRzw+ileNPu1fhspnRs8nOjjIA="),
            ],
            now_s: 1_175_030_145,
        },
        Example {
            method: "GET",
            path: "/",
            query: "prefix=photos&max-keys=50&marker=puppy",
            bucket: Some("awsexamplebucket1"),
            headers: &[
                ("date", "Tue, 27 Mar 2007 19:42:41 +0000"),
                ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:m0WP8eCtspQl5Ahe6L1SozdX9YA="),
            ],
            now_s: 1_175_024_561,
        },
        Example {
            method: "GET",
            path: "/",
            query: "acl",
            bucket: Some("awsexamplebucket1"),
            headers: &[
                ("date", "Tue, 27 Mar 2007 19:44:46 +0000"),
                ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:82ZHiFIjc+WbcwFKGUVEQspPn+0="),
            ],
            now_s: 1_175_024_686,
        },
        Example {
            method: "GET",
            path: "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
            query: "",
            bucket: None,
            headers: &[
                ("date", "Wed, 28 Mar 2007 01:49:49 +0000"),
                ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:DNEZGsoieTZ92F3bUfSPQcbGmlM="),
            ],
            now_s: 1_175_046_589,
        },
    ];

    #[test]
    fn the_documented_examples_verify_and_others_do_not() {
        for example in &EXAMPLES {
            verified(example).unwrap();
            assert!(matches!(
                verified(&Example { method: "DELETE", ..*example }),
                Err(AuthError::Mismatch(_))
            ));
            let late = Example { now_s: example.now_s + 901, ..*example };
            assert!(matches!(verified(&late), Err(AuthError::Skewed { .. })));
        }
    }

    #[test]
    fn a_url_verifies_until_it_expires() {
        let example = Example {
            method: "GET",
            path: "/photos/puppy.jpg",
            query: "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620",
            bucket: Some("johnsmith"),
            headers: &[],
            now_s: 1_175_139_620,
        };
        assert_eq!(verified(&example).unwrap().expires_at.map(AmzDate::secs), Some(1_175_139_620));
        let late = Example { now_s: 1_175_139_621, ..example };
        assert!(matches!(verified(&late), Err(AuthError::V2UrlExpired { .. })));
    }
}
