//! HTTP requests to endpoints outside the platform: SNS's subscriptions, EventBridge's API destinations.
//!
//! One client with pooled connections, over TLS with the system's certificates. An answer has a time limit and a size
//! limit, redirects are not followed: an endpoint can be slow, endless or lying, and holds up only its own request.

use std::{sync::OnceLock, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 32;
const CONNECT: Duration = Duration::from_secs(10);

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;
type Plain = Client<HttpConnector, Full<Bytes>>;

/// The client. The system's certificates are read when the first `https` endpoint is called.
#[derive(Default)]
pub struct Outbound {
    plain: OnceLock<Plain>,
    https: OnceLock<Result<Https, String>>,
}

/// What to send.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// `http` or `https`.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// For all of it, from connecting to the answer's last byte.
    pub timeout: Duration,
    /// Bytes of the answer's body that are kept; what comes after them is not read.
    pub max_answer: usize,
}

/// What the endpoint said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case. Values that are no text are left out.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// The body was longer than asked for.
    pub truncated: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself cannot be sent: its URL, method or a header is malformed.
    Malformed,
    /// No connection, or it broke.
    Connection,
    /// The time was over.
    Timeout,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Outbound {
    pub fn new() -> Outbound {
        Outbound::default()
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// [`Failure`] when there is none; any status is an answer.
    pub async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let limit = request.timeout;
        let late = || Failure {
            kind: Kind::Timeout,
            text: format!("the endpoint did not answer within {} ms", limit.as_millis()),
        };
        tokio::time::timeout(limit, self.exchange(request)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, request: Request) -> Result<Answer, Failure> {
        let most = request.max_answer;
        let built = build(request)?;
        let response = if built.uri().scheme_str() == Some("https") {
            let client = self.https.get_or_init(https).as_ref();
            client.map_err(|text| failure(Kind::Connection, text.clone()))?.request(built).await
        } else {
            self.plain.get_or_init(plain).request(built).await
        };
        let response = response.map_err(|error| failure(Kind::Connection, chain(&error)))?;
        let (head, body) = response.into_parts();
        let text = |value: &http::HeaderValue| value.to_str().ok().map(String::from);
        let headers = head.headers.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
        let headers = headers.collect();
        let (body, truncated) = read(body, most).await?;
        Ok(Answer { status: head.status.as_u16(), headers, body, truncated })
    }
}

fn build(request: Request) -> Result<http::Request<Full<Bytes>>, Failure> {
    let malformed = |error: http::Error| failure(Kind::Malformed, error.to_string());
    let mut built = http::Request::builder().method(request.method.as_str()).uri(&request.url);
    for (name, value) in &request.headers {
        built = built.header(name, value);
    }
    let built = built.body(Full::new(request.body)).map_err(malformed)?;
    match built.uri().scheme_str() {
        Some("http" | "https") if built.uri().host().is_some() => Ok(built),
        _ => Err(failure(Kind::Malformed, format!("{} is no http or https address", request.url))),
    }
}

async fn read(mut body: Incoming, most: usize) -> Result<(Bytes, bool), Failure> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure(Kind::Connection, chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = most - kept.len();
        kept.extend_from_slice(data.get(..data.len().min(room)).unwrap_or_default());
        if data.len() > room || (kept.len() == most && !body.is_end_stream()) {
            return Ok((kept.freeze(), true));
        }
    }
    Ok((kept.freeze(), false))
}

fn plain() -> Plain {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    pooled().build(connector)
}

fn https() -> Result<Https, String> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let roots = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("the system's certificates cannot be read: {error}"))?;
    Ok(pooled().build(roots.https_only().enable_http1().wrap_connector(connector)))
}

fn pooled() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_PER_HOST).pool_timer(TokioTimer::new());
    builder
}

fn failure(kind: Kind, text: String) -> Failure {
    Failure { kind, text }
}

/// An error with its causes: the outermost alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// An endpoint that answers every connection with the same bytes and then stays silent.
    async fn endpoint(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                tokio::spawn(async move {
                    let _ = stream.read(&mut request).await;
                });
            }
        });
        url
    }

    fn post(url: String) -> Request {
        Request {
            method: "POST".into(),
            url,
            body: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(2),
            max_answer: 8,
            ..Request::default()
        }
    }

    #[tokio::test]
    async fn answers_are_read_up_to_the_limit() {
        let outbound = Outbound::new();
        let short = endpoint("HTTP/1.1 201 Created\r\nX-Kind: a\r\ncontent-length: 2\r\n\r\nok").await;
        let answer = outbound.send(post(short)).await.unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.truncated), (201, &b"ok"[..], false));
        assert_eq!(answer.header("x-kind"), Some("a"));
        let long =
            endpoint("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n0123456789abcdef and no more").await;
        let answer = outbound.send(post(long)).await.unwrap();
        assert_eq!((&answer.body[..], answer.truncated), (&b"01234567"[..], true));
    }

    #[tokio::test]
    async fn redirects_are_answers() {
        let url =
            endpoint("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
                .await;
        assert_eq!(Outbound::new().send(post(url)).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn a_silent_endpoint_runs_out_of_time() {
        let url = endpoint("").await;
        let request = Request { timeout: Duration::from_millis(50), ..post(url) };
        assert_eq!(Outbound::new().send(request).await.unwrap_err().kind, Kind::Timeout);
    }

    #[tokio::test]
    async fn nobody_there_and_no_address() {
        let outbound = Outbound::new();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let gone = outbound.send(post(format!("http://{free}/"))).await.unwrap_err();
        assert_eq!(gone.kind, Kind::Connection);
        for url in ["/hook", "ftp://127.0.0.1/", "http://", "not an address"] {
            assert_eq!(outbound.send(post(url.into())).await.unwrap_err().kind, Kind::Malformed, "{url}");
        }
    }
}
