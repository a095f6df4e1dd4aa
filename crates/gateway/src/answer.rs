//! Answers on their way out: one body type for all of them, and errors as S3 prints them. Those of other services are
//! written by `tidemill_wire`; what every answer carries is put on in `exchange.rs`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tidemill_api::Fault;
use tidemill_platform::HttpBody;
use tidemill_sigv4::{AuthError, Family};
use tidemill_wire::Encoded;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of any answer. Small ones, which are nearly all, need no allocation of their own.
pub enum AnswerBody {
    Full(Bytes),
    /// Of a service that speaks HTTP itself.
    Http(HttpBody),
    /// Frames of an event stream.
    Events(BoxStream<'static, Bytes>),
}

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub(crate) enum Refusal {
    Fault(Fault),
    /// Worded in the dialect of the service.
    Auth(AuthError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Refusal {
        Refusal::Auth(error)
    }
}

/// Text for people.
pub(crate) fn plain(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn from_encoded(encoded: Encoded) -> Response<AnswerBody> {
    let body = match encoded.body {
        tidemill_wire::Body::Full(bytes) => AnswerBody::Full(bytes),
        tidemill_wire::Body::Events(stream) => AnswerBody::Events(stream),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(encoded.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = encoded.headers;
    response
}

/// An error as S3 prints it.
pub(crate) fn s3_error(
    refusal: &Refusal,
    resource: &str,
    request_id: &str,
    host_id: &str,
) -> Response<AnswerBody> {
    let (status, code, message, fields) = match refusal {
        Refusal::Fault(fault) => (fault.status(), s3_code(fault), fault.message().to_owned(), Vec::new()),
        Refusal::Auth(error) => {
            let family = Family::S3;
            (error.status(family), error.code(family), error.message(family), error.fields())
        }
    };
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    let common = [("Resource", resource), ("RequestId", request_id), ("HostId", host_id)];
    element(&mut xml, "Code", code);
    element(&mut xml, "Message", &message);
    for (name, value) in &fields {
        element(&mut xml, name, value);
    }
    for (name, value) in common {
        element(&mut xml, name, value);
    }
    xml.push_str("</Error>");
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    plain(status, "application/xml", xml)
}

/// S3 has its own word for a failure of its own.
fn s3_code(fault: &Fault) -> &str {
    if fault.code() == "InternalFailure" { "InternalError" } else { fault.code() }
}

fn element(xml: &mut String, name: &str, value: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    for c in value.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' | '\t' => xml.push(c),
            '\r' => xml.push_str("&#13;"),
            // XML 1.0 has no way to write other control characters.
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            AnswerBody::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            AnswerBody::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            AnswerBody::Http(body) => Pin::new(body).poll_frame(cx),
            AnswerBody::Events(events) => {
                Pin::new(events).poll_next(cx).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Full(bytes) => bytes.is_empty(),
            AnswerBody::Http(body) => body.is_end_stream(),
            AnswerBody::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            AnswerBody::Http(body) => body.size_hint(),
            AnswerBody::Events(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_s_errors_are_xml_whatever_is_in_them() {
        let fault = Refusal::Fault(Fault::new("NoSuchThing", "a<b> & \u{1}c"));
        let response = s3_error(&fault, "/bucket/\"k\"", "ID", "HOST");
        let AnswerBody::Full(body) = response.into_body() else { panic!("not a small answer") };
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchThing</Code><Message>a&lt;b&gt; &amp; \u{fffd}c</Message>\
                        <Resource>/bucket/&quot;k&quot;</Resource><RequestId>ID</RequestId><HostId>HOST</HostId></Error>";
        assert_eq!(body, expected);
    }
}
