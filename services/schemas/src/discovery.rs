//! Learning from events. Buses show them in passing; one task merges what each shows into the schema of its source and
//! type and writes a version when that says something new. Where events come faster than that, some are passed over.

use std::sync::{Arc, Weak, atomic::Ordering};

use serde_json::Value;
use tidemill_platform::{Arn, Cx, Fault, Trace, doors::SchemaDiscovery};
use tokio::sync::mpsc;

use crate::{
    Schemas,
    api::{GetDiscoveredSchemaRequest, GetDiscoveredSchemaResponse},
    checks,
    content::{JSON_SCHEMA, LONGEST, OPEN_API},
    export,
    faults::bad_request,
    openapi,
    rows::{DISCOVERED, SchemaRow, Version, schema_arn},
    shape::Shape,
};

/// Events that wait for their turn.
const WAITING: usize = 256;
/// Events in one request to tell their structure.
const MOST_EVENTS: usize = 10;
/// Schemas that discovery makes in a registry.
const MOST_SCHEMAS: usize = 200;
/// Versions kept of a discovered schema; the oldest go first.
const MOST_VERSIONS: usize = 100;

/// The door that buses know.
pub struct Listener {
    schemas: Arc<Schemas>,
    events: mpsc::Sender<(String, String)>,
}

impl Listener {
    /// Begins to learn; ends with the service.
    pub fn start(schemas: &Arc<Schemas>) -> Listener {
        let (events, waiting) = mpsc::channel(WAITING);
        tokio::spawn(learn(Arc::downgrade(schemas), waiting));
        Listener { schemas: schemas.clone(), events }
    }
}

impl SchemaDiscovery for Listener {
    fn observe(&self, bus_arn: &str, event: &str) {
        if !self.schemas.any_watched.load(Ordering::Acquire) {
            return;
        }
        if self.schemas.watched.read().contains_key(bus_arn) {
            let _ = self.events.try_send((bus_arn.into(), event.into()));
        }
    }

    fn check(&self, bus: &Arn, registry: &str, event: &str) -> Result<(), String> {
        self.schemas.check(bus, registry, event)
    }
}

async fn learn(schemas: Weak<Schemas>, mut waiting: mpsc::Receiver<(String, String)>) {
    while let Some((bus, event)) = waiting.recv().await {
        let Some(schemas) = schemas.upgrade() else { return };
        if let Err(fault) = schemas.learn(&bus, &event).await {
            tracing::warn!(%fault, bus, "a schema could not be discovered");
        }
    }
}

/// What is told by an event's envelope.
struct Seen {
    source: String,
    detail_type: String,
    account: String,
    detail: Shape,
}

impl Seen {
    fn read(event: &Value) -> Option<Seen> {
        let text = |name: &str| Some(event.get(name)?.as_str()?.to_string());
        Some(Seen {
            source: text("source")?,
            detail_type: text("detail-type")?,
            account: text("account").unwrap_or_default(),
            detail: Shape::of(event.get("detail")?),
        })
    }

    fn schema_name(&self) -> String {
        schema_name(&self.source, &self.detail_type)
    }
}

/// `shop@OrderPlaced`
pub fn schema_name(source: &str, detail_type: &str) -> String {
    let plain = |one: char| if one.is_ascii_alphanumeric() || "_.-".contains(one) { one } else { '-' };
    let source: String = source.chars().map(plain).collect();
    let name = format!("{source}@{}", openapi::pascal(detail_type));
    name.chars().take(385).collect()
}

