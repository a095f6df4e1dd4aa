//! `tidemill journey`: what became of an event, hop by hop.

use anyhow::{Result, bail};
use serde_json::Value;

use super::hops::{at, lines, short, text};
use crate::{cli::Output, client::Client, output::dim};

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
            let what = format!("{}  {}", short(text(first, "source")), text(first, "detail"));
            println!("{}  {}  {}", dim(&clock(first)), text(first, "trace"), what.trim_end())
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
    let begin = steps.iter().map(at).min().unwrap_or_default();
    for line in lines(steps) {
        let after = dim(&format!("{:>6} ms", line.at - begin));
        println!("{after} {}{}", "  ".repeat(line.indent), line.text);
    }
}

fn clock(step: &Value) -> String {
    let moment = jiff::Timestamp::from_millisecond(at(step)).unwrap_or_default();
    moment.strftime("%H:%M:%S").to_string()
}
