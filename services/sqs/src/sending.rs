//! Messages in: checked, numbered, durable, and whoever waits is woken.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidemill_platform::{Cx, Fault};
use tidemill_store::{Batch, Ticket};

use crate::{
    Sqs,
    api::{
        InvalidMessageContents, MessageAttributeValue, MessageSystemAttributeNameForSends,
        MessageSystemAttributeValue, SendMessageRequest, SendMessageResult,
    },
    digest,
    state::{Attribute, DEDUP, DEDUP_MS, DedupRow, MESSAGES, MessageRow, Queue, invalid},
};

const MOST_ATTRIBUTES: usize = 10;
const INVALID_CHARACTERS: &str = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";

/// A message as a caller gives it.
#[derive(Default)]
pub struct Outgoing {
    pub body: String,
    pub delay_s: Option<i32>,
    pub attributes: BTreeMap<String, Attribute>,
    pub trace_header: Option<String>,
    pub group: Option<String>,
    pub dedup: Option<String>,
    pub sender: String,
    pub trace: String,
    /// A notification whose signature is added when it is given out.
    pub unsigned: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub id: String,
    pub body_md5: String,
    pub attributes_md5: Option<String>,
    pub system_md5: Option<String>,
    pub sequence: Option<String>,
}

pub async fn send_message(sqs: &Sqs, cx: &Cx, input: SendMessageRequest) -> Result<SendMessageResult, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    let message = Outgoing {
        body: input.message_body,
        delay_s: input.delay_seconds,
        attributes: attributes(input.message_attributes)?,
        trace_header: trace_header(input.message_system_attributes)?,
        group: input.message_group_id,
        dedup: input.message_deduplication_id,
        sender: cx.request().principal.user_id.clone(),
        trace: cx.trace().to_string(),
        unsigned: false,
    };
    check(&queue, &message)?;
    let (mut sent, ticket) = sqs.put(cx, &queue, vec![with_content_dedup(&queue, message)])?;
    ticket.await;
    let sent = sent.remove(0);
    Ok(SendMessageResult {
        md5_of_message_body: Some(sent.body_md5),
        md5_of_message_attributes: sent.attributes_md5,
        md5_of_message_system_attributes: sent.system_md5,
        message_id: Some(sent.id),
        sequence_number: sent.sequence,
    })
}

impl Sqs {
    /// Puts checked messages into a queue in one batch. They can be received once the ticket is through.
    pub fn put(&self, cx: &Cx, queue: &Queue, messages: Vec<Outgoing>) -> Result<(Vec<Sent>, Ticket), Fault> {
        let mut batch = Batch::new(queue.partition);
        self.put_into(cx, queue, messages, &mut batch, |batch| self.platform.submit(batch))
    }

    /// The same in a batch that says more, submitted by `submit` while the queue is locked.
    pub fn put_into(
        &self,
        cx: &Cx,
        queue: &Queue,
        messages: Vec<Outgoing>,
        batch: &mut Batch,
        submit: impl FnOnce(Batch) -> Result<Ticket, Fault>,
    ) -> Result<(Vec<Sent>, Ticket), Fault> {
        let now = cx.now().millis();
        let (usual_delay_s, dedup_by_group) = {
            let row = queue.row.read();
            (row.settings.delay_s, row.settings.dedup_scope == "messageGroup")
        };
        let mut hot = self.hot(queue, now)?;
        let (mut sent, mut fresh, mut remembered) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            let number = self.number(now);
            let delay_s = message.delay_s.map_or(usual_delay_s, i64::from);
            let row = row(cx, message, now, now + delay_s * 1000);
            let key = queue.is_fifo.then(|| dedup_key(&row, dedup_by_group));
            let mut told = told(&row, queue.is_fifo.then_some(number));
            if let Some(key) = key {
                let earlier = hot.dedup.get(&key).or_else(|| {
                    remembered
                        .iter()
                        .find(|(other, _)| *other == key)
                        .map(|(_, row): &(String, DedupRow)| row)
                });
                if let Some(earlier) = earlier {
                    told.id.clone_from(&earlier.message_id);
                    told.sequence = Some(sequence(earlier.number));
                    sent.push(told);
                    continue;
                }
                let kept = DedupRow { message_id: row.id.clone(), number, until: now + DEDUP_MS };
                batch.put_in(queue.partition, &DEDUP, &(queue.id, key.clone()), &kept);
                remembered.push((key, kept));
            }
            batch.add_in(queue.partition, &MESSAGES, &(queue.id, number), &row);
            fresh.push((number, row.group, row.visible_at));
            sent.push(told);
        }
        for key in hot.take_expired_dedup() {
            batch.delete_in(queue.partition, &DEDUP, &(queue.id, key));
        }
        let ticket = submit(std::mem::replace(batch, Batch::new(queue.partition)))?;
        let many = fresh.len();
        for (number, group, visible_at) in fresh {
            hot.machine.insert(number, group.as_deref(), visible_at, now);
        }
        remembered.into_iter().for_each(|(key, row)| hot.remember_dedup(key, row));
        self.plan(queue, &mut hot);
        drop(hot);
        (0..many).for_each(|_| queue.arrived.notify_one());
        Ok((sent, ticket))
    }
}

