//! Writing and reading log events.

use std::{collections::BTreeSet, ops::ControlFlow};

use tidemill_log_filter::Filter;
use tidemill_platform::{Cx, Fault, page};
use tidemill_store::Partition;

use crate::{
    Logs,
    api::{
        FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent, GetLogEventsRequest,
        GetLogEventsResponse, InvalidParameterException, OutputLogEvent, PutLogEventsRequest,
        PutLogEventsResponse, RejectedLogEventsInfo,
    },
    filter,
    state::{EVENTS, Hurry, Line, group_arn, no_group, no_stream},
};

const HOUR: i64 = 3_600_000;
/// The size of a batch: 1 MiB, with 26 bytes counted for each event.
const MOST_BYTES: usize = 1_048_576;

pub async fn put_log_events(
    logs: &Logs,
    cx: &Cx,
    input: PutLogEventsRequest,
) -> Result<PutLogEventsResponse, Fault> {
    let size: usize = input.log_events.iter().map(|event| event.message.len() + 26).sum();
    if size > MOST_BYTES {
        return Err(InvalidParameterException::new(format!(
            "Upload too large: {size} bytes exceeds limit of {MOST_BYTES}"
        ))
        .into());
    }
    if input.log_events.windows(2).any(|pair| pair[0].timestamp > pair[1].timestamp) {
        return Err(InvalidParameterException::new(
            "Log events in a single PutLogEvents request must be in chronological order.",
        )
        .into());
    }
    let now = cx.now().millis();
    let ticket = {
        let mut groups = logs.groups.lock();
        let group = groups.get_mut(&group_arn(cx, &input.log_group_name)).ok_or_else(no_group)?;
        if !group.streams.contains_key(&input.log_stream_name) {
            return Err(no_stream());
        }
        let oldest = now - group.row.retention_days.map_or(14, i64::from).min(14) * 24 * HOUR;
        let too_old = input.log_events.iter().take_while(|event| event.timestamp < oldest).count();
        let fresh = input.log_events.iter().take_while(|event| event.timestamp <= now + 2 * HOUR).count();
        let rejected = (too_old > 0 || fresh < input.log_events.len()).then(|| RejectedLogEventsInfo {
            too_old_log_event_end_index: (too_old > 0).then(|| i32::try_from(too_old).unwrap_or(i32::MAX)),
            too_new_log_event_start_index: (fresh < input.log_events.len())
                .then(|| i32::try_from(fresh).unwrap_or(i32::MAX)),
            expired_log_event_end_index: None,
        });
        let kept = input.log_events.into_iter().take(fresh).skip(too_old);
        let lines = kept
            .map(|event| Line { at: event.timestamp, ingested_at: now, message: event.message })
            .collect();
        (logs.append(group, &input.log_stream_name, lines, Hurry::Yes)?, rejected)
    };
    let (ticket, rejected_log_events_info) = ticket;
    ticket.await;
    Ok(PutLogEventsResponse {
        next_sequence_token: Some(format!("{now:056}")),
        rejected_log_events_info,
        ..PutLogEventsResponse::default()
    })
}

/// One event where it stands.
struct Placed {
    at: u64,
    number: u64,
    stream: String,
    message: String,
    ingested_at: i64,
}

