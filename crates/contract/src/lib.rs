//! What AWS says, as data. A contract (`contracts/<service>.json`) is derived by `cargo xtask contracts`; a patch
//! (`contracts/patches/<service>.json`) holds what AWS does but its models do not say, each with its evidence.
//!
//! This crate reads both into one typed [`Contract`]. `codegen` makes Rust of it; `cargo xtask show` prints it.

mod load;
mod model;

pub use load::{Error, load, merge};
pub use model::{
    Contract, ErrorInfo, External, Http, MemberRef, OperationInfo, ServiceInfo, ShapeInfo, XmlNamespace,
};
