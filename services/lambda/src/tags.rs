//! Tags of functions.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest},
    names::Named,
};

pub async fn tag_resource(lambda: &Lambda, cx: &Cx, input: TagResourceRequest) -> Result<Unit, Fault> {
    let named = function(cx, &input.resource)?;
    lambda
        .change(&named, None, |row| {
            row.tags.extend(input.tags);
            Ok(Unit)
        })
        .await
}

pub async fn untag_resource(lambda: &Lambda, cx: &Cx, input: UntagResourceRequest) -> Result<Unit, Fault> {
    let named = function(cx, &input.resource)?;
    lambda
        .change(&named, None, |row| {
            row.tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(Unit)
        })
        .await
}

pub async fn list_tags(lambda: &Lambda, cx: &Cx, input: ListTagsRequest) -> Result<ListTagsResponse, Fault> {
    let named = function(cx, &input.resource)?;
    Ok(ListTagsResponse { tags: Some(lambda.get(&named)?.tags.clone()) })
}

/// Only functions carry tags here; mappings and signing configurations do not yet.
fn function(cx: &Cx, arn: &str) -> Result<Named, Fault> {
    if arn.contains(":function:") {
        Named::read(cx, arn, None)
    } else {
        Err(Fault::not_implemented("tags of Lambda resources other than functions"))
    }
}
