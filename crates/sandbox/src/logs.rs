//! What a function prints: one pipe for stdout, stderr and framed events of several lines, cut into log lines and handed to the sink.
//!
//! Memory stays bounded: lines over 256 KiB are split, a few batches wait for the sink, and when those are full the pipe is not read, so the
//! function's next write waits. Nothing is dropped.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memchr::memchr;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::telemetry::{Kind, Telemetry};
use crate::{FunctionSpec, JsonLogs, LogLine, LogSink};

/// CloudWatch Logs' limit of an event, in bytes.
const LINE_MAX: usize = 256 * 1024;
const TAIL_MAX: usize = 4096;
const BATCH_MAX: usize = 256 * 1024;
const BATCHES_WAITING: usize = 4;
/// A line reaches the sink this much later at most; lines printed together travel together.
const FLUSH_AFTER: Duration = Duration::from_millis(25);
const READ_SIZE: usize = 64 * 1024;
/// How much of a function's output is still taken when it has already answered: what a pipe holds, and then some.
const DRAIN_MAX: usize = 1 << 20;

/// Where a log stream's batches go.
pub type LogSender = mpsc::Sender<Vec<LogLine>>;

/// Reads a sandbox's pipe. Belongs to whoever runs its invocation; nobody reads while the sandbox is idle.
pub struct LogReader {
    pipe: pipe::Receiver,
    buffer: Vec<u8>,
    parser: Parser,
    out: Outbox,
    closed: bool,
}

