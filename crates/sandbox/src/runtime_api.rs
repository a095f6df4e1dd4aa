//! The Runtime API, version 2018-06-01, served to one sandbox on its own listener: how `provided` runtimes get their invocations.
//!
//! Left out for now: the Extensions and Telemetry APIs (answered with a clear refusal) and streamed responses (collected whole).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::Invocation;
use crate::channel::RESPONSE_MAX;

const VERSION: &str = "/2018-06-01/runtime/";

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
    /// `body` is `None` when it was larger than Lambda allows.
    Response {
        body: Option<Bytes>,
    },
    Error {
        kind: String,
        body: Bytes,
    },
}

/// The platform's end.
pub struct ApiLink {
    pub jobs: mpsc::Sender<Job>,
    pub events: mpsc::Receiver<Event>,
    _server: JoinSet<()>,
}

struct Api {
    jobs: Mutex<mpsc::Receiver<Job>>,
    events: mpsc::Sender<Event>,
    current: parking_lot::Mutex<Option<String>>,
}

impl ApiLink {
    /// Serves `listener` until dropped.
    pub fn serve(listener: TcpListener) -> Self {
        let (jobs, jobs_end) = mpsc::channel(1);
        let (events_end, events) = mpsc::channel(4);
        let api = Arc::new(Api {
            jobs: Mutex::new(jobs_end),
            events: events_end,
            current: parking_lot::Mutex::new(None),
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, api));
        Self { jobs, events, _server: server }
    }
}

async fn accept(listener: TcpListener, api: Arc<Api>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let _ = stream.set_nodelay(true);
                let api = api.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(api.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Result<Answer, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let Some(path) = parts.uri.path().strip_prefix(VERSION) else {
        return Ok(refuse(
            StatusCode::NOT_FOUND,
            "NotImplemented",
            "Only the Runtime API 2018-06-01 is served here; extensions and telemetry are not.",
        ));
    };
    let segments: Vec<&str> = path.split('/').collect();
    Ok(match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => next(&api).await,
        (&Method::POST, ["invocation", id, "response"]) => response(&api, id, body).await,
        (&Method::POST, ["invocation", id, "error"]) => error(&api, id, &parts.headers, body).await,
        (&Method::POST, ["init", "error"]) => init_error(&api, &parts.headers, body).await,
        _ => refuse(StatusCode::NOT_FOUND, "NotFound", "There is no such operation in the Runtime API."),
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

async fn error(api: &Api, id: &str, headers: &HeaderMap, body: Incoming) -> Answer {
    if !finish(api, id) {
        return invalid_id();
    }
    let body = collect(body).await.unwrap_or_default();
    let kind = error_type(headers, &body);
    let _ = api.events.send(Event::Error { kind, body }).await;
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

fn refuse(status: StatusCode, kind: &str, message: &str) -> Answer {
    with_status(status, serde_json::json!({ "errorType": kind, "errorMessage": message }))
}

fn with_status(status: StatusCode, body: serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    answer
}
