//! The request path: sockets, the pipeline every request goes through, and the decision which service it is for.
//! `pipeline.rs` is that way as a list and the place to begin; `route.rs` is the decision table; `server.rs` the sockets.
//!
//! It speaks no protocol (see `wire`), proves no signature (see `sigv4`) and knows of services only what tells their
//! requests apart. TLS is the caller's: [`Gateway::serve_connection`] takes any stream.

mod activity;
mod answer;
mod content;
mod cors;
mod detached;
mod directory;
mod exchange;
mod gateway;
mod host;
mod http_steps;
mod identify;
mod ids;
mod pipeline;
mod route;
mod server;
mod steps;
mod streamed;
mod upload;
mod welcome;

pub use gateway::{Access, Auth, Authorizer, Caller, Gateway, GatewayConfig};
pub use http_steps::{HostBucket, HostId};
pub use identify::Authenticated;
pub use server::{Peer, listen};
pub use upload::BodyError;
