//! The work of a replay: piece by piece, the events of a piece and the replay's new place in one batch. So a crash
//! neither repeats nor loses an event, and a restart goes on where the replay was.

use tidemill_platform::{Fault, Trace};
use tidemill_store::{Partition, Ticket};

use crate::{
    EventBridge,
    api::IllegalStatusException,
    envelope::Envelope,
    events::{Outgoing, Way},
    replays::{CANCELLED, CANCELLING, COMPLETED, FAILED, RUNNING, ReplayRow, STARTING},
    vault::{self, Archived, Place},
};

/// Events of one batch, and their bytes.
const PIECE: usize = 100;
const PIECE_BYTES: usize = 1 << 20;
/// Milliseconds after which a refused batch (no space) is tried again.
const AGAIN_MS: i64 = 1000;

impl EventBridge {
    /// Works on a replay in the background until it is over.
    pub fn replay_later(&self, arn: &str) {
        let Some(bridge) = self.me.upgrade() else { return };
        let arn = arn.to_string();
        tokio::spawn(async move {
            while let Some(row) = bridge.replays.get(&arn).filter(|row| !row.is_over()) {
                match bridge.replay_piece(row) {
                    Ok(Some(ticket)) => drop(ticket.await),
                    Ok(None) => {}
                    Err(fault) => {
                        tracing::warn!(%fault, replay = arn, "a piece of a replay was not kept yet");
                        bridge.platform.clock.sleep(AGAIN_MS).await;
                    }
                }
            }
        });
    }

    /// Goes on with replays that an earlier run began.
    pub fn replay_all(&self) {
        let rows = self.replays.all();
        rows.iter().filter(|row| !row.is_over()).for_each(|row| self.replay_later(&row.arn));
    }

    /// The next step of a replay that is not over; `None` when the replay was changed meanwhile.
    fn replay_piece(&self, row: ReplayRow) -> Result<Option<Ticket>, Fault> {
        let now = self.platform.clock.now().millis();
        let end = |state: &str, reason: Option<String>| ReplayRow {
            state: state.into(),
            reason,
            ended_at: Some(now),
            ..row.clone()
        };
        if row.state == CANCELLING {
            return self.step(&row, end(CANCELLED, None), Vec::new());
        }
        let archive = self.archives.get(&row.archive_arn).filter(|archive| archive.id == row.archive_id);
        if archive.is_none() || self.by_arn(&row.bus_arn).is_none() {
            let reason = "The archive or its event bus was deleted.".to_string();
            return self.step(&row, end(FAILED, Some(reason)), Vec::new());
        }
        if row.state == STARTING {
            return self.step(&row, ReplayRow { state: RUNNING.into(), ..row.clone() }, Vec::new());
        }
        let read = vault::read(&self.platform.store, &row.archive_id, (row.from, row.to), row.place, PIECE);
        let mut events = read.map_err(Fault::internal)?;
        let mut bytes = 0;
        let fitting = events.iter().take_while(|(_, event)| {
            bytes += event.text.len();
            bytes <= PIECE_BYTES
        });
        let fitting = fitting.count().max(1);
        events.truncate(fitting);
        match events.last() {
            None => self.step(&row, end(COMPLETED, None), Vec::new()),
            Some((place, _)) => {
                let next = ReplayRow { place: Some(*place), ..row.clone() };
                self.step(&row, next, events)
            }
        }
    }

