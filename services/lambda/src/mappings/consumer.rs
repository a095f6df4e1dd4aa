//! A function as the consumer of a stream: the batch as an event, its answer as Lambda reads it, the document that a
//! failure destination gets.

use std::sync::Weak;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_delivery::{
    Event, Handover,
    stream::{Consumed, Consumer, GivenUp, Record},
};
use tidemill_event_pattern::Pattern;
use tidemill_platform::{Arn, Cx, Fault};

use crate::{Lambda, mappings::MappingRow, names::Named};

pub struct FunctionConsumer {
    lambda: Weak<Lambda>,
    function_arn: String,
    on_failure: Option<String>,
    reports_failures: bool,
    filters: Vec<Pattern>,
}

impl FunctionConsumer {
    pub fn new(lambda: &Lambda, row: &MappingRow) -> Result<FunctionConsumer, Fault> {
        let filters =
            row.filters.iter().map(|text| Pattern::parse(text).map_err(|e| Fault::validation(e.to_string())));
        Ok(FunctionConsumer {
            lambda: lambda.this.clone(),
            function_arn: row.function_arn.clone(),
            on_failure: row.on_failure.clone(),
            reports_failures: row.reports_failures,
            filters: filters.collect::<Result<_, _>>()?,
        })
    }

    async fn invoke(&self, cx: &Cx, records: &[Record]) -> Consumed {
        let Some(lambda) = self.lambda.upgrade() else { return Consumed::Throttled };
        let named = match Named::read(cx, &self.function_arn, None) {
            Ok(named) => named,
            Err(fault) => return Consumed::Failed { reason: fault.to_string() },
        };
        match lambda.run(cx, &named, cx.random().uuid(), batch(records), None).await {
            Ok((_, ran)) if ran.function_error.is_some() => {
                Consumed::Failed { reason: String::from_utf8_lossy(&ran.payload).into_owned() }
            }
            Ok((_, ran)) if self.reports_failures => reported(&ran.payload, records),
            Ok(_) => Consumed::Done,
            Err(fault) if fault.code() == "TooManyRequestsException" => Consumed::Throttled,
            Err(fault) => Consumed::Failed { reason: fault.to_string() },
        }
    }
}

impl Consumer for FunctionConsumer {
    fn wants(&self, record: &Record) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let Ok(value) = serde_json::from_slice::<Value>(&record.json) else { return true };
        self.filters.iter().any(|pattern| pattern.matches_naive(&value))
    }

    fn consume<'a>(&'a self, cx: &'a Cx, _: &'a str, records: &'a [Record]) -> BoxFuture<'a, Consumed> {
        self.invoke(cx, records).boxed()
    }

    fn given_up(&self, cx: &Cx, lost: &GivenUp<'_>) -> Vec<Handover> {
        let (Some(lambda), Some(to)) = (self.lambda.upgrade(), &self.on_failure) else { return Vec::new() };
        let event = Event {
            id: cx.random().uuid(),
            source: lost.stream.to_string(),
            via: self.function_arn.clone(),
            payload: document(cx, &self.function_arn, lost),
            attributes: Default::default(),
            trace: cx.trace().clone(),
        };
        let taken = to
            .parse::<Arn>()
            .map_err(|_| Fault::validation("no ARN"))
            .and_then(|arn| lambda.delivery.accept(cx, &arn, event));
        taken.map_err(|fault| tracing::warn!(destination = to, %fault, "a failure destination does not take the record")).into_iter().collect()
    }
}

/// `{"Records": [...]}` of records that are JSON already.
fn batch(records: &[Record]) -> Bytes {
    let size: usize = records.iter().map(|record| record.json.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 16);
    out.extend_from_slice(b"{\"Records\":[");
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&record.json);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(out)
}

