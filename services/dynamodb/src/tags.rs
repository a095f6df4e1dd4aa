//! Tags of tables.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    DynamoDb,
    api::{ListTagsOfResourceInput, ListTagsOfResourceOutput, Tag, TagResourceInput, UntagResourceInput},
};

pub async fn tag_resource(db: &DynamoDb, cx: &Cx, input: TagResourceInput) -> Result<Unit, Fault> {
    let table = db.table(cx, &input.resource_arn)?;
    let tags = input.tags;
    db.change(&table, |row, _| {
        row.tags.extend(tags.into_iter().map(|tag| (tag.key, tag.value)));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_resource(db: &DynamoDb, cx: &Cx, input: UntagResourceInput) -> Result<Unit, Fault> {
    let table = db.table(cx, &input.resource_arn)?;
    db.change(&table, |row, _| {
        row.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_tags_of_resource(
    db: &DynamoDb,
    cx: &Cx,
    input: ListTagsOfResourceInput,
) -> Result<ListTagsOfResourceOutput, Fault> {
    let table = db.table(cx, &input.resource_arn)?;
    let tags =
        table.row().tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
    Ok(ListTagsOfResourceOutput { tags: Some(tags), next_token: None })
}
