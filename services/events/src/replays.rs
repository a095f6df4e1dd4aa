//! Replays: events of an archive on their bus once more. `replaying` does it.

use serde::{Deserialize, Serialize};
use tidemill_platform::{Arn, Cx, Fault, Timestamp, page::page};

use crate::{
    EventBridge, api,
    api::{
        CancelReplayRequest, CancelReplayResponse, DescribeReplayRequest, DescribeReplayResponse,
        IllegalStatusException, ListReplaysRequest, ListReplaysResponse, ResourceAlreadyExistsException,
        ResourceNotFoundException, StartReplayRequest, StartReplayResponse,
    },
    archives::ArchiveRow,
    buses::bad_token,
    vault::Place,
};

pub const STARTING: &str = "STARTING";
pub const RUNNING: &str = "RUNNING";
pub const COMPLETED: &str = "COMPLETED";
pub const CANCELLING: &str = "CANCELLING";
pub const CANCELLED: &str = "CANCELLED";
pub const FAILED: &str = "FAILED";

/// Replays that ended longer ago are forgotten, as on AWS.
const KEPT_MS: i64 = 90 * 86_400_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayRow {
    pub name: String,
    pub arn: String,
    pub description: Option<String>,
    pub archive_arn: String,
    /// The archive's own id: another one of its name has other events.
    pub archive_id: String,
    pub bus_arn: String,
    /// ARNs of the rules that get events; empty for all.
    pub rules: Vec<String>,
    /// Times of the first and last event, both included, in milliseconds since 1970.
    pub from: i64,
    pub to: i64,
    pub state: String,
    pub reason: Option<String>,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    /// The last event that was handed over.
    pub place: Option<Place>,
}

impl ReplayRow {
    pub fn is_over(&self) -> bool {
        matches!(&*self.state, COMPLETED | CANCELLED | FAILED)
    }

    fn last_replayed(&self) -> Option<Timestamp> {
        self.place.map(|(at, _)| Timestamp::from_millis(at.cast_signed()))
    }
}

pub async fn start_replay(
    bridge: &EventBridge,
    cx: &Cx,
    input: StartReplayRequest,
) -> Result<StartReplayResponse, Fault> {
    let (from, to) = (input.event_start_time.millis(), input.event_end_time.millis());
    if from >= to {
        return Err(Fault::validation(
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.",
        ));
    }
    let archive = source(bridge, &input.event_source_arn)?;
    check_destination(bridge, cx, &archive, &input.destination)?;
    let row = ReplayRow {
        arn: key(cx, &input.replay_name),
        name: input.replay_name,
        description: input.description,
        archive_arn: archive.arn,
        archive_id: archive.id,
        bus_arn: input.destination.arn,
        rules: input.destination.filter_arns.unwrap_or_default(),
        from,
        to,
        state: STARTING.into(),
        reason: None,
        started_at: cx.now().millis(),
        ended_at: None,
        place: None,
    };
    forget_old(bridge, cx).await?;
    let arn = row.arn.clone();
    let row = bridge
        .replays
        .change(&bridge.platform, &arn, |before| match before {
            Some(_) => {
                Err(ResourceAlreadyExistsException::new(format!("Replay {} already exists.", row.name))
                    .into())
            }
            None => Ok((Some(row.clone()), row)),
        })
        .await?;
    bridge.replay_later(&arn);
    Ok(StartReplayResponse {
        replay_arn: Some(row.arn),
        state: Some(STARTING.into()),
        state_reason: None,
        replay_start_time: Some(Timestamp::from_millis(row.started_at)),
    })
}

fn source(bridge: &EventBridge, arn: &str) -> Result<ArchiveRow, Fault> {
    let short = arn.rsplit('/').next().unwrap_or(arn);
    bridge.archives.get(arn).ok_or_else(|| {
        Fault::validation(format!(
            "Parameter EventSourceArn is not valid. Reason: Archive {short} does not exist."
        ))
    })
}

/// Events go back to where they came from only.
fn check_destination(
    bridge: &EventBridge,
    cx: &Cx,
    archive: &ArchiveRow,
    destination: &api::ReplayDestination,
) -> Result<(), Fault> {
    let is_bus = destination
        .arn
        .parse::<Arn>()
        .is_ok_and(|arn| arn.service == "events" && arn.resource.starts_with("event-bus/"));
    if !is_bus {
        return Err(Fault::validation(
            "Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.",
        ));
    }
    bridge.bus(cx, Some(&destination.arn))?;
    if destination.arn != archive.source_arn {
        return Err(Fault::validation(
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.",
        ));
    }
    Ok(())
}

