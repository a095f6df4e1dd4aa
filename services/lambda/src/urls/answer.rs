//! A function's answer as HTTP. Source: "Invoking Lambda function URLs", response payload format.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

/// What a function returned. `None`: it cannot be an HTTP answer, which callers see as 502.
pub fn of(payload: &Bytes) -> Option<Response<Bytes>> {
    match serde_json::from_slice(payload) {
        Ok(Value::Object(answer)) if answer.contains_key("statusCode") => shaped(&answer),
        Ok(_) => Some(with_type(StatusCode::OK, "application/json", payload.clone())),
        Err(_) => None,
    }
}

fn shaped(answer: &Map<String, Value>) -> Option<Response<Bytes>> {
    let body = body(answer)?;
    let mut response = Response::new(body);
    head(answer, response.headers_mut(), "application/json")?;
    *response.status_mut() = status(answer)?;
    Some(response)
}

/// Headers and cookies; the type is `default_type` unless they say another.
pub fn head(
    answer: &Map<String, Value>,
    headers: &mut http::HeaderMap,
    default_type: &'static str,
) -> Option<()> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(default_type));
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => continue,
            _ => return None,
        };
        let name = HeaderName::try_from(name).ok()?;
        headers.insert(remapped(name)?, HeaderValue::try_from(text).ok()?);
    }
    for cookie in answer.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        headers.append(header::SET_COOKIE, HeaderValue::from_str(cookie.as_str()?).ok()?);
    }
    Some(())
}

/// What the platform says itself of an answer, a function says under another name.
fn remapped(name: HeaderName) -> Option<HeaderName> {
    let ours = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::DATE,
        header::SERVER,
        header::TRANSFER_ENCODING,
        header::WWW_AUTHENTICATE,
    ];
    if ours.contains(&name) {
        HeaderName::try_from(format!("x-amzn-remapped-{name}")).ok()
    } else {
        Some(name)
    }
}

pub fn status(answer: &Map<String, Value>) -> Option<StatusCode> {
    let number = match answer.get("statusCode") {
        None => return Some(StatusCode::OK),
        Some(Value::Number(number)) => number.as_u64()?,
        Some(Value::String(text)) => text.parse().ok()?,
        Some(_) => return None,
    };
    StatusCode::from_u16(u16::try_from(number).ok()?)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
}

fn body(answer: &Map<String, Value>) -> Option<Bytes> {
    let encoded = answer.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    match answer.get("body") {
        None | Some(Value::Null) => Some(Bytes::new()),
        Some(Value::String(text)) if encoded => BASE64_STANDARD.decode(text).ok().map(Bytes::from),
        Some(Value::String(text)) => Some(Bytes::from(text.clone())),
        Some(other) => Some(Bytes::from(other.to_string())),
    }
}

pub fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(payload: &str) -> Option<(u16, String, String)> {
        let response = of(&Bytes::from(payload.to_string()))?;
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_string();
        Some((response.status().as_u16(), kind, String::from_utf8_lossy(response.body()).into_owned()))
    }

    #[test]
    fn answers_are_read_as_lambda_does() {
        let json = |status, body: &str| Some((status, "application/json".to_string(), body.to_string()));
        for (payload, expected) in [
            ("\"Hello\"", json(200, "\"Hello\"")),
            ("null", json(200, "null")),
            (r#"{"message":"x"}"#, json(200, r#"{"message":"x"}"#)),
            (r#"{"statusCode":201,"body":"made"}"#, json(201, "made")),
            (r#"{"statusCode":"404"}"#, json(404, "")),
            (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, json(200, "hi")),
            (r#"{"statusCode":200,"body":{"a":1}}"#, json(200, r#"{"a":1}"#)),
            (r#"{"statusCode":"soon"}"#, None),
            (r#"{"statusCode":99}"#, None),
            (r#"{"statusCode":600}"#, None),
            (r#"{"statusCode":200,"headers":{"a b":"c"}}"#, None),
            (r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#, None),
        ] {
            assert_eq!(seen(payload), expected, "{payload}");
        }
        let html = r#"{"statusCode":200,"headers":{"Content-Type":"text/html"},"body":"<p>"}"#;
        assert_eq!(seen(html).unwrap().1, "text/html");
        let own = of(&Bytes::from_static(
            br#"{"statusCode":401,"headers":{"WWW-Authenticate":"Basic","Content-Length":"9"}}"#,
        ))
        .unwrap();
        assert_eq!(own.headers()["x-amzn-remapped-www-authenticate"], "Basic");
        assert_eq!(
            (
                own.headers()["x-amzn-remapped-content-length"].clone(),
                own.headers().get(header::CONTENT_LENGTH)
            ),
            (HeaderValue::from_static("9"), None)
        );
        let cookies = of(&Bytes::from_static(br#"{"statusCode":200,"cookies":["a=1","b=2"]}"#)).unwrap();
        assert_eq!(cookies.headers().get_all(header::SET_COOKIE).iter().count(), 2);
    }
}
