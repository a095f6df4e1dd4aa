//! Topics: made, listed, set, deleted.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Sns,
    api::{
        CreateTopicInput, CreateTopicResponse, DeleteTopicInput, GetTopicAttributesInput,
        GetTopicAttributesResponse, InvalidStateException, ListTopicsInput, ListTopicsResponse,
        SetTopicAttributesInput, Topic as Listed,
    },
    notification,
    state::{Standing, Topic, TopicRow, invalid},
    topic_settings::{TopicSettings, boolean},
};

const LISTED: usize = 100;

pub async fn create_topic(sns: &Sns, cx: &Cx, input: CreateTopicInput) -> Result<CreateTopicResponse, Fault> {
    let mut attributes = input.attributes.unwrap_or_default();
    attributes
        .extend(input.data_protection_policy.map(|policy| ("DataProtectionPolicy".to_string(), policy)));
    let tags = crate::tags::checked(input.tags.unwrap_or_default())?;
    let topic = sns.create(cx, &input.name, &attributes, tags).await?;
    Ok(CreateTopicResponse { topic_arn: Some(topic.arn.to_string()) })
}

impl Sns {
    /// Makes a topic, or gives the one there is if it is the same.
    pub async fn create(
        &self,
        cx: &Cx,
        name: &str,
        attributes: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, Fault> {
        let is_fifo = attributes.get("FifoTopic").map_or(Ok(false), |value| boolean("FifoTopic", value))?;
        check_name(name, is_fifo)?;
        let mut settings = TopicSettings::default();
        for (name, value) in attributes.iter().filter(|(name, _)| *name != "FifoTopic") {
            settings.set(is_fifo, name, value)?;
        }
        let mut row = TopicRow {
            name: name.into(),
            arn: cx.arn("sns", name).to_string(),
            account: cx.account().into(),
            region: cx.region().into(),
            is_fifo,
            settings,
            tags: tags.clone(),
            created_at: cx.now().millis(),
            archive_since: 0,
        };
        row.begin_archive(false, row.created_at);
        self.notary.prepare();
        match self.insert(row).await? {
            Ok(made) => Ok(made),
            Err(there) => {
                check_same(&there, is_fifo, attributes, &tags)?;
                Ok(there)
            }
        }
    }
}

/// A topic made again must be the one there is: the attributes given are its own, and so are the tags if any are given.
fn check_same(
    topic: &Topic,
    is_fifo: bool,
    attributes: &BTreeMap<String, String>,
    tags: &BTreeMap<String, String>,
) -> Result<(), Fault> {
    let row = topic.row();
    let mut wanted = row.settings.clone();
    for (name, value) in attributes.iter().filter(|(name, _)| *name != "FifoTopic") {
        wanted.set(is_fifo, name, value)?;
    }
    if wanted != row.settings || is_fifo != row.is_fifo {
        return Err(invalid("Attributes Reason: Topic already exists with different attributes"));
    }
    if !tags.is_empty() && *tags != row.tags {
        return Err(invalid("Tags Reason: Topic already exists with different tags"));
    }
    Ok(())
}

fn check_name(name: &str, is_fifo: bool) -> Result<(), Fault> {
    let stem = name.strip_suffix(".fifo");
    let characters = stem.filter(|_| is_fifo).unwrap_or(name);
    let is_good = (1..=256).contains(&name.len())
        && !characters.is_empty()
        && characters.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_fifo && (stem.is_none() || !is_good) {
        return Err(invalid(
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long.",
        ));
    }
    if !is_good {
        return Err(invalid("Topic Name"));
    }
    Ok(())
}

pub async fn delete_topic(sns: &Sns, _: &Cx, input: DeleteTopicInput) -> Result<Unit, Fault> {
    let parts = input.topic_arn.split(':').count();
    if parts < 6 {
        return Err(invalid(format!("TopicArn Reason: An ARN must have at least 6 elements, not {parts}")));
    }
    // Deleting what is not there succeeds.
    if let Some(topic) = sns.by_arn(&input.topic_arn) {
        if topic.row().settings.archive_policy.is_some() {
            return Err(
                InvalidStateException::new("Topic cannot be deleted while it has an ArchivePolicy").into()
            );
        }
        sns.empty_archive(&topic).await?;
        sns.remove(&topic).await?;
    }
    Ok(Unit)
}

pub async fn list_topics(sns: &Sns, cx: &Cx, input: ListTopicsInput) -> Result<ListTopicsResponse, Fault> {
    let token = input.next_token.as_deref();
    let page = page(sns.of_caller(cx), |topic| topic.arn.to_string(), token, LISTED)
        .ok_or_else(|| invalid("NextToken"))?;
    let topics = page.items.iter().map(|topic| Listed { topic_arn: Some(topic.arn.to_string()) });
    Ok(ListTopicsResponse { topics: Some(topics.collect()), next_token: page.next_token })
}

pub async fn get_topic_attributes(
    sns: &Sns,
    cx: &Cx,
    input: GetTopicAttributesInput,
) -> Result<GetTopicAttributesResponse, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    Ok(GetTopicAttributesResponse { attributes: Some(attributes(cx, &topic)) })
}

/// Everything that `GetTopicAttributes` tells.
pub fn attributes(cx: &Cx, topic: &Topic) -> BTreeMap<String, String> {
    let row = topic.row();
    let now = cx.now().millis();
    let mut all = row.settings.shown(&row.arn, &row.account, row.is_fifo);
    if let Some(begins) = row.archive_begins(now) {
        let begins = notification::printed(Timestamp::from_millis(begins));
        all.insert("BeginningArchiveTime".into(), begins);
    }
    for (name, standing) in [
        ("SubscriptionsPending", Standing::Pending),
        ("SubscriptionsConfirmed", Standing::Confirmed),
        ("SubscriptionsDeleted", Standing::Deleted),
    ] {
        all.insert(name.into(), topic.count(standing, now).to_string());
    }
    all
}

pub async fn set_topic_attributes(sns: &Sns, cx: &Cx, input: SetTopicAttributesInput) -> Result<Unit, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    let value = input.attribute_value.unwrap_or_default();
    sns.change(&topic, |row| {
        if matches!(input.attribute_name.as_str(), "FifoTopic" | "DataProtectionPolicy") {
            return Err(invalid("AttributeName"));
        }
        let had_archive = row.settings.archive_policy.is_some();
        row.settings.set(row.is_fifo, &input.attribute_name, &value)?;
        row.begin_archive(had_archive, cx.now().millis());
        Ok(())
    })
    .await?;
    if topic.row().is_fifo && topic.row().settings.archive_policy.is_none() {
        sns.empty_archive(&topic).await?;
    }
    Ok(Unit)
}
