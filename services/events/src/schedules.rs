//! Rules with a schedule: one timer a rule, set again when it fires. Runs missed while nobody ran are not made up for,
//! as on AWS.

use jiff::{Timestamp as Moment, tz::TimeZone};
use tidemill_platform::{Timestamp, Trace};
use tidemill_schedule::Schedule;
use tidemill_store::Partition;

use crate::{
    EventBridge,
    events::Outgoing,
    state::{Bus, RuleRow},
};

/// Runs further back than this are passed over.
const MOST_BEHIND_MS: i64 = 7 * 86_400_000;

impl EventBridge {
    /// Sets the timers of all scheduled rules and goes on with what an earlier run began.
    pub fn start(&self) {
        self.authorize_all();
        self.sweep_all();
        self.replay_all();
        for bus in self.all() {
            let rules: Vec<RuleRow> = bus.rules.read().values().map(|rule| rule.row.clone()).collect();
            rules.iter().for_each(|row| self.plan(&bus, row));
        }
    }

    /// Sets the timer of a rule's next run from now on, if it has one.
    pub fn plan(&self, bus: &Bus, row: &RuleRow) {
        self.plan_after(bus, row, self.platform.clock.now().millis());
    }

    fn plan_after(&self, bus: &Bus, row: &RuleRow, after: i64) {
        if let Some(at) = run_after(row, after) {
            self.timers.set(Timestamp::from_millis(at), (bus.arn.to_string(), row.name.clone(), at));
        }
    }

    /// A timer for the run at `at` fired. One that belongs to an earlier form of the rule, or to a run that was, does
    /// nothing. Where the clock was moved over several runs they follow one another.
    pub fn fire(&self, bus_arn: &str, name: &str, at: i64) {
        let Some(bus) = self.by_arn(bus_arn) else { return };
        let Ok(rule) = bus.rule(name) else { return };
        let is_new = self
            .fired
            .lock()
            .insert((bus_arn.to_string(), name.to_string()), at)
            .is_none_or(|last| last < at);
        if !is_new || run_after(&rule.row, at - 1) != Some(at) {
            return;
        }
        let now = self.platform.clock.now();
        let trace = Trace::begin(now, &self.platform.random);
        let cx = self.platform.cx(&bus.arn.account, &bus.arn.region, trace.clone());
        let mut outgoing = Outgoing::new(Partition::of(bus_arn));
        self.route_scheduled(&cx, &bus, &rule, Timestamp::from_millis(at), &trace, &mut outgoing);
        if let Err(fault) = self.send(&cx, outgoing).map(drop) {
            tracing::warn!(%fault, rule = name, "a scheduled rule's event was not kept");
        }
        let behind_ms = now.millis() - at;
        self.plan_after(&bus, &rule.row, if behind_ms > MOST_BEHIND_MS { now.millis() } else { at });
    }
}

/// The first run of an enabled scheduled rule after a moment, in milliseconds since 1970.
fn run_after(row: &RuleRow, after: i64) -> Option<i64> {
    let schedule = Schedule::parse_for_rule(row.schedule.as_deref().filter(|_| row.is_enabled())?).ok()?;
    let moment = |millis: i64| Moment::from_millisecond(millis).unwrap_or_default();
    let next = schedule.next_after(moment(after), moment(row.created_at), &TimeZone::UTC)?;
    Some(next.as_millisecond())
}
