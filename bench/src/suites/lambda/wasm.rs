//! WebAssembly functions: first invocations of programs that are deployed, the same after a restart, and warm ones.

use std::time::Duration;

use anyhow::Result;

use super::{
    COLD, cold, first,
    functions::{Function, Kind, create, invoke},
};
use crate::{
    Options,
    http::Connection,
    load::{self, Measured},
    report::Report,
    server::Server,
};

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "lambda")?;
    let measured = cold(&mut connection, Kind::Wasm, "wasm")?;
    report.figure("Lambda Invoke, wasm, cold p50", measured.percentile_ms(0.5), "ms");
    report.figure("Lambda Invoke, wasm, cold worst", measured.percentile_ms(1.0), "ms");
    create(&mut connection, &Function::new("echo-wasm", Kind::Wasm(COLD)))?;
    connection.call(&invoke("echo-wasm", "{}"))?.ok()?;
    for &connections in &options.connections {
        let measured = load::run(server.address, "lambda", connections, options.duration(), |_, _| {
            invoke("echo-wasm", r#"{"a":1}"#)
        })?;
        report.rate("Lambda Invoke, wasm, warm", connections, &measured);
    }
    if server.pid().is_some() {
        server.restart(options)?;
        restarted(&server, report)?;
    }
    Ok(())
}

/// Compiled programs are loaded from disk.
fn restarted(server: &Server, report: &mut Report) -> Result<()> {
    let mut connection = Connection::open(server.address, "lambda")?;
    std::thread::sleep(super::BETWEEN_STARTS);
    let very_first = first(&mut connection, "cold-wasm-0")?;
    let mut latencies = Vec::new();
    for number in 1..COLD {
        let took = first(&mut connection, &format!("cold-wasm-{number}"))?;
        latencies.push(u32::try_from(took.as_micros())?);
    }
    let measured = Measured::of(latencies, Duration::from_secs(1));
    report.figure("the same, first of all after a restart", very_first.as_secs_f64() * 1000.0, "ms");
    report.figure("the same, others after a restart, p50", measured.percentile_ms(0.5), "ms");
    Ok(())
}