impl LogReader {
    /// A new pipe: the reader, and the end functions write to.
    pub fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        let pipe = pipe::Receiver::from_owned_fd(read)?;
        Ok((
            Self {
                pipe,
                buffer: Vec::new(),
                parser: Parser::default(),
                out: Outbox::default(),
                closed: false,
            },
            write,
        ))
    }

    /// From now on lines go to `sink`. A task of its own waits for the sink, so that a slow one does not hold answers up.
    pub fn attach(
        &mut self,
        sink: Arc<dyn LogSink>,
        function: Arc<FunctionSpec>,
        log_stream: Arc<str>,
    ) -> LogSender {
        let (sender, mut receiver) = mpsc::channel::<Vec<LogLine>>(BATCHES_WAITING);
        self.share(sender.clone());
        self.out.json = function.json_logs;
        tokio::spawn(async move {
            while let Some(lines) = receiver.recv().await {
                sink.write(&function, &log_stream, lines).await;
            }
        });
        sender
    }

    /// From now on lines go where another reader's go.
    pub fn share(&mut self, sender: LogSender) {
        self.out.sender = Some(sender);
    }

    /// From now on telemetry hears of what is printed.
    pub fn watched_by(&mut self, telemetry: Arc<Telemetry>, kind: Kind) {
        self.out.telemetry = Some((telemetry, kind));
    }

    /// Begins the tail of a new invocation.
    pub fn begin(&mut self) {
        self.out.tail.clear();
    }

    /// A line of the platform's own. A log in JSON has telemetry's events instead.
    pub fn add(&mut self, message: String) {
        if self.out.json.is_none() {
            self.out.push(message);
        }
    }

    /// Takes output as it comes, for ever. Lines wait a moment for others before they go to the sink. May be dropped at any await.
    pub async fn pump(&mut self) {
        loop {
            if self.out.size >= BATCH_MAX {
                self.out.flush().await;
            }
            let due = self.out.first_at.map(|first| first + FLUSH_AFTER);
            tokio::select! {
                readable = self.pipe.readable(), if !self.closed => {
                    self.closed = readable.is_err() || self.read_some().is_err() || self.closed;
                }
                () = until(due) => self.out.flush().await,
            }
        }
    }

    /// Takes what has been written so far; `last` also takes an unfinished line.
    pub async fn drain(&mut self, last: bool) {
        let mut taken = 0;
        while taken < DRAIN_MAX && !self.closed {
            match self.read_now() {
                Ok(0) | Err(_) => break,
                Ok(read) => taken += read,
            }
            if self.out.size >= BATCH_MAX {
                self.out.flush().await;
            }
        }
        if last {
            self.parser.finish(&mut self.out);
        }
    }

    /// Hands the lines so far to the sink's task.
    pub async fn flush(&mut self) {
        self.out.take_journal();
        self.out.flush().await;
    }

    pub fn tail(&mut self) -> Bytes {
        self.out.take_journal();
        Bytes::from(self.out.tail.iter().copied().collect::<Vec<u8>>())
    }

    /// The printed text so far of something that is not a function yet: why a bootstrap did not start.
    pub async fn into_text(mut self) -> String {
        self.drain(true).await;
        self.out.lines.iter().map(|line| line.message.as_str()).collect()
    }

    /// Passes on what is printed by something that is not a function, until it ends.
    pub async fn into_trace(mut self, who: String) {
        while !self.closed && self.pipe.readable().await.is_ok() {
            if self.read_some().is_err() {
                return;
            }
            for line in self.out.lines.drain(..) {
                tracing::warn!("{who}: {}", line.message.trim_end());
            }
        }
    }

    fn read_some(&mut self) -> io::Result<usize> {
        self.buffer.resize(READ_SIZE, 0);
        let read = self.pipe.try_read(&mut self.buffer);
        self.took(read)
    }

    /// Asks the pipe itself: what was written this moment may not have been announced to the runtime yet.
    fn read_now(&mut self) -> io::Result<usize> {
        self.buffer.resize(READ_SIZE, 0);
        let read = nix::unistd::read(&self.pipe, &mut self.buffer).map_err(io::Error::from);
        self.took(read)
    }

    fn took(&mut self, read: io::Result<usize>) -> io::Result<usize> {
        match read {
            Ok(0) => {
                self.closed = true;
                self.parser.finish(&mut self.out);
                Ok(0)
            }
            Ok(read) => {
                self.parser.take(self.buffer.get(..read).unwrap_or_default(), &mut self.out);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Finished lines on their way out, and the tail of the current invocation.
#[derive(Default)]
struct Outbox {
    lines: Vec<LogLine>,
    size: usize,
    first_at: Option<Instant>,
    tail: VecDeque<u8>,
    sender: Option<LogSender>,
    telemetry: Option<(Arc<Telemetry>, Kind)>,
    json: Option<JsonLogs>,
}

impl Outbox {
    /// A line somebody else than the platform wrote.
    fn print(&mut self, message: String) {
        if let Some((telemetry, kind)) = &self.telemetry {
            telemetry.printed(*kind, &message);
        }
        self.take_journal();
        if self.json.is_none_or(|levels| levels.shows_line(&message)) {
            self.push(message);
        }
    }

    /// What the platform did comes before what is printed after it.
    fn take_journal(&mut self) {
        if self.json.is_some()
            && let Some((telemetry, Kind::Function)) = &self.telemetry
        {
            telemetry.take_journal().into_iter().for_each(|line| self.push(line));
        }
    }

    fn push(&mut self, message: String) {
        let bytes = message.as_bytes();
        self.tail.extend(bytes.iter().skip(bytes.len().saturating_sub(TAIL_MAX)));
        while self.tail.len() > TAIL_MAX {
            self.tail.pop_front();
        }
        self.size += message.len();
        self.first_at.get_or_insert_with(Instant::now);
        let timestamp_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        self.lines.push(LogLine { timestamp_ms, message });
    }

    /// The batch stays here until there is room, so that dropping this future loses nothing.
    async fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let Some(sender) = &self.sender else { return };
        if let Ok(permit) = sender.reserve().await {
            permit.send(std::mem::take(&mut self.lines));
        }
        self.lines.clear();
        self.size = 0;
        self.first_at = None;
    }
}

/// Cuts bytes into lines and frames. A frame is `A55A0003`, its length with a more-follows bit on top, microseconds, text; bootstraps
/// write it in chunks of at most PIPE_BUF, which the kernel never mixes with other writes.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    header: Vec<u8>,
    frame: Vec<u8>,
    frame_left: usize,
    frame_continues: bool,
}

const FRAME_MAGIC: [u8; 4] = 0xA55A_0003u32.to_le_bytes();
const FRAME_HEADER: usize = 16;
const FRAME_MORE: u32 = 1 << 31;

impl Parser {
    fn take(&mut self, mut bytes: &[u8], out: &mut Outbox) {
        while !bytes.is_empty() {
            bytes = if self.frame_left > 0 {
                self.take_frame(bytes, out)
            } else if !self.header.is_empty() {
                self.take_header(bytes)
            } else {
                self.take_plain(bytes, out)
            };
        }
    }

    fn take_frame<'a>(&mut self, bytes: &'a [u8], out: &mut Outbox) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(self.frame_left));
        self.frame_left -= now.len();
        self.frame.extend_from_slice(now);
        if self.frame.len() >= LINE_MAX || (self.frame_left == 0 && !self.frame_continues) {
            let frame = std::mem::take(&mut self.frame);
            push_split(&frame, out);
        }
        rest
    }

    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(FRAME_HEADER - self.header.len()));
        self.header.extend_from_slice(now);
        let magic = self.header.len().min(FRAME_MAGIC.len());
        if self.header.get(..magic) != FRAME_MAGIC.get(..magic) {
            // Not a frame after all: a byte of plain output that looked like one.
            self.line.append(&mut self.header);
        } else if self.header.len() == FRAME_HEADER {
            let length = self.header.get(4..8).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
            self.frame_continues = length & FRAME_MORE != 0;
            self.frame_left = (length & !FRAME_MORE) as usize;
            self.header.clear();
        }
        rest
    }

    fn take_plain<'a>(&mut self, bytes: &'a [u8], out: &mut Outbox) -> &'a [u8] {
        let newline = memchr(b'\n', bytes);
        let magic = memchr(FRAME_MAGIC[0], bytes);
        match (newline, magic) {
            (newline, Some(at)) if newline.is_none_or(|n| at < n) => {
                let (plain, rest) = bytes.split_at(at);
                self.extend_line(plain, out);
                let (first, rest) = rest.split_at(1);
                self.header.extend_from_slice(first);
                rest
            }
            (Some(at), _) => {
                let (plain, rest) = bytes.split_at(at + 1);
                self.extend_line(plain, out);
                let line = std::mem::take(&mut self.line);
                push_split(&line, out);
                rest
            }
            (None, _) => {
                self.extend_line(bytes, out);
                &[]
            }
        }
    }

    fn extend_line(&mut self, bytes: &[u8], out: &mut Outbox) {
        self.line.extend_from_slice(bytes);
        while self.line.len() > LINE_MAX {
            let rest = self.line.split_off(char_border(&self.line, LINE_MAX));
            let line = std::mem::replace(&mut self.line, rest);
            push_split(&line, out);
        }
    }

    fn finish(&mut self, out: &mut Outbox) {
        self.line.append(&mut self.header);
        for rest in [std::mem::take(&mut self.frame), std::mem::take(&mut self.line)] {
            push_split(&rest, out);
        }
    }
}

