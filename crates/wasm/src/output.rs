//! Where a program writes: its answer into memory, up to a limit, and its log into a pipe that somebody reads.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

const AT_ONCE: usize = 64 * 1024;

/// Standard output. What is over the limit is not kept.
#[derive(Clone)]
pub struct Answer(Arc<Mutex<Written>>);

struct Written {
    bytes: BytesMut,
    most: usize,
    too_large: bool,
}

impl Answer {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Written { bytes: BytesMut::new(), most, too_large: false })))
    }

    /// What was written, unless it was too much.
    pub fn take(&self) -> Option<Bytes> {
        let mut written = self.0.lock();
        (!written.too_large).then(|| std::mem::take(&mut written.bytes).freeze())
    }
}

#[async_trait]
impl OutputStream for Answer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut written = self.0.lock();
        if written.too_large || written.bytes.len() + bytes.len() > written.most {
            written.too_large = true;
            written.bytes = BytesMut::new();
        } else {
            written.bytes.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(AT_ONCE)
    }
}

#[async_trait]
impl Pollable for Answer {
    async fn ready(&mut self) {}
}

/// Standard error. A program that writes faster than its log is read waits.
#[derive(Clone)]
pub struct Log(Arc<Pipe>);

struct Pipe {
    pipe: pipe::Sender,
    pending: Mutex<BytesMut>,
}

impl Log {
    /// `pipe` is the writing end. Must be called where Tokio's reactor is.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        let pipe = pipe::Sender::from_owned_fd(pipe)?;
        Ok(Self(Arc::new(Pipe { pipe, pending: Mutex::default() })))
    }

    /// Adds a text of our own.
    pub fn print(&self, text: &str) {
        self.0.pending.lock().extend_from_slice(text.as_bytes());
    }

    /// Waits until everything is in the pipe or nobody reads it any more.
    pub async fn written(&self) {
        while self.0.push().is_ok_and(|all| !all) {
            if self.0.pipe.writable().await.is_err() {
                return;
            }
        }
    }
}

impl Pipe {
    /// Writes what the pipe takes; whether nothing is left.
    fn push(&self) -> io::Result<bool> {
        let mut pending = self.pending.lock();
        while !pending.is_empty() {
            match self.pipe.try_write(&pending) {
                Ok(written) => pending.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => {
                    pending.clear();
                    return Err(error);
                }
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.pending.lock().extend_from_slice(&bytes);
        self.0.push().map(|_| ()).map_err(|_| StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.0.push() {
            Ok(true) => Ok(AT_ONCE),
            Ok(false) => Ok(0),
            Err(_) => Err(StreamError::Closed),
        }
    }
}

#[async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {
        self.written().await;
    }
}

impl IsTerminal for Answer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Answer {
    /// Only preview 3 asks for this, which programs cannot use here.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl StdoutStream for Log {
    /// Only preview 3 asks for this, which programs cannot use here.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}
