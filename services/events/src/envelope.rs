//! Events in their envelope, as rules see them and targets get them.

use std::fmt::Write;

use tidemill_platform::{Cx, Timestamp};

use crate::{state::Bus, vault::Archived};

/// Characters of the detail that journeys show.
const TOLD: usize = 120;
/// What an envelope has beside the texts of the event, in bytes, roughly.
const FRAME: usize = 256;

/// An event with its envelope.
pub struct Envelope {
    pub id: String,
    pub text: String,
    /// Its time, in milliseconds since 1970, whole seconds as it says.
    pub at: i64,
    /// What journeys say of it: its type, its source and the beginning of its detail.
    pub told: String,
}

impl Envelope {
    pub fn archived(&self) -> Archived {
        Archived { id: self.id.clone(), text: self.text.clone(), told: self.told.clone() }
    }
}

/// Puts an event into its envelope. `detail` is JSON and stays as it is written.
pub fn envelope(
    cx: &Cx,
    bus: &Bus,
    source: &str,
    kind: &str,
    at: Timestamp,
    resources: &[String],
    detail: &str,
) -> Envelope {
    let (id, detail) = (cx.random().uuid(), detail.trim());
    let mut text = String::with_capacity(FRAME + source.len() + kind.len() + detail.len());
    let mut put = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
    put(&["{\"version\":\"0\",\"id\":\"", &id, "\",\"detail-type\":", &quoted(kind), ",\"source\":"]);
    put(&[&quoted(source), ",\"account\":\"", &bus.arn.account, "\",\"time\":\"", &printed(at)]);
    put(&["\",\"region\":\"", &bus.arn.region, "\",\"resources\":["]);
    for (number, resource) in resources.iter().enumerate() {
        put(&[if number == 0 { "" } else { "," }, &quoted(resource)]);
    }
    put(&["],\"detail\":", detail, "}"]);
    let beginning = detail.char_indices().nth(TOLD).map_or(detail, |(end, _)| &detail[..end]);
    let told = [kind, " from ", source, " ", beginning].concat();
    Envelope { id, text, at: at.secs().saturating_mul(1000), told }
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        return ["\"", text, "\""].concat();
    }
    serde_json::Value::from(text).to_string()
}

/// `2026-01-02T03:04:05Z`
pub fn printed(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    let at = jiff::tz::Offset::UTC.to_datetime(at);
    let mut text = String::with_capacity(20);
    let (year, month, day) = (at.year(), at.month(), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let _ = write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn an_envelope_is_what_it_was_made_of() {
        let (bridge, cx) = testing::bridge();
        let bus = bridge.bus(&cx, None).expect("the default bus");
        let (source, kind) = ("my \"shop\"\\\u{1}\u{7f}é", "Order\nPlaced");
        let at = Timestamp::from_millis(1_767_323_045_678);
        let resources = ["arn:a".to_string(), "b\"".to_string()];
        let made = envelope(&cx, &bus, source, kind, at, &resources, "  {\"a\": [1.50, null]} ");
        assert!(made.text.ends_with(",\"detail\":{\"a\": [1.50, null]}}"));
        let parsed: serde_json::Value = serde_json::from_str(&made.text).expect("JSON");
        assert_eq!(
            parsed,
            json!({
                "version": "0", "id": made.id, "detail-type": kind, "source": source, "account": "000000000000",
                "time": "2026-01-02T03:04:05Z", "region": "us-east-1", "resources": resources, "detail": {"a": [1.5, null]},
            })
        );
        assert_eq!((made.at, made.told.ends_with("null]}")), (1_767_323_045_000, true));
    }

    #[tokio::test]
    async fn what_journeys_tell_of_a_detail_is_short() {
        let (bridge, cx) = testing::bridge();
        let bus = bridge.bus(&cx, None).expect("the default bus");
        let detail = format!("{{\"a\":\"{}\"}}", "é".repeat(500));
        let made = envelope(&cx, &bus, "s", "k", cx.now(), &[], &detail);
        assert_eq!(made.told.chars().count(), "k from s ".len() + TOLD);
    }

    #[test]
    fn moments_are_printed_in_whole_seconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (253_402_207_199_000, "9999-12-30T21:59:59Z"),
        ] {
            assert_eq!(printed(Timestamp::from_millis(millis)), text);
        }
    }
}
