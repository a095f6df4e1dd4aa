//! An answer that comes in pieces: handed on while the function still runs, or gathered where the caller wants it whole.
//!
//! Nothing is kept but what waits for a slow reader: the function's own writes wait with it.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::channel::RESPONSE_MAX;
use crate::logs::LogReader;

/// What a streamed answer may come to, in bytes (Lambda's quota since July 2025; 20 MB before).
pub const STREAM_MAX: usize = 200 << 20;

/// A part of a streamed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Comes first, before any data.
    Begin {
        content_type: String,
    },
    Data(Bytes),
}

/// One invocation's streamed answer, from its beginning to its end.
pub struct Streamed {
    reader: Option<mpsc::Sender<Piece>>,
    gathered: BytesMut,
    size: usize,
    begun: bool,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Nobody read in time.
    TimedOut,
}

impl Streamed {
    /// `reader` gets the pieces; without one they are gathered.
    pub fn new(reader: Option<mpsc::Sender<Piece>>) -> Self {
        Self { reader, gathered: BytesMut::new(), size: 0, begun: false }
    }

    /// Hands a piece on and waits, until `deadline` at most, for a reader that is behind. Of a reader that has gone nothing is
    /// expected: the function runs to its end. What it prints meanwhile is read.
    pub async fn take(&mut self, piece: Piece, deadline: Instant, log: &mut LogReader) -> Taken {
        self.begun = true;
        if let Piece::Data(data) = &piece {
            self.size = self.size.saturating_add(data.len());
        }
        if self.too_large() {
            self.gathered = BytesMut::new();
            return Taken::Yes;
        }
        let Some(reader) = &self.reader else {
            if let Piece::Data(data) = piece {
                self.gathered.extend_from_slice(&data);
            }
            return Taken::Yes;
        };
        tokio::select! {
            biased;
            _ = reader.send(piece) => Taken::Yes,
            () = tokio::time::sleep_until(deadline.into()) => Taken::TimedOut,
            () = log.pump() => Taken::Yes,
        }
    }

    /// Whether the function streamed its answer at all.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Whether it is over the limit of the way it is answered.
    pub fn too_large(&self) -> bool {
        self.size > self.limit()
    }

    pub fn limit(&self) -> usize {
        if self.reader.is_some() { STREAM_MAX } else { RESPONSE_MAX }
    }

    /// What was gathered.
    pub fn into_bytes(self) -> Bytes {
        self.gathered.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn take(streamed: &mut Streamed, data: &'static [u8]) -> Taken {
        let (mut log, _end) = LogReader::pipe().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        streamed.take(Piece::Data(Bytes::from_static(data)), soon, &mut log).await
    }

    #[tokio::test]
    async fn without_a_reader_pieces_are_gathered() {
        let mut streamed = Streamed::new(None);
        assert!(!streamed.begun());
        take(&mut streamed, b"a").await;
        take(&mut streamed, b"b").await;
        assert!(streamed.begun() && !streamed.too_large());
        assert_eq!(streamed.into_bytes(), "ab");
    }

    #[tokio::test]
    async fn a_slow_reader_holds_the_function_up_until_its_deadline() {
        let (sender, mut reader) = mpsc::channel(1);
        let mut streamed = Streamed::new(Some(sender));
        assert_eq!(take(&mut streamed, b"a").await, Taken::Yes);
        assert_eq!(take(&mut streamed, b"b").await, Taken::TimedOut);
        assert_eq!(reader.recv().await, Some(Piece::Data(Bytes::from_static(b"a"))));
        drop(reader);
        assert_eq!(take(&mut streamed, b"c").await, Taken::Yes, "a reader that has gone holds nobody up");
    }

    #[tokio::test]
    async fn what_is_gathered_has_the_limit_of_a_whole_answer() {
        static MEGABYTE: [u8; 1 << 20] = [0; 1 << 20];
        let mut streamed = Streamed::new(None);
        for _ in 0..7 {
            take(&mut streamed, &MEGABYTE).await;
        }
        assert!(streamed.too_large());
        assert!(streamed.into_bytes().is_empty(), "nothing of it is kept");
    }
}
