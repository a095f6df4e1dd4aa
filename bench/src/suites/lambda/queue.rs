//! SQS → Lambda: how soon a function has entered after a message was sent.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use super::functions::{Function, Kind, create, invoke};
use crate::{
    Options,
    http::{Connection, Request},
    load::Measured,
    report::Report,
    server::Server,
    suites::sqs,
};

/// A message says when it was sent; invoked by hand, the function tells what it has seen.
const WOKEN: &str = "import time\nseen = []\ndef handler(event, context):\n    now = time.time_ns()\n    if 'Records' not in event:\n        return seen\n    seen.extend((now - int(record['body'])) // 1000 for record in event['Records'])\n";
const MESSAGES: usize = 200;
const BETWEEN: Duration = Duration::from_millis(15);

pub fn wake_ups(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut lambda = Connection::open(server.address, "lambda")?;
    let mut queue = Connection::open(server.address, "sqs")?;
    let url = sqs::create(&mut queue, "wakes")?;
    create(&mut lambda, &Function::new("woken", Kind::Python(WOKEN)))?;
    let mapping = r#"{"FunctionName":"woken","EventSourceArn":"arn:aws:sqs:us-east-1:000000000000:wakes","BatchSize":1}"#;
    let made = lambda.call(&Request::rest("POST", "/2015-03-31/event-source-mappings", mapping.into()))?;
    let mapping = made.json()?["UUID"].as_str().context("no mapping")?.to_owned();
    wait_until_enabled(&mut lambda, &mapping)?;
    // The first one makes the sandbox.
    send(&mut queue, &url)?;
    thread::sleep(Duration::from_secs(1));
    for _ in 0..MESSAGES {
        send(&mut queue, &url)?;
        thread::sleep(BETWEEN);
    }
    let seen = lambda.call(&invoke("woken", "{}"))?.json()?;
    let seen = seen.as_array().context("no list")?;
    if seen.len() < MESSAGES {
        bail!("{} of {MESSAGES} messages were seen by one sandbox", seen.len());
    }
    let micros = seen.iter().skip(1).filter_map(|micros| u32::try_from(micros.as_u64()?).ok());
    let measured = Measured::of(micros.collect(), Duration::from_secs(1));
    report.figure("SQS → Lambda, sent to entered p50", measured.percentile_ms(0.5), "ms");
    report.figure("SQS → Lambda, sent to entered p99", measured.percentile_ms(0.99), "ms");
    Ok(())
}

fn wait_until_enabled(connection: &mut Connection, mapping: &str) -> Result<()> {
    for _ in 0..1000 {
        let path = format!("/2015-03-31/event-source-mappings/{mapping}");
        let answer = connection.call(&Request::rest("GET", path, Vec::new()))?.json()?;
        if answer["State"] == "Enabled" {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("the mapping is never enabled")
}

fn send(connection: &mut Connection, url: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let body = format!(r#"{{"QueueUrl":"{url}","MessageBody":"{now}"}}"#);
    connection.call(&sqs::operation("SendMessage", body))?.ok()
}
