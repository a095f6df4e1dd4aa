//! What streams hold: one record a change of an item, kept for a day.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemill_dynamo_expression::{Item, encoding, value::item_size};
use tidemill_platform::{Cx, Fault, Platform, Trace};
use tidemill_store::{Batch, Damaged, Partition, Seq, Table};
use tokio::sync::watch;

use crate::{
    schema::{Keys, TableRow},
    state::DynamoDb,
};

/// Stream ARN → stream. In the partition of the table's ARN.
const STREAMS: Table<String, StreamInfo> = Table::new("dynamodb.stream");
/// (stream ARN, number) → record. In the partition of the table's ARN.
pub(crate) const STREAM_RECORDS: Table<(String, u64), RecordRow> = Table::new("dynamodb.record");

/// Records are kept for a day.
pub const RETENTION_MS: i64 = 86_400_000;
/// Expired records removed by one write.
const TRIM: usize = 4;
/// Sequence numbers have 21 digits.
const FIRST_SEQUENCE: u128 = 100_000_000_000_000_000_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StreamInfo {
    pub arn: String,
    pub label: String,
    pub table_arn: String,
    pub table_name: String,
    pub view: String,
    pub keys: Keys,
    pub created_at: i64,
    /// When it was disabled, in milliseconds since 1970.
    pub disabled_at: Option<i64>,
}

/// A change as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordRow {
    pub event_id: String,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event: String,
    pub at: i64,
    pub keys: Bytes,
    pub new: Option<Bytes>,
    pub old: Option<Bytes>,
    pub size: usize,
    /// The trace header of whoever wrote; empty when there is none.
    pub trace: String,
    /// Whether the platform deleted the item because its time had come.
    #[serde(default)]
    pub expired: bool,
}

pub struct StreamState {
    pub info: StreamInfo,
    pub partition: Partition,
    pub disabled: AtomicBool,
    /// The number of the next record.
    pub next: AtomicU64,
    /// Records below this number are durable and may be read.
    pub readable: AtomicU64,
    pub changed: watch::Sender<u64>,
}

pub fn load_streams(platform: &Platform) -> Result<HashMap<String, Arc<StreamState>>, Damaged> {
    let mut streams = HashMap::new();
    for partition in Partition::ALL {
        for (arn, info) in platform.store.all(&STREAMS, partition)? {
            let mut next = 0;
            let range = (arn.clone(), 0)..=(arn.clone(), u64::MAX);
            platform.store.scan_back(&STREAM_RECORDS, partition, range, |(_, number), _| {
                next = number + 1;
                ControlFlow::Break(())
            })?;
            streams.insert(arn, Arc::new(StreamState::new(info, next)));
        }
    }
    Ok(streams)
}

impl StreamState {
    pub fn new(info: StreamInfo, next: u64) -> StreamState {
        StreamState {
            partition: Partition::of(&info.table_arn),
            disabled: AtomicBool::new(info.disabled_at.is_some()),
            info,
            next: AtomicU64::new(next),
            readable: AtomicU64::new(next),
            changed: watch::Sender::new(0),
        }
    }

    pub fn shard_id(&self) -> String {
        let digest = self
            .info
            .arn
            .bytes()
            .fold(0xcbf2_9ce4_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("shardId-{:020}-{:08x}", self.info.created_at, digest as u32)
    }

    pub fn is_closed(&self) -> bool {
        self.disabled.load(Ordering::Acquire)
    }
}

/// A number as DynamoDB prints it.
pub fn sequence(number: u64) -> String {
    (FIRST_SEQUENCE + u128::from(number)).to_string()
}

/// The number of a printed one.
pub fn number(sequence: &str) -> Option<u64> {
    u64::try_from(sequence.parse::<u128>().ok()?.checked_sub(FIRST_SEQUENCE)?).ok()
}

/// A change of one item.
pub struct Change<'a> {
    pub key: &'a Item,
    pub old: Option<&'a Item>,
    pub new: Option<&'a Item>,
    pub expired: bool,
}

impl DynamoDb {
    /// Keeps a new stream in the batch of its table.
    pub fn keep_stream(batch: &mut Batch, info: &StreamInfo) {
        batch.put_in(Partition::of(&info.table_arn), &STREAMS, &info.arn, info);
    }

