//! How many signatures one core verifies and makes in a second:
//! `cargo run --release -p tidemill-sigv4 --example verifications`

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tidemill_sigv4::{
    Body, BodyCheck, ChunkDecoder, Claim, PayloadToSign, RequestParts, Signer, Verifier, VerifyOptions,
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW_S: i64 = 1_772_368_215;
const ROUNDS: u32 = 200_000;

fn main() {
    let body = br#"{"QueueUrl":"http://localhost:4566/000000000000/q","MessageBody":"hello"}"#;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "localhost:4566"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "AmazonSQS.SendMessage"),
        ("user-agent", "Boto3/1.43"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let signer = Signer::new("AKIDEXAMPLE", SECRET, "us-east-1", "sqs");
    let mut sign =
        || signer.sign_headers("POST", "/", "", &mut headers, PayloadToSign::Bytes(body), NOW_S).unwrap();
    report("signed", ROUNDS, || drop(black_box(sign())));

    let request = RequestParts { method: "POST", path: "/", query: "", authority: None, headers: &headers };
    let (verifier, options) = (Verifier::new(), VerifyOptions::service(&["sqs"]).in_region("us-east-1"));
    report("verified (read the claim, then verify)", ROUNDS, || {
        let claim = Claim::read(&request).unwrap().unwrap();
        black_box(verifier.verify(&request, &claim, SECRET, Body::Whole(body), NOW_S, &options).unwrap());
    });
    report("verified with a fresh key each time", ROUNDS / 2, || {
        let claim = Claim::read(&request).unwrap().unwrap();
        let fresh = Verifier::new();
        black_box(fresh.verify(&request, &claim, SECRET, Body::Whole(body), NOW_S, &options).unwrap());
    });
    chunks();
}

fn report(what: &str, rounds: u32, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    println!("{:>10.0} a second {what}", f64::from(rounds) / start.elapsed().as_secs_f64());
}

/// 64 MiB in signed chunks of 64 KiB.
fn chunks() {
    let data = vec![7_u8; 64 << 20];
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("x-amz-decoded-content-length", HeaderValue::from(data.len()));
    let signer = Signer::new("AKIDEXAMPLE", SECRET, "us-east-1", "s3");
    let payload = PayloadToSign::SignedChunks { trailer: false };
    let mut chunks = signer.sign_headers("PUT", "/b/k", "", &mut headers, payload, NOW_S).unwrap().chunks;
    let mut body = Vec::new();
    for chunk in data.chunks(64 << 10) {
        chunks.chunk(chunk, &mut body);
    }
    chunks.finish(None, &mut body);

    let request = RequestParts { method: "PUT", path: "/b/k", query: "", authority: None, headers: &headers };
    let claim = Claim::read(&request).unwrap().unwrap();
    let verified =
        Verifier::new().verify(&request, &claim, SECRET, Body::Streamed, NOW_S, &VerifyOptions::s3());
    let BodyCheck::Chunks { trailer, signing } = verified.unwrap().body else { return };
    let mut decoder = ChunkDecoder::new(&headers, trailer, signing).unwrap();
    let body = Bytes::from(body);
    let mut out = Vec::new();
    let start = Instant::now();
    for at in (0..body.len()).step_by(16 << 10) {
        out.clear();
        decoder.push(body.slice(at..body.len().min(at + (16 << 10))), &mut out).unwrap();
    }
    decoder.finish().unwrap();
    println!("{:>10.0} MiB a second of signed chunks decoded", 64.0 / start.elapsed().as_secs_f64());
}
