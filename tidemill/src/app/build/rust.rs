//! Rust: a package's program, built by cargo for this machine and named `bootstrap`. cargo itself knows what changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    Build,
    cache::{Inputs, run},
};

/// The folder that holds `bootstrap`.
pub fn bootstrap(build: &Build<'_>) -> Result<PathBuf> {
    build.say("cargo build --release");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    cargo.args(flags(build));
    let printed = run(cargo, &build.source, "Cargo.toml", "install Rust from https://rustup.rs")?;
    let program = chosen(build, programs(&printed))?;
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(fs::read(&program)?));
    build.cached(Inputs::new("bootstrap").with(&digest), "packing bootstrap", |unfinished| {
        fs::copy(&program, unfinished.join("bootstrap"))?;
        Ok(())
    })
}

fn flags(build: &Build<'_>) -> Vec<String> {
    let flags = build.property("Flags").and_then(Value::as_array);
    flags.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

/// The programs among what cargo says it made: their names and places.
fn programs(printed: &[u8]) -> Vec<(String, PathBuf)> {
    let printed = String::from_utf8_lossy(printed);
    let messages = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let made = messages.filter_map(|message| {
        let place = message.get("executable")?.as_str()?;
        Some((message["target"]["name"].as_str()?.to_string(), Path::new(place).to_path_buf()))
    });
    made.collect()
}

/// The program the template names, the only one, or the one called `bootstrap`.
fn chosen(build: &Build<'_>, programs: Vec<(String, PathBuf)>) -> Result<PathBuf> {
    let named = build.property("Binary").and_then(Value::as_str);
    let names: Vec<String> = programs.iter().map(|(name, _)| name.clone()).collect();
    let is_only = programs.len() == 1;
    let wanted = |name: &str| match named {
        Some(binary) => name == binary,
        None => is_only || name == "bootstrap",
    };
    match (programs.into_iter().find(|(name, _)| wanted(name)), named) {
        (Some((_, place)), _) => Ok(place),
        (None, Some(binary)) => bail!("cargo built no program {binary}; it built: {}", names.join(", ")),
        (None, None) if names.is_empty() => {
            bail!("the package has no program; a function needs a src/main.rs")
        }
        (None, None) => bail!(
            "the package has several programs ({}); name one as Metadata.BuildProperties.Binary, with BuildMethod rust-cargolambda",
            names.join(", ")
        ),
    }
}
