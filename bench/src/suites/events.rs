//! EventBridge: events put by the ten, through the rules of a bus, into a queue; with one rule, with hundreds and with
//! a hundred thousand of which one matches.

use anyhow::Result;

use super::sqs;
use crate::{
    Options,
    http::{Connection, Request},
    load,
    report::Report,
    server::Server,
};

const RULES: &[usize] = &[1, 300, 100_000];

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut queues = Connection::open(server.address, "sqs")?;
    let mut connection = Connection::open(server.address, "events")?;
    for rules in RULES {
        let name = format!("bench-{rules}");
        sqs::create(&mut queues, &name)?;
        connection.call(&operation("CreateEventBus", format!(r#"{{"Name":"{name}"}}"#)))?.ok()?;
        for number in 0..*rules {
            // Only the first rule wants what is sent.
            let pattern = format!(r#"{{\"source\":[\"shop\"],\"detail\":{{\"customer\":[\"c{number}\"]}}}}"#);
            let body =
                format!(r#"{{"Name":"r{number}","EventBusName":"{name}","EventPattern":"{pattern}"}}"#);
            connection.call(&operation("PutRule", body))?.ok()?;
        }
        let target = format!(r#"{{"Id":"q","Arn":"arn:aws:sqs:us-east-1:000000000000:{name}"}}"#);
        let body = format!(r#"{{"Rule":"r0","EventBusName":"{name}","Targets":[{target}]}}"#);
        connection.call(&operation("PutTargets", body))?.ok()?;
        for &connections in &options.connections {
            let measured =
                load::run(server.address, "events", connections, options.duration(), |_, _| ten(&name))?;
            report.rate(&format!("PutEvents ×10 → SQS, {rules} rules"), connections, &measured);
        }
    }
    Ok(())
}

fn operation(name: &str, body: String) -> Request {
    Request::json(&format!("AWSEvents.{name}"), "1.1", body)
}

fn ten(bus: &str) -> Request {
    let detail = r#"{\"customer\":\"c0\",\"amount\":129.9,\"items\":[{\"sku\":\"lamp\",\"count\":2}],\"note\":\"as agreed\"}"#;
    let entry = format!(
        r#"{{"EventBusName":"{bus}","Source":"shop","DetailType":"Order Placed","Detail":"{detail}"}}"#
    );
    operation("PutEvents", format!(r#"{{"Entries":[{}]}}"#, vec![entry; 10].join(",")))
}
