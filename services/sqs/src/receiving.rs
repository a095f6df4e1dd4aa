//! Messages out: at once, or as soon as one arrives within the time the receiver waits.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use tidemill_delivery::{Fate, Step};
use tidemill_platform::{Cx, Fault, Timestamp};
use tidemill_store::{Batch, Seq};

use crate::{
    Sqs,
    api::{
        InvalidAttributeName, Message, MessageAttributeValue, MessageSystemAttributeName as System,
        OverLimit, ReceiveMessageRequest, ReceiveMessageResult,
    },
    digest,
    queue::Receives,
    sending::sequence,
    state::{MESSAGES, MessageRow, Queue, RECEIVES, ReceiveRow, invalid},
};

/// A message as it is given to a receiver.
pub struct Received {
    pub number: u64,
    pub row: MessageRow,
    pub receives: Receives,
    pub receipt: String,
}

pub async fn receive_message(
    sqs: &Sqs,
    cx: &Cx,
    input: ReceiveMessageRequest,
) -> Result<ReceiveMessageResult, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    let most = bounded("MaxNumberOfMessages", input.max_number_of_messages, 1, 10)?.unwrap_or(1);
    let wait_s = bounded("WaitTimeSeconds", input.wait_time_seconds, 0, 20)?;
    let visibility_s = bounded("VisibilityTimeout", input.visibility_timeout, 0, 43_200)?;
    let settings = queue.settings();
    let wait_s = wait_s.map_or(settings.wait_s, i64::from);
    let visibility_s = visibility_s.map_or(settings.visibility_s, i64::from);
    let attempt = input.receive_request_attempt_id.filter(|_| queue.is_fifo);
    let most = usize::try_from(most).unwrap_or(1);
    let mut names = input.message_system_attribute_names.unwrap_or_default();
    names.extend(input.attribute_names.unwrap_or_default().iter().map(|name| System::from(name.as_str())));
    if let Some(System::Other(unknown)) = names.iter().find(|name| matches!(name, System::Other(_))) {
        return Err(InvalidAttributeName::new(format!("Unknown Attribute {unknown}.")).into());
    }
    let received = sqs.receive_within(cx, &queue, most, visibility_s, wait_s * 1000, attempt).await?;
    let wanted = input.message_attribute_names.unwrap_or_default();
    let messages: Vec<Message> =
        received.into_iter().map(|one| shown(&queue, one, &names, &wanted)).collect();
    Ok(ReceiveMessageResult { messages: (!messages.is_empty()).then_some(messages) })
}

impl Sqs {
    /// Receives up to `most` messages; waits up to `wait_ms` milliseconds for the first.
    pub async fn receive_within(
        &self,
        cx: &Cx,
        queue: &Queue,
        most: usize,
        visibility_s: i64,
        wait_ms: i64,
        attempt: Option<String>,
    ) -> Result<Vec<Received>, Fault> {
        let ends = Timestamp::from_millis(cx.now().millis().saturating_add(wait_ms));
        loop {
            let arrived = queue.arrived.notified();
            let (received, seen) = self.receive_now(cx, queue, most, visibility_s, attempt.as_deref())?;
            if !received.is_empty() {
                // What is shown has to be durable first.
                self.platform.store.durable(seen).await;
                return Ok(self.completed(received));
            }
            if cx.now() >= ends || self.by_arn(&queue.arn.to_string()).is_none() {
                return Ok(Vec::new());
            }
            tokio::select! {
                () = arrived => {}
                () = cx.clock().sleep_until(ends) => {}
            }
        }
    }

    /// Notifications get the signature they were kept without.
    fn completed(&self, mut received: Vec<Received>) -> Vec<Received> {
        for row in received.iter_mut().map(|one| &mut one.row).filter(|row| row.unsigned) {
            let notary = self.platform.doors.notary.get();
            if let Some(body) = notary.and_then(|notary| notary.complete(&row.body)) {
                row.body = body;
            }
        }
        received
    }

