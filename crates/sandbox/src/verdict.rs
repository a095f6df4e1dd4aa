//! How an init phase or an invocation went, and what Lambda answers and logs for it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::extensions::Failure;
use crate::report::{self, Exit};
use crate::snapshots::Snapshotted;

/// How an init phase or an invocation went.
#[derive(Debug)]
pub enum Verdict {
    Done(Bytes),
    Failed {
        kind: String,
        body: Bytes,
    },
    /// Larger than this many bytes.
    TooLarge(usize),
    /// It did not answer within this time.
    TimedOut(Duration),
    Exited(Exit),
    /// A WebAssembly program did what it must not.
    Trapped(String),
    /// There is no `bootstrap`, or it cannot be started: its path and why.
    NoEntrypoint(Option<(String, String)>),
    /// An extension could not be started, ended or gave up.
    Extension(Failure),
}

/// A verdict in Lambda's words.
#[derive(Default)]
pub struct Concluded {
    pub payload: Bytes,
    pub error_type: Option<String>,
    pub line: Option<String>,
    pub status: Option<&'static str>,
    /// The REPORT line's type, which tells running out of memory apart where the answer does not.
    pub reported_kind: Option<String>,
    pub out_of_memory: bool,
}

impl Verdict {
    /// The failed init phase of a version that was to be snapshotted, in the words of its state.
    pub fn of_snapshot(self) -> Snapshotted {
        let code = match &self {
            Verdict::TimedOut(_) => "FunctionError.InitTimeout",
            Verdict::Exited(_) => "FunctionError.RuntimeExitError",
            Verdict::NoEntrypoint(_) => "FunctionError.InvalidEntryPoint",
            Verdict::Extension(_) => "FunctionError.ExtensionInitError",
            _ => "FunctionError",
        };
        let said = self.conclude("", false).payload;
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        let text = |name: &str| said.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let reason = format!("{}: {}", text("errorType"), text("errorMessage"));
        Snapshotted::Failed { code, reason }
    }

    /// `out_of_memory` says whether the kernel ended something in the sandbox for want of memory.
    pub fn conclude(self, request_id: &str, out_of_memory: bool) -> Concluded {
        match self {
            Verdict::Done(payload) => Concluded { payload, ..Concluded::default() },
            Verdict::Failed { kind, body } => {
                Concluded { payload: body, error_type: Some(kind), ..Concluded::default() }
            }
            Verdict::TooLarge(limit) => {
                let (kind, payload) = report::too_large(limit);
                Concluded { payload, error_type: Some(kind), ..Concluded::default() }
            }
            Verdict::TimedOut(timeout) => {
                let (kind, payload) = report::timed_out(request_id, timeout);
                let line = report::timed_out_line(SystemTime::now(), request_id, timeout);
                Concluded {
                    payload,
                    error_type: Some(kind),
                    line: Some(line),
                    status: Some("timeout"),
                    ..Concluded::default()
                }
            }
            Verdict::Exited(exit) => {
                let out_of_memory = out_of_memory && exit == Exit::Signal(libc::SIGKILL);
                let (kind, payload, line) = report::exited(request_id, exit);
                let reported = if out_of_memory { "Runtime.OutOfMemory".to_owned() } else { kind.clone() };
                Concluded {
                    payload,
                    error_type: Some(kind),
                    line: Some(line),
                    status: Some("error"),
                    reported_kind: Some(reported),
                    out_of_memory,
                }
            }
            Verdict::Trapped(reason) => {
                let (kind, payload, line) = report::trapped(request_id, &reason);
                Concluded {
                    payload,
                    error_type: Some(kind.clone()),
                    line: Some(line),
                    status: Some("error"),
                    reported_kind: Some(kind),
                    out_of_memory: false,
                }
            }
            Verdict::Extension(failure) => {
                let (kind, payload, line) =
                    report::extension_failed(request_id, failure.kind, &failure.message);
                Concluded {
                    payload,
                    error_type: Some(kind.clone()),
                    line: Some(line),
                    status: Some("error"),
                    reported_kind: Some(kind),
                    out_of_memory: false,
                }
            }
            Verdict::NoEntrypoint(refused) => {
                let (kind, payload, line) = match refused {
                    None => report::no_bootstrap(request_id),
                    Some((path, reason)) => report::invalid_entrypoint(request_id, &path, &reason),
                };
                Concluded {
                    payload,
                    error_type: Some(kind.clone()),
                    line: Some(line),
                    status: Some("error"),
                    reported_kind: Some(kind),
                    out_of_memory: false,
                }
            }
        }
    }
}
