//! The Runtime API, version 2018-06-01, served to one sandbox on its own listener: how `provided` runtimes get their invocations.
//!
//! `sandbox_api.rs` is the server; this answers its part.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::channel::RESPONSE_MAX;
use crate::sandbox_api::{Answer, refuse, with_status};
use crate::{Invocation, Piece};

/// How the paths of its operations begin.
pub const VERSION: &str = "/2018-06-01/runtime/";

/// The header by which a runtime of ours says that it ends.
const ENDS: &str = "tidemill-runtime-ends";

/// An invocation as `/next` hands it out.
pub struct Job {
    pub invocation: Invocation,
    pub arn: String,
    pub deadline: SystemTime,
}

/// What the runtime said.
pub enum Event {
    /// It asked for the next invocation: init is over, or the last invocation is.
    Next,
    InitError {
        kind: String,
        body: Bytes,
    },
    /// A part of a streamed response, which an empty `Response` or an `Error` ends.
    Piece(Piece),
    /// `body` is `None` when it was larger than Lambda allows.
    Response {
        body: Option<Bytes>,
    },
    Error {
        kind: String,
        body: Bytes,
        /// Whether the runtime ends after it.
        last: bool,
    },
}

/// The platform's end.
pub struct ApiLink {
    pub jobs: mpsc::Sender<Job>,
    pub events: mpsc::Receiver<Event>,
    /// Takes what a runtime that was started ahead is to be.
    pub start: Option<oneshot::Sender<Bytes>>,
}

/// What one sandbox's requests are about.
pub struct Api {
    jobs: Mutex<mpsc::Receiver<Job>>,
    events: mpsc::Sender<Event>,
    current: parking_lot::Mutex<Option<String>>,
    start: parking_lot::Mutex<Option<oneshot::Receiver<Bytes>>>,
}

impl ApiLink {
    /// The platform's end, and what answers the runtime's requests.
    pub fn new() -> (Self, Arc<Api>) {
        let (jobs, jobs_end) = mpsc::channel(1);
        let (events_end, events) = mpsc::channel(4);
        let api = Api {
            jobs: Mutex::new(jobs_end),
            events: events_end,
            current: parking_lot::Mutex::default(),
            start: parking_lot::Mutex::default(),
        };
        (Self { jobs, events, start: None }, Arc::new(api))
    }

    /// For a runtime of ours, which asks what it is to be.
    pub fn told() -> (Self, Arc<Api>) {
        let (mut link, api) = Self::new();
        let (start, told) = oneshot::channel();
        link.start = Some(start);
        *api.start.lock() = Some(told);
        (link, api)
    }
}

/// Answers a request whose path begins with [`VERSION`].
pub async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Result<Answer, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix(VERSION).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    Ok(match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next(&api).await,
        (&Method::GET, ["tidemill", "start"]) => start(&api).await,
        (&Method::POST, ["invocation", id, "response"]) if streams(&parts.headers) => {
            streamed(&api, id, &parts.headers, body).await
        }
        (&Method::POST, ["invocation", id, "response"]) => response(&api, id, body).await,
        (&Method::POST, ["invocation", id, "error"]) => error(&api, id, &parts.headers, body).await,
        (&Method::POST, ["init", "error"]) => init_error(&api, &parts.headers, body).await,
        _ => no_operation(),
    })
}

async fn next(api: &Api) -> Answer {
    let _ = api.events.send(Event::Next).await;
    let Some(job) = api.jobs.lock().await.recv().await else {
        return refuse(StatusCode::GONE, "Sandbox.Gone", "The sandbox is being ended.");
    };
    *api.current.lock() = Some(job.invocation.request_id.clone());
    let deadline_ms = job.deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut answer = Response::new(Full::new(job.invocation.payload));
    let headers = answer.headers_mut();
    let mut set = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value.and_then(|v| HeaderValue::from_str(v).ok()) {
            headers.insert(name, value);
        }
    };
    set("content-type", Some("application/json"));
    set("lambda-runtime-aws-request-id", Some(&job.invocation.request_id));
    set("lambda-runtime-deadline-ms", Some(&deadline_ms.to_string()));
    set("lambda-runtime-invoked-function-arn", Some(&job.arn));
    set("lambda-runtime-trace-id", job.invocation.trace_header.as_deref());
    set("lambda-runtime-client-context", job.invocation.client_context.as_deref());
    set("lambda-runtime-cognito-identity", job.invocation.cognito_identity.as_deref());
    answer
}

