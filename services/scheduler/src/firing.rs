//! Runs being made. The hand-over to the target and the time of the next run are one batch, so that a run is made exactly
//! once whatever happens in between.

use tidemill_delivery::{Event, Fate, Handover, Policy};
use tidemill_platform::{Arn, Timestamp, Trace};

use crate::{
    Scheduler, payload,
    rows::{Run, ScheduleRow},
    runs,
    state::Effects,
};

/// Milliseconds before a run is tried again that the store did not take.
const REFUSED_WAIT_MS: i64 = 1000;

/// How late a run may be at a start without being missed: AWS makes runs within the minute, too.
const PRECISION_MS: i64 = 60_000;

/// A timer's message: the run of this schedule at this moment.
#[derive(Debug, Clone)]
pub struct Due {
    pub arn: String,
    pub at: i64,
    /// It was due while the platform was not running.
    pub late: bool,
}

impl Scheduler {
    /// Sets the timers of all schedules. Recurring runs missed by more than a minute are left out, one-time runs are made
    /// late.
    pub fn start(&self) {
        let now = self.platform.clock.now().millis();
        let (mut waiting, mut missed) = (Vec::new(), Vec::new());
        self.read(|kept| {
            for (arn, entry) in &kept.schedules {
                let Some(run) = entry.row.next else { continue };
                let late = run.due_at <= now;
                let is_missed = run.due_at < now - PRECISION_MS;
                if is_missed && !runs::is_one_time(&entry.row) {
                    missed.push(entry.row.clone());
                } else {
                    waiting.push(Due { arn: arn.clone(), at: run.due_at, late });
                }
            }
        });
        waiting.into_iter().for_each(|due| self.wait_until(due.at, due));
        self.pass_over(missed, now);
    }

    fn pass_over(&self, missed: Vec<ScheduleRow>, now: i64) {
        let passed = self.decide_now(|_, effects| {
            for mut row in missed {
                row.next = runs::from(&row, now, &self.platform.random);
                effects.schedules.push((row.arn.clone(), left(row)));
            }
            Ok(())
        });
        if let Err(fault) = passed {
            tracing::error!(%fault, "schedules that missed runs cannot go on before the next start");
        }
    }

    /// A timer fired. One that belongs to an earlier form of its schedule does nothing.
    pub fn fire(&self, due: &Due) {
        let now = self.platform.clock.now().millis();
        let made = self.decide_now(|kept, effects| {
            let Some(entry) = kept.schedules.get_mut(&due.arn) else { return Ok(()) };
            let Some(run) = entry.row.next.filter(|run| run.due_at == due.at) else { return Ok(()) };
            entry.fired();
            let mut row = entry.row.clone();
            self.make(&row, run, if due.late { due.at } else { now }, effects);
            row.next = if runs::is_one_time(&row) {
                None
            } else {
                runs::following(&row, run, now, &self.platform.random)
            };
            effects.schedules.push((row.arn.clone(), left(row)));
            Ok(())
        });
        if let Err(fault) = made {
            tracing::warn!(%fault, schedule = due.arn, "a run cannot be made yet");
            self.wait_until(now + REFUSED_WAIT_MS, due.clone());
        }
    }

    /// Puts a run's hand-over into the effects; its age is counted from `accepted_at`.
    fn make(&self, row: &ScheduleRow, run: Run, accepted_at: i64, effects: &mut Effects) {
        let (now, random) = (self.platform.clock.now(), &self.platform.random);
        let (trace, execution) = (Trace::begin(now, random), random.hex::<8>());
        let at = runs::printed(run.scheduled_at);
        effects.fates.push(Fate::happened(now, &trace, &execution, &row.arn, format!("scheduled for {at}")));
        let target = &row.settings.target;
        let default = || {
            let arn: Option<Arn> = row.arn.parse().ok();
            arn.map(|arn| payload::notification(&arn, &random.uuid(), &at)).unwrap_or_default()
        };
        let event = Event {
            id: execution.clone(),
            source: row.arn.clone(),
            via: row.arn.clone(),
            payload: target.input.clone().unwrap_or_else(default).into(),
            attributes: payload::attributes(target, &execution, &at),
            trace,
        };
        let policy = Policy {
            max_attempts: target.retry_attempts.unwrap_or(185) + 1,
            max_age_s: target.max_age_s.unwrap_or(86_400),
            ..Policy::event_bridge()
        };
        let accepted_at = Timestamp::from_millis(accepted_at);
        let handover = Handover::new(crate::route::ROUTE, target.arn.as_str(), event, policy, accepted_at);
        effects.handovers.push(handover);
    }
}

/// What is left of a schedule after a run: nothing when that was the last one and it deletes itself.
fn left(row: ScheduleRow) -> Option<ScheduleRow> {
    (row.next.is_some() || !row.settings.deletes_itself).then_some(row)
}
