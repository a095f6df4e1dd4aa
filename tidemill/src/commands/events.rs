//! `tidemill events`: put an event on a bus, or ask why one does or does not match.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::{
    cli::{Events, Output},
    client::Client,
    output::{bold, dim, green, paint},
};

pub async fn run(client: &Client, action: Events, output: Output) -> Result<()> {
    match action {
        Events::Put { event, bus } => put(client, &read(&event)?, &bus, output).await,
        Events::Explain { event, bus } => explain(client, &read(&event)?, &bus, output).await,
    }
}

/// JSON text, or a file's.
fn read(event: &str) -> Result<Value> {
    let text = match event.trim_start().starts_with('{') {
        true => event.to_string(),
        false => std::fs::read_to_string(event).with_context(|| format!("{event} cannot be read"))?,
    };
    serde_json::from_str(&text).context("the event is no JSON")
}

async fn put(client: &Client, event: &Value, bus: &str, output: Output) -> Result<()> {
    let entry = entry(event, bus);
    let answer = client.call("events", "PutEvents", &json!({"Entries": [entry]})).await?;
    let told = &answer["Entries"][0];
    let Some(id) = told["EventId"].as_str() else {
        bail!("{}", told["ErrorMessage"].as_str().unwrap_or("the event was refused"));
    };
    match output {
        Output::Json => println!("{told}"),
        Output::Text => {
            println!("{id}  {}", dim(&format!("`tidemill journey {id}` shows what became of it")))
        }
    }
    Ok(())
}

/// An entry for `PutEvents` of an entry without a bus or of an event as targets get it.
pub fn entry(event: &Value, bus: &str) -> Value {
    let either = |entry: &str, envelope: &str| event.get(entry).or_else(|| event.get(envelope)).cloned();
    let detail = either("Detail", "detail").unwrap_or_else(|| json!({}));
    json!({
        "EventBusName": bus,
        "Source": either("Source", "source"),
        "DetailType": either("DetailType", "detail-type"),
        "Resources": either("Resources", "resources").unwrap_or_else(|| json!([])),
        "Detail": detail.as_str().map_or_else(|| detail.to_string(), String::from),
    })
}

async fn explain(client: &Client, event: &Value, bus: &str, output: Output) -> Result<()> {
    let path = format!("/_tidemill/events/explain/{bus}");
    let verdicts = client.send(Method::POST, &path, Bytes::from(event.to_string())).await?;
    if output == Output::Json {
        println!("{verdicts}");
        return Ok(());
    }
    let rules = verdicts.as_array().cloned().unwrap_or_default();
    if rules.is_empty() {
        println!("{bus} has no rules.");
    }
    for rule in &rules {
        let off = if rule["state"] == "DISABLED" { dim("  (disabled)") } else { String::new() };
        let name = bold(rule["rule"].as_str().unwrap_or_default());
        if rule["matched"] == true {
            println!("{} {name}{off}  {}", green("✓"), dim(&format!("{} target(s)", rule["targets"])));
            continue;
        }
        println!("{} {name}{off}", paint("31", "✗"));
        for failure in rule["failures"].as_array().into_iter().flatten() {
            let text = |name: &str| failure[name].as_str().unwrap_or_default();
            println!("    {}: asked {}, found {}", text("path"), text("asked"), text("found"));
        }
    }
    Ok(())
}