    /// Hands events over and moves the replay from one row to the next, unless it was changed meanwhile: then nothing
    /// happens, and the next step sees the change.
    fn step(
        &self,
        from: &ReplayRow,
        to: ReplayRow,
        events: Vec<(Place, Archived)>,
    ) -> Result<Option<Ticket>, Fault> {
        let mut outgoing = Outgoing::new(Partition::of(&to.bus_arn));
        let bus = self.by_arn(&to.bus_arn);
        let mut cx = None;
        for (place, event) in events {
            let Some(bus) = &bus else { break };
            let trace = Trace::begin(self.platform.clock.now(), &self.platform.random);
            let way = Way { trace: &trace, hops: 0, only: &to.rules };
            let cx = cx.insert(self.platform.cx(&bus.arn.account, &bus.arn.region, trace.clone()));
            self.route(cx, bus, &replayed(&to.name, place, event), &way, &mut outgoing);
        }
        let (account, region) =
            bus.map_or_else(Default::default, |bus| (bus.arn.account.clone(), bus.arn.region.clone()));
        let cx = self.platform.cx(&account, &region, Trace::default());
        let submitted = self.replays.submit(
            &from.arn,
            |before| match before {
                Some(now) if now == from => Ok((Some(to.clone()), ())),
                _ => Err(IllegalStatusException::new("The replay was changed.").into()),
            },
            |write| {
                write(&mut outgoing.batch);
                self.send(&cx, outgoing)
            },
        );
        match submitted {
            Ok((ticket, ())) => Ok(Some(ticket)),
            Err(fault) if fault.code() == "IllegalStatusException" => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// An archived event as rules and targets see it again: the same one, with the replay's name.
fn replayed(name: &str, (at, _): Place, event: Archived) -> Envelope {
    Envelope {
        text: with_replay(&event.text, name),
        id: event.id,
        at: at.cast_signed(),
        told: format!("{} (replay {name})", event.told),
    }
}

/// Adds `replay-name` to an event's envelope.
pub fn with_replay(text: &str, name: &str) -> String {
    let name = serde_json::Value::from(name).to_string();
    format!(r#"{{"replay-name":{name},{}"#, text.strip_prefix('{').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use tidemill_platform::{Cx, Timestamp};

    use super::*;
    use crate::{api, archives, replays, testing};

    async fn start(bridge: &EventBridge, cx: &Cx, name: &str, archive: &str) {
        let input = api::StartReplayRequest {
            replay_name: name.into(),
            event_source_arn: archive.into(),
            event_start_time: Timestamp::from_millis(0),
            event_end_time: cx.now(),
            destination: api::ReplayDestination {
                arn: testing::bus(bridge, cx),
                ..api::ReplayDestination::default()
            },
            ..api::StartReplayRequest::default()
        };
        replays::start_replay(bridge, cx, input).await.unwrap();
    }

    /// Lets the replay work until it is over.
    async fn ended(bridge: &EventBridge, cx: &Cx, name: &str) -> ReplayRow {
        let key = cx.arn("events", format!("replay/{name}")).to_string();
        loop {
            let row = bridge.replays.get(&key).unwrap();
            if row.is_over() {
                return row;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn replays_come_to_an_end_that_says_how() {
        let (bridge, cx) = testing::bridge();
        let archive = testing::archive(&bridge, &cx).await;
        testing::put(&bridge, &cx, "{}").await;
        start(&bridge, &cx, "whole", &archive).await;
        let whole = ended(&bridge, &cx, "whole").await;
        assert_eq!((&*whole.state, whole.place.is_some()), (COMPLETED, true));

        start(&bridge, &cx, "cancelled", &archive).await;
        let input = api::CancelReplayRequest { replay_name: "cancelled".into() };
        let answer = replays::cancel_replay(&bridge, &cx, input).await.unwrap();
        assert_eq!(answer.state.unwrap().as_str(), CANCELLING);
        let cancelled = ended(&bridge, &cx, "cancelled").await;
        assert_eq!((&*cancelled.state, cancelled.place), (CANCELLED, None));

        start(&bridge, &cx, "bereft", &archive).await;
        let input = api::DeleteArchiveRequest { archive_name: "all".into() };
        archives::delete_archive(&bridge, &cx, input).await.unwrap();
        assert_eq!(ended(&bridge, &cx, "bereft").await.state, FAILED);
    }
}