    fn receive_now(
        &self,
        cx: &Cx,
        queue: &Queue,
        most: usize,
        visibility_s: i64,
        attempt: Option<&str>,
    ) -> Result<(Vec<Received>, Seq), Fault> {
        let (now, settings) = (cx.now().millis(), queue.settings());
        let until = now + visibility_s * 1000;
        let dead_letters = settings.redrive.as_ref().and_then(|redrive| self.by_arn(&redrive.target_arn));
        if let Some(target) = &dead_letters {
            self.warm(target, now)?;
        }
        let mut hot = self.hot(queue, now)?;
        if hot.machine.is_full() {
            return if queue.is_fifo {
                Ok((Vec::new(), Seq::ZERO))
            } else {
                Err(OverLimit::new("Too many messages in flight").into())
            };
        }
        if let Some(numbers) =
            attempt.and_then(|attempt| hot.attempts.get(attempt)).map(|(_, numbers)| numbers.clone())
        {
            let again = self.receive_again(queue, &mut hot, &numbers, until, now)?;
            if !again.is_empty() {
                self.plan(queue, &mut hot);
                return Ok((again, Seq::ZERO));
            }
        }
        let mut batch = Batch::new(queue.partition);
        let (mut received, mut dead, mut seen) = (Vec::new(), Vec::new(), Seq::ZERO);
        while received.len() < most {
            let taken = hot.machine.take(most - received.len());
            if taken.is_empty() {
                break;
            }
            for (number, group) in taken {
                let key = (queue.id, number);
                let found =
                    self.platform.store.get(&MESSAGES, queue.partition, &key).map_err(Fault::internal)?;
                let Some(found) = found else {
                    hot.machine.discard(number, group.as_ref());
                    continue;
                };
                seen = seen.max(found.seq);
                let row = found.value;
                if row.sent_at + settings.retention_s * 1000 <= now {
                    hot.machine.discard(number, group.as_ref());
                    batch.delete(&MESSAGES, &key).delete(&RECEIVES, &key);
                    continue;
                }
                let before = hot.machine.receives_before(number);
                if settings.redrive.as_ref().is_some_and(|one| before.count >= one.max_receives)
                    && let Some(target) = dead_letters.clone()
                {
                    hot.machine.discard(number, group.as_ref());
                    let why = Moved { step: Step::DeadLettered, detail: times(before.count) };
                    let moved = self.move_into(queue, number, row, &target, (now, why), &mut batch);
                    dead.push((target, moved));
                    continue;
                }
                let receives = hot.machine.receive(number, group, until, now);
                let kept = ReceiveRow { count: receives.count, first_at: receives.first_at, until };
                // The first row of a message that was never received is new; it goes when the message is deleted.
                match receives.count {
                    1 => batch.add_in(queue.partition, &RECEIVES, &key, &kept),
                    _ => batch.put(&RECEIVES, &key, &kept),
                };
                let receipt = receipt(queue.id, number, receives.count);
                received.push(Received { number, row, receives, receipt });
            }
        }
        if let Some(attempt) = attempt.filter(|_| !received.is_empty()) {
            let numbers = received.iter().map(|one| one.number).collect();
            hot.attempts.insert(attempt.to_string(), (now + crate::state::DEDUP_MS, numbers));
        }
        if !batch.is_empty() {
            // Not waited for: after a crash a message may be given out once more, never less.
            if dead.is_empty() {
                batch.unhurried();
            }
            drop(self.platform.submit(batch)?);
        }
        self.plan(queue, &mut hot);
        drop(hot);
        for (target, moved) in dead {
            self.arrive(&target, moved, now)?;
        }
        Ok((received, seen))
    }

    /// The messages of a receive attempt that is repeated, under the same receipts; those that are still in flight.
    fn receive_again(
        &self,
        queue: &Queue,
        hot: &mut crate::state::Hot,
        numbers: &[u64],
        until: i64,
        now: i64,
    ) -> Result<Vec<Received>, Fault> {
        let mut again = Vec::new();
        for number in numbers {
            let Some(receives) = hot.machine.receives_in_flight(*number) else { continue };
            let key = (queue.id, *number);
            let found = self.platform.store.get(&MESSAGES, queue.partition, &key).map_err(Fault::internal)?;
            let Some(found) = found else { continue };
            hot.machine.change_visibility(*number, receives.count, until, now);
            let receipt = receipt(queue.id, *number, receives.count);
            again.push(Received { number: *number, row: found.value, receives, receipt });
        }
        Ok(again)
    }

    /// Puts a message of one queue into another, in a batch that takes it out of the first. It is there for receivers
    /// after [`Sqs::arrive`].
    pub fn move_into(
        &self,
        from: &Queue,
        number: u64,
        row: MessageRow,
        to: &Queue,
        (now, why): (i64, Moved),
        batch: &mut Batch,
    ) -> (u64, Option<String>) {
        let key = (from.id, number);
        batch.delete_in(from.partition, &MESSAGES, &key);
        batch.delete_in(from.partition, &RECEIVES, &key);
        let fresh = self.number(now);
        let moved = MessageRow { visible_at: 0, source: Some(from.arn.to_string()), ..row };
        self.delivery.ledger().record(batch, &why.fate(&moved, from, to, now));
        batch.put_in(to.partition, &MESSAGES, &(to.id, fresh), &moved);
        (fresh, moved.group)
    }

