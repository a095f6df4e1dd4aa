//! Tags, which only groups have.

use std::collections::BTreeMap;

use tidemill_platform::{Cx, Fault};

use crate::{
    Scheduler, api,
    api::{
        ListTagsForResourceInput, ListTagsForResourceOutput, ResourceNotFoundException, TagResourceInput,
        TagResourceOutput, UntagResourceInput, UntagResourceOutput,
    },
    rows::group_arn,
};

pub async fn tag_resource(
    scheduler: &Scheduler,
    cx: &Cx,
    input: TagResourceInput,
) -> Result<TagResourceOutput, Fault> {
    let added: BTreeMap<String, String> = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    scheduler.change_tags(cx, &input.resource_arn, |tags| tags.extend(added)).await?;
    Ok(TagResourceOutput {})
}

pub async fn untag_resource(
    scheduler: &Scheduler,
    cx: &Cx,
    input: UntagResourceInput,
) -> Result<UntagResourceOutput, Fault> {
    let gone = input.tag_keys;
    scheduler.change_tags(cx, &input.resource_arn, |tags| tags.retain(|key, _| !gone.contains(key))).await?;
    Ok(UntagResourceOutput {})
}

pub async fn list_tags_for_resource(
    scheduler: &Scheduler,
    cx: &Cx,
    input: ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, Fault> {
    let name = group_of(cx, &input.resource_arn)?;
    let row = scheduler.show(|kept| kept.group(cx, name)).await?;
    let tags = row.tags.into_iter().map(|(key, value)| api::Tag { key, value });
    Ok(ListTagsForResourceOutput { tags: Some(tags.collect()) })
}

impl Scheduler {
    /// Changes the tags of the group with this ARN.
    pub async fn change_tags(
        &self,
        cx: &Cx,
        arn: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<(), Fault> {
        let name = group_of(cx, arn)?;
        self.decide(|kept, effects| {
            let mut row = kept.group(cx, name)?;
            change(&mut row.tags);
            row.changed_at = cx.now().millis();
            effects.groups.push((row.arn.clone(), Some(row)));
            Ok(())
        })
        .await
    }
}

/// The name in the ARN of one of the caller's groups.
fn group_of<'a>(cx: &Cx, arn: &'a str) -> Result<&'a str, Fault> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    if group_arn(cx, name) == arn {
        Ok(name)
    } else {
        Err(ResourceNotFoundException::new(format!("Schedule group {name} does not exist.")).into())
    }
}
