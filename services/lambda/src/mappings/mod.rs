//! Event source mappings: a stream or queue read on behalf of a function. Here is the API; `consumer` invokes the function
//! with what the pump of a stream (crate `delivery`) read, `queues` reads SQS. Sources are DynamoDB streams and SQS queues.

mod consumer;
mod filters;
pub mod queues;
mod settings;
mod sources;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
pub use sources::is_queue;
use tidemill_delivery::stream::{Start, StreamMapping};
use tidemill_platform::{Cx, Fault, Platform, page::page};
use tidemill_store::{Batch, Damaged, Partition, Table, Ticket};

use crate::{
    Lambda,
    api::{
        CreateEventSourceMappingRequest, DeleteEventSourceMappingRequest, EventSourceMappingConfiguration,
        GetEventSourceMappingRequest, InvalidParameterValueException, ListEventSourceMappingsRequest,
        ListEventSourceMappingsResponse, ResourceConflictException, ResourceNotFoundException,
        UpdateEventSourceMappingRequest,
    },
    names::Named,
};

/// UUID → mapping. In the UUID's partition.
const MAPPINGS: Table<String, MappingRow> = Table::new("lambda.mapping");

const DAY_S: i64 = 86_400;

/// A mapping as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingRow {
    pub uuid: String,
    pub account: String,
    pub region: String,
    pub source_arn: String,
    /// With the qualifier, if one was given.
    pub function_arn: String,
    pub enabled: bool,
    pub batch_size: i32,
    pub window_s: i32,
    pub lanes: i32,
    /// `TRIM_HORIZON` or `LATEST`.
    pub start: String,
    /// -1 for as long as the records live.
    pub retries: i32,
    /// -1 for no limit, in seconds.
    pub max_age_s: i32,
    pub bisect: bool,
    pub on_failure: Option<String>,
    pub reports_failures: bool,
    /// Patterns of which one must match.
    pub filters: Vec<String>,
    pub modified_at: i64,
    /// Queues: functions at the same time.
    #[serde(default)]
    pub max_concurrency: Option<i32>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Streams: the length of tumbling windows in seconds, 0 for none.
    #[serde(default)]
    pub tumbling_s: i32,
    /// Streams: how the last invocation went, in Lambda's words; empty before the first.
    #[serde(default)]
    pub last_result: String,
}

impl MappingRow {
    pub fn is_queue(&self) -> bool {
        is_queue(&self.source_arn)
    }
}

pub fn load(platform: &Platform) -> Result<BTreeMap<String, MappingRow>, Damaged> {
    let mut all = BTreeMap::new();
    for partition in Partition::ALL {
        all.extend(platform.store.all(&MAPPINGS, partition)?);
    }
    Ok(all)
}

/// Lets every enabled mapping go on where it was.
pub fn start(lambda: &Arc<Lambda>) {
    let rows: Vec<MappingRow> = lambda.mappings.lock().values().cloned().collect();
    for row in rows.iter().filter(|row| row.enabled) {
        drop(run(lambda, row));
    }
}

/// Begins to read, or begins anew with changed settings. What it gives is awaited before that is acknowledged.
fn run(lambda: &Lambda, row: &MappingRow) -> Option<Ticket> {
    if row.is_queue() {
        if let Err(fault) = lambda.readers.run(lambda, row) {
            tracing::error!(%fault, mapping = row.uuid, "a mapping cannot be read");
        }
        return None;
    }
    let consumer = match consumer::FunctionConsumer::new(lambda, row) {
        Ok(consumer) => Arc::new(consumer),
        Err(fault) => {
            tracing::error!(%fault, mapping = row.uuid, "a mapping cannot be read");
            return None;
        }
    };
    let positive = |n: i32| u32::try_from(n).ok();
    lambda.streams.run(StreamMapping {
        id: row.uuid.clone(),
        stream: row.source_arn.clone(),
        target: row.function_arn.clone(),
        start: if row.start == "LATEST" { Start::Latest } else { Start::Oldest },
        batch_size: usize::try_from(row.batch_size).unwrap_or(100),
        window_ms: i64::from(row.window_s) * 1000,
        lanes: u64::try_from(row.lanes).unwrap_or(1),
        retries: positive(row.retries),
        max_age_s: longest_s(row),
        bisect: row.bisect,
        consumer,
    })
}

