//! `StartLiveTail`: what is written from now on, as a stream of events.

use std::{sync::Arc, time::Duration};

use futures::stream;
use tidemill_api::EventStream;
use tidemill_log_filter::Filter;
use tidemill_platform::{Cx, Fault};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    Logs,
    api::{
        LiveTailSessionLogEvent, LiveTailSessionMetadata, LiveTailSessionStart, LiveTailSessionUpdate,
        StartLiveTailRequest, StartLiveTailResponse, StartLiveTailResponseStream,
    },
    events::group_of,
    filter,
    state::{Written, no_group},
};

/// AWS sends an update at least every second and no more than 500 events in one.
const UPDATE_EVERY: Duration = Duration::from_secs(1);
const MOST_EVENTS: usize = 500;

struct Session {
    lines: Receiver<Arc<Written>>,
    groups: Vec<String>,
    streams: Option<Vec<String>>,
    prefixes: Option<Vec<String>>,
    filter: Filter,
    /// The first event of the stream, until it is sent.
    start: Option<LiveTailSessionStart>,
}

pub async fn start_live_tail(
    logs: &Logs,
    cx: &Cx,
    input: StartLiveTailRequest,
) -> Result<StartLiveTailResponse, Fault> {
    let filter = filter::parse(input.log_event_filter_pattern.as_deref())?;
    let groups = input
        .log_group_identifiers
        .iter()
        .map(|id| group_of(cx, None, Some(id)))
        .collect::<Result<Vec<_>, _>>()?;
    if groups.iter().any(|arn| !logs.groups.lock().contains_key(arn)) {
        return Err(no_group());
    }
    let start = LiveTailSessionStart {
        request_id: Some(cx.request_id().to_string()),
        session_id: Some(cx.random().uuid()),
        log_group_identifiers: Some(input.log_group_identifiers),
        log_stream_names: input.log_stream_names.clone(),
        log_stream_name_prefixes: input.log_stream_name_prefixes.clone(),
        log_event_filter_pattern: input.log_event_filter_pattern,
    };
    let session = Session {
        lines: logs.written.subscribe(),
        groups,
        streams: input.log_stream_names,
        prefixes: input.log_stream_name_prefixes,
        filter,
        start: Some(start),
    };
    let events = stream::unfold(session, |mut session| async move {
        session.next().await.map(|event| (Ok(event), session))
    });
    Ok(StartLiveTailResponse { response_stream: EventStream::new(events) })
}

impl Session {
    async fn next(&mut self) -> Option<StartLiveTailResponseStream> {
        if let Some(start) = self.start.take() {
            return Some(StartLiveTailResponseStream::SessionStart(start));
        }
        let mut results = Vec::new();
        let mut sampled = false;
        let until = tokio::time::sleep(UPDATE_EVERY);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                written = self.lines.recv() => match written {
                    Ok(written) => self.take(&written, &mut results),
                    Err(RecvError::Lagged(_)) => sampled = true,
                    Err(RecvError::Closed) => return None,
                },
            }
            // What is there is shown at once; only silence is waited out.
            if self.lines.is_empty() && !results.is_empty() {
                break;
            }
        }
        if results.len() > MOST_EVENTS {
            (sampled, results) = (true, results.split_off(results.len() - MOST_EVENTS));
        }
        let session_metadata = Some(LiveTailSessionMetadata { sampled: Some(sampled) });
        let update = LiveTailSessionUpdate { session_metadata, session_results: Some(results) };
        Some(StartLiveTailResponseStream::SessionUpdate(update))
    }

    fn take(&self, written: &Written, results: &mut Vec<LiveTailSessionLogEvent>) {
        let named = self.streams.as_ref().is_none_or(|names| names.contains(&written.stream));
        let prefixed = self
            .prefixes
            .as_ref()
            .is_none_or(|list| list.iter().any(|prefix| written.stream.starts_with(prefix.as_str())));
        if !named || !prefixed || !self.groups.contains(&written.group_arn) {
            return;
        }
        for line in written.lines.iter().filter(|line| self.filter.matches(&line.message)) {
            results.push(LiveTailSessionLogEvent {
                log_stream_name: Some(written.stream.clone()),
                log_group_identifier: Some(written.group_name.clone()),
                message: Some(line.message.clone()),
                timestamp: Some(line.at),
                ingestion_time: Some(line.ingested_at),
            });
        }
    }
}