fn row(cx: &Cx, message: Outgoing, now: i64, visible_at: i64) -> MessageRow {
    MessageRow {
        id: cx.random().uuid(),
        body: message.body,
        attributes: message.attributes,
        trace_header: message.trace_header,
        sender: message.sender,
        sent_at: now,
        visible_at,
        group: message.group,
        dedup: message.dedup,
        source: None,
        trace: message.trace,
        unsigned: message.unsigned,
    }
}

fn told(row: &MessageRow, number: Option<u64>) -> Sent {
    Sent {
        id: row.id.clone(),
        body_md5: digest::of_text(&row.body),
        attributes_md5: digest::of_attributes(&row.attributes),
        system_md5: row.trace_header.as_ref().and_then(|header| {
            let value = Attribute { data_type: "String".into(), text: Some(header.clone()), binary: None };
            digest::of_attributes(&[("AWSTraceHeader".to_string(), value)].into())
        }),
        sequence: number.map(sequence),
    }
}

/// A sequence number as AWS prints it: twenty digits.
pub fn sequence(number: u64) -> String {
    format!("{number:020}")
}

fn dedup_key(row: &MessageRow, by_group: bool) -> String {
    let id = row.dedup.as_deref().unwrap_or_default();
    if by_group { format!("{}\0{id}", row.group.as_deref().unwrap_or_default()) } else { id.to_string() }
}

/// Refuses what the queue does not take; fills in the deduplication id that comes from the content.
pub fn check(queue: &Queue, message: &Outgoing) -> Result<(), Fault> {
    let row = queue.row.read();
    if message.body.is_empty() {
        return Err(Fault::new("MissingParameter", "The request must contain the parameter MessageBody."));
    }
    if !is_all_allowed(&message.body) {
        return Err(InvalidMessageContents::new(INVALID_CHARACTERS).into());
    }
    if size(message) > row.settings.max_message_bytes {
        let most = row.settings.max_message_bytes;
        return Err(invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
        )));
    }
    if let Some(delay) = message.delay_s {
        if !(0..=900).contains(&delay) {
            return Err(invalid(format!(
                "Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
            )));
        }
        if queue.is_fifo && delay > 0 {
            return Err(invalid(format!(
                "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
            )));
        }
    }
    check_ids(queue, message, row.settings.content_dedup)
}

fn check_ids(queue: &Queue, message: &Outgoing, content_dedup: bool) -> Result<(), Fault> {
    for (name, value) in [("MessageGroupId", &message.group), ("MessageDeduplicationId", &message.dedup)] {
        let Some(value) = value else { continue };
        let is_good = (1..=128).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_good {
            return Err(invalid(format!(
                "Value {value} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
            )));
        }
    }
    if !queue.is_fifo {
        return match &message.dedup {
            Some(value) => Err(invalid(format!(
                "Value {value} for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not valid for this queue type."
            ))),
            None => Ok(()),
        };
    }
    if message.group.is_none() {
        return Err(Fault::new("MissingParameter", "The request must contain the parameter MessageGroupId."));
    }
    if message.dedup.is_none() && !content_dedup {
        return Err(invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ));
    }
    Ok(())
}

