//! Executing functions: who may run now, with what, and what the sandbox's answer means to Lambda's callers.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tidemill_platform::{Cx, Fault, Platform, Timestamp, doors};
use tidemill_sandbox::{
    ConnectionHandler, Credentials, CredentialsProvider, Executor, ExecutorConfig, FunctionSpec, Hooks,
    Invocation, LogLine, LogSink, Outcome, Piece, Provisioned, SandboxError, Snapshotted, Tracing, WASM_MAX,
    WASM_RUNTIME, runtimes::java::sized, wasm_files,
};
use tokio::sync::{Mutex as Turn, OnceCell, mpsc};

use crate::{
    Lambda,
    api::{InvalidParameterValueException, ServiceException},
    code, configuration,
    names::Named,
    places::{Places, throttled},
    recursion,
    state::{Configuration, FunctionRow},
    traces,
};

/// How long a sandbox's credentials last.
const CREDENTIALS_S: i64 = 12 * 3600;

/// Runs functions. The executor begins with the first function that needs it, so that starting the platform stays quick.
pub struct Runner {
    platform: Arc<Platform>,
    config: ExecutorConfig,
    connections: Option<Arc<dyn ConnectionHandler>>,
    executor: OnceCell<Executor>,
    /// (function ARN, version) → what its sandboxes are made from.
    specs: Mutex<HashMap<(String, String), Arc<FunctionSpec>>>,
    /// Digest → the turn of whoever unpacks this code now.
    unpacking: Mutex<HashMap<String, Arc<Turn<()>>>>,
    pub places: Places,
}

/// What is to be run.
pub struct Run<'a> {
    pub row: &'a FunctionRow,
    pub version: &'a str,
    pub configuration: &'a Configuration,
    pub invoked_arn: String,
    pub call: Call,
}

/// What a function is called with.
#[derive(Default)]
pub struct Call {
    pub request_id: String,
    pub payload: Bytes,
    pub client_context: Option<String>,
    /// Takes a streamed answer while it comes.
    pub pieces: Option<mpsc::Sender<Piece>>,
    /// Whether the chain of events that led here is looked at for loops.
    pub chained: bool,
}

impl Call {
    pub fn new(request_id: impl ToString) -> Call {
        Call { request_id: request_id.to_string(), chained: true, ..Call::default() }
    }
}

impl Runner {
    pub fn new(
        platform: Arc<Platform>,
        config: ExecutorConfig,
        connections: Option<Arc<dyn ConnectionHandler>>,
        places: Places,
    ) -> Runner {
        Runner {
            platform,
            config,
            connections,
            executor: OnceCell::new(),
            specs: Mutex::default(),
            unpacking: Mutex::default(),
            places,
        }
    }

    async fn executor(&self) -> Result<&Executor, Fault> {
        let begin = || async {
            let logs = Arc::new(ToLogs(self.platform.clone()));
            let executor = Executor::new(
                self.config.clone(),
                Hooks {
                    logs,
                    connections: self.connections.clone(),
                    segments: Some(Arc::new(traces::NoCollector)),
                },
            )
            .await?;
            let report = executor.tier();
            for sentence in report.fallback.iter().chain(&report.missing) {
                tracing::warn!("functions: {sentence}");
            }
            Ok::<_, SandboxError>(executor)
        };
        self.executor.get_or_try_init(begin).await.map_err(fault)
    }

    /// Whether this machine can run a runtime. Also begins to warm its interpreter up.
    pub async fn expect(&self, runtime: &str) -> Result<(), Fault> {
        self.executor()
            .await?
            .expect(runtime)
            .await
            .map_err(|error| InvalidParameterValueException::new(error.to_string()).into())
    }

    /// Whether a function can run here as it is configured. `zip` is its code where that is new. A WebAssembly program is compiled.
    pub async fn accept(&self, c: &Configuration, zip: Option<&Bytes>) -> Result<(), Fault> {
        self.expect(&sized(&c.runtime, c.memory_mb.unsigned_abs())).await?;
        if c.runtime != WASM_RUNTIME {
            return Ok(());
        }
        if !c.layers.is_empty() {
            return Err(Fault::not_implemented("layers of functions with the runtime provided.wasm"));
        }
        let zip = match zip {
            Some(zip) => zip.clone(),
            None => self.zip(&c.code_sha256)?,
        };
        let names = wasm_files(&c.handler);
        let found = tokio::task::spawn_blocking(move || code::file(&zip, &names, WASM_MAX));
        let Some(program) = found.await.map_err(Fault::internal)?? else {
            let sentence = format!(
                "The handler {} of the runtime {WASM_RUNTIME} names no WebAssembly program in the code: there is no {}.",
                c.handler,
                wasm_files(&c.handler).first().map_or("such path", String::as_str),
            );
            return Err(InvalidParameterValueException::new(sentence).into());
        };
        let prepared = self.executor().await?.prepare_wasm(program).await;
        prepared.map_err(|error| InvalidParameterValueException::new(error.to_string()).into())
    }

