//! A function as the consumer of a stream: the batch as an event, its answer as Lambda reads it, the document that a
//! failure destination gets.

use std::sync::Weak;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_delivery::{
    Handover,
    stream::{Consumed, Consumer, GivenUp, Record, Window},
};
use tidemill_event_pattern::Pattern;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Lambda,
    destinations::{self, Telling},
    mappings::MappingRow,
    names::Named,
    run::Call,
};

/// What `LastProcessingResult` says of an invocation that failed.
const FAILED: &str = "PROBLEM: Function call failed";

pub struct FunctionConsumer {
    lambda: Weak<Lambda>,
    uuid: String,
    function_arn: String,
    on_failure: Option<String>,
    reports_failures: bool,
    tumbling_ms: i64,
    source_arn: String,
    filters: Vec<Pattern>,
}

impl FunctionConsumer {
    pub fn new(lambda: &Lambda, row: &MappingRow) -> Result<FunctionConsumer, Fault> {
        let filters =
            row.filters.iter().map(|text| Pattern::parse(text).map_err(|e| Fault::validation(e.to_string())));
        Ok(FunctionConsumer {
            lambda: lambda.this.clone(),
            uuid: row.uuid.clone(),
            function_arn: row.function_arn.clone(),
            on_failure: row.on_failure.clone(),
            reports_failures: row.reports_failures,
            tumbling_ms: i64::from(row.tumbling_s) * 1000,
            source_arn: row.source_arn.clone(),
            filters: filters.collect::<Result<_, _>>()?,
        })
    }

    async fn invoke(&self, cx: &Cx, payload: Bytes, records: &[Record]) -> (Consumed, Option<Bytes>) {
        let ran = self.run(cx, payload).await;
        if let Some(lambda) = self.lambda.upgrade() {
            super::note_result(&lambda, &self.uuid, if ran.is_ok() { "OK" } else { FAILED });
        }
        match ran {
            Ok(answer) if self.reports_failures => (reported(&answer, records), Some(answer)),
            Ok(answer) => (Consumed::Done, Some(answer)),
            Err(consumed) => (consumed, None),
        }
    }

    /// The version that the mapping's function stands for now.
    fn version(&self, lambda: &Lambda, cx: &Cx) -> String {
        let named = Named::read(cx, &self.function_arn, None).ok();
        let row = named.as_ref().and_then(|named| lambda.get(named).ok());
        let version = row
            .zip(named)
            .and_then(|(row, named)| Some(row.resolve(named.qualifier.as_deref(), cx.random())?.0));
        version.unwrap_or_else(|| "$LATEST".into())
    }

    /// The function's answer, or what else became of the batch.
    async fn run(&self, cx: &Cx, payload: Bytes) -> Result<Bytes, Consumed> {
        let failed = |reason: String| Consumed::Failed { reason };
        let lambda = self.lambda.upgrade().ok_or(Consumed::Throttled)?;
        let named = Named::read(cx, &self.function_arn, None).map_err(|fault| failed(fault.to_string()))?;
        let call = Call { payload, chained: false, ..Call::new(cx.random().uuid()) };
        match lambda.run(cx, &named, call).await {
            Ok((_, ran)) if ran.function_error.is_some() => {
                Err(failed(String::from_utf8_lossy(&ran.payload).into_owned()))
            }
            Ok((_, ran)) => Ok(ran.payload),
            // Nor does it count where the platform is being stopped.
            Err(fault) if fault.code() == "TooManyRequestsException" || fault.status() == 503 => {
                Err(Consumed::Throttled)
            }
            Err(fault) => Err(failed(fault.to_string())),
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
        async move { self.invoke(cx, batch(records, None), records).await.0 }.boxed()
    }

    fn window_ms(&self) -> i64 {
        self.tumbling_ms
    }

    fn consume_in<'a>(
        &'a self,
        cx: &'a Cx,
        shard: &'a str,
        window: Window<'a>,
        records: &'a [Record],
    ) -> BoxFuture<'a, (Consumed, Option<String>)> {
        async move {
            let about = about(&self.source_arn, shard, &window);
            let (consumed, answer) = self.invoke(cx, batch(records, Some(&about)), records).await;
            (consumed, answer.map(|answer| state(&answer)))
        }
        .boxed()
    }

    fn given_up(&self, cx: &Cx, lost: &GivenUp<'_>) -> Vec<Handover> {
        let (Some(lambda), Some(to)) = (self.lambda.upgrade(), &self.on_failure) else { return Vec::new() };
        let mut record = document(cx, &self.function_arn, &self.version(&lambda, cx), lost);
        if to.split(':').nth(2) == Some("s3") {
            record["payload"] = String::from_utf8_lossy(&batch(lost.records, None)).into();
        }
        let telling = Telling {
            to,
            id: cx.random().uuid(),
            source: self.function_arn.clone(),
            record,
            succeeded: false,
            folder: format!("{}/{}", self.uuid, lost.shard),
            trace: cx.trace().clone(),
        };
        destinations::tell(&lambda, cx, telling).into_iter().collect()
    }
}

