//! Cron expressions in AWS's dialect: minutes, hours, day of month, month, day of week, year; one of the two days is `?`.
//! `L`, `W` and `#` stand alone in their field. A `W` day that a month lacks is left out.

use crate::field::{DAYS_OF_MONTH, DAYS_OF_WEEK, Field, HOURS, MINUTES, MONTHS, YEARS};
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// How many times of the clock are looked at for one answer. Only times that clocks skip or repeat cost more than one,
/// and no zone ever changed its clocks by more than a day.
const MOST_CANDIDATES: usize = 3000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cron {
    minutes: Field,
    hours: Field,
    days: Days,
    months: Field,
    years: Field,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Days {
    OfMonth(Field),
    LastOfMonth,
    LastWeekdayOfMonth,
    /// The weekday nearest to this day, in the same month.
    NearestWeekday(i8),
    OfWeek(Field),
    /// The last such day of the week in the month; Sunday is 1.
    LastOfWeek(u16),
    /// The second such day of the week in the month, and so on.
    NthOfWeek(u16, i8),
}

impl Cron {
    /// Parses the six fields.
    pub(crate) fn parse(fields: &str) -> Option<Self> {
        let mut fields = fields.split_ascii_whitespace();
        let mut next = || fields.next();
        let (minutes, hours, day, month, week, year) = (next()?, next()?, next()?, next()?, next()?, next()?);
        if fields.next().is_some() {
            return None;
        }
        let days = match (day, week) {
            ("?", "?") => return None,
            (day, "?") => days_of_month(day)?,
            ("?", week) => days_of_week(week)?,
            _ => return None,
        };
        Some(Self {
            minutes: MINUTES.parse(minutes)?,
            hours: HOURS.parse(hours)?,
            days,
            months: MONTHS.parse(month)?,
            years: YEARS.parse(year)?,
        })
    }

    pub(crate) fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut time = zone.to_datetime(after);
        for _ in 0..MOST_CANDIDATES {
            time = self.next_on_clock(time)?;
            let ambiguous = zone.to_ambiguous_timestamp(time);
            let due = match ambiguous.offset() {
                AmbiguousOffset::Gap { .. } => continue,
                AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                    ambiguous.earlier().ok()?
                }
            };
            if due > after {
                return Some(due);
            }
        }
        None
    }

    /// The first minute after `time` that the fields allow. At most 230 years of 12 months are looked at.
    fn next_on_clock(&self, time: DateTime) -> Option<DateTime> {
        let minute = time.checked_add(1.minute()).ok()?.with().second(0).subsec_nanosecond(0).build().ok()?;
        if let Some(time) = self.time_on(minute.date(), minute.hour(), minute.minute()) {
            return Some(time);
        }
        let date = self.next_date(minute.date())?;
        self.time_on(date, 0, 0)
    }

    /// The first allowed time of the day at or after the given one, if the day is allowed.
    fn time_on(&self, date: Date, hour: i8, minute: i8) -> Option<DateTime> {
        let allowed = self.years.contains(u16::try_from(date.year()).ok()?)
            && self.months.contains(date.month() as u16)
            && self.days.contains(date);
        if !allowed {
            return None;
        }
        if self.hours.contains(hour as u16)
            && let Some(minute) = self.minutes.first(minute as u16, 59)
        {
            return at(date, hour as u16, minute);
        }
        let hour = self.hours.first(hour as u16 + 1, 23)?;
        at(date, hour, self.minutes.first(0, 59)?)
    }

    /// The first allowed date after `date`.
    fn next_date(&self, date: Date) -> Option<Date> {
        let mut year = u16::try_from(date.year()).ok()?;
        loop {
            year = self.years.first(year, YEARS.high)?;
            let first = Date::new(year as i16, 1, 1).ok()?;
            if let Some(found) = self.date_in_year(first, date) {
                return Some(found);
            }
            year += 1;
        }
    }

    fn date_in_year(&self, first: Date, after: Date) -> Option<Date> {
        let months = (1..=12).filter(|month| self.months.contains(*month));
        let mut firsts = months.filter_map(|month| Date::new(first.year(), month as i8, 1).ok());
        firsts.find_map(|first| {
            if first.last_of_month() <= after {
                return None;
            }
            let mut days = (1..=first.days_in_month()).filter_map(|day| first.with().day(day).build().ok());
            days.find(|day| *day > after && self.days.contains(*day))
        })
    }
}

fn at(date: Date, hour: u16, minute: u16) -> Option<DateTime> {
    Some(date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0))
}

fn days_of_month(text: &str) -> Option<Days> {
    match text {
        "L" => return Some(Days::LastOfMonth),
        "LW" => return Some(Days::LastWeekdayOfMonth),
        _ => {}
    }
    if let Some(day) = text.strip_suffix('W') {
        return DAYS_OF_MONTH.value(day).map(|day| Days::NearestWeekday(day as i8));
    }
    DAYS_OF_MONTH.parse(text).map(Days::OfMonth)
}

fn days_of_week(text: &str) -> Option<Days> {
    if text == "L" {
        return DAYS_OF_WEEK.parse("7").map(Days::OfWeek);
    }
    if let Some(day) = text.strip_suffix('L') {
        return DAYS_OF_WEEK.value(day).map(Days::LastOfWeek);
    }
    if let Some((day, nth)) = text.split_once('#') {
        let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth))?;
        return DAYS_OF_WEEK.value(day).map(|day| Days::NthOfWeek(day, nth));
    }
    DAYS_OF_WEEK.parse(text).map(Days::OfWeek)
}

impl Days {
    fn contains(&self, date: Date) -> bool {
        match self {
            Self::OfMonth(days) => days.contains(date.day() as u16),
            Self::LastOfMonth => date.day() == date.days_in_month(),
            Self::LastWeekdayOfMonth => date.day() == last_weekday(date),
            Self::NearestWeekday(day) => nearest_weekday(date, *day) == Some(date.day()),
            Self::OfWeek(days) => days.contains(day_of_week(date)),
            Self::LastOfWeek(day) => day_of_week(date) == *day && date.day() + 7 > date.days_in_month(),
            Self::NthOfWeek(day, nth) => day_of_week(date) == *day && (date.day() - 1) / 7 + 1 == *nth,
        }
    }
}

/// Sunday is 1.
fn day_of_week(date: Date) -> u16 {
    date.weekday().to_sunday_one_offset() as u16
}

fn last_weekday(date: Date) -> i8 {
    let last = date.last_of_month();
    match last.weekday() {
        Weekday::Saturday => last.day() - 1,
        Weekday::Sunday => last.day() - 2,
        _ => last.day(),
    }
}

fn nearest_weekday(date: Date, day: i8) -> Option<i8> {
    let wanted = date.with().day(day).build().ok()?;
    Some(match wanted.weekday() {
        Weekday::Saturday if day == 1 => 3,
        Weekday::Saturday => day - 1,
        Weekday::Sunday if day == date.days_in_month() => day - 2,
        Weekday::Sunday => day + 1,
        _ => day,
    })
}
