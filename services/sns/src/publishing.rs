//! Publish and PublishBatch: a message and all its deliveries in one batch, whose durability is the acknowledgement.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use tidemill_platform::{Cx, Fault, Trace};
use tidemill_store::{Batch, Seq};

use crate::{
    Sns,
    api::{
        BatchEntryIdsNotDistinctException, BatchRequestTooLongException, BatchResultErrorEntry,
        EmptyBatchRequestException, InvalidBatchEntryIdException, PublishBatchInput,
        PublishBatchRequestEntry, PublishBatchResponse, PublishBatchResultEntry, PublishInput,
        PublishResponse, TooManyEntriesInBatchRequestException,
    },
    devices,
    fan_out::{Accepted, Effects},
    message::{Given, MOST_BYTES, Message},
    order, phone,
    state::{Topic, TopicRow, invalid},
};

const MOST_ENTRIES: usize = 10;

/// What a publisher is told.
pub struct Published {
    pub id: String,
    pub sequence: Option<String>,
}

pub async fn publish(sns: &Sns, cx: &Cx, input: PublishInput) -> Result<PublishResponse, Fault> {
    let arn = match (input.topic_arn, input.target_arn, &input.phone_number) {
        (Some(arn), None, None) | (None, Some(arn), None) => arn,
        (None, None, Some(_)) => String::new(),
        (None, None, None) => {
            return Err(invalid("TopicArn or TargetArn Reason: no value for required parameter"));
        }
        _ => return Err(invalid("Only one of TopicArn, TargetArn and PhoneNumber may be given")),
    };
    let is_device = arn.contains(":endpoint/");
    let is_structured = input.message_structure.as_deref() == Some("json");
    let message = Message::read(Given {
        message: input.message,
        subject: input.subject,
        // What is for one device needs no default.
        structure: input.message_structure.filter(|_| !(is_device && is_structured)),
        attributes: input.message_attributes,
        group: input.message_group_id,
        dedup: input.message_deduplication_id,
    })?;
    if let Some(number) = input.phone_number {
        return phone::publish(sns, cx, &number, &message).await;
    }
    if is_device {
        return devices::publish(sns, cx, &arn, &message, is_structured).await;
    }
    let topic = sns.topic(&arn)?;
    let message = sns.admitted(cx, &topic, message)?;
    let (published, seq) = sns.publish(cx, &topic, &[message], cx.trace(), Batch::new(topic.partition))?;
    sns.platform.store.durable(seq).await;
    let one = published.into_iter().next();
    let (id, sequence) = one.map_or_else(Default::default, |one| (Some(one.id), one.sequence));
    Ok(PublishResponse { message_id: id, sequence_number: sequence })
}

pub async fn publish_batch(
    sns: &Sns,
    cx: &Cx,
    input: PublishBatchInput,
) -> Result<PublishBatchResponse, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    check_batch(&input.publish_batch_request_entries)?;
    let (mut ids, mut messages, mut failed, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for entry in input.publish_batch_request_entries {
        let id = entry.id.clone();
        match read(entry).and_then(|message| sns.admitted(cx, &topic, message)) {
            Ok(message) => {
                bytes += message.size();
                ids.push(id);
                messages.push(message);
            }
            Err(fault) => failed.push(error(id, &fault)),
        }
    }
    if bytes > MOST_BYTES {
        return Err(BatchRequestTooLongException::new(
            "The length of all the messages put together is more than the limit.",
        )
        .into());
    }
    let (published, seq) = sns.publish(cx, &topic, &messages, cx.trace(), Batch::new(topic.partition))?;
    sns.platform.store.durable(seq).await;
    let successful = ids.into_iter().zip(published).map(|(id, one)| PublishBatchResultEntry {
        id: Some(id),
        message_id: Some(one.id),
        sequence_number: one.sequence,
    });
    Ok(PublishBatchResponse { successful: Some(successful.collect()), failed: Some(failed) })
}

fn read(entry: PublishBatchRequestEntry) -> Result<Message, Fault> {
    Message::read(Given {
        message: entry.message,
        subject: entry.subject,
        structure: entry.message_structure,
        attributes: entry.message_attributes,
        group: entry.message_group_id,
        dedup: entry.message_deduplication_id,
    })
}

fn check_batch(entries: &[PublishBatchRequestEntry]) -> Result<(), Fault> {
    if entries.is_empty() {
        return Err(EmptyBatchRequestException::new("The batch request doesn't contain any entries.").into());
    }
    if entries.len() > MOST_ENTRIES {
        return Err(TooManyEntriesInBatchRequestException::new(
            "The batch request contains more entries than permissible.",
        )
        .into());
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let is_good = (1..=80).contains(&entry.id.len())
            && entry.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_good {
            return Err(InvalidBatchEntryIdException::new(
                "The Id of a batch entry in a batch request doesn't abide by the specification.",
            )
            .into());
        }
        if !seen.insert(&entry.id) {
            return Err(BatchEntryIdsNotDistinctException::new(
                "Two or more batch entries in the request have the same Id.",
            )
            .into());
        }
    }
    Ok(())
}

