//! aws-chunked bodies: `size;chunk-signature=…` lines before each chunk, a chunk of no bytes, then trailing headers.
//! The decoder takes the body in any pieces and copies none of its data. It hands data on before the signature of its
//! chunk has been seen: nothing may be acknowledged until [`ChunkDecoder::finish`] has agreed.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and `…/sigv4-streaming-trailers.html`

use bytes::{Buf, Bytes};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::{
    AmzDate, Credential,
    error::{AuthError, Mismatch},
    key::{SigningKey, sha256_hex},
    payload::empty_sha256,
};

/// The longest line before a chunk, in bytes.
const MAX_LINE: usize = 1024;
/// The longest section of trailing headers, in bytes.
const MAX_TRAILER: usize = 16 * 1024;
/// The smallest chunk S3 takes, except the last, in bytes.
const MIN_CHUNK: u64 = 8192;

/// The chain of chunk signatures: each signs the one before it, the first the request's own.
#[derive(Debug, Clone)]
pub struct ChunkSigning {
    access_key: String,
    key: SigningKey,
    signed_at: AmzDate,
    scope: String,
    previous: String,
}

impl ChunkSigning {
    /// `seed` is the signature of the request's headers.
    pub(crate) fn new(
        credential: &Credential,
        key: SigningKey,
        signed_at: AmzDate,
        seed: String,
    ) -> ChunkSigning {
        ChunkSigning {
            access_key: credential.access_key.clone(),
            key,
            signed_at,
            scope: credential.scope(),
            previous: seed,
        }
    }

    /// Signs the next chunk, given the hash of its data in hexadecimal.
    pub(crate) fn sign_chunk(&mut self, data_sha256: &str) -> &str {
        let text = self.chunk_text(data_sha256);
        self.previous = self.key.sign(text.as_bytes());
        &self.previous
    }

    /// Signs the trailing headers, written `name:value\n` each.
    pub(crate) fn sign_trailer(&self, trailer: &[u8]) -> String {
        self.key.sign(self.trailer_text(trailer).as_bytes())
    }

    fn verify_chunk(&mut self, data_sha256: &str, signature: &str) -> Result<(), AuthError> {
        let text = self.chunk_text(data_sha256);
        self.compare(text, signature)?;
        self.previous.clear();
        self.previous.push_str(signature);
        Ok(())
    }

    fn verify_trailer(&self, trailer: &[u8], signature: &str) -> Result<(), AuthError> {
        self.compare(self.trailer_text(trailer), signature)
    }

    fn chunk_text(&self, data_sha256: &str) -> String {
        let ChunkSigning { signed_at, scope, previous, .. } = self;
        format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{signed_at}\n{scope}\n{previous}\n{}\n{data_sha256}",
            empty_sha256()
        )
    }

    fn trailer_text(&self, trailer: &[u8]) -> String {
        let ChunkSigning { signed_at, scope, previous, .. } = self;
        format!("AWS4-HMAC-SHA256-TRAILER\n{signed_at}\n{scope}\n{previous}\n{}", sha256_hex(trailer))
    }

    fn compare(&self, string_to_sign: String, signature: &str) -> Result<(), AuthError> {
        if self.key.verifies(string_to_sign.as_bytes(), signature) {
            return Ok(());
        }
        Err(AuthError::Mismatch(Box::new(Mismatch {
            access_key: self.access_key.clone(),
            string_to_sign,
            signature_provided: signature.to_owned(),
            canonical_request: None,
        })))
    }
}

/// Takes an aws-chunked body apart, verifying the chunks' signatures if it has a key.
#[derive(Debug)]
pub struct ChunkDecoder {
    signing: Option<Box<ChunkSigning>>,
    trailer: bool,
    announced: Vec<String>,
    decoded_length: u64,
    received: u64,
    state: State,
    chunk: Chunk,
    /// The line before a chunk, or the section after the last, as far as it has come.
    pending: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Line,
    Data { left: u64 },
    CarriageReturn,
    LineFeed,
    Trailer,
    Failed(AuthError),
}

/// The chunk being read.
#[derive(Debug, Default)]
struct Chunk {
    /// Counts from 1; 0 before the first.
    number: u64,
    size: u64,
    signature: String,
    hash: Sha256,
}

impl ChunkDecoder {
    /// A decoder for a body with these request headers: `x-amz-decoded-content-length` says how much data there is,
    /// `x-amz-trailer` which trailing headers follow if `trailer` is set. Without `signing` chunk signatures are
    /// passed over unverified.
    ///
    /// # Errors
    /// [`AuthError::MissingDecodedLength`] if the length is absent or not a number.
    pub fn new(
        headers: &HeaderMap,
        trailer: bool,
        signing: Option<Box<ChunkSigning>>,
    ) -> Result<ChunkDecoder, AuthError> {
        let length = headers.get("x-amz-decoded-content-length").and_then(|value| value.to_str().ok());
        let decoded_length = length
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(AuthError::MissingDecodedLength)?;
        let names = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
        let names = names.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
        Ok(ChunkDecoder {
            signing,
            trailer,
            announced: names.filter(|name| !name.is_empty()).collect(),
            decoded_length,
            received: 0,
            state: State::Line,
            chunk: Chunk::default(),
            pending: Vec::new(),
        })
    }

    /// How many bytes of data the body announces.
    pub fn decoded_length(&self) -> u64 {
        self.decoded_length
    }

