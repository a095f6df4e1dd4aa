//! A function as a target of deliveries: its queue of asynchronous invocations, their retries, destinations and
//! dead-letter queue. Source: "Invoking a Lambda function asynchronously" in the Lambda developer guide.

use std::{collections::HashMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Route, Target, policy::Backoff};
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_sandbox::Outcome as Ran;

use crate::{
    Lambda,
    destinations::{self, Telling},
    names::Named,
    run::Call,
    state::{FunctionRow, InvokeConfigRow},
};

pub const ROUTE: &str = "lambda.async";

/// Attempts of one function at the same time.
const WIDTH: usize = 1000;

/// Failed versions that are remembered at most.
const MOST_FAILED: usize = 100_000;

pub struct Functions {
    lambda: Arc<Lambda>,
    /// Request id → the version that failed last, of invocations by alias or version.
    failed: Mutex<HashMap<String, String>>,
}

impl Functions {
    pub fn new(lambda: &Arc<Lambda>) -> Functions {
        Functions { lambda: lambda.clone(), failed: Mutex::default() }
    }
}

impl Target for Functions {
    fn accept(&self, cx: &Cx, target: &Arn, mut event: Event) -> Result<Handover, Fault> {
        let arn = target.to_string();
        let named = Named::read(cx, &arn, None)?;
        let row = self.lambda.get(&named)?;
        if !row.has(named.qualifier.as_deref()) {
            return Err(named.not_found());
        }
        let config = row
            .invoke_configs
            .get(named.qualifier.as_deref().unwrap_or("$LATEST"))
            .cloned()
            .unwrap_or_default();
        // The id of the invocation stays the same over all its attempts.
        event.attributes.entry("request-id".into()).or_insert_with(|| cx.random().uuid());
        Ok(Handover::new(ROUTE, arn, event, policy(&config), cx.now()))
    }
}

fn policy(config: &InvokeConfigRow) -> Policy {
    let retries = config.retries.map_or(2, |n| u32::try_from(n).unwrap_or(0));
    Policy {
        max_attempts: retries + 1,
        max_age_s: i64::from(config.max_age_s.unwrap_or(21_600)),
        backoff: Backoff::Fixed(vec![60, 120]),
    }
}

impl Route for Functions {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: WIDTH }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move { self.try_once(cx, attempt.handover).await }.boxed()
    }

    fn exhausted(&self, cx: &Cx, handover: &Handover, reason: &str) -> Vec<Handover> {
        let Ok(named) = Named::read(cx, &handover.target, None) else { return Vec::new() };
        let Ok(row) = self.lambda.get(&named) else { return Vec::new() };
        let failure = Failure::read(&row, handover, reason);
        let version = self.executed(cx, &named, &row, handover);
        let mut follow = Vec::new();
        let config = row.invoke_configs.get(named.qualifier.as_deref().unwrap_or("$LATEST"));
        if let Some(to) = config.and_then(|config| config.on_failure.as_deref()) {
            let record = record(cx, handover, &version, &failure.told());
            follow.extend(self.tell(cx, to, handover, record, false));
        }
        let configuration = row.resolve(Some(&version), cx.random()).map_or(&row.latest, |(_, found)| found);
        if let Some(to) = configuration.dead_letter_arn.as_deref() {
            follow.extend(self.dead_letter(cx, to, handover, &failure));
        }
        follow
    }
}

/// What reasons begin with where the function was not run.
const NOT_RUN: &str = "not run: ";

/// How an event ended that is given up.
struct Failure {
    /// As AWS names it.
    condition: &'static str,
    attempts: u32,
    /// The function's last answer; else why it was not run.
    answer: Result<Value, String>,
}

