//! Tags of registries, schemas and discoverers.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Schemas,
    api::{
        ListTagsForResourceRequest, ListTagsForResourceResponse, TagResourceRequest, UntagResourceRequest,
    },
    checks,
    faults::not_found,
    rows::Tags,
    state::Kept,
};

pub async fn tag_resource(schemas: &Schemas, _: &Cx, input: TagResourceRequest) -> Result<Unit, Fault> {
    let added = checks::required(input.tags, "Tags")?;
    schemas.change_tags(&input.resource_arn, |tags| tags.extend(added)).await?;
    Ok(Unit)
}

pub async fn untag_resource(schemas: &Schemas, _: &Cx, input: UntagResourceRequest) -> Result<Unit, Fault> {
    let gone = checks::required(input.tag_keys, "TagKeys")?;
    schemas.change_tags(&input.resource_arn, |tags| tags.retain(|key, _| !gone.contains(key))).await?;
    Ok(Unit)
}

pub async fn list_tags_for_resource(
    schemas: &Schemas,
    _: &Cx,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let tags = schemas.show(|kept| tags_of(kept, &input.resource_arn).cloned()).await;
    Ok(ListTagsForResourceResponse { tags: Some(tags.ok_or_else(|| missing(&input.resource_arn))?) })
}

impl Schemas {
    /// Changes the tags of what has this ARN.
    pub async fn change_tags(&self, arn: &str, change: impl FnOnce(&mut Tags)) -> Result<(), Fault> {
        self.decide(|kept, effects| {
            if let Some(mut row) = kept.registries.get(arn).cloned() {
                change(&mut row.tags);
                effects.registries.push((arn.into(), Some(row)));
            } else if let Some(mut row) = kept.schemas.get(arn).cloned() {
                change(&mut row.tags);
                effects.schemas.push((arn.into(), Some(row)));
            } else if let Some(mut row) = kept.discoverers.get(arn).cloned() {
                change(&mut row.tags);
                effects.discoverers.push((arn.into(), Some(row)));
            } else {
                return Err(missing(arn));
            }
            Ok(())
        })
        .await
    }
}

fn tags_of<'a>(kept: &'a Kept, arn: &str) -> Option<&'a Tags> {
    let registry = kept.registries.get(arn).map(|row| &row.tags);
    let schema = || kept.schemas.get(arn).map(|row| &row.tags);
    registry.or_else(schema).or_else(|| kept.discoverers.get(arn).map(|row| &row.tags))
}

fn missing(arn: &str) -> Fault {
    not_found(format!("Resource {arn} does not exist."))
}
