//! WebAssembly programs as functions: a module is compiled once, and every invocation gets a fresh instance of it.
//!
//! A program is a WASI command: a component of the world `wasi:cli/command` (preview 2), or a core module of preview 1 with a `_start`.
//! The event is its standard input, what it writes to standard output is the answer, standard error is its log. Nothing here knows a
//! Lambda function; `tidemill-sandbox` does the wording and the logs. Begin at `host.rs`, then `run.rs` (one invocation),
//! `compile.rs` (in a process of its own) and `shelf.rs` (what was compiled, kept on disk).

mod compile;
mod engine;
mod host;
mod limits;
mod outgoing;
mod output;
mod program;
mod run;
mod shelf;

pub use compile::{COMPILE_ARG, MOST_BYTES, compile_main};
pub use host::Host;
pub use program::{Program, Refused};
pub use run::{Call, End, Ended, Network, fits};
