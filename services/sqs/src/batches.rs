//! Batches of up to ten: what is wrong with the batch fails it, what is wrong with an entry fails that entry.

use tidemill_platform::{Cx, Fault};

use crate::{
    Sqs,
    api::{
        BatchEntryIdsNotDistinct, BatchRequestTooLong, BatchResultErrorEntry,
        ChangeMessageVisibilityBatchRequest, ChangeMessageVisibilityBatchResult,
        ChangeMessageVisibilityBatchResultEntry, DeleteMessageBatchRequest, DeleteMessageBatchResult,
        DeleteMessageBatchResultEntry, EmptyBatchRequest, InvalidBatchEntryId, SendMessageBatchRequest,
        SendMessageBatchResult, SendMessageBatchResultEntry, TooManyEntriesInBatchRequest,
    },
    sending::{Outgoing, attributes, check, size, trace_header, with_content_dedup},
};

const MOST_ENTRIES: usize = 10;
const MOST_BYTES: usize = 1_048_576;

pub async fn send_message_batch(
    sqs: &Sqs,
    cx: &Cx,
    input: SendMessageBatchRequest,
) -> Result<SendMessageBatchResult, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    check_ids(input.entries.iter().map(|entry| entry.id.as_str()), "SendMessageBatchRequestEntry")?;
    let (mut good, mut failed, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in input.entries {
        let read = || -> Result<Outgoing, Fault> {
            Ok(Outgoing {
                body: entry.message_body,
                delay_s: entry.delay_seconds,
                attributes: attributes(entry.message_attributes)?,
                trace_header: trace_header(entry.message_system_attributes)?,
                group: entry.message_group_id,
                dedup: entry.message_deduplication_id,
                sender: cx.request().principal.user_id.clone(),
                trace: cx.trace().to_string(),
                unsigned: false,
            })
        };
        let message = read().and_then(|message| {
            bytes += size(&message);
            check(&queue, &message).map(|()| with_content_dedup(&queue, message))
        });
        match message {
            Ok(message) => good.push((entry.id, message)),
            Err(fault) => failed.push(error(entry.id, &fault)),
        }
    }
    if bytes > MOST_BYTES {
        return Err(BatchRequestTooLong::new(format!(
            "Batch requests cannot be longer than {MOST_BYTES} bytes. You have sent {bytes} bytes."
        ))
        .into());
    }
    let (ids, messages): (Vec<String>, Vec<Outgoing>) = good.into_iter().unzip();
    let mut successful = Vec::new();
    if !messages.is_empty() {
        let (sent, ticket) = sqs.put(cx, &queue, messages)?;
        ticket.await;
        successful = ids
            .into_iter()
            .zip(sent)
            .map(|(id, sent)| SendMessageBatchResultEntry {
                id,
                message_id: sent.id,
                md5_of_message_body: sent.body_md5,
                md5_of_message_attributes: sent.attributes_md5,
                md5_of_message_system_attributes: sent.system_md5,
                sequence_number: sent.sequence,
            })
            .collect();
    }
    Ok(SendMessageBatchResult { successful, failed })
}

pub async fn delete_message_batch(
    sqs: &Sqs,
    cx: &Cx,
    input: DeleteMessageBatchRequest,
) -> Result<DeleteMessageBatchResult, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    check_ids(input.entries.iter().map(|entry| entry.id.as_str()), "DeleteMessageBatchRequestEntry")?;
    let receipts: Vec<&str> = input.entries.iter().map(|entry| entry.receipt_handle.as_str()).collect();
    let (outcomes, ticket) = sqs.delete_received(cx, &queue, &receipts)?;
    if let Some(ticket) = ticket {
        ticket.await;
    }
    let mut result = DeleteMessageBatchResult::default();
    for (entry, outcome) in input.entries.iter().zip(outcomes) {
        match outcome {
            Ok(()) => result.successful.push(DeleteMessageBatchResultEntry { id: entry.id.clone() }),
            Err(fault) => result.failed.push(error(entry.id.clone(), &fault)),
        }
    }
    Ok(result)
}

pub async fn change_message_visibility_batch(
    sqs: &Sqs,
    cx: &Cx,
    input: ChangeMessageVisibilityBatchRequest,
) -> Result<ChangeMessageVisibilityBatchResult, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    check_ids(
        input.entries.iter().map(|entry| entry.id.as_str()),
        "ChangeMessageVisibilityBatchRequestEntry",
    )?;
    let mut result = ChangeMessageVisibilityBatchResult::default();
    let mut last = None;
    for entry in input.entries {
        let timeout = entry.visibility_timeout.unwrap_or(0);
        match sqs.change_visibility(cx, &queue, &entry.receipt_handle, timeout) {
            Ok(ticket) => {
                last = Some(ticket);
                result.successful.push(ChangeMessageVisibilityBatchResultEntry { id: entry.id });
            }
            Err(fault) => result.failed.push(error(entry.id, &fault)),
        }
    }
    // The log keeps their order: when the last is durable, all are.
    if let Some(last) = last {
        last.await;
    }
    Ok(result)
}

fn error(id: String, fault: &Fault) -> BatchResultErrorEntry {
    BatchResultErrorEntry {
        id,
        sender_fault: fault.status() < 500,
        code: fault.query_code().unwrap_or(fault.code()).to_string(),
        message: Some(fault.message().to_string()),
    }
}

fn check_ids<'a>(ids: impl Iterator<Item = &'a str>, entry: &str) -> Result<(), Fault> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        return Err(
            EmptyBatchRequest::new(format!("There should be at least one {entry} in the request.")).into()
        );
    }
    if ids.len() > MOST_ENTRIES {
        return Err(TooManyEntriesInBatchRequest::new(format!(
            "Maximum number of entries per request are {MOST_ENTRIES}. You have sent {}.",
            ids.len()
        ))
        .into());
    }
    for (at, id) in ids.iter().enumerate() {
        let is_good = (1..=80).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_good {
            return Err(InvalidBatchEntryId::new("A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.").into());
        }
        if ids[..at].contains(id) {
            return Err(BatchEntryIdsNotDistinct::new(format!("Id {id} repeated.")).into());
        }
    }
    Ok(())
}
