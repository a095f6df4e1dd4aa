//! Compiling a program, in a process of its own: whatever is sent, the compiler's memory and time are bounded, and its end is not ours.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::engine;
use crate::program::{Form, Refused, refused};

/// The first argument with which the program is started again as the compiler.
pub const COMPILE_ARG: &str = "__compile-wasm";
/// The largest binary that is taken. An interpreter with its library, such as CPython's, has some 20 MB.
pub const MOST_BYTES: usize = 64 << 20;

const MOST_COMPILED: u64 = 1 << 30;
const MEMORY: u64 = 6 << 30;
const SECONDS: u64 = 120;
/// What a compiler says of why it does not.
const MOST_TEXT: u64 = 4096;

/// Compiles what standard input has if this process was started for it, and gives its exit code. Call it first thing in `main`.
pub fn compile_main() -> Option<i32> {
    if std::env::args_os().nth(1)? != COMPILE_ARG {
        return None;
    }
    let _ = setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY);
    let _ = setrlimit(Resource::RLIMIT_CPU, SECONDS, SECONDS);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    Some(match compile_input() {
        Ok(()) => 0,
        Err(text) => {
            eprintln!("{text}");
            1
        }
    })
}

fn compile_input() -> Result<(), String> {
    let mut wasm = Vec::new();
    let input = io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_end(&mut wasm);
    input.map_err(|error| error.to_string())?;
    let compiled = compile_here(&wasm).map_err(|refused| refused.0)?;
    io::stdout().lock().write_all(&compiled).map_err(|error| error.to_string())
}

fn compile_here(wasm: &[u8]) -> Result<Vec<u8>, Refused> {
    let engine = engine::compiling().map_err(refused)?;
    match Form::of(wasm)? {
        Form::Core => engine.precompile_module(wasm).map_err(refused),
        Form::Component => engine.precompile_component(wasm).map_err(refused),
    }
}

/// Where programs are compiled.
pub enum Compiler {
    /// This program, started again; it calls [`compile_main`].
    Apart(PathBuf),
    /// In this process: only what is trusted.
    Here,
}

impl Compiler {
    /// What runs of a binary, to be kept.
    pub async fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, Refused> {
        if wasm.len() > MOST_BYTES {
            return Err(Refused(format!("it is larger than {} MB", MOST_BYTES >> 20)));
        }
        Form::of(wasm)?;
        let Compiler::Apart(program) = self else { return compile_here(wasm) };
        let limit = Duration::from_secs(2 * SECONDS);
        match tokio::time::timeout(limit, compile_apart(program.clone(), wasm)).await {
            Ok(result) => result,
            Err(_) => Err(Refused("it takes too long to compile".into())),
        }
    }
}

async fn compile_apart(program: PathBuf, wasm: &[u8]) -> Result<Vec<u8>, Refused> {
    let failed = |error: io::Error| Refused(format!("the compiler could not be run: {error}"));
    let mut child = Command::new(program)
        .arg(COMPILE_ARG)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Refused("the compiler could not be talked to".into()));
    };
    let (mut compiled, mut text) = (Vec::new(), Vec::new());
    let (mut output, mut errors) = (output.take(MOST_COMPILED), errors.take(MOST_TEXT));
    let write = async move {
        // A compiler that gave up early says why on its standard error.
        let _ = input.write_all(wasm).await;
    };
    let (_, read, _) = tokio::join!(write, output.read_to_end(&mut compiled), errors.read_to_end(&mut text));
    read.map_err(failed)?;
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(compiled);
    }
    if status.code() == Some(1) {
        return Err(Refused(String::from_utf8_lossy(&text).trim().to_owned()));
    }
    Err(Refused("it cannot be compiled within the compiler's limits of time and memory".into()))
}
