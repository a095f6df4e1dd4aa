//! S3 as the gateway sees it: an HTTP service around `s3s`, with the ids and error documents that S3 answers.

use std::{pin::Pin, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use s3s::service::{S3Service, S3ServiceBuilder};
use sha2::{Digest, Sha384};
use tidemill_platform::{Cx, HttpBody, HttpService};

use crate::{S3, adapter::Adapter};

/// An error document is no larger than this.
const MOST_ERROR: usize = 64 << 10;

pub struct Http {
    service: S3Service,
}

impl Http {
    pub fn new(s3: Arc<S3>) -> Http {
        // The gateway has rewritten hosts that name buckets into paths.
        Http { service: S3ServiceBuilder::new(Adapter(s3)).build() }
    }
}

impl HttpService for Http {
    fn call(
        &self,
        cx: Cx,
        mut request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        let service = self.service.clone();
        request.extensions_mut().insert(cx.clone());
        if request.headers().get(header::RANGE).is_some_and(|range| !is_range(range)) {
            // S3 passes over what is no range of bytes and answers the whole object.
            request.headers_mut().remove(header::RANGE);
        }
        let resource = request.uri().path().to_string();
        let request = request.map(s3s::Body::http_body);
        Box::pin(async move {
            let mut response = match service.call(request).await {
                Ok(response) => response.map(BodyExt::boxed),
                Err(error) => {
                    tracing::error!(?error, "S3 could not answer");
                    plain(
                        500,
                        error_document(
                            "InternalError",
                            "We encountered an internal error. Please try again.",
                            &resource,
                            &cx,
                        ),
                    )
                }
            };
            if response.status().as_u16() >= 400 {
                response = complete_error(response, &resource, &cx).await;
            }
            identify(&mut response, &cx);
            response
        })
    }
}

/// `bytes=5-9`, `bytes=5-` or `bytes=-5`.
fn is_range(value: &HeaderValue) -> bool {
    let range = value.to_str().ok().and_then(|text| text.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else { return false };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first <= last,
        (Ok(_), Err(_)) => last.is_empty(),
        (Err(_), Ok(_)) => first.is_empty(),
        (Err(_), Err(_)) => false,
    }
}

/// Every answer carries S3's two ids.
fn identify(response: &mut Response<HttpBody>, cx: &Cx) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(cx.request_id()) {
        headers.insert("x-amz-request-id", id);
    }
    if let Ok(id) = HeaderValue::from_str(&extended_id(cx.request_id())) {
        headers.insert("x-amz-id-2", id);
    }
    headers.insert(header::SERVER, HeaderValue::from_static("AmazonS3"));
}

/// The longer id: 76 characters of base64, the same for the same request.
pub fn extended_id(request_id: &str) -> String {
    let digest = Sha384::digest(request_id);
    let mut bytes = digest.to_vec();
    bytes.extend_from_slice(&digest[..9]);
    BASE64_STANDARD.encode(bytes)
}

/// `s3s` writes an error's code and sentence; S3 also says which resource and which request.
async fn complete_error(response: Response<HttpBody>, resource: &str, cx: &Cx) -> Response<HttpBody> {
    let (mut parts, mut body) = response.into_parts();
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if read.len() > MOST_ERROR {
            break;
        }
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    let (Some(code), message) =
        (between(&text, "<Code>", "</Code>"), between(&text, "<Message>", "</Message>"))
    else {
        return Response::from_parts(parts, full(Bytes::from(text)));
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    // Code and message are taken over as they were escaped.
    let message = message.filter(|text| !text.is_empty()).unwrap_or_else(|| sentence(code));
    let document = document(code, message, resource, cx);
    Response::from_parts(parts, full(Bytes::from(document)))
}

/// S3's sentences for what `s3s` refuses with a code alone.
fn sentence(code: &str) -> &'static str {
    match code {
        "InvalidBucketName" => "The specified bucket is not valid.",
        "KeyTooLongError" => "Your key is too long",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema"
        }
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidRequest" => "Invalid Request",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed size",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NotImplemented" => "A header you provided implies functionality that is not implemented",
        _ => "",
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let from = text.find(open)? + open.len();
    let to = text[from..].find(close)? + from;
    Some(&text[from..to])
}

fn error_document(code: &str, message: &str, resource: &str, cx: &Cx) -> String {
    document(&escape(code), &escape(message), resource, cx)
}

fn document(code: &str, message: &str, resource: &str, cx: &Cx) -> String {
    let mut path = resource.trim_start_matches('/').splitn(2, '/');
    let (bucket, key) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
    let decoded = |text: &str| escape(&percent_encoding::percent_decode_str(text).decode_utf8_lossy());
    let named = match code {
        "NoSuchBucket"
        | "BucketNotEmpty"
        | "BucketAlreadyOwnedByYou"
        | "BucketAlreadyExists"
        | "InvalidBucketName"
        | "NoSuchTagSet" => {
            format!("<BucketName>{}</BucketName>", decoded(bucket))
        }
        "NoSuchKey" => format!("<Key>{}</Key>", decoded(key)),
        _ => String::new(),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{named}<Resource>{}</Resource><RequestId>{}</RequestId><HostId>{}</HostId></Error>",
        decoded(resource),
        cx.request_id(),
        extended_id(cx.request_id())
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn plain(status: u16, document: String) -> Response<HttpBody> {
    let mut response = Response::new(full(Bytes::from(document)));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn full(bytes: Bytes) -> HttpBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
