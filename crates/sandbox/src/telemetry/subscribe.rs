//! Subscribing: `PUT /2022-07-01/telemetry`. AWS: "Lambda Telemetry API reference".

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::deliver::{self, Destination};
use super::queue::{Buffering, Queue};
use super::{Kind, Subscriber, Telemetry};
use crate::sandbox_api::{Answer, plain, refuse};

/// What the older Logs API answers.
pub const LOGS_REFUSED: (&str, &str) =
    ("Logs.NotSupported", "The Logs API is not supported: subscribe to the Telemetry API, 2022-07-01.");

const SCHEMAS: [&str; 3] = ["2022-07-01", "2022-12-13", "2025-01-29"];
/// Ports a function's sandbox uses itself.
const TAKEN: [u16; 2] = [9001, 2000];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    schema_version: String,
    types: Vec<String>,
    destination: To,
    #[serde(default)]
    buffering: Limits,
}

#[derive(Deserialize)]
struct To {
    protocol: String,
    #[serde(rename = "URI")]
    uri: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Limits {
    max_items: u64,
    max_bytes: u64,
    timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_items: 1000, max_bytes: 262_144, timeout_ms: 1000 }
    }
}

/// Subscribes the extension `name`; a second subscription takes the place of its first. Events since the beginning of init come along.
pub fn subscribe(telemetry: &Telemetry, name: &str, body: &[u8]) -> Answer {
    let checked = serde_json::from_slice(body).map_err(|error| error.to_string()).and_then(check);
    let (types, to, buffering) = match checked {
        Ok(checked) => checked,
        Err(sentence) => return refuse(StatusCode::BAD_REQUEST, "ValidationError", &sentence),
    };
    let mut state = telemetry.state.lock();
    if state.closed {
        let sentence = "Telemetry API subscription is closed";
        return refuse(StatusCode::FORBIDDEN, "Telemetry.SubscriptionClosed", sentence);
    }
    let queue = Arc::new(Queue::new(buffering));
    for (_, event) in state.first.iter().filter(|(kind, _)| types.contains(kind)) {
        queue.push(event.clone());
    }
    let shown: Vec<&str> = types.iter().map(|kind| kind.text()).collect();
    let record = json!({ "name": name, "state": "Subscribed", "types": shown });
    state.deliveries.spawn(deliver::run(queue.clone(), to, telemetry.control.clone()));
    state.subscribers.retain(|subscriber| subscriber.name != name);
    state.subscribers.push(Subscriber { name: name.to_owned(), types, queue });
    drop(state);
    telemetry.platform("platform.telemetrySubscription", || record);
    plain("OK")
}

fn check(wanted: Wanted) -> Result<(Vec<Kind>, Destination, Buffering), String> {
    if !SCHEMAS.contains(&wanted.schema_version.as_str()) {
        return Err(format!("schemaVersion: {} is not one of {SCHEMAS:?}", wanted.schema_version));
    }
    let types = wanted.types.iter().map(|name| kind(name)).collect::<Result<Vec<_>, _>>()?;
    if types.is_empty() {
        return Err("types: at least one is required".into());
    }
    Ok((types, destination(wanted.destination)?, buffering(&wanted.buffering)?))
}

fn kind(name: &str) -> Result<Kind, String> {
    [Kind::Platform, Kind::Function, Kind::Extension]
        .into_iter()
        .find(|kind| kind.text() == name)
        .ok_or_else(|| format!("types: {name} is not one of platform, function, extension"))
}

fn destination(to: To) -> Result<Destination, String> {
    match (to.protocol.as_str(), to.uri, to.port) {
        ("HTTP", Some(uri), None) => {
            let uri: http::Uri = uri.parse().map_err(|_| "destination.URI: not a URI".to_owned())?;
            let here = uri.scheme_str() == Some("http")
                && matches!(uri.host(), Some("sandbox.localdomain" | "sandbox"));
            if !here {
                return Err("destination.URI: must begin with http://sandbox.localdomain".into());
            }
            let port = free(uri.port_u16().unwrap_or(80))?;
            let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            Ok(Destination::Http { port, path })
        }
        ("TCP", None, Some(port)) => Ok(Destination::Tcp { port: free(port)? }),
        ("HTTP" | "TCP", ..) => Err("destination: HTTP needs a URI, TCP a port".into()),
        (other, ..) => Err(format!("destination.protocol: {other} is not one of HTTP, TCP")),
    }
}

fn free(port: u16) -> Result<u16, String> {
    if TAKEN.contains(&port) || port == 0 {
        return Err(format!("destination: port {port} cannot be used"));
    }
    Ok(port)
}

fn buffering(limits: &Limits) -> Result<Buffering, String> {
    let within = |name: &str, value: u64, range: std::ops::RangeInclusive<u64>| {
        if range.contains(&value) {
            return Ok(value as usize);
        }
        Err(format!("buffering.{name}: {value} is not between {} and {}", range.start(), range.end()))
    };
    Ok(Buffering {
        items: within("maxItems", limits.max_items, 1000..=10_000)?,
        bytes: within("maxBytes", limits.max_bytes, 262_144..=1_048_576)?,
        time: Duration::from_millis(within("timeoutMs", limits.timeout_ms, 25..=30_000)? as u64),
    })
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Function => "function",
            Self::Extension => "extension",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(Vec<Kind>, Destination, Buffering), String> {
        serde_json::from_str(text).map_err(|error| error.to_string()).and_then(check)
    }

    #[test]
    fn subscriptions_are_taken_as_documented() {
        let (types, to, buffering) = checked(
            r#"{"schemaVersion":"2022-12-13","types":["platform","function"],"buffering":{"maxItems":5000,"timeoutMs":25},"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080/here"}}"#,
        )
        .unwrap();
        assert_eq!(types, [Kind::Platform, Kind::Function]);
        assert_eq!(to, Destination::Http { port: 8080, path: "/here".into() });
        let time = Duration::from_millis(25);
        assert_eq!(buffering, Buffering { items: 5000, bytes: 262_144, time });
        let tcp = r#"{"schemaVersion":"2022-07-01","types":["extension"],"destination":{"protocol":"TCP","port":999}}"#;
        assert_eq!(checked(tcp).unwrap().1, Destination::Tcp { port: 999 });
    }

    #[test]
    fn what_is_not_documented_is_refused_by_name() {
        let with = |schema: &str, types: &str, to: &str, buffering: &str| {
            let text = format!(
                r#"{{"schemaVersion":"{schema}","types":[{types}],"destination":{to},"buffering":{{{buffering}}}}}"#
            );
            checked(&text).unwrap_err()
        };
        let (good, types) =
            (r#"{"protocol":"HTTP","URI":"http://sandbox.localdomain:8080"}"#, "\"platform\"");
        for (refused, sentence) in [
            (with("2021-01-01", types, good, ""), "schemaVersion: 2021-01-01"),
            (with("2022-07-01", "\"weather\"", good, ""), "types: weather"),
            (with("2022-07-01", "", good, ""), "types: at least one"),
            (with("2022-07-01", types, r#"{"protocol":"UDP","port":1}"#, ""), "destination.protocol: UDP"),
            (
                with("2022-07-01", types, r#"{"protocol":"HTTP","URI":"http://169.254.169.254/"}"#, ""),
                "destination.URI: must begin",
            ),
            (with("2022-07-01", types, r#"{"protocol":"TCP","port":9001}"#, ""), "destination: port 9001"),
            (with("2022-07-01", types, good, r#""maxItems":1"#), "buffering.maxItems: 1 is not between 1000"),
        ] {
            assert!(refused.starts_with(sentence), "{refused}");
        }
    }
}
