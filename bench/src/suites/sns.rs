//! SNS: messages published alone and by the ten to a topic with ten queues. What counts is the deliveries: each is a
//! message in a queue, durable with the answer.

use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::sqs;
use crate::{
    Options,
    http::{Connection, Request},
    load,
    report::Report,
    server::Server,
};

const QUEUES: usize = 10;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut queues = Connection::open(server.address, "sqs")?;
    let mut connection = Connection::open(server.address, "sns")?;
    for is_raw in [false, true] {
        let kind = if is_raw { "raw" } else { "notification" };
        let topic = topic(&mut connection, &mut queues, kind, is_raw)?;
        for &connections in &options.connections {
            let one = publish(&topic);
            let measured =
                load::run(server.address, "sns", connections, options.duration(), |_, _| one.clone())?;
            report.rate(&format!("SNS Publish → 10 queues, {kind}"), connections, &measured);
            report.figure("  deliveries", measured.per_second() * QUEUES as f64, "per second");
            let ten = publish_ten(&topic);
            let measured =
                load::run(server.address, "sns", connections, options.duration(), |_, _| ten.clone())?;
            report.rate(&format!("SNS PublishBatch ×10 → 10, {kind}"), connections, &measured);
            report.figure("  deliveries", measured.per_second() * 10.0 * QUEUES as f64, "per second");
        }
    }
    Ok(())
}

/// A topic with its queues; gives its ARN.
fn topic(connection: &mut Connection, queues: &mut Connection, kind: &str, is_raw: bool) -> Result<String> {
    let answer = connection.call(&operation("CreateTopic", &[("Name", &format!("bench-{kind}"))]))?;
    answer.ok()?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let arn = text.split_once("<TopicArn>").and_then(|(_, rest)| rest.split_once("</TopicArn>"));
    let arn = arn.context("no ARN of a topic")?.0.to_string();
    for number in 0..QUEUES {
        let name = format!("bench-{kind}-{number}");
        sqs::create(queues, &name)?;
        let endpoint = format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        let mut members = vec![("TopicArn", arn.as_str()), ("Protocol", "sqs"), ("Endpoint", &endpoint)];
        if is_raw {
            members.extend([
                ("Attributes.entry.1.key", "RawMessageDelivery"),
                ("Attributes.entry.1.value", "true"),
            ]);
        }
        connection.call(&operation("Subscribe", &members))?.ok()?;
    }
    Ok(arn)
}

fn message() -> String {
    "x".repeat(100)
}

fn publish(topic: &str) -> Request {
    operation("Publish", &[("TopicArn", topic), ("Message", &message())])
}

fn publish_ten(topic: &str) -> Request {
    let entry = |number: usize| {
        let name = |member: &str| format!("PublishBatchRequestEntries.member.{number}.{member}");
        [(name("Id"), number.to_string()), (name("Message"), message())]
    };
    let entries: Vec<(String, String)> = (1..=10).flat_map(entry).collect();
    let mut members = vec![("TopicArn", topic)];
    members.extend(entries.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    operation("PublishBatch", &members)
}

fn operation(name: &str, members: &[(&str, &str)]) -> Request {
    let mut body = format!("Action={name}&Version=2010-03-31");
    for (member, value) in members {
        body.push_str(&format!("&{member}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    }
    Request {
        method: "POST",
        path: "/".into(),
        headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".into())],
        body: body.into_bytes(),
        ..Request::default()
    }
}
