//! Contracts into typed Rust, at build time. A service's `build.rs` is one line, `tidemill_codegen::build("sqs")`, and
//! its `src/api.rs` includes what comes out: structs, enumerations, errors, `op::*` and `SERVICE`.
//!
//! `names` turns AWS's names into Rust's, `types` knows which Rust type stands for a shape, `tables` prints the static
//! schemas, `shapes` the types with their `read` and `write`, `service` the operations.

mod names;
mod service;
mod shapes;
mod tables;
mod types;

use std::{env, fs, path::PathBuf};

use tidemill_contract::Contract;

/// Writes `$OUT_DIR/api.rs` for a service; to be called from a build script of a crate in `services/`.
///
/// Panics, with the reason, when the contract cannot be read: a build script has no better way to say so.
pub fn build(service: &str) {
    build_into(service, "api.rs");
}

/// As [`build`], into another file: for a crate that serves two contracts, as DynamoDB and its streams are one.
pub fn build_into(service: &str, file: &str) {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let contracts = manifest.join("../../contracts");
    for file in [format!("{service}.json"), format!("patches/{service}.json")] {
        println!("cargo::rerun-if-changed={}", contracts.join(file).display());
    }
    let contract = tidemill_contract::load(&contracts, service).unwrap_or_else(|error| panic!("{error}"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join(file);
    fs::write(&out, generate(contract)).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// The Rust source of a contract.
pub fn generate(contract: Contract) -> String {
    let contract = types::normalise(contract);
    let types = types::Types::new(&contract);
    [tables::print(&types), shapes::print(&types), service::print(&types)].concat()
}
