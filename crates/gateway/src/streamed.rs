//! Bodies of HTTP services, handed on while they come: `aws-chunked` undone, hashes and chunk signatures verified.
//! The last bytes are held back until the whole body is proved, so whoever has read all of it may trust all of it.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tidemill_platform::service::Trailers;
use tidemill_sigv4::{AuthError, BodyHasher, ChunkDecoder};
use tokio::time::{Instant, Sleep};

use crate::upload::{BodyError, Upload};

/// What was wrong with a streamed body, for the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Complaint(Arc<OnceLock<AuthError>>);

impl Complaint {
    pub(crate) fn take(&self) -> Option<AuthError> {
        self.0.get().cloned()
    }
}

/// What is left to prove while a body passes.
pub(crate) enum Check {
    Nothing,
    Hash(BodyHasher),
    Chunks(Box<ChunkDecoder>),
}

pub(crate) struct Streamed {
    upload: Upload,
    check: Check,
    /// Data to come, if it was announced: what chunks decode to, else the Content-Length.
    left: Option<u64>,
    /// Decoded data that is not handed on yet.
    ready: VecDeque<Bytes>,
    ended: bool,
    trailers: Trailers,
    complaint: Complaint,
    stall: Duration,
    stalled: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Streamed {
    pub(crate) fn new(upload: Upload, check: Check, stall: Duration) -> Streamed {
        let left = match &check {
            Check::Chunks(decoder) => Some(decoder.decoded_length()),
            _ => upload.size_hint().exact(),
        };
        Streamed {
            upload,
            check,
            left,
            ready: VecDeque::new(),
            ended: false,
            trailers: Trailers::default(),
            complaint: Complaint::default(),
            stall,
            stalled: Box::pin(tokio::time::sleep(stall)),
            waiting: false,
        }
    }

    /// The headers behind the chunks, once they have come.
    pub(crate) fn trailers(&self) -> Trailers {
        self.trailers.clone()
    }

    pub(crate) fn complaint(&self) -> Complaint {
        self.complaint.clone()
    }

    /// The data's length, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.left
    }

    /// Proves a body without data at once: nobody would read it to its end.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub(crate) async fn settled(mut self) -> Result<Streamed, BodyError> {
        if self.left != Some(0) {
            return Ok(self);
        }
        match std::future::poll_fn(|cx| self.next(cx)).await {
            Some(Err(error)) => Err(error),
            _ => Ok(self),
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if self.may_hand_on()
                && let Some(data) = self.ready.pop_front()
            {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(data)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Err(error) = ready!(self.take_in(cx)) {
                self.fail(&error);
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Everything may go on but the last piece, and that once the body has ended as it should.
    fn may_hand_on(&self) -> bool {
        self.ended || self.ready.len() > 1 || matches!(self.check, Check::Nothing)
    }

    /// Reads one piece from the connection.
    fn take_in(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Poll::Ready(frame) = Pin::new(&mut self.upload).poll_frame(cx) else { return self.wait(cx) };
        self.waiting = false;
        let result = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.decode(data),
                Err(_trailers) => Ok(()),
            },
            Some(Err(error)) => return Poll::Ready(Err(BodyError::Broken(error))),
            None => self.finish(),
        };
        Poll::Ready(result.map_err(BodyError::Refused))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if !self.waiting {
            self.waiting = true;
            self.stalled.as_mut().reset(Instant::now() + self.stall);
        }
        self.stalled.as_mut().poll(cx).map(|()| Err(BodyError::Stalled))
    }

    fn decode(&mut self, data: Bytes) -> Result<(), AuthError> {
        match &mut self.check {
            Check::Chunks(decoder) => {
                let mut out = Vec::new();
                decoder.push(data, &mut out)?;
                self.ready.extend(out);
                return Ok(());
            }
            Check::Hash(hasher) => hasher.update(&data),
            Check::Nothing => {}
        }
        if !data.is_empty() {
            self.ready.push_back(data);
        }
        // Without chunks the end is known by its length; one look at the connection less.
        if self.upload.is_end_stream() { self.finish() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), AuthError> {
        self.ended = true;
        match mem::replace(&mut self.check, Check::Nothing) {
            Check::Nothing => Ok(()),
            Check::Hash(hasher) => hasher.finish(),
            Check::Chunks(decoder) => {
                self.trailers.set(header_map(decoder.finish()?));
                Ok(())
            }
        }
    }

    /// After an error nothing more is handed on.
    fn fail(&mut self, error: &BodyError) {
        if let BodyError::Refused(error) = error {
            let _ = self.complaint.0.set(error.clone());
        }
        self.ended = true;
        self.ready.clear();
    }
}

/// What cannot be a header is none.
fn header_map(trailers: Vec<(String, String)>) -> HeaderMap {
    let header = |(name, value): (String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    trailers.into_iter().filter_map(header).collect()
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.next(cx).map(|next| next.map(|data| data.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
