//! `/_tidemill/sns/…`: the outbox, to be read by tests and developers, and the outside world to be played by them.
//!
//! | request | does |
//! |---|---|
//! | `GET outbox?to=&protocol=&limit=` | shows the newest parcels, the oldest of them first |
//! | `DELETE outbox` | empties it |
//! | `PUT`, `DELETE unreachable/RECIPIENT` | nobody can be reached there; they can again |
//! | `PUT opted-out/NUMBER` | the owner of a phone answers STOP |

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tidemill_platform::{Cx, Fault, HttpBody, HttpService};

use crate::{Sns, outbox::Wanted};

/// Where the outbox is.
pub const PREFIX: &str = "/_tidemill/sns/";

const MOST_SHOWN: usize = 1000;

pub struct OutboxPath(pub Arc<Sns>);

impl HttpService for OutboxPath {
    fn call(
        &self,
        cx: Cx,
        request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        let sns = self.0.clone();
        Box::pin(async move {
            let path = request.uri().path().trim_start_matches(PREFIX).to_string();
            let query = request.uri().query().unwrap_or_default().to_string();
            match answer(&sns, &cx, request.method(), &path, &query).await {
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

async fn answer(sns: &Sns, cx: &Cx, method: &Method, path: &str, query: &str) -> Result<Value, Fault> {
    let (what, who) = path.split_once('/').unwrap_or((path, ""));
    let who = unescaped(who);
    match (method, what, who.as_str()) {
        (&Method::GET, "outbox", "") => sns.outbox.read(&wanted(query)).await,
        (&Method::DELETE, "outbox", "") => sns.outbox.empty().await.map(|()| json!({})),
        (&Method::PUT, "unreachable", to) if !to.is_empty() => {
            sns.outbox.set_reachable(to, false).await.map(|()| json!({}))
        }
        (&Method::DELETE, "unreachable", to) if !to.is_empty() => {
            sns.outbox.set_reachable(to, true).await.map(|()| json!({}))
        }
        (&Method::PUT, "opted-out", number) if !number.is_empty() => {
            sns.opt_out(cx, number).await.map(|()| json!({}))
        }
        _ => Err(Fault::new("NotFound", format!("there is nothing at {PREFIX}{path}")).with_status(404)),
    }
}

fn wanted(query: &str) -> Wanted {
    let mut wanted = Wanted { limit: 100, ..Wanted::default() };
    for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
        match name {
            "to" => wanted.to = Some(unescaped(value)),
            "protocol" => wanted.protocol = Some(unescaped(value)),
            "limit" => wanted.limit = value.parse().unwrap_or(100).clamp(1, MOST_SHOWN),
            _ => {}
        }
    }
    wanted
}

/// Undoes `%2B` and its like; a plus stays a plus, for phone numbers begin with one.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                plain.push(code);
                at += 3;
            }
            None => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn respond(status: StatusCode, value: &Value) -> Response<HttpBody> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_unescaped() {
        let wanted = wanted("to=%2B49&protocol=sms&limit=5000");
        assert_eq!(
            (wanted.to.as_deref(), wanted.protocol.as_deref(), wanted.limit),
            (Some("+49"), Some("sms"), 1000)
        );
        assert_eq!(unescaped("+49%4"), "+49%4");
    }
}