impl Schemas {
    async fn learn(&self, bus: &str, event: &str) -> Result<(), Fault> {
        let (Ok(bus), Ok(event)) = (bus.parse::<Arn>(), serde_json::from_str(event)) else { return Ok(()) };
        let Some(seen) = Seen::read(&event) else { return Ok(()) };
        let cross_account = self.watched.read().get(&bus.to_string()).copied();
        let counts = cross_account.is_some_and(|all| all || seen.account == bus.account);
        if !counts {
            return Ok(());
        }
        let cx = self.platform.cx(&bus.account, &bus.region, Trace::default());
        let arn = schema_arn(&cx, DISCOVERED, &seen.schema_name());
        let is_new = self.read(|kept| match kept.schemas.get(&arn) {
            Some(row) => row.shape.as_ref().is_none_or(|shape| merged(shape, &seen.detail) != *shape),
            None => kept.schemas_of(&cx, DISCOVERED).count() < MOST_SCHEMAS,
        });
        if is_new { self.note(&cx, &arn, seen).await } else { Ok(()) }
    }

    /// Writes the version in which what was seen is told.
    async fn note(&self, cx: &Cx, arn: &str, seen: Seen) -> Result<(), Fault> {
        let now = cx.now().millis();
        self.decide(|kept, effects| {
            if kept.registry(cx, DISCOVERED).is_err() {
                return Ok(());
            }
            let mut row = kept.schemas.get(arn).cloned().unwrap_or_else(|| SchemaRow {
                name: seen.schema_name(),
                registry: DISCOVERED.into(),
                arn: arn.into(),
                description: Some(format!(
                    "Schema for event type {}, published by {}",
                    seen.detail_type, seen.source
                )),
                ..SchemaRow::default()
            });
            let shape = row.shape.as_ref().map_or(seen.detail.clone(), |shape| merged(shape, &seen.detail));
            let text = openapi::of_events(&seen.source, &seen.detail_type, &shape).to_string();
            if text.len() > LONGEST {
                return Ok(());
            }
            let number = row.latest().number + 1;
            row.shape = Some(shape);
            row.changed_at = now;
            row.versions.push(Version { number, kind: OPEN_API.into(), created_at: now });
            if row.versions.len() > MOST_VERSIONS {
                let oldest = row.versions.remove(0);
                effects.contents.push(((arn.into(), oldest.number), None));
            }
            effects.contents.push(((arn.into(), number), Some(text)));
            effects.schemas.push((arn.into(), Some(row)));
            Ok(())
        })
        .await
    }
}

fn merged(one: &Shape, two: &Shape) -> Shape {
    one.clone().merged(two.clone())
}

/// The schema that events show, without keeping it.
pub async fn get_discovered_schema(
    _: &Schemas,
    _: &Cx,
    input: GetDiscoveredSchemaRequest,
) -> Result<GetDiscoveredSchemaResponse, Fault> {
    let kind = checks::kind(&checks::required(input.r#type, "Type")?)?;
    let texts = checks::required(input.events, "Events")?;
    if texts.is_empty() || texts.len() > MOST_EVENTS || texts.iter().any(|text| text.len() > LONGEST) {
        return Err(bad_request(format!("Events must be 1 to {MOST_EVENTS} of at most {LONGEST} bytes.")));
    }
    let mut events = Vec::new();
    for text in &texts {
        let event: Value = serde_json::from_str(text)
            .map_err(|error| bad_request(format!("Event is not valid JSON: {error}.")))?;
        if !event.is_object() {
            return Err(bad_request("Event must be a JSON object."));
        }
        events.push(event);
    }
    let seen: Option<Vec<Seen>> = events.iter().map(Seen::read).collect();
    let same = |all: &Vec<Seen>| all.windows(2).all(|two| two[0].detail_type == two[1].detail_type);
    let document = match seen.filter(same).as_deref() {
        Some([first, rest @ ..]) => {
            let detail = rest.iter().fold(first.detail.clone(), |all, one| merged(&all, &one.detail));
            openapi::of_events(&first.source, &first.detail_type, &detail)
        }
        _ => {
            let shape = events.iter().map(Shape::of).reduce(Shape::merged).unwrap_or_default();
            openapi::of_values("Event", &shape)
        }
    };
    let text = document.to_string();
    let text = if kind == JSON_SCHEMA { export::to_json_schema(&text) } else { Some(text) };
    Ok(GetDiscoveredSchemaResponse { content: text })
}