fn error(id: String, fault: &Fault) -> BatchResultErrorEntry {
    BatchResultErrorEntry {
        id,
        code: fault.code().trim_end_matches("Exception").to_string(),
        message: Some(fault.message().to_string()),
        sender_fault: fault.status() < 500,
    }
}

impl TopicRow {
    /// Checks a message against the topic's kind; one of a FIFO topic gets its deduplication id.
    pub fn ready(&self, mut message: Message) -> Result<Message, Fault> {
        if !self.is_fifo {
            if message.dedup.is_some() {
                return Err(invalid(
                    "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
                ));
            }
            return checked_ids(message);
        }
        if message.group.is_none() {
            return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
        }
        if message.dedup.is_none() {
            if !self.settings.content_dedup {
                return Err(invalid(
                    "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
                ));
            }
            message.dedup = Some(hex::encode(Sha256::digest(message.text.as_bytes())));
        }
        checked_ids(message)
    }
}

fn checked_ids(message: Message) -> Result<Message, Fault> {
    for (name, id) in [("MessageGroupId", &message.group), ("MessageDeduplicationId", &message.dedup)] {
        let Some(id) = id else { continue };
        if id.is_empty() || id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(format!(
                "{name} Reason: {name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            )));
        }
    }
    Ok(message)
}

impl Sns {
    /// A message as the topic takes it: fit for its kind, and let through by its data protection policy.
    pub fn admitted(&self, cx: &Cx, topic: &Topic, message: Message) -> Result<Message, Fault> {
        let message = topic.row().ready(message)?;
        let protection = topic.protection.read().clone();
        match protection {
            Some(protection) => protection.inbound(cx, &topic.row(), message),
            None => Ok(message),
        }
    }

    /// Publishes messages that were checked against the topic, in rows added to `batch`. They are acknowledged when the
    /// sequence is durable; it is zero when all were published before and the batch was not submitted.
    pub fn publish(
        &self,
        cx: &Cx,
        topic: &Topic,
        messages: &[Message],
        trace: &Trace,
        mut batch: Batch,
    ) -> Result<(Vec<Published>, Seq), Fault> {
        let mut effects = Effects::default();
        if topic.row().is_fifo {
            return self.publish_in_order(cx, topic, messages, trace, batch, effects);
        }
        let mut published = Vec::new();
        for message in messages {
            let id = cx.random().uuid();
            let accepted = Accepted { id: &id, message, number: None, trace };
            self.fan_out(cx, topic, &accepted, &mut batch, &mut effects);
            published.push(Published { id, sequence: None });
        }
        let seq = self.submit(cx, batch, effects)?;
        Ok((published, seq))
    }

    /// A FIFO topic decides on one message after the other, and submits before it decides on the next.
    fn publish_in_order(
        &self,
        cx: &Cx,
        topic: &Topic,
        messages: &[Message],
        trace: &Trace,
        mut batch: Batch,
        mut effects: Effects,
    ) -> Result<(Vec<Published>, Seq), Fault> {
        let row = topic.row();
        let by_group = row.settings.throughput_scope.as_deref() == Some("MessageGroup");
        let (now, mut published, mut fresh) = (cx.now().millis(), Vec::new(), Vec::new());
        let mut order = topic.order.lock();
        let archive_begins = row.archive_begins(now);
        if let Some(begins) = archive_begins {
            topic.forget_archived(&self.platform.store, &mut order.look_at, begins, now, &mut batch);
        }
        for message in messages {
            let (group, dedup) =
                (message.group.as_deref().unwrap_or_default(), message.dedup.as_deref().unwrap_or_default());
            let said = if by_group { format!("{group}\u{1}{dedup}") } else { dedup.to_string() };
            if let Some(before) = order.said(&said, now) {
                let sequence = Some(order::printed(before.number));
                published.push(Published { id: before.message_id.clone(), sequence });
                continue;
            }
            let (id, number) = (cx.random().uuid(), order.number(now));
            order.say(&row.arn, said.clone(), &id, number, now, &mut batch);
            fresh.push(said);
            if archive_begins.is_some() {
                topic.archive(number, &id, message, now, &mut batch);
            }
            let accepted = Accepted { id: &id, message, number: Some(number), trace };
            self.fan_out(cx, topic, &accepted, &mut batch, &mut effects);
            published.push(Published { id, sequence: Some(order::printed(number)) });
        }
        if fresh.is_empty() {
            return Ok((published, Seq::ZERO));
        }
        let seq = self.submit(cx, batch, effects).inspect_err(|_| order.unsay(&fresh))?;
        Ok((published, seq))
    }

    fn submit(&self, cx: &Cx, mut batch: Batch, mut effects: Effects) -> Result<Seq, Fault> {
        self.delivery.ledger().record_all(&mut batch, std::mem::take(&mut effects.fates));
        let seq = self.platform.submit(batch)?.seq();
        effects.release(cx, seq);
        Ok(seq)
    }
}
