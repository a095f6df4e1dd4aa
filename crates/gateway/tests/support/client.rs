//! Requests as bytes, answers as text.

use std::net::SocketAddr;

use http::HeaderMap;
use tidemill_sigv4::{PayloadToSign, Signer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{KEY, NOW_S, SECRET};

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A connection that stays open.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Connection {
        Connection { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads one answer; `None` when the other end closed before one began.
    pub async fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.more().await, "the answer broke off");
        }
        let body: Vec<u8> = self.read.drain(..length).collect();
        reply.body = String::from_utf8_lossy(&body).into_owned();
        Some(reply)
    }

    /// Reads one answer's head and leaves what follows.
    pub async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                return Some(String::from_utf8(self.read.drain(..at + 4).collect()).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads until the other end closes.
    pub async fn closed(&mut self) {
        while self.more().await {}
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.read.extend_from_slice(&buffer[..read]);
                true
            }
        }
    }
}

/// Sends one request on a connection of its own.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Reply {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    connection.reply().await.expect("an answer")
}

/// A request with a body, with a Host and a Content-Length unless they are given.
pub fn request(line: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\n");
    let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    if !given("host") {
        text.push_str("Host: localhost:4566\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !given("content-length") && !given("transfer-encoding") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A DynamoDB request of the operation `Say`.
pub fn say(body: &str) -> Vec<u8> {
    let headers = [
        ("X-Amz-Target", "DynamoDB_20120810.Say"),
        ("Content-Type", "application/x-amz-json-1.0"),
        (
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=test/20231114/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=x",
        ),
    ];
    request("POST /", &headers, body.as_bytes())
}

/// Who signs, what for and when.
#[derive(Clone, Copy)]
pub struct Signature<'a> {
    pub key: &'a str,
    pub secret: &'a str,
    pub token: Option<&'a str>,
    pub service: &'a str,
    pub now_s: i64,
}

impl Default for Signature<'_> {
    fn default() -> Self {
        Signature { key: KEY, secret: SECRET, token: None, service: "dynamodb", now_s: NOW_S }
    }
}

impl Signature<'_> {
    pub fn signer(&self) -> Signer {
        let signer = Signer::new(self.key, self.secret, "us-east-1", self.service);
        match self.token {
            Some(token) => signer.with_session_token(token),
            None => signer,
        }
    }

    /// A signed request, whose body is `body`.
    pub fn request(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let signed = self.headers(line, headers, PayloadToSign::Bytes(body));
        let signed: Vec<_> =
            signed.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        request(line, &signed, body)
    }

    pub fn headers(&self, line: &str, headers: &[(&str, &str)], payload: PayloadToSign<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert("host", "localhost:4566".parse().unwrap());
        for (name, value) in headers {
            map.insert(name.to_lowercase().parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.signer().sign_headers(method, path, query, &mut map, payload, self.now_s).unwrap();
        map
    }
}
