//! Project chores, run as `cargo xtask CHORE`. Each chore is a module; `main` is their table of contents.

mod contracts;
mod show;
mod test;

use std::path::PathBuf;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask contracts [SERVICE...]     derive contracts/<service>.json from the pinned botocore
cargo xtask show SERVICE [OPERATION]   print what AWS says of a service or an operation
cargo xtask test [--release]           everything that must hold before a change lands; with the build that ships
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["contracts", services @ ..] => contracts::run(services),
        ["show", service, rest @ ..] => show::run(service, rest.first().copied()),
        ["test"] => test::run(test::Build::Development),
        ["test", "--release"] => test::run(test::Build::Release),
        ["help" | "--help" | "-h"] | [] => {
            print!("{HELP}");
            Ok(())
        }
        [other, ..] => bail!("there is no chore `{other}`\n\n{HELP}"),
    }
}

/// The workspace's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