/// Pushes text as events of at most 256 KiB each.
fn push_split(mut bytes: &[u8], out: &mut Outbox) {
    while !bytes.is_empty() {
        let (now, rest) = bytes.split_at(char_border(bytes, LINE_MAX));
        out.print(String::from_utf8_lossy(now).into_owned());
        bytes = rest;
    }
}

/// The last position up to `max` that does not cut a UTF-8 character.
fn char_border(bytes: &[u8], max: usize) -> usize {
    if bytes.len() <= max {
        return bytes.len();
    }
    let is_border = |at: usize| bytes.get(at).is_none_or(|byte| byte & 0xC0 != 0x80);
    (max.saturating_sub(3)..=max).rev().find(|at| is_border(*at)).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut out) = (Parser::default(), Outbox::default());
        for chunk in chunks {
            parser.take(chunk, &mut out);
        }
        parser.finish(&mut out);
        out.lines.into_iter().map(|line| line.message).collect()
    }

    fn frame(text: &str, more: bool) -> Vec<u8> {
        let length = text.len() as u32 | if more { FRAME_MORE } else { 0 };
        [&FRAME_MAGIC[..], &length.to_le_bytes(), &[0; 8], text.as_bytes()].concat()
    }

    #[tokio::test]
    async fn what_was_written_this_moment_is_drained() {
        let (mut log, pen) = LogReader::pipe().unwrap();
        log.read_some().unwrap();
        nix::unistd::write(&pen, b"late\n").unwrap();
        log.drain(false).await;
        assert_eq!(log.tail(), "late\n");
    }

    #[test]
    fn plain_output_is_cut_at_newlines() {
        assert_eq!(lines(&[b"one\ntw", b"o\n\nthree"]), ["one\n", "two\n", "\n", "three"]);
    }

    #[test]
    fn a_frame_is_one_event_however_it_arrives() {
        let bytes = [b"plain\n".to_vec(), frame("a\nb\n", false), b"after\n".to_vec()].concat();
        assert_eq!(lines(&[&bytes]), ["plain\n", "a\nb\n", "after\n"]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(lines(&single), ["plain\n", "a\nb\n", "after\n"]);
    }

    #[test]
    fn chunks_of_a_frame_are_joined_and_output_between_them_kept() {
        let bytes = [frame("a\n", true), b"other\n".to_vec(), frame("b\n", false)].concat();
        assert_eq!(lines(&[&bytes]), ["other\n", "a\nb\n"]);
    }

    #[test]
    fn bytes_that_only_look_like_a_frame_stay_text() {
        assert_eq!(lines(&[&[3, 0, b'x', b'\n']]), ["\u{3}\0x\n"]);
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let text = "é".repeat(LINE_MAX);
        let parts = lines(&[text.as_bytes()]);
        assert!(parts.iter().all(|part| part.len() <= LINE_MAX && !part.contains('\u{FFFD}')));
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn the_tail_is_the_last_four_kibibytes() {
        let mut out = Outbox::default();
        out.push("x".repeat(5000));
        out.push("end\n".into());
        assert_eq!(out.tail.len(), TAIL_MAX);
        assert!(out.tail.iter().copied().collect::<Vec<_>>().ends_with(b"xend\n"));
    }
}
