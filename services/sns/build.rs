//! Types from the contract.

fn main() {
    tidemill_codegen::build("sns");
}
