//! Queues: made, found, set, emptied, deleted.

use std::collections::BTreeMap;

use tidemill_api::Unit;
use tidemill_platform::{Arn, Cx, Fault, page::page};
use tidemill_store::Batch;

use crate::{
    Sqs,
    api::{
        CreateQueueRequest, CreateQueueResult, DeleteQueueRequest, GetQueueAttributesRequest,
        GetQueueAttributesResult, GetQueueUrlRequest, GetQueueUrlResult, InvalidAttributeName,
        ListDeadLetterSourceQueuesRequest, ListDeadLetterSourceQueuesResult, ListQueuesRequest,
        ListQueuesResult, PurgeQueueInProgress, PurgeQueueRequest, QueueAttributeName as Name,
        QueueNameExists, SetQueueAttributesRequest,
    },
    settings::Settings,
    state::{GRAVES, QUEUES, Queue, QueueRow, invalid, no_queue},
    tags,
};

const MOST_LISTED: i32 = 1000;
const PURGES_MS: i64 = 60_000;

pub async fn create_queue(sqs: &Sqs, cx: &Cx, input: CreateQueueRequest) -> Result<CreateQueueResult, Fault> {
    let tags = input.tags.unwrap_or_default();
    tags::check(&tags)?;
    let attributes = input.attributes.unwrap_or_default();
    let queue = sqs.create(cx, &input.queue_name, &attributes, tags).await?;
    Ok(CreateQueueResult { queue_url: Some(queue.url(cx)) })
}

impl Sqs {
    /// Makes a queue, or gives the one there is if it is set the same way.
    pub async fn create(
        &self,
        cx: &Cx,
        name: &str,
        attributes: &BTreeMap<Name, String>,
        tags: BTreeMap<String, String>,
    ) -> Result<std::sync::Arc<Queue>, Fault> {
        let is_fifo =
            attributes.get(&Name::FifoQueue).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        check_name(name, is_fifo)?;
        let settings = Settings::default().with(is_fifo, attributes)?;
        let arn = cx.arn("sqs", name);
        self.check_redrive(&arn, is_fifo, &settings)?;
        if let Some(there) = self.by_arn(&arn.to_string()) {
            check_same(&there, attributes)?;
            return Ok(there);
        }
        let now = cx.now().millis();
        let row = QueueRow {
            id: cx.random().u64(),
            name: name.into(),
            arn: arn.to_string(),
            account: cx.account().into(),
            region: cx.region().into(),
            is_fifo,
            created_at: now,
            changed_at: now,
            settings,
            tags,
            purged_to: 0,
            purged_at: 0,
        };
        self.insert(row).await
    }

    /// A dead-letter queue has to exist, be of the same kind and let itself be used.
    fn check_redrive(&self, arn: &Arn, is_fifo: bool, settings: &Settings) -> Result<(), Fault> {
        let Some(redrive) = &settings.redrive else { return Ok(()) };
        let wrong = |why: String| {
            invalid(format!(
                "Value {} for parameter RedrivePolicy is invalid. Reason: {why}",
                redrive.document()
            ))
        };
        let target = self
            .by_arn(&redrive.target_arn)
            .ok_or_else(|| wrong("Dead letter target does not exist.".into()))?;
        if target.is_fifo != is_fifo {
            let kind = if is_fifo { "FIFO" } else { "standard" };
            return Err(wrong(format!(
                "Dead-letter queue must be same type of queue as the source: {kind}."
            )));
        }
        if !target.settings().allows(&arn.to_string()) {
            return Err(wrong("The dead-letter queue does not allow this queue as its source.".into()));
        }
        Ok(())
    }
}

