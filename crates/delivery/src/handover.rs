//! What travels: an event as a service hands it over, and the durable row in which a target takes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemill_platform::{Timestamp, Trace};

use crate::Policy;

/// Something that happened, on its way to a target.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// By which people find it again: AWS's own id of the event where there is one.
    pub id: String,
    /// ARN of what it happened to, or of who tells it: a bucket, a topic, a rule's bus.
    pub source: String,
    /// What made the source tell this target: a notification's id, a subscription's or rule's ARN.
    pub via: String,
    pub payload: Bytes,
    /// What the kind of target needs beside the payload (message group, message attributes as JSON, …).
    pub attributes: BTreeMap<String, String>,
    pub trace: Trace,
}

/// A hand-over that is durable and not yet done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Handover {
    /// Name of the [`crate::Route`] that attempts it.
    pub route: String,
    pub event_id: String,
    pub source: String,
    pub via: String,
    /// ARN of where it goes.
    pub target: String,
    pub payload: Bytes,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The trace header of the hop that handed it over; empty when there is none.
    pub trace: String,
    pub policy: Policy,
    /// Milliseconds since 1970.
    pub accepted_at: i64,
    /// Attempts that counted so far.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts in all, those included that a throttled target did not let count.
    #[serde(default)]
    pub tries: u32,
    /// Not before this moment, in milliseconds since 1970; 0 for at once.
    #[serde(default)]
    pub due_at: i64,
}

impl Handover {
    /// The row in which `target` takes `event` on `route`.
    pub fn new(
        route: &str,
        target: impl Into<String>,
        event: Event,
        policy: Policy,
        now: Timestamp,
    ) -> Handover {
        Handover {
            route: route.into(),
            event_id: event.id,
            source: event.source,
            via: event.via,
            target: target.into(),
            payload: event.payload,
            attributes: event.attributes,
            trace: if event.trace.root.is_empty() { String::new() } else { event.trace.to_string() },
            policy,
            accepted_at: now.millis(),
            attempts: 0,
            tries: 0,
            due_at: 0,
        }
    }

    pub fn trace(&self) -> Trace {
        Trace::parse(&self.trace).unwrap_or_default()
    }

    /// Roughly what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.payload.len() + self.target.len() + 512
    }
}