impl Failure {
    fn read(row: &FunctionRow, handover: &Handover, reason: &str) -> Failure {
        let answer = match reason.strip_prefix(NOT_RUN) {
            Some(why) => Err(why.to_string()),
            None => Ok(serde_json::from_str(reason).unwrap_or_else(|_| reason.into())),
        };
        let last = handover.attempts + 1 >= handover.policy.max_attempts;
        let condition = match &answer {
            Ok(_) if last => "RetriesExhausted",
            Err(_) if row.reserved_concurrency == Some(0) => "ZeroReservedConcurrency",
            Err(why) if why.starts_with("RecursiveInvocationException") => "RetriesExhausted",
            _ => "EventAgeExceeded",
        };
        let ran = u32::from(condition != "ZeroReservedConcurrency");
        Failure { condition, attempts: handover.tries + ran, answer }
    }

    fn told(&self) -> Told<'_> {
        let answer = self.answer.as_ref().ok();
        Told { condition: self.condition, attempts: self.attempts, error: true, answer }
    }

    /// What a dead letter says of it: a status and a sentence.
    fn error(&self) -> (&'static str, String) {
        match &self.answer {
            Ok(answer) => match answer.get("errorMessage").and_then(Value::as_str) {
                Some(message) => ("200", message.to_string()),
                None => ("200", answer.to_string()),
            },
            Err(why) if why.starts_with("TooManyRequestsException") => ("429", why.clone()),
            Err(why) if why.starts_with("RecursiveInvocationException") => ("400", why.clone()),
            Err(why) => ("500", why.clone()),
        }
    }
}

impl Functions {
    async fn try_once(&self, cx: &Cx, handover: &Handover) -> Outcome {
        let named = match Named::read(cx, &handover.target, None) {
            Ok(named) => named,
            Err(fault) => return Outcome::GiveUp { reason: format!("{NOT_RUN}{fault}") },
        };
        let context = handover.attributes.get("client-context").cloned();
        let call = Call {
            payload: handover.payload.clone(),
            client_context: context,
            chained: counts_loops(handover),
            ..Call::new(request_id(handover))
        };
        match self.lambda.run(cx, &named, call).await {
            Ok((version, ran)) if ran.function_error.is_none() => Outcome::Delivered {
                detail: ran.told(),
                then: self.on_success(cx, &named, &version, handover, &ran),
            },
            Ok((version, ran)) => {
                self.remember(handover, version);
                let reason = String::from_utf8_lossy(&ran.payload).into_owned();
                Outcome::Retry { reason, counts: true, after_ms: None }
            }
            Err(fault) => self.not_run(&named, &fault),
        }
    }

    fn not_run(&self, named: &Named, fault: &Fault) -> Outcome {
        let reason = format!("{NOT_RUN}{fault}");
        // Without concurrency nothing will run it; AWS does not wait for that to change.
        let never = self.lambda.get(named).is_ok_and(|row| row.reserved_concurrency == Some(0));
        let passes = fault.code() == "TooManyRequestsException" || fault.status() >= 500;
        if passes && !never && fault.code() != "RecursiveInvocationException" {
            Outcome::Retry { reason, counts: false, after_ms: None }
        } else {
            Outcome::GiveUp { reason }
        }
    }

    fn on_success(
        &self,
        cx: &Cx,
        named: &Named,
        version: &str,
        handover: &Handover,
        ran: &Ran,
    ) -> Vec<Handover> {
        self.failed.lock().remove(&request_id(handover));
        let Ok(row) = self.lambda.get(named) else { return Vec::new() };
        let config = row.invoke_configs.get(named.qualifier.as_deref().unwrap_or("$LATEST"));
        let Some(to) = config.and_then(|config| config.on_success.as_deref()) else { return Vec::new() };
        let answer = serde_json::from_slice(&ran.payload).unwrap_or(Value::Null);
        let told =
            Told { condition: "Success", attempts: handover.tries + 1, error: false, answer: Some(&answer) };
        self.tell(cx, to, handover, record(cx, handover, version, &told), true).into_iter().collect()
    }

