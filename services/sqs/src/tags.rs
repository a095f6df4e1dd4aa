//! Tags of queues.

use std::collections::BTreeMap;

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Sqs,
    api::{ListQueueTagsRequest, ListQueueTagsResult, TagQueueRequest, UntagQueueRequest},
    state::invalid,
};

const MOST: usize = 50;

pub async fn tag_queue(sqs: &Sqs, cx: &Cx, input: TagQueueRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    check(&input.tags)?;
    sqs.change(&queue, |row| {
        row.tags.extend(input.tags);
        if row.tags.len() > MOST {
            return Err(invalid(format!("Too many tags added for queue {}.", row.name)));
        }
        Ok(Unit)
    })
    .await
}

/// Checks tags that a caller gives; stacks may give others.
pub fn check(tags: &BTreeMap<String, String>) -> Result<(), Fault> {
    for (key, value) in tags {
        if key.starts_with("aws:") {
            return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
            return Err(invalid(
                "Tag keys must be between 1 and 128 characters in length, tag values between 0 and 256.",
            ));
        }
    }
    Ok(())
}

pub async fn untag_queue(sqs: &Sqs, cx: &Cx, input: UntagQueueRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    sqs.change(&queue, |row| {
        row.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(Unit)
    })
    .await
}

pub async fn list_queue_tags(
    sqs: &Sqs,
    cx: &Cx,
    input: ListQueueTagsRequest,
) -> Result<ListQueueTagsResult, Fault> {
    let tags = sqs.by_url(cx, &input.queue_url)?.row.read().tags.clone();
    Ok(ListQueueTagsResult { tags: (!tags.is_empty()).then_some(tags) })
}
