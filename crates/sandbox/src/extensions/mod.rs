//! Extensions: programs of layers that run beside a function, and parts of the function that registered themselves.
//!
//! `registry.rs` is who they are and what they wait for, `api.rs` the Extensions API they speak, `external.rs` starts those that layers bring,
//! `../telemetry` is the stream of events they may subscribe to. The phases themselves are `sandbox.rs`'s.

mod api;
mod external;
mod registry;

pub use api::{answer, forbid, identify};
pub use external::{start, wanted};
pub use registry::{Extensions, Failure, InvokeEvent, ShutdownReason};
