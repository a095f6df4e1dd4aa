//! Calls of API destinations: paced, authorized, tried again where it may help, dead-lettered where it does not.
//!
//! An answer of 2xx is success. 401 and 407 (with a new token where there are tokens), 409, 429, 5xx and what fails on
//! the way are tried again, `Retry-After` respected; everything else is given up at once.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Policy, Route};
use tidemill_outbound::{Answer, Failure, Kind, Request};
use tidemill_platform::{
    Arn, Cx, Fault, Timestamp,
    doors::{DestinationCall, Destinations},
};

use crate::{
    EventBridge,
    api::ResourceNotFoundException,
    connections::ConnectionRow,
    credentials::Credentials,
    dead_letters::DeadLetter,
    destinations::DestinationRow,
    http_request::{self, HttpRow},
    state::TargetRow,
};

pub const ROUTE: &str = "events.api";
/// Attributes of events to API destinations: [`HttpRow`] as JSON, the target's retry policy, its dead-letter queue and
/// what that gets in place of the payload.
pub const HTTP: &str = "http-parameters";
pub const RETRIES: &str = "retry-attempts";
pub const AGE: &str = "max-age-s";
pub const DEAD_LETTER: &str = "dead-letter-arn";
pub const ORIGINAL: &str = "original-event";

/// Calls of one destination at the same time, those included that wait for their slot.
const WIDTH: usize = 300;
/// What tells a reason after which an event was to be tried again from one that was final.
const AGAIN: &str = ", to be retried";

pub struct Invocations(pub Arc<EventBridge>);

/// The row in which a destination takes an event.
pub fn accept(bridge: &EventBridge, cx: &Cx, target: &Arn, event: Event) -> Result<Handover, Fault> {
    if bridge.destination(target).is_none() {
        return Err(
            ResourceNotFoundException::new(format!("Api destination {target} does not exist.")).into()
        );
    }
    let number = |name: &str| event.attributes.get(name).and_then(|text| text.parse::<u32>().ok());
    let usual = Policy::event_bridge();
    let policy = Policy {
        max_attempts: number(RETRIES).map_or(usual.max_attempts, |retries| retries.saturating_add(1)),
        max_age_s: number(AGE).map_or(usual.max_age_s, i64::from),
        ..usual
    };
    Ok(Handover::new(ROUTE, target.to_string(), event, policy, cx.now()))
}

/// Why a call came to nothing.
struct Failed {
    code: &'static str,
    sentence: String,
    /// Try again, not before so many milliseconds.
    again: Option<i64>,
}

impl Route for Invocations {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: handover.target.clone(), width: WIDTH }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            match self.call(cx, handover).await {
                Ok(status) => Outcome::Delivered { detail: format!("HTTP {status}"), then: Vec::new() },
                Err(Failed { code, sentence, again: Some(not_before_ms) }) => {
                    let by_policy = handover.policy.wait_ms(handover.attempts + 1, cx.random());
                    Outcome::Retry {
                        reason: format!("{code}{AGAIN}: {sentence}"),
                        counts: true,
                        after_ms: Some(by_policy.max(not_before_ms)),
                    }
                }
                Err(Failed { code, sentence, again: None }) => {
                    Outcome::GiveUp { reason: format!("{code}: {sentence}") }
                }
            }
        }
        .boxed()
    }

    fn exhausted(&self, cx: &Cx, handover: &Handover, reason: &str) -> Vec<Handover> {
        let queue = handover.attributes.get(DEAD_LETTER).and_then(|arn| arn.parse::<Arn>().ok());
        let Some(queue) = queue else { return Vec::new() };
        let (head, sentence) = reason.split_once(": ").unwrap_or(("UNKNOWN", reason));
        let condition =
            head.ends_with(AGAIN).then_some(if handover.attempts + 1 >= handover.policy.max_attempts {
                "MaximumRetryAttempts"
            } else {
                "MaximumEventAgeInSeconds"
            });
        let letter = DeadLetter {
            id: &handover.event_id,
            rule_arn: &handover.via,
            target_arn: &handover.target,
            code: head.trim_end_matches(AGAIN),
            sentence,
            retries: Some((handover.attempts, condition)),
        };
        let original = handover.attributes.get(ORIGINAL).map(|text| Bytes::from(text.clone()));
        let event = letter.event(original.unwrap_or_else(|| handover.payload.clone()), handover.trace());
        let taken = self.0.delivery.accept(cx, &queue, event);
        taken
            .map_err(|fault| tracing::warn!(%queue, %fault, "a dead-letter queue does not take an event"))
            .into_iter()
            .collect()
    }
}

