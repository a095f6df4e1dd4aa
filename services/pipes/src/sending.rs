//! Bringing a batch to the target. Standard queues, topics, buses and functions that nobody waits for take their events by
//! crate `delivery`, all in one batch; FIFO queues and log groups by their operations, which say what they did not take;
//! functions that are waited for say it in their answer. Nothing is acknowledged to the source before it is durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_delivery::Event;
use tidemill_input_transformer::PipeContext;
use tidemill_platform::{Cx, Fault, Trace};
use tidemill_store::{Batch, Partition, Ticket};

use crate::{
    Pipes, answers, calls, envelope, http::Http, journey::Journey, log_events, plan::Plan, settings::Setting,
    target::Target,
};

/// What an asynchronous invocation may carry, in bytes.
const MOST_ASYNC: usize = 1_048_576;

/// An event on its way to the target.
pub struct Outgoing {
    /// The id of the source's event that it is, or that an enrichment made it of.
    pub origin: Option<String>,
    pub event: Value,
    /// What the target gets.
    pub text: String,
    pub trace: Trace,
}

/// What became of a batch.
#[derive(Debug, PartialEq)]
pub enum Sent {
    All,
    /// Taken but for the events with these ids.
    Except {
        failed: Vec<String>,
        reason: String,
    },
    /// Nothing was taken, or it cannot be told what.
    Failed {
        reason: String,
    },
    /// Not the events' fault: to be tried again without being counted.
    Throttled {
        reason: String,
    },
}

/// Why single events were not taken, by their place in the batch.
pub type Refused = BTreeMap<usize, String>;

/// A target at work on one batch.
pub struct Sending<'a> {
    pub pipes: &'a Pipes,
    pub plan: &'a Plan,
    pub cx: &'a Cx,
    pub context: PipeContext<'a>,
    pub journey: Journey<'a>,
}