    /// Keeps which version failed where that was chosen by weight; any other can be found again.
    fn remember(&self, handover: &Handover, version: String) {
        let mut failed = self.failed.lock();
        if failed.len() < MOST_FAILED && handover.target.matches(':').count() > 6 {
            failed.insert(request_id(handover), version);
        }
    }

    /// The version that ran last.
    fn executed(&self, cx: &Cx, named: &Named, row: &FunctionRow, handover: &Handover) -> String {
        let failed = self.failed.lock().remove(&request_id(handover));
        let now = || row.resolve(named.qualifier.as_deref(), cx.random()).map(|(version, _)| version);
        failed.or_else(now).unwrap_or_else(|| "$LATEST".into())
    }

    fn tell(
        &self,
        cx: &Cx,
        to: &str,
        handover: &Handover,
        record: Value,
        succeeded: bool,
    ) -> Option<Handover> {
        let telling = Telling {
            to,
            id: handover.event_id.clone(),
            source: handover.target.clone(),
            record,
            succeeded,
            folder: format!("async/{}", handover.target.split(':').nth(6).unwrap_or_default()),
            trace: handover.trace(),
        };
        destinations::tell(&self.lambda, cx, telling)
    }

    /// The event itself, with what went wrong beside it.
    fn dead_letter(&self, cx: &Cx, to: &str, handover: &Handover, failure: &Failure) -> Option<Handover> {
        let (code, message) = failure.error();
        let attributes = json!({
            "RequestID": {"DataType": "String", "StringValue": request_id(handover)},
            "ErrorCode": {"DataType": "Number", "StringValue": code},
            "ErrorMessage": {"DataType": "String", "StringValue": first_kib(&message)},
        });
        let event = Event {
            id: handover.event_id.clone(),
            source: handover.target.clone(),
            via: "destination".into(),
            payload: handover.payload.clone(),
            attributes: [("message-attributes".to_string(), attributes.to_string())].into(),
            trace: handover.trace(),
        };
        let arn = to.parse::<Arn>().map_err(|_| Fault::validation("no ARN"));
        let taken = arn.and_then(|arn| self.lambda.delivery.accept(cx, &arn, event));
        taken.map_err(|fault| tracing::warn!(queue = to, %fault, "a dead letter is not taken")).ok()
    }
}

/// The beginning of a text, 1 KiB at most.
fn first_kib(text: &str) -> &str {
    text.get(..text.floor_char_boundary(1024)).unwrap_or_default()
}

/// Whether AWS looks for loops through what sent this event.
fn counts_loops(handover: &Handover) -> bool {
    let service = handover.source.split(':').nth(2).unwrap_or_default();
    handover.via == "Invoke" || matches!(service, "s3" | "sns" | "sqs")
}

fn request_id(handover: &Handover) -> String {
    handover.attributes.get("request-id").cloned().unwrap_or_default()
}

/// What a record says of how it went.
struct Told<'a> {
    condition: &'a str,
    attempts: u32,
    error: bool,
    /// None when the function was not run.
    answer: Option<&'a Value>,
}

/// The document that destinations get.
fn record(cx: &Cx, handover: &Handover, version: &str, told: &Told<'_>) -> Value {
    let mut record = json!({
        "version": "1.0",
        "timestamp": destinations::shown(cx.now()),
        "requestContext": {
            "requestId": request_id(handover),
            "functionArn": destinations::with_version(&handover.target),
            "condition": told.condition,
            "approximateInvokeCount": told.attempts,
        },
        "requestPayload": serde_json::from_slice::<Value>(&handover.payload).unwrap_or(Value::Null),
    });
    if let Some(answer) = told.answer {
        record["responseContext"] = json!({"statusCode": 200, "executedVersion": version});
        if told.error {
            record["responseContext"]["functionError"] = "Unhandled".into();
        }
        record["responsePayload"] = answer.clone();
    }
    record
}
