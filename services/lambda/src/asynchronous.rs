//! A function as a target of deliveries: its queue of asynchronous invocations, their retries, destinations and
//! dead-letter queue. Source: "Invoking a Lambda function asynchronously" in the Lambda developer guide.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Route, Target, policy::Backoff};
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_sandbox::Outcome as Ran;

use crate::{Lambda, names::Named, run::Call, state::InvokeConfigRow};

pub const ROUTE: &str = "lambda.async";

/// Attempts of one function at the same time.
const WIDTH: usize = 1000;

pub struct Functions(pub Arc<Lambda>);

impl Target for Functions {
    fn accept(&self, cx: &Cx, target: &Arn, mut event: Event) -> Result<Handover, Fault> {
        let arn = target.to_string();
        let named = Named::read(cx, &arn, None)?;
        let row = self.0.get(&named)?;
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
        let Ok(row) = self.0.get(&named) else { return Vec::new() };
        let config = row.invoke_configs.get(named.qualifier.as_deref().unwrap_or("$LATEST"));
        let (condition, answer) = split(reason);
        if let Some(arn) = config.and_then(|config| config.on_failure.as_deref()) {
            let record = record(cx, handover, condition, "Unhandled", &answer);
            return self.follow(cx, arn, handover, record, BTreeMap::new());
        }
        match row.latest.dead_letter_arn.as_deref() {
            Some(arn) => {
                let message =
                    answer.get("errorMessage").and_then(Value::as_str).unwrap_or(reason).to_string();
                let attributes = json!({
                    "RequestID": {"DataType": "String", "StringValue": request_id(handover)},
                    "ErrorCode": {"DataType": "Number", "StringValue": "200"},
                    "ErrorMessage": {"DataType": "String", "StringValue": message.chars().take(1024).collect::<String>()},
                });
                let attributes = [("message-attributes".to_string(), attributes.to_string())].into();
                self.follow(cx, arn, handover, handover.payload.clone(), attributes)
            }
            None => Vec::new(),
        }
    }
}

impl Functions {
    async fn try_once(&self, cx: &Cx, handover: &Handover) -> Outcome {
        let named = match Named::read(cx, &handover.target, None) {
            Ok(named) => named,
            Err(fault) => return Outcome::GiveUp { reason: fault.to_string() },
        };
        let context = handover.attributes.get("client-context").cloned();
        let call = Call {
            payload: handover.payload.clone(),
            client_context: context,
            chained: counts_loops(handover),
            ..Call::new(request_id(handover))
        };
        match self.0.run(cx, &named, call).await {
            Ok((_, ran)) if ran.function_error.is_none() => {
                Outcome::Delivered { detail: ran.told(), then: self.on_success(cx, &named, handover, &ran) }
            }
            Ok((_, ran)) => Outcome::Retry {
                reason: String::from_utf8_lossy(&ran.payload).into_owned(),
                counts: true,
                after_ms: None,
            },
            Err(fault) if fault.code() == "RecursiveInvocationException" => {
                Outcome::GiveUp { reason: fault.to_string() }
            }
            Err(fault) if fault.code() == "TooManyRequestsException" || fault.status() >= 500 => {
                Outcome::Retry { reason: fault.to_string(), counts: false, after_ms: None }
            }
            Err(fault) => Outcome::GiveUp { reason: fault.to_string() },
        }
    }

    fn on_success(&self, cx: &Cx, named: &Named, handover: &Handover, ran: &Ran) -> Vec<Handover> {
        let Ok(row) = self.0.get(named) else { return Vec::new() };
        let config = row.invoke_configs.get(named.qualifier.as_deref().unwrap_or("$LATEST"));
        let Some(arn) = config.and_then(|config| config.on_success.as_deref()) else { return Vec::new() };
        let answer = serde_json::from_slice(&ran.payload).unwrap_or(Value::Null);
        self.follow(cx, arn, handover, record(cx, handover, "Success", "", &answer), BTreeMap::new())
    }

    fn follow(
        &self,
        cx: &Cx,
        arn: &str,
        handover: &Handover,
        payload: Bytes,
        attributes: BTreeMap<String, String>,
    ) -> Vec<Handover> {
        let event = Event {
            id: handover.event_id.clone(),
            source: handover.target.clone(),
            via: "destination".into(),
            payload,
            attributes,
            trace: handover.trace(),
        };
        let taken = arn
            .parse::<Arn>()
            .map_err(|_| Fault::validation("no ARN"))
            .and_then(|arn| self.0.delivery.accept(cx, &arn, event));
        taken
            .map_err(
                |fault| tracing::warn!(destination = arn, %fault, "a destination does not take the record"),
            )
            .into_iter()
            .collect()
    }
}

/// Whether AWS looks for loops through what sent this event.
fn counts_loops(handover: &Handover) -> bool {
    let service = handover.source.split(':').nth(2).unwrap_or_default();
    handover.via == "Invoke" || matches!(service, "s3" | "sns" | "sqs")
}

fn request_id(handover: &Handover) -> String {
    handover.attributes.get("request-id").cloned().unwrap_or_default()
}

/// The condition that AWS names for a last failure, and the function's answer if it gave one.
fn split(reason: &str) -> (&'static str, Value) {
    match serde_json::from_str(reason) {
        Ok(answer @ Value::Object(_)) => ("RetriesExhausted", answer),
        _ if reason.contains("age") => ("EventAgeExceeded", Value::Null),
        _ => ("RetriesExhausted", Value::Null),
    }
}

/// The document that destinations get.
fn record(cx: &Cx, handover: &Handover, condition: &str, error: &str, answer: &Value) -> Bytes {
    let at = jiff::Timestamp::from_millisecond(cx.now().millis())
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string();
    let invoked = if handover.target.matches(':').count() == 6 {
        format!("{}:$LATEST", handover.target)
    } else {
        handover.target.clone()
    };
    let mut context = json!({"statusCode": 200, "executedVersion": "$LATEST"});
    if !error.is_empty() {
        context["functionError"] = error.into();
    }
    let record = json!({
        "version": "1.0",
        "timestamp": at,
        "requestContext": {
            "requestId": request_id(handover),
            "functionArn": invoked,
            "condition": condition,
            "approximateInvokeCount": handover.tries + 1,
        },
        "requestPayload": serde_json::from_slice::<Value>(&handover.payload).unwrap_or(Value::Null),
        "responseContext": context,
        "responsePayload": answer,
    });
    Bytes::from(record.to_string())
}
