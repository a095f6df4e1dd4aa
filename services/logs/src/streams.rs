//! Log streams.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Logs,
    api::{
        CreateLogStreamRequest, DeleteLogStreamRequest, DescribeLogStreamsRequest,
        DescribeLogStreamsResponse, InvalidParameterException, LogStream, OrderBy,
    },
    events::group_of,
    state::{StreamRow, group_arn, no_group},
};

pub async fn create_log_stream(logs: &Logs, cx: &Cx, input: CreateLogStreamRequest) -> Result<Unit, Fault> {
    logs.create_stream(&group_arn(cx, &input.log_group_name), &input.log_stream_name).await?;
    Ok(Unit)
}

pub async fn delete_log_stream(logs: &Logs, cx: &Cx, input: DeleteLogStreamRequest) -> Result<Unit, Fault> {
    logs.remove_stream(&group_arn(cx, &input.log_group_name), &input.log_stream_name).await?;
    Ok(Unit)
}

pub async fn describe_log_streams(
    logs: &Logs,
    cx: &Cx,
    input: DescribeLogStreamsRequest,
) -> Result<DescribeLogStreamsResponse, Fault> {
    let by_time = input.order_by == Some(OrderBy::LastEventTime);
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(InvalidParameterException::new(
            "Cannot order by LastEventTime with a logStreamNamePrefix.",
        )
        .into());
    }
    let arn = group_of(cx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let prefix = input.log_stream_name_prefix.unwrap_or_default();
    let mut found: Vec<(String, LogStream)> = {
        let groups = logs.groups.lock();
        let group = groups.get(&arn).ok_or_else(no_group)?;
        let chosen = group.streams.iter().filter(|(name, _)| name.starts_with(&prefix));
        chosen.map(|(name, stream)| (order_key(name, stream, by_time), wire(&arn, name, stream))).collect()
    };
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let limit = usize::try_from(input.limit.unwrap_or(50)).unwrap_or(50);
    let page = if input.descending == Some(true) {
        // Descending pages count from the end: the token carries the inverted place.
        let last = found.len();
        let turned =
            found.into_iter().rev().enumerate().map(|(at, (_, stream))| (format!("{at:010}/{last}"), stream));
        page(turned, |(key, _)| key.clone(), input.next_token.as_deref(), limit)
    } else {
        page(found, |(key, _)| key.clone(), input.next_token.as_deref(), limit)
    };
    let page = page
        .ok_or_else(|| Fault::from(InvalidParameterException::new("The specified nextToken is invalid.")))?;
    let log_streams = Some(page.items.into_iter().map(|(_, stream)| stream).collect());
    Ok(DescribeLogStreamsResponse { log_streams, next_token: page.next_token })
}

fn order_key(name: &str, stream: &StreamRow, by_time: bool) -> String {
    if by_time { format!("{:020}/{name}", stream.last_at.unwrap_or(0)) } else { name.to_string() }
}

fn wire(group_arn: &str, name: &str, stream: &StreamRow) -> LogStream {
    LogStream {
        log_stream_name: Some(name.to_string()),
        creation_time: Some(stream.created_at),
        first_event_timestamp: stream.first_at,
        last_event_timestamp: stream.last_at,
        last_ingestion_time: stream.ingested_at,
        upload_sequence_token: Some(format!("{:056}", stream.ingested_at.unwrap_or(stream.created_at))),
        arn: Some(format!("{group_arn}:log-stream:{name}")),
        // AWS stopped counting per stream in 2019 and answers 0.
        stored_bytes: Some(0),
    }
}
