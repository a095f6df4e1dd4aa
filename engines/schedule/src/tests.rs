//! The guides' examples, clock changes, and a minute-by-minute scan as the definition.

use crate::{Schedule, time_zone};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::select;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The next three times after 2026-11-22T12:00:00Z (a Sunday), in UTC.
fn next_three(expression: &str) -> Vec<String> {
    let schedule = Schedule::parse(expression).expect(expression);
    let mut at = time("2026-11-22T12:00:00Z");
    let mut found = Vec::new();
    while let (Some(next), true) = (schedule.next_after(at, at, &TimeZone::UTC), found.len() < 3) {
        found.push(next.to_string());
        at = next;
    }
    found
}

#[test]
fn cron_expressions_come_due() {
    let cases = [
        ("cron(0 10 * * ? *)", ["2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", "2026-11-25T10:00:00Z"]),
        ("cron(15 12 * * ? *)", ["2026-11-22T12:15:00Z", "2026-11-23T12:15:00Z", "2026-11-24T12:15:00Z"]),
        (
            "cron(0 18 ? * MON-FRI *)",
            ["2026-11-23T18:00:00Z", "2026-11-24T18:00:00Z", "2026-11-25T18:00:00Z"],
        ),
        ("cron(0 8 1 * ? *)", ["2026-12-01T08:00:00Z", "2027-01-01T08:00:00Z", "2027-02-01T08:00:00Z"]),
        ("cron(0/15 * * * ? *)", ["2026-11-22T12:15:00Z", "2026-11-22T12:30:00Z", "2026-11-22T12:45:00Z"]),
        (
            "cron(0/10 * ? * MON-FRI *)",
            ["2026-11-23T00:00:00Z", "2026-11-23T00:10:00Z", "2026-11-23T00:20:00Z"],
        ),
        (
            "cron(0/5 8-17 ? * MON-FRI *)",
            ["2026-11-23T08:00:00Z", "2026-11-23T08:05:00Z", "2026-11-23T08:10:00Z"],
        ),
        (
            "cron(0/30 20-2 ? * MON-FRI *)",
            ["2026-11-23T00:00:00Z", "2026-11-23T00:30:00Z", "2026-11-23T01:00:00Z"],
        ),
        (
            "cron(15 10 ? * 6L 2019-2027)",
            ["2026-11-27T10:15:00Z", "2026-12-25T10:15:00Z", "2027-01-29T10:15:00Z"],
        ),
        ("cron(0 9 ? * 2#1 *)", ["2026-12-07T09:00:00Z", "2027-01-04T09:00:00Z", "2027-02-01T09:00:00Z"]),
        ("cron(0 9 ? * TUE#5 *)", ["2026-12-29T09:00:00Z", "2027-03-30T09:00:00Z", "2027-06-29T09:00:00Z"]),
        ("cron(0 1 ? * FRI-MON *)", ["2026-11-23T01:00:00Z", "2026-11-27T01:00:00Z", "2026-11-28T01:00:00Z"]),
        ("cron(0 22-4/3 * * ? *)", ["2026-11-22T22:00:00Z", "2026-11-23T01:00:00Z", "2026-11-23T04:00:00Z"]),
        ("cron(0 0 L * ? *)", ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"]),
        ("cron(0 0 LW * ? *)", ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-29T00:00:00Z"]),
        ("cron(0 0 3W * ? *)", ["2026-12-03T00:00:00Z", "2027-01-04T00:00:00Z", "2027-02-03T00:00:00Z"]),
        ("cron(0 0 1W MAY ? *)", ["2027-05-03T00:00:00Z", "2028-05-01T00:00:00Z", "2029-05-01T00:00:00Z"]),
        ("cron(0 0 ? * L *)", ["2026-11-28T00:00:00Z", "2026-12-05T00:00:00Z", "2026-12-12T00:00:00Z"]),
        ("cron(0 12 29 2 ? *)", ["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z", "2036-02-29T12:00:00Z"]),
        (
            "cron(1/20 * ? jan,MAR Sat 2027)",
            ["2027-01-02T00:01:00Z", "2027-01-02T00:21:00Z", "2027-01-02T00:41:00Z"],
        ),
    ];
    for (expression, expected) in cases {
        assert_eq!(next_three(expression), expected, "{expression}");
    }
}

#[test]
fn what_never_comes_due_again_is_none() {
    for expression in [
        "cron(0 0 31 2 ? *)",
        "cron(0 0 30W 2 ? *)",
        "cron(0 0 * * ? 2025)",
        "cron(0 12 29 2 ? 2027)",
        "at(2026-11-22T12:00:00)",
    ] {
        assert_eq!(next_three(expression), Vec::<String>::new(), "{expression}");
    }
    let last = Schedule::parse("cron(59 23 31 12 ? *)").expect("an expression");
    assert_eq!(last.next_after(time("2199-12-31T23:59:00Z"), Timestamp::MIN, &TimeZone::UTC), None);
    let always = Schedule::parse("cron(* * * * ? *)").expect("an expression");
    assert_eq!(always.next_after(Timestamp::MAX, Timestamp::MIN, &TimeZone::UTC), None);
    assert_eq!(always.next_after(Timestamp::MIN, Timestamp::MIN, &TimeZone::UTC), None);
}

#[test]
fn rates_count_from_their_start() {
    let start = time("2026-11-22T12:00:30Z");
    let cases = [
        ("rate(5 minutes)", "2026-11-22T11:00:00Z", "2026-11-22T12:00:30Z"),
        ("rate(5 minutes)", "2026-11-22T12:00:30Z", "2026-11-22T12:05:30Z"),
        ("rate(5 minutes)", "2026-11-22T12:05:29.999Z", "2026-11-22T12:05:30Z"),
        ("rate(1 hour)", "2026-11-25T12:30:00Z", "2026-11-25T13:00:30Z"),
        ("rate(7 days)", "2026-11-22T12:00:30Z", "2026-11-29T12:00:30Z"),
    ];
    for (expression, after, expected) in cases {
        let schedule = Schedule::parse(expression).expect(expression);
        assert_eq!(
            schedule.next_after(time(after), start, &TimeZone::UTC),
            Some(time(expected)),
            "{expression}"
        );
    }
    let day = Schedule::parse("rate(1 day)").expect("an expression");
    let zone = time_zone("America/New_York").expect("a zone");
    let before = time("2026-03-07T17:00:00Z");
    assert_eq!(
        day.next_after(before, before, &zone),
        Some(time("2026-03-08T17:00:00Z")),
        "a day is 24 hours"
    );
    assert_eq!(day.next_after(Timestamp::MAX, before, &zone), None);
}

#[test]
fn clocks_that_change() {
    let zone = time_zone("America/New_York").expect("a zone");
    let next = |expression: &str, after: &str| {
        let schedule = Schedule::parse(expression).expect(expression);
        schedule.next_after(time(after), Timestamp::MIN, &zone).map(|time| time.to_string())
    };
    // In spring 02:30 does not exist on 8 March: that day is left out.
    assert_eq!(next("cron(30 2 * * ? *)", "2026-03-07T12:00:00Z").as_deref(), Some("2026-03-09T06:30:00Z"));
    // In autumn 01:30 is there twice on 1 November: it comes due the first time.
    assert_eq!(next("cron(30 1 * * ? *)", "2026-10-31T12:00:00Z").as_deref(), Some("2026-11-01T05:30:00Z"));
    assert_eq!(next("cron(30 1 * * ? *)", "2026-11-01T05:30:00Z").as_deref(), Some("2026-11-02T06:30:00Z"));
    assert_eq!(next("cron(0 * * * ? *)", "2026-11-01T05:00:00Z").as_deref(), Some("2026-11-01T07:00:00Z"));
    assert_eq!(
        next("at(2026-07-01T09:00:00)", "2026-06-01T00:00:00Z").as_deref(),
        Some("2026-07-01T13:00:00Z")
    );
    // Samoa had no 30 December 2011.
    let samoa = time_zone("Pacific/Apia").expect("a zone");
    let daily = Schedule::parse("cron(* * * * ? *)").expect("an expression");
    let before = time("2011-12-30T09:59:00Z");
    assert_eq!(daily.next_after(before, before, &samoa), Some(time("2011-12-30T10:00:00Z")));
    assert!(time_zone("Mars/Olympus").is_none());
}

#[test]
fn what_is_no_expression_is_refused() {
    let long = format!("cron(0 {} * * ? *)", "1,".repeat(200));
    for expression in [
        "",
        "rate",
        "rate()",
        "rate(5)",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "rate(1.5 hours)",
        "rate(5 seconds)",
        "rate(5 weeks)",
        "rate(5  minutes extra)",
        "rate(99999999999999999999 days)",
        "rate(999999999999 days)",
        "RATE(5 minutes)",
        "rate(5 minutes",
        "cron(0 12 * * ?)",
        "cron(0 12 * * ? * *)",
        "cron(0 12 * * * *)",
        "cron(0 12 ? * ? *)",
        "cron(0 12 1 * MON *)",
        "cron(60 * * * ? *)",
        "cron(* 24 * * ? *)",
        "cron(* * 32 * ? *)",
        "cron(* * 0 * ? *)",
        "cron(* * * 13 ? *)",
        "cron(* * ? * 8 *)",
        "cron(* * ? * 0 *)",
        "cron(* * * * ? 1969)",
        "cron(* * * * ? 2200)",
        "cron(? * * * ? *)",
        "cron(0/0 * * * ? *)",
        "cron(a * * * ? *)",
        "cron(, * * * ? *)",
        "cron(1-2-3 * * * ? *)",
        "cron(0 0 ? * 3#1,6#3 *)",
        "cron(0 0 ? * 3#6 *)",
        "cron(0 0 L,1 * ? *)",
        "cron(0 0 0W * ? *)",
        "cron(0 0 * * ? 2030-2028)",
        "at(2026-11-22)",
        "at(2026-11-22T12:00)",
        "at(2026-02-30T12:00:00)",
        "at(2026-11-22T12:00:00Z)",
        "at(2026-11-22 12:00:00)",
        &long,
    ] {
        let error = Schedule::parse(expression).expect_err(expression);
        assert_eq!(error.to_string(), "Parameter ScheduleExpression is not valid.");
    }
    let error = Schedule::parse("rate(5 weeks)").expect_err("refused");
    assert_eq!(error.in_scheduler(), "Invalid Schedule Expression rate(5 weeks).");
}

#[test]
fn rules_take_less_than_the_scheduler() {
    let cases = [
        ("rate(1 minute)", true, true),
        ("rate(1 minutes)", true, false),
        ("rate(5 minute)", true, false),
        ("rate(5 minutes)", true, true),
        ("cron(0 12 * * ? *)", true, true),
        ("at(2026-11-22T12:00:00)", true, false),
    ];
    for (expression, scheduler, rule) in cases {
        assert_eq!(Schedule::parse(expression).is_ok(), scheduler, "{expression}");
        assert_eq!(Schedule::parse_for_rule(expression).is_ok(), rule, "{expression}");
    }
}

/// Whether a minute of the zone's clocks is due, from the fields' definition in plain arithmetic.
fn is_due(minutes: &str, hours: &str, day: &str, week: &str, at: DateTime) -> bool {
    let date = at.date();
    let weekday = date.weekday().to_sunday_one_offset();
    let last = date.days_in_month();
    let minute_due = match minutes {
        "*" => true,
        "0/20" => at.minute() % 20 == 0,
        "30" => at.minute() == 30,
        _ => (5..=7).contains(&at.minute()) || at.minute() == 59,
    };
    let hour_due = match hours {
        "*" => true,
        "2" => at.hour() == 2,
        "1/6" => at.hour() % 6 == 1,
        _ => at.hour() <= 3,
    };
    let day_due = match day {
        "*" => true,
        "?" => true,
        "1-7" => date.day() <= 7,
        "L" => date.day() == last,
        _ => matches!(date.day(), 8 | 29),
    };
    let week_due = match week {
        "?" | "*" => true,
        "SUN" => weekday == 1,
        "1L" => weekday == 1 && date.day() + 7 > last,
        _ => weekday == 1 && (date.day() + 6) / 7 == 2,
    };
    minute_due && hour_due && day_due && week_due
}

/// The first due time after `after`, looked for minute by minute over 40 days; each time of the clock counts once.
fn scan(after: Timestamp, zone: &TimeZone, due: impl Fn(DateTime) -> bool) -> Option<Timestamp> {
    let first = after.as_second() / 60 * 60;
    (1..40 * 24 * 60).map(|minute| Timestamp::from_second(first + minute * 60).expect("in range")).find(
        |at| {
            let clock = zone.to_datetime(*at);
            due(clock) && zone.to_ambiguous_timestamp(clock).earlier().is_ok_and(|earlier| earlier == *at)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn next_is_what_a_minute_scan_finds(
        minutes in select(vec!["*", "0/20", "30", "5-7,59"]),
        hours in select(vec!["*", "2", "1/6", "0-3"]),
        days in select(vec![("*", "?"), ("1-7", "?"), ("L", "?"), ("8,29", "?"), ("?", "*"), ("?", "SUN"), ("?", "1L"), ("?", "SUN#2")]),
        zone in select(vec!["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]),
        // Around the clock changes of 2026.
        day in select(vec![0i64, 64, 65, 66, 85, 86, 93, 94, 274, 275, 296, 297, 303, 304, 305]),
        second in 0i64..86_400,
    ) {
        let (day_of_month, week) = days;
        let expression = format!("cron({minutes} {hours} {day_of_month} * {week} *)");
        let schedule = Schedule::parse(&expression).expect("an expression");
        let zone = time_zone(zone).expect("a zone");
        let after = Timestamp::from_second(1_767_225_600 + day * 86_400 + second).expect("in range");
        let expected = scan(after, &zone, |at| is_due(minutes, hours, day_of_month, week, at));
        let found = schedule.next_after(after, after, &zone);
        match expected {
            Some(_) => prop_assert_eq!(found, expected, "{}", expression),
            None => prop_assert!(found.is_none_or(|found| found.as_second() - after.as_second() > 39 * 86_400)),
        }
    }

    #[test]
    fn no_expression_crashes(expression in "(cron|rate|at)\\([0-9*?/,LW#A-Z -]{0,30}\\)", after in any::<i64>()) {
        if let Ok(schedule) = Schedule::parse(&expression) {
            let after = Timestamp::from_second(after % 200_000_000_000).expect("in range");
            schedule.next_after(after, Timestamp::UNIX_EPOCH, &TimeZone::UTC);
        }
    }
}
