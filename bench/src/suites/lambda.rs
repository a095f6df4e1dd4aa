//! Lambda: functions warm and cold, many at once, what each further sandbox costs, and messages that wake functions.
//!
//! Each function does next to nothing, so that the figures are the platform's. `scale` is about many, `queue` about SQS, `snapstart`, `java`
//! and `wasm` about other ways to begin; `functions` makes what is invoked.

pub mod bootstrap;
mod functions;
mod java;
mod queue;
mod scale;
mod snapstart;
mod wasm;

use std::{thread, time::Duration};

use anyhow::{Result, bail};
use functions::{Function, Kind, create, invoke};

use crate::{
    Options,
    http::Connection,
    load::{self, Measured},
    report::Report,
    server::Server,
};

const PYTHON_ECHO: &str = "def handler(event, context):\n    return event\n";
const PYTHON_SDK: &str = "import boto3\nclient = boto3.client('dynamodb')\ndef handler(event, context):\n    return client.list_tables()['TableNames']\n";
const NODE_SDK: &str = "const { DynamoDBClient, ListTablesCommand } = require('@aws-sdk/client-dynamodb');\nconst client = new DynamoDBClient();\nexports.handler = async () => (await client.send(new ListTablesCommand())).TableNames;\n";
/// Cold starts measured, each of a function of its own.
const COLD: usize = 20;
/// A runtime that waits is made again after each start; the next one finds it ready.
const BETWEEN_STARTS: Duration = Duration::from_millis(400);

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    warm_and_cold(options, report)?;
    queue::wake_ups(options, report)
}

pub fn scale(options: &Options, report: &mut Report) -> Result<()> {
    scale::bursts(options, report)?;
    scale::deployed(options, report)
}

pub fn snapstart(options: &Options, report: &mut Report) -> Result<()> {
    snapstart::run(options, report)
}

pub fn java(options: &Options, report: &mut Report) -> Result<()> {
    java::run(options, report)
}

pub fn wasm(options: &Options, report: &mut Report) -> Result<()> {
    wasm::run(options, report)
}

fn warm_and_cold(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "lambda")?;
    for (kind, shown) in [(Kind::Python(PYTHON_ECHO), "Python"), (Kind::Rust, "Rust")] {
        let name = format!("echo-{}", shown.to_lowercase());
        create(&mut connection, &Function::new(&name, kind))?;
        connection.call(&invoke(&name, "{}"))?.ok()?;
        for &connections in &options.connections {
            let measured = load::run(server.address, "lambda", connections, options.duration(), |_, _| {
                invoke(&name, r#"{"a":1}"#)
            })?;
            report.rate(&format!("Lambda Invoke, {shown}, warm"), connections, &measured);
        }
    }
    for (kind, shown) in [
        (Kind::Python(PYTHON_SDK), "Python + boto3"),
        (Kind::Node(NODE_SDK), "Node + SDK v3"),
        (Kind::Rust, "Rust"),
    ] {
        let measured = cold(&mut connection, |_| kind, shown)?;
        report.figure(&format!("Lambda Invoke, {shown}, cold p50"), measured.percentile_ms(0.5), "ms");
        report.figure(&format!("Lambda Invoke, {shown}, cold worst"), measured.percentile_ms(1.0), "ms");
    }
    Ok(())
}

/// First invocations, each of a function of its own. A function answers `[]` with the same.
fn cold(connection: &mut Connection, kind: impl Fn(usize) -> Kind, shown: &str) -> Result<Measured> {
    let (mut latencies, mut sum) = (Vec::new(), Duration::ZERO);
    for number in 0..COLD {
        let name = format!("cold-{}-{number}", shown.replace([' ', '+'], ""));
        create(connection, &Function::new(&name, kind(number)))?;
        thread::sleep(BETWEEN_STARTS);
        let took = first(connection, &name)?;
        sum += took;
        latencies.push(u32::try_from(took.as_micros())?);
    }
    Ok(Measured::of(latencies, sum))
}

/// One invocation of a function that answers `[]`.
fn first(connection: &mut Connection, name: &str) -> Result<Duration> {
    let sent = std::time::Instant::now();
    let answer = connection.call(&invoke(name, "[]"))?;
    let took = sent.elapsed();
    answer.ok()?;
    if answer.body != b"[]" {
        bail!("the function answered {}", String::from_utf8_lossy(&answer.body));
    }
    Ok(took)
}
