//! DynamoDB Streams: the API for readers, and the door through which mappings read.

use std::sync::{Arc, atomic::Ordering};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::json;
use tidemill_delivery::stream::{self, Record, StreamSource};
use tidemill_dynamo_expression::{Item, encoding};
use tidemill_platform::{Cx, Fault, Timestamp, Trace};
use tokio::sync::watch;

use crate::{
    DynamoDb,
    stream_records::{RETENTION_MS, RecordRow, StreamState, number, sequence},
    streams_api::{
        self, DescribeStreamInput, DescribeStreamOutput, ExpiredIteratorException, GetRecordsInput,
        GetRecordsOutput, GetShardIteratorInput, GetShardIteratorOutput, KeySchemaElement, KeyType,
        ListStreamsInput, ListStreamsOutput, OperationType, ResourceNotFoundException, SequenceNumberRange,
        Shard, ShardIteratorType, Stream, StreamDescription, StreamStatus, StreamViewType,
        TrimmedDataAccessException,
    },
    values::item_json,
};

/// An iterator is good for fifteen minutes.
const ITERATOR_MS: i64 = 15 * 60_000;
const MOST_RECORDS: usize = 1000;

pub async fn list_streams(
    db: &DynamoDb,
    cx: &Cx,
    input: ListStreamsInput,
) -> Result<ListStreamsOutput, Fault> {
    let mut mine: Vec<Stream> = db
        .streams
        .read()
        .values()
        .filter(|stream| {
            let of_caller = stream.info.arn.starts_with(&cx.arn("dynamodb", "table/").to_string());
            of_caller && input.table_name.as_ref().is_none_or(|name| *name == stream.info.table_name)
        })
        .map(|stream| Stream {
            stream_arn: Some(stream.info.arn.clone()),
            table_name: Some(stream.info.table_name.clone()),
            stream_label: Some(stream.info.label.clone()),
        })
        .collect();
    mine.sort_by(|a, b| a.stream_arn.cmp(&b.stream_arn));
    let after = input.exclusive_start_stream_arn;
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100).min(100);
    let mut rest = mine.into_iter().filter(|stream| after.is_none() || stream.stream_arn > after);
    let streams: Vec<Stream> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let last = streams.last().filter(|_| more).and_then(|stream| stream.stream_arn.clone());
    Ok(ListStreamsOutput { streams: Some(streams), last_evaluated_stream_arn: last })
}

pub async fn describe_stream(
    db: &DynamoDb,
    _: &Cx,
    input: DescribeStreamInput,
) -> Result<DescribeStreamOutput, Fault> {
    if input.shard_filter.is_some() {
        return Err(Fault::not_implemented("DescribeStream with ShardFilter"));
    }
    let stream = db.stream(&input.stream_arn)?;
    let info = &stream.info;
    let last = stream.readable.load(Ordering::Acquire);
    let shard = Shard {
        shard_id: Some(stream.shard_id()),
        sequence_number_range: Some(SequenceNumberRange {
            starting_sequence_number: Some(sequence(0)),
            ending_sequence_number: stream.is_closed().then(|| sequence(last.saturating_sub(1))),
        }),
        parent_shard_id: None,
    };
    let begun = input.exclusive_start_shard_id.is_some();
    let element = |name: &String, key_type| KeySchemaElement { attribute_name: name.clone(), key_type };
    let keys = std::iter::once(element(&info.keys.hash, KeyType::Hash))
        .chain(info.keys.range.as_ref().map(|name| element(name, KeyType::Range)));
    Ok(DescribeStreamOutput {
        stream_description: Some(StreamDescription {
            stream_arn: Some(info.arn.clone()),
            stream_label: Some(info.label.clone()),
            stream_status: Some(if stream.is_closed() {
                StreamStatus::Disabled
            } else {
                StreamStatus::Enabled
            }),
            stream_view_type: Some(info.view.as_str().into()),
            creation_request_date_time: Some(Timestamp::from_millis(info.created_at)),
            table_name: Some(info.table_name.clone()),
            key_schema: Some(keys.collect()),
            shards: Some(if begun { Vec::new() } else { vec![shard] }),
            last_evaluated_shard_id: None,
        }),
    })
}

