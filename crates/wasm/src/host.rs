//! Where programs live and run: one engine, one place for what was compiled, and threads of their own, so that a program that
//! computes takes turns with others and never with the platform's own work.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::compile::Compiler;
use crate::engine::{self, Ticker};
use crate::program::{Form, Program, Refused, refused};
use crate::run::{self, Call, Ended};
use crate::shelf::{Key, Shelf};

/// Programs that are kept mapped.
const MOST_LOADED: usize = 512;
/// Threads for calls to the host's file system.
const BLOCKING: usize = 32;

pub struct Host {
    engine: Engine,
    compiler: Compiler,
    shelf: Arc<Shelf>,
    loaded: Mutex<HashMap<Key, Arc<Program>>>,
    /// One program is compiled or loaded at a time.
    turn: tokio::sync::Mutex<()>,
    ticker: Ticker,
    threads: Option<Runtime>,
}

impl Host {
    /// `folder` keeps what was compiled; `program` is started for compiling (see [`compile_main`](crate::compile_main)), without one
    /// it happens here.
    pub fn new(folder: PathBuf, program: Option<PathBuf>) -> io::Result<Self> {
        let engine = engine::running().map_err(io::Error::other)?;
        let shelf = Arc::new(Shelf::open(folder, &engine)?);
        let threads = tokio::runtime::Builder::new_multi_thread()
            .thread_name("wasm")
            .max_blocking_threads(BLOCKING)
            .enable_all()
            .build()?;
        let compiler = program.map_or(Compiler::Here, Compiler::Apart);
        let ticker = Ticker::new(&engine)?;
        Ok(Self {
            engine,
            compiler,
            shelf,
            loaded: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            ticker,
            threads: Some(threads),
        })
    }

    /// The program of a binary: as it is loaded, as it was compiled earlier, or compiled now.
    pub async fn prepare(&self, wasm: Bytes) -> Result<Arc<Program>, Refused> {
        let hashed = wasm.clone();
        let key = blocking(move || Ok(Shelf::key(&hashed))).await?;
        if let Some(program) = self.loaded.lock().get(&key) {
            return Ok(program.clone());
        }
        let _turn = self.turn.lock().await;
        if let Some(program) = self.loaded.lock().get(&key) {
            return Ok(program.clone());
        }
        let form = Form::of(&wasm)?;
        let shelf = self.shelf.clone();
        let found = blocking(move || Ok(shelf.find(&key))).await?;
        let kept = match found.map(|file| self.load(form, file)) {
            Some(Ok(program)) => program,
            _ => {
                let compiled = self.compiler.compile(&wasm).await?;
                let shelf = self.shelf.clone();
                let unwritten =
                    |error: io::Error| Refused(format!("what was compiled of it could not be kept: {error}"));
                let file = blocking(move || shelf.put(&key, &compiled).map_err(unwritten)).await?;
                self.load(form, file)?
            }
        };
        let program = Arc::new(kept);
        let mut loaded = self.loaded.lock();
        if loaded.len() >= MOST_LOADED {
            loaded.retain(|_, program| Arc::strong_count(program) > 1);
        }
        loaded.insert(key, program.clone());
        Ok(program)
    }

    fn load(&self, form: Form, compiled: File) -> Result<Program, Refused> {
        match form {
            Form::Core => {
                // SAFETY: the file was written by `Shelf::put` from our own compiler's output; the shelf has checked that it still is that.
                let module = unsafe { Module::deserialize_open_file(&self.engine, compiled) };
                Program::link_core(&self.engine, &module.map_err(refused)?)
            }
            Form::Component => {
                let bytes = read(compiled)?;
                // SAFETY: as above.
                let component = unsafe { Component::deserialize(&self.engine, bytes) };
                Program::link_component(&self.engine, &component.map_err(refused)?)
            }
        }
    }

    /// Runs a program once, in an instance of its own. It is ended when the future is dropped.
    pub async fn run(&self, program: &Arc<Program>, call: Call) -> Ended {
        let Some(threads) = &self.threads else { return Ended::failed("the host has ended") };
        let (engine, program, running) = (self.engine.clone(), program.clone(), self.ticker.begin());
        let task = threads.spawn(async move {
            let ended = run::run(&engine, &program, call).await;
            drop(running);
            ended
        });
        let task = Abort(task);
        Waiting(task).await
    }
}

impl Drop for Host {
    /// A runtime must not be waited for inside of another one.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

struct Abort(tokio::task::JoinHandle<Ended>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Waiting(Abort);

impl Future for Waiting {
    type Output = Ended;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Ended> {
        let task = std::pin::Pin::new(&mut self.0.0);
        task.poll(cx).map(|joined| joined.unwrap_or_else(|error| Ended::failed(&error.to_string())))
    }
}

fn read(mut file: File) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes).map_err(|error| Refused(error.to_string()))?;
    Ok(bytes)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Refused(error.to_string())))
}
