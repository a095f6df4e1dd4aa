//! Events as lines of a log stream. A stream that is not there is made.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidemill_platform::{Cx, Fault};

use crate::{
    calls,
    sending::{Outgoing, Refused, Sending},
    settings::Setting,
};

/// A line and its event's place in the batch.
struct Line {
    place: usize,
    at: i64,
    message: String,
}

pub async fn put(
    sending: &Sending<'_>,
    group: &str,
    stream: &Setting,
    at: Option<&Setting>,
    events: &[Outgoing],
) -> Result<Refused, Fault> {
    let target = &sending.plan.target_arn;
    let cx = sending.pipes.platform.cx(&target.account, &target.region, sending.cx.trace().clone());
    let mut refused = Refused::new();
    let mut streams: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        match line(sending, stream, at, place, event) {
            Ok((stream, line)) => streams.entry(stream).or_default().push(line),
            Err(fault) => drop(refused.insert(place, fault.to_string())),
        }
    }
    for (stream, mut lines) in streams {
        lines.sort_by_key(|line| line.at);
        let answer = put_lines(&cx, group, &stream, &lines).await?;
        for line in rejected(&answer, &lines) {
            refused.insert(line.place, "The time of the event is too old or too far ahead.".into());
        }
    }
    Ok(refused)
}

fn line(
    sending: &Sending<'_>,
    stream: &Setting,
    at: Option<&Setting>,
    place: usize,
    event: &Outgoing,
) -> Result<(String, Line), Fault> {
    let of = |setting: &Setting| setting.of(&event.event, &sending.context);
    let at = match at {
        Some(setting) => {
            let text = of(setting)?;
            text.parse().map_err(|_| Fault::validation(format!("{text} is no time in milliseconds.")))?
        }
        None => sending.cx.now().millis(),
    };
    Ok((of(stream)?, Line { place, at, message: event.text.clone() }))
}

async fn put_lines(cx: &Cx, group: &str, stream: &str, lines: &[Line]) -> Result<Value, Fault> {
    let events: Vec<Value> =
        lines.iter().map(|line| json!({"timestamp": line.at, "message": line.message})).collect();
    let input = json!({"logGroupName": group, "logStreamName": stream, "logEvents": events});
    match calls::call(cx, "logs", "PutLogEvents", &input).await {
        Err(fault) if fault.code() == "ResourceNotFoundException" => {}
        other => return other,
    }
    let named = json!({"logGroupName": group, "logStreamName": stream});
    match calls::call(cx, "logs", "CreateLogStream", &named).await {
        // Somebody else may have made it meanwhile.
        Err(fault) if fault.code() != "ResourceAlreadyExistsException" => Err(fault),
        _ => calls::call(cx, "logs", "PutLogEvents", &input).await,
    }
}

/// The lines at both ends that CloudWatch Logs did not take.
fn rejected<'l>(answer: &Value, lines: &'l [Line]) -> impl Iterator<Item = &'l Line> {
    let info = &answer["rejectedLogEventsInfo"];
    let index = |name: &str| info[name].as_u64().and_then(|index| usize::try_from(index).ok());
    let taken_from = index("tooOldLogEventEndIndex").max(index("expiredLogEventEndIndex")).unwrap_or(0);
    let taken_to = index("tooNewLogEventStartIndex").unwrap_or(lines.len());
    lines.iter().enumerate().filter(move |(at, _)| *at < taken_from || *at >= taken_to).map(|(_, line)| line)
}
