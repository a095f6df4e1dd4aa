//! Tags of pipes.

use std::collections::BTreeMap;

use tidemill_platform::{Cx, Fault};

use crate::{
    Pipes,
    api::{
        ListTagsForResourceRequest, ListTagsForResourceResponse, NotFoundException, TagResourceRequest,
        TagResourceResponse, UntagResourceRequest, UntagResourceResponse,
    },
    rows::PipeRow,
};

/// Tags of one pipe.
const MOST: usize = 50;

pub async fn tag_resource(
    pipes: &Pipes,
    _: &Cx,
    input: TagResourceRequest,
) -> Result<TagResourceResponse, Fault> {
    pipes.change_tags(&input.resource_arn, |tags| tags.extend(input.tags)).await?;
    Ok(TagResourceResponse {})
}

pub async fn untag_resource(
    pipes: &Pipes,
    _: &Cx,
    input: UntagResourceRequest,
) -> Result<UntagResourceResponse, Fault> {
    pipes
        .change_tags(&input.resource_arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key)))
        .await?;
    Ok(UntagResourceResponse {})
}

pub async fn list_tags_for_resource(
    pipes: &Pipes,
    _: &Cx,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let row = pipes.by_arn(&input.resource_arn).ok_or_else(|| none(&input.resource_arn))?;
    Ok(ListTagsForResourceResponse { tags: Some(row.tags) })
}

impl Pipes {
    pub async fn change_tags(
        &self,
        arn: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Result<(), Fault> {
        self.change(arn, |there| {
            let mut row: PipeRow = there.cloned().ok_or_else(|| none(arn))?;
            change(&mut row.tags);
            if row.tags.len() > MOST {
                return Err(Fault::validation(format!("A pipe can have at most {MOST} tags.")));
            }
            Ok(Some(row))
        })
        .await
    }
}

fn none(arn: &str) -> Fault {
    NotFoundException { message: Some(format!("Resource {arn} does not exist.")) }.into()
}
