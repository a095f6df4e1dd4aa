//! A request as a function sees it: payload format 2.0. Source: "Invoking Lambda function URLs", request payload.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tidemill_platform::Cx;

/// Where the request came in.
pub struct Address<'a> {
    pub id: &'a str,
    /// The host without its port.
    pub domain: &'a str,
    /// The caller signed and that counts.
    pub signed: bool,
}

/// The event of a request.
pub fn of(cx: &Cx, head: &Parts, body: &[u8], address: &Address<'_>) -> Value {
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
    });
    let cookies = cookies(&head.headers);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    event["headers"] = headers(cx, &head.headers);
    if !query.is_empty() {
        event["queryStringParameters"] = parameters(query);
    }
    event["requestContext"] = context(cx, head, path, address);
    let text = is_text(&head.headers).then(|| std::str::from_utf8(body).ok()).flatten();
    if !body.is_empty() {
        event["body"] = text.map_or_else(|| BASE64_STANDARD.encode(body), str::to_string).into();
    }
    event["isBase64Encoded"] = (!body.is_empty() && text.is_none()).into();
    event
}

fn context(cx: &Cx, head: &Parts, path: &str, address: &Address<'_>) -> Value {
    let request = cx.request();
    let at = jiff::Timestamp::from_millisecond(cx.now().millis()).unwrap_or_default();
    let mut context = json!({
        "accountId": if address.signed { request.account.as_str() } else { "anonymous" },
        "apiId": address.id,
        "domainName": address.domain,
        "domainPrefix": address.id,
        "http": {
            "method": head.method.as_str(),
            "path": path,
            "protocol": format!("{:?}", head.version),
            "sourceIp": request.source_ip,
            "userAgent": request.user_agent,
        },
        "requestId": request.id,
        "routeKey": "$default",
        "stage": "$default",
        "time": at.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "timeEpoch": cx.now().millis(),
    });
    if address.signed {
        let principal = &request.principal;
        context["authorizer"] = json!({"iam": {
            "accessKey": principal.access_key,
            "accountId": request.account,
            "callerId": principal.user_id,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": principal.arn,
            "userId": principal.user_id,
        }});
    }
    context
}

/// Headers that are of the connection, not of the request.
const OF_THE_CONNECTION: [HeaderName; 5] =
    [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];

/// Names in lower case; values of the same name are joined. Cookies have a member of their own.
fn headers(cx: &Cx, headers: &HeaderMap) -> Value {
    let mut all = Map::new();
    let passed = |name: &&HeaderName| **name != header::COOKIE && !OF_THE_CONNECTION.contains(*name);
    for name in headers.keys().filter(passed) {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        all.insert(name.to_string(), values.join(",").into());
    }
    let request = cx.request();
    let host = request.host.rsplit_once(':').map_or("80", |(_, port)| port);
    let forwarded = [
        ("x-forwarded-for", request.source_ip.clone()),
        ("x-forwarded-port", host.to_string()),
        ("x-forwarded-proto", if request.secure { "https" } else { "http" }.to_string()),
    ];
    for (name, value) in forwarded {
        all.entry(name).or_insert_with(|| value.into());
    }
    if !request.trace.root.is_empty() {
        all.entry("x-amzn-trace-id").or_insert_with(|| request.trace.to_string().into());
    }
    Value::Object(all)
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty())
        .map(str::to_string)
        .collect()
}

/// Decoded; values of the same name are joined by commas.
fn parameters(query: &str) -> Value {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut all = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match all.entry(decode(name)) {
            serde_json::map::Entry::Vacant(place) => drop(place.insert(value.into())),
            serde_json::map::Entry::Occupied(mut place) => {
                let joined = format!("{},{value}", place.get().as_str().unwrap_or_default());
                place.insert(joined.into());
            }
        }
    }
    Value::Object(all)
}

/// Bodies of other types reach functions in base64.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&kind.as_str())
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use tidemill_platform::{Platform, Trace};

    use super::*;

    fn event(request: http::request::Builder, body: &[u8]) -> Value {
        let cx = Platform::for_tests().cx("000000000000", "us-east-1", Trace::default());
        let (head, ()) = request.body(()).unwrap().into_parts();
        of(&cx, &head, body, &Address { id: "abc", domain: "abc.lambda-url.us-east-1.on.aws", signed: false })
    }

    #[tokio::test]
    async fn requests_become_events() {
        let request = http::Request::post("/a%20b?x=1&x=2&y=a%20b&z")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("Cookie", "a=1; b=2")
            .header("X-Many", "1")
            .header("X-Many", "2");
        let event = event(request, b"{\"n\":1}");
        assert_eq!(event["rawPath"], "/a%20b");
        assert_eq!(event["queryStringParameters"], json!({"x": "1,2", "y": "a b", "z": ""}));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(
            (event["headers"]["x-many"].clone(), event["headers"].get("cookie")),
            (json!("1,2"), None)
        );
        assert_eq!(
            (event["body"].clone(), event["isBase64Encoded"].clone()),
            (json!("{\"n\":1}"), json!(false))
        );
        assert_eq!(event["requestContext"]["http"]["method"], "POST");
        assert_eq!(event["requestContext"]["accountId"], "anonymous");
    }

    #[tokio::test]
    async fn other_bodies_come_in_base64() {
        let form = http::Request::post("/").header("Content-Type", "application/x-www-form-urlencoded");
        let form = event(form, b"a=1");
        assert_eq!((form["body"].clone(), form["isBase64Encoded"].clone()), (json!("YT0x"), json!(true)));
        let broken = event(http::Request::post("/").header("Content-Type", "text/plain"), b"\xff");
        assert_eq!(broken["isBase64Encoded"], true);
        let none = event(http::Request::get("/"), b"");
        assert_eq!((none.get("body"), none["isBase64Encoded"].clone()), (None, json!(false)));
    }
}
