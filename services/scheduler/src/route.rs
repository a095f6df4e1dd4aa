//! The way of a run to its target: attempts by the schedule's retry policy, then the dead-letter queue.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tidemill_delivery::{Attempt, Event, Handover, Lane, Outcome, Route};
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_store::{Batch, Partition, Seq};

use crate::{
    Scheduler, dead_letter,
    payload::{self, DEAD_LETTERS, MESSAGE_GROUP_ID},
    universal,
};

pub const ROUTE: &str = "scheduler.target";
/// Runs to the same target at the same time.
const WIDTH: usize = 64;

pub struct Runs(pub Arc<Scheduler>);

impl Route for Runs {
    fn lane(&self, handover: &Handover) -> Lane {
        Lane { key: format!("scheduler#{}", handover.target), width: WIDTH }
    }

    fn attempt<'a>(&'a self, cx: &'a Cx, attempt: Attempt<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let handover = attempt.handover;
            let ends_at = handover.accepted_at + handover.policy.max_age_s * 1000;
            if attempt.number == 1 && cx.now().millis() > ends_at {
                let why = "the run was due while the platform was not running";
                return Outcome::GiveUp { reason: format!("{}: {why}", dead_letter::TOO_OLD) };
            }
            let input = payload::input(handover, attempt.number);
            // The target of a universal call names neither account nor region: they are the schedule's.
            let cx = match handover.source.parse::<Arn>() {
                Ok(schedule) => self.0.platform.cx(&schedule.account, &schedule.region, handover.trace()),
                Err(_) => cx.clone(),
            };
            let done = match universal::Call::named(&handover.target) {
                Some(call) => universal_attempt(&cx, &call, &input, attempt).await,
                None => self.hand_over(&cx, input, attempt),
            };
            done.unwrap_or_else(failed)
        }
        .boxed()
    }

    fn exhausted(&self, cx: &Cx, handover: &Handover, reason: &str) -> Vec<Handover> {
        let Some(queue) = handover.attributes.get(DEAD_LETTERS) else { return Vec::new() };
        let letter = dead_letter::letter(handover, reason);
        let taken = queue
            .parse::<Arn>()
            .map_err(|_| Fault::validation("no ARN"))
            .and_then(|queue| self.0.delivery.accept(cx, &queue, letter));
        taken
            .map_err(|fault| tracing::warn!(queue, %fault, "a dead-letter queue does not take the letter"))
            .into_iter()
            .collect()
    }
}

impl Runs {
    /// Gives the run to a target inside the platform, in the batch that takes the hand-over away.
    fn hand_over(&self, cx: &Cx, input: String, attempt: Attempt<'_>) -> Result<Outcome, Fault> {
        let handover = attempt.handover;
        let target: Arn = handover
            .target
            .parse()
            .map_err(|_| Fault::validation("Provided Arn is not in correct format."))?;
        let payload = match target.service.as_str() {
            "events" => payload::bus_event(handover, &input)
                .ok_or_else(|| Fault::validation("The input of an event must be a JSON object."))?,
            _ => input,
        };
        let mut attributes = handover.attributes.clone();
        attributes.retain(|name, _| name == MESSAGE_GROUP_ID);
        let event = Event {
            id: handover.event_id.clone(),
            source: handover.source.clone(),
            via: handover.via.clone(),
            payload: Bytes::from(payload),
            attributes,
            trace: handover.trace(),
        };
        let mut batch = Batch::new(Partition::of(&handover.target));
        attempt.removal.add_to(&mut batch);
        let staged = self.0.delivery.deliver(cx, &mut batch, &target, event)?;
        let seq: Seq = self.0.platform.submit(batch)?.seq();
        staged.release(seq);
        Ok(Outcome::Taken { detail: String::new(), seq })
    }
}

async fn universal_attempt(
    cx: &Cx,
    call: &universal::Call,
    input: &str,
    attempt: Attempt<'_>,
) -> Result<Outcome, Fault> {
    let removal = attempt.removal;
    // The hand-over goes away with the first thing that the operation writes: so it is not called twice.
    let work = call.run(cx, input);
    tidemill_platform::rider::with(move |batch| removal.add_to(batch), work).await?;
    Ok(Outcome::Delivered { detail: String::new(), then: Vec::new() })
}

fn failed(fault: Fault) -> Outcome {
    let code = fault.query_code().unwrap_or(fault.code());
    let reason = format!("{code}: {}", fault.message());
    if dead_letter::is_final(fault.code()) {
        Outcome::GiveUp { reason }
    } else {
        Outcome::Retry { reason, counts: true, after_ms: None }
    }
}