    /// Takes the next piece of the body and puts the data found in it on `out`.
    ///
    /// # Errors
    /// A malformed body, more data than announced, a chunk too small, a signature that does not match. The decoder
    /// gives the same error ever after.
    pub fn push(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), AuthError> {
        while input.has_remaining() {
            if let Err(error) = self.step(&mut input, out) {
                self.state = State::Failed(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The body has ended. Answers its trailing headers, names in lower case, in their order.
    ///
    /// # Errors
    /// A body that ended early, trailing headers other than those announced, a signature that does not match.
    pub fn finish(self) -> Result<Vec<(String, String)>, AuthError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Trailer if self.received == self.decoded_length => {
                let trailer = Trailer::parse(&self.pending, self.trailer)?;
                trailer.check(&self.announced, self.signing.as_deref().filter(|_| self.trailer))
            }
            _ => Err(AuthError::IncompleteBody),
        }
    }

    /// Takes at least one byte of `input`.
    fn step(&mut self, input: &mut Bytes, out: &mut Vec<Bytes>) -> Result<(), AuthError> {
        match &mut self.state {
            State::Line => self.read_line(input),
            State::Data { left } => {
                let length = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                let data = input.split_to(length);
                *left -= length as u64;
                let ended = *left == 0;
                self.received += length as u64;
                if self.signing.is_some() {
                    self.chunk.hash.update(&data);
                }
                out.push(data);
                if ended { self.end_chunk(State::CarriageReturn) } else { Ok(()) }
            }
            State::CarriageReturn => self.expect(input, b'\r', State::LineFeed),
            State::LineFeed => self.expect(input, b'\n', State::Line),
            State::Trailer => {
                if self.pending.len() + input.len() > MAX_TRAILER {
                    return Err(AuthError::MalformedTrailer);
                }
                self.pending.extend_from_slice(&input.split_to(input.len()));
                Ok(())
            }
            State::Failed(error) => Err(error.clone()),
        }
    }

    fn expect(&mut self, input: &mut Bytes, byte: u8, next: State) -> Result<(), AuthError> {
        if input.get_u8() != byte {
            return Err(AuthError::IncompleteBody);
        }
        self.state = next;
        Ok(())
    }

    fn read_line(&mut self, input: &mut Bytes) -> Result<(), AuthError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let piece = input.split_to(end.map_or(input.len(), |end| end + 1));
        if self.pending.len() + piece.len() > MAX_LINE {
            return Err(AuthError::IncompleteBody);
        }
        self.pending.extend_from_slice(&piece);
        if end.is_none() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.pending);
        self.begin_chunk(&line)
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), AuthError> {
        let (size, signature) = parse_line(line).ok_or(AuthError::IncompleteBody)?;
        let before = self.chunk.size;
        self.chunk.number += 1;
        if size > 0 && self.chunk.number > 1 && before < MIN_CHUNK {
            return Err(AuthError::ChunkTooSmall { chunk: self.chunk.number, size: before });
        }
        if size > self.decoded_length - self.received || (self.signing.is_some() && signature.is_none()) {
            return Err(AuthError::IncompleteBody);
        }
        self.chunk.size = size;
        self.chunk.signature = signature.unwrap_or_default().to_owned();
        if size == 0 {
            return self.end_chunk(State::Trailer);
        }
        self.state = State::Data { left: size };
        Ok(())
    }

    fn end_chunk(&mut self, next: State) -> Result<(), AuthError> {
        if let Some(signing) = &mut self.signing {
            let hash = hex::encode(self.chunk.hash.finalize_reset());
            signing.verify_chunk(&hash, &self.chunk.signature)?;
        }
        self.state = next;
        Ok(())
    }
}

/// `400;chunk-signature=…\r\n`: the size in hexadecimal and the signature.
fn parse_line(line: &[u8]) -> Option<(u64, Option<&str>)> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let (size, extension) =
        line.split_once(';').map_or((line, None), |(size, extension)| (size, Some(extension)));
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let size = u64::from_str_radix(size, 16).ok()?;
    Some((size, extension.and_then(|extension| extension.strip_prefix("chunk-signature="))))
}

/// The section after the last chunk.
#[derive(Default)]
struct Trailer {
    headers: Vec<(String, String)>,
    signature: Option<String>,
}

impl Trailer {
    /// The section ends in an empty line; without trailing headers it is nothing else.
    fn parse(section: &[u8], wanted: bool) -> Result<Trailer, AuthError> {
        let mut trailer = Trailer::default();
        if section == b"\r\n" {
            return Ok(trailer);
        }
        if !section.ends_with(b"\r\n\r\n") {
            return Err(AuthError::IncompleteBody);
        }
        let text = std::str::from_utf8(section).map_err(|_| AuthError::MalformedTrailer)?;
        for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some((name, value)) if wanted && !name.trim().is_empty() => {
                    trailer.add(name.trim().to_ascii_lowercase(), value.trim().to_owned());
                }
                _ => return Err(AuthError::MalformedTrailer),
            }
        }
        Ok(trailer)
    }

    fn add(&mut self, name: String, value: String) {
        if name == "x-amz-trailer-signature" {
            self.signature = Some(value);
        } else {
            self.headers.push((name, value));
        }
    }

    /// What came must be what was announced, and signed if the chunks were.
    fn check(
        self,
        announced: &[String],
        signing: Option<&ChunkSigning>,
    ) -> Result<Vec<(String, String)>, AuthError> {
        let came = |name: &String| self.headers.iter().filter(|(header, _)| header == name).count() == 1;
        if self.headers.len() != announced.len() || !announced.iter().all(came) {
            return Err(AuthError::MalformedTrailer);
        }
        if let Some(signing) = signing {
            let signature = self.signature.as_deref().ok_or(AuthError::MalformedTrailer)?;
            let mut signed = Vec::new();
            for (name, value) in &self.headers {
                signed.extend_from_slice(format!("{name}:{value}\n").as_bytes());
            }
            signing.verify_trailer(&signed, signature)?;
        }
        Ok(self.headers)
    }
}
