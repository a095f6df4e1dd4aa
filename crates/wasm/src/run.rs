//! One invocation: an instance is made, runs, and is gone.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, Trap};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::output::{Answer, Log};
use crate::program::{ComponentState, CoreState, Linked, Program, chain};

/// How often a program that runs on is looked at for what it has written to its temporary folder.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// More files than this in the temporary folder count as too much.
const MOST_FILES: usize = 100_000;
/// After the end, the log gets this long to be read.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// What a program is run with.
pub struct Call {
    pub event: Bytes,
    pub env: Vec<(String, String)>,
    /// Seen as `/var/task`, and as the working folder; read-only.
    pub task: PathBuf,
    /// Seen as `/tmp`.
    pub tmp: PathBuf,
    pub tmp_bytes: u64,
    /// For all linear memories together.
    pub memory_bytes: usize,
    /// The writing end of a pipe.
    pub log: OwnedFd,
    /// The largest answer in bytes.
    pub most_answer: usize,
    pub deadline: Instant,
    pub network: Network,
}

/// What outgoing HTTP requests reach. Sockets there are none.
#[derive(Clone)]
pub struct Network {
    /// The platform itself.
    pub endpoint: SocketAddr,
    /// Where an address leads on the host; `None` where programs may not go.
    pub reach: fn(SocketAddr) -> Option<SocketAddr>,
    /// The name of the machine itself.
    pub machine: &'static str,
    /// Whether anything but the platform is reached.
    pub outside: bool,
}

/// How an invocation ended.
#[derive(Debug)]
pub struct Ended {
    pub end: End,
    /// What was written to standard output.
    pub answer: Bytes,
    /// The most linear memory it had.
    pub memory_bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// The answer is larger than it may be.
    TooLarge,
    /// It ended itself with a status that is not 0.
    Exit(i32),
    /// It did what it must not: why.
    Trap(String),
    OutOfMemory,
    TimedOut,
    /// It could not be run.
    Failed(String),
}

impl Ended {
    /// It could not be run.
    pub fn failed(reason: &str) -> Self {
        Self { end: End::Failed(reason.to_owned()), answer: Bytes::new(), memory_bytes: 0 }
    }
}

pub(crate) async fn run(engine: &Engine, program: &Program, mut call: Call) -> Ended {
    let answer = Answer::new(call.most_answer);
    let log = match call.log.try_clone().and_then(Log::new) {
        Ok(log) => log,
        Err(error) => return Ended::failed(&error.to_string()),
    };
    let (deadline, tmp, tmp_bytes) = (call.deadline, call.tmp.clone(), call.tmp_bytes);
    let mut limits = Limits::new(call.memory_bytes);
    let result = {
        let running = start(engine, program, &mut call, &mut limits, &answer, &log);
        tokio::select! {
            biased;
            result = running => Some(result),
            () = tokio::time::sleep_until(deadline.into()) => None,
            () = overfull(tmp, tmp_bytes) => {
                Some(Err(wasmtime::format_err!("/tmp is over its limit of {} MB", tmp_bytes >> 20)))
            }
        }
    };
    let end = match result {
        None => End::TimedOut,
        Some(Ok(())) => End::Done,
        Some(Err(_)) if limits.exceeded => End::OutOfMemory,
        Some(Err(error)) => failure(error, &log),
    };
    let _ = tokio::time::timeout(LOG_LIMIT, log.written()).await;
    let (end, answer) = match answer.take() {
        Some(answer) => (end, answer),
        None => (if end == End::Done { End::TooLarge } else { end }, Bytes::new()),
    };
    Ended { end, answer, memory_bytes: limits.bytes }
}

/// An error as an end. The whole of a trap, with where it happened, goes to the log.
fn failure(error: wasmtime::Error, log: &Log) -> End {
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return if *status == 0 { End::Done } else { End::Exit(*status) };
    }
    let mut text = format!("{error:?}\n");
    if let Some((end, _)) = text.char_indices().nth(8192) {
        text.truncate(end);
    }
    log.print(&text);
    match error.downcast_ref::<Trap>() {
        Some(trap) => End::Trap(trap.to_string()),
        None => End::Trap(chain(&error)),
    }
}

async fn start(
    engine: &Engine,
    program: &Program,
    call: &mut Call,
    limits: &mut Limits,
    answer: &Answer,
    log: &Log,
) -> wasmtime::Result<()> {
    let mut wasi = world(call, answer, log)?;
    let own = std::mem::replace(limits, Limits::new(0));
    match &program.0 {
        Linked::Core(program) => {
            let state = CoreState { wasi: wasi.build_p1(), limits: own };
            let mut store = Returning {
                store: ready(Store::new(engine, state), |s| &mut s.limits),
                limits,
                give: |s| &mut s.limits,
            };
            let instance = program.instantiate_async(&mut store.store).await?;
            let main = instance.get_typed_func::<(), ()>(&mut store.store, "_start")?;
            main.call_async(&mut store.store, ()).await
        }
        Linked::Component(program) => {
            let state = ComponentState {
                wasi: wasi.build(),
                table: ResourceTable::new(),
                http: WasiHttpCtx::new(),
                outgoing: Outgoing(call.network.clone()),
                limits: own,
            };
            let mut store = Returning {
                store: ready(Store::new(engine, state), |s| &mut s.limits),
                limits,
                give: |s| &mut s.limits,
            };
            let command = program.instantiate_async(&mut store.store).await?;
            match command.wasi_cli_run().call_run(&mut store.store).await? {
                Ok(()) => Ok(()),
                Err(()) => Err(I32Exit(1).into()),
            }
        }
    }
}

/// A store whose limits are given back however it ends: also when it is dropped in the middle.
struct Returning<'a, S: 'static> {
    store: Store<S>,
    limits: &'a mut Limits,
    give: fn(&mut S) -> &mut Limits,
}

impl<S> Drop for Returning<'_, S> {
    fn drop(&mut self) {
        std::mem::swap(self.limits, (self.give)(self.store.data_mut()));
    }
}

fn ready<S: 'static>(mut store: Store<S>, limits: fn(&mut S) -> &mut Limits) -> Store<S> {
    store.limiter(move |state| limits(state));
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}

/// What the program sees of the world.
fn world(call: &mut Call, answer: &Answer, log: &Log) -> wasmtime::Result<WasiCtxBuilder> {
    let mut wasi = WasiCtx::builder();
    let event = std::mem::take(&mut call.event);
    wasi.stdin(MemoryInputPipe::new(event)).stdout(answer.clone()).stderr(log.clone());
    wasi.envs(&call.env).arg("bootstrap");
    wasi.preopened_dir(&call.task, "/var/task", FsPerms::ReadOnly)?;
    wasi.preopened_dir(&call.task, ".", FsPerms::ReadOnly)?;
    wasi.preopened_dir(&call.tmp, "/tmp", FsPerms::ReadWrite)?;
    wasi.allow_tcp(false).allow_udp(false);
    Ok(wasi)
}

/// Ends when the folder holds more than it may.
async fn overfull(folder: PathBuf, most: u64) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looked = folder.clone();
        let over = tokio::task::spawn_blocking(move || !fits(&looked, most)).await;
        if over.unwrap_or(false) {
            return;
        }
    }
}

/// Whether a folder's files take no more than `most` bytes of disk.
pub fn fits(folder: &Path, most: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (mut bytes, mut files, mut folders) = (0_u64, 0_usize, vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(about.blocks() * 512);
            files += 1;
            if bytes > most || files > MOST_FILES {
                return false;
            }
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    true
}
