//! What comes back from an invocation: the function's own outcome, or an error of ours.

use std::time::Duration;

use bytes::Bytes;

/// What a function answered. A function that failed, timed out or died is an outcome too: `function_error` says so.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The response, or the error object `{"errorType": ..., "errorMessage": ...}`; at most 6,291,556 bytes. Empty when the response
    /// went to the invocation's `pieces`.
    pub payload: Bytes,
    /// What goes into `X-Amz-Function-Error`.
    pub function_error: Option<FunctionErrorKind>,
    /// The error's type when there is one (`ValueError`, `Runtime.ExitError`, `Sandbox.Timedout`).
    pub error_type: Option<String>,
    /// From the hand-over to the runtime to its answer.
    pub duration: Duration,
    /// Duration plus init, rounded up to whole milliseconds.
    pub billed_ms: u64,
    /// The init phase, when this invocation was a cold start.
    pub init: Option<Duration>,
    pub memory_mb: u32,
    pub max_memory_mb: u32,
    /// The stream this invocation's lines went to, `2026/11/23/[$LATEST]<32 hex>`.
    pub log_stream: String,
    /// The last 4 KiB of this invocation's log: what `LogType=Tail` returns (before base64).
    pub log_tail: Bytes,
    pub cold: bool,
    pub overhead: Overhead,
}

impl Outcome {
    /// How it went, for people: `ran 39 ms, cold start`.
    pub fn told(&self) -> String {
        format!("ran {} ms{}", self.duration.as_millis(), if self.cold { ", cold start" } else { "" })
    }
}

/// Where the platform's own time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overhead {
    /// Finding or making the sandbox, without the function's init.
    pub acquire: Duration,
    /// Everything of the invocation that was neither init nor the function's own duration (`acquire` included).
    pub total: Duration,
}

/// Lambda distinguishes errors the runtime reported from those nobody caught; today it answers `Unhandled` for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionErrorKind {
    Handled,
    Unhandled,
}

impl FunctionErrorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "Handled",
            Self::Unhandled => "Unhandled",
        }
    }
}

/// The platform could not run the function. Its text tells a person what to do.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No such runtime name, or one we do not run.
    #[error(
        "The runtime {runtime} is not one this platform runs. Supported: python3.9 and later, nodejs16.x and later, java8.al2, java11, java17, java21, java25, provided, provided.al2, provided.al2023, provided.wasm."
    )]
    UnsupportedRuntime { runtime: String },
    /// The machine lacks the interpreter.
    #[error("The runtime {runtime} needs {needs}, which is not on this machine (found: {found}). {hint}")]
    InterpreterMissing { runtime: String, needs: String, found: String, hint: String },
    /// The function's code or a layer is not where the spec says, or cannot be read.
    #[error("The code of function {function} cannot be used: {reason}")]
    Code { function: String, reason: String },
    /// All memory is promised to sandboxes that are busy: answer 429 and retry later.
    #[error("All {limit_mb} MB of function memory are in use by running functions.")]
    Busy { limit_mb: u64 },
    /// A sandbox could not be made.
    #[error("A sandbox could not be made ({step}): {reason}")]
    Launch { step: &'static str, reason: String },
    /// A WebAssembly program that cannot be compiled or linked.
    #[error("The WebAssembly program cannot be run: {reason}.")]
    Program { reason: String },
    /// A program that cannot be started. Never leaves the executor: it becomes a `Runtime.InvalidEntrypoint` outcome.
    #[error("fork/exec {path}: {reason}")]
    Entrypoint { path: String, reason: String },
    /// The executor was shut down.
    #[error("The function executor has been shut down.")]
    ShutDown,
}
