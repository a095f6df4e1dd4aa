//! The spawner: a small single-threaded process (this program, started again) that makes sandboxes.
//!
//! A process with threads cannot safely fork and go on in Rust, so the platform keeps this child which can. It builds the read-only root once
//! (`template.rs`), forks a cell's init for each sandbox (`cell.rs`) and starts zygotes. It ends when the platform's end of its socket closes.

mod cell;
mod client;
mod confine;
pub(crate) mod fds;
mod landlock;
pub(crate) mod messages;
mod mounts;
mod serve;
mod snapshot;
mod template;
mod tun;

pub(crate) use cell::RUNTIME_API_PORT;
pub(crate) use client::{Cell, Control, Socket, Spawner};
pub(crate) use confine::{filter_program, filter_program_with_gate};
pub(crate) use landlock::usable as landlock_version;
pub(crate) use tun::MTU as TUN_MTU;

/// The first argument with which the program is started again as the spawner.
pub const SPAWNER_ARG: &str = "__sandbox";

/// Runs the spawner, or the compiler of WebAssembly, if this process was started as one, and gives its exit code. Call it first thing in `main`, before any thread exists:
///
/// ```no_run
/// if let Some(code) = tidemill_sandbox::spawner_main() {
///     std::process::exit(code);
/// }
/// ```
pub fn spawner_main() -> Option<i32> {
    if let Some(code) = tidemill_wasm::compile_main() {
        return Some(code);
    }
    if std::env::args_os().nth(1)? != SPAWNER_ARG {
        return None;
    }
    Some(serve::run())
}
