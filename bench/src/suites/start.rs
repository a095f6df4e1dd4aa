//! From exec to the first answer of an API.

use std::time::Instant;

use anyhow::Result;

use crate::{
    Options,
    http::{Connection, Request},
    load::Measured,
    report::Report,
    server::Server,
};

const RUNS: usize = 20;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let began_all = Instant::now();
    let mut latencies = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        let server = Server::start(options)?;
        let mut connection = Connection::open(server.address, "dynamodb")?;
        connection.call(&Request::json("DynamoDB_20120810.ListTables", "1.0", "{}".into()))?.ok()?;
        latencies.push(u32::try_from(began.elapsed().as_micros())?);
    }
    let measured = Measured::of(latencies, began_all.elapsed());
    report.figure("start to first answer, p50", measured.percentile_ms(0.5), "ms");
    report.figure("start to first answer, slowest", measured.percentile_ms(1.0), "ms");
    Ok(())
}
