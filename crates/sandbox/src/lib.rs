//! Running functions: sandboxes, the runtimes inside them, and the Runtime API they speak.
//!
//! Plain data in, plain data out: a [`FunctionSpec`] and an [`Invocation`] go in, an [`Outcome`] comes back and log lines go to a
//! [`LogSink`]. Nothing here knows a Lambda resource, a store or a request; the caller resolves those. Begin at `executor.rs`, then
//! `sandbox.rs` (one live sandbox) and `spawner/` (the small process that makes them).

mod admission;
mod async_fd;
mod body;
mod cgroup;
mod channel;
mod conclusion;
mod config;
mod diary;
mod environment;
mod executor;
mod extensions;
mod farewell;
mod function;
mod init;
mod java;
mod link;
mod log_format;
mod logs;
mod memory_watch;
mod network;
mod outcome;
mod outside;
mod pool;
mod provisioned;
mod report;
mod runtime_api;
pub mod runtimes;
mod sandbox;
mod sandbox_api;
mod scratch;
mod snapshot;
mod snapshot_gate;
mod snapshots;
mod spawner;
mod startup;
mod streamed;
mod telemetry;
mod verdict;
mod waiting;
mod walls;
mod wasm;
mod zygote;

pub use config::{
    ConnectionHandler, Credentials, CredentialsProvider, ExecutorConfig, Hooks, LogLine, LogSink,
    SegmentSink, Tier, TierChoice, TierReport,
};
pub use executor::{Executor, PoolStats};
pub use function::{FunctionSpec, Initialization, Invocation, Tracing};
pub use log_format::{JsonLogs, LogLevel};
pub use outcome::{FunctionErrorKind, Outcome, Overhead, SandboxError};
pub use provisioned::Provisioned;
pub use snapshots::Snapshotted;
pub use spawner::{SPAWNER_ARG, spawner_main};

pub use streamed::{Piece, STREAM_MAX};
pub use tidemill_wasm::MOST_BYTES as WASM_MAX;
pub use walls::{Wall, walls};
pub use wasm::{RUNTIME as WASM_RUNTIME, wasm_files};
