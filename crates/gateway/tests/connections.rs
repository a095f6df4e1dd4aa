//! Connections: kept, shared, slow, broken off; handlers that panic or outlast their caller; shutdown.

mod support;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    Running,
    client::{Connection, exchange, request, say},
};
use tidemill_gateway::{Auth, Caller, GatewayConfig, Peer};
use tidemill_platform::Principal;
use tokio::net::TcpStream;

const HI: &str = r#"{"Text":"hi"}"#;
const WAIT: &str = r#"{"Text":"wait"}"#;

#[tokio::test]
async fn a_connection_is_kept_and_may_be_pipelined() {
    let running = Running::dev().await;
    let mut connection = Connection::open(running.address).await;
    let texts = ["one", "two", "three"];
    let requests: Vec<u8> = texts.iter().flat_map(|text| say(&format!(r#"{{"Text":"{text}"}}"#))).collect();
    connection.send(&requests).await;
    for text in texts {
        let reply = connection.reply().await.unwrap();
        assert!(reply.status == 200 && reply.body.contains(&format!("says {text}")), "{reply:?}");
    }
    connection.send(&say(HI)).await;
    assert_eq!(connection.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let running = Running::dev().await;
    let stream = TokioIo::new(TcpStream::connect(running.address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let requests = (0..20).map(|number| {
        let body = Full::new(Bytes::from(format!(r#"{{"Text":"{number}"}}"#)));
        let request = http::Request::post(format!("http://{}/", running.address))
            .header("x-amz-target", "DynamoDB_20120810.Say")
            .body(body)
            .unwrap();
        sender.send_request(request)
    });
    for (number, answer) in futures::future::join_all(requests).await.into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(&format!("says {number}")));
    }
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let running = Running::dev().await;
    let mut connection = Connection::open(running.address).await;
    for (text, status) in [("panic", 500), ("fail", 500), ("hi", 200)] {
        connection.send(&say(&format!(r#"{{"Text":"{text}"}}"#))).await;
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply.status, status, "{reply:?}");
        if status == 500 {
            assert!(reply.body.contains("InternalFailure") && !reply.body.contains("told to"), "{reply:?}");
            assert!(reply.header("x-amzn-requestid").is_some());
        }
    }
}

#[tokio::test]
async fn a_handler_outlasts_its_caller() {
    let running = Running::dev().await;
    let mut connection = Connection::open(running.address).await;
    connection.send(&say(WAIT)).await;
    running.shared.begun.notified().await;
    drop(connection);
    // The next request is answered after the gateway has seen that the first caller left, or before: both are well.
    assert_eq!(exchange(running.address, &say(HI)).await.status, 200);
    running.shared.go.notify_one();
    running.shared.ended.notified().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_closes_what_rests() {
    let running = Running::dev().await;
    let (address, shared) = (running.address, running.shared.clone());
    let (mut busy, mut idle) = (Connection::open(address).await, Connection::open(address).await);
    idle.send(&say(HI)).await;
    assert_eq!(idle.reply().await.unwrap().status, 200);
    busy.send(&say(WAIT)).await;
    shared.begun.notified().await;
    let over = running.shut_down();
    idle.closed().await;
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
    assert!(!over.is_finished());
    shared.go.notify_one();
    let reply = busy.reply().await.unwrap();
    assert!(reply.status == 200 && reply.body.contains("says wait"), "{reply:?}");
    over.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_for_handlers_without_callers() {
    let running = Running::dev().await;
    let shared = running.shared.clone();
    let mut connection = Connection::open(running.address).await;
    connection.send(&say(WAIT)).await;
    shared.begun.notified().await;
    drop(connection);
    let over = running.shut_down();
    shared.go.notify_one();
    over.await.unwrap();
    // It has ended before the shutdown did, so this does not wait.
    shared.ended.notified().await;
}

#[tokio::test]
async fn idle_and_slow_connections_are_closed() {
    let config = GatewayConfig {
        idle_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        ..GatewayConfig::default()
    };
    let running = Running::with(config).await;
    for beginning in ["", "GET / HT", "PRI * HTTP/2", "POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut connection = Connection::open(running.address).await;
        connection.send(beginning.as_bytes()).await;
        connection.closed().await;
    }
    let mut kept = Connection::open(running.address).await;
    kept.send(&say(HI)).await;
    assert_eq!(kept.reply().await.unwrap().status, 200);
    kept.closed().await;

    let (target, length) = (("X-Amz-Target", "DynamoDB_20120810.Say"), ("Content-Length", "100"));
    let operation = request("POST /", &[target, length], b"{");
    let object = request("PUT /files/k", &[length], b"{");
    for (beginning, expected) in [(operation, "RequestTimeout"), (object, "the body stopped coming")] {
        let mut connection = Connection::open(running.address).await;
        connection.send(&beginning).await;
        let reply = connection.reply().await.unwrap();
        assert!(reply.body.contains(expected), "{reply:?}");
    }
}

#[tokio::test]
async fn a_handler_may_take_longer_than_a_connection_may_rest() {
    let running =
        Running::with(GatewayConfig { idle_timeout: Duration::from_millis(100), ..GatewayConfig::default() })
            .await;
    let mut connection = Connection::open(running.address).await;
    connection.send(&say(WAIT)).await;
    running.shared.begun.notified().await;
    // Another connection is closed for idleness meanwhile, twice over.
    for _ in 0..2 {
        Connection::open(running.address).await.closed().await;
    }
    running.shared.go.notify_one();
    assert_eq!(connection.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_refused_upload_is_read_to_its_end() {
    let running = Running::with(GatewayConfig { max_body: 1000, ..GatewayConfig::default() }).await;
    let mut connection = Connection::open(running.address).await;
    connection.send(&request("POST /", &[("X-Amz-Target", "AmazonSQS.Say")], &vec![b' '; 5 << 20])).await;
    assert_eq!(connection.reply().await.unwrap().status, 413);
    connection.send(&say(HI)).await;
    assert_eq!(connection.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn who_expects_a_100_is_told_before_sending() {
    let running = Running::with(GatewayConfig { max_body: 1000, ..GatewayConfig::default() }).await;
    let expect = ("Expect", "100-continue");
    let target = ("X-Amz-Target", "AmazonSQS.Say");
    let mut connection = Connection::open(running.address).await;
    connection.send(&request("POST /", &[target, expect, ("Content-Length", "5000")], b"")).await;
    assert_eq!(connection.reply().await.unwrap().status, 413);

    let mut connection = Connection::open(running.address).await;
    connection.send(&request("POST /", &[target, expect, ("Content-Length", "13")], b"")).await;
    assert_eq!(connection.reply().await.unwrap().status, 100);
    connection.send(HI.as_bytes()).await;
    assert_eq!(connection.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_function_s_connection_is_its_own() {
    let running = Running::dev().await;
    let function = Caller {
        account: "222233334444".into(),
        region: "eu-west-1".into(),
        principal: Principal {
            access_key: String::new(),
            arn: "arn:aws:sts::222233334444:assumed-role/loader/f".into(),
            user_id: "AROA:f".into(),
        },
    };
    for (auth, status, expected) in [
        (Auth::Dev, 200, "assumed-role/loader/f in eu-west-1"),
        (Auth::Enforce, 400, "UnrecognizedClientException"),
    ] {
        let running = Running::with(GatewayConfig { auth, ..GatewayConfig::default() }).await;
        let (mut ours, theirs) = tokio::io::duplex(4096);
        let peer = Peer { caller: Some(function.clone()), ..Peer::default() };
        let gateway = running.gateway.clone();
        tokio::spawn(async move { gateway.serve_connection(theirs, peer).await });
        let mut bytes = say(HI);
        let end = bytes.len() - HI.len() - 2;
        bytes.splice(end..end, *b"X-Amz-Date: 20231114T221320Z\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut ours, &bytes).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut ours, &mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(expected), "{answer}");
    }
    drop(running);
}
