//! One conversation with a runtime, whichever way it speaks: our bootstraps' channel or the Runtime API.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;

use crate::channel::{Answer, Channel};
use crate::runtime_api::{ApiLink, Event, Job};
use crate::{Invocation, Piece};

pub enum Link {
    Channel(Channel),
    Api(ApiLink),
}

/// What a runtime said, in one form.
#[derive(Debug)]
pub enum Said {
    Ready {
        rss_kb: u64,
    },
    InitError {
        kind: String,
        body: Bytes,
        rss_kb: u64,
    },
    /// A part of a streamed answer; an empty response or an error ends it.
    Piece(Piece),
    /// `None`: larger than Lambda allows.
    Response {
        body: Option<Bytes>,
        rss_kb: u64,
    },
    Error {
        kind: String,
        body: Bytes,
        rss_kb: u64,
        /// Whether the runtime ends after it.
        last: bool,
    },
}

#[derive(Serialize)]
struct InvokeHeader<'a> {
    id: &'a str,
    deadline_ms: u64,
    arn: &'a str,
    trace: Option<&'a str>,
    client: Option<&'a str>,
    identity: Option<&'a str>,
}

impl Link {
    /// Hands an invocation over.
    pub async fn invoke(
        &mut self,
        invocation: &Invocation,
        arn: &str,
        deadline: SystemTime,
    ) -> io::Result<()> {
        let arn = invocation.invoked_arn.as_deref().unwrap_or(arn);
        match self {
            Self::Channel(channel) => {
                let header = InvokeHeader {
                    id: &invocation.request_id,
                    deadline_ms: deadline
                        .duration_since(UNIX_EPOCH)
                        .map_or(0, |since| since.as_millis() as u64),
                    arn,
                    trace: invocation.trace_header.as_deref(),
                    client: invocation.client_context.as_deref(),
                    identity: invocation.cognito_identity.as_deref(),
                };
                channel.send(&header, &invocation.payload).await
            }
            Self::Api(api) => {
                let invocation = Invocation { pieces: None, ..invocation.clone() };
                let job = Job { invocation, arn: arn.to_owned(), deadline };
                api.jobs.send(job).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// The next thing the runtime says; `None` when it has closed its side. May be dropped and called again.
    pub async fn listen(&mut self) -> Option<Said> {
        match self {
            Self::Channel(channel) => {
                let frame = channel.receive().await.ok()??;
                let body = frame.body.ok();
                Some(match frame.answer {
                    Answer::Ready { rss } => Said::Ready { rss_kb: rss },
                    Answer::InitError { kind, rss } => {
                        Said::InitError { kind, body: body.unwrap_or_default(), rss_kb: rss }
                    }
                    Answer::Begin { content_type } => Said::Piece(Piece::Begin { content_type }),
                    Answer::Chunk => Said::Piece(Piece::Data(body.unwrap_or_default())),
                    Answer::Response { rss } => Said::Response { body, rss_kb: rss },
                    Answer::Error { kind, rss, last } => match body {
                        Some(body) => Said::Error { kind, body, rss_kb: rss, last },
                        None => Said::Response { body: None, rss_kb: rss },
                    },
                })
            }
            Self::Api(api) => Some(match api.events.recv().await? {
                Event::Next => Said::Ready { rss_kb: 0 },
                Event::InitError { kind, body } => Said::InitError { kind, body, rss_kb: 0 },
                Event::Piece(piece) => Said::Piece(piece),
                Event::Response { body } => Said::Response { body, rss_kb: 0 },
                Event::Error { kind, body, last } => Said::Error { kind, body, rss_kb: 0, last },
            }),
        }
    }
}