    /// Writes the record of a change into its batch. Nothing when the table has no stream or nothing changed. The caller
    /// holds the table's lock and calls [`DynamoDb::written`] once the batch is submitted.
    pub fn record(
        &self,
        cx: &Cx,
        table: &TableRow,
        batch: &mut Batch,
        change: &Change<'_>,
    ) -> Option<Arc<StreamState>> {
        let stream = self.streams.read().get(&table.stream.as_ref()?.arn).cloned()?;
        let event = match (change.old, change.new) {
            (None, None) => return None,
            (None, Some(_)) => "INSERT",
            (Some(_), None) => "REMOVE",
            (Some(old), Some(new)) if old == new => return None,
            (Some(_), Some(_)) => "MODIFY",
        };
        let view = stream.info.view.as_str();
        let new = change.new.filter(|_| matches!(view, "NEW_IMAGE" | "NEW_AND_OLD_IMAGES"));
        let old = change.old.filter(|_| matches!(view, "OLD_IMAGE" | "NEW_AND_OLD_IMAGES"));
        let trace =
            if cx.trace().root.is_empty() { Trace::begin(cx.now(), cx.random()) } else { cx.trace().clone() };
        let record = RecordRow {
            event_id: cx.random().hex::<16>(),
            event: event.into(),
            at: cx.now().millis(),
            size: item_size(change.key) + new.map_or(0, item_size) + old.map_or(0, item_size),
            keys: encoding::encode(change.key).into(),
            new: new.map(|item| encoding::encode(item).into()),
            old: old.map(|item| encoding::encode(item).into()),
            trace: trace.to_string(),
            expired: change.expired,
        };
        let number = stream.next.fetch_add(1, Ordering::AcqRel);
        batch.put(&STREAM_RECORDS, &(stream.info.arn.clone(), number), &record);
        self.trim(batch, &stream, cx.now().millis());
        if !cx.trace().root.is_empty() {
            let fate = tidemill_delivery::Fate::happened(
                cx.now(),
                cx.trace(),
                record.event_id,
                table.arn.clone(),
                format!("{event} {}", crate::values::item_json(change.key)),
            );
            self.delivery.ledger().record(batch, &fate);
        }
        Some(stream)
    }

    fn trim(&self, batch: &mut Batch, stream: &StreamState, now: i64) {
        let range = (stream.info.arn.clone(), 0)..=(stream.info.arn.clone(), u64::MAX);
        let mut left = TRIM;
        let _ = self.platform.store.scan(&STREAM_RECORDS, stream.partition, range, |key, record| {
            if record.at > now - RETENTION_MS {
                return ControlFlow::Break(());
            }
            batch.delete(&STREAM_RECORDS, &key);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Lets readers see the records of a submitted batch as soon as it is durable. `up_to` is the number after its last.
    pub fn written(&self, streams: Vec<Arc<StreamState>>, seq: Seq) {
        for stream in streams {
            let up_to = stream.next.load(Ordering::Acquire);
            let store = self.platform.store.clone();
            tokio::spawn(async move {
                store.durable(seq).await;
                stream.readable.fetch_max(up_to, Ordering::AcqRel);
                stream.changed.send_modify(|count| *count += 1);
            });
        }
    }

    /// Up to `most` readable records from a number on, none older than a day.
    pub fn read_records(
        &self,
        stream: &StreamState,
        from: u64,
        most: usize,
    ) -> Result<Vec<(u64, RecordRow)>, Fault> {
        let until = stream.readable.load(Ordering::Acquire);
        let oldest = self.platform.clock.now().millis() - RETENTION_MS;
        let mut records = Vec::new();
        if from >= until || most == 0 {
            return Ok(records);
        }
        let range = (stream.info.arn.clone(), from)..(stream.info.arn.clone(), until);
        let scanned =
            self.platform.store.scan(&STREAM_RECORDS, stream.partition, range, |(_, number), record| {
                if record.at > oldest {
                    records.push((number, record));
                }
                if records.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        scanned.map_err(Fault::internal)?;
        Ok(records)
    }
}
