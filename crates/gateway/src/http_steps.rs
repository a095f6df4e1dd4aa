//! The steps of the pipeline to services and handlers that speak HTTP themselves. They get requests unsigned,
//! unencoded and in path style, with what was taken off among the extensions.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header, request::Parts, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use tidemill_api::Fault;
use tidemill_platform::HttpBody;
use tidemill_sigv4::{AuthError, Body, BodyCheck, BodyHasher, ChunkDecoder, Credential, VerifyOptions};

use crate::{
    answer::Refusal,
    content,
    directory::{HttpEntry, Internal},
    exchange::Exchange,
    gateway::{Access, Auth},
    identify::{self, Authenticated, Identified, identify},
    route::Address,
    streamed::{Check, Streamed},
    upload::{BodyError, Upload},
};

/// The parameters that sign a URL, in version 4 and in version 2.
const SIGNS_4: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Content-Sha256",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];
const SIGNS_2: [&str; 4] = ["AWSAccessKeyId", "Expires", "Signature", "x-amz-security-token"];

/// Which bucket the host named. The path has been rewritten to begin with it, so this is for URLs in answers; an
/// extension of requests to `s3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBucket(pub String);

/// The id that the host began with, and the region it named; an extension of requests to `execute-api` and
/// `lambda-url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostId {
    pub id: String,
    pub region: Option<String>,
}

/// Turns away whom an HTTP service need not see. Public buckets are not there yet, so S3 wants a signature wherever
/// signatures are enforced; addresses by id may be open to all, which their services decide.
pub(crate) fn admit(
    exchange: &Exchange<'_>,
    entry: &HttpEntry,
    head: &Parts,
    caller: &Identified,
) -> Result<(), Refusal> {
    if exchange.gateway.config.auth == Auth::Dev || !caller.is_anonymous() || entry.name != "s3" {
        return Ok(());
    }
    let content_type =
        head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if head.method == Method::POST && content_type.starts_with("multipart/form-data") {
        return Err(Fault::not_implemented("uploads by form where signatures are enforced").into());
    }
    Err(AuthError::MissingToken.into())
}

/// Proves the signature; what it says of the body is checked while that passes.
pub(crate) fn prove_head(
    exchange: &Exchange<'_>,
    entry: &HttpEntry,
    address: &Address,
    head: &Parts,
    caller: &Identified,
) -> Result<BodyCheck, AuthError> {
    let names = [if entry.name == "lambda-url" { "lambda" } else { entry.name }];
    let options = match entry.name {
        "s3" => VerifyOptions { bucket: address.bucket.as_deref(), ..VerifyOptions::s3() },
        _ => VerifyOptions::service(&names),
    };
    identify::prove(exchange.gateway, head, caller, Body::Streamed, &options)
}

/// The body as the service gets it.
pub(crate) async fn stream(
    exchange: &Exchange<'_>,
    head: &Parts,
    upload: Upload,
    check: BodyCheck,
) -> Result<Streamed, Refusal> {
    let check = match check {
        BodyCheck::Chunks { trailer, signing } => chunks(head, trailer, signing)?,
        BodyCheck::Sha256(expected) => Check::Hash(BodyHasher::new(expected)),
        _ if content::is_aws_chunked(&head.headers) => {
            chunks(head, content::has_trailer(&head.headers), None)?
        }
        _ => Check::Nothing,
    };
    let streamed = Streamed::new(upload, check, exchange.gateway.config.body_timeout);
    streamed.settled().await.map_err(|error| match error {
        BodyError::Refused(error) => error.into(),
        _ => AuthError::IncompleteBody.into(),
    })
}

fn chunks(
    head: &Parts,
    trailer: bool,
    signing: Option<Box<tidemill_sigv4::ChunkSigning>>,
) -> Result<Check, AuthError> {
    ChunkDecoder::new(&head.headers, trailer, signing).map(|decoder| Check::Chunks(Box::new(decoder)))
}

