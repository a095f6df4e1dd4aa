//! `tidemill invoke`: run a function and show its answer and log.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::debug;
use crate::{
    cli::{Invoke, Output},
    client::Client,
    output::dim,
};

pub async fn run(client: &Client, options: Invoke, output: Output) -> Result<()> {
    let event = match options.event.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?,
        None => options.event.clone(),
    };
    if options.debug {
        return debug::run(client, options, &event, output).await;
    }
    // Blobs travel as base64 in JSON.
    let input =
        json!({ "FunctionName": options.function, "LogType": "Tail", "Payload": base64(event.as_bytes()) });
    let answer = client.call("lambda", "Invoke", &input).await?;
    let payload = unbase64(answer["Payload"].as_str().unwrap_or_default());
    if output == Output::Json {
        println!(
            "{}",
            json!({ "payload": serde_json::from_slice::<Value>(&payload).unwrap_or(Value::Null), "functionError": answer["FunctionError"] })
        );
    } else {
        let log = unbase64(answer["LogResult"].as_str().unwrap_or_default());
        eprint!("{}", dim(&String::from_utf8_lossy(&log)));
        println!("{}", String::from_utf8_lossy(&payload));
    }
    if answer["FunctionError"].is_string() {
        bail!("the function failed; its answer says how");
    }
    Ok(())
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap_or_default()
}
