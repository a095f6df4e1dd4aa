//! Functions for the measurements: their code as an archive, made and waited for.

use std::{
    fs,
    io::{Cursor, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::http::{Connection, Request};

/// What a function is written in.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Python(&'static str),
    Node(&'static str),
    /// This program itself, which echoes: see `bootstrap`.
    Rust,
}

#[derive(Debug, Clone, Copy)]
pub struct Function<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub timeout_s: u32,
}

impl<'a> Function<'a> {
    pub fn new(name: &'a str, kind: Kind) -> Function<'a> {
        Function { name, kind, timeout_s: 10 }
    }
}

/// Makes a function and waits until it can be invoked.
pub fn create(connection: &mut Connection, function: &Function) -> Result<()> {
    let (name, timeout) = (function.name, function.timeout_s);
    let runtime = match function.kind {
        Kind::Python(_) => "python3.11",
        Kind::Node(_) => "nodejs20.x",
        Kind::Rust => "provided.al2023",
    };
    let archive = base64(&archive(function.kind)?);
    let body = format!(
        r#"{{"FunctionName":"{name}","Runtime":"{runtime}","Handler":"app.handler","Timeout":{timeout},"Role":"arn:aws:iam::000000000000:role/bench","Code":{{"ZipFile":"{archive}"}}}}"#
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

pub fn invoke(name: &str, event: &str) -> Request {
    Request::rest("POST", format!("/2015-03-31/functions/{name}/invocations"), event.as_bytes().to_vec())
}

fn archive(kind: Kind) -> Result<Vec<u8>> {
    let (file, content, mode) = match kind {
        Kind::Python(code) => ("app.py", code.as_bytes().to_vec(), 0o644),
        Kind::Node(code) => ("app.js", code.as_bytes().to_vec(), 0o644),
        Kind::Rust => ("bootstrap", fs::read(std::env::current_exe()?)?, 0o755),
    };
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        SimpleFileOptions::default().unix_permissions(mode).compression_method(CompressionMethod::Deflated);
    writer.start_file(file, options)?;
    writer.write_all(&content)?;
    Ok(writer.finish()?.into_inner())
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