/// The request as the service gets it: as if it had come in path style, unencoded and unsigned, from a caller that is
/// known.
pub(crate) fn rebuild(
    exchange: &Exchange<'_>,
    head: Parts,
    body: Streamed,
    address: Address,
    authenticated: Authenticated,
) -> Result<Request<HttpBody>, Fault> {
    let mut head = head;
    if content::is_aws_chunked(&head.headers) {
        say_unchunked(&mut head, body.length());
        head.extensions.insert(body.trailers());
    }
    head.headers.remove(header::AUTHORIZATION);
    let is_signed = head.uri.query().is_some_and(|query| query.contains("X-Amz-")) || authenticated.presigned;
    if is_signed || address.bucket.is_some() {
        let bad_uri = || Fault::new("InvalidURI", "Couldn't parse the specified URI.");
        head.uri =
            plain_uri(&head.uri, address.bucket.as_deref(), authenticated.presigned).ok_or_else(bad_uri)?;
    }
    if let Some(bucket) = address.bucket {
        let host = HeaderValue::try_from(&exchange.gateway.platform.config.endpoint);
        head.headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
        head.extensions.insert(HostBucket(bucket));
    }
    if let Some(id) = address.id {
        head.extensions.insert(id);
    }
    head.extensions.insert(authenticated);
    Ok(Request::from_parts(head, body.boxed()))
}

fn say_unchunked(head: &mut Parts, length: Option<u64>) {
    let kept = content::kept_codings(&head.headers).and_then(|kept| HeaderValue::from_str(&kept).ok());
    head.headers.remove(header::CONTENT_ENCODING);
    if let Some(kept) = kept {
        head.headers.insert(header::CONTENT_ENCODING, kept);
    }
    head.headers.remove(header::TRANSFER_ENCODING);
    if let Some(length) = length {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// `/key?acl` of the host `bucket.s3.…` is `/bucket/key?acl`; what signs a URL is taken off.
fn plain_uri(uri: &Uri, bucket: Option<&str>, presigned: bool) -> Option<Uri> {
    let mut text = String::new();
    if let Some(bucket) = bucket {
        text = format!("/{bucket}");
    }
    if bucket.is_none() || uri.path() != "/" {
        text.push_str(uri.path());
    }
    let query = uri.query().unwrap_or_default();
    let is_version_2 = presigned && query.split('&').any(|pair| name(pair) == "AWSAccessKeyId");
    let signs = |pair: &str| SIGNS_4.contains(&name(pair)) || (is_version_2 && SIGNS_2.contains(&name(pair)));
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !signs(pair)) {
        text.push(separator);
        text.push_str(pair);
        separator = '&';
    }
    Some(Uri::from(PathAndQuery::try_from(text).ok()?))
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// Finds the caller of an internal path out, where it matters.
pub(crate) fn identify_internal(
    exchange: &Exchange<'_>,
    internal: &Internal,
    head: &Parts,
    credential: Option<Credential>,
) -> Result<Identified, AuthError> {
    if internal.access == Access::Open {
        return Ok(Identified::nobody(exchange.gateway));
    }
    let caller = identify(exchange.gateway, head, credential, exchange.origin)?;
    if exchange.gateway.config.auth == Auth::Enforce && caller.is_anonymous() {
        return Err(AuthError::MissingToken);
    }
    Ok(caller)
}

/// A signature for whatever service and region will do.
pub(crate) fn prove_internal(
    exchange: &Exchange<'_>,
    internal: &Internal,
    head: &Parts,
    caller: &Identified,
    body: &[u8],
) -> Result<(), AuthError> {
    if internal.access == Access::Open {
        return Ok(());
    }
    identify::prove(exchange.gateway, head, caller, Body::Whole(body), &VerifyOptions::any()).map(drop)
}

/// A request whose body was read.
pub(crate) fn whole(mut head: Parts, body: Bytes, authenticated: Authenticated) -> Request<HttpBody> {
    head.extensions.insert(authenticated);
    Request::from_parts(head, Full::new(body).map_err(|never| match never {}).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_paths_and_signatures_are_taken_off() {
        let cases = [
            ("/", Some("files"), "/files"),
            ("/a%20b/c?acl", Some("files"), "/files/a%20b/c?acl"),
            ("/?list-type=2&prefix=", Some("files"), "/files?list-type=2&prefix="),
            (
                "/files/k?X-Amz-Signature=s&versionId=1&X-Amz-Date=d&X-Amz-Credential=c",
                None,
                "/files/k?versionId=1",
            ),
            ("/files/k?AWSAccessKeyId=k&Expires=1&Signature=s", None, "/files/k"),
            ("/files/k?X-Amz-Signature=s&Expires=kept", None, "/files/k?Expires=kept"),
        ];
        for (uri, bucket, expected) in cases {
            assert_eq!(plain_uri(&uri.parse().unwrap(), bucket, true).unwrap().to_string(), expected);
        }
        let unsigned = "/files/k?AWSAccessKeyId=kept";
        assert_eq!(plain_uri(&unsigned.parse().unwrap(), None, false).unwrap().to_string(), unsigned);
        assert_eq!(plain_uri(&"/k".parse().unwrap(), Some("fi les"), false), None);
    }
}
