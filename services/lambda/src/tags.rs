//! Tags of functions and event source mappings.

use std::collections::BTreeMap;

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{
        InvalidParameterValueException, ListTagsRequest, ListTagsResponse, TagResourceRequest,
        UntagResourceRequest,
    },
    mappings,
    names::Named,
};

/// Tags a resource may carry.
const MOST: usize = 50;

type Tags = BTreeMap<String, String>;

pub async fn tag_resource(lambda: &Lambda, cx: &Cx, input: TagResourceRequest) -> Result<Unit, Fault> {
    change(lambda, cx, &input.resource, |tags| {
        tags.extend(input.tags);
        check(tags)
    })
    .await
}

pub async fn untag_resource(lambda: &Lambda, cx: &Cx, input: UntagResourceRequest) -> Result<Unit, Fault> {
    change(lambda, cx, &input.resource, |tags| {
        tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await
}

pub async fn list_tags(lambda: &Lambda, cx: &Cx, input: ListTagsRequest) -> Result<ListTagsResponse, Fault> {
    let tags = match mapping(&input.resource) {
        Some(uuid) => mappings::tags(lambda, uuid)?,
        None => lambda.get(&function(cx, &input.resource)?)?.tags.clone(),
    };
    Ok(ListTagsResponse { tags: Some(tags) })
}

/// A resource has fifty tags at most, none of AWS's own.
pub fn check(tags: &Tags) -> Result<(), Fault> {
    let invalid = |sentence: &str| Err(InvalidParameterValueException::new(sentence).into());
    if tags.len() > MOST {
        return invalid("Number of tags exceeds resource tag limit.");
    }
    if tags.keys().any(|key| key.to_lowercase().starts_with("aws:")) {
        return invalid("Tag keys cannot start with 'aws:'.");
    }
    Ok(())
}

async fn change(
    lambda: &Lambda,
    cx: &Cx,
    arn: &str,
    change: impl FnOnce(&mut Tags) -> Result<(), Fault>,
) -> Result<Unit, Fault> {
    match mapping(arn) {
        Some(uuid) => mappings::change_tags(lambda, uuid, change).await?,
        None => lambda.change(&function(cx, arn)?, None, |row| change(&mut row.tags)).await?,
    }
    Ok(Unit)
}

fn mapping(arn: &str) -> Option<&str> {
    arn.split_once(":event-source-mapping:").map(|(_, uuid)| uuid)
}

/// Versions and aliases carry no tags of their own.
fn function(cx: &Cx, arn: &str) -> Result<Named, Fault> {
    if !arn.contains(":function:") {
        return Err(Fault::not_implemented("tags of Lambda resources other than functions and mappings"));
    }
    let named = Named::read(cx, arn, None)?;
    if named.qualifier.is_some() {
        return Err(InvalidParameterValueException::new(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )
        .into());
    }
    Ok(named)
}
