//! Lambda: Python functions, warm and cold.

use std::{
    io::{Cursor, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    Options,
    http::{Connection, Request},
    load::{self, Measured},
    report::Report,
    server::Server,
};

const ECHO: &str = "def handler(event, context):\n    return event\n";
const WITH_SDK: &str = "import boto3\nclient = boto3.client('dynamodb')\ndef handler(event, context):\n    return client.list_tables()['TableNames']\n";
/// Cold starts measured, each of a function of its own.
const COLD: usize = 10;

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "lambda")?;
    create(&mut connection, "echo", ECHO)?;
    connection.call(&invoke("echo"))?.ok()?;
    for &connections in &options.connections {
        let measured =
            load::run(server.address, "lambda", connections, options.duration(), |_, _| invoke("echo"))?;
        report.rate("Lambda Invoke, Python, warm", connections, &measured);
    }
    let (began, mut latencies) = (Instant::now(), Vec::new());
    for number in 0..COLD {
        let name = format!("cold-{number}");
        create(&mut connection, &name, WITH_SDK)?;
        // A runtime that waits is made again after each start; the next one finds it ready.
        thread::sleep(Duration::from_millis(300));
        let sent = Instant::now();
        let answer = connection.call(&invoke(&name))?;
        answer.ok()?;
        if answer.body != b"[]" {
            bail!("the function answered {}", String::from_utf8_lossy(&answer.body));
        }
        latencies.push(u32::try_from(sent.elapsed().as_micros())?);
    }
    let measured = Measured::of(latencies, began.elapsed());
    report.figure("Lambda Invoke, Python + boto3, cold p50", measured.percentile_ms(0.5), "ms");
    report.figure("Lambda Invoke, Python + boto3, cold worst", measured.percentile_ms(1.0), "ms");
    Ok(())
}

fn invoke(name: &str) -> Request {
    Request::rest("POST", format!("/2015-03-31/functions/{name}/invocations"), b"{\"a\":1}".to_vec())
}

/// Makes a function and waits until it can be invoked.
pub fn create(connection: &mut Connection, name: &str, code: &str) -> Result<()> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("app.py", zip::write::SimpleFileOptions::default())?;
    writer.write_all(code.as_bytes())?;
    let archive = base64(&writer.finish()?.into_inner());
    let body = format!(
        r#"{{"FunctionName":"{name}","Runtime":"python3.11","Handler":"app.handler","Role":"arn:aws:iam::000000000000:role/bench","Code":{{"ZipFile":"{archive}"}}}}"#
    );
    connection.call(&Request::rest("POST", "/2015-03-31/functions", body.into_bytes()))?.ok()?;
    let asked = Instant::now();
    loop {
        let answer = connection
            .call(&Request::rest("GET", format!("/2015-03-31/functions/{name}"), Vec::new()))?
            .json()?;
        match answer["Configuration"]["State"].as_str() {
            Some("Active") => return Ok(()),
            state if asked.elapsed() > Duration::from_secs(30) => bail!("{name} is {state:?}"),
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_as_everybody_writes_it() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
    }
}
