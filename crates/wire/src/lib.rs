//! Bytes to typed values and back. A protocol is a way to fill a [`tidemill_api::Reader`] and to drain a
//! [`tidemill_api::Writer`]; shapes know nothing of it, and this crate knows no service.
//!
//! A request goes through [`route::Router`] (which operation, spoken how), then [`decode`] (bytes → input, with every
//! constraint of the contract checked); its answer through [`encode`] or [`encode_fault`]. Documents are in `json`,
//! `xml` and `cbor`; what stands around them in `aws_json`, `aws_query`, `rest` and `rpc_cbor`; streams of events in
//! [`event_stream`]. Inside the platform, [`value`] reads and writes typed shapes as JSON values.

mod aws_json;
pub mod aws_query;
mod cbor;
mod codec;
mod document;
pub mod dynamic;
pub mod event_stream;
mod fault;
mod json;
mod message;
pub mod pattern;
mod rest;
pub mod route;
mod rpc_cbor;
mod scalar;
pub mod text;
pub mod validate;
pub mod value;
mod xml;

pub use codec::{decode, encode, encode_fault, read_fault, reader};
pub use dynamic::Dynamic;
pub use json::{JsonReader, JsonWriter, Naming};
pub use message::{Body, Encoded, Incoming, Labels};
pub use route::{Route, Router, Unrouted};

/// How deep values may nest. DynamoDB's 32 levels of attribute values take two each; the rest is room.
pub const MAX_DEPTH: usize = 128;
