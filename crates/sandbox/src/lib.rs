//! Running functions: sandboxes, the runtimes inside them, and the Runtime API they speak.
//!
//! Plain data in, plain data out: a [`FunctionSpec`] and an [`Invocation`] go in, an [`Outcome`] comes back and log lines go to a
//! [`LogSink`]. Nothing here knows a Lambda resource, a store or a request; the caller resolves those. Begin at `executor.rs`, then
//! `sandbox.rs` (one live sandbox) and `spawner/` (the small process that makes them).

mod async_fd;
mod body;
mod cgroup;
mod channel;
mod config;
mod environment;
mod executor;
mod function;
mod link;
mod logs;
mod memory_watch;
mod network;
mod outcome;
mod outside;
mod pool;
mod report;
mod runtime_api;
pub mod runtimes;
mod sandbox;
mod scratch;
mod spawner;
mod startup;
mod verdict;
mod waiting;
mod zygote;

pub use config::{
    ConnectionHandler, Credentials, CredentialsProvider, ExecutorConfig, Hooks, LogLine, LogSink,
    SegmentSink, Tier, TierChoice, TierReport,
};
pub use executor::{Executor, PoolStats};
pub use function::{FunctionSpec, Invocation, Tracing};
pub use outcome::{FunctionErrorKind, Outcome, Overhead, SandboxError};
pub use spawner::{SPAWNER_ARG, spawner_main};
