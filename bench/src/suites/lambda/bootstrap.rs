//! This program as a function on `provided.al2023`: speaks the Runtime API over one connection and echoes each event.
//!
//! A Rust function without a runtime library, so that the platform is measured and not one.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use anyhow::{Context, Result};

/// Set where a program is started as a function.
pub const API: &str = "AWS_LAMBDA_RUNTIME_API";
const INVOCATION: &str = "/2018-06-01/runtime/invocation";

/// Serves invocations until the platform ends it.
pub fn serve(api: &str) -> Result<()> {
    let stream = TcpStream::connect(api)?;
    stream.set_nodelay(true)?;
    let (mut answers, mut requests) = (BufReader::new(stream.try_clone()?), stream);
    let mut out = Vec::new();
    loop {
        write!(requests, "GET {INVOCATION}/next HTTP/1.1\r\nHost: {api}\r\n\r\n")?;
        let (id, event) = read(&mut answers)?;
        let id = id.context("an invocation without an id")?;
        out.clear();
        write!(out, "POST {INVOCATION}/{id}/response HTTP/1.1\r\nHost: {api}\r\n")?;
        write!(out, "Content-Length: {}\r\n\r\n", event.len())?;
        out.extend_from_slice(&event);
        requests.write_all(&out)?;
        read(&mut answers)?;
    }
}

/// One answer: the id of the invocation, if it is one, and the body.
fn read(answers: &mut impl BufRead) -> Result<(Option<String>, Vec<u8>)> {
    let (mut id, mut length, mut line) = (None, 0, String::new());
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            anyhow::bail!("the platform has gone");
        }
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body)?;
    Ok((id, body))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_invocation_is_read_with_its_id() {
        let raw =
            b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1";
        let read = super::read(&mut raw.as_slice()).expect("whole");
        assert_eq!(read, (Some("8476".to_owned()), b"{}".to_vec()));
    }
}
