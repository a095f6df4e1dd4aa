//! The examples AWS publishes: the S3 API Reference's (`AKIAIOSFODNN7EXAMPLE`, 2013-05-24) and the Signature Version 4
//! test suite's (`AKIDEXAMPLE`, 2015-08-30). Each is verified, and what the signer can make is made.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use tidemill_sigv4::{
    AuthError, Body, BodyCheck, ChunkDecoder, Claim, PayloadToSign, RequestParts, Signer, Verified, Verifier,
    VerifyOptions,
};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2013-05-24T00:00:00Z
const NOW_S: i64 = 1_369_353_600;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}

fn authorization(signed_headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed_headers},Signature={signature}"
    )
}

fn verify_s3(
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    now_s: i64,
) -> Result<Verified, AuthError> {
    let request = RequestParts { method, path, query, authority: None, headers };
    let claim = Claim::read(&request)?.ok_or(AuthError::MissingToken)?;
    let options = VerifyOptions::s3().in_region("us-east-1");
    Verifier::new().verify(&request, &claim, SECRET, Body::Streamed, now_s, &options)
}

struct S3Example {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    payload: PayloadToSign<'static>,
    sha256: &'static str,
    signed_headers: &'static str,
    signature: &'static str,
}

const S3_EXAMPLES: [S3Example; 4] = [
    S3Example {
        method: "GET",
        path: "/test.txt",
        query: "",
        headers: &[("range", "bytes=0-9")],
        payload: PayloadToSign::Bytes(b""),
        sha256: EMPTY,
        signed_headers: "host;range;x-amz-content-sha256;x-amz-date",
        signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    S3Example {
        method: "PUT",
        path: "/test$file.text",
        query: "",
        headers: &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        payload: PayloadToSign::Bytes(b"Welcome to Amazon S3."),
        sha256: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        signed_headers: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    S3Example {
        method: "GET",
        path: "/",
        query: "lifecycle",
        headers: &[],
        payload: PayloadToSign::Bytes(b""),
        sha256: EMPTY,
        signed_headers: "host;x-amz-content-sha256;x-amz-date",
        signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    S3Example {
        method: "GET",
        path: "/",
        query: "max-keys=2&prefix=J",
        headers: &[],
        payload: PayloadToSign::Bytes(b""),
        sha256: EMPTY,
        signed_headers: "host;x-amz-content-sha256;x-amz-date",
        signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
];

#[test]
fn s3_header_examples_are_made_and_verified() {
    let signer = Signer::new(KEY, SECRET, "us-east-1", "s3");
    for example in &S3_EXAMPLES {
        let S3Example { method, path, query, payload, .. } = *example;
        let mut made = headers(example.headers);
        made.insert("host", "examplebucket.s3.amazonaws.com".parse().unwrap());
        let signed = signer.sign_headers(method, path, query, &mut made, payload, NOW_S).unwrap();
        assert_eq!(signed.signature, example.signature, "{method} {path}?{query}");
        assert_eq!(made["x-amz-content-sha256"], example.sha256);

        let as_documented = authorization(example.signed_headers, example.signature);
        made.insert("authorization", as_documented.parse().unwrap());
        let verified = verify_s3(method, path, query, &made, NOW_S + 899).unwrap();
        assert!(matches!(verified.body, BodyCheck::Sha256(hash) if hex::encode(hash) == example.sha256));
        assert!(matches!(verify_s3(method, path, query, &made, NOW_S - 901), Err(AuthError::Skewed { .. })));
    }
}

#[test]
fn the_s3_presigned_example_is_made_and_verified() {
    let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let signer = Signer::new(KEY, SECRET, "us-east-1", "s3");
    let query = signer.presign("GET", "examplebucket.s3.amazonaws.com", "/test.txt", "", 86_400, NOW_S);
    assert!(query.ends_with(&format!("&X-Amz-Signature={signature}")), "{query}");

    let as_sent = headers(&[("host", "examplebucket.s3.amazonaws.com")]);
    let verified = verify_s3("GET", "/test.txt", &query, &as_sent, NOW_S + 86_399).unwrap();
    assert_eq!(verified.expires_at.unwrap().secs(), NOW_S + 86_400);
    assert!(matches!(verified.body, BodyCheck::Unsigned));
    let late = verify_s3("GET", "/test.txt", &query, &as_sent, NOW_S + 86_400);
    assert!(matches!(late, Err(AuthError::UrlExpired { .. })));
}

/// "Example: PUT Object" of chunked uploads: 65 KB of `a` in chunks of 64 KB and 1 KB, without and with a trailer.
struct Chunked {
    headers: HeaderMap,
    body: Vec<u8>,
}

fn chunked(signatures: [&str; 4], trailer: Option<[&str; 2]>) -> Chunked {
    let mut signed = vec![
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
    ];
    if trailer.is_some() {
        signed.push(("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"));
        signed.push(("x-amz-trailer", "x-amz-checksum-crc32c"));
    } else {
        signed.push(("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
        signed.push(("content-length", "66824"));
    }
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let [seed, first, second, last] = signatures;
    let authorization = authorization(&names.join(";"), seed);
    signed.push(("authorization", &authorization));
    let mut body = Vec::new();
    for (size, signature) in [(65_536, first), (1024, second), (0, last)] {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.resize(body.len() + size, b'a');
        body.extend_from_slice(if size > 0 { b"\r\n" } else { b"" });
    }
    if let Some([line, signature]) = trailer {
        body.extend_from_slice(format!("{line}\n\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    body.extend_from_slice(b"\r\n");
    Chunked { headers: headers(&signed), body }
}

fn decode(upload: Chunked, piece: usize) -> Result<(usize, Vec<(String, String)>), AuthError> {
    let verified = verify_s3("PUT", "/examplebucket/chunkObject.txt", "", &upload.headers, NOW_S)?;
    let BodyCheck::Chunks { trailer, signing } = verified.body else { panic!("{:?}", verified.body) };
    let mut decoder = ChunkDecoder::new(&upload.headers, trailer, signing)?;
    let mut data = Vec::new();
    for piece in upload.body.chunks(piece) {
        decoder.push(Bytes::copy_from_slice(piece), &mut data)?;
    }
    let trailers = decoder.finish()?;
    assert!(data.iter().all(|piece| piece.iter().all(|byte| *byte == b'a')));
    Ok((data.iter().map(Bytes::len).sum(), trailers))
}

const PLAIN: [&str; 4] = [
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const WITH_TRAILER: [&str; 4] = [
    "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const TRAILER: [&str; 2] =
    ["x-amz-checksum-crc32c:sOO8/Q==", "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"];

#[test]
fn the_chunked_example_verifies_in_any_pieces() {
    assert_eq!(chunked(PLAIN, None).body.len(), 66_824);
    for piece in [1, 7, 1000, 100_000] {
        assert_eq!(decode(chunked(PLAIN, None), piece), Ok((66_560, Vec::new())));
    }
}

#[test]
fn the_chunked_example_with_a_trailer_verifies() {
    for piece in [1, 100_000] {
        let trailers = vec![("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())];
        assert_eq!(decode(chunked(WITH_TRAILER, Some(TRAILER)), piece), Ok((66_560, trailers)));
    }
}

#[test]
fn a_changed_chunk_or_trailer_is_noticed() {
    for at in [100, 65_700] {
        let mut upload = chunked(PLAIN, None);
        upload.body[at] = b'b';
        assert!(matches!(decode(upload, 1000), Err(AuthError::Mismatch(_))), "{at}");
    }
    let swapped = [PLAIN[0], PLAIN[2], PLAIN[1], PLAIN[3]];
    assert!(matches!(decode(chunked(swapped, None), 1000), Err(AuthError::Mismatch(_))));
    let changed = ["x-amz-checksum-crc32c:sOO8/A==", TRAILER[1]];
    assert!(matches!(decode(chunked(WITH_TRAILER, Some(changed)), 1000), Err(AuthError::Mismatch(_))));
}

/// Name in the suite, method, path, query, further headers, body, signature.
type SuiteCase = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

const SUITE: [SuiteCase; 5] = [
    (
        "get-vanilla",
        "GET",
        "/",
        "",
        &[],
        "",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/",
        "Param2=value2&Param1=value1",
        &[],
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-utf8",
        "GET",
        "/ሴ",
        "",
        &[],
        "",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    (
        "post-vanilla",
        "POST",
        "/",
        "",
        &[],
        "",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        "",
        &[("content-type", "application/x-www-form-urlencoded")],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
];

#[test]
fn the_test_suite_is_made_and_verified() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let signer = Signer::new("AKIDEXAMPLE", secret, "us-east-1", "service");
    let now_s = 1_440_938_160;
    for (name, method, path, query, extra, body, signature) in SUITE {
        let mut made = headers(extra);
        made.insert("host", "example.amazonaws.com".parse().unwrap());
        let payload = PayloadToSign::Bytes(body.as_bytes());
        let signed = signer.sign_headers(method, path, query, &mut made, payload, now_s).unwrap();
        assert_eq!(signed.signature, signature, "{name}");
        let request = RequestParts { method, path, query, authority: None, headers: &made };
        let claim = Claim::read(&request).unwrap().unwrap();
        let options = VerifyOptions::service(&["service"]);
        let verified =
            Verifier::new().verify(&request, &claim, secret, Body::Whole(body.as_bytes()), now_s, &options);
        assert!(matches!(verified.unwrap().body, BodyCheck::Checked), "{name}");
    }
}
