//! When a schedule is due. Source: "Schedule types" and "Flexible time windows" in the EventBridge Scheduler user guide.

use jiff::Timestamp as Moment;
use tidemill_platform::Random;
use tidemill_schedule::{FlexibleWindow, Schedule, time_zone};

use crate::rows::{Run, ScheduleRow};

/// Runs further back than this are passed over where the clock was moved.
const MOST_BEHIND_MS: i64 = 7 * 86_400_000;

/// The first run of a schedule from `now` on; one that is just due counts.
pub fn from(row: &ScheduleRow, now: i64, random: &Random) -> Option<Run> {
    after(row, now - 1, random)
}

/// The run that follows another one which is being made at `now`.
pub fn following(row: &ScheduleRow, run: Run, now: i64, random: &Random) -> Option<Run> {
    let behind_ms = now - run.due_at;
    after(row, if behind_ms > MOST_BEHIND_MS { now } else { run.scheduled_at }, random)
}

/// Whether the schedule has one run only.
pub fn is_one_time(row: &ScheduleRow) -> bool {
    Schedule::parse(&row.settings.expression).is_ok_and(|schedule| schedule.is_one_time())
}

fn after(row: &ScheduleRow, after: i64, random: &Random) -> Option<Run> {
    if !row.settings.enabled {
        return None;
    }
    let scheduled_at = scheduled_after(row, after)?;
    let due_at = match row.settings.window_minutes.and_then(FlexibleWindow::new) {
        Some(window) => window.pick(moment(scheduled_at), random.u64()).as_millisecond(),
        None => scheduled_at,
    };
    Some(Run { scheduled_at, due_at })
}

fn scheduled_after(row: &ScheduleRow, after: i64) -> Option<i64> {
    let settings = &row.settings;
    let schedule = Schedule::parse(&settings.expression).ok()?;
    let zone = time_zone(&settings.timezone)?;
    // Start and end are ignored for one-time schedules.
    if schedule.is_one_time() {
        return Some(schedule.next_after(moment(after), moment(after), &zone)?.as_millisecond());
    }
    let after = settings.start_at.map_or(after, |start| after.max(start - 1));
    let anchor = settings.start_at.unwrap_or(row.anchor_at);
    let next = schedule.next_after(moment(after), moment(anchor), &zone)?.as_millisecond();
    settings.end_at.is_none_or(|end| next <= end).then_some(next)
}

fn moment(millis: i64) -> Moment {
    Moment::from_millisecond(millis).unwrap_or_default()
}

/// A moment as AWS prints it, such as `2022-03-22T18:59:43Z`.
pub fn printed(millis: i64) -> String {
    moment(millis).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Settings;

    fn row(expression: &str) -> ScheduleRow {
        let settings = Settings {
            expression: expression.into(),
            timezone: "UTC".into(),
            enabled: true,
            ..Settings::default()
        };
        ScheduleRow { settings, anchor_at: at("2026-01-01T00:00:30Z"), ..ScheduleRow::default() }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Moment>().expect("a time").as_millisecond()
    }

    fn next(row: &ScheduleRow, now: &str) -> Option<String> {
        from(row, at(now), &Random::seeded(1)).map(|run| printed(run.scheduled_at))
    }

    #[test]
    fn a_rate_begins_at_once_or_at_its_start_date() {
        let mut rate = row("rate(5 minutes)");
        assert_eq!(next(&rate, "2026-01-01T00:00:30Z").as_deref(), Some("2026-01-01T00:00:30Z"));
        assert_eq!(next(&rate, "2026-01-01T00:00:31Z").as_deref(), Some("2026-01-01T00:05:30Z"));
        rate.settings.start_at = Some(at("2026-02-01T12:00:00Z"));
        assert_eq!(next(&rate, "2026-01-01T00:00:30Z").as_deref(), Some("2026-02-01T12:00:00Z"));
    }

    #[test]
    fn nothing_is_due_after_the_end_or_while_disabled() {
        let mut cron = row("cron(0 12 * * ? *)");
        cron.settings.end_at = Some(at("2026-03-01T12:00:00Z"));
        assert_eq!(next(&cron, "2026-03-01T00:00:00Z").as_deref(), Some("2026-03-01T12:00:00Z"));
        assert_eq!(next(&cron, "2026-03-01T12:00:01Z"), None);
        cron.settings.enabled = false;
        assert_eq!(next(&cron, "2026-03-01T00:00:00Z"), None);
    }

    #[test]
    fn clocks_are_those_of_the_zone() {
        let mut cron = row("cron(30 9 * * ? *)");
        cron.settings.timezone = "Europe/Berlin".into();
        assert_eq!(next(&cron, "2026-03-28T12:00:00Z").as_deref(), Some("2026-03-29T07:30:00Z"));
        assert_eq!(next(&cron, "2026-03-28T00:00:00Z").as_deref(), Some("2026-03-28T08:30:00Z"));
    }

    #[test]
    fn a_moment_that_is_past_never_comes() {
        let once = row("at(2026-01-02T00:00:00)");
        assert_eq!(next(&once, "2026-01-01T00:00:00Z").as_deref(), Some("2026-01-02T00:00:00Z"));
        assert_eq!(next(&once, "2026-01-02T00:00:01Z"), None);
    }

    #[test]
    fn runs_far_behind_are_passed_over() {
        let (rate, random) = (row("rate(1 minute)"), Random::seeded(1));
        let run = Run { scheduled_at: at("2026-01-01T00:00:30Z"), due_at: at("2026-01-01T00:00:30Z") };
        let follows = |now| following(&rate, run, at(now), &random).map(|run| printed(run.scheduled_at));
        assert_eq!(follows("2026-01-03T00:00:00Z").as_deref(), Some("2026-01-01T00:01:30Z"));
        assert_eq!(follows("2026-02-01T00:00:00Z").as_deref(), Some("2026-02-01T00:00:30Z"));
    }
}