impl Destinations for Invocations {
    fn exists(&self, arn: &str) -> bool {
        arn.parse().is_ok_and(|arn: Arn| self.0.destination(&arn).is_some())
    }

    fn call<'a>(&'a self, cx: &'a Cx, call: DestinationCall) -> BoxFuture<'a, Result<Bytes, Fault>> {
        async move {
            let DestinationCall { arn, payload, path, headers, query } = call;
            let (destination, _) = self.found(&arn).map_err(fault)?;
            let slot = self.0.pace.slot(&destination.arn, destination.rate(), cx.now().millis());
            cx.clock().sleep_until(Timestamp::from_millis(slot)).await;
            let (destination, connection) = self.found(&arn).map_err(fault)?;
            let row = HttpRow { path, headers, query };
            let request = http_request::request(&destination, &connection.invocation, &row, &payload);
            let request = request.ok_or_else(no_object).map_err(fault)?;
            let answer = self.send(&connection, request).await.map_err(fault)?;
            if answer.status == 429 {
                return Err(Fault::new("TooManyRequestsException", "The endpoint answered HTTP 429."));
            }
            judged(&answer, cx.now()).map_err(fault)?;
            Ok(answer.body)
        }
        .boxed()
    }
}

fn fault(failed: Failed) -> Fault {
    Fault::new(failed.code, failed.sentence)
}

fn no_object() -> Failed {
    Failed {
        code: "INVALID_JSON",
        sentence: "The connection's body parameters need a payload that is a JSON object.".into(),
        again: None,
    }
}

impl Invocations {
    async fn call(&self, cx: &Cx, handover: &Handover) -> Result<u16, Failed> {
        let (destination, _) = self.found(&handover.target)?;
        self.wait_for_slot(cx, handover, &destination).await?;
        // Both may have changed meanwhile.
        let (destination, connection) = self.found(&handover.target)?;
        let target: HttpRow = handover
            .attributes
            .get(HTTP)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let request = http_request::request(&destination, &connection.invocation, &target, &handover.payload)
            .ok_or_else(no_object)?;
        let answer = self.send(&connection, request).await?;
        judged(&answer, cx.now())
    }

    fn found(&self, target: &str) -> Result<(DestinationRow, ConnectionRow), Failed> {
        let lost =
            |code: &'static str, sentence: &str| Failed { code, sentence: sentence.into(), again: None };
        let destination = target.parse().ok().and_then(|arn: Arn| self.0.destination(&arn));
        let destination =
            destination.ok_or_else(|| lost("RESOURCE_NOT_FOUND", "The API destination does not exist."))?;
        let connection = self.0.connection(&destination.connection_arn);
        let connection = connection
            .ok_or_else(|| lost("RESOURCE_NOT_FOUND", "The API destination's connection does not exist."))?;
        if connection.credentials == Credentials::Removed {
            return Err(lost("NO_PERMISSIONS", "The API destination's connection is not authorized."));
        }
        Ok((destination, connection))
    }

    async fn wait_for_slot(
        &self,
        cx: &Cx,
        handover: &Handover,
        destination: &DestinationRow,
    ) -> Result<(), Failed> {
        let slot = self.0.pace.slot(&destination.arn, destination.rate(), cx.now().millis());
        cx.clock().sleep_until(Timestamp::from_millis(slot)).await;
        let ends_at = handover.accepted_at.saturating_add(handover.policy.max_age_s.saturating_mul(1000));
        if cx.now().millis() <= ends_at {
            return Ok(());
        }
        // Not before the end of its age: so it is given up for that.
        Err(Failed {
            code: "THROTTLING",
            sentence: "The event was too old when the destination's rate let it through.".into(),
            again: Some(1),
        })
    }

    /// Sends a request with the connection's authorization; one whose token is refused goes once more with a new one.
    async fn send(&self, connection: &ConnectionRow, request: Request) -> Result<Answer, Failed> {
        let Credentials::OAuth(oauth) = &connection.credentials else {
            return self.send_once(with_static(&connection.credentials, request)).await;
        };
        let mut token = self.0.token(connection, oauth, None).await.map_err(unauthorized)?;
        let answer = self.send_once(with_token(&request, &token)).await?;
        if !matches!(answer.status, 401 | 407) {
            return Ok(answer);
        }
        token = self.0.token(connection, oauth, Some(&token)).await.map_err(unauthorized)?;
        self.send_once(with_token(&request, &token)).await
    }

