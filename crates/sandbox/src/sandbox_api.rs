//! What a sandbox serves on its own 127.0.0.1:9001 (`AWS_LAMBDA_RUNTIME_API`): the Runtime API where the runtime speaks it, the Extensions
//! API and the Telemetry API. Nobody outside the sandbox reaches it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::FunctionSpec;
use crate::extensions::{self, Extensions};
use crate::runtime_api::{self, Api};
use crate::telemetry::{self, Telemetry};

/// A function's processes may have this many connections open here at once.
const CONNECTIONS_MAX: usize = 256;
/// Registrations and subscriptions are small.
const BODY_MAX: usize = 64 * 1024;

pub type Answer = Response<Full<Bytes>>;

/// What the requests of one sandbox are about.
pub struct Served {
    /// For runtimes that speak the Runtime API.
    pub runtime: Option<Arc<Api>>,
    pub extensions: Arc<Extensions>,
    pub telemetry: Arc<Telemetry>,
    pub function: Arc<FunctionSpec>,
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, served: Served) {
    let served = Arc::new(served);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else { return };
                let _ = stream.set_nodelay(true);
                let served = served.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| route(served.clone(), request));
                    let mut http = hyper::server::conn::http1::Builder::new();
                    let http = http.timer(TokioTimer::new()).header_read_timeout(None);
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn route(served: Arc<Served>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    if path.starts_with(runtime_api::VERSION) {
        return Ok(match &served.runtime {
            Some(api) => runtime_api::answer(api.clone(), request).await?,
            None => refuse(
                StatusCode::FORBIDDEN,
                "Runtime.NotServed",
                "This function's runtime has its invocations by another way than the Runtime API.",
            ),
        });
    }
    let (parts, body) = request.into_parts();
    let Some(body) = collect(body).await else {
        return Ok(refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            "The request is too large.",
        ));
    };
    if let Some(rest) = path.strip_prefix("/2020-01-01/extension/") {
        let (extensions, function) = (&served.extensions, &served.function);
        return Ok(extensions::answer(extensions, function, &parts.method, rest, &parts.headers, &body).await);
    }
    let caller = || {
        let id = extensions::identify(&served.extensions, &parts.headers)?;
        Ok(served.extensions.name_of(&id).unwrap_or_default())
    };
    Ok(match (&parts.method, path.trim_end_matches('/')) {
        (&Method::PUT, "/2022-07-01/telemetry") => match caller() {
            Ok(name) => telemetry::subscribe(&served.telemetry, &name, &body),
            Err(refusal) => extensions::forbid(refusal),
        },
        (_, "/2020-08-15/logs") => {
            let (kind, sentence) = telemetry::LOGS_REFUSED;
            refuse(StatusCode::NOT_IMPLEMENTED, kind, sentence)
        }
        _ => refuse(StatusCode::NOT_FOUND, "NotFound", "There is no such operation."),
    })
}

async fn collect(mut body: Incoming) -> Option<Bytes> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if collected.len() + data.len() > BODY_MAX {
            return None;
        }
        collected.extend_from_slice(&data);
    }
    Some(collected.freeze())
}

pub fn refuse(status: StatusCode, kind: &str, message: &str) -> Answer {
    with_status(status, serde_json::json!({ "errorType": kind, "errorMessage": message }))
}

pub fn with_status(status: StatusCode, body: serde_json::Value) -> Answer {
    let mut answer = plain(&body.to_string());
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    answer
}

pub fn plain(text: &str) -> Answer {
    Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())))
}
