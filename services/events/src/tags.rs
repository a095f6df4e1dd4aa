//! Tags of buses and rules.

use std::collections::BTreeMap;

use tidemill_platform::{Cx, Fault};

use crate::{
    EventBridge, api,
    api::{
        ListTagsForResourceRequest, ListTagsForResourceResponse, ResourceNotFoundException,
        TagResourceRequest, TagResourceResponse, UntagResourceRequest, UntagResourceResponse,
    },
    enforcement::check_tags,
    state::RuleRow,
};

pub async fn tag_resource(
    bridge: &EventBridge,
    cx: &Cx,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    let added: BTreeMap<String, String> = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    bridge.change_tags(cx, &input.resource_arn, |tags| tags.extend(added)).await?;
    Ok(TagResourceResponse {})
}

pub async fn untag_resource(
    bridge: &EventBridge,
    cx: &Cx,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    bridge
        .change_tags(cx, &input.resource_arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key)))
        .await?;
    Ok(UntagResourceResponse {})
}

pub async fn list_tags_for_resource(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let (bus, rule) = split(&input.resource_arn)?;
    let bus = bridge.bus(cx, Some(bus))?;
    let tags = match rule {
        Some(rule) => bus.rule(rule)?.row.tags.clone(),
        None => bus.row.read().tags.clone(),
    };
    let tags = tags.into_iter().map(|(key, value)| api::Tag { key, value }).collect();
    Ok(ListTagsForResourceResponse { tags: Some(tags) })
}

/// Tags of a bus or a rule. Source: "Tagging Amazon EventBridge resources".
const MOST_TAGS: usize = 50;

/// Refuses tags that no resource can have.
pub fn check_any_tags(tags: &BTreeMap<String, String>) -> Result<(), Fault> {
    if tags.keys().any(|key| key.starts_with("aws:")) {
        return Err(Fault::validation("aws: prefixed tag key names are not allowed for external use."));
    }
    if tags.len() > MOST_TAGS {
        return Err(Fault::validation(format!("A resource can have {MOST_TAGS} tags at most.")));
    }
    Ok(())
}

impl EventBridge {
    async fn change_tags(
        &self,
        cx: &Cx,
        arn: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<(), Fault> {
        let (bus, rule) = split(arn)?;
        let bus = self.bus(cx, Some(bus))?;
        let Some(rule) = rule else {
            return self
                .change_bus(&bus, |row| {
                    change(&mut row.tags);
                    check_tags(&row.tags)
                })
                .await;
        };
        self.change_rule(&bus, rule, |before| {
            let mut row: RuleRow = before.cloned().ok_or_else(|| bus.no_rule(rule))?;
            change(&mut row.tags);
            check_any_tags(&row.tags)?;
            Ok((Some(row), ()))
        })
        .await
    }
}

/// The names of bus and rule in an ARN.
fn split(arn: &str) -> Result<(&str, Option<&str>), Fault> {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    let parts: Vec<&str> = resource.split('/').collect();
    match parts.as_slice() {
        ["event-bus", bus] => Ok((bus, None)),
        ["rule", rule] => Ok(("default", Some(rule))),
        ["rule", bus, rule] => Ok((bus, Some(rule))),
        _ => Err(ResourceNotFoundException::new(format!("Resource {arn} does not exist.")).into()),
    }
}
