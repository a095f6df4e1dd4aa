//! The request that an API destination gets: its endpoint with path and query parameters, headers, and the event as the
//! body. What the connection adds goes before what the target adds. Source: "API destinations" in the EventBridge user
//! guide.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_input_transformer::InputPath;
use tidemill_outbound::Request;

use crate::{credentials::Parameters, destinations::DestinationRow};

/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read; the request's `Range` asks for no more.
const MOST_ANSWER: usize = 1 << 20;

/// `HttpParameters` of a target, or what an event made of them: values that are paths (`$.detail.id`) become what stands
/// there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpRow {
    #[serde(default)]
    pub path: Vec<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub query: BTreeMap<String, String>,
}

impl HttpRow {
    /// Whether the event is needed to know the values.
    pub fn has_paths(&self) -> bool {
        self.path.iter().chain(self.headers.values()).chain(self.query.values()).any(|text| is_path(text))
    }

    /// The parameters for one event. Headers and query parameters whose path leads nowhere are left out.
    pub fn filled(&self, event: &Value) -> HttpRow {
        let map = |values: &BTreeMap<String, String>| {
            values.iter().filter_map(|(name, value)| Some((name.clone(), fill(value, event)?))).collect()
        };
        HttpRow {
            path: self.path.iter().map(|value| fill(value, event).unwrap_or_default()).collect(),
            headers: map(&self.headers),
            query: map(&self.query),
        }
    }
}

pub fn is_path(text: &str) -> bool {
    text == "$" || text.starts_with("$.")
}

fn fill(value: &str, event: &Value) -> Option<String> {
    if !is_path(value) {
        return Some(value.into());
    }
    match InputPath::parse(value).ok()?.select(event)? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// The request for a payload, without authorization; `None` when the connection adds to a body that is no JSON object.
pub fn request(
    destination: &DestinationRow,
    connection: &Parameters,
    target: &HttpRow,
    payload: &Bytes,
) -> Option<Request> {
    let mut headers = vec![
        ("User-Agent".to_string(), "Amazon/EventBridge/ApiDestinations".to_string()),
        ("Content-Type".to_string(), "application/json; charset=utf-8".to_string()),
        ("Range".to_string(), "bytes=0-1048575".to_string()),
        ("Accept-Encoding".to_string(), "gzip,deflate".to_string()),
        ("Connection".to_string(), "close".to_string()),
    ];
    let of_target = target.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let of_connection = connection.headers.iter().map(|one| (one.key.as_str(), one.value.as_str()));
    for (name, value) in of_target.chain(of_connection).filter(|(name, _)| !is_removed(name)) {
        replaced(&mut headers, name, value);
    }
    Some(Request {
        method: destination.method.clone(),
        url: url(&destination.endpoint, connection, target),
        headers,
        body: body(connection, payload)?,
        timeout: TIMEOUT,
        max_answer: MOST_ANSWER,
    })
}

fn url(endpoint: &str, connection: &Parameters, target: &HttpRow) -> String {
    let mut values = target.path.iter();
    let mut url = String::new();
    for (at, part) in endpoint.split('*').enumerate() {
        if at > 0 {
            url.push_str(&values.next().map_or_else(|| "*".to_string(), |value| encoded(value)));
        }
        url.push_str(part);
    }
    let of_connection = connection.query.iter().map(|one| (one.key.as_str(), one.value.as_str()));
    let names: Vec<&str> = of_connection.clone().map(|(name, _)| name).collect();
    let of_target = target.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in of_target.filter(|(name, _)| !names.contains(name)).chain(of_connection) {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&format!("{}={}", encoded(name), encoded(value)));
    }
    url
}

fn body(connection: &Parameters, payload: &Bytes) -> Option<Bytes> {
    if connection.body.is_empty() {
        return Some(payload.clone());
    }
    let mut whole: Value = serde_json::from_slice(payload).ok()?;
    let members = whole.as_object_mut()?;
    for one in &connection.body {
        members.insert(one.key.clone(), one.value.clone().into());
    }
    Some(Bytes::from(whole.to_string()))
}

/// What connections and targets may name and requests do not carry. Source: "Headers EventBridge removes from requests to
/// API destinations" in the EventBridge user guide.
const REMOVED: &[&str] = &[
    "a-im",
    "accept-charset",
    "accept-datetime",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authorization",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "warning",
];

fn is_removed(header: &str) -> bool {
    REMOVED.iter().any(|removed| removed.eq_ignore_ascii_case(header))
}

/// Sets a header, in place of one of the same name.
pub fn replaced(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.push((name.into(), value.into()));
}

/// Percent-encoded but for RFC 3986's unreserved characters.
pub fn encoded(text: &str) -> String {
    const REST: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, REST).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credentials::Parameter;

    fn destination(endpoint: &str) -> DestinationRow {
        DestinationRow {
            name: "d".into(),
            arn: String::new(),
            description: None,
            connection_arn: String::new(),
            endpoint: endpoint.into(),
            method: "POST".into(),
            rate: None,
            created_at: 0,
            changed_at: 0,
        }
    }

    fn one(key: &str, value: &str) -> Parameter {
        Parameter { key: key.into(), value: value.into(), is_secret: false }
    }

    #[test]
    fn values_are_taken_from_the_event() {
        let row = HttpRow {
            path: vec!["$.detail.id".into(), "$.none".into(), "fixed".into()],
            headers: [("a".to_string(), "$.detail.n".to_string()), ("b".into(), "$.none".into())].into(),
            query: [("c".to_string(), "$5".to_string())].into(),
        };
        let filled = row.filled(&json!({"detail": {"id": "a/b", "n": 5}}));
        assert_eq!(filled.path, ["a/b", "", "fixed"]);
        assert_eq!(filled.headers, [("a".to_string(), "5".to_string())].into());
        assert_eq!(filled.query, [("c".to_string(), "$5".to_string())].into());
    }

    #[test]
    fn the_connection_goes_before_the_target() {
        let connection = Parameters {
            headers: vec![one("X-Kind", "connection"), one("User-Agent", "mine"), one("Host", "other")],
            query: vec![one("k", "c c")],
            body: vec![one("added", "yes")],
        };
        let target = HttpRow {
            path: vec!["a/b".into()],
            headers: [
                ("x-kind".to_string(), "target".to_string()),
                ("content-type".into(), "text/plain".into()),
            ]
            .into(),
            query: [("k".to_string(), "t".to_string()), ("l".into(), "1".into())].into(),
        };
        let payload = Bytes::from_static(br#"{"n":1}"#);
        let made = request(&destination("https://h/x/*/y?z=0"), &connection, &target, &payload).unwrap();
        assert_eq!(made.url, "https://h/x/a%2Fb/y?z=0&l=1&k=c%20c");
        let header = |name: &str| {
            let found: Vec<&str> = made
                .headers
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_str())
                .collect();
            found
        };
        assert_eq!(header("X-Kind"), ["connection"]);
        assert_eq!(header("Content-Type"), ["text/plain"]);
        assert_eq!(header("User-Agent"), ["Amazon/EventBridge/ApiDestinations"]);
        assert!(header("Host").is_empty());
        assert_eq!(&made.body[..], br#"{"n":1,"added":"yes"}"#);
        assert!(
            request(&destination("https://h"), &connection, &target, &Bytes::from_static(b"5")).is_none()
        );
    }
}
