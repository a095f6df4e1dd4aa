//! `cargo xtask test`: everything that must hold before a change lands. Each step is printed before it runs. The SDKs talk
//! to the development build, whose parts the unit tests have compiled already; with `--release` to the one that ships.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::root;

/// Which build the SDKs talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    Development,
    Release,
}

impl Build {
    /// The folder below `target` where cargo puts it.
    fn folder(self) -> &'static str {
        match self {
            Build::Development => "debug",
            Build::Release => "release",
        }
    }
}

pub fn run(build: Build) -> Result<()> {
    let root = root().canonicalize()?;
    step(&root, "formatting", "cargo", &["fmt", "--all", "--check"])?;
    step(
        &root,
        "lints",
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
    )?;
    unit_tests(&root)?;
    let mut arguments = vec!["build", "--quiet", "--package", "tidemill"];
    arguments.extend((build == Build::Release).then_some("--release"));
    step(&root, "the binary", "cargo", &arguments)?;
    clients(&root, build)
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

/// The real SDKs against the binary, in a virtual environment of their own.
fn clients(root: &Path, build: Build) -> Result<()> {
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
    let binary = root.join("target").join(build.folder()).join("tidemill");
    let mut tests = Command::new(&python);
    tests.args(["-m", "pytest", "tests/clients", "-q"]).env("TIDEMILL_BIN", binary);
    run_step(root, "client tests", &mut tests)
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
    run_step(root, what, Command::new(program).args(arguments))
}

fn run_step(root: &Path, what: &str, command: &mut Command) -> Result<()> {
    println!("\n── {what}");
    let status = command.current_dir(root).status();
    let status = status.with_context(|| format!("{command:?} cannot be run"))?;
    if status.success() { Ok(()) } else { bail!("{what} failed: {command:?}") }
}
