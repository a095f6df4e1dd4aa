//! `cargo xtask test`: everything that must hold before a change lands. Each step is printed before it runs.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::root;

pub fn run() -> Result<()> {
    let root = root().canonicalize()?;
    step(&root, "formatting", "cargo", &["fmt", "--all", "--check"])?;
    step(
        &root,
        "lints",
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
    )?;
    unit_tests(&root)?;
    step(&root, "the release binary", "cargo", &["build", "--release", "--quiet", "--package", "tidemill"])?;
    clients(&root)
}

/// With nextest where it is installed, else with cargo's own runner.
fn unit_tests(root: &Path) -> Result<()> {
    let nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|found| found.status.success());
    if nextest {
        return step(
            root,
            "unit tests",
            "cargo",
            &["nextest", "run", "--workspace", "--no-fail-fast", "--cargo-quiet"],
        );
    }
    step(root, "unit tests", "cargo", &["test", "--workspace", "--no-fail-fast", "--quiet"])
}

/// The real SDKs against the release binary, in a virtual environment of their own.
fn clients(root: &Path) -> Result<()> {
    let venv = root.join("target").join("venv");
    let python = venv.join("bin").join("python");
    if !python.exists() {
        step(root, "a virtual environment", "python3", &["-m", "venv", &venv.to_string_lossy()])?;
    }
    let python = python.to_string_lossy().into_owned();
    step(
        root,
        "client libraries",
        &python,
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            "tests/clients/requirements.txt",
        ],
    )?;
    javascript(root)?;
    step(root, "a function in Rust", "cargo", &["build", "--quiet", "--package", "rust-function"])?;
    step(root, "client tests", &python, &["-m", "pytest", "tests/clients", "-q"])
}

/// The SDKs and libraries for JavaScript, below `target/`; without npm the tests that need them are skipped.
fn javascript(root: &Path) -> Result<()> {
    let folder = root.join("target").join("clients-nodejs");
    std::fs::create_dir_all(&folder)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(root.join("tests/clients/nodejs").join(name), folder.join(name))?;
    }
    if Command::new("npm").arg("--version").output().is_err() {
        println!("\n── no npm here: tests with JavaScript are skipped");
        return Ok(());
    }
    let folder = folder.to_string_lossy();
    step(
        root,
        "client libraries for JavaScript",
        "npm",
        &["ci", "--prefix", &folder, "--silent", "--no-audit", "--no-fund"],
    )
}

fn step(root: &Path, what: &str, program: &str, arguments: &[&str]) -> Result<()> {
    println!("\n── {what}");
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .status()
        .with_context(|| format!("{program} cannot be run"))?;
    if status.success() { Ok(()) } else { bail!("{what} failed: {program} {}", arguments.join(" ")) }
}
