//! The Extensions API, version 2020-01-01, below `/2020-01-01/extension/`.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::registry::{Extensions, Failure, Refusal, uuid};
use crate::FunctionSpec;
use crate::sandbox_api::{Answer, refuse, with_status};

#[derive(Default, Deserialize)]
struct Register {
    #[serde(default)]
    events: Vec<String>,
}

/// Answers `path`, what follows `/2020-01-01/extension/`.
pub async fn answer(
    extensions: &Extensions,
    function: &FunctionSpec,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let name = text(headers, "lambda-extension-name");
    match (method, path) {
        (&Method::POST, "register") => register(extensions, function, name, headers, body),
        (&Method::GET, "event/next") => match identify(extensions, headers) {
            Ok(id) => next(extensions, &id).await,
            Err(refusal) => forbid(refusal),
        },
        (&Method::POST, "init/error" | "exit/error") => match identify(extensions, headers) {
            Ok(_) => failed(extensions, path, headers),
            Err(refusal) => forbid(refusal),
        },
        _ => refuse(StatusCode::NOT_FOUND, "NotFound", "There is no such operation in the Extensions API."),
    }
}

fn register(
    extensions: &Extensions,
    function: &FunctionSpec,
    name: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return forbid(Refusal(
            "Extension.InvalidExtensionName",
            "Missing Lambda-Extension-Name header".into(),
        ));
    };
    let wanted = if body.is_empty() { Ok(Register::default()) } else { serde_json::from_slice(body) };
    let Ok(Register { events }) = wanted else {
        return refuse(StatusCode::BAD_REQUEST, "InvalidRequestFormat", "The body is no registration.");
    };
    let id = match extensions.register(name, &events) {
        Ok(id) => id,
        Err(refusal) => return forbid(refusal),
    };
    let mut about = json!({
        "functionName": function.name,
        "functionVersion": function.version,
        "handler": function.handler,
    });
    let features = text(headers, "lambda-extension-accept-feature").unwrap_or_default();
    if features.split(',').any(|feature| feature.trim() == "accountId")
        && let (Some(account), Some(fields)) = (function.arn.split(':').nth(4), about.as_object_mut())
    {
        fields.insert("accountId".into(), account.into());
    }
    let mut answer = with_status(StatusCode::OK, about);
    set(&mut answer, "lambda-extension-identifier", &id);
    answer
}

async fn next(extensions: &Extensions, id: &str) -> Answer {
    let Some(event) = extensions.next(id).await else {
        return forbid(unknown(id));
    };
    let mut answer = with_status(StatusCode::OK, event);
    set(&mut answer, "lambda-extension-event-identifier", &uuid());
    answer
}

fn failed(extensions: &Extensions, path: &str, headers: &HeaderMap) -> Answer {
    if text(headers, "lambda-extension-function-error-type").is_none() {
        return forbid(Refusal(
            "Extension.MissingHeader",
            "Lambda-Extension-Function-Error-Type not found".into(),
        ));
    }
    let kind = if path == "init/error" { "Extension.InitError" } else { "Extension.ExitError" };
    extensions.fail(Failure { kind, message: "exit code 0".into() });
    with_status(StatusCode::ACCEPTED, json!({ "status": "OK" }))
}

/// The identifier of the extension that calls.
pub fn identify(extensions: &Extensions, headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(id) = text(headers, "lambda-extension-identifier") else {
        let sentence = "Missing Lambda-Extension-Identifier header";
        return Err(Refusal("Extension.MissingExtensionIdentifier", sentence.into()));
    };
    let dashes = [8, 13, 18, 23];
    let form = id.len() == 36
        && id
            .bytes()
            .enumerate()
            .all(|(at, byte)| if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
    if !form {
        let sentence = "Invalid Lambda-Extension-Identifier";
        return Err(Refusal("Extension.InvalidExtensionIdentifier", sentence.into()));
    }
    match extensions.name_of(id) {
        Some(_) => Ok(id.to_owned()),
        None => Err(unknown(id)),
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal("Extension.UnknownExtensionIdentifier", format!("Unknown extension {id}"))
}

pub fn forbid(refusal: Refusal) -> Answer {
    refuse(StatusCode::FORBIDDEN, refusal.0, &refusal.1)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn set(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
