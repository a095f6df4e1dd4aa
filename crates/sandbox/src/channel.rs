//! The private channel to our own bootstraps: frames of a JSON header and a body on a stream socket.
//!
//! Two little-endian 32-bit lengths, the header, the body. The other ends are `runtimes/python/bootstrap.py` and
//! `runtimes/nodejs/bootstrap.cjs`. `provided` runtimes speak the Runtime API instead (`runtime_api.rs`).

use std::io;
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What a function may answer with, in bytes: Lambda's limit of 6 MB and the room it leaves for its envelope.
pub const RESPONSE_MAX: usize = 6_291_556;
const HEADER_MAX: usize = 1 << 20;

/// A function's side of the conversation.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Answer {
    Ready {
        rss: u64,
    },
    InitError {
        #[serde(rename = "type")]
        kind: String,
        rss: u64,
    },
    /// A streamed answer begins; `chunk`s follow, and `response` or `error` ends it.
    Begin {
        content_type: String,
    },
    Chunk,
    Response {
        rss: u64,
    },
    Error {
        #[serde(rename = "type")]
        kind: String,
        rss: u64,
        /// Whether the runtime ends after it, as with an uncaught exception.
        #[serde(default)]
        last: bool,
    },
}

/// A received frame. A body over [`RESPONSE_MAX`] is read to its end but not kept.
#[derive(Debug)]
pub struct Frame {
    pub answer: Answer,
    pub body: Result<Bytes, TooLarge>,
}

#[derive(Debug)]
pub struct TooLarge;

pub struct Channel {
    stream: UnixStream,
    buffer: BytesMut,
    /// Bytes of an oversize body still to be thrown away, and its header.
    discarding: Option<(usize, Option<Answer>)>,
}

impl Channel {
    /// A new channel and the end that goes to the bootstrap.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        Ok((Self { stream, buffer: BytesMut::with_capacity(4096), discarding: None }, theirs.into()))
    }

    pub async fn send<T: Serialize>(&mut self, header: &T, body: &[u8]) -> io::Result<()> {
        let header = serde_json::to_vec(header)?;
        let mut frame = Vec::with_capacity(8 + header.len() + body.len());
        frame.extend_from_slice(&(header.len() as u32).to_le_bytes());
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&header);
        frame.extend_from_slice(body);
        self.stream.write_all(&frame).await
    }

    /// The next frame; `None` when the bootstrap closed its end. May be dropped and called again without loss.
    pub async fn receive(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() - self.buffer.len() < 4096 {
                self.buffer.reserve(64 * 1024);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take_frame(&mut self) -> io::Result<Option<Frame>> {
        if self.discarding.is_some() {
            return Ok(self.discard());
        }
        let Some((head, rest)) = self.buffer.split_first_chunk::<8>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h] = *head;
        let (header_len, body_len) =
            (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
        if header_len > HEADER_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame header too large"));
        }
        let Some(header) = rest.get(..header_len) else { return Ok(None) };
        if body_len <= RESPONSE_MAX && rest.len() < header_len + body_len {
            return Ok(None);
        }
        let answer: Answer = serde_json::from_slice(header)?;
        self.buffer.advance(8 + header_len);
        if body_len > RESPONSE_MAX {
            self.discarding = Some((body_len, Some(answer)));
            return Ok(self.discard());
        }
        Ok(Some(Frame { answer, body: Ok(self.buffer.split_to(body_len).freeze()) }))
    }

    fn discard(&mut self) -> Option<Frame> {
        let (left, answer) = self.discarding.as_mut()?;
        let now = self.buffer.len().min(*left);
        self.buffer.advance(now);
        *left -= now;
        if *left > 0 {
            return None;
        }
        let answer = answer.take();
        self.discarding = None;
        answer.map(|answer| Frame { answer, body: Err(TooLarge) })
    }
}
