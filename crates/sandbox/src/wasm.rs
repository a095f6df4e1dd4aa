//! Functions of the runtime `provided.wasm`: WebAssembly programs, each invocation in a fresh instance. `tidemill-wasm` runs them; here
//! they get what every function gets: environment, log, limits, and Lambda's words for how it went.
//!
//! What stays between invocations is a seat: a log stream, credentials and `/tmp`, for one invocation at a time. It stands for the
//! sandbox of other runtimes, costs no memory of the function's, and there are as many as invocations ran at once. Left out: layers,
//! extensions, provisioned concurrency (a new instance takes less than a millisecond), and streaming before the end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use tidemill_wasm::{Call, End, Ended, Host, Network, Program};
use tokio::sync::OnceCell;

use crate::channel::RESPONSE_MAX;
use crate::conclusion::{Conclusion, conclude};
use crate::diary::{Begun, Diary};
use crate::environment::{self, Places};
use crate::logs::LogReader;
use crate::report::{self, Exit};
use crate::sandbox::LONGEST_LIFE;
use crate::verdict::Verdict;
use crate::{ExecutorConfig, FunctionSpec, Hooks, Invocation, Outcome, Overhead, SandboxError, outside};

/// The runtime's name: our own extension of Lambda's list.
pub const RUNTIME: &str = "provided.wasm";

/// Where WebAssembly functions run.
pub struct Wasm {
    config: Arc<ExecutorConfig>,
    hooks: Hooks,
    program: PathBuf,
    host: OnceCell<Arc<Host>>,
    /// ARN and version → a program and the revision it is of.
    programs: Mutex<HashMap<Qualified, (String, Arc<Program>)>>,
    /// ARN and version → seats nobody sits in.
    seats: Mutex<HashMap<Qualified, Vec<Seat>>>,
    made: AtomicU64,
}

/// A function's ARN and version.
type Qualified = (String, String);

struct Seat {
    function: Arc<FunctionSpec>,
    diary: Diary,
    log: LogReader,
    /// The end of the log that instances write to.
    pen: OwnedFd,
    env: Vec<(String, String)>,
    tmp: Folder,
    born: Instant,
    idle: Instant,
}

/// Removed with everything in it when it is dropped.
struct Folder(PathBuf);

/// Where the program of a handler may be in the code: `app.wasm` for `app.wasm` and for `app`.
pub fn wasm_files(handler: &str) -> Vec<String> {
    let inside = Path::new(handler).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || handler.is_empty() {
        return Vec::new();
    }
    let with = format!("{handler}.wasm");
    if handler.ends_with(".wasm") { vec![handler.to_owned(), with] } else { vec![with] }
}

impl Wasm {
    /// `program` is what compiles when it is started with [`tidemill_wasm::COMPILE_ARG`].
    pub fn new(config: Arc<ExecutorConfig>, hooks: Hooks, program: PathBuf) -> Self {
        Self {
            config,
            hooks,
            program,
            host: OnceCell::new(),
            programs: Mutex::default(),
            seats: Mutex::default(),
            made: AtomicU64::new(0),
        }
    }

    /// Compiles a program, or says why it is none.
    pub async fn prepare(&self, wasm: Bytes) -> Result<(), SandboxError> {
        let prepared = self.host().await?.prepare(wasm).await;
        prepared.map(|_| ()).map_err(|refused| SandboxError::Program { reason: refused.0 })
    }

    /// Runs an invocation.
    pub async fn run(
        &self,
        function: &Arc<FunctionSpec>,
        invocation: &Invocation,
        begun: Instant,
    ) -> Result<Outcome, SandboxError> {
        let program = self.program_of(function).await?;
        let (mut seat, cold) = match self.take(function) {
            Some(seat) => (seat, false),
            None => (self.new_seat(function)?, true),
        };
        let acquire = begun.elapsed();
        let init = cold.then_some(acquire);
        seat.log.begin();
        if let Some(init) = init {
            seat.begin(&self.config, init);
        }
        let host = self.host().await?;
        let (verdict, ended, duration) = seat.invoke(host, &program, invocation, &self.config).await?;
        seat.log.drain(true).await;
        let out_of_memory = ended.end == End::OutOfMemory;
        let used = (ended.memory_bytes.div_ceil(1 << 20) as u32).clamp(1, function.memory_mb);
        let conclusion =
            Conclusion { duration, init, restore: None, cold, out_of_memory, max_memory_mb: used };
        let mut outcome = conclude(&mut seat.log, &seat.diary, invocation, verdict, conclusion).await;
        self.put_back(seat);
        let counted = duration + init.unwrap_or_default();
        outcome.overhead = Overhead { acquire, total: begun.elapsed().saturating_sub(counted) };
        Ok(outcome)
    }

    /// Lets go of what is kept of a function.
    pub fn forget(&self, arn: &str) {
        self.programs.lock().retain(|(of, _), _| of != arn);
        self.seats.lock().retain(|(of, _), _| of != arn);
    }

    pub fn close(&self) {
        self.programs.lock().clear();
        self.seats.lock().clear();
    }

