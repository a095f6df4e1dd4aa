//! What we sign verifies; what is changed does not; no bytes whatever make the crate panic.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::{collection::vec, prelude::*, sample::Index};
use tidemill_sigv4::{
    AuthError, Body, BodyCheck, ChunkDecoder, ChunkSigner, Claim, Credential, Family, Payload, PayloadToSign,
    RequestParts, Signer, Verified, Verifier, VerifyOptions,
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW_S: i64 = 1_772_368_215;

#[derive(Debug, Clone)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

prop_compose! {
    fn any_request()(
        method in "(GET|PUT|POST|DELETE)",
        path in "(/[a-zA-Z0-9 .~_+:%-]{0,8}){1,4}",
        query in "([a-z%+]{1,5}(=[a-z0-9/%+ ]{0,5})?&?){0,4}",
        extra in vec(("x-test-[a-z]{1,6}", "[ -~]{0,12}"), 0..4),
        body in vec(any::<u8>(), 0..200),
    ) -> Sent {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost:4566"));
        for (name, value) in extra {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
        }
        Sent { method, path, query, headers, body }
    }
}

fn options(service: &str) -> VerifyOptions<'_> {
    if service == "s3" { VerifyOptions::s3() } else { VerifyOptions::service(&["sqs"]) }
}

fn verify(sent: &Sent, service: &str) -> Result<Verified, AuthError> {
    let Sent { method, path, query, headers, body } = sent;
    let request = RequestParts { method, path, query, authority: None, headers };
    let claim = Claim::read(&request)?.ok_or(AuthError::MissingToken)?;
    Verifier::new().verify(&request, &claim, SECRET, Body::Whole(body), NOW_S, &options(service))
}

proptest! {
    #[test]
    fn a_signed_request_verifies_and_a_changed_one_does_not(
        mut sent in any_request(),
        service in "(s3|sqs)",
        token in proptest::option::of("[A-Za-z0-9+/=]{1,30}"),
        at in any::<Index>(),
    ) {
        let mut signer = Signer::new("AKID", SECRET, "us-east-1", &service);
        if let Some(token) = &token {
            signer = signer.with_session_token(token);
        }
        let Sent { method, path, query, headers, body } = &mut sent;
        signer.sign_headers(method, path, query, headers, PayloadToSign::Bytes(body), NOW_S).unwrap();
        prop_assert!(matches!(verify(&sent, &service).unwrap().body, BodyCheck::Checked));

        let mut changed = sent.clone();
        changed.method.push('X');
        prop_assert!(verify(&changed, &service).is_err());
        let mut changed = sent.clone();
        changed.path.push('x');
        prop_assert!(verify(&changed, &service).is_err());
        let mut changed = sent.clone();
        changed.query.push_str("&added");
        prop_assert!(verify(&changed, &service).is_err());
        let mut changed = sent.clone();
        changed.body.push(b'x');
        prop_assert!(verify(&changed, &service).is_err());
        let mut changed = sent.clone();
        let names: Vec<HeaderName> = changed.headers.keys().cloned().collect();
        changed.headers.insert(at.get(&names), HeaderValue::from_static("changed"));
        prop_assert!(verify(&changed, &service).is_err());
    }

    #[test]
    fn a_presigned_url_verifies_until_it_ends(
        path in "(/[a-zA-Z0-9.~_-]{0,8}){1,4}",
        query in "([a-z]{1,5}=[a-z0-9]{0,5}){0,1}",
        life_s in 1..=604_800_u32,
        service in "(s3|sqs)",
    ) {
        let query = Signer::new("AKID", SECRET, "us-east-1", &service).presign("GET", "localhost", &path, &query, life_s, NOW_S);
        let headers = HeaderMap::new();
        let request = RequestParts { method: "GET", path: &path, query: &query, authority: Some("localhost"), headers: &headers };
        let claim = Claim::read(&request).unwrap().unwrap();
        let at = |now_s| Verifier::new().verify(&request, &claim, SECRET, Body::Whole(b""), now_s, &options(&service));
        prop_assert!(at(NOW_S).is_ok());
        prop_assert!(at(NOW_S + i64::from(life_s) - 1).is_ok());
        let is_expired = matches!(at(NOW_S + i64::from(life_s)), Err(AuthError::UrlExpired { .. }));
        prop_assert!(is_expired);
        let is_early = matches!(at(NOW_S - 901), Err(AuthError::UrlNotYetValid { .. }));
        prop_assert!(is_early);
    }

    #[test]
    fn no_request_makes_the_reader_panic(
        authorization in "(AWS4-HMAC-SHA256 |AWS |AWS4-|)(Credential=|SignedHeaders=|Signature=|[ -~]|,|/|aws4_request){0,12}",
        query in "(X-Amz-Algorithm=AWS4-HMAC-SHA256|X-Amz-Credential=a/b/c/d/aws4_request|X-Amz-Date=|X-Amz-Expires=|X-Amz-SignedHeaders=|X-Amz-Signature=|AWSAccessKeyId=|Expires=|Signature=|[ -~é]|&|%){0,20}",
        path in ".{0,30}",
        date in "([0-9TZ]{15,17}|.{0,30})",
        sha256 in "([0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]{0,40}|[ -~]{0,10})",
        now_s in any::<i64>(),
        s3 in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", authorization), ("x-amz-date", date), ("x-amz-content-sha256", sha256)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        let request = RequestParts { method: "GET", path: &path, query: &query, authority: None, headers: &headers };
        let _ = Credential::unverified(&request);
        let options = if s3 { VerifyOptions::s3() } else { VerifyOptions::any() };
        let result = Claim::read(&request).and_then(|claim| match claim {
            Some(claim) => Verifier::new().verify(&request, &claim, SECRET, Body::Streamed, now_s, &options).map(|_| ()),
            None => Ok(()),
        });
        if let Err(error) = result {
            for family in [Family::Json, Family::RestJson, Family::Query, Family::S3] {
                prop_assert!(!error.code(family).is_empty() && !error.message(family).is_empty());
                prop_assert!((400..500).contains(&error.status(family)));
            }
        }
    }
}

