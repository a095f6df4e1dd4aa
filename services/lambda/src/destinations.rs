//! Where records of invocations go: queues, topics, functions and buses take them from the delivery engine; into buckets they
//! are written here.
//!
//! Source: "Capturing records of Lambda asynchronous invocations" and "Retain discarded records" in the Lambda developer guide.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Route, policy::Backoff};
use tidemill_platform::{Arn, Cx, Fault, Timestamp};

use crate::Lambda;

pub const ROUTE: &str = "lambda.bucket";

/// Objects written into one bucket at the same time.
const WIDTH: usize = 16;

/// A record on its way.
pub struct Telling<'a> {
    /// ARN of the destination.
    pub to: &'a str,
    /// By which people find the invocation again.
    pub id: String,
    /// ARN of what is told of: the function that ran.
    pub source: String,
    pub record: Value,
    pub succeeded: bool,
    /// In a bucket: the folder of the record below `aws/lambda/`.
    pub folder: String,
    pub trace: tidemill_platform::Trace,
}

/// Refuses a destination whose service takes nothing here.
pub fn expect(lambda: &Lambda, arn: &str) -> Result<(), Fault> {
    let service = arn.split(':').nth(2).unwrap_or_default();
    let is_there = match service {
        "s3" => lambda.platform.doors.objects.get().is_some(),
        "events" | "lambda" | "sns" | "sqs" => lambda.delivery.takes(service),
        _ => false,
    };
    if is_there {
        return Ok(());
    }
    Err(Fault::not_implemented(format!("delivery to {service} as a destination")))
}

/// The hand-over of a record; none when the destination does not take it, which the log tells.
pub fn tell(lambda: &Lambda, cx: &Cx, telling: Telling<'_>) -> Option<Handover> {
    let to = telling.to;
    let taken =
        to.parse().map_err(|_| Fault::validation("no ARN")).and_then(|arn| accept(lambda, cx, &arn, telling));
    taken
        .map_err(|fault| tracing::warn!(destination = to, %fault, "a destination does not take the record"))
        .ok()
}

fn accept(lambda: &Lambda, cx: &Cx, to: &Arn, telling: Telling<'_>) -> Result<Handover, Fault> {
    let payload = match to.service.as_str() {
        "events" => on_the_bus(telling.to, &telling).to_string(),
        _ => telling.record.to_string(),
    };
    let mut event = Event {
        id: telling.id,
        source: telling.source,
        via: "destination".into(),
        payload: Bytes::from(payload),
        attributes: BTreeMap::new(),
        trace: telling.trace,
    };
    if to.service != "s3" {
        return lambda.delivery.accept(cx, to, event);
    }
    event.attributes.insert("key".into(), key(cx, &telling.folder));
    let policy = Policy {
        max_attempts: 5,
        max_age_s: 3600,
        backoff: Backoff::Exponential { first_ms: 1000, max_ms: 60_000 },
    };
    Ok(Handover::new(ROUTE, to.to_string(), event, policy, cx.now()))
}

/// The record as an event of EventBridge.
fn on_the_bus(bus: &str, telling: &Telling<'_>) -> Value {
    let result = if telling.succeeded { "Success" } else { "Failure" };
    json!({
        "source": "lambda",
        "detail-type": format!("Lambda Function Invocation Result - {result}"),
        "resources": [bus, with_version(&telling.source)],
        "detail": telling.record,
    })
}

/// A function's ARN with the qualifier that stands for none.
pub fn with_version(arn: &str) -> String {
    if arn.matches(':').count() == 6 { format!("{arn}:$LATEST") } else { arn.to_string() }
}

/// A moment as records and documents show it.
pub fn shown(at: Timestamp) -> String {
    formatted(at, "%Y-%m-%dT%H:%M:%S.%3fZ")
}

fn formatted(at: Timestamp, pattern: &str) -> String {
    jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default().strftime(pattern).to_string()
}

fn key(cx: &Cx, folder: &str) -> String {
    let at = formatted(cx.now(), "%Y/%m/%d/%Y-%m-%dT%H.%M.%S");
    format!("aws/lambda/{folder}/{at}-{}", cx.random().uuid())
}

/// Buckets as destinations.
pub struct Buckets(pub Arc<Lambda>);

impl Route for Buckets {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: WIDTH }
    }

    fn attempt<'a>(&'a self, _: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            match self.write(attempt.handover).await {
                Ok(()) => Outcome::Delivered { detail: String::new(), then: Vec::new() },
                Err(fault) if fault.status() < 500 => Outcome::GiveUp { reason: fault.to_string() },
                Err(fault) => Outcome::Retry { reason: fault.to_string(), counts: true, after_ms: None },
            }
        }
        .boxed()
    }

    fn exhausted(&self, _: &Cx, _: &Handover, _: &str) -> Vec<Handover> {
        Vec::new()
    }
}

impl Buckets {
    /// Writes in the name of the function's account: a bucket's ARN names none.
    async fn write(&self, handover: &Handover) -> Result<(), Fault> {
        let platform = self.0.platform.clone();
        let mut home = handover.source.split(':').skip(3);
        let (region, account) = (home.next().unwrap_or_default(), home.next().unwrap_or_default());
        let cx = Cx::internal(platform.clone(), account, region, handover.trace());
        let bucket = handover.target.rsplit(':').next().unwrap_or_default();
        let key = handover.attributes.get("key").map(String::as_str).unwrap_or_default();
        let objects = platform.doors.objects.ask("S3")?;
        objects.put(&cx, bucket, key, handover.payload.clone(), "application/json").await
    }
}
