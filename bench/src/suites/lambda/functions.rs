//! Functions for the measurements: their code as an archive, made and waited for.

use std::{
    fs,
    io::{Cursor, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::Value;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::http::{Connection, Request};

/// For how long a function may be pending.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a function is written in.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Python(&'static str),
    Node(&'static str),
    /// This program itself, which echoes: see `bootstrap`.
    Rust,
    /// A class file `Echo` with a method `handle` that echoes.
    Java(&'static [u8]),
    /// A WebAssembly program that echoes; each number is another program.
    Wasm(usize),
}

/// The runtime of Java functions.
pub const JAVA: &str = "java21";
/// The memory of each of them, in MiB.
const JAVA_MEMORY: u32 = 512;

/// Echoes, and says hello to its log.
const WASM_ECHO: &str = include_str!("../../../../crates/wasm/tests/programs/echo.wat");

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
    let (runtime, handler) = match function.kind {
        Kind::Python(_) => ("python3.11", "app.handler"),
        Kind::Node(_) => ("nodejs20.x", "app.handler"),
        Kind::Rust => ("provided.al2023", "app.handler"),
        Kind::Wasm(_) => ("provided.wasm", "bootstrap"),
        Kind::Java(_) => (JAVA, "Echo::handle"),
    };
    let memory = if let Kind::Java(_) = function.kind { JAVA_MEMORY } else { 128 };
    let more = format!(
        r#""Runtime":"{runtime}","Handler":"{handler}","MemorySize":{memory},"Timeout":{}"#,
        function.timeout_s
    );
    create_of(connection, function.name, &archive(function.kind)?, &more)
}

/// Makes a function of an archive; `more` are further members of what is asked.
pub fn create_of(connection: &mut Connection, name: &str, archive: &[u8], more: &str) -> Result<()> {
    let archive = base64(archive);
    let body = format!(
        r#"{{"FunctionName":"{name}","Role":"arn:aws:iam::000000000000:role/bench",{more},"Code":{{"ZipFile":"{archive}"}}}}"#
    );
    connection.call(&Request::rest("POST", "/2015-03-31/functions", body.into_bytes()))?.ok()?;
    wait_until_active(connection, name, "$LATEST").map(drop)
}

/// Waits until a version can be invoked; gives its configuration.
pub fn wait_until_active(connection: &mut Connection, name: &str, version: &str) -> Result<Value> {
    let asked = Instant::now();
    let path = format!("/2015-03-31/functions/{name}/configuration");
    let query = format!("Qualifier={}", version.replace('$', "%24"));
    let question = Request { query, ..Request::rest("GET", path, Vec::new()) };
    loop {
        let answer = connection.call(&question)?.json()?;
        match answer["State"].as_str() {
            Some("Active") => return Ok(answer),
            Some("Pending") if asked.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
            state => bail!("{name}:{version} is {state:?}: {}", answer["StateReason"]),
        }
    }
}

pub fn invoke(name: &str, event: &str) -> Request {
    Request::rest("POST", format!("/2015-03-31/functions/{name}/invocations"), event.as_bytes().to_vec())
}

fn archive(kind: Kind) -> Result<Vec<u8>> {
    let (file, content, mode) = match kind {
        Kind::Wasm(number) => {
            let own = format!("(memory (export \"memory\") 2) (data (i32.const 512) \"{number}\")");
            let text = WASM_ECHO.replace("(memory (export \"memory\") 2)", &own);
            ("bootstrap.wasm", wat::parse_str(text)?, 0o644)
        }
        Kind::Python(code) => ("app.py", code.as_bytes().to_vec(), 0o644),
        Kind::Node(code) => ("app.js", code.as_bytes().to_vec(), 0o644),
        Kind::Java(class) => ("Echo.class", class.to_vec(), 0o644),
        Kind::Rust => ("bootstrap", fs::read(std::env::current_exe()?)?, 0o755),
    };
    archive_of(&[(file.to_owned(), content, mode)])
}

/// An archive of files: path, content, mode.
pub fn archive_of(files: &[(String, Vec<u8>, u32)]) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (path, content, mode) in files {
        writer.start_file(path, options.unix_permissions(*mode))?;
        writer.write_all(content)?;
    }
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