pub async fn get_log_events(
    logs: &Logs,
    cx: &Cx,
    input: GetLogEventsRequest,
) -> Result<GetLogEventsResponse, Fault> {
    let arn = group_of(cx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let (group_id, expired) = visible(logs, &arn, Some(&input.log_stream_name))?;
    let limit = usize::try_from(input.limit.unwrap_or(10_000)).unwrap_or(10_000);
    let token = input.next_token.as_deref().map(position).transpose()?;
    let from = input.start_time.unwrap_or(0).max(expired).unsigned_abs();
    let until = input.end_time.map_or(u64::MAX, i64::unsigned_abs);
    let (forward, low, high) = match token {
        Some((true, at, number)) => (true, (at, number + 1).max((from, 0)), (until, 0)),
        Some((false, at, number)) => (false, (from, 0), (at, number).min((until, 0))),
        None => (input.start_from_head == Some(true), (from, 0), (until, 0)),
    };
    let events = window(logs, &arn, &group_id, &input.log_stream_name, low, high, forward, limit)?;
    let place =
        |event: Option<&Placed>, else_at: (u64, u64)| event.map_or(else_at, |event| (event.at, event.number));
    let here = token.map_or((from, 0), |(_, at, number)| (at, number));
    let (first, last) = (place(events.first(), here), place(events.last(), here));
    Ok(GetLogEventsResponse {
        next_forward_token: Some(format!("f/{:020}{:036}/s", last.0, last.1)),
        next_backward_token: Some(format!("b/{:020}{:036}/s", first.0, first.1)),
        events: Some(
            events
                .into_iter()
                .map(|event| OutputLogEvent {
                    timestamp: Some(event.at as i64),
                    message: Some(event.message),
                    ingestion_time: Some(event.ingested_at),
                })
                .collect(),
        ),
    })
}

#[allow(clippy::too_many_arguments)]
fn window(
    logs: &Logs,
    arn: &str,
    group_id: &str,
    stream: &str,
    low: (u64, u64),
    high: (u64, u64),
    forward: bool,
    limit: usize,
) -> Result<Vec<Placed>, Fault> {
    if low >= high {
        return Ok(Vec::new());
    }
    let key = (group_id.to_string(), stream.to_string());
    let (range, mut events) = ((key.clone(), low)..(key, high), Vec::new());
    let take = |(_, (at, number)), row: crate::state::EventRow| {
        events.push(Placed {
            at,
            number,
            stream: stream.to_string(),
            message: row.message,
            ingested_at: row.ingested_at,
        });
        if events.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let (store, partition) = (&logs.platform.store, Partition::of(arn));
    if forward {
        store.scan(&EVENTS, partition, range, take).map_err(Fault::internal)?;
    } else {
        store.scan_back(&EVENTS, partition, range, take).map_err(Fault::internal)?;
        events.reverse();
    }
    Ok(events)
}

/// Reads `f/<20 digits of ms><36 digits>/s`: whether it goes forward, and the place.
fn position(token: &str) -> Result<(bool, u64, u64), Fault> {
    let read = || {
        let (way, rest) = token.split_once('/')?;
        let digits = rest.strip_suffix("/s").unwrap_or(rest);
        let forward = match way {
            "f" => true,
            "b" => false,
            _ => return None,
        };
        let (at, number) = digits.split_at_checked(20)?;
        Some((forward, at.parse().ok()?, number.parse().ok()?))
    };
    read().ok_or_else(|| InvalidParameterException::new("The specified nextToken is invalid.").into())
}

pub async fn filter_log_events(
    logs: &Logs,
    cx: &Cx,
    input: FilterLogEventsRequest,
) -> Result<FilterLogEventsResponse, Fault> {
    if input.log_stream_names.is_some() && input.log_stream_name_prefix.is_some() {
        return Err(InvalidParameterException::new(
            "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.",
        )
        .into());
    }
    let arn = group_of(cx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let filter = filter::parse(input.filter_pattern.as_deref())?;
    let (group_id, expired) = visible(logs, &arn, None)?;
    let streams =
        chosen_streams(logs, &arn, input.log_stream_names, input.log_stream_name_prefix.as_deref())?;
    let limit = usize::try_from(input.limit.unwrap_or(10_000)).unwrap_or(10_000);
    let from = input.start_time.unwrap_or(0).max(expired).unsigned_abs();
    let until = input.end_time.map_or(u64::MAX, |end| end.unsigned_abs().saturating_add(1));
    let after = input.next_token.as_deref().map(after).transpose()?;
    let mut found = earliest(logs, &arn, &group_id, &streams, (from, until), after, limit + 1, &filter)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_token = more
        .then(|| found.last().map(|event| page::encode(&format!("{}/{}", event.at, event.number))))
        .flatten();
    let events = found.into_iter().map(|event| FilteredLogEvent {
        event_id: Some(format!("{:020}{:036}", event.at, event.number)),
        log_stream_name: Some(event.stream),
        timestamp: Some(event.at as i64),
        message: Some(event.message),
        ingestion_time: Some(event.ingested_at),
    });
    Ok(FilterLogEventsResponse {
        events: Some(events.collect()),
        searched_log_streams: Some(Vec::new()),
        next_token,
    })
}

fn chosen_streams(
    logs: &Logs,
    arn: &str,
    names: Option<Vec<String>>,
    prefix: Option<&str>,
) -> Result<Vec<String>, Fault> {
    let groups = logs.groups.lock();
    let group = groups.get(arn).ok_or_else(no_group)?;
    match names {
        Some(names) if names.iter().any(|name| !group.streams.contains_key(name)) => Err(no_stream()),
        Some(names) => Ok(names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()),
        None => {
            Ok(group.streams.keys().filter(|name| name.starts_with(prefix.unwrap_or(""))).cloned().collect())
        }
    }
}

/// The earliest `most` matching events over all streams, in order of time; memory holds no more than that.
#[allow(clippy::too_many_arguments)]
fn earliest(
    logs: &Logs,
    arn: &str,
    group_id: &str,
    streams: &[String],
    (from, until): (u64, u64),
    after: Option<(u64, u64)>,
    most: usize,
    filter: &Filter,
) -> Result<Vec<Placed>, Fault> {
    let mut found: std::collections::BTreeMap<(u64, u64), Placed> = std::collections::BTreeMap::new();
    let low = after.map_or((from, 0), |(at, number)| (at, number + 1).max((from, 0)));
    for stream in streams {
        let key = (group_id.to_string(), stream.clone());
        if low >= (until, 0) {
            break;
        }
        let range = (key.clone(), low)..(key, (until, 0));
        let scanned = logs.platform.store.scan(&EVENTS, Partition::of(arn), range, |(_, place), row| {
            let full = found.len() >= most;
            if full && found.last_key_value().is_some_and(|(last, _)| place > *last) {
                return ControlFlow::Break(());
            }
            if filter.matches(&row.message) {
                found.insert(
                    place,
                    Placed {
                        at: place.0,
                        number: place.1,
                        stream: stream.clone(),
                        message: row.message,
                        ingested_at: row.ingested_at,
                    },
                );
                if found.len() > most {
                    found.pop_last();
                }
            }
            ControlFlow::Continue(())
        });
        scanned.map_err(Fault::internal)?;
    }
    Ok(found.into_values().collect())
}

fn after(token: &str) -> Result<(u64, u64), Fault> {
    let read = || {
        let key = page::decode(token)?;
        let (at, number) = key.split_once('/')?;
        Some((at.parse().ok()?, number.parse().ok()?))
    };
    read().ok_or_else(|| InvalidParameterException::new("The specified nextToken is invalid.").into())
}

/// The group's id and the moment before which its events are not shown. With a stream, that must exist too.
fn visible(logs: &Logs, arn: &str, stream: Option<&str>) -> Result<(String, i64), Fault> {
    let groups = logs.groups.lock();
    let group = groups.get(arn).ok_or_else(no_group)?;
    if stream.is_some_and(|stream| !group.streams.contains_key(stream)) {
        return Err(no_stream());
    }
    let expired = group.expired_before(logs.platform.clock.now().millis());
    Ok((group.row.id.clone(), expired.unwrap_or(0)))
}

/// The ARN of the group that a request names, by name or identifier (a name or an ARN, with or without `:*`).
pub fn group_of(cx: &Cx, name: Option<&str>, identifier: Option<&str>) -> Result<String, Fault> {
    match (name, identifier) {
        (Some(_), Some(_)) => {
            Err(Fault::validation("LogGroup name and LogGroup identifier are mutually exclusive parameters."))
        }
        (None, None) => Err(InvalidParameterException::new(
            "Either logGroupName or logGroupIdentifier must be specified.",
        )
        .into()),
        (Some(name), None) => Ok(group_arn(cx, name)),
        (None, Some(arn)) if arn.starts_with("arn:") => Ok(arn.strip_suffix(":*").unwrap_or(arn).to_string()),
        (None, Some(name)) => Ok(group_arn(cx, name)),
    }
}
