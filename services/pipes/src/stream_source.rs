//! Streams as sources: crate `delivery` reads them in order, retries, bisects and gives up as the parameters say; here is
//! the pipe as the consumer, and the document that a dead-letter queue gets.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_delivery::{
    Event, Handover,
    stream::{Consumed, Consumer, GivenUp, Record, Start, StreamMapping},
};
use tidemill_platform::Cx;

use crate::{
    Pipes,
    execution::{Item, execute},
    plan::{Plan, Source, StreamSource},
    sending::Sent,
};

/// How a pipe's stream is read.
pub fn mapping(pipes: Weak<Pipes>, plan: &Arc<Plan>, settings: &StreamSource) -> StreamMapping {
    StreamMapping {
        id: plan.id.clone(),
        stream: plan.source_arn.clone(),
        target: plan.arn.clone(),
        start: if settings.from_latest { Start::Latest } else { Start::Oldest },
        batch_size: settings.batch_size,
        window_ms: i64::from(settings.window_s) * 1000,
        lanes: settings.lanes,
        retries: settings.retries,
        max_age_s: settings.max_age_s,
        bisect: settings.bisects,
        consumer: Arc::new(PipeConsumer { pipes, plan: plan.clone() }),
    }
}

struct PipeConsumer {
    pipes: Weak<Pipes>,
    plan: Arc<Plan>,
}

impl Consumer for PipeConsumer {
    fn wants(&self, record: &Record) -> bool {
        self.plan.filters.want(&event(record))
    }

    fn consume<'a>(&'a self, cx: &'a Cx, _: &'a str, records: &'a [Record]) -> BoxFuture<'a, Consumed> {
        self.bring(cx, records).boxed()
    }

    fn given_up(&self, cx: &Cx, lost: &GivenUp<'_>) -> Vec<Handover> {
        let Source::Stream(StreamSource { dead_letter: Some(to), .. }) = &self.plan.source else {
            return Vec::new();
        };
        let Some(pipes) = self.pipes.upgrade() else { return Vec::new() };
        let event = Event {
            id: cx.random().uuid(),
            source: lost.stream.to_string(),
            via: self.plan.arn.clone(),
            payload: document(cx, &self.plan.arn, lost),
            attributes: Default::default(),
            trace: cx.trace().clone(),
        };
        let taken = pipes.delivery.accept(cx, to, event);
        taken
            .map_err(
                |fault| tracing::warn!(queue = %to, %fault, "a dead-letter queue does not take the records"),
            )
            .into_iter()
            .collect()
    }
}

impl PipeConsumer {
    async fn bring(&self, cx: &Cx, records: &[Record]) -> Consumed {
        let Some(pipes) = self.pipes.upgrade() else { return Consumed::Throttled };
        // The stream's account and region are the pipe's.
        let cx = self.plan.cx(&pipes.platform, Some(cx.trace().clone()));
        let item = |record: &Record| Item {
            id: record.event_id.clone(),
            event: event(record),
            trace: record.trace.clone(),
        };
        let items: Vec<Item> = records.iter().map(item).collect();
        match execute(&pipes, &self.plan, &cx, &items).await {
            Sent::All => Consumed::Done,
            Sent::Except { failed, reason } => {
                match records.iter().find(|record| failed.contains(&record.event_id)) {
                    Some(first) => Consumed::FailedFrom(first.sequence.clone()),
                    None => Consumed::Failed { reason },
                }
            }
            Sent::Failed { reason } => Consumed::Failed { reason },
            Sent::Throttled { .. } => Consumed::Throttled,
        }
    }
}

fn event(record: &Record) -> Value {
    serde_json::from_slice(&record.json).unwrap_or_default()
}

/// The document about records that were given up, as AWS was seen to write it (2023 and 2024, in messages that people
/// published).
fn document(cx: &Cx, pipe_arn: &str, lost: &GivenUp<'_>) -> Bytes {
    let time = |millis: i64| {
        jiff::Timestamp::from_millisecond(millis)
            .unwrap_or_default()
            .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
            .to_string()
    };
    let (first, last) = (lost.records.first(), lost.records.last());
    let condition = if lost.expired { "RecordAgeExceeded" } else { "RetryAttemptsExhausted" };
    let document = json!({
        "context": {"partnerResourceArn": pipe_arn, "condition": condition},
        "version": "1.0",
        "timestamp": time(cx.now().millis()),
        "DDBStreamBatchInfo": {
            "shardId": lost.shard,
            "startSequenceNumber": first.map(|record| &record.sequence),
            "endSequenceNumber": last.map(|record| &record.sequence),
            "approximateArrivalOfFirstRecord": first.map(|record| time(record.at.millis())),
            "approximateArrivalOfLastRecord": last.map(|record| time(record.at.millis())),
            "batchSize": lost.records.len(),
            "streamArn": lost.stream,
        },
    });
    Bytes::from(document.to_string())
}