fn check_name(name: &str, is_fifo: bool) -> Result<(), Fault> {
    let stem = name.strip_suffix(".fifo");
    let characters = stem.filter(|_| is_fifo).unwrap_or(name);
    let is_good = (1..=80).contains(&name.len())
        && !characters.is_empty()
        && characters.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_fifo && (stem.is_none() || !is_good) {
        return Err(invalid(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
        ));
    }
    if !is_good {
        return Err(invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    Ok(())
}

fn check_same(queue: &Queue, attributes: &BTreeMap<Name, String>) -> Result<(), Fault> {
    let settings = queue.settings();
    let wanted = settings.with(queue.is_fifo, attributes)?;
    if wanted == settings {
        return Ok(());
    }
    let (before, after) = (settings.shown(queue.is_fifo), wanted.shown(queue.is_fifo));
    let differs = after.iter().find(|one| !before.contains(one)).map_or("", |(name, _)| name.as_str());
    Err(QueueNameExists::new(format!(
        "A queue already exists with the same name and a different value for attribute {differs}"
    ))
    .into())
}

pub async fn get_queue_url(
    sqs: &Sqs,
    cx: &Cx,
    input: GetQueueUrlRequest,
) -> Result<GetQueueUrlResult, Fault> {
    let account = input.queue_owner_aws_account_id.unwrap_or_else(|| cx.account().to_string());
    let arn = Arn::new("sqs", cx.region(), &account, input.queue_name);
    let queue = sqs.by_arn(&arn.to_string()).ok_or_else(no_queue)?;
    Ok(GetQueueUrlResult { queue_url: Some(queue.url(cx)) })
}

pub async fn list_queues(sqs: &Sqs, cx: &Cx, input: ListQueuesRequest) -> Result<ListQueuesResult, Fault> {
    let prefix = input.queue_name_prefix.unwrap_or_default();
    let names = sqs.of_caller(cx).into_iter().filter(|queue| queue.arn.resource.starts_with(&prefix));
    let (urls, next_token) = listed(cx, names.collect(), input.max_results, input.next_token.as_deref())?;
    Ok(ListQueuesResult { queue_urls: (!urls.is_empty()).then_some(urls), next_token })
}

pub async fn list_dead_letter_source_queues(
    sqs: &Sqs,
    cx: &Cx,
    input: ListDeadLetterSourceQueuesRequest,
) -> Result<ListDeadLetterSourceQueuesResult, Fault> {
    let target = sqs.by_url(cx, &input.queue_url)?.arn.to_string();
    let uses = |queue: &std::sync::Arc<Queue>| {
        queue.row.read().settings.redrive.as_ref().is_some_and(|redrive| redrive.target_arn == target)
    };
    let sources = sqs.all().into_iter().filter(uses).collect();
    let (queue_urls, next_token) = listed(cx, sources, input.max_results, input.next_token.as_deref())?;
    Ok(ListDeadLetterSourceQueuesResult { queue_urls, next_token })
}

/// A page of URLs. Without `MaxResults` AWS gives a thousand and no token.
fn listed(
    cx: &Cx,
    queues: Vec<std::sync::Arc<Queue>>,
    most: Option<i32>,
    token: Option<&str>,
) -> Result<(Vec<String>, Option<String>), Fault> {
    let limit = most.unwrap_or(MOST_LISTED);
    if !(1..=MOST_LISTED).contains(&limit) {
        return Err(invalid(format!(
            "Value {limit} for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000."
        )));
    }
    let key = |queue: &std::sync::Arc<Queue>| queue.arn.to_string();
    let page = page(queues, key, token, usize::try_from(limit).unwrap_or(1000))
        .ok_or_else(|| invalid("Invalid or expired next token."))?;
    let urls = page.items.iter().map(|queue| queue.url(cx)).collect();
    Ok((urls, page.next_token.filter(|_| most.is_some())))
}

pub async fn delete_queue(sqs: &Sqs, cx: &Cx, input: DeleteQueueRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    sqs.remove(&queue).await?;
    Ok(Unit)
}

pub async fn purge_queue(sqs: &Sqs, cx: &Cx, input: PurgeQueueRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    let now = cx.now().millis();
    let (ticket, to) = {
        let mut hot = sqs.hot(&queue, now)?;
        let mut row = queue.row.write();
        if row.purged_at + PURGES_MS > now {
            return Err(PurgeQueueInProgress::new(format!(
                "Only one PurgeQueue operation on {} is allowed every 60 seconds.",
                row.name
            ))
            .into());
        }
        let mut next = row.clone();
        (next.purged_at, next.purged_to) = (now, sqs.number(now));
        let mut batch = Batch::new(queue.partition);
        batch.put(&QUEUES, &next.arn, &next).put(&GRAVES, &queue.id, &next.purged_to);
        let ticket = sqs.platform.submit(batch)?;
        let to = next.purged_to;
        *row = next;
        hot.machine.clear();
        (ticket, to)
    };
    ticket.await;
    sqs.bury(queue.partition, queue.id, to);
    Ok(Unit)
}

pub async fn get_queue_attributes(
    sqs: &Sqs,
    cx: &Cx,
    input: GetQueueAttributesRequest,
) -> Result<GetQueueAttributesResult, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    let wanted = input.attribute_names.unwrap_or_default();
    if let Some(Name::Other(unknown)) = wanted.iter().find(|name| matches!(name, Name::Other(_))) {
        return Err(InvalidAttributeName::new(format!("Unknown Attribute {unknown}.")).into());
    }
    let mut all = sqs.attributes(cx, &queue)?;
    if !wanted.contains(&Name::All) {
        all.retain(|name, _| wanted.contains(name));
    }
    Ok(GetQueueAttributesResult { attributes: (!all.is_empty()).then_some(all) })
}

impl Sqs {
    /// Everything `GetQueueAttributes` can tell.
    pub fn attributes(&self, cx: &Cx, queue: &Queue) -> Result<BTreeMap<Name, String>, Fault> {
        let (visible, in_flight, delayed) = {
            let hot = self.hot(queue, cx.now().millis())?;
            (hot.machine.visible(), hot.machine.in_flight(), hot.machine.delayed())
        };
        let row = queue.row.read();
        let mut all: BTreeMap<Name, String> = row.settings.shown(row.is_fifo).into_iter().collect();
        all.extend([
            (Name::QueueArn, row.arn.clone()),
            (Name::ApproximateNumberOfMessages, visible.to_string()),
            (Name::ApproximateNumberOfMessagesNotVisible, in_flight.to_string()),
            (Name::ApproximateNumberOfMessagesDelayed, delayed.to_string()),
            (Name::CreatedTimestamp, (row.created_at / 1000).to_string()),
            (Name::LastModifiedTimestamp, (row.changed_at / 1000).to_string()),
        ]);
        Ok(all)
    }

    /// Changes a queue's settings.
    pub async fn set_attributes(
        &self,
        cx: &Cx,
        queue: &Queue,
        attributes: &BTreeMap<Name, String>,
    ) -> Result<(), Fault> {
        let settings = queue.settings().with(queue.is_fifo, attributes)?;
        self.check_redrive(&queue.arn, queue.is_fifo, &settings)?;
        self.change(queue, |row| {
            row.settings = row.settings.with(row.is_fifo, attributes)?;
            row.changed_at = cx.now().millis();
            Ok(())
        })
        .await
    }
}

pub async fn set_queue_attributes(
    sqs: &Sqs,
    cx: &Cx,
    input: SetQueueAttributesRequest,
) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    sqs.set_attributes(cx, &queue, &input.attributes).await?;
    Ok(Unit)
}