async fn forget_old(bridge: &EventBridge, cx: &Cx) -> Result<(), Fault> {
    let before = cx.now().millis() - KEPT_MS;
    for row in bridge.replays.under(&key(cx, "")) {
        if row.ended_at.is_some_and(|ended_at| ended_at < before) {
            bridge.replays.change(&bridge.platform, &row.arn, |_| Ok((None, ()))).await?;
        }
    }
    Ok(())
}

/// A replay's ARN, under which it is kept.
fn key(cx: &Cx, name: &str) -> String {
    cx.arn("events", format!("replay/{name}")).to_string()
}

fn not_found(name: &str) -> Fault {
    ResourceNotFoundException::new(format!("Replay {name} does not exist.")).into()
}

pub async fn describe_replay(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeReplayRequest,
) -> Result<DescribeReplayResponse, Fault> {
    let row =
        bridge.replays.get(&key(cx, &input.replay_name)).ok_or_else(|| not_found(&input.replay_name))?;
    Ok(DescribeReplayResponse {
        event_last_replayed_time: row.last_replayed(),
        replay_name: Some(row.name),
        replay_arn: Some(row.arn),
        description: row.description,
        state: Some(row.state.as_str().into()),
        state_reason: row.reason,
        event_source_arn: Some(row.archive_arn),
        destination: Some(api::ReplayDestination {
            arn: row.bus_arn,
            filter_arns: (!row.rules.is_empty()).then_some(row.rules),
        }),
        event_start_time: Some(Timestamp::from_millis(row.from)),
        event_end_time: Some(Timestamp::from_millis(row.to)),
        replay_start_time: Some(Timestamp::from_millis(row.started_at)),
        replay_end_time: row.ended_at.map(Timestamp::from_millis),
    })
}

pub async fn cancel_replay(
    bridge: &EventBridge,
    cx: &Cx,
    input: CancelReplayRequest,
) -> Result<CancelReplayResponse, Fault> {
    let arn = key(cx, &input.replay_name);
    bridge
        .replays
        .change(&bridge.platform, &arn, |before| {
            let mut row = before.cloned().ok_or_else(|| not_found(&input.replay_name))?;
            if !matches!(&*row.state, STARTING | RUNNING) {
                return Err(IllegalStatusException::new(format!(
                    "Replay {} is not in a valid state for this operation.",
                    row.name
                ))
                .into());
            }
            row.state = CANCELLING.into();
            Ok((Some(row), ()))
        })
        .await?;
    Ok(CancelReplayResponse {
        replay_arn: Some(arn),
        state: Some(CANCELLING.into()),
        ..CancelReplayResponse::default()
    })
}

pub async fn list_replays(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListReplaysRequest,
) -> Result<ListReplaysResponse, Fault> {
    let filters = [input.name_prefix.is_some(), input.event_source_arn.is_some(), input.state.is_some()];
    if filters.iter().filter(|given| **given).count() > 1 {
        return Err(Fault::validation(
            "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix.",
        ));
    }
    let mut rows = bridge.replays.under(&key(cx, &input.name_prefix.unwrap_or_default()));
    rows.retain(|row| {
        input.event_source_arn.as_ref().is_none_or(|arn| *arn == row.archive_arn)
            && input.state.as_ref().is_none_or(|state| state.as_str() == row.state)
    });
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page =
        page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::Replay {
        event_last_replayed_time: row.last_replayed(),
        replay_name: Some(row.name),
        event_source_arn: Some(row.archive_arn),
        state: Some(row.state.as_str().into()),
        state_reason: row.reason,
        event_start_time: Some(Timestamp::from_millis(row.from)),
        event_end_time: Some(Timestamp::from_millis(row.to)),
        replay_start_time: Some(Timestamp::from_millis(row.started_at)),
        replay_end_time: row.ended_at.map(Timestamp::from_millis),
    });
    Ok(ListReplaysResponse { replays: Some(shown.collect()), next_token: page.next_token })
}
