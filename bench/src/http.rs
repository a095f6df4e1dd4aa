//! One keep-alive connection: writes a signed request, reads the answer. Blocking, by hand, so that the client takes
//! little of the machine it shares with the server.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use tidemill_sigv4::{PayloadToSign, Signer};

/// Room for what is read at once, in bytes.
const PART: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub method: &'static str,
    /// Percent-encoded.
    pub path: String,
    pub query: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// An operation of a service that speaks JSON with targets.
    pub fn json(target: &str, version: &str, body: String) -> Request {
        Request {
            method: "POST",
            path: "/".into(),
            headers: vec![
                ("x-amz-target", target.into()),
                ("content-type", format!("application/x-amz-json-{version}")),
            ],
            body: body.into_bytes(),
            ..Request::default()
        }
    }

    /// An operation of a service that speaks REST.
    pub fn rest(method: &'static str, path: impl Into<String>, body: Vec<u8>) -> Request {
        Request { method, path: path.into(), body, ..Request::default() }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, if the status is one of success.
    pub fn json(&self) -> Result<serde_json::Value> {
        self.ok()?;
        serde_json::from_slice(&self.body).context("the answer is no JSON")
    }

    pub fn ok(&self) -> Result<()> {
        if !(200..300).contains(&self.status) {
            bail!("answered {}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        Ok(())
    }
}

/// A connection that signs for one service.
pub struct Connection {
    stream: TcpStream,
    signer: Signer,
    host: String,
    /// What was read of an answer is in its first `filled` bytes.
    buffer: Vec<u8>,
    filled: usize,
    out: Vec<u8>,
    /// Signed requests without a body, by what they ask; a signature holds for minutes.
    signed: HashMap<(&'static str, String), Vec<u8>>,
    signed_at: Instant,
    /// The last signed requests with a body; what is asked over and over takes the client no signing.
    last: VecDeque<(Request, Vec<u8>)>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// For how long a signature is used again.
const SIGNATURE_LIVES: Duration = Duration::from_secs(60);
/// Signed requests with a body that are kept: those of a cycle of a few.
const MOST_LAST: usize = 4;
/// Signed requests that are kept.
const MOST_SIGNED: usize = 20_000;

impl Connection {
    pub fn open(address: SocketAddr, service: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let signer = Signer::new("test", "test", "us-east-1", service);
        Ok(Connection {
            stream,
            signer,
            host: address.to_string(),
            buffer: vec![0; PART],
            filled: 0,
            out: Vec::new(),
            signed: HashMap::new(),
            signed_at: Instant::now(),
            last: VecDeque::new(),
        })
    }

    /// Sends and waits for the whole answer.
    pub fn call(&mut self, request: &Request) -> Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    /// Sends; the answer is to be received before anything else is sent.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        if self.signed_at.elapsed() > SIGNATURE_LIVES || self.signed.len() > MOST_SIGNED {
            self.signed.clear();
            self.last.clear();
            self.signed_at = Instant::now();
        }
        if !request.body.is_empty() || !request.headers.is_empty() || !request.query.is_empty() {
            let known = self.last.iter().position(|(last, _)| last == request);
            if let Some(found) = known.and_then(|at| self.last.remove(at)) {
                self.stream.write_all(&found.1)?;
                self.last.push_front(found);
                return Ok(());
            }
            self.write(request)?;
            self.stream.write_all(&self.out)?;
            self.last.truncate(MOST_LAST - 1);
            self.last.push_front((request.clone(), self.out.clone()));
            return Ok(());
        }
        let key = (request.method, request.path.clone());
        if !self.signed.contains_key(&key) {
            self.write(request)?;
            self.signed.insert(key.clone(), self.out.clone());
        }
        Ok(self.stream.write_all(&self.signed[&key])?)
    }

    fn write(&mut self, request: &Request) -> Result<()> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert("host", HeaderValue::from_str(&self.host)?);
        for (name, value) in &request.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let payload = PayloadToSign::Bytes(&request.body);
        let signed = self.signer.sign_headers(
            request.method,
            &request.path,
            &request.query,
            &mut headers,
            payload,
            i64::try_from(now)?,
        );
        signed.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        self.out.clear();
        let mark = if request.query.is_empty() { "" } else { "?" };
        write!(self.out, "{} {}{mark}{} HTTP/1.1\r\n", request.method, request.path, request.query)?;
        for (name, value) in &headers {
            self.out.extend_from_slice(name.as_str().as_bytes());
            self.out.extend_from_slice(b": ");
            self.out.extend_from_slice(value.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
        write!(self.out, "content-length: {}\r\n\r\n", request.body.len())?;
        self.out.extend_from_slice(&request.body);
        Ok(())
    }

    /// Waits for the whole answer to what was sent.
    pub fn receive(&mut self) -> Result<Answer> {
        self.filled = 0;
        let end = loop {
            if let Some(at) = memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let status = head.get(9..12).and_then(|code| code.parse().ok()).context("no status line")?;
        let body = match (header(head, "content-length"), header(head, "transfer-encoding")) {
            (Some(length), _) => self.counted(end, length.parse()?)?,
            (None, Some(_)) => self.chunked(end)?,
            (None, None) => Vec::new(),
        };
        Ok(Answer { status, body })
    }

    fn counted(&mut self, from: usize, length: usize) -> Result<Vec<u8>> {
        while self.filled < from + length {
            self.more()?;
        }
        Ok(self.buffer[from..from + length].to_vec())
    }

    fn chunked(&mut self, mut at: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = memmem::find(&self.buffer[at..self.filled], b"\r\n") {
                    break at + end;
                }
                self.more()?;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[at..line])?.trim(), 16)?;
            at = line + 2;
            while self.filled < at + size + 2 {
                self.more()?;
            }
            body.extend_from_slice(&self.buffer[at..at + size]);
            at += size + 2;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn more(&mut self) -> Result<()> {
        if self.buffer.len() - self.filled < PART {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = self.stream.read(&mut self.buffer[self.filled..])?;
        if count == 0 {
            bail!("the connection was closed in the middle of an answer");
        }
        self.filled += count;
        Ok(())
    }
}

/// The value of a header in an answer's head.
fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_at_checked(wanted.len())?;
        let value = value.strip_prefix(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answer(raw: &'static str) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut part = [0; 4096];
            let count = stream.read(&mut part).expect("a request");
            for piece in raw.as_bytes().chunks(7) {
                stream.write_all(piece).expect("sent");
            }
            String::from_utf8_lossy(&part[..count]).into_owned()
        });
        let mut connection = Connection::open(address, "dynamodb").expect("connected");
        let answer = connection.call(&Request::json("X.Y", "1.0", "{}".into())).expect("answered");
        assert!(server.join().expect("served").contains("AWS4-HMAC-SHA256 Credential=test/"));
        answer
    }

    #[test]
    fn counted_and_chunked_answers_are_read() {
        let counted = answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((counted.status, counted.body.as_slice()), (200, b"hello".as_slice()));
        let chunked =
            answer("HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
        assert_eq!((chunked.status, chunked.body.as_slice()), (400, b"hello".as_slice()));
    }
}
