//! Request bodies as they come from the connection: read whole up to a limit, or handed on piece by piece.
//! What `aws-chunked`, signatures and compression do to them is in `content.rs` and `streamed.rs`.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Version, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidemill_sigv4::AuthError;

/// What is read and thrown away of a body that nobody wanted, so that its sender comes to read the answer.
const MAX_DISCARDED: u64 = 256 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request's body could not be had. HTTP services find it as the error of the body they read.
#[derive(Debug)]
pub enum BodyError {
    /// More bytes than the service takes at once; the limit in bytes.
    TooLarge(usize),
    /// Nothing came for as long as the configuration allows.
    Stalled,
    /// The connection broke off, or its framing did.
    Broken(hyper::Error),
    /// The body is not what was signed or announced.
    Refused(AuthError),
}

/// A body on a connection. Dropped unread, the rest of it is read and discarded within bounds: many clients send all
/// of a request before they look at the answer, and closing the connection under them hides what was wrong.
pub(crate) struct Upload {
    incoming: Option<Incoming>,
    discards: bool,
}

impl Upload {
    pub(crate) fn of(request: Request<Incoming>) -> (Parts, Upload) {
        let (head, incoming) = request.into_parts();
        // HTTP/2 cancels a stream by itself; whoever expects a 100 has not sent anything yet.
        let discards = head.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT);
        (head, Upload { incoming: Some(incoming), discards })
    }

    /// Reads the body whole. One that came in one piece is not copied.
    ///
    /// # Errors
    /// More than `limit` bytes, a sender that stalls, a connection that breaks off.
    pub(crate) async fn whole(mut self, limit: usize, stall: Duration) -> Result<Bytes, BodyError> {
        let announced = self.size_hint().exact();
        if announced == Some(0) {
            return Ok(Bytes::new());
        }
        if announced.is_some_and(|announced| announced > limit as u64) {
            return Err(BodyError::TooLarge(limit));
        }
        let Some(first) = self.piece(stall).await? else { return Ok(Bytes::new()) };
        if self.is_end_stream() || announced == Some(first.len() as u64) {
            return if first.len() > limit { Err(BodyError::TooLarge(limit)) } else { Ok(first) };
        }
        let mut body = BytesMut::from(first);
        while let Some(piece) = self.piece(stall).await? {
            if body.len() + piece.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    async fn piece(&mut self, stall: Duration) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = tokio::time::timeout(stall, self.frame()).await.map_err(|_| BodyError::Stalled)?;
            match frame.transpose().map_err(BodyError::Broken)?.map(Frame::into_data) {
                Some(Ok(data)) => return Ok(Some(data)),
                Some(Err(_trailers)) => continue,
                None => return Ok(None),
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|incoming| self.discards && !incoming.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(DISCARD_TIMEOUT, discard(rest)));
        }
    }
}

async fn discard(mut rest: Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
        if discarded > MAX_DISCARDED {
            return;
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            BodyError::Stalled => f.write_str("the body stopped coming"),
            BodyError::Broken(error) => write!(f, "the body broke off: {error}"),
            BodyError::Refused(error) => write!(f, "the body was refused: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}
