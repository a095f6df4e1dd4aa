//! Log groups.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Logs,
    api::{
        CreateLogGroupRequest, DeleteLogGroupRequest, DeleteRetentionPolicyRequest, DescribeLogGroupsRequest,
        DescribeLogGroupsResponse, InvalidParameterException, LogGroup, LogGroupClass,
        PutRetentionPolicyRequest,
    },
    state::{Group, GroupRow, group_arn},
};

/// The retentions CloudWatch Logs takes, in days.
const RETENTIONS: [i32; 23] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    0,
];

pub async fn create_log_group(logs: &Logs, cx: &Cx, input: CreateLogGroupRequest) -> Result<Unit, Fault> {
    if input.kms_key_id.is_some() {
        return Err(Fault::not_implemented("CreateLogGroup with kmsKeyId"));
    }
    let row = GroupRow {
        id: cx.random().hex::<8>(),
        arn: group_arn(cx, &input.log_group_name),
        name: input.log_group_name,
        created_at: cx.now().millis(),
        retention_days: None,
        class: input.log_group_class.map(|class| class.to_string()),
        deletion_protected: input.deletion_protection_enabled.unwrap_or(false),
        tags: input.tags.unwrap_or_default(),
    };
    let ticket = logs.create(&mut logs.groups.lock(), row)?;
    ticket.await;
    Ok(Unit)
}

pub async fn delete_log_group(logs: &Logs, cx: &Cx, input: DeleteLogGroupRequest) -> Result<Unit, Fault> {
    logs.remove(&group_arn(cx, &input.log_group_name)).await?;
    Ok(Unit)
}

pub async fn describe_log_groups(
    logs: &Logs,
    cx: &Cx,
    input: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, Fault> {
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(InvalidParameterException::new(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        )
        .into());
    }
    let of_caller = group_arn(cx, "");
    let prefix = format!("{of_caller}{}", input.log_group_name_prefix.unwrap_or_default());
    let pattern = input.log_group_name_pattern.unwrap_or_default();
    let mut found: Vec<LogGroup> = {
        let groups = logs.groups.lock();
        let chosen = groups
            .iter()
            .filter(|(arn, group)| arn.starts_with(&prefix) && group.row.name.contains(&pattern));
        chosen.map(|(_, group)| wire(group)).collect()
    };
    if let Some(class) = input.log_group_class {
        found.retain(|group| group.log_group_class.as_ref() == Some(&class));
    }
    if let Some(wanted) = input.log_group_identifiers {
        found.retain(|group| {
            [&group.log_group_name, &group.log_group_arn].into_iter().flatten().any(|id| wanted.contains(id))
        });
    }
    found.sort_by(|a, b| a.log_group_name.cmp(&b.log_group_name));
    let limit = usize::try_from(input.limit.unwrap_or(50)).unwrap_or(50);
    let page = page(
        found,
        |group| group.log_group_name.clone().unwrap_or_default(),
        input.next_token.as_deref(),
        limit,
    );
    let page = page
        .ok_or_else(|| Fault::from(InvalidParameterException::new("The specified nextToken is invalid.")))?;
    Ok(DescribeLogGroupsResponse { log_groups: Some(page.items), next_token: page.next_token })
}

pub async fn put_retention_policy(
    logs: &Logs,
    cx: &Cx,
    input: PutRetentionPolicyRequest,
) -> Result<Unit, Fault> {
    let days = input.retention_in_days;
    if days == 0 || !RETENTIONS.contains(&days) {
        let known: Vec<String> = RETENTIONS.iter().filter(|d| **d > 0).map(i32::to_string).collect();
        let sentence = format!(
            "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
            known.join(", ")
        );
        return Err(InvalidParameterException::new(sentence).into());
    }
    logs.change(&group_arn(cx, &input.log_group_name), |row| {
        row.retention_days = Some(days);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_retention_policy(
    logs: &Logs,
    cx: &Cx,
    input: DeleteRetentionPolicyRequest,
) -> Result<Unit, Fault> {
    logs.change(&group_arn(cx, &input.log_group_name), |row| {
        row.retention_days = None;
        Ok(())
    })
    .await?;
    Ok(Unit)
}

fn wire(group: &Group) -> LogGroup {
    let row = &group.row;
    LogGroup {
        log_group_name: Some(row.name.clone()),
        creation_time: Some(row.created_at),
        retention_in_days: row.retention_days,
        metric_filter_count: Some(0),
        arn: Some(format!("{}:*", row.arn)),
        stored_bytes: Some(group.streams.values().map(|stream| stream.bytes).sum()),
        log_group_class: Some(row.class.as_deref().map_or(LogGroupClass::Standard, LogGroupClass::from)),
        log_group_arn: Some(row.arn.clone()),
        deletion_protection_enabled: Some(row.deletion_protected),
        ..LogGroup::default()
    }
}
