//! Tags of topics.

use std::collections::BTreeMap;

use tidemill_platform::{Cx, Fault};

use crate::{
    Sns,
    api::{
        ListTagsForResourceRequest, ListTagsForResourceResponse, ResourceNotFoundException, Tag,
        TagLimitExceededException, TagResourceRequest, TagResourceResponse, UntagResourceRequest,
        UntagResourceResponse,
    },
    state::{Topic, invalid},
};

const MOST: usize = 50;

/// Tags as a map; two of one key are refused.
pub fn checked(tags: Vec<Tag>) -> Result<BTreeMap<String, String>, Fault> {
    let mut map = BTreeMap::new();
    for tag in tags {
        if tag.key.starts_with("aws:") {
            return Err(invalid("aws: prefixed tag key names are not allowed for external use."));
        }
        if map.insert(tag.key, tag.value).is_some() {
            return Err(invalid("Duplicated keys are not allowed."));
        }
    }
    Ok(map)
}

pub async fn tag_resource(
    sns: &Sns,
    _: &Cx,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    let topic = find(sns, &input.resource_arn)?;
    let added = checked(input.tags)?;
    sns.change(&topic, |row| {
        row.tags.extend(added);
        if row.tags.len() > MOST {
            return Err(TagLimitExceededException::new(
                "Could not complete request: tag quota of per resource exceeded",
            )
            .into());
        }
        Ok(())
    })
    .await?;
    Ok(TagResourceResponse {})
}

pub async fn untag_resource(
    sns: &Sns,
    _: &Cx,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    let topic = find(sns, &input.resource_arn)?;
    sns.change(&topic, |row| {
        row.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(UntagResourceResponse {})
}

pub async fn list_tags_for_resource(
    sns: &Sns,
    _: &Cx,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let tags = find(sns, &input.resource_arn)?.row().tags.clone();
    let tags = tags.into_iter().map(|(key, value)| Tag { key, value });
    Ok(ListTagsForResourceResponse { tags: Some(tags.collect()) })
}

fn find(sns: &Sns, arn: &str) -> Result<std::sync::Arc<Topic>, Fault> {
    sns.by_arn(arn).ok_or_else(|| ResourceNotFoundException::new("Resource does not exist").into())
}
