//! What objects hold. A body is a list of pieces, each written once: an upload of parts becomes an object by listing
//! their pieces, a copy by listing the source's.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use s3s::{S3Result, dto::StreamingBlob, s3_error};
use serde::{Deserialize, Serialize};
use tidemill_store::{Batch, Partition, Table};

use crate::{checksums::Hasher, errors, state::S3};

/// Piece id → bytes and how many objects hold it. In the id's partition.
const PIECES: Table<String, Bytes> = Table::new("s3.piece");
const HOLDERS: Table<String, u64> = Table::new("s3.holders");

/// What a piece holds at most; bodies are cut so that none needs more memory than this at once.
const PIECE: usize = 4 << 20;
/// A single upload may be this large (S3's limit).
const MOST: u64 = 5 << 30;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Body(pub Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    pub id: String,
    pub size: u64,
}

/// A body that was received and is not part of an object yet.
pub struct Received {
    pub body: Body,
    pub size: u64,
    pub pending: Vec<(String, Bytes)>,
}

impl S3 {
    /// Takes a body in, feeding the hasher. Small bodies wait in memory for the batch of their object; of larger ones
    /// every full piece is durable when this answers.
    pub async fn receive(&self, blob: Option<StreamingBlob>, hasher: &mut Hasher) -> S3Result<Received> {
        let mut received = Received { body: Body::default(), size: 0, pending: Vec::new() };
        let Some(mut blob) = blob else { return Ok(received) };
        let mut gathered = BytesMut::new();
        while let Some(chunk) = blob.next().await {
            let chunk = chunk.map_err(|error| {
                s3_error!(
                    IncompleteBody,
                    "You did not provide the number of bytes specified by the Content-Length HTTP header: {}",
                    error
                )
            })?;
            hasher.update(&chunk);
            received.size += chunk.len() as u64;
            if received.size > MOST {
                return Err(s3_error!(
                    EntityTooLarge,
                    "Your proposed upload exceeds the maximum allowed size"
                ));
            }
            if gathered.is_empty()
                && chunk.len() <= PIECE
                && received.body.0.is_empty()
                && blob_is_done(&blob)
            {
                self.keep(&mut received, chunk).await?;
                return Ok(received);
            }
            gathered.extend_from_slice(&chunk);
            while gathered.len() >= PIECE {
                let piece = gathered.split_to(PIECE).freeze();
                self.keep(&mut received, piece).await?;
            }
        }
        if !gathered.is_empty() {
            self.keep(&mut received, gathered.freeze()).await?;
        }
        Ok(received)
    }

    async fn keep(&self, received: &mut Received, piece: Bytes) -> S3Result<()> {
        let id = self.platform.random.hex::<16>();
        received.body.0.push(Piece { id: id.clone(), size: piece.len() as u64 });
        if piece.len() < PIECE {
            received.pending.push((id, piece));
            return Ok(());
        }
        let mut batch = Batch::new(Partition::of(&id));
        batch.put(&PIECES, &id, &piece);
        self.submit(batch)?.await;
        Ok(())
    }

    /// Adds what is not written yet, and the first holder of every piece.
    pub fn settle(&self, batch: &mut Batch, received: &Received) {
        for (id, piece) in &received.pending {
            batch.put_in(Partition::of(id), &PIECES, id, piece);
        }
    }

    /// Another object holds the same pieces.
    pub fn share(&self, batch: &mut Batch, body: &Body) -> S3Result<()> {
        for piece in &body.0 {
            let holders = self.holders(piece)?;
            batch.put_in(Partition::of(&piece.id), &HOLDERS, &piece.id, &(holders + 1));
        }
        Ok(())
    }

    /// An object lets its pieces go; those nobody holds any more are removed.
    pub fn release(&self, batch: &mut Batch, body: &Body) -> S3Result<()> {
        for piece in &body.0 {
            let partition = Partition::of(&piece.id);
            match self.holders(piece)? {
                0 | 1 => {
                    batch.delete_in(partition, &PIECES, &piece.id);
                    batch.delete_in(partition, &HOLDERS, &piece.id);
                }
                holders => drop(batch.put_in(partition, &HOLDERS, &piece.id, &(holders - 1))),
            }
        }
        Ok(())
    }

    fn holders(&self, piece: &Piece) -> S3Result<u64> {
        let found = self
            .platform
            .store
            .get(&HOLDERS, Partition::of(&piece.id), &piece.id)
            .map_err(errors::damaged)?;
        Ok(found.map_or(1, |found| found.value))
    }

    pub fn piece(&self, id: &str) -> S3Result<Bytes> {
        let found =
            self.platform.store.get(&PIECES, Partition::of(id), &id.to_string()).map_err(errors::damaged)?;
        found
            .map(|found| found.value)
            .ok_or_else(|| errors::internal(format!("the piece {id} of a body is missing")))
    }

    /// The bytes of a body between two offsets, piece by piece.
    pub fn stream(self: &std::sync::Arc<Self>, body: &Body, range: std::ops::Range<u64>) -> StreamingBlob {
        let parts = cut(body, range);
        if let [(id, within)] = parts.as_slice() {
            let only = self.piece(id).map(|bytes| bytes.slice(within.clone()));
            return StreamingBlob::from(s3s::Body::from(only.unwrap_or_default()));
        }
        let s3 = self.clone();
        let pieces = stream::iter(parts).map(move |(id, within)| match s3.piece(&id) {
            Ok(bytes) => Ok(bytes.slice(within)),
            Err(error) => Err(std::io::Error::other(error.to_string())),
        });
        StreamingBlob::wrap(pieces)
    }

    /// The whole body at once, for callers inside the platform.
    pub fn whole(&self, body: &Body) -> S3Result<Bytes> {
        if let [piece] = body.0.as_slice() {
            return self.piece(&piece.id);
        }
        let mut all = BytesMut::new();
        for piece in &body.0 {
            all.extend_from_slice(&self.piece(&piece.id)?);
        }
        Ok(all.freeze())
    }
}

/// Whether the sender said that nothing follows.
fn blob_is_done(blob: &StreamingBlob) -> bool {
    matches!(blob.size_hint(), (0, Some(0)))
}

/// The pieces that a range touches, each with the bytes wanted of it.
fn cut(body: &Body, range: std::ops::Range<u64>) -> Vec<(String, std::ops::Range<usize>)> {
    let mut parts = Vec::new();
    let mut begins = 0;
    for piece in &body.0 {
        let ends = begins + piece.size;
        let (from, to) = (range.start.max(begins), range.end.min(ends));
        if from < to {
            let offset = |n: u64| usize::try_from(n - begins).unwrap_or(0);
            parts.push((piece.id.clone(), offset(from)..offset(to)));
        }
        begins = ends;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_touches_only_its_pieces() {
        let piece = |id: &str, size| Piece { id: id.into(), size };
        let body = Body(vec![piece("a", 10), piece("b", 10), piece("c", 5)]);
        assert_eq!(cut(&body, 0..25), [("a".into(), 0..10), ("b".into(), 0..10), ("c".into(), 0..5)]);
        assert_eq!(cut(&body, 8..12), [("a".into(), 8..10), ("b".into(), 0..2)]);
        assert_eq!(cut(&body, 20..21), [("c".into(), 0..1)]);
        assert_eq!(cut(&body, 25..25), []);
    }
}