pub async fn get_shard_iterator(
    db: &DynamoDb,
    cx: &Cx,
    input: GetShardIteratorInput,
) -> Result<GetShardIteratorOutput, Fault> {
    let stream = db.stream(&input.stream_arn)?;
    if input.shard_id != stream.shard_id() {
        return Err(ResourceNotFoundException::new(format!(
            "Requested resource not found: Shard: {} not found",
            input.shard_id
        ))
        .into());
    }
    let named = || {
        let text = input
            .sequence_number
            .as_deref()
            .ok_or_else(|| Fault::validation("SequenceNumber is required for this ShardIteratorType"))?;
        number(text).ok_or_else(|| Fault::validation(format!("Invalid SequenceNumber: {text}")))
    };
    let from = match input.shard_iterator_type {
        ShardIteratorType::TrimHorizon => 0,
        ShardIteratorType::Latest => stream.readable.load(Ordering::Acquire),
        ShardIteratorType::AtSequenceNumber => named()?,
        _ => named()? + 1,
    };
    if matches!(
        input.shard_iterator_type,
        ShardIteratorType::AtSequenceNumber | ShardIteratorType::AfterSequenceNumber
    ) {
        db.check_trimmed(&stream, from)?;
    }
    Ok(GetShardIteratorOutput { shard_iterator: Some(iterator(&stream, from, cx.now().millis())) })
}

pub async fn get_records(db: &DynamoDb, cx: &Cx, input: GetRecordsInput) -> Result<GetRecordsOutput, Fault> {
    let (arn, from, made_at) = read_iterator(&input.shard_iterator)?;
    let now = cx.now().millis();
    if made_at + ITERATOR_MS < now {
        return Err(ExpiredIteratorException::new("Shard iterator has expired").into());
    }
    let stream = db.stream(&arn)?;
    let limit = usize::try_from(input.limit.unwrap_or(1000)).unwrap_or(MOST_RECORDS).min(MOST_RECORDS);
    let found = db.read_records(&stream, from, limit)?;
    let next = found.last().map_or(from, |(number, _)| number + 1);
    let ended = stream.is_closed() && next >= stream.readable.load(Ordering::Acquire);
    let records =
        found.iter().map(|(number, record)| wire(&stream, *number, record)).collect::<Result<Vec<_>, _>>()?;
    Ok(GetRecordsOutput {
        records: Some(records),
        next_shard_iterator: (!ended).then(|| iterator(&stream, next, now)),
    })
}

impl DynamoDb {
    pub fn stream(&self, arn: &str) -> Result<Arc<StreamState>, Fault> {
        let missing = || {
            ResourceNotFoundException::new(format!("Requested resource not found: Stream: {arn} not found"))
                .into()
        };
        self.streams.read().get(arn).cloned().ok_or_else(missing)
    }