/// The age at which records are given up, in seconds: streams of tables keep them for a day, whatever is asked for.
fn longest_s(row: &MappingRow) -> Option<i64> {
    let asked = u32::try_from(row.max_age_s).ok().map(i64::from);
    if sources::is_table(&row.source_arn) { Some(asked.unwrap_or(DAY_S).min(DAY_S)) } else { asked }
}

fn stop(lambda: &Lambda, row: &MappingRow) {
    if row.is_queue() { lambda.readers.stop(&row.uuid) } else { lambda.streams.stop(&row.uuid) }
}

pub async fn create_event_source_mapping(
    lambda: &Lambda,
    cx: &Cx,
    input: CreateEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, Fault> {
    let row = settings::fresh(lambda, cx, input)?;
    create(lambda, row).await
}

/// Makes a checked mapping; two mappings of the same source and function are refused.
pub async fn create(lambda: &Lambda, row: MappingRow) -> Result<EventSourceMappingConfiguration, Fault> {
    let (ticket, begins) = {
        let mut mappings = lambda.mappings.lock();
        expect_single(&mappings, &row)?;
        let mut batch = Batch::new(Partition::of(&row.uuid));
        batch.put(&MAPPINGS, &row.uuid, &row);
        let ticket = lambda.platform.submit(batch)?;
        mappings.insert(row.uuid.clone(), row.clone());
        let begins = if row.enabled { run(lambda, &row) } else { None };
        (ticket, begins)
    };
    ticket.await;
    if let Some(begins) = begins {
        begins.await;
    }
    Ok(wire(&row, if row.enabled { "Creating" } else { "Disabled" }))
}

/// A source and a function have one mapping between them.
fn expect_single(mappings: &BTreeMap<String, MappingRow>, row: &MappingRow) -> Result<(), Fault> {
    let is_twin = |known: &&MappingRow| {
        known.uuid != row.uuid && known.source_arn == row.source_arn && known.function_arn == row.function_arn
    };
    let Some(twin) = mappings.values().find(is_twin) else { return Ok(()) };
    let (source, function) = (&row.source_arn, row.function_arn.split(':').nth(6).unwrap_or_default());
    let exists = if row.is_queue() {
        format!(
            "An event source mapping with SQS arn (\" {source} \") and function (\" {function} \") already exists."
        )
    } else {
        format!(
            "The event source arn (\" {source} \") and function (\" {function} \") provided mapping already exists."
        )
    };
    let uuid = &twin.uuid;
    let sentence = format!("{exists} Please update or delete the existing mapping with UUID {uuid}");
    Err(ResourceConflictException::new(sentence).into())
}

/// The mapping with this UUID, if it is in the caller's account and region.
fn mine(lambda: &Lambda, cx: &Cx, uuid: &str) -> Result<MappingRow, Fault> {
    let mappings = lambda.mappings.lock();
    let row = mappings.get(uuid).filter(|row| row.account == cx.account() && row.region == cx.region());
    row.cloned().ok_or_else(none)
}

pub async fn get_event_source_mapping(
    lambda: &Lambda,
    cx: &Cx,
    input: GetEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, Fault> {
    let row = mine(lambda, cx, &input.uuid)?;
    Ok(wire(&row, state(&row)))
}

pub async fn list_event_source_mappings(
    lambda: &Lambda,
    cx: &Cx,
    input: ListEventSourceMappingsRequest,
) -> Result<ListEventSourceMappingsResponse, Fault> {
    let function = input
        .function_name
        .map(|name| Named::read(cx, &name, None))
        .transpose()?
        .map(|named| named.qualified_arn());
    let rows: Vec<MappingRow> = {
        let mappings = lambda.mappings.lock();
        let mine = mappings.values().filter(|row| row.account == cx.account() && row.region == cx.region());
        let of_source =
            mine.filter(|row| input.event_source_arn.as_ref().is_none_or(|arn| *arn == row.source_arn));
        of_source
            .filter(|row| function.as_ref().is_none_or(|arn| *arn == row.function_arn))
            .cloned()
            .collect()
    };
    let limit = usize::try_from(input.max_items.unwrap_or(100).min(100)).unwrap_or(100);
    let page = page(rows, |row| row.uuid.clone(), input.marker.as_deref(), limit);
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    let mappings = page.items.iter().map(|row| wire(row, state(row))).collect();
    Ok(ListEventSourceMappingsResponse {
        event_source_mappings: Some(mappings),
        next_marker: page.next_token,
    })
}

pub async fn update_event_source_mapping(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, Fault> {
    let there = mine(lambda, cx, &input.uuid)?;
    let row = settings::changed(lambda, cx, &there, input)?;
    replace(lambda, row).await
}

pub async fn replace(lambda: &Lambda, row: MappingRow) -> Result<EventSourceMappingConfiguration, Fault> {
    let (ticket, was_enabled) = {
        let mut mappings = lambda.mappings.lock();
        expect_single(&mappings, &row)?;
        let there = mappings.get_mut(&row.uuid).ok_or_else(none)?;
        let mut batch = Batch::new(Partition::of(&row.uuid));
        batch.put(&MAPPINGS, &row.uuid, &row);
        let ticket = lambda.platform.submit(batch)?;
        let was_enabled = std::mem::replace(there, row.clone()).enabled;
        if row.enabled {
            drop(run(lambda, &row));
        } else {
            stop(lambda, &row);
        }
        (ticket, was_enabled)
    };
    ticket.await;
    let state = match (was_enabled, row.enabled) {
        (false, true) => "Enabling",
        (true, false) => "Disabling",
        _ => "Updating",
    };
    Ok(wire(&row, state))
}

pub async fn delete_event_source_mapping(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, Fault> {
    mine(lambda, cx, &input.uuid)?;
    let row = delete(lambda, &input.uuid).await?;
    Ok(wire(&row, "Deleting"))
}

pub async fn delete(lambda: &Lambda, uuid: &str) -> Result<MappingRow, Fault> {
    let (ticket, row) = {
        let mut mappings = lambda.mappings.lock();
        let row = mappings.get(uuid).cloned().ok_or_else(none)?;
        stop(lambda, &row);
        let mut batch = Batch::new(Partition::of(uuid));
        batch.delete(&MAPPINGS, &row.uuid);
        if !row.is_queue() {
            lambda.streams.forget(&mut batch, uuid)?;
        }
        let ticket = lambda.platform.submit(batch)?;
        mappings.remove(uuid);
        (ticket, row)
    };
    ticket.await;
    Ok(row)
}

pub fn tags(lambda: &Lambda, uuid: &str) -> Result<BTreeMap<String, String>, Fault> {
    let mappings = lambda.mappings.lock();
    mappings.get(uuid).map(|row| row.tags.clone()).ok_or_else(none)
}

/// Changes a mapping's tags; it reads on as it did.
pub async fn change_tags(
    lambda: &Lambda,
    uuid: &str,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let ticket = {
        let mut mappings = lambda.mappings.lock();
        let there = mappings.get_mut(uuid).ok_or_else(none)?;
        let mut row = there.clone();
        change(&mut row.tags)?;
        let mut batch = Batch::new(Partition::of(uuid));
        batch.put(&MAPPINGS, &row.uuid, &row);
        let ticket = lambda.platform.submit(batch)?;
        *there = row;
        ticket
    };
    ticket.await;
    Ok(())
}

/// Notes how the last invocation went, where that is news. It tells people; nothing waits for it to be durable.
fn note_result(lambda: &Lambda, uuid: &str, result: &str) {
    let mut mappings = lambda.mappings.lock();
    let Some(row) = mappings.get_mut(uuid).filter(|row| row.last_result != result) else { return };
    row.last_result = result.into();
    let mut batch = Batch::new(Partition::of(uuid));
    batch.put(&MAPPINGS, &row.uuid, row);
    drop(lambda.platform.submit(batch));
}

fn state(row: &MappingRow) -> &'static str {
    if row.enabled { "Enabled" } else { "Disabled" }
}

fn wire(row: &MappingRow, state: &str) -> EventSourceMappingConfiguration {
    settings::wire(row, state)
}

fn none() -> Fault {
    ResourceNotFoundException::new("The resource you requested does not exist.").into()
}
