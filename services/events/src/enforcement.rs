//! Buses that hold their events to schemas. AWS has no such thing, so its API stays as it is: tags of a bus ask for it.
//!
//! | tag | value |
//! |---|---|
//! | `tidemill:schema-enforcement` | `reject`, `dead-letter`, or `off` |
//! | `tidemill:schema-registry` | the registry with the schemas; `discovered-schemas` where it is not given |
//!
//! An event is held to the latest version of the schema `source@DetailType`, named as discovery names it; one without a
//! schema passes. `reject` answers its entry of `PutEvents` with `SchemaViolation`; what comes from another bus is dropped.
//! `dead-letter` takes the event and sends it to the queue of the bus's `DeadLetterConfig`, with the reason in its
//! attributes; where there is no such queue, it is rejected. Replays and scheduled events are not checked.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use tidemill_delivery::{Event, Fate, Step};
use tidemill_platform::{Arn, Cx, Fault, Trace};

use crate::{EventBridge, envelope::Envelope, events::Outgoing, state::Bus, tags::check_any_tags};

const MODE: &str = "tidemill:schema-enforcement";
const REGISTRY: &str = "tidemill:schema-registry";
/// Where discovery puts what it learns.
const DISCOVERED: &str = "discovered-schemas";
/// What a rejected entry and a dead letter say.
pub const VIOLATION: &str = "SchemaViolation";

/// What became of an event.
pub enum Verdict {
    Good,
    /// It is on its way to the bus's queue.
    DeadLettered,
    Rejected(String),
}

/// Refuses tags that no resource can have, and those of a bus that ask for something else.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Fault> {
    check_any_tags(tags)?;
    match tags.get(MODE).map(String::as_str) {
        None | Some("reject" | "dead-letter" | "off") => Ok(()),
        Some(other) => Err(Fault::validation(format!(
            "Tag {MODE} has the value {other}; it can be reject, dead-letter or off."
        ))),
    }
}

impl EventBridge {
    /// Holds an event to the bus's schemas, if the bus asks for it.
    pub fn enforce(
        &self,
        cx: &Cx,
        bus: &Bus,
        event: &Envelope,
        trace: &Trace,
        outgoing: &mut Outgoing,
    ) -> Verdict {
        let (registry, queue) = {
            let row = bus.row.read();
            let Some(mode) = row.tags.get(MODE).filter(|mode| *mode != "off") else { return Verdict::Good };
            let queue = row.dead_letter_arn.clone().filter(|_| mode == "dead-letter");
            (row.tags.get(REGISTRY).cloned().unwrap_or_else(|| DISCOVERED.into()), queue)
        };
        let Some(schemas) = self.platform.doors.schemas.get() else { return Verdict::Good };
        let Err(why) = schemas.check(&bus.arn, &registry, &event.text) else { return Verdict::Good };
        match queue.and_then(|queue| queue.parse::<Arn>().ok()) {
            Some(queue) => self.bury(cx, bus, event, trace, (&queue, why), outgoing),
            None => Verdict::Rejected(why),
        }
    }

    /// Puts an event into the bus's dead-letter queue; a queue that does not take it makes it a rejected one.
    fn bury(
        &self,
        cx: &Cx,
        bus: &Bus,
        event: &Envelope,
        trace: &Trace,
        (queue, why): (&Arn, String),
        outgoing: &mut Outgoing,
    ) -> Verdict {
        let arn = bus.arn.to_string();
        let letter = letter(&arn, event, trace, &why);
        match self.delivery.deliver(cx, &mut outgoing.batch, queue, letter) {
            Ok(staged) => outgoing.stage(staged),
            Err(fault) => {
                return Verdict::Rejected(format!("{why} (Dead-letter queue: {})", fault.message()));
            }
        }
        outgoing.note(Fate::happened(cx.now(), trace, &event.id, &arn, event.told.clone()));
        outgoing.note(Fate {
            at: cx.now().millis(),
            event: event.id.clone(),
            trace: trace.root.clone(),
            source: arn.clone(),
            target: queue.to_string(),
            via: arn,
            step: Step::DeadLettered,
            detail: why,
            attempt: 1,
            took_us: 0,
        });
        Verdict::DeadLettered
    }
}

fn letter(bus: &str, event: &Envelope, trace: &Trace, why: &str) -> Event {
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    let attributes =
        json!({"EVENT_BUS_ARN": text(bus), "ERROR_CODE": text(VIOLATION), "ERROR_MESSAGE": text(why)});
    Event {
        id: event.id.clone(),
        source: bus.into(),
        via: "dead-letter queue".into(),
        payload: Bytes::from(event.text.clone()),
        attributes: [("message-attributes".to_string(), attributes.to_string())].into(),
        trace: trace.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_ask_for_what_there_is() {
        for (value, is_known) in
            [("reject", true), ("dead-letter", true), ("off", true), ("warn", false), ("", false)]
        {
            assert_eq!(
                check_tags(&[(MODE.to_string(), value.to_string())].into()).is_ok(),
                is_known,
                "{value}"
            );
        }
        assert!(check_tags(&BTreeMap::new()).is_ok());
    }
}
