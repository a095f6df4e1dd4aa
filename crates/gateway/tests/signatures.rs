//! Under `--auth enforce` only what is signed with a known key gets in, body and all.

mod support;

use http::HeaderMap;
use support::{
    NOW_S, Running,
    client::{Reply, Signature, exchange, request},
};
use tidemill_sigv4::{ChunkSigner, PayloadToSign};

const SAY: [(&str, &str); 2] =
    [("x-amz-target", "DynamoDB_20120810.Say"), ("content-type", "application/x-amz-json-1.0")];
const BODY: &[u8] = br#"{"Text":"hi"}"#;
const S3: Signature<'static> =
    Signature { key: support::KEY, secret: support::SECRET, token: None, service: "s3", now_s: NOW_S };

async fn said(running: &Running, signature: Signature<'_>) -> Reply {
    exchange(running.address, &signature.request("POST /", &SAY, BODY)).await
}

#[tokio::test]
async fn a_known_key_is_its_holder() {
    let running = Running::enforcing().await;
    let reply = said(&running, Signature::default()).await;
    assert!(
        reply.status == 200 && reply.body.contains("arn:aws:iam::123456789012:user/ada in us-east-1"),
        "{reply:?}"
    );
    let session = Signature { key: "ASIASESSION", token: Some("fresh"), ..Signature::default() };
    let reply = said(&running, session).await;
    assert!(reply.status == 200 && reply.body.contains("assumed-role/loader/f"), "{reply:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_as_aws_says_it() {
    let running = Running::enforcing().await;
    let good = Signature::default();
    let cases = [
        (
            Signature { secret: "wrong", ..good },
            "#InvalidSignatureException",
            "The request signature we calculated does not match",
        ),
        (
            Signature { key: "AKIANOBODY", ..good },
            "#UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            Signature { key: "ASIASESSION", token: Some("other"), ..good },
            "#UnrecognizedClientException",
            "is invalid",
        ),
        (
            Signature { key: "ASIASESSION", token: Some("stale"), ..good },
            "#ExpiredTokenException",
            "The security token included in the request is expired",
        ),
        (
            Signature { now_s: NOW_S - 301, ..good },
            "#InvalidSignatureException",
            "Signature expired: 20231114T220819Z is now earlier than 20231114T220820Z (20231114T221320Z - 5 min.)",
        ),
        (Signature { now_s: NOW_S + 301, ..good }, "#InvalidSignatureException", "Signature not yet current"),
    ];
    for (signature, code, sentence) in cases {
        let reply = said(&running, signature).await;
        assert!(
            reply.status == 400 && reply.body.contains(code) && reply.body.contains(sentence),
            "{reply:?}"
        );
    }
    let unsigned = exchange(running.address, &request("POST /", &SAY, BODY)).await;
    assert!(
        unsigned.status == 400 && unsigned.body.contains("MissingAuthenticationTokenException"),
        "{unsigned:?}"
    );
    let mut tampered = good.request("POST /", &SAY, BODY);
    let length = tampered.len();
    tampered[length - 3] = b'!';
    let reply = exchange(running.address, &tampered).await;
    assert!(reply.status == 400 && reply.body.contains("InvalidSignatureException"), "{reply:?}");
}

#[tokio::test]
async fn only_operations_that_ask_for_no_signature_go_without() {
    let running = Running::enforcing().await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let openly = request("POST /", &form, b"Action=SayOpenly&Version=2011-06-15&Text=hi");
    assert_eq!(exchange(running.address, &openly).await.status, 200);
    let say = request("POST /", &form, b"Action=Say&Version=2011-06-15&Text=hi");
    let reply = exchange(running.address, &say).await;
    assert!(
        reply.status == 403 && reply.body.contains("<Code>MissingAuthenticationToken</Code>"),
        "{reply:?}"
    );
    let large = request("POST /", &form, format!("Action=SayOpenly&Text={}", "a".repeat(70_000)).as_bytes());
    assert_eq!(exchange(running.address, &large).await.status, 413);
}

#[tokio::test]
async fn internal_paths_are_open_or_want_a_signature() {
    let running = Running::enforcing().await;
    assert_eq!(exchange(running.address, &request("GET /_aws/sqs/messages", &[], b"")).await.status, 200);
    assert_eq!(exchange(running.address, &request("GET /_localstack/health", &[], b"")).await.status, 200);
    assert_eq!(exchange(running.address, &request("POST /_tidemill/clock", &[], b"")).await.status, 403);
    let signed = Signature { service: "tidemill", ..Signature::default() }.request(
        "POST /_tidemill/clock",
        &[],
        b"{}",
    );
    assert_eq!(exchange(running.address, &signed).await.status, 200);
}

#[tokio::test]
async fn s3_verifies_what_streams_through() {
    let running = Running::enforcing().await;
    let reply = exchange(running.address, &S3.request("PUT /files/k", &[], b"hello")).await;
    assert!(
        reply.status == 200
            && reply.body.contains("\nhello\n")
            && reply.body.contains("verified true")
            && !reply.body.contains("authorization"),
        "{reply:?}"
    );

    let mut tampered = S3.request("PUT /files/k", &[], b"hello");
    let length = tampered.len();
    tampered[length - 1] = b'!';
    let reply = exchange(running.address, &tampered).await;
    assert!(
        reply.status == 400 && reply.body.contains("<Code>XAmzContentSHA256Mismatch</Code>"),
        "{reply:?}"
    );

    let reply =
        exchange(running.address, &Signature { secret: "wrong", ..S3 }.request("GET /files", &[], b"")).await;
    assert!(reply.status == 403 && reply.body.contains("<Code>SignatureDoesNotMatch</Code>"), "{reply:?}");
    assert!(
        reply.body.contains("<StringToSign>AWS4-HMAC-SHA256") && reply.body.contains("<HostId>"),
        "{reply:?}"
    );

    let reply = exchange(running.address, &request("GET /files/k", &[], b"")).await;
    assert!(reply.status == 403 && reply.body.contains("<Code>AccessDenied</Code>"), "{reply:?}");
    let late = Signature { now_s: NOW_S - 901, ..S3 };
    let reply = exchange(running.address, &late.request("GET /files", &[], b"")).await;
    assert!(
        reply.status == 403
            && reply.body.contains("<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>"),
        "{reply:?}"
    );
}

#[tokio::test]
async fn presigned_urls_work_until_they_end() {
    let running = Running::enforcing().await;
    for (signed_ago_s, status) in [(0, 200), (59, 200), (60, 403)] {
        let query = S3.signer().presign("GET", "localhost:4566", "/files/k", "", 60, NOW_S - signed_ago_s);
        let reply = exchange(running.address, &request(&format!("GET /files/k?{query}"), &[], b"")).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
    let query = S3.signer().presign("GET", "localhost:4566", "/files/k", "", 60, NOW_S);
    let other = exchange(running.address, &request(&format!("GET /files/other?{query}"), &[], b"")).await;
    assert!(other.status == 403 && other.body.contains("SignatureDoesNotMatch"), "{other:?}");
}

/// A PUT in signed chunks with a checksum behind them; `tamper` changes the bytes of the body.
fn chunked(tamper: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let headers = [
        ("content-encoding", "aws-chunked,zstd"),
        ("x-amz-decoded-content-length", "10005"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let mut map = HeaderMap::new();
    map.insert("host", "localhost:4566".parse().unwrap());
    for (name, value) in headers {
        map.insert(name, value.parse().unwrap());
    }
    let payload = PayloadToSign::SignedChunks { trailer: true };
    let signed = S3.signer().sign_headers("PUT", "/files/k", "", &mut map, payload, NOW_S).unwrap();
    let (mut body, mut chunks) = (Vec::new(), signed.chunks);
    chunks.chunk(&[b'a'; 10_000], &mut body);
    chunks.chunk(b"hello", &mut body);
    chunks.finish(Some(&[("x-amz-checksum-crc32", "AAAAAA==")]), &mut body);
    tamper(&mut body);
    let headers: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    request("PUT /files/k", &headers, &body)
}

#[tokio::test]
async fn chunks_and_trailers_are_undone_and_verified() {
    let running = Running::enforcing().await;
    let reply = exchange(running.address, &chunked(|_| {})).await;
    assert!(reply.status == 200 && reply.body.contains("aaahello\n"), "{reply:?}");
    for expected in ["trailer x-amz-checksum-crc32=AAAAAA==", "content-encoding zstd", "content-length 10005"]
    {
        assert!(reply.body.contains(expected), "{expected}: {reply:?}");
    }
    let data = chunked(|body| body[5_000] = b'b');
    let reply = exchange(running.address, &data).await;
    assert!(reply.status == 403 && reply.body.contains("<Code>SignatureDoesNotMatch</Code>"), "{reply:?}");
    let trailer = chunked(|body| {
        let at = body.windows(8).position(|window| window == b"AAAAAA==").unwrap();
        body[at] = b'B';
    });
    let reply = exchange(running.address, &trailer).await;
    assert!(reply.status == 403 && reply.body.contains("<Code>SignatureDoesNotMatch</Code>"), "{reply:?}");
    let reply = exchange(running.address, &chunked(|body| body.truncate(9_000))).await;
    assert!(reply.status == 400 && reply.body.contains("<Code>IncompleteBody</Code>"), "{reply:?}");
}

#[tokio::test]
async fn unsigned_chunks_are_undone_without_keys_too() {
    let mut body = Vec::new();
    let mut chunks = ChunkSigner::unsigned();
    chunks.chunk(b"hello", &mut body);
    chunks.finish(Some(&[("x-amz-checksum-crc32", "NhCmhg==")]), &mut body);
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "5"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let signed = S3.headers("PUT /files/k", &headers, PayloadToSign::UnsignedChunks);
    let signed: Vec<_> =
        signed.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let bytes = request("PUT /files/k", &signed, &body);
    for running in [Running::dev().await, Running::enforcing().await] {
        let reply = exchange(running.address, &bytes).await;
        assert!(reply.status == 200 && reply.body.contains("\nhello\n"), "{reply:?}");
        assert!(reply.body.contains("trailer x-amz-checksum-crc32=NhCmhg=="), "{reply:?}");
    }
}

#[tokio::test]
async fn chunks_to_other_services_are_undone_and_verified() {
    let mut headers = SAY.to_vec();
    headers.extend([("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", "13")]);
    let mut map = HeaderMap::new();
    map.insert("host", "localhost:4566".parse().unwrap());
    for (name, value) in headers {
        map.insert(name, value.parse().unwrap());
    }
    let payload = PayloadToSign::SignedChunks { trailer: false };
    let signed =
        Signature::default().signer().sign_headers("POST", "/", "", &mut map, payload, NOW_S).unwrap();
    let (mut body, mut chunks) = (Vec::new(), signed.chunks);
    chunks.chunk(BODY, &mut body);
    chunks.finish(None, &mut body);
    let headers: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let good = request("POST /", &headers, &body);
    let at = body.windows(2).position(|window| window == b"hi").unwrap();
    body[at] = b'H';
    let bad = request("POST /", &headers, &body);
    let running = Running::enforcing().await;
    let reply = exchange(running.address, &good).await;
    assert!(reply.status == 200 && reply.body.contains("says hi"), "{reply:?}");
    let reply = exchange(running.address, &bad).await;
    assert!(reply.status == 400 && reply.body.contains("InvalidSignatureException"), "{reply:?}");
}

#[tokio::test]
async fn under_dev_known_keys_are_their_holders_and_others_accounts() {
    let running = Running::dev().await;
    for (key, expected) in [
        (support::KEY, "arn:aws:iam::123456789012:user/ada"),
        ("111122223333", "arn:aws:iam::111122223333:root"),
        ("test", "arn:aws:iam::000000000000:root"),
    ] {
        let reply = said(&running, Signature { key, secret: "any", now_s: 0, ..Signature::default() }).await;
        assert!(reply.status == 200 && reply.body.contains(expected), "{reply:?}");
    }
}
