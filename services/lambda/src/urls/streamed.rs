//! A function's answer as HTTP while it comes, for addresses of mode `RESPONSE_STREAM`: the metadata that
//! `awslambda.HttpResponseStream.from` puts before it, then the body. What a function answers without streaming goes out as it
//! is; a `statusCode` in it means nothing here, as on AWS.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Map, Value};
use tidemill_platform::{Fault, HttpBody};

use super::{answer, serve::bad_gateway};
use crate::streaming::{Next, Streaming};

/// The type by which a function says that metadata comes first.
const WITH_METADATA: &str = "application/vnd.awslambda.http-integration-response";
/// Stands between metadata and body.
const DELIMITER: [u8; 8] = [0; 8];
/// What metadata may come to, in bytes.
const MOST_METADATA: usize = 128 << 10;

/// Answers once the first of the body is there; a function that fails before that is a bad gateway.
pub async fn of(mut streaming: Streaming) -> Response<HttpBody> {
    let kind = streaming.content_type.clone();
    let response = match kind.as_deref() {
        Some(WITH_METADATA) => with_metadata(streaming).await,
        kind => {
            let kind = HeaderValue::from_str(kind.unwrap_or("application/json")).ok();
            match first(&mut streaming).await {
                Some(first) => kind.map(|kind| plain(kind, Rest { first, streaming })),
                None => None,
            }
        }
    };
    response.unwrap_or_else(|| super::serve::whole(bad_gateway()))
}

fn plain(kind: HeaderValue, rest: Rest) -> Response<HttpBody> {
    let mut response = Response::new(rest.into_body());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The first data, or none of a function that answered nothing; `None` when it failed.
async fn first(streaming: &mut Streaming) -> Option<Option<Bytes>> {
    match streaming.next().await?.ok()? {
        Next::Data(data) => Some(Some(data)),
        Next::End(outcome) => outcome.error_type.is_none().then_some(None),
    }
}

async fn with_metadata(mut streaming: Streaming) -> Option<Response<HttpBody>> {
    let mut read = BytesMut::new();
    let ends = loop {
        if let Some(at) = read.windows(DELIMITER.len()).position(|window| window == DELIMITER) {
            break at;
        }
        if read.len() > MOST_METADATA {
            return None;
        }
        read.extend_from_slice(&first(&mut streaming).await??);
    };
    let metadata: Map<String, Value> = serde_json::from_slice(read.get(..ends)?).ok()?;
    let first = read.freeze().slice(ends + DELIMITER.len()..);
    let rest = Rest { first: Some(first).filter(|first| !first.is_empty()), streaming };
    let mut response = Response::new(rest.into_body());
    answer::head(&metadata, response.headers_mut(), "application/octet-stream")?;
    *response.status_mut() = answer::status(&metadata)?;
    Some(response)
}

/// What is left of an answer whose beginning is known.
struct Rest {
    first: Option<Bytes>,
    streaming: Streaming,
}

impl Rest {
    fn into_body(self) -> HttpBody {
        BodyExt::boxed(StreamBody::new(self))
    }
}

impl Stream for Rest {
    type Item = Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let next: Option<Result<Next, Fault>> = ready!(self.streaming.poll_next_unpin(task));
        Poll::Ready(match next {
            Some(Ok(Next::Data(data))) => Some(Ok(Frame::data(data))),
            // The status is out; a body that breaks off is how the caller learns of it.
            Some(Ok(Next::End(outcome))) => {
                outcome.error_type.map(|kind| Err(format!("the function failed: {kind}").into()))
            }
            Some(Err(fault)) => Some(Err(fault.to_string().into())),
            None => None,
        })
    }
}