/// What a function that reports failures answered. Lambda takes an empty or null answer, or an empty list, as success;
/// an identifier that is empty, unknown or missing fails the whole batch.
fn reported(answer: &[u8], records: &[Record]) -> Consumed {
    let malformed = || Consumed::Failed {
        reason: "the answer reports batch item failures that are not in the batch".into(),
    };
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return Consumed::Done };
    let failures = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Consumed::Done,
        Some(Value::Array(failures)) => failures,
        Some(_) => return malformed(),
    };
    let mut first = records.len();
    for failure in failures {
        let id = failure.get("itemIdentifier").and_then(Value::as_str).filter(|id| !id.is_empty());
        let Some(at) = id.and_then(|id| records.iter().position(|record| record.sequence == id)) else {
            return malformed();
        };
        first = first.min(at);
    }
    match records.get(first) {
        Some(record) => Consumed::FailedFrom(record.sequence.clone()),
        None => Consumed::Done,
    }
}

/// The document about a batch that was given up. Source: "Retain discarded batches" in the Lambda developer guide.
fn document(cx: &Cx, function_arn: &str, lost: &GivenUp<'_>) -> Bytes {
    let time = |millis: i64| {
        jiff::Timestamp::from_millisecond(millis)
            .unwrap_or_default()
            .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
            .to_string()
    };
    let (first, last) = (lost.records.first(), lost.records.last());
    let service = lost.stream.split(':').nth(2).unwrap_or_default();
    let info = if service == "kinesis" { "KinesisBatchInfo" } else { "DDBStreamBatchInfo" };
    let condition = if lost.expired { "RecordAgeExceeded" } else { "RetryAttemptsExhausted" };
    let mut document = json!({
        "requestContext": {
            "requestId": cx.request_id(),
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": lost.attempts,
        },
        "version": "1.0",
        "timestamp": time(cx.now().millis()),
        info: {
            "shardId": lost.shard,
            "startSequenceNumber": first.map(|record| &record.sequence),
            "endSequenceNumber": last.map(|record| &record.sequence),
            "approximateArrivalOfFirstRecord": first.map(|record| time(record.at.millis())),
            "approximateArrivalOfLastRecord": last.map(|record| time(record.at.millis())),
            "batchSize": lost.records.len(),
            "streamArn": lost.stream,
        },
    });
    if !lost.expired {
        document["responseContext"] =
            json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"});
    }
    Bytes::from(document.to_string())
}

#[cfg(test)]
mod tests {
    use tidemill_platform::{Timestamp, Trace};

    use super::*;

    fn records(count: usize) -> Vec<Record> {
        let record = |n: usize| Record {
            sequence: format!("{n}"),
            at: Timestamp::from_secs(0),
            event_id: String::new(),
            partition_key: String::new(),
            json: Bytes::from(format!("{{\"n\":{n}}}")),
            trace: Trace::default(),
        };
        (0..count).map(record).collect()
    }

    #[test]
    fn a_batch_is_one_event() {
        assert_eq!(batch(&records(2)), r#"{"Records":[{"n":0},{"n":1}]}"#);
    }

    #[test]
    fn reported_failures_are_read_as_lambda_does() {
        let from = |answer: &str| match reported(answer.as_bytes(), &records(3)) {
            Consumed::Done => "done".to_string(),
            Consumed::FailedFrom(sequence) => sequence,
            Consumed::Failed { .. } => "all".to_string(),
            Consumed::Throttled => "throttled".to_string(),
        };
        for (answer, outcome) in [
            ("null", "done"),
            ("{}", "done"),
            (r#"{"batchItemFailures":null}"#, "done"),
            (r#"{"batchItemFailures":[]}"#, "done"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"1"}]}"#, "1"),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, "all"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#, "all"),
            (r#"{"batchItemFailures":[{"id":"1"}]}"#, "all"),
            (r#"{"batchItemFailures":"1"}"#, "all"),
        ] {
            assert_eq!(from(answer), outcome, "{answer}");
        }
    }
}
