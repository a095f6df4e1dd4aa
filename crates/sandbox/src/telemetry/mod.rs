//! The Telemetry API, version 2022-07-01: what happens in a sandbox, told to the extensions that subscribed.
//!
//! Events are made here and queued for each subscriber (`queue.rs`), which a task of its own delivers into the sandbox (`deliver.rs`);
//! `subscribe.rs` is the API. A sandbox without subscribers keeps nothing beyond its first events, which a subscriber during init still gets.

mod deliver;
mod queue;
mod subscribe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::JsonLogs;
use crate::report::iso_millis;
use crate::spawner::Control;
use queue::Queue;
pub use subscribe::{LOGS_REFUSED, subscribe};

/// How much of what happens before a subscription is kept for it, in bytes.
const FIRST_BYTES: usize = 256 * 1024;

/// Which stream an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Platform,
    Function,
    Extension,
}

/// The events of one sandbox and those who take them.
pub struct Telemetry {
    state: Mutex<State>,
    /// Whether anybody takes events, or still may: otherwise none are made.
    wanted: AtomicBool,
    /// The way to sockets in the sandbox's network.
    control: Option<Arc<Control>>,
    /// The platform's events for a log in JSON, until its reader takes them.
    journal: Option<Journal>,
}

struct Journal {
    levels: JsonLogs,
    lines: Mutex<Vec<String>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Until init is over.
    first: Vec<(Kind, Bytes)>,
    first_bytes: usize,
    subscribers: Vec<Subscriber>,
    deliveries: JoinSet<()>,
}

struct Subscriber {
    name: String,
    types: Vec<Kind>,
    queue: Arc<Queue>,
}

impl Telemetry {
    pub fn new(control: Option<Arc<Control>>, json_logs: Option<JsonLogs>) -> Self {
        let journal = json_logs.map(|levels| Journal { levels, lines: Mutex::default() });
        Self { state: Mutex::default(), wanted: AtomicBool::new(true), control, journal }
    }

    /// Tells of something the platform did: `platform.start` and its like.
    pub fn platform(&self, event: &str, record: impl FnOnce() -> Value) {
        if self.wanted() || self.journal.is_some() {
            let record = record();
            if let Some(journal) = self.journal.as_ref().filter(|j| j.levels.shows_event(event, &record)) {
                journal.lines.lock().push(format!("{}\n", text(event, &record)));
            }
            self.push(Kind::Platform, event, record);
        }
    }

    /// Tells of a line that was printed.
    pub fn printed(&self, kind: Kind, line: &str) {
        if self.wanted() {
            let event = if kind == Kind::Extension { "extension" } else { "function" };
            self.push(kind, event, line.into());
        }
    }

    /// Init is over: nobody may subscribe any more.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.first = Vec::new();
        self.wanted.store(!state.subscribers.is_empty(), Ordering::Release);
    }

    /// The lines the log has about subscriptions.
    pub fn subscriptions(&self) -> Vec<String> {
        let shown = |kind: &Kind| match kind {
            Kind::Platform => "Platform",
            Kind::Function => "Function",
            Kind::Extension => "Extension",
        };
        let line = |subscriber: &Subscriber| {
            let types: Vec<&str> = subscriber.types.iter().map(shown).collect();
            format!(
                "TELEMETRY\tName: {}\tState: Subscribed\tTypes: [{}]\n",
                subscriber.name,
                types.join(", ")
            )
        };
        self.state.lock().subscribers.iter().map(line).collect()
    }

    /// Has everything that waits delivered now, and waits until it is.
    pub async fn flush(&self) {
        let queues: Vec<Arc<Queue>> =
            self.state.lock().subscribers.iter().map(|subscriber| subscriber.queue.clone()).collect();
        for queue in queues {
            queue.flush().await;
        }
    }

    /// Whether anybody takes events, or still may.
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// The lines of a log in JSON about what happened since the last look.
    pub fn take_journal(&self) -> Vec<String> {
        self.journal.as_ref().map(|journal| std::mem::take(&mut *journal.lines.lock())).unwrap_or_default()
    }

    fn push(&self, kind: Kind, event: &str, record: Value) {
        if !self.wanted() {
            return;
        }
        let text = Bytes::from(text(event, &record).to_string());
        let mut state = self.state.lock();
        for subscriber in state.subscribers.iter().filter(|s| s.types.contains(&kind)) {
            subscriber.queue.push(text.clone());
        }
        if !state.closed && state.first_bytes + text.len() <= FIRST_BYTES {
            state.first_bytes += text.len();
            state.first.push((kind, text));
        }
    }
}

fn text(event: &str, record: &Value) -> Value {
    json!({ "time": iso_millis(SystemTime::now()), "type": event, "record": record })
}