impl Sending<'_> {
    /// Sends a batch. Gives what became of it, and the target's answer where it has one.
    pub async fn send(&self, events: &[Outgoing]) -> (Sent, Option<String>) {
        let are_known = events.iter().all(|one| one.origin.is_some());
        let sent = match &self.plan.target {
            Target::Function { waits: true } => return self.invoke(events).await,
            Target::Destination(http) => return self.call(http, events).await,
            Target::Function { waits: false } => self.deliver(vec![self.batch_event(events)], false).await,
            Target::Queue { is_fifo: true, group, dedup } => {
                self.send_in_order(events, group.as_ref(), dedup.as_ref()).await
            }
            Target::Queue { group, .. } => {
                self.deliver(events.iter().map(|one| self.queued(one, group.as_ref())).collect(), are_known)
                    .await
            }
            Target::Topic => {
                self.deliver(events.iter().map(|one| Ok(self.event(one))).collect(), are_known).await
            }
            Target::Bus(bus) => {
                self.deliver(events.iter().map(|one| envelope::event(self, bus, one)).collect(), are_known)
                    .await
            }
            Target::LogGroup { group, stream, at } => {
                log_events::put(self, group, stream, at.as_ref(), events).await
            }
        };
        (sent.map_or_else(|fault| of_fault(&fault), |refused| self.told(events, refused)), None)
    }

    /// Which of the source's events were not taken. Where order counts, none behind the first of them is done with.
    fn told(&self, events: &[Outgoing], mut refused: Refused) -> Sent {
        let Some((first, reason)) = refused.first_key_value().map(|(at, reason)| (*at, reason.clone()))
        else {
            return Sent::All;
        };
        if self.plan.keeps_order() {
            refused.extend((first..events.len()).map(|at| (at, String::new())));
        }
        let origin = |at: &usize| events.get(*at).and_then(|event| event.origin.clone());
        match refused.keys().map(origin).collect::<Option<Vec<_>>>() {
            Some(failed) if refused.len() < events.len() => Sent::Except { failed, reason },
            _ => Sent::Failed { reason },
        }
    }

    /// Events come one by one here; should an enrichment make more of them, they are sent in their order.
    async fn call(&self, http: &Http, events: &[Outgoing]) -> (Sent, Option<String>) {
        let (target, mut said) = (self.plan.target_arn.to_string(), None);
        for one in events {
            match http.call(self.cx, &target, &one.event, &self.context, &one.text).await {
                Ok(body) => said = Some(String::from_utf8_lossy(&body).into_owned()),
                Err(fault) => return (of_fault(&fault), said),
            }
        }
        (Sent::All, said)
    }

    async fn invoke(&self, events: &[Outgoing]) -> (Sent, Option<String>) {
        let function = self.plan.target_arn.to_string();
        let answer =
            match calls::invoke(self.cx, &function, &array(events.iter().map(|one| &*one.text))).await {
                Ok(answer) => answer,
                Err(fault) => return (of_fault(&fault), None),
            };
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        (answers::read(&answer, events, self.plan.keeps_order()), Some(text))
    }

    /// The events in one batch of the store, those refused left out. Unless it is known which of the source's events they
    /// are, one that is refused keeps all from being sent.
    async fn deliver(&self, made: Vec<Result<Event, Fault>>, are_known: bool) -> Result<Refused, Fault> {
        let (ticket, refused) = self.submit(made, are_known)?;
        if let Some(ticket) = ticket {
            ticket.await;
        }
        Ok(refused)
    }

    fn submit(
        &self,
        made: Vec<Result<Event, Fault>>,
        are_known: bool,
    ) -> Result<(Option<Ticket>, Refused), Fault> {
        let (target, delivery) = (&self.plan.target_arn, &self.pipes.delivery);
        let mut batch = Batch::new(Partition::of(&target.to_string()));
        let (mut staged, mut fates, mut refused) = (Vec::new(), Vec::new(), Refused::new());
        for (at, event) in made.into_iter().enumerate() {
            if self.plan.keeps_order() && !refused.is_empty() {
                break;
            }
            match event.and_then(|event| delivery.deliver_untold(self.cx, &mut batch, target, event)) {
                Ok((one, fate)) => {
                    staged.push(one);
                    fates.push(fate);
                }
                Err(fault) if !are_known || is_throttle(&fault) => return Err(fault),
                Err(fault) => drop(refused.insert(at, fault.to_string())),
            }
        }
        if staged.is_empty() {
            return Ok((None, refused));
        }
        self.journey.write_into(&mut batch, fates);
        let ticket = self.pipes.platform.submit(batch)?;
        staged.into_iter().for_each(|one| one.release(ticket.seq()));
        Ok((Some(ticket), refused))
    }

    pub fn event(&self, outgoing: &Outgoing) -> Event {
        Event {
            id: outgoing.origin.clone().unwrap_or_else(|| self.cx.request_id().into()),
            source: self.plan.arn.clone(),
            via: self.plan.arn.clone(),
            payload: Bytes::from(outgoing.text.clone()),
            attributes: BTreeMap::new(),
            trace: outgoing.trace.clone(),
        }
    }

    /// The whole batch as one event.
    fn batch_event(&self, events: &[Outgoing]) -> Result<Event, Fault> {
        let payload = array(events.iter().map(|one| &*one.text));
        if payload.len() > MOST_ASYNC {
            return Err(Fault::validation(format!(
                "{} byte payload is too large for the Event invocation type (limit {MOST_ASYNC} bytes)",
                payload.len()
            )));
        }
        Ok(Event {
            id: self.cx.random().uuid(),
            source: self.plan.arn.clone(),
            via: self.plan.arn.clone(),
            payload: Bytes::from(payload),
            attributes: BTreeMap::new(),
            trace: self.cx.trace().clone(),
        })
    }

    fn queued(&self, outgoing: &Outgoing, group: Option<&Setting>) -> Result<Event, Fault> {
        let mut event = self.event(outgoing);
        if let Some(group) = group {
            event.attributes.insert("message-group-id".into(), group.of(&outgoing.event, &self.context)?);
        }
        Ok(event)
    }

    async fn send_in_order(
        &self,
        events: &[Outgoing],
        group: Option<&Setting>,
        dedup: Option<&Setting>,
    ) -> Result<Refused, Fault> {
        let (mut entries, mut refused) = (Vec::new(), Refused::new());
        for (at, outgoing) in events.iter().enumerate() {
            match self.entry(at, outgoing, group, dedup) {
                Ok(entry) => entries.push(entry),
                Err(fault) => {
                    refused.insert(at, fault.to_string());
                    break;
                }
            }
        }
        if entries.is_empty() {
            return Ok(refused);
        }
        let target = &self.plan.target_arn;
        let cx = self.pipes.platform.cx(&target.account, &target.region, self.cx.trace().clone());
        let url = format!("http://queue/{}/{}", target.account, target.resource);
        let input = json!({"QueueUrl": url, "Entries": entries});
        let answer = calls::call(&cx, "sqs", "SendMessageBatch", &input).await?;
        for failure in answer["Failed"].as_array().into_iter().flatten() {
            let text = |name: &str| failure[name].as_str().unwrap_or_default();
            if let Ok(at) = text("Id").parse() {
                refused.insert(at, format!("{}: {}", text("Code"), text("Message")));
            }
        }
        Ok(refused)
    }

    fn entry(
        &self,
        at: usize,
        outgoing: &Outgoing,
        group: Option<&Setting>,
        dedup: Option<&Setting>,
    ) -> Result<Value, Fault> {
        let of = |setting: Option<&Setting>| {
            setting.map(|setting| setting.of(&outgoing.event, &self.context)).transpose()
        };
        Ok(json!({
            "Id": at.to_string(),
            "MessageBody": outgoing.text,
            "MessageGroupId": of(group)?,
            "MessageDeduplicationId": of(dedup)?,
        }))
    }
}

/// JSON texts as an array; what is no JSON becomes a string.
pub fn array(texts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::from("[");
    for text in texts {
        let text = text.as_ref();
        if out.len() > 1 {
            out.push(',');
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            out.push_str(text);
        } else {
            out.push_str(&Value::from(text).to_string());
        }
    }
    out.push(']');
    out
}

fn is_throttle(fault: &Fault) -> bool {
    fault.code() == "TooManyRequestsException" || matches!(fault.status(), 500 | 503)
}

pub fn of_fault(fault: &Fault) -> Sent {
    let reason = fault.to_string();
    if is_throttle(fault) { Sent::Throttled { reason } } else { Sent::Failed { reason } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_arrays_of_json() {
        let texts = ["{\"a\":1}", "no json", "\"text\""];
        assert_eq!(array(texts.into_iter()), r#"[{"a":1},"no json","text"]"#);
        assert_eq!(array(std::iter::empty::<String>()), "[]");
    }
}