    /// Begins to warm up the interpreters of these runtimes.
    pub async fn warm_up(&self, runtimes: impl IntoIterator<Item = String>) {
        for runtime in runtimes {
            if let Err(fault) = self.expect(&runtime).await {
                tracing::warn!(%fault, "functions of {runtime} will not run");
            }
        }
    }

    pub async fn run(&self, cx: &Cx, run: Run<'_>) -> Result<Outcome, Fault> {
        run.row.check_ready(run.version)?;
        let trace = traces::of_invocation(cx.trace(), run.configuration.traced, cx.random());
        let trace_header = recursion::pass(run.row, &trace, run.call.chained)?;
        let place = self.places.enter(run.row, run.version)?;
        let spec = self.spec(cx, run.row, run.version, run.configuration).await?;
        let invocation = Invocation {
            request_id: run.call.request_id,
            payload: run.call.payload,
            deadline: None,
            invoked_arn: Some(run.invoked_arn),
            trace_header,
            client_context: run.call.client_context,
            cognito_identity: None,
            pieces: run.call.pieces,
        };
        let executor = self.executor().await?.clone();
        // The function runs on when its caller hangs up, and keeps its place.
        let running = tokio::spawn(async move {
            let _place = place;
            executor.invoke(&spec, invocation).await
        });
        running.await.map_err(Fault::internal)?.map_err(fault)
    }

    /// Runs the init phase of a version once, for all its sandboxes.
    pub async fn snapshot(
        &self,
        spec: Arc<FunctionSpec>,
    ) -> Result<Result<Snapshotted, SandboxError>, Fault> {
        Ok(self.executor().await?.snapshot(&spec).await)
    }

    /// Lets go of the snapshots of the versions of a function that `keep` does not name.
    pub fn snapshot_only(&self, arn: &str, keep: &dyn Fn(&str) -> bool) {
        if let Some(executor) = self.executor.get() {
            executor.snapshot_only(arn, keep);
        }
    }

    /// Keeps this many sandboxes of a version ready.
    pub async fn provision(&self, spec: FunctionSpec, wanted: usize) -> Result<(), Fault> {
        self.executor().await?.provision(&Arc::new(spec), wanted);
        Ok(())
    }

    /// Ends provisioning of the versions of a function that `wanted` does not name.
    pub fn provision_only(&self, arn: &str, wanted: &dyn Fn(&str) -> bool) {
        if let Some(executor) = self.executor.get() {
            executor.provision_only(arn, wanted);
        }
    }

    /// How far provisioning of a version is.
    pub fn provisioned(&self, arn: &str, version: &str) -> Provisioned {
        self.executor.get().map(|executor| executor.provisioned(arn, version)).unwrap_or_default()
    }

    pub async fn spec(
        &self,
        cx: &Cx,
        row: &FunctionRow,
        version: &str,
        c: &Configuration,
    ) -> Result<Arc<FunctionSpec>, Fault> {
        let key = (row.arn.clone(), version.to_string());
        if let Some(spec) = self.specs.lock().get(&key).filter(|spec| spec.revision == c.revision_id) {
            return Ok(spec.clone());
        }
        let mut layers = Vec::new();
        for layer in &c.layers {
            layers.push(self.code_dir(&layer.code_sha256).await?);
        }
        let spec = Arc::new(FunctionSpec {
            arn: row.arn.clone(),
            name: row.name.clone(),
            version: version.to_string(),
            runtime: c.runtime.clone(),
            handler: c.handler.clone(),
            code_dir: self.code_dir(&c.code_sha256).await?,
            layers,
            env: c.environment.clone(),
            memory_mb: u32::try_from(c.memory_mb).unwrap_or(128),
            timeout_ms: u64::try_from(c.timeout_s).unwrap_or(3) * 1000,
            tmp_mb: u32::try_from(c.tmp_mb).unwrap_or(512),
            credentials: Arc::new(RoleCredentials {
                cx: cx.clone(),
                role: c.role.clone(),
                session: row.name.clone(),
            }),
            log_group: configuration::log_group(row, c),
            json_logs: configuration::json_logs(c),
            tracing: if c.traced { Tracing::Active } else { Tracing::PassThrough },
            outbound_network: true,
            revision: c.revision_id.clone(),
            initialization: row.initialization(version),
        });
        self.specs.lock().insert(key, spec.clone());
        Ok(spec)
    }

