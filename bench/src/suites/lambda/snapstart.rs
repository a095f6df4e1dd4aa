//! SnapStart: the first invocation of a version whose init phase takes long and whose snapshot was taken.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    BETWEEN_STARTS,
    functions::{archive_of, create_of, wait_until_active},
};
use crate::{
    Options,
    http::{Connection, Request},
    load::Measured,
    report::Report,
    server::Server,
};

/// Versions, each restored once.
const VERSIONS: usize = 12;
const PANDAS: &str = "import pandas\nframe = pandas.DataFrame({'a': range(100_000)})\ndef handler(event, context):\n    return [int(frame['a'].iloc[-1]), frame['a'].sum() > 0 and pandas.__name__]\n";
/// As heavy: modules, clients, and 300,000 objects.
const HEAVY: &str = "import asyncio, decimal, email.mime.text, sqlite3, unittest.mock, xml.dom.minidom, boto3\nclients = [boto3.client(name) for name in ('s3', 'ec2', 'dynamodb', 'sqs', 'sns', 'lambda', 'events')]\ntable = {number: str(number) for number in range(300_000)}\ndef handler(event, context):\n    return [len(clients), table[299_999]]\n";
const NAME: &str = "snapstarted";
const SETTINGS: &str = r#""Runtime":"python3.12","Handler":"app.handler","Timeout":60,"MemorySize":1024,"SnapStart":{"ApplyOn":"PublishedVersions"}"#;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "lambda")?;
    let (shown, code) = match &options.packages {
        Some(_) => ("pandas", PANDAS),
        None => ("a heavy init", HEAVY),
    };
    let mut files = vec![("app.py".to_owned(), code.as_bytes().to_vec(), 0o644)];
    if let Some(packages) = &options.packages {
        add_folder(packages, packages, &mut files)?;
    }
    create_of(&mut connection, NAME, &archive_of(&files)?, SETTINGS)?;
    let without = first(&mut connection, "$LATEST")?;
    report.figure(&format!("{shown}, cold without SnapStart"), without.as_secs_f64() * 1000.0, "ms");
    let mut latencies = Vec::new();
    for number in 1..=VERSIONS {
        publish(&mut connection, number)?;
        thread::sleep(BETWEEN_STARTS);
        let took = first(&mut connection, &number.to_string())?;
        latencies.push(u32::try_from(took.as_micros())?);
    }
    let measured = Measured::of(latencies, Duration::from_secs(1));
    report.figure(&format!("{shown}, SnapStart, cold p50"), measured.percentile_ms(0.5), "ms");
    report.figure(&format!("{shown}, SnapStart, cold worst"), measured.percentile_ms(1.0), "ms");
    Ok(())
}

fn publish(connection: &mut Connection, number: usize) -> Result<()> {
    let path = format!("/2015-03-31/functions/{NAME}");
    let change = format!(r#"{{"Description":"{number}"}}"#).into_bytes();
    connection.call(&Request::rest("PUT", format!("{path}/configuration"), change))?.ok()?;
    wait_until_active(connection, NAME, "$LATEST")?;
    let published =
        connection.call(&Request::rest("POST", format!("{path}/versions"), b"{}".to_vec()))?.json()?;
    let version = published["Version"].as_str().context("no version")?.to_owned();
    if version != number.to_string() {
        bail!("version {version} was published instead of {number}");
    }
    let ready = wait_until_active(connection, NAME, &version)?;
    match ready["SnapStart"]["OptimizationStatus"].as_str() {
        Some("On") => Ok(()),
        status => bail!("SnapStart is {status:?} here"),
    }
}

fn first(connection: &mut Connection, version: &str) -> Result<Duration> {
    let path = format!("/2015-03-31/functions/{NAME}/invocations");
    let query = format!("Qualifier={}", version.replace('$', "%24"));
    let request = Request { query, ..Request::rest("POST", path, b"{}".to_vec()) };
    let sent = Instant::now();
    let answer = connection.call(&request)?;
    let took = sent.elapsed();
    if !answer.json()?.is_array() {
        bail!("the function answered {}", String::from_utf8_lossy(&answer.body));
    }
    Ok(took)
}

/// All files below a folder, but what only tests and compilers read.
fn add_folder(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>, u32)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if matches!(name, "__pycache__" | "tests" | "include" | "bin") {
            continue;
        }
        if path.is_dir() {
            add_folder(root, &path, files)?;
        } else {
            let inside = path.strip_prefix(root)?.to_str().context("a path of a package is no text")?;
            files.push((inside.to_owned(), fs::read(&path)?, 0o755));
        }
    }
    Ok(())
}
