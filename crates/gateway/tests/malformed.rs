//! Whatever arrives, the caller gets an error in the words of AWS and the gateway goes on.

mod support;

use std::io::Write;

use proptest::{
    prelude::any,
    test_runner::{Config, TestRunner},
};
use support::{
    Running,
    client::{Connection, exchange, request, say},
};
use tidemill_gateway::GatewayConfig;

const JSON: (&str, &str) = ("Content-Type", "application/x-amz-json-1.0");
const TARGET: (&str, &str) = ("X-Amz-Target", "DynamoDB_20120810.Say");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let running = Running::with(GatewayConfig { max_body: 1 << 20, ..GatewayConfig::default() }).await;
    let cbor = [("smithy-protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")];
    let nested = [b"{\"Text\":".as_slice(), &b"[".repeat(100_000)].concat();
    let gzipped = |body: &[u8]| request("POST /", &[TARGET, JSON, ("Content-Encoding", "gzip")], &gzip(body));
    let json = |body: &[u8]| request("POST /", &[TARGET, JSON], body);
    let chunked = |body: &[u8]| {
        let headers =
            [TARGET, JSON, ("Content-Encoding", "aws-chunked"), ("X-Amz-Decoded-Content-Length", "5")];
        request("POST /", &headers, body)
    };
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("not JSON", json(b"{\"Text\":"), 400, "SerializationException"),
        ("not UTF-8", json(b"{\"Text\":\"\xff\"}"), 400, "SerializationException"),
        ("a wrong type", json(b"{\"Text\":5}"), 400, "SerializationException"),
        ("deep nesting", json(&nested), 400, "SerializationException"),
        (
            "nothing",
            json(b""),
            400,
            "1 validation error detected: Value null at 'text' failed to satisfy constraint: Member must not be null",
        ),
        (
            "too long a value",
            json(format!("{{\"Text\":\"{}\"}}", "a".repeat(41)).as_bytes()),
            400,
            "Member must have length less than or equal to 40",
        ),
        (
            "a query that is not UTF-8",
            request("POST /", &[FORM], b"Action=Say&Version=2011-06-15&Text=%ff"),
            400,
            "<Code>MalformedInput</Code>",
        ),
        (
            "a form that is not UTF-8",
            request("POST /", &[FORM], b"Action=Say&Version=2011-06-15&Text=\xff"),
            400,
            "<Code>MissingAction</Code>",
        ),
        (
            "a query without what is needed",
            request("POST /", &[FORM], b"Action=Say&Version=2011-06-15"),
            400,
            "<Code>ValidationError</Code>",
        ),
        (
            "not CBOR",
            request("POST /service/CloudWatch/operation/Say", &cbor, b"\xff\xff"),
            400,
            "SerializationException",
        ),
        ("too large", json(&vec![b' '; (1 << 20) + 1]), 413, "RequestEntityTooLarge"),
        (
            "too large for REST",
            request("PUT /2015-03-31/greetings/ada", &[], &vec![b' '; (1 << 20) + 1]),
            413,
            "RequestTooLargeException",
        ),
        ("gzip", gzipped(b"{\"Text\":\"hi\"}"), 200, "says hi"),
        (
            "not gzip",
            request("POST /", &[TARGET, JSON, ("Content-Encoding", "gzip")], b"{}"),
            400,
            "SerializationException",
        ),
        ("a bomb", gzipped(&vec![b' '; 64 << 20]), 413, "RequestEntityTooLarge"),
        (
            "chunks without a length",
            request("POST /", &[TARGET, JSON, ("Content-Encoding", "aws-chunked")], b"0\r\n\r\n"),
            411,
            "MissingContentLength",
        ),
        ("broken chunks", chunked(b"5\r\nhel"), 400, "IncompleteBody"),
        ("larger chunks than announced", chunked(b"6\r\nhello!\r\n0\r\n\r\n"), 400, "IncompleteBody"),
        ("an odd method", request("TRACE /", &[], b""), 405, "MethodNotAllowed"),
    ];
    for (what, bytes, status, expected) in cases {
        let reply = exchange(running.address, &bytes).await;
        let text = format!("{}{}", reply.head, reply.body);
        assert!(reply.status == status && text.contains(expected), "{what}: {reply:?}");
    }
}

#[tokio::test]
async fn chunks_of_an_object_that_break_off_are_refused_by_the_gateway() {
    let running = Running::dev().await;
    let headers = [("Content-Encoding", "aws-chunked"), ("X-Amz-Decoded-Content-Length", "5")];
    for (body, status) in
        [(&b"5\r\nhello\r\n0\r\n\r\n"[..], 200), (b"5\r\nhel", 400), (b"zz\r\n", 400), (b"", 400)]
    {
        assert_eq!(exchange(running.address, &request("PUT /files/k", &headers, body)).await.status, status);
    }
}

#[tokio::test]
async fn bad_heads_end_the_connection_and_nothing_else() {
    let running = Running::dev().await;
    let many: String = (0..200).map(|number| format!("X-H{number}: v\r\n")).collect();
    let heads = [
        "\u{0}\u{1}\u{2}garbage\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nX-Large: {}\r\n\r\n", "a".repeat(100_000)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame of HTTP/2 at all, not even nearly".to_owned(),
    ];
    for head in heads {
        let mut connection = Connection::open(running.address).await;
        connection.send(head.as_bytes()).await;
        connection.closed().await;
    }
    assert_eq!(exchange(running.address, &say(r#"{"Text":"hi"}"#)).await.status, 200);
}

#[test]
fn no_body_and_no_header_brings_it_down() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.block_on(Running::dev());
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let value = "[ -~]{0,80}";
    runner
        .run(&(bytes, value, value, value, 0..6_usize), |(body, authorization, target, host, which)| {
            let line = [
                "POST /",
                "PUT /files/k",
                "GET /?Action=Say&Text=%zz",
                "POST /service/CloudWatch/operation/Say",
                "PUT /2015-03-31/greetings/%ff",
                "POST /000000000000/q",
            ][which];
            let types = [JSON, JSON, FORM, ("smithy-protocol", "rpc-v2-cbor"), JSON, FORM];
            let authorization = format!("AWS4-HMAC-SHA256 Credential={authorization}");
            let headers = [
                ("Authorization", authorization.trim()),
                ("X-Amz-Target", target.trim()),
                ("X-Amzn-Trace-Id", target.trim()),
                ("Host", host.trim()),
                types[which],
            ];
            let reply = runtime.block_on(exchange(running.address, &request(line, &headers, &body)));
            assert!(reply.status < 500 || reply.status == 501, "{reply:?}");
            Ok(())
        })
        .unwrap();
}