/// What an event of a tumbling window says beside its records, as members of a JSON object.
fn about(source_arn: &str, shard: &str, window: &Window<'_>) -> String {
    let time = |at: Timestamp| jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default().to_string();
    let members = json!({
        "window": { "start": time(window.start), "end": time(window.end) },
        "shardId": shard,
        "eventSourceARN": source_arn,
        "isFinalInvokeForWindow": window.is_last,
        "isWindowTerminatedEarly": window.is_early,
    });
    let members = members.to_string();
    let inner = members.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    format!("\"state\":{},{inner}", window.state)
}

/// The state a function answers for its window's next batch; none begins anew.
fn state(answer: &[u8]) -> String {
    let answer: Option<Value> = serde_json::from_slice(answer).ok();
    let state = answer.as_ref().and_then(|answer| answer.get("state")).filter(|state| state.is_object());
    state.map_or_else(|| "{}".into(), Value::to_string)
}

/// `{"Records": [...]}` of records that are JSON already, and `about` behind them.
fn batch(records: &[Record], about: Option<&str>) -> Bytes {
    let size: usize = records.iter().map(|record| record.json.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 16);
    out.extend_from_slice(b"{\"Records\":[");
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&record.json);
    }
    out.push(b']');
    if let Some(about) = about {
        out.push(b',');
        out.extend_from_slice(about.as_bytes());
    }
    out.push(b'}');
    Bytes::from(out)
}

/// What a function that reports failures answered. Nothing, an empty list, text or object is success; an answer that is
/// no JSON or of another form, and an identifier that is empty, unknown or missing, fail the whole batch.
fn reported(answer: &[u8], records: &[Record]) -> Consumed {
    let malformed = || Consumed::Failed {
        reason: "the answer reports batch item failures that are not in the batch".into(),
    };
    let failures = match serde_json::from_slice::<Value>(answer) {
        Ok(Value::Null) => return Consumed::Done,
        Ok(Value::String(text)) if text.is_empty() => return Consumed::Done,
        Ok(Value::Array(list)) if list.is_empty() => return Consumed::Done,
        Ok(Value::Object(mut answer)) => match answer.remove("batchItemFailures") {
            None | Some(Value::Null) => return Consumed::Done,
            Some(Value::Array(failures)) => failures,
            Some(_) => return malformed(),
        },
        Err(_) if answer.iter().all(u8::is_ascii_whitespace) => return Consumed::Done,
        Ok(_) | Err(_) => return malformed(),
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
fn document(cx: &Cx, function_arn: &str, version: &str, lost: &GivenUp<'_>) -> Value {
    let (first, last) = (lost.records.first(), lost.records.last());
    let kinesis = lost.stream.split(':').nth(2) == Some("kinesis");
    let condition = if lost.expired { "RecordAgeExceeded" } else { "RetryAttemptsExhausted" };
    // Streams of tables know the second in which a record came.
    let arrival = |record: &Record| {
        let millis = record.at.millis();
        if kinesis { destinations::shown(record.at) } else { seconds(millis) }
    };
    let mut document = json!({
        "requestContext": {
            "requestId": cx.request_id(),
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": lost.attempts,
        },
    });
    if !lost.expired {
        document["responseContext"] =
            json!({"statusCode": 200, "executedVersion": version, "functionError": "Unhandled"});
    }
    document["version"] = "1.0".into();
    document["timestamp"] = destinations::shown(cx.now()).into();
    document[if kinesis { "KinesisBatchInfo" } else { "DDBStreamBatchInfo" }] = json!({
        "shardId": lost.shard,
        "startSequenceNumber": first.map(|record| &record.sequence),
        "endSequenceNumber": last.map(|record| &record.sequence),
        "approximateArrivalOfFirstRecord": first.map(arrival),
        "approximateArrivalOfLastRecord": last.map(arrival),
        "batchSize": lost.records.len(),
        "streamArn": lost.stream,
    });
    document
}

fn seconds(millis: i64) -> String {
    jiff::Timestamp::from_second(millis.div_euclid(1000)).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use tidemill_platform::Trace;

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
        assert_eq!(batch(&records(2), None), r#"{"Records":[{"n":0},{"n":1}]}"#);
    }

    #[test]
    fn a_windows_batch_tells_of_it() {
        let window = Window {
            start: Timestamp::from_secs(60),
            end: Timestamp::from_secs(120),
            state: r#"{"sum":1}"#,
            is_last: true,
            is_early: false,
        };
        let event: Value =
            serde_json::from_slice(&batch(&records(1), Some(&about("arn", "shard", &window)))).unwrap();
        let expected = json!({
            "Records": [{"n": 0}],
            "state": {"sum": 1},
            "window": {"start": "1970-01-01T00:01:00Z", "end": "1970-01-01T00:02:00Z"},
            "shardId": "shard",
            "eventSourceARN": "arn",
            "isFinalInvokeForWindow": true,
            "isWindowTerminatedEarly": false,
        });
        assert_eq!(event, expected);
        assert_eq!(state(br#"{"state":{"sum":2}}"#), r#"{"sum":2}"#);
        assert_eq!((state(b"null"), state(br#"{"state":3}"#)), ("{}".into(), "{}".into()));
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
            ("", "done"),
            ("\"\"", "done"),
            ("[]", "done"),
            (r#"{"other":1}"#, "done"),
            ("\"text\"", "all"),
            ("not json", "all"),
            ("[1]", "all"),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, "all"),
            (r#"{"batchItemFailures":[{"itemIdentifier":1}]}"#, "all"),
            (r#"{"batchItemFailures":["1"]}"#, "all"),
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
