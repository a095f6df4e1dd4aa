//! What is done to bodies that were read whole before a codec sees them: `aws-chunked` and gzip are undone.
//! Bodies that stream through to HTTP services are treated in `streamed.rs`; their gzip is left alone, it is the object's.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, header};
use tidemill_sigv4::{AuthError, ChunkDecoder, ChunkSigning};

/// Whether the body comes in chunks of AWS's own making.
pub(crate) fn is_aws_chunked(headers: &HeaderMap) -> bool {
    let announced =
        text(headers, "x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"));
    announced || codings(headers).any(|coding| coding.eq_ignore_ascii_case("aws-chunked"))
}

/// Whether headers follow the chunks.
pub(crate) fn has_trailer(headers: &HeaderMap) -> bool {
    let announced = text(headers, "x-amz-content-sha256").is_some_and(|value| value.ends_with("-TRAILER"));
    announced || headers.contains_key("x-amz-trailer")
}

/// The data of an `aws-chunked` body, its chunks' signatures verified if `signing` is given.
pub(crate) fn unchunk(
    headers: &HeaderMap,
    body: Bytes,
    signing: Option<Box<ChunkSigning>>,
) -> Result<Bytes, AuthError> {
    let mut decoder = ChunkDecoder::new(headers, has_trailer(headers), signing)?;
    let mut pieces = Vec::new();
    decoder.push(body, &mut pieces)?;
    decoder.finish()?;
    Ok(if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() })
}

pub(crate) fn is_gzip(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_ENCODING)
        && codings(headers).any(|coding| coding.eq_ignore_ascii_case("gzip"))
}

/// Why a compressed body cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotGunzipped {
    TooLarge,
    Malformed,
}

/// Uncompresses up to `limit` bytes; more are never held.
pub(crate) fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, NotGunzipped> {
    let mut plain = Vec::new();
    let mut decoder = MultiGzDecoder::new(body).take(limit as u64 + 1);
    decoder.read_to_end(&mut plain).map_err(|_| NotGunzipped::Malformed)?;
    if plain.len() > limit { Err(NotGunzipped::TooLarge) } else { Ok(plain.into()) }
}

/// `Content-Encoding` without `aws-chunked`, as the object's metadata keeps it; `None` if nothing else is in it.
pub(crate) fn kept_codings(headers: &HeaderMap) -> Option<String> {
    let kept: Vec<&str> =
        codings(headers).filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked")).collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

fn codings(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|coding| !coding.is_empty())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_bounded() {
        assert_eq!(gunzip(&gzipped(b"hello"), 5).unwrap(), "hello");
        assert_eq!(gunzip(&gzipped(b"hello"), 4), Err(NotGunzipped::TooLarge));
        assert_eq!(gunzip(&gzipped(&vec![0; 50 << 20]), 1 << 20), Err(NotGunzipped::TooLarge));
        for body in [&b""[..], b"hello", &gzipped(b"hello")[..12]] {
            assert_eq!(gunzip(body, 100), Err(NotGunzipped::Malformed));
        }
    }

    #[test]
    fn chunks_are_undone() {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", "aws-chunked, gzip".parse().unwrap());
        headers.insert("x-amz-decoded-content-length", "5".parse().unwrap());
        headers.insert("x-amz-trailer", "x-amz-checksum-crc32".parse().unwrap());
        assert!(is_aws_chunked(&headers) && has_trailer(&headers) && is_gzip(&headers));
        assert_eq!(kept_codings(&headers).as_deref(), Some("gzip"));
        let body = Bytes::from_static(b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n");
        assert_eq!(unchunk(&headers, body.clone(), None).unwrap(), "hello");
        assert_eq!(unchunk(&headers, body.slice(..20), None), Err(AuthError::IncompleteBody));
    }
}
