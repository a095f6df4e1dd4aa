//! A request as the codecs see it, and the answer they make. Sockets are the gateway's business.

use std::{fmt, pin::Pin};

use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidemill_api::Bytes;

/// The values of a path template's labels, still percent-encoded, by the name in the template.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A whole request. Path and query are raw: nothing in them is decoded yet.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Without the `?`; empty when there is none.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    /// From [`crate::Route`].
    pub labels: Labels<'a>,
}

/// A whole answer, or the head of one that goes on as a stream.
#[derive(Debug)]
pub struct Encoded {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
}

/// The bytes of an answer.
pub enum Body {
    Full(Bytes),
    /// Frames of `application/vnd.amazon.eventstream`, one an item.
    Events(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl Encoded {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Encoded {
        let mut encoded = Encoded { status, headers: HeaderMap::new(), body: Body::Full(body.into()) };
        if !content_type.is_empty() {
            encoded.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        encoded
    }

    /// Sets a header. A value that HTTP cannot carry (a line break) is left out rather than let through.
    pub fn header(&mut self, name: &str, value: &str) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            self.headers.insert(name, value);
        }
    }

    /// Adds `x-amz-crc32` over the body, as DynamoDB's answers carry it and SDKs check it.
    pub fn with_crc32(mut self) -> Encoded {
        if let Body::Full(bytes) = &self.body {
            let sum = crc32fast::hash(bytes);
            self.headers.insert("x-amz-crc32", HeaderValue::from(sum));
        }
        self
    }

    /// The bytes of an answer that is no stream.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Full(bytes) => Some(bytes),
            Body::Events(_) => None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Full(bytes) => f.debug_tuple("Full").field(bytes).finish(),
            Body::Events(_) => f.write_str("Events"),
        }
    }
}
