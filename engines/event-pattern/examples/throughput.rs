//! How fast the matcher is: `cargo run --release -p tidemill-event-pattern --example throughput`. For 1, 300 and 100,000
//! rules of mixed kinds it prints the time to build them at once, the time to add or remove one more, the memory they
//! take, and events per second on one core, from the event's JSON text to the list of matching rules.

use std::hint::black_box;
use std::time::{Duration, Instant};
use tidemill_event_pattern::{Matcher, Pattern};

const EVENTS: u64 = 2000;

fn main() {
    println!("rules    build      add one   remove one   memory     events/s  matches/event");
    for rules in [1u64, 300, 100_000] {
        measure(rules);
    }
}

fn measure(rules: u64) {
    let patterns: Vec<Pattern> =
        (0..rules).map(|n| Pattern::parse(&rule(n, rules)).expect("the rule is valid")).collect();
    let before = resident_kib();
    let matcher = Matcher::new();
    let built = Instant::now();
    matcher.update(|edit| patterns.iter().zip(0u64..).for_each(|(pattern, n)| edit.add(n, pattern)));
    let built = built.elapsed();
    let memory = resident_kib().saturating_sub(before);
    let (added, removed) = one_more(&matcher, rules);

    let events: Vec<String> = (0..EVENTS).map(|n| event(n, rules)).collect();
    let bytes: usize = events.iter().map(String::len).sum();
    let (per_second, matches) = run(&matcher, &events);
    println!(
        "{rules:<8} {built:<10.1?} {added:<9.1?} {removed:<12.1?} {:<10} {per_second:<9.0} {matches:.2}   ({} B/event)",
        format!("{} KiB", memory),
        bytes as u64 / EVENTS,
    );
}

fn one_more(matcher: &Matcher<u64>, rules: u64) -> (Duration, Duration) {
    let patterns: Vec<Pattern> = (rules..rules + 200)
        .map(|n| Pattern::parse(&rule(n, rules * 2)).expect("the rule is valid"))
        .collect();
    let added = Instant::now();
    patterns.iter().zip(rules..).for_each(|(pattern, n)| matcher.add(n, pattern));
    let added = added.elapsed() / 200;
    let removed = Instant::now();
    (rules..rules + 200).for_each(|n| assert!(matcher.remove(&n)));
    (added, removed.elapsed() / 200)
}

/// The best of many short batches: the machine may be shared.
fn run(matcher: &Matcher<u64>, events: &[String]) -> (f64, f64) {
    let snapshot = matcher.snapshot();
    let started = Instant::now();
    let (mut best, mut matches) = (Duration::MAX, 0);
    while started.elapsed() < Duration::from_secs(3) {
        let batch = Instant::now();
        matches = events
            .iter()
            .map(|event| black_box(snapshot.matches(black_box(event)).expect("the event is valid")).len())
            .sum();
        best = best.min(batch.elapsed());
    }
    (EVENTS as f64 / best.as_secs_f64(), matches as f64 / EVENTS as f64)
}

fn rule(n: u64, rules: u64) -> String {
    let (source, kind) = (n % 40, n % 25);
    let one = mix(n) % rules.max(1);
    match n % 10 {
        0..3 => format!(
            r#"{{"source":["acme.app{source}"],"detail-type":["Kind {kind}"],"detail":{{"customer":{{"id":["c-{one}"]}}}}}}"#
        ),
        3 => format!(
            r#"{{"source":["acme.app{source}"],"detail":{{"amount":[{{"numeric":[">=",{one},"<",{}]}}]}}}}"#,
            one + 20
        ),
        4 => format!(
            r#"{{"detail":{{"path":[{{"prefix":"/tenants/{one}/"}}]}},"source":["acme.app{source}"]}}"#
        ),
        5 => format!(r#"{{"detail":{{"file":[{{"suffix":"-{one}.png"}}]}},"detail-type":["Kind {kind}"]}}"#),
        6 => format!(r#"{{"detail":{{"message":[{{"wildcard":"*order {one} *"}}]}}}}"#),
        7 => format!(
            r#"{{"detail":{{"state":[{{"anything-but":["failed","lost"]}}],"tenant":["t{one}"]}},"source":["acme.app{source}"]}}"#
        ),
        8 => format!(
            r#"{{"source":["acme.app{source}"],"$or":[{{"detail":{{"sku":["s{one}"]}}}},{{"detail":{{"sku":[{{"exists":false}}],"bin":[{one}]}}}}]}}"#
        ),
        _ => format!(
            r#"{{"detail":{{"ip":[{{"cidr":"10.{}.{}.0/24"}}],"region":[{{"equals-ignore-case":"EU-West-{one}"}}]}}}}"#,
            one % 256,
            (one >> 8) % 256
        ),
    }
}

/// An event of the size and shape of an order service's. Its values come from the rules' population.
fn event(n: u64, rules: u64) -> String {
    let value = |salt: u64| mix(n * 31 + salt) % rules.max(1);
    format!(
        r#"{{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf37{n:08}","detail-type":"Kind {kind}","source":"acme.app{source}","account":"111122223333","time":"2026-11-22T18:43:48Z","region":"eu-west-1","resources":["arn:aws:acme:eu-west-1:111122223333:order/{a}"],"detail":{{"customer":{{"id":"c-{a}","name":"Ada Lovelace","mail":"ada@example.com"}},"amount":{b}.25,"currency":"EUR","path":"/tenants/{c}/orders/{n}","file":"scan-{d}.png","message":"The order {e} was \"accepted\"","state":"paid","tenant":"t{f}","sku":"s{g}","ip":"10.{i}.{j}.7","items":[{{"sku":"x1","count":2}},{{"sku":"x2","count":1}}],"notes":"left at the door; the neighbour's dog did not mind at all"}}}}"#,
        kind = n % 25,
        source = n % 40,
        a = value(1),
        b = value(2),
        c = value(3),
        d = value(4),
        e = value(5),
        f = value(6),
        g = value(7),
        i = value(8) % 256,
        j = (value(8) >> 8) % 256,
    )
}

/// A fixed scramble, so that neighbours do not share values.
fn mix(n: u64) -> u64 {
    let mixed = (n ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

/// The process's resident memory; 0 where /proc is not there.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