    async fn host(&self) -> Result<&Arc<Host>, SandboxError> {
        let failed = |reason: String| SandboxError::Launch { step: "wasm", reason };
        let begin = || async {
            let (folder, program) = (self.config.scratch_dir.join("wasm"), self.program.clone());
            let made = tokio::task::spawn_blocking(move || Host::new(folder, Some(program))).await;
            made.map_err(|error| failed(error.to_string()))?
                .map(Arc::new)
                .map_err(|error| failed(error.to_string()))
        };
        self.host.get_or_try_init(begin).await
    }

    async fn program_of(&self, function: &FunctionSpec) -> Result<Arc<Program>, SandboxError> {
        let key = (function.arn.clone(), function.version.clone());
        if let Some((revision, program)) = self.programs.lock().get(&key)
            && *revision == function.revision
        {
            return Ok(program.clone());
        }
        let unusable = |reason: String| SandboxError::Code { function: function.name.clone(), reason };
        let paths: Vec<PathBuf> =
            wasm_files(&function.handler).into_iter().map(|name| function.code_dir.join(name)).collect();
        let path = paths.into_iter().find(|path| path.is_file());
        let path = path.ok_or_else(|| unusable(format!("there is no {}.wasm", function.handler)))?;
        let wasm = tokio::fs::read(&path).await.map_err(|error| unusable(error.to_string()))?;
        let prepared = self.host().await?.prepare(wasm.into()).await;
        let program = prepared.map_err(|refused| unusable(refused.0))?;
        self.programs.lock().insert(key, (function.revision.clone(), program.clone()));
        Ok(program)
    }

    fn take(&self, function: &FunctionSpec) -> Option<Seat> {
        let mut seats = self.seats.lock();
        let free = seats.get_mut(&(function.arn.clone(), function.version.clone()))?;
        free.retain(|seat| {
            seat.function.revision == function.revision
                && seat.born.elapsed() < LONGEST_LIFE
                && seat.idle.elapsed() < self.config.idle_timeout
        });
        free.pop()
    }

    fn new_seat(&self, function: &Arc<FunctionSpec>) -> Result<Seat, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Launch { step: "wasm", reason: error.to_string() };
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let tmp = Folder(self.config.scratch_dir.join("tmp").join(format!("wasm-{number}")));
        std::fs::create_dir_all(&tmp.0).map_err(failed)?;
        let (mut log, pen) = LogReader::pipe().map_err(failed)?;
        let diary = Diary::begin(&mut log, &self.hooks, function, None);
        let credentials = function.credentials.credentials(&function.arn);
        let places = places(&self.config);
        let (stream, region) = (&diary.log_stream, &self.config.region);
        let mut env = environment::build(function, &places, stream, region, &credentials);
        for meaningless in ["PATH", "LD_LIBRARY_PATH", "LAMBDA_RUNTIME_DIR"] {
            if !function.env.contains_key(meaningless) {
                env.remove(meaningless);
            }
        }
        let (env, now) = (env.into_iter().collect(), Instant::now());
        Ok(Seat { function: function.clone(), diary, log, pen, env, tmp, born: now, idle: now })
    }

    fn put_back(&self, mut seat: Seat) {
        seat.idle = Instant::now();
        let key = (seat.function.arn.clone(), seat.function.version.clone());
        // Of a function that was changed or deleted meanwhile nothing is kept.
        let current = self.programs.lock().get(&key).is_some_and(|(of, _)| *of == seat.function.revision);
        if current && tidemill_wasm::fits(&seat.tmp.0, u64::from(seat.function.tmp_mb) << 20) {
            self.seats.lock().entry(key).or_default().push(seat);
        }
    }
}

impl Seat {
    /// Notes how it came about. Programs have no init phase; what is told as one is the time until a first instance could be made.
    fn begin(&mut self, config: &ExecutorConfig, init: Duration) {
        self.log.add(report::init_start("provided", "wasm", &config.region));
        self.diary.init_started(&Begun { version: "provided:wasm".into(), region: &config.region });
        self.diary.init_ran(&Ok(()));
        for line in self.diary.init_ended(&Ok(()), init) {
            self.log.add(line);
        }
    }

    async fn invoke(
        &mut self,
        host: &Host,
        program: &Arc<Program>,
        invocation: &Invocation,
        config: &ExecutorConfig,
    ) -> Result<(Verdict, Ended, Duration), SandboxError> {
        self.log.add(report::start(&invocation.request_id, &self.function.version));
        let (begun, now) = (Instant::now(), SystemTime::now());
        let mut limit = Duration::from_millis(self.function.timeout_ms);
        if let Some(wanted) = invocation.deadline {
            limit = limit.min(wanted.duration_since(now).unwrap_or_default());
        }
        self.diary.invoked(invocation, now + limit);
        let call = self.call(invocation, begun + limit, now + limit, config)?;
        let mut ended = tokio::select! {
            biased;
            ended = host.run(program, call) => ended,
            () = self.log.pump() => Ended::failed("its log has ended"),
        };
        self.log.drain(false).await;
        let verdict = verdict(&mut ended, limit)?;
        let took = begun.elapsed();
        self.diary.ran(invocation, &verdict, took);
        Ok((verdict, ended, took))
    }

