//! A journey as people read it: what happened where, each with what became of it below, and what that led to inside
//! the platform below that.

use serde_json::Value;

use crate::output::{bold, dim, green, paint};

/// One thing that happened and its steps.
struct Hop<'a> {
    source: &'a str,
    /// Milliseconds since 1970.
    at: i64,
    steps: Vec<&'a Value>,
}

/// A line to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since 1970.
    pub at: i64,
    pub indent: usize,
    pub text: String,
}

/// The lines of a journey.
pub fn lines(steps: &[Value]) -> Vec<Line> {
    let mut hops = gather(steps);
    let mut lines = Vec::new();
    while !hops.is_empty() {
        // What nothing else led to comes first, in order of time.
        let led_to =
            |hop: &Hop<'_>| hops.iter().any(|other| hop.source != other.source && leads_to(other, hop));
        let first = hops.iter().position(|hop| !led_to(hop)).unwrap_or(0);
        let hop = hops.remove(first);
        tell(&hop, &mut hops, 0, &mut lines);
    }
    lines
}

/// Steps by what they are about, in order of time; in one millisecond as the ledger has them.
fn gather(steps: &[Value]) -> Vec<Hop<'_>> {
    let mut hops: Vec<(&str, Hop<'_>)> = Vec::new();
    for step in steps {
        let (event, source) = (text(step, "event"), text(step, "source"));
        match hops.iter_mut().find(|(known, hop)| *known == event && hop.source == source) {
            Some((_, hop)) => hop.steps.push(step),
            None => hops.push((event, Hop { source, at: at(step), steps: vec![step] })),
        }
    }
    let mut hops: Vec<Hop<'_>> = hops.into_iter().map(|(_, hop)| hop).collect();
    for hop in &mut hops {
        hop.at = hop.steps.iter().map(|step| at(step)).min().unwrap_or_default();
        hop.steps.sort_by_key(|step| (text(step, "step") != "happened", at(step)));
    }
    hops.sort_by_key(|hop| hop.at);
    hops
}

fn leads_to(hop: &Hop<'_>, other: &Hop<'_>) -> bool {
    hop.steps.iter().any(|step| is_arrival(step) && text(step, "target") == other.source)
}

fn is_arrival(step: &Value) -> bool {
    matches!(text(step, "step"), "delivered" | "accepted" | "dead_lettered")
}

/// As deep as hops lead to hops; each is told once.
fn tell(hop: &Hop<'_>, others: &mut Vec<Hop<'_>>, indent: usize, lines: &mut Vec<Line>) {
    for (number, step) in hop.steps.iter().enumerate() {
        let is_head = text(step, "step") == "happened";
        let inner = if is_head { indent } else { indent + 1 };
        lines.push(Line { at: at(step), indent: inner, text: line(step, indent > 0) });
        let target = text(step, "target");
        let is_last =
            !hop.steps[number + 1..].iter().any(|later| is_arrival(later) && text(later, "target") == target);
        if !is_arrival(step) || !is_last {
            continue;
        }
        while let Some(next) = others.iter().position(|other| other.source == target) {
            let next = others.remove(next);
            tell(&next, others, indent + 2, lines);
        }
    }
}

fn line(step: &Value, is_inner: bool) -> String {
    let (source, target, detail) =
        (short(text(step, "source")), short(text(step, "target")), text(step, "detail"));
    let attempt =
        step["attempt"].as_u64().filter(|n| *n > 1).map(|n| format!(", attempt {n}")).unwrap_or_default();
    let took = step["took_us"]
        .as_u64()
        .filter(|n| *n > 0)
        .map(|n| format!(" in {:.1} ms", n as f64 / 1000.0))
        .unwrap_or_default();
    let told = match text(step, "step") {
        "happened" if is_inner => detail.to_string(),
        "happened" => format!("{}  {detail}", bold(&source)),
        "accepted" => format!("→ {target}  {}", dim("handed over")),
        "delivered" => format!("→ {target}  {}{took}{attempt}{}", green("delivered"), dim(&aside(detail))),
        "failed" => format!("→ {target}  {}{took}{attempt}: {detail}", paint("31", "failed")),
        "dead_lettered" => format!("→ {target}  {}: {detail}", paint("33", "given up, dead-lettered")),
        "dropped" => format!("→ {target}  {}: {detail}", paint("31", "given up")),
        "not_matched" => dim(&format!("✗ {detail}")),
        other => format!("→ {target}  {other} {detail}"),
    };
    match by(text(step, "via")) {
        Some(by) => format!("{}  {}", told.trim_end(), dim(&by)),
        None => told.trim_end().to_string(),
    }
}

/// What is known besides, in brackets.
fn aside(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

/// Why it went there, where that has a name people gave.
fn by(via: &str) -> Option<String> {
    let resource = via.splitn(6, ':').nth(5)?;
    Some(format!("by rule {}", resource.strip_prefix("rule/")?.rsplit('/').next()?))
}

/// The part of an ARN that people know.
pub fn short(arn: &str) -> String {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (Some(service), Some(resource)) = (parts.next(), parts.nth(2)) else { return arn.to_string() };
    let resource = resource.split("/stream/").next().unwrap_or(resource);
    let resource = ["function:", "table/", "event-bus/"]
        .iter()
        .fold(resource, |resource, kind| resource.strip_prefix(kind).unwrap_or(resource));
    format!("{service} {resource}")
}

pub fn at(step: &Value) -> i64 {
    step["at"].as_i64().unwrap_or(0)
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:told";
    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:orders";
    const BUS: &str = "arn:aws:events:us-east-1:000000000000:event-bus/shop";
    const RULE: &str = "arn:aws:events:us-east-1:000000000000:rule/shop/big";

    fn step(at: i64, event: &str, source: &str, target: &str, kind: &str, via: &str) -> Value {
        json!({"at": at, "event": event, "source": source, "target": target, "step": kind, "via": via,
               "detail": if kind == "happened" { event } else { "" }, "attempt": 1, "took_us": 0})
    }

    #[test]
    fn what_led_to_what_is_seen_whatever_the_order_of_steps() {
        let steps = [
            step(8, "message", TOPIC, "", "happened", ""),
            step(8, "message", TOPIC, QUEUE, "delivered", ""),
            step(7, "order", BUS, "", "happened", ""),
            step(8, "order", BUS, QUEUE, "delivered", RULE),
            step(8, "order", BUS, TOPIC, "delivered", RULE),
            step(9, "file", "arn:aws:s3:::sales", "", "happened", ""),
        ];
        let told: Vec<(usize, String)> =
            lines(&steps).into_iter().map(|line| (line.indent, line.text)).collect();
        let expected = [
            (0, "events shop  order"),
            (1, "→ sqs orders  delivered  by rule big"),
            (1, "→ sns told  delivered  by rule big"),
            (2, "message"),
            (3, "→ sqs orders  delivered"),
            (0, "s3 sales  file"),
        ];
        assert_eq!(told, expected.map(|(indent, text)| (indent, text.to_string())));
    }

    #[test]
    fn circles_end() {
        let steps = [step(1, "a", BUS, TOPIC, "delivered", ""), step(1, "b", TOPIC, BUS, "delivered", "")];
        assert_eq!(lines(&steps).len(), 2);
    }
}
