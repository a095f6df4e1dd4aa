//! Schedule expressions of EventBridge rules and EventBridge Scheduler: `rate(5 minutes)`, `cron(0 12 ? * MON-FRI *)`,
//! `at(2026-11-22T18:43:48)`. Pure: the time is an argument, the time zone database is in the binary.
//! Source: the Scheduler user guide, "Schedule types", and the EventBridge user guide, "Setting a schedule pattern".
//! Whether an expression suits the service that got it is decided here; start and end dates are the caller's.

mod cron;
mod field;
mod window;

pub use window::FlexibleWindow;

use cron::Cron;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use std::fmt;

/// The longest expression, in bytes.
const LONGEST: usize = 256;

/// The largest period: ten thousand years, so that arithmetic stays far from its limits.
const LONGEST_PERIOD_S: i64 = 10_000 * 366 * 86_400;

/// A parsed schedule expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Rate { period: SignedDuration },
    Cron(Box<Cron>),
    At(DateTime),
}

/// An expression that AWS refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    expression: String,
}

impl ScheduleError {
    /// EventBridge Scheduler's sentence; `Display` gives that of EventBridge's rules.
    pub fn in_scheduler(&self) -> String {
        format!("Invalid Schedule Expression {}.", self.expression)
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameter ScheduleExpression is not valid.")
    }
}

impl std::error::Error for ScheduleError {}

impl Schedule {
    /// Parses an expression of EventBridge Scheduler: `rate`, `cron` or `at`.
    ///
    /// # Errors
    /// When the expression is none.
    pub fn parse(expression: &str) -> Result<Self, ScheduleError> {
        read(expression).ok_or_else(|| error(expression))
    }

    /// Parses the expression of a scheduled rule: `rate` or `cron`. Here one minute is `minute` and two are `minutes`.
    ///
    /// # Errors
    /// When the expression is none.
    pub fn parse_for_rule(expression: &str) -> Result<Self, ScheduleError> {
        let schedule = Self::parse(expression)?;
        let suits = match schedule.kind {
            Kind::At(_) => false,
            Kind::Cron(_) => true,
            Kind::Rate { .. } => number_agrees_with_unit(expression),
        };
        if suits { Ok(schedule) } else { Err(error(expression)) }
    }

    /// Whether the schedule comes due once only.
    pub fn is_one_time(&self) -> bool {
        matches!(self.kind, Kind::At(_))
    }

    /// The first time after `after` at which the schedule is due; `None` when it never is again.
    ///
    /// A rate is due at `start` and every period after it. A cron expression's times are those of the zone's clocks: a
    /// time that clocks skip in spring is left out, one that they show twice in autumn is due the first time only. `at`
    /// is the zone's time too.
    pub fn next_after(&self, after: Timestamp, start: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.kind {
            Kind::Rate { period } => next_of_rate(*period, after, start),
            Kind::Cron(cron) => cron.next_after(after, zone),
            Kind::At(time) => {
                let due = zone.to_ambiguous_timestamp(*time).compatible().ok()?;
                (due > after).then_some(due)
            }
        }
    }
}

/// The IANA time zone of this name, such as `Europe/Berlin` or `UTC`.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

fn error(expression: &str) -> ScheduleError {
    ScheduleError { expression: expression.chars().take(LONGEST).collect() }
}

fn read(expression: &str) -> Option<Schedule> {
    if expression.len() > LONGEST {
        return None;
    }
    let (name, inside) = expression.strip_suffix(')')?.split_once('(')?;
    let kind = match name {
        "rate" => Kind::Rate { period: read_rate(inside)? },
        "cron" => Kind::Cron(Box::new(Cron::parse(inside)?)),
        "at" => Kind::At(read_at(inside)?),
        _ => return None,
    };
    Some(Schedule { kind })
}

fn read_rate(inside: &str) -> Option<SignedDuration> {
    let (value, unit) = rate_parts(inside)?;
    let unit_s = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        // A day is 24 hours, also where clocks change.
        "day" | "days" => 86_400,
        _ => return None,
    };
    let period_s = value.checked_mul(unit_s).filter(|period| (1..=LONGEST_PERIOD_S).contains(period))?;
    Some(SignedDuration::from_secs(period_s))
}

fn rate_parts(inside: &str) -> Option<(i64, &str)> {
    let mut parts = inside.split_ascii_whitespace();
    let (value, unit) = (parts.next()?, parts.next()?);
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    (digits && parts.next().is_none()).then(|| value.parse().ok()).flatten().map(|value| (value, unit))
}

fn number_agrees_with_unit(expression: &str) -> bool {
    let inside = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    inside.and_then(rate_parts).is_some_and(|(value, unit)| (value == 1) != unit.ends_with('s'))
}

/// `yyyy-mm-ddThh:mm:ss`, nothing else.
fn read_at(inside: &str) -> Option<DateTime> {
    let shape = inside.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if inside.len() == 19 && shape { inside.parse().ok() } else { None }
}

fn next_of_rate(period: SignedDuration, after: Timestamp, start: Timestamp) -> Option<Timestamp> {
    if after < start {
        return Some(start);
    }
    let passed = after.duration_since(start).as_nanos() / period.as_nanos();
    let elapsed = period.as_nanos().checked_mul(passed + 1)?;
    let (seconds, nanos) = (elapsed / 1_000_000_000, elapsed % 1_000_000_000);
    let elapsed = SignedDuration::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?);
    start.checked_add(elapsed).ok()
}

#[cfg(test)]
mod tests;