/// A body as a client of ours sends it, and the headers it belongs to.
struct Upload {
    headers: HeaderMap,
    body: Vec<u8>,
    data: Vec<u8>,
    trailers: Vec<(String, String)>,
}

fn upload(chunks: &[Vec<u8>], signed: bool, trailer: bool) -> Upload {
    let data = chunks.concat();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("x-amz-decoded-content-length", HeaderValue::from(data.len()));
    if trailer {
        headers.insert("x-amz-trailer", HeaderValue::from_static("x-amz-checksum-crc32, x-amz-meta-note"));
    }
    let payload =
        if signed { PayloadToSign::SignedChunks { trailer } } else { PayloadToSign::UnsignedChunks };
    let signer = Signer::new("AKID", SECRET, "us-east-1", "s3");
    let signed_request = signer.sign_headers("PUT", "/b/k", "", &mut headers, payload, NOW_S).unwrap();
    let mut writer = if signed { signed_request.chunks } else { ChunkSigner::unsigned() };
    let mut body = Vec::new();
    for chunk in chunks {
        writer.chunk(chunk, &mut body);
    }
    let pairs = [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-meta-note", "a b")];
    writer.finish(trailer.then_some(&pairs), &mut body);
    let trailers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Upload { headers, body, data, trailers: if trailer { trailers } else { Vec::new() } }
}

fn decoder(upload: &Upload) -> ChunkDecoder {
    let request =
        RequestParts { method: "PUT", path: "/b/k", query: "", authority: None, headers: &upload.headers };
    let claim = Claim::read(&request).unwrap().unwrap();
    let verified = Verifier::new()
        .verify(&request, &claim, SECRET, Body::Streamed, NOW_S, &VerifyOptions::s3())
        .unwrap();
    let BodyCheck::Chunks { trailer, signing } = verified.body else { panic!("{:?}", verified.body) };
    ChunkDecoder::new(&upload.headers, trailer, signing).unwrap()
}

type Decoded = (Vec<u8>, Vec<(String, String)>);

fn decode(mut decoder: ChunkDecoder, body: &[u8], piece: usize) -> Result<Decoded, AuthError> {
    let mut data = Vec::new();
    for piece in body.chunks(piece) {
        decoder.push(Bytes::copy_from_slice(piece), &mut data)?;
    }
    Ok((data.concat(), decoder.finish()?))
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (vec((8192..9000_usize, any::<u8>()), 0..3), 0..3000_usize).prop_map(|(whole, last)| {
        let mut chunks: Vec<Vec<u8>> = whole.into_iter().map(|(size, byte)| vec![byte; size]).collect();
        chunks.push(vec![b'z'; last]);
        chunks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn chunked_bodies_come_back_whole(chunks in chunks(), signed: bool, trailer: bool, piece in 1..5000_usize) {
        let upload = upload(&chunks, signed, trailer || !signed);
        let decoded = decode(decoder(&upload), &upload.body, piece);
        prop_assert_eq!(decoded, Ok((upload.data.clone(), upload.trailers.clone())));
    }

    #[test]
    fn a_signed_chunked_body_cannot_be_changed_or_cut(chunks in chunks(), trailer: bool, at in any::<Index>(), flip in 1..=255_u8) {
        let upload = upload(&chunks, true, trailer);
        let at = at.index(upload.body.len());
        prop_assert!(decode(decoder(&upload), &upload.body[..at], 4096).is_err());
        let mut changed = upload.body.clone();
        changed[at] ^= flip;
        // A size may change from small to capital letters, or a space be added around a trailing header; all else shows.
        if let Ok(decoded) = decode(decoder(&upload), &changed, 4096) {
            prop_assert_eq!(decoded, (upload.data.clone(), upload.trailers.clone()));
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        body in vec(prop_oneof![Just(b"5;chunk-signature=".to_vec()), Just(b"\r\n".to_vec()), Just(b"0".to_vec()), Just(b"ffffffffffffffff".to_vec()), vec(any::<u8>(), 0..20)], 0..30),
        length in any::<u64>(),
        trailer: bool,
        piece in 1..50_usize,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-decoded-content-length", HeaderValue::from(length));
        let decoder = ChunkDecoder::new(&headers, trailer, None).unwrap();
        let _ = decode(decoder, &body.concat(), piece);
    }
}

fn plain(body: &[u8], length: &str, trailer: Option<&str>) -> Result<Decoded, AuthError> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-decoded-content-length", length.parse().unwrap());
    if let Some(trailer) = trailer {
        headers.insert("x-amz-trailer", trailer.parse().unwrap());
    }
    decode(ChunkDecoder::new(&headers, trailer.is_some(), None)?, body, 3)
}

#[test]
fn a_body_must_be_in_order() {
    let whole = Ok((b"hello".to_vec(), Vec::new()));
    assert_eq!(plain(b"5\r\nhello\r\n0\r\n\r\n", "5", None), whole);
    assert_eq!(plain(b"5;chunk-signature=unseen\r\nhello\r\n0;chunk-signature=x\r\n\r\n", "5", None), whole);
    for broken in [
        &b""[..],
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhello\r\n0\r\n\rX",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"6\r\nhello!\r\n0\r\n\r\n",
        b"4\r\nhell\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ] {
        assert_eq!(plain(broken, "5", None), Err(AuthError::IncompleteBody), "{}", broken.escape_ascii());
    }
    assert_eq!(plain(&[b'0'; 2000], "5", None), Err(AuthError::IncompleteBody));
    for length in ["", "-1", "five", "99999999999999999999"] {
        assert_eq!(plain(b"", length, None), Err(AuthError::MissingDecodedLength));
    }
}

#[test]
fn only_the_last_chunk_may_be_small() {
    let error = plain(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "5", None).unwrap_err();
    assert_eq!(error.code(Family::S3), "InvalidChunkSizeError");
    assert_eq!(error.fields(), [("Chunk", "2".to_owned()), ("BadChunkSize", "3".to_owned())]);
}

#[test]
fn trailing_headers_must_be_the_announced_ones() {
    let body = |trailer: &str| format!("5\r\nhello\r\n0\r\n{trailer}\r\n").into_bytes();
    let crc = Some("x-amz-checksum-crc32");
    let came = vec![("x-amz-checksum-crc32".to_owned(), "NhCmhg==".to_owned())];
    let right = plain(&body("X-Amz-Checksum-CRC32: NhCmhg==\r\n"), "5", crc);
    assert_eq!(right, Ok((b"hello".to_vec(), came)));
    let twice = "x-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:b\r\n";
    let long = format!("x-amz-checksum-crc32:{}\r\n", "a".repeat(20_000));
    for wrong in ["", "x-amz-checksum-sha1:a\r\n", "x-amz-checksum-crc32 a\r\n", ":a\r\n", twice, &long] {
        assert_eq!(plain(&body(wrong), "5", crc), Err(AuthError::MalformedTrailer), "{wrong}");
    }
    assert_eq!(plain(&body("x-amz-checksum-crc32:a\r\n"), "5", None), Err(AuthError::MalformedTrailer));
    assert_eq!(plain(&body("x-amz-checksum-crc32:a\r\n"), "5", Some("")), Err(AuthError::MalformedTrailer));
}

#[test]
fn the_announced_words_are_what_the_signer_writes() {
    for (payload, word) in [
        (PayloadToSign::Unsigned, Payload::Unsigned),
        (PayloadToSign::SignedChunks { trailer: true }, Payload::SignedChunks { trailer: true }),
        (PayloadToSign::UnsignedChunks, Payload::UnsignedChunks),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        Signer::new("AKID", SECRET, "us-east-1", "s3")
            .sign_headers("PUT", "/", "", &mut headers, payload, NOW_S)
            .unwrap();
        assert_eq!(Payload::parse(headers["x-amz-content-sha256"].to_str().unwrap()), Ok(word));
    }
}
