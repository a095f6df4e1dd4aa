//! DynamoDB: items put and got by key, over many keys.

use anyhow::Result;

use crate::{
    Options,
    http::{Connection, Request},
    load,
    report::Report,
    server::Server,
};

/// Keys that are written and read.
const KEYS: usize = 10_000;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "dynamodb")?;
    let create = r#"{"TableName":"bench","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}"#;
    connection.call(&operation("CreateTable", create.into()))?.ok()?;
    for number in 0..KEYS {
        connection.call(&put(number))?.ok()?;
    }
    for &connections in &options.connections {
        let key = |worker: usize, number: usize| (worker * 7919 + number * 31) % KEYS;
        let measured =
            load::run(server.address, "dynamodb", connections, options.duration(), |worker, number| {
                put(key(worker, number))
            })?;
        report.rate("DynamoDB PutItem", connections, &measured);
        let measured =
            load::run(server.address, "dynamodb", connections, options.duration(), |worker, number| {
                let key = key(worker, number);
                operation(
                    "GetItem",
                    format!(r#"{{"TableName":"bench","Key":{{"id":{{"S":"item-{key}"}}}}}}"#),
                )
            })?;
        report.rate("DynamoDB GetItem", connections, &measured);
    }
    Ok(())
}

fn put(key: usize) -> Request {
    let body = format!(
        r#"{{"TableName":"bench","Item":{{"id":{{"S":"item-{key}"}},"region":{{"S":"north"}},"amount":{{"N":"{key}.5"}},"note":{{"S":"{}"}}}}}}"#,
        "x".repeat(100)
    );
    operation("PutItem", body)
}

fn operation(name: &str, body: String) -> Request {
    Request::json(&format!("DynamoDB_20120810.{name}"), "1.0", body)
}