    fn check_trimmed(&self, stream: &StreamState, from: u64) -> Result<(), Fault> {
        let first = self.read_records(stream, 0, 1)?.first().map(|(number, _)| *number);
        match first {
            Some(first) if from < first => Err(TrimmedDataAccessException::new(
                "The requested sequence number is beyond the trim horizon",
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// `arn|number|moment`, opaque to callers.
fn iterator(stream: &StreamState, from: u64, now: i64) -> String {
    format!("{}|1|{}", stream.info.arn, BASE64_URL_SAFE_NO_PAD.encode(format!("{from}|{now}")))
}

fn read_iterator(text: &str) -> Result<(String, u64, i64), Fault> {
    let read = || {
        let mut parts = text.splitn(3, '|');
        let (arn, _, place) = (parts.next()?, parts.next()?, parts.next()?);
        let place = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(place).ok()?).ok()?;
        let (from, made_at) = place.split_once('|')?;
        Some((arn.to_string(), from.parse().ok()?, made_at.parse().ok()?))
    };
    read().ok_or_else(|| Fault::validation("Invalid ShardIterator"))
}

fn wire(stream: &StreamState, number: u64, record: &RecordRow) -> Result<streams_api::Record, Fault> {
    let item = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| decode(bytes)).transpose();
    Ok(streams_api::Record {
        event_id: Some(record.event_id.clone()),
        event_name: Some(OperationType::from(record.event.as_str())),
        event_version: Some("1.1".into()),
        event_source: Some("aws:dynamodb".into()),
        aws_region: stream.info.arn.split(':').nth(3).map(str::to_string),
        dynamodb: Some(streams_api::StreamRecord {
            approximate_creation_date_time: Some(Timestamp::from_secs(record.at.div_euclid(1000))),
            keys: Some(decode(&record.keys)?),
            new_image: item(&record.new)?,
            old_image: item(&record.old)?,
            sequence_number: Some(sequence(number)),
            size_bytes: Some(i64::try_from(record.size).unwrap_or(0)),
            stream_view_type: Some(StreamViewType::from(stream.info.view.as_str())),
        }),
        user_identity: record.expired.then(|| streams_api::Identity {
            principal_id: Some(EXPIRED_BY.into()),
            r#type: Some("Service".into()),
        }),
    })
}

fn decode(bytes: &[u8]) -> Result<Item, Fault> {
    encoding::decode(bytes).ok_or_else(|| Fault::internal("a stream record cannot be read back"))
}

/// Who deletes items whose time has come.
const EXPIRED_BY: &str = "dynamodb.amazonaws.com";

/// The record as functions get it.
fn event(stream: &StreamState, number: u64, record: &RecordRow) -> Result<Bytes, Fault> {
    let mut change = json!({
        "ApproximateCreationDateTime": record.at.div_euclid(1000),
        "Keys": item_json(&decode(&record.keys)?),
    });
    if let Some(new) = &record.new {
        change["NewImage"] = item_json(&decode(new)?);
    }
    if let Some(old) = &record.old {
        change["OldImage"] = item_json(&decode(old)?);
    }
    change["SequenceNumber"] = sequence(number).into();
    change["SizeBytes"] = record.size.into();
    change["StreamViewType"] = stream.info.view.clone().into();
    let mut event = json!({
        "eventID": record.event_id,
        "eventName": record.event,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": stream.info.arn.split(':').nth(3),
        "dynamodb": change,
        "eventSourceARN": stream.info.arn,
    });
    if record.expired {
        event["userIdentity"] = json!({ "principalId": EXPIRED_BY, "type": "Service" });
    }
    Ok(Bytes::from(event.to_string()))
}

impl StreamSource for DynamoDb {
    fn shards(&self, stream: &str) -> Result<Vec<stream::Shard>, Fault> {
        let stream = self.stream(stream)?;
        // A day after it was disabled nothing is left to read.
        let over =
            stream.info.disabled_at.is_some_and(|at| at + RETENTION_MS < self.platform.clock.now().millis());
        let shard = stream::Shard { id: stream.shard_id(), parent: None, closed: stream.is_closed() };
        Ok(if over { Vec::new() } else { vec![shard] })
    }

    fn read(&self, stream: &str, _: &str, after: Option<&str>, most: usize) -> Result<Vec<Record>, Fault> {
        let stream = self.stream(stream)?;
        let from = after.and_then(number).map_or(0, |number| number + 1);
        let found = self.read_records(&stream, from, most)?;
        let record = |(number, record): (u64, RecordRow)| {
            Ok(Record {
                sequence: sequence(number),
                at: Timestamp::from_millis(record.at),
                event_id: record.event_id.clone(),
                partition_key: String::from_utf8_lossy(&record.keys).into_owned(),
                json: event(&stream, number, &record)?,
                trace: Trace::parse(&record.trace).unwrap_or_default(),
            })
        };
        found.into_iter().map(record).collect()
    }

    fn latest(&self, stream: &str, _: &str) -> Result<Option<String>, Fault> {
        let stream = self.stream(stream)?;
        Ok(stream.readable.load(Ordering::Acquire).checked_sub(1).map(sequence))
    }

    fn watch(&self, stream: &str) -> Result<watch::Receiver<u64>, Fault> {
        Ok(self.stream(stream)?.changed.subscribe())
    }
}
