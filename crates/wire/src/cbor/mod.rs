//! CBOR documents (RFC 8949) as Smithy's RPC v2 uses them.

mod read;
mod write;

pub(crate) use read::CborReader;
pub(crate) use write::CborWriter;