/// Once, to the runtime that was started before its function was known.
async fn start(api: &Api) -> Answer {
    let told = api.start.lock().take();
    match told {
        Some(told) => told.await.map_or_else(|_| no_operation(), |start| Response::new(Full::new(start))),
        None => no_operation(),
    }
}

fn no_operation() -> Answer {
    refuse(StatusCode::NOT_FOUND, "NotFound", "There is no such operation in the Runtime API.")
}

async fn response(api: &Api, id: &str, body: Incoming) -> Answer {
    if !finish(api, id) {
        return invalid_id();
    }
    let body = collect(body).await;
    let too_large = body.is_none();
    let _ = api.events.send(Event::Response { body }).await;
    if too_large {
        let message = format!("Exceeded maximum allowed payload size ({RESPONSE_MAX} bytes).");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
    }
    accepted()
}

fn streams(headers: &HeaderMap) -> bool {
    headers.get("lambda-runtime-function-response-mode").is_some_and(|mode| mode == "streaming")
}

/// A response handed on as it comes; an error may follow it in trailers. The runtime waits while nobody takes its chunks.
async fn streamed(api: &Api, id: &str, headers: &HeaderMap, mut body: Incoming) -> Answer {
    if !finish(api, id) {
        return invalid_id();
    }
    let content_type = headers.get("content-type").and_then(|kind| kind.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    let _ = api.events.send(Event::Piece(Piece::Begin { content_type })).await;
    let mut end = Event::Response { body: Some(Bytes::new()) };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            end = truncated();
            break;
        };
        match frame.into_data() {
            Ok(data) => drop(api.events.send(Event::Piece(Piece::Data(data))).await),
            Err(frame) => end = frame.into_trailers().ok().and_then(failed_midway).unwrap_or(end),
        }
    }
    let _ = api.events.send(end).await;
    accepted()
}

/// The error in the trailers of a streamed response, its body in base64.
fn failed_midway(trailers: HeaderMap) -> Option<Event> {
    let kind = trailers.get("lambda-runtime-function-error-type")?.to_str().ok()?.to_owned();
    let body = trailers.get("lambda-runtime-function-error-body");
    let body = body.and_then(|body| BASE64_STANDARD.decode(body.as_bytes()).ok()).unwrap_or_default();
    Some(Event::Error { kind, body: body.into(), last: false })
}

/// The runtime's connection broke off.
fn truncated() -> Event {
    let kind = "Runtime.TruncatedHTTPRequest".to_owned();
    let body = serde_json::json!({ "errorType": kind, "errorMessage": "The response stream broke off." });
    Event::Error { kind, body: Bytes::from(body.to_string()), last: false }
}

async fn error(api: &Api, id: &str, headers: &HeaderMap, body: Incoming) -> Answer {
    if !finish(api, id) {
        return invalid_id();
    }
    let body = collect(body).await.unwrap_or_default();
    let kind = error_type(headers, &body);
    let last = headers.contains_key(ENDS);
    let _ = api.events.send(Event::Error { kind, body, last }).await;
    accepted()
}

async fn init_error(api: &Api, headers: &HeaderMap, body: Incoming) -> Answer {
    let body = collect(body).await.unwrap_or_default();
    let kind = error_type(headers, &body);
    let _ = api.events.send(Event::InitError { kind, body }).await;
    accepted()
}

/// Whether `id` is the running invocation, which it then is no more.
fn finish(api: &Api, id: &str) -> bool {
    let mut current = api.current.lock();
    let matches = current.as_deref() == Some(id);
    if matches {
        *current = None;
    }
    matches
}

fn error_type(headers: &HeaderMap, body: &Bytes) -> String {
    if let Some(kind) = headers.get("lambda-runtime-function-error-type").and_then(|v| v.to_str().ok()) {
        return kind.to_owned();
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.as_ref().and_then(|b| b.get("errorType")?.as_str()).unwrap_or("Runtime.Unknown").to_owned()
}

/// The whole body, or `None` when it is larger than a response may be; the rest is read and thrown away.
async fn collect(mut body: Incoming) -> Option<Bytes> {
    let mut collected = BytesMut::new();
    let mut fits = true;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        fits = fits && collected.len() + data.len() <= RESPONSE_MAX;
        if fits {
            collected.extend_from_slice(&data);
        }
    }
    fits.then(|| collected.freeze())
}

fn accepted() -> Answer {
    with_status(StatusCode::ACCEPTED, serde_json::json!({ "status": "OK" }))
}

fn invalid_id() -> Answer {
    refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}
