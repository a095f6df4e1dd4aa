//! What the generated types stand on. `codegen` turns a contract into plain structs plus static tables; this crate
//! defines what those tables are made of ([`schema`]), how a value is read and written without knowing the protocol
//! ([`Reader`], [`Writer`]) and how an error travels ([`Fault`]).
//!
//! It knows no protocol (see `wire`) and no service (see `services/`).

pub mod event_stream;
pub mod fault;
pub mod read;
pub mod schema;
pub mod timestamp;
pub mod unit;
pub mod write;

pub use bytes::Bytes;
pub use event_stream::EventStream;
pub use fault::{Fault, Sender};
pub use read::{ReadError, Reader};
pub use schema::{
    At, ErrorTraits, Kind, Member, Operation, OperationMeta, Protocol, Schema, ServiceMeta, Target,
    TimeFormat, Validation,
};
pub use serde_json::Value as Document;
pub use timestamp::Timestamp;
pub use unit::Unit;
pub use write::{WriteShape, Writer};

/// A type made from a shape of a contract: it can be read from and written to any protocol.
pub trait Shape: WriteShape + Sized {
    /// The static description of the shape.
    fn schema() -> &'static Schema;

    /// Reads one value. Members the schema does not know are skipped by the reader; required members that are absent
    /// keep their default and are reported by the validating reader (`wire::validate`), not here.
    fn read(reader: &mut dyn Reader) -> Result<Self, ReadError>;
}