    /// A message that another batch put into a queue can be received.
    pub fn arrive(
        &self,
        queue: &Queue,
        (number, group): (u64, Option<String>),
        now: i64,
    ) -> Result<(), Fault> {
        let mut hot = self.hot(queue, now)?;
        hot.machine.insert(number, group.as_deref(), 0, now);
        drop(hot);
        queue.arrived.notify_one();
        Ok(())
    }
}

/// Why a message moves to another queue, for its journey.
pub struct Moved {
    pub step: Step,
    pub detail: String,
}

impl Moved {
    fn fate(self, row: &MessageRow, from: &Queue, to: &Queue, now: i64) -> Fate {
        Fate {
            at: now,
            event: row.id.clone(),
            trace: row.trace().map(|trace| trace.root).unwrap_or_default(),
            source: from.arn.to_string(),
            target: to.arn.to_string(),
            via: String::new(),
            step: self.step,
            detail: self.detail,
            attempt: 0,
            took_us: 0,
        }
    }
}

fn times(count: u32) -> String {
    format!("received {count} time{} and not deleted", if count == 1 { "" } else { "s" })
}

/// The handle of one receive of one message.
pub fn receipt(queue: u64, number: u64, count: u32) -> String {
    let mut bytes = Vec::with_capacity(21);
    bytes.push(1);
    bytes.extend_from_slice(&queue.to_be_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    BASE64_STANDARD.encode(bytes)
}

/// (queue id, number, receive) of a handle; `None` when it is none of ours.
pub fn read_receipt(handle: &str) -> Option<(u64, u64, u32)> {
    let bytes = BASE64_STANDARD.decode(handle).ok().filter(|bytes| bytes.len() == 21 && bytes[0] == 1)?;
    let queue = u64::from_be_bytes(bytes[1..9].try_into().ok()?);
    let number = u64::from_be_bytes(bytes[9..17].try_into().ok()?);
    Some((queue, number, u32::from_be_bytes(bytes[17..].try_into().ok()?)))
}

fn bounded(name: &str, value: Option<i32>, low: i32, high: i32) -> Result<Option<i32>, Fault> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(invalid(format!(
            "Value {value} for parameter {name} is invalid. Reason: Must be >= {low} and <= {high}, if provided."
        ))),
        other => Ok(other),
    }
}

fn shown(queue: &Queue, one: Received, names: &[System], wanted: &[String]) -> Message {
    let attributes = system_attributes(queue, &one, names);
    let of_user: BTreeMap<String, crate::state::Attribute> =
        one.row.attributes.into_iter().filter(|(name, _)| is_wanted(name, wanted)).collect();
    let md5_of_message_attributes = digest::of_attributes(&of_user);
    let of_user: BTreeMap<String, MessageAttributeValue> = of_user
        .into_iter()
        .map(|(name, value)| {
            let shown = MessageAttributeValue {
                string_value: value.text,
                binary_value: value.binary,
                data_type: value.data_type,
                ..MessageAttributeValue::default()
            };
            (name, shown)
        })
        .collect();
    Message {
        message_id: Some(one.row.id),
        receipt_handle: Some(one.receipt),
        md5_of_body: Some(digest::of_text(&one.row.body)),
        body: Some(one.row.body),
        attributes: (!attributes.is_empty()).then_some(attributes),
        md5_of_message_attributes,
        message_attributes: (!of_user.is_empty()).then_some(of_user),
    }
}

/// Everything SQS tells about a message beside its body.
pub fn all_system_attributes(queue: &Queue, one: &Received) -> BTreeMap<System, String> {
    let row = &one.row;
    let mut all = BTreeMap::from([
        (System::SenderId, row.sender.clone()),
        (System::SentTimestamp, row.sent_at.to_string()),
        (System::ApproximateReceiveCount, one.receives.count.to_string()),
        (System::ApproximateFirstReceiveTimestamp, one.receives.first_at.to_string()),
    ]);
    all.extend(row.trace_header.clone().map(|header| (System::AWSTraceHeader, header)));
    all.extend(row.source.clone().map(|arn| (System::DeadLetterQueueSourceArn, arn)));
    all.extend(row.group.clone().map(|group| (System::MessageGroupId, group)));
    if queue.is_fifo {
        all.insert(System::SequenceNumber, sequence(one.number));
        all.extend(row.dedup.clone().map(|dedup| (System::MessageDeduplicationId, dedup)));
    }
    all
}

fn system_attributes(queue: &Queue, one: &Received, names: &[System]) -> BTreeMap<System, String> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let mut all = all_system_attributes(queue, one);
    if !names.contains(&System::All) {
        all.retain(|name, _| names.contains(name));
    }
    all
}

/// `All`, `.*`, a name, or a beginning with `.*`.
fn is_wanted(name: &str, wanted: &[String]) -> bool {
    wanted.iter().any(|pattern| match pattern.as_str() {
        "All" | ".*" => true,
        pattern => match pattern.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        },
    })
}