    /// The folder of unpacked code, made when it is first needed.
    async fn code_dir(&self, sha256: &str) -> Result<PathBuf, Fault> {
        let folder = self.platform.config.scratch.join("code").join(sha256);
        if folder.exists() {
            return Ok(folder);
        }
        let turn = self.unpacking.lock().entry(sha256.to_string()).or_default().clone();
        let _held = turn.lock().await;
        if !folder.exists() {
            let (zip, to) = (self.zip(sha256)?, folder.clone());
            tokio::task::spawn_blocking(move || code::unpack(&zip, &to)).await.map_err(Fault::internal)??;
        }
        self.unpacking.lock().remove(sha256);
        Ok(folder)
    }

    fn zip(&self, sha256: &str) -> Result<Bytes, Fault> {
        let partition = tidemill_store::Partition::of(sha256);
        let found = self.platform.store.get(&crate::state::CODE, partition, &sha256.to_string());
        let missing = || Fault::internal(format!("the code {sha256} is not in the store"));
        Ok(found.map_err(Fault::internal)?.ok_or_else(missing)?.value)
    }

    /// Code or configuration changed, or the function is gone: its sandboxes are not used again.
    pub fn forget(&self, arn: &str) {
        self.specs.lock().retain(|(of, _), _| of != arn);
        if let Some(executor) = self.executor.get() {
            executor.forget(arn);
        }
    }

    pub async fn stop(&self, grace: Duration) {
        if let Some(executor) = self.executor.get() {
            executor.shutdown(grace).await;
        }
    }
}

impl Lambda {
    /// Runs whatever a name and qualifier stand for now.
    pub async fn run(&self, cx: &Cx, named: &Named, call: Call) -> Result<(String, Outcome), Fault> {
        let row = self.get(named)?;
        let (version, _) =
            row.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(|| named.not_found())?;
        let outcome = self.run_version(cx, named, &row, &version, call).await?;
        Ok((version, outcome))
    }

    /// Runs a version that was picked already.
    pub async fn run_version(
        &self,
        cx: &Cx,
        named: &Named,
        row: &FunctionRow,
        version: &str,
        call: Call,
    ) -> Result<Outcome, Fault> {
        let (_, configuration) = row.resolve(Some(version), cx.random()).ok_or_else(|| named.not_found())?;
        let run = Run { row, version, configuration, invoked_arn: named.qualified_arn(), call };
        self.runner.run(cx, run).await
    }
}

fn fault(error: SandboxError) -> Fault {
    match error {
        SandboxError::Busy { .. } => throttled("ConcurrentInvocationLimitExceeded"),
        SandboxError::UnsupportedRuntime { .. } | SandboxError::InterpreterMissing { .. } => {
            Fault::new("InvalidRuntimeException", error.to_string()).with_status(502)
        }
        SandboxError::ShutDown => Fault::new("ServiceUnavailable", error.to_string()).with_status(503),
        other => {
            let fault: Fault = ServiceException::new(other.to_string()).into();
            fault.with_status(500)
        }
    }
}

/// Credentials of the execution role. On loopback, where keys are taken at their word, a role nobody made gets some too.
struct RoleCredentials {
    cx: Cx,
    role: String,
    session: String,
}

impl CredentialsProvider for RoleCredentials {
    fn credentials(&self, _: &str) -> Credentials {
        let given = match self.cx.platform().doors.identity.get() {
            Some(identity) => {
                identity.assume(&self.cx, &self.role, &self.session, CREDENTIALS_S).unwrap_or_else(|_| {
                    identity.session(&self.cx, assumed(&self.cx, &self.role, &self.session), CREDENTIALS_S)
                })
            }
            None => {
                return Credentials {
                    access_key_id: self.cx.account().into(),
                    secret_access_key: "test".into(),
                    session_token: None,
                };
            }
        };
        Credentials {
            access_key_id: given.access_key,
            secret_access_key: given.secret_key,
            session_token: Some(given.session_token),
        }
    }
}

fn assumed(cx: &Cx, role: &str, session: &str) -> tidemill_platform::Principal {
    let name = role.rsplit('/').next().unwrap_or_default();
    tidemill_platform::Principal {
        access_key: String::new(),
        arn: format!("arn:aws:sts::{}:assumed-role/{name}/{session}", cx.account()),
        user_id: format!("AROA{name}:{session}"),
    }
}

/// Functions' output, on its way to CloudWatch Logs.
struct ToLogs(Arc<Platform>);

impl LogSink for ToLogs {
    fn write<'a>(
        &'a self,
        function: &'a FunctionSpec,
        log_stream: &'a str,
        lines: Vec<LogLine>,
    ) -> BoxFuture<'a, ()> {
        let mut parts = function.arn.split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let lines = lines.into_iter().map(|line| doors::LogLine {
            at: Timestamp::from_millis(line.timestamp_ms),
            message: line.message,
        });
        if let Some(logs) = self.0.doors.logs.get() {
            logs.write(account, region, &function.log_group, log_stream, lines.collect());
        }
        std::future::ready(()).boxed()
    }
}
