//! `/_tidemill/…`: what the command line asks of a running platform. JSON in, JSON out.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tidemill_api::{Fault, WriteShape};
use tidemill_delivery::ledger;
use tidemill_events::EventBridge;
use tidemill_platform::{Cx, HttpBody, HttpService, Platform};
use tidemill_wire::value::{ValueReader, to_value};

use crate::wiring;

/// A request's body is no larger than this (function code goes through S3).
const MOST_BODY: usize = 16 << 20;
/// Steps of one journey that are shown.
const MOST_STEPS: usize = 1000;

pub struct Internal {
    platform: Arc<Platform>,
    events: Arc<EventBridge>,
}

impl Internal {
    pub fn new(platform: Arc<Platform>, events: Arc<EventBridge>) -> Internal {
        Internal { platform, events }
    }
}

impl HttpService for Internal {
    fn call(
        &self,
        cx: Cx,
        request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        let (platform, events) = (self.platform.clone(), self.events.clone());
        Box::pin(async move {
            let path = request.uri().path().trim_start_matches("/_tidemill/").to_string();
            let answer = match path.strip_prefix("events/explain/") {
                Some(bus) => explain(&events, &cx, bus, request).await,
                None => answer(&platform, &events, cx, request).await,
            };
            match answer {
                Ok(value) => respond(StatusCode::OK, &value),
                Err(fault) => {
                    let status =
                        StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    respond(status, &json!({ "code": fault.code(), "message": fault.message() }))
                }
            }
        })
    }
}

async fn answer(
    platform: &Arc<Platform>,
    events: &EventBridge,
    cx: Cx,
    request: Request<HttpBody>,
) -> Result<Value, Fault> {
    let path = request.uri().path().trim_start_matches("/_tidemill/").to_string();
    let method = request.method().clone();
    let parts: Vec<&str> = path.split('/').collect();
    match (method, parts.as_slice()) {
        (Method::GET, ["clock"]) => Ok(clock(platform)),
        (Method::POST, ["clock", "advance", millis]) => advance(platform, millis).await,
        (Method::GET, ["journey", id]) => {
            let steps = ledger::journey(&platform.store, id, MOST_STEPS).map_err(Fault::internal)?;
            serde_json::to_value(events.with_not_matched(steps)?).map_err(Fault::internal)
        }
        (Method::GET, ["journeys"]) => {
            let firsts = ledger::recent(&platform.store, 20).map_err(Fault::internal)?;
            serde_json::to_value(firsts).map_err(Fault::internal)
        }
        (Method::PUT, ["object", bucket, ..]) => {
            let key = path.splitn(3, '/').nth(2).unwrap_or_default().to_string();
            let body = body(request, 300 << 20).await?;
            let objects = platform.doors.objects.ask("S3")?;
            objects.make_bucket(&cx, bucket).await?;
            objects.put(&cx, bucket, &key, body, "application/octet-stream").await?;
            Ok(json!({}))
        }
        (Method::POST, ["call", service, operation]) => {
            let body = body(request, MOST_BODY).await?;
            let input = if body.is_empty() {
                json!({})
            } else {
                serde_json::from_slice(&body).map_err(|error| Fault::validation(error.to_string()))?
            };
            call(platform, cx, service, operation, &input).await
        }
        _ => Err(Fault::new("NotFound", format!("there is nothing at /_tidemill/{path}")).with_status(404)),
    }
}

/// What every rule of a bus says of an event.
async fn explain(
    events: &EventBridge,
    cx: &Cx,
    bus: &str,
    request: Request<HttpBody>,
) -> Result<Value, Fault> {
    let body = body(request, MOST_BODY).await?;
    let event = serde_json::from_slice(&body).map_err(|error| Fault::validation(error.to_string()))?;
    events.explain(cx, Some(bus), &event)
}

/// Runs an operation of a service by name.
async fn call(
    platform: &Arc<Platform>,
    cx: Cx,
    service: &str,
    operation: &str,
    input: &Value,
) -> Result<Value, Fault> {
    let service = platform
        .doors
        .service(service)
        .ok_or_else(|| Fault::not_implemented(format!("the service {service}")))?;
    let at = service.meta.operations.iter().position(|known| known.name == operation);
    let at = at.ok_or_else(|| Fault::not_implemented(format!("{operation} of {}", service.meta.id)))?;
    let mut reader = ValueReader::new(input);
    let call = service
        .read(at, &mut reader)
        .ok_or_else(|| Fault::not_implemented(format!("{operation} of {}", service.meta.id)))?;
    let call = call.map_err(|error| Fault::validation(error.message))?;
    let output: Box<dyn WriteShape> = call.run(cx).await?;
    Ok(to_value(&*output))
}

fn clock(platform: &Platform) -> Value {
    let now = platform.clock.now().millis();
    json!({ "now_ms": now, "ahead_ms": platform.clock.offset_ms() })
}

async fn advance(platform: &Arc<Platform>, millis: &str) -> Result<Value, Fault> {
    let millis: u64 = millis
        .parse()
        .map_err(|_| Fault::validation("the clock advances by a whole number of milliseconds"))?;
    platform.clock.advance(Duration::from_millis(millis));
    wiring::keep_clock(platform).map_err(|error| Fault::internal(error.to_string()))?.await;
    Ok(clock(platform))
}

async fn body(request: Request<HttpBody>, most: usize) -> Result<Bytes, Fault> {
    let mut body = request.into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::validation(error.to_string()))?;
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if read.len() > most {
            return Err(Fault::validation(format!("the body is larger than {most} bytes")).with_status(413));
        }
    }
    Ok(Bytes::from(read))
}

fn respond(status: StatusCode, value: &Value) -> Response<HttpBody> {
    let mut response =
        Response::new(Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
