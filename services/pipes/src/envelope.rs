//! Events as a bus takes them: the transformed event is the detail, the rest comes from the target's parameters.

use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_delivery::Event;
use tidemill_platform::Fault;

use crate::{
    sending::{Outgoing, Sending},
    settings::Setting,
    target::Bus,
};

/// What PutEvents takes, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// The event in its envelope; a fault where PutEvents would refuse the entry.
pub fn event(sending: &Sending<'_>, bus: &Bus, outgoing: &Outgoing) -> Result<Event, Fault> {
    if outgoing.text.len() > MOST_BYTES {
        return Err(Fault::validation("Total size of the entries in the request is over the limit."));
    }
    let of = |setting: &Setting| setting.of(&outgoing.event, &sending.context);
    let detail: Value = serde_json::from_str(&outgoing.text).unwrap_or_default();
    if !detail.is_object() {
        return Err(Fault::new("MalformedDetail", "Detail is malformed."));
    }
    let source = of(&bus.source)?;
    if source.starts_with("aws.") {
        return Err(Fault::new("NotAuthorizedForSourceException", "Not authorized for the source."));
    }
    let at = match &bus.at {
        Some(setting) => moment(&of(setting)?)?,
        None => sending.cx.now().millis(),
    };
    let id = sending.cx.random().uuid();
    let envelope = json!({
        "id": id,
        "source": source,
        "detail-type": of(&bus.detail_type)?,
        "time": jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_string(),
        "resources": bus.resources.iter().map(of).collect::<Result<Vec<_>, _>>()?,
        "detail": detail,
    });
    Ok(Event { id, payload: Bytes::from(envelope.to_string()), ..sending.event(outgoing) })
}

/// The moment of an event: as RFC 3339 writes it, or in seconds or milliseconds since 1970.
fn moment(text: &str) -> Result<i64, Fault> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    match text.parse::<i64>() {
        // Seconds reach this number in the year 5138, milliseconds did in 1973.
        Ok(number) if number.abs() < 100_000_000_000 => Ok(number * 1000),
        Ok(number) => Ok(number),
        Err(_) => Err(Fault::validation(format!("{text} is not a time."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_three_forms() {
        for (text, expected) in [
            ("2026-11-23T12:00:00Z", Some(1_795_435_200_000)),
            ("1795435200", Some(1_795_435_200_000)),
            ("1795435200123", Some(1_795_435_200_123)),
            ("yesterday", None),
        ] {
            assert_eq!(moment(text).ok(), expected, "{text}");
        }
    }
}
