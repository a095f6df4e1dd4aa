//! SQS: messages sent alone and in batches, whole cycles with few and with many waiting, and how soon a receiver wakes.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    Options,
    http::{Connection, Request},
    load::{self, Measured},
    report::Report,
    server::Server,
};

/// Messages waiting while cycles are measured a second time.
const WAITING: usize = 1_000_000;
const WAKE_UPS: usize = 200;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let address = server.address;
    let mut connection = Connection::open(address, "sqs")?;
    let alone = create(&mut connection, "alone")?;
    let batched = create(&mut connection, "batched")?;
    for &connections in &options.connections {
        let measured = load::run(address, "sqs", connections, options.duration(), |_, _| send(&alone))?;
        report.rate("SQS SendMessage", connections, &measured);
        let measured = load::run(address, "sqs", connections, options.duration(), |_, _| send_ten(&batched))?;
        report.rate("SQS SendMessageBatch ×10 (batches)", connections, &measured);
    }
    let cycled = create(&mut connection, "cycled")?;
    for &connections in &options.connections {
        let measured = cycles(address, &cycled, connections, options.duration())?;
        report.rate("SQS send + receive + delete", connections, &measured);
    }
    fill(address, &cycled)?;
    for &connections in &options.connections {
        let measured = cycles(address, &cycled, connections, options.duration())?;
        report.rate("the same, 1,000,000 waiting", connections, &measured);
    }
    let woken = create(&mut connection, "woken")?;
    report.rate("SQS send to woken long poll", 1, &wake_ups(address, &woken)?);
    Ok(())
}

/// Makes a queue; gives its URL.
pub fn create(connection: &mut Connection, name: &str) -> Result<String> {
    let answer =
        connection.call(&operation("CreateQueue", format!(r#"{{"QueueName":"{name}"}}"#)))?.json()?;
    Ok(answer["QueueUrl"].as_str().context("no URL")?.to_string())
}

pub fn operation(name: &str, body: String) -> Request {
    Request::json(&format!("AmazonSQS.{name}"), "1.0", body)
}

fn send(url: &str) -> Request {
    operation("SendMessage", format!(r#"{{"QueueUrl":"{url}","MessageBody":"{}"}}"#, "x".repeat(100)))
}

fn send_ten(url: &str) -> Request {
    let entries: Vec<String> =
        (0..10).map(|at| format!(r#"{{"Id":"{at}","MessageBody":"{}"}}"#, "x".repeat(100))).collect();
    operation("SendMessageBatch", format!(r#"{{"QueueUrl":"{url}","Entries":[{}]}}"#, entries.join(",")))
}

fn fill(address: SocketAddr, url: &str) -> Result<()> {
    let workers = 8;
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(move || -> Result<()> {
                    let mut connection = Connection::open(address, "sqs")?;
                    for _ in 0..WAITING / 10 / workers {
                        connection.call(&send_ten(url))?.ok()?;
                    }
                    Ok(())
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| anyhow::bail!("a worker failed")))
    })
}

/// Each connection sends, receives one message and deletes it, over and over.
fn cycles(address: SocketAddr, url: &str, connections: usize, duration: Duration) -> Result<Measured> {
    load::run_steps(address, "sqs", connections, duration, 3, |step, answer| match (step, answer) {
        (1, _) => Ok(operation("ReceiveMessage", format!(r#"{{"QueueUrl":"{url}"}}"#))),
        (2, Some(answer)) => {
            let answer = answer.json()?;
            let receipt = answer["Messages"][0]["ReceiptHandle"].as_str().context("nothing was received")?;
            Ok(operation("DeleteMessage", format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"{receipt}"}}"#)))
        }
        _ => Ok(send(url)),
    })
}

/// From the send being begun to the waiting receiver having its message.
fn wake_ups(address: SocketAddr, url: &str) -> Result<Measured> {
    let mut sender = Connection::open(address, "sqs")?;
    let (began_all, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..WAKE_UPS {
        let receiver = thread::spawn({
            let url = url.to_string();
            move || -> Result<Instant> {
                let mut connection = Connection::open(address, "sqs")?;
                let body = format!(r#"{{"QueueUrl":"{url}","WaitTimeSeconds":10}}"#);
                let answer = connection.call(&operation("ReceiveMessage", body))?.json()?;
                let got = Instant::now();
                let receipt = answer["Messages"][0]["ReceiptHandle"].as_str().context("nothing came")?;
                let body = format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"{receipt}"}}"#);
                connection.call(&operation("DeleteMessage", body))?.ok()?;
                Ok(got)
            }
        });
        thread::sleep(Duration::from_millis(10));
        let sent = Instant::now();
        sender.call(&send(url))?.ok()?;
        let got = receiver.join().unwrap_or_else(|_| anyhow::bail!("the receiver failed"))?;
        latencies.push(u32::try_from(got.duration_since(sent).as_micros())?);
    }
    Ok(Measured::of(latencies, began_all.elapsed()))
}