    async fn send_once(&self, request: Request) -> Result<Answer, Failed> {
        self.0.outbound.send(request).await.map_err(|failure| unreachable_endpoint(&failure))
    }
}

fn with_static(credentials: &Credentials, mut request: Request) -> Request {
    match credentials {
        Credentials::ApiKey { name, value } => http_request::replaced(&mut request.headers, name, value),
        Credentials::Basic { username, password } => {
            let pair = BASE64_STANDARD.encode(format!("{username}:{password}"));
            http_request::replaced(&mut request.headers, "Authorization", &format!("Basic {pair}"));
        }
        Credentials::OAuth(_) | Credentials::Removed => {}
    }
    request
}

fn with_token(request: &Request, token: &str) -> Request {
    let mut request = request.clone();
    http_request::replaced(&mut request.headers, "Authorization", &format!("Bearer {token}"));
    request
}

fn unauthorized(reason: String) -> Failed {
    Failed {
        code: "SDK_CLIENT_ERROR",
        sentence: format!("Unable to invoke ApiDestination endpoint: the connection has no token: {reason}"),
        again: Some(0),
    }
}

/// AWS's codes and sentences where they are known: from messages in people's dead-letter queues.
fn unreachable_endpoint(failure: &Failure) -> Failed {
    let (code, said) = match failure.kind {
        Kind::Timeout => ("UNKNOWN", "Timeout calling endpoint for API Destination"),
        Kind::Connection => ("SDK_CLIENT_ERROR", "API destination endpoint cannot be reached."),
        Kind::Malformed => ("INVALID_PARAMETER", "The request is malformed"),
    };
    Failed {
        code,
        sentence: format!("Unable to invoke ApiDestination endpoint: {said} ({failure})"),
        again: (failure.kind != Kind::Malformed).then_some(0),
    }
}

fn judged(answer: &Answer, now: Timestamp) -> Result<u16, Failed> {
    let status = answer.status;
    if answer.is_success() {
        return Ok(status);
    }
    let is_temporary = matches!(status, 401 | 407 | 409 | 429 | 500..);
    let wait_ms = answer.header("retry-after").and_then(|text| retry_after_ms(text, now)).unwrap_or(0);
    Err(Failed {
        code: "SDK_CLIENT_ERROR",
        sentence: format!("Unable to invoke ApiDestination endpoint: The endpoint answered HTTP {status}."),
        // An endpoint that names a time in the past does not want it again.
        again: (is_temporary && wait_ms >= 0).then_some(wait_ms),
    })
}

/// `Retry-After` in milliseconds: seconds, or a date.
fn retry_after_ms(text: &str, now: Timestamp) -> Option<i64> {
    if let Ok(seconds) = text.trim().parse::<i64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some((date.timestamp().as_millisecond() - now.millis()).max(0))
}

/// What a target's row adds to an event for an API destination. `original` is the event where the payload is another.
pub fn attributes(
    target: &TargetRow,
    http: Option<String>,
    original: Option<&str>,
) -> BTreeMap<String, String> {
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    let all = [
        (HTTP, http),
        (RETRIES, number(target.retry_attempts)),
        (AGE, number(target.max_age_s)),
        (DEAD_LETTER, target.dead_letter_arn.clone()),
        (ORIGINAL, original.filter(|_| target.dead_letter_arn.is_some()).map(String::from)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Answer {
        let headers = retry_after.map(|text| ("retry-after".to_string(), text.to_string()));
        Answer { status, headers: headers.into_iter().collect(), body: Bytes::new(), truncated: false }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let now = Timestamp::from_secs(784_111_777);
        for (status, retry_after, again) in [
            (404, None, None),
            (302, None, None),
            (429, None, Some(0)),
            (429, Some("7"), Some(7000)),
            (429, Some("-1"), None),
            (429, Some("soon"), Some(0)),
            (503, Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000)),
            (401, None, Some(0)),
            (409, None, Some(0)),
        ] {
            let failed = judged(&answer(status, retry_after), now).unwrap_err();
            assert_eq!(failed.again, again, "{status} {retry_after:?}");
        }
        assert_eq!(judged(&answer(204, None), now).ok(), Some(204));
    }
}
