//! Tags of log groups, by ARN and, as older clients do, by name.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Logs,
    api::{
        ListTagsForResourceRequest, ListTagsForResourceResponse, ListTagsLogGroupRequest,
        ListTagsLogGroupResponse, TagLogGroupRequest, TagResourceRequest, UntagLogGroupRequest,
        UntagResourceRequest,
    },
    state::{group_arn, no_group},
};

pub async fn tag_resource(logs: &Logs, _: &Cx, input: TagResourceRequest) -> Result<Unit, Fault> {
    put(logs, &input.resource_arn, input.tags).await
}

pub async fn untag_resource(logs: &Logs, _: &Cx, input: UntagResourceRequest) -> Result<Unit, Fault> {
    take(logs, &input.resource_arn, &input.tag_keys).await
}

pub async fn list_tags_for_resource(
    logs: &Logs,
    _: &Cx,
    input: ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, Fault> {
    let groups = logs.groups.lock();
    let group = groups.get(plain(&input.resource_arn)).ok_or_else(no_group)?;
    Ok(ListTagsForResourceResponse { tags: Some(group.row.tags.clone()) })
}

pub async fn tag_log_group(logs: &Logs, cx: &Cx, input: TagLogGroupRequest) -> Result<Unit, Fault> {
    put(logs, &group_arn(cx, &input.log_group_name), input.tags).await
}

pub async fn untag_log_group(logs: &Logs, cx: &Cx, input: UntagLogGroupRequest) -> Result<Unit, Fault> {
    take(logs, &group_arn(cx, &input.log_group_name), &input.tags).await
}

pub async fn list_tags_log_group(
    logs: &Logs,
    cx: &Cx,
    input: ListTagsLogGroupRequest,
) -> Result<ListTagsLogGroupResponse, Fault> {
    let groups = logs.groups.lock();
    let group = groups.get(&group_arn(cx, &input.log_group_name)).ok_or_else(no_group)?;
    Ok(ListTagsLogGroupResponse { tags: Some(group.row.tags.clone()) })
}

async fn put(
    logs: &Logs,
    arn: &str,
    tags: std::collections::BTreeMap<String, String>,
) -> Result<Unit, Fault> {
    logs.change(plain(arn), |row| {
        row.tags.extend(tags);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

async fn take(logs: &Logs, arn: &str, keys: &[String]) -> Result<Unit, Fault> {
    logs.change(plain(arn), |row| {
        row.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

fn plain(arn: &str) -> &str {
    arn.strip_suffix(":*").unwrap_or(arn)
}
