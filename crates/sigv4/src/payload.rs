//! Bodies: what `x-amz-content-sha256` says of them, and what remains to be checked once a signature is verified.

use sha2::{Digest, Sha256};

use crate::{
    chunk::ChunkSigning,
    error::AuthError,
    key::{digest_from_hex, sha256_hex},
};

/// What `x-amz-content-sha256` announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// The body has this hash.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`: the signature does not cover the body.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`, with `-TRAILER` where trailing headers follow: each chunk is signed.
    SignedChunks { trailer: bool },
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks without signatures, then trailing headers.
    UnsignedChunks,
}

impl Payload {
    /// Reads the header's value.
    ///
    /// # Errors
    /// [`AuthError::BadContentSha256`] for anything else, the streaming words of Signature Version 4A among it.
    pub fn parse(text: &str) -> Result<Payload, AuthError> {
        match text {
            "UNSIGNED-PAYLOAD" => Ok(Payload::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Payload::SignedChunks { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Payload::SignedChunks { trailer: true }),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Payload::UnsignedChunks),
            hash => digest_from_hex(hash)
                .map(Payload::Sha256)
                .ok_or_else(|| AuthError::BadContentSha256 { given: text.to_owned() }),
        }
    }
}

/// What the verifier is given of the body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Its hash, computed from the bytes that came (not taken from a header).
    Hashed([u8; 32]),
    /// Nothing yet: it is read afterwards, and [`BodyCheck`] says how it must be checked then.
    Streamed,
}

impl Body<'_> {
    /// The same body, hashed once and for all.
    pub(crate) fn hashed(self) -> Self {
        self.sha256().map_or(self, Body::Hashed)
    }

    /// The body's hash, if the body is known.
    pub(crate) fn sha256(&self) -> Option<[u8; 32]> {
        match self {
            Body::Whole(bytes) => Some(Sha256::digest(bytes).into()),
            Body::Hashed(hash) => Some(*hash),
            Body::Streamed => None,
        }
    }
}

/// What is still to be proved about the body. Nothing may be acknowledged before it is.
#[derive(Debug)]
pub enum BodyCheck {
    /// Nothing: the signature covers the body that was given.
    Checked,
    /// Nothing: the caller left the body unsigned.
    Unsigned,
    /// The body must have this hash; see [`BodyHasher`].
    Sha256([u8; 32]),
    /// The body is aws-chunked; see [`crate::ChunkDecoder`]. Without `signing` its chunks carry no signatures.
    Chunks { trailer: bool, signing: Option<Box<ChunkSigning>> },
}

/// Hashes a body as it passes and compares at the end.
#[derive(Debug)]
pub struct BodyHasher {
    expected: [u8; 32],
    hash: Sha256,
}

impl BodyHasher {
    pub fn new(expected: [u8; 32]) -> BodyHasher {
        BodyHasher { expected, hash: Sha256::new() }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// # Errors
    /// [`AuthError::ContentSha256Mismatch`] if the body is not the one that was signed.
    pub fn finish(self) -> Result<(), AuthError> {
        let computed: [u8; 32] = self.hash.finalize().into();
        compare(self.expected, computed)
    }
}

/// Hashes of content are no secret, so a plain comparison does.
pub(crate) fn compare(announced: [u8; 32], computed: [u8; 32]) -> Result<(), AuthError> {
    if announced == computed {
        return Ok(());
    }
    Err(AuthError::ContentSha256Mismatch {
        announced: hex::encode(announced),
        computed: hex::encode(computed),
    })
}

/// The hash of no bytes at all.
pub(crate) fn empty_sha256() -> String {
    sha256_hex(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_read_and_others_refused() {
        assert_eq!(Payload::parse("UNSIGNED-PAYLOAD"), Ok(Payload::Unsigned));
        assert_eq!(Payload::parse("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), Ok(Payload::UnsignedChunks));
        assert!(matches!(Payload::parse(&empty_sha256()), Ok(Payload::Sha256(_))));
        for wrong in ["", "abc", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", &empty_sha256().to_uppercase()] {
            assert!(matches!(Payload::parse(wrong), Err(AuthError::BadContentSha256 { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_body_must_have_the_announced_hash() {
        let mut hasher = BodyHasher::new(Sha256::digest(b"hello").into());
        hasher.update(b"hel");
        hasher.update(b"lo");
        assert_eq!(hasher.finish(), Ok(()));
        let other = BodyHasher::new(Sha256::digest(b"hello").into());
        assert!(matches!(other.finish(), Err(AuthError::ContentSha256Mismatch { .. })));
    }
}