    fn call(
        &self,
        invocation: &Invocation,
        deadline: Instant,
        until: SystemTime,
        config: &ExecutorConfig,
    ) -> Result<Call, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Launch { step: "wasm", reason: error.to_string() };
        let function = &self.function;
        Ok(Call {
            event: invocation.payload.clone(),
            env: self.env.iter().cloned().chain(of_invocation(function, invocation, until)).collect(),
            task: function.code_dir.clone(),
            tmp: self.tmp.0.clone(),
            tmp_bytes: u64::from(function.tmp_mb) << 20,
            memory_bytes: (function.memory_mb as usize) << 20,
            log: self.pen.try_clone().map_err(failed)?,
            most_answer: RESPONSE_MAX,
            deadline,
            network: Network {
                endpoint: config.endpoint,
                reach,
                machine: outside::MACHINE,
                outside: config.outbound_network && function.outbound_network,
            },
        })
    }
}

/// What other runtimes hear from the Runtime API with each invocation.
fn of_invocation(
    function: &FunctionSpec,
    invocation: &Invocation,
    until: SystemTime,
) -> impl Iterator<Item = (String, String)> {
    let deadline_ms = until.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let arn = invocation.invoked_arn.as_ref().unwrap_or(&function.arn);
    [
        ("AWS_LAMBDA_REQUEST_ID", Some(invocation.request_id.clone())),
        ("AWS_LAMBDA_DEADLINE_MS", Some(deadline_ms.to_string())),
        ("AWS_LAMBDA_INVOKED_FUNCTION_ARN", Some(arn.clone())),
        ("_X_AMZN_TRACE_ID", invocation.trace_header.clone()),
        ("AWS_LAMBDA_CLIENT_CONTEXT", invocation.client_context.clone()),
        ("AWS_LAMBDA_COGNITO_IDENTITY", invocation.cognito_identity.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
}

fn verdict(ended: &mut Ended, limit: Duration) -> Result<Verdict, SandboxError> {
    Ok(match &ended.end {
        End::Done => Verdict::Done(std::mem::take(&mut ended.answer)),
        End::TooLarge => Verdict::TooLarge(RESPONSE_MAX),
        End::Exit(status) => match reported(&ended.answer) {
            Some(kind) => Verdict::Failed { kind, body: std::mem::take(&mut ended.answer) },
            None => Verdict::Exited(Exit::Status(*status)),
        },
        End::Trap(reason) => Verdict::Trapped(reason.clone()),
        End::OutOfMemory => Verdict::Exited(Exit::Signal(libc::SIGKILL)),
        End::TimedOut => Verdict::TimedOut(limit),
        End::Failed(reason) => {
            return Err(SandboxError::Launch { step: "wasm", reason: reason.clone() });
        }
    })
}

/// The type of an error that a program reports: it writes Lambda's error object as its answer and exits with a status.
fn reported(answer: &[u8]) -> Option<String> {
    let error: serde_json::Value = serde_json::from_slice(answer).ok()?;
    error.get("errorMessage")?.as_str()?;
    let kind = error.get("errorType").and_then(|kind| kind.as_str());
    Some(kind.unwrap_or("Runtime.ExitError").to_owned())
}

fn places(config: &ExecutorConfig) -> Places {
    Places {
        task: "/var/task".into(),
        opts: Vec::new(),
        runtime: "/var/runtime".into(),
        lang: "/var/lang".into(),
        runtime_api: None,
        endpoint: format!("http://127.0.0.1:{}", config.endpoint.port()),
        xray: None,
        node_sdk: None,
        tmp: None,
    }
}

/// Where functions of every runtime may go.
fn reach(to: SocketAddr) -> Option<SocketAddr> {
    match to.ip() {
        IpAddr::V4(ip) => outside::outside(SocketAddrV4::new(ip, to.port())),
        IpAddr::V6(_) => None,
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        // It may hold many files, and whoever drops it may hold a lock.
        let remove = move || drop(std::fs::remove_dir_all(path));
        match tokio::runtime::Handle::try_current() {
            Ok(tokio) => drop(tokio.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_name_programs() {
        assert_eq!(wasm_files("app.wasm"), ["app.wasm", "app.wasm.wasm"]);
        assert_eq!(wasm_files("bin/app"), ["bin/app.wasm"]);
        for outside in ["", "../app", "/etc/app", "a/../../b"] {
            assert!(wasm_files(outside).is_empty(), "{outside}");
        }
    }

    #[test]
    fn errors_a_program_reports_keep_their_type() {
        let kind = |answer: &str| reported(answer.as_bytes());
        assert_eq!(kind(r#"{"errorType":"NoStock","errorMessage":"none left"}"#).as_deref(), Some("NoStock"));
        assert_eq!(kind(r#"{"errorMessage":"none left"}"#).as_deref(), Some("Runtime.ExitError"));
        assert_eq!(kind(r#"{"error":"none left"}"#), None);
        assert_eq!(kind("half an answer"), None);
    }
}