/// The deduplication id that follows from the content, for queues that are set so.
pub fn with_content_dedup(queue: &Queue, mut message: Outgoing) -> Outgoing {
    if queue.is_fifo && message.dedup.is_none() {
        message.dedup = Some(hex::encode(Sha256::digest(message.body.as_bytes())));
    }
    message
}

/// What counts against the size limit: body, and names, types and values of attributes.
pub fn size(message: &Outgoing) -> usize {
    let attributes = message.attributes.iter().map(|(name, one)| {
        let value = one.binary.as_ref().map_or_else(|| one.text.as_deref().map_or(0, str::len), Bytes::len);
        name.len() + one.data_type.len() + value
    });
    message.body.len() + attributes.sum::<usize>()
}

/// Byte by byte, which is many at a time: what is refused are control characters and, as they stand in UTF-8, U+FFFE and
/// U+FFFF.
fn is_all_allowed(text: &str) -> bool {
    let is_refused = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    let (mut refused, mut highest) = (false, 0);
    for byte in text.bytes() {
        refused |= is_refused(byte);
        highest = highest.max(byte);
    }
    let is_end_of_plane = |bytes: &[u8]| bytes[..2] == [0xEF, 0xBF] && bytes[2] >= 0xBE;
    !refused && (highest < 0xEF || !text.as_bytes().windows(3).any(is_end_of_plane))
}

/// Message attributes, typed and checked.
pub fn attributes(
    given: Option<BTreeMap<String, MessageAttributeValue>>,
) -> Result<BTreeMap<String, Attribute>, Fault> {
    let given = given.unwrap_or_default();
    if given.len() > MOST_ATTRIBUTES {
        return Err(invalid(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [10].",
            given.len()
        )));
    }
    given.into_iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: String, value: MessageAttributeValue) -> Result<(String, Attribute), Fault> {
    let lower = name.to_ascii_lowercase();
    let is_name = (1..=256).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    if !is_name || lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(invalid(format!(
            "The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters."
        )));
    }
    if value.string_list_values.is_some_and(|all| !all.is_empty())
        || value.binary_list_values.is_some_and(|all| !all.is_empty())
    {
        return Err(crate::api::UnsupportedOperation::new(
            "Message attribute list values in SendMessage operation are not supported.",
        )
        .into());
    }
    let base = value.data_type.split('.').next().unwrap_or_default();
    let has_value = match base {
        "String" => {
            value.string_value.as_deref().is_some_and(|text| !text.is_empty() && is_all_allowed(text))
        }
        "Number" => value.string_value.as_deref().is_some_and(|text| text.trim().parse::<f64>().is_ok()),
        "Binary" => value.binary_value.as_ref().is_some_and(|bytes| !bytes.is_empty()),
        _ => {
            return Err(invalid(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
            )));
        }
    };
    if !has_value {
        let kind = if base == "Number" && value.string_value.is_some() {
            format!("Can't cast the value of message (user) attribute '{name}' to a number.")
        } else {
            format!(
                "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{base}'."
            )
        };
        return Err(invalid(kind));
    }
    let is_binary = base == "Binary";
    Ok((
        name,
        Attribute {
            data_type: value.data_type,
            text: value.string_value.filter(|_| !is_binary),
            binary: value.binary_value.filter(|_| is_binary),
        },
    ))
}

/// The only attribute of the system that senders may give.
pub fn trace_header(
    given: Option<BTreeMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>>,
) -> Result<Option<String>, Fault> {
    let Some((name, value)) = given.and_then(|mut all| all.pop_first()) else { return Ok(None) };
    if name.as_str() != "AWSTraceHeader" {
        return Err(invalid(format!("Message system attribute name '{}' is invalid.", name.as_str())));
    }
    if value.data_type != "String" {
        return Err(invalid("The message system attribute 'AWSTraceHeader' must be of type String."));
    }
    Ok(value.string_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_say_is_refused() {
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
        for c in (0..=0x11_0000).filter_map(char::from_u32) {
            assert_eq!(is_all_allowed(&format!("a{c}b")), allowed(c), "{c:?}");
        }
    }
}
