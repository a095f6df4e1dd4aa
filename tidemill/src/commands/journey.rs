//! `tidemill journey`: what became of an event, hop by hop.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{
    cli::Output,
    client::Client,
    output::{bold, dim, green, paint},
};

pub async fn run(client: &Client, id: Option<&str>, output: Output) -> Result<()> {
    let path = id.map_or_else(|| "/_tidemill/journeys".to_string(), |id| format!("/_tidemill/journey/{id}"));
    let steps = client.get(&path).await?;
    let list = steps.as_array().cloned().unwrap_or_default();
    if output == Output::Json {
        println!("{steps}");
        return Ok(());
    }
    match id {
        None if list.is_empty() => println!("No event has travelled yet."),
        None => list.iter().for_each(|first| {
            println!("{}  {}  {}", dim(&clock(first)), text(first, "trace"), text(first, "detail"))
        }),
        Some(id) if list.is_empty() => {
            bail!("nothing is known of {id}; `tidemill journey` lists the newest journeys")
        }
        Some(_) => print(&list),
    }
    Ok(())
}

/// Prints the steps with the time since the first.
pub fn print(steps: &[Value]) {
    let begin = steps.first().map_or(0, |step| step["at"].as_i64().unwrap_or(0));
    for step in steps {
        let after = step["at"].as_i64().unwrap_or(0) - begin;
        println!("{} {}", dim(&format!("{after:>6} ms")), line(step));
    }
}

fn line(step: &Value) -> String {
    let (source, target) = (short(text(step, "source")), short(text(step, "target")));
    let detail = text(step, "detail");
    let attempt =
        step["attempt"].as_u64().filter(|n| *n > 1).map(|n| format!(", attempt {n}")).unwrap_or_default();
    let took = step["took_us"]
        .as_u64()
        .filter(|n| *n > 0)
        .map(|n| format!(" in {:.1} ms", n as f64 / 1000.0))
        .unwrap_or_default();
    match text(step, "step") {
        "happened" => format!("{}  {}", bold(&source), detail),
        "accepted" => format!("  {} → {}  {}", source, target, dim("handed over")),
        "delivered" => {
            format!("  {} → {}  {}{took}{attempt} {}", source, target, green("delivered"), dim(detail))
        }
        "failed" => {
            format!("  {} → {}  {}{took}{attempt}: {}", source, target, paint("31", "failed"), detail)
        }
        "dead_lettered" => {
            format!("  {} → {}  {}: {}", source, target, paint("33", "given up, dead-lettered"), detail)
        }
        "dropped" => format!("  {} → {}  {}: {}", source, target, paint("31", "given up"), detail),
        other => format!("  {source} → {target}  {other} {detail}"),
    }
}

/// The part of an ARN that people know.
fn short(arn: &str) -> String {
    let mut parts = arn.splitn(6, ':').skip(2);
    match (parts.next(), parts.nth(2)) {
        (Some(service), Some(resource)) => format!(
            "{service} {}",
            resource
                .split("/stream/")
                .next()
                .unwrap_or(resource)
                .trim_start_matches("function:")
                .trim_start_matches("table/")
        ),
        _ => arn.to_string(),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn clock(step: &Value) -> String {
    jiff::Timestamp::from_millisecond(step["at"].as_i64().unwrap_or(0))
        .unwrap_or_default()
        .strftime("%H:%M:%S")
        .to_string()
}
