//! Executing functions: who may run now, with what, and what the sandbox's answer means to Lambda's callers.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tidemill_platform::{Cx, Fault, Platform, Timestamp, doors};
use tidemill_sandbox::{
    ConnectionHandler, Credentials, CredentialsProvider, Executor, ExecutorConfig, FunctionSpec, Hooks,
    Invocation, LogLine, LogSink, Outcome, SandboxError, Tracing,
};
use tokio::sync::OnceCell;

use crate::{
    Lambda,
    api::{InvalidParameterValueException, ServiceException, TooManyRequestsException},
    code, configuration,
    names::{Named, home},
    state::{Configuration, FunctionRow},
};

/// Invocations of an account at the same time (Lambda's default quota).
pub const ACCOUNT_CONCURRENCY: i32 = 1000;
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
    /// Function ARN → invocations under way.
    busy: Mutex<HashMap<String, Arc<AtomicI32>>>,
    /// Account and region, as function ARNs begin → what functions without a reservation share.
    shared: Mutex<HashMap<String, Shared>>,
}

#[derive(Default)]
struct Shared {
    busy: Arc<AtomicI32>,
    /// What other functions keep for themselves.
    reserved: i32,
}

/// What is to be run.
pub struct Run<'a> {
    pub row: &'a FunctionRow,
    pub version: &'a str,
    pub configuration: &'a Configuration,
    pub invoked_arn: String,
    pub request_id: String,
    pub payload: Bytes,
    pub client_context: Option<String>,
}

impl Runner {
    pub fn new(
        platform: Arc<Platform>,
        config: ExecutorConfig,
        connections: Option<Arc<dyn ConnectionHandler>>,
    ) -> Runner {
        Runner {
            platform,
            config,
            connections,
            executor: OnceCell::new(),
            specs: Mutex::default(),
            busy: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    async fn executor(&self) -> Result<&Executor, Fault> {
        let begin = || async {
            let logs = Arc::new(ToLogs(self.platform.clone()));
            let executor = Executor::new(
                self.config.clone(),
                Hooks { logs, connections: self.connections.clone(), segments: None },
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

    pub async fn run(&self, cx: &Cx, run: Run<'_>) -> Result<Outcome, Fault> {
        let _place = self.enter(run.row)?;
        let spec = self.spec(cx, run.row, run.version, run.configuration).await?;
        let invocation = Invocation {
            request_id: run.request_id,
            payload: run.payload,
            deadline: None,
            invoked_arn: Some(run.invoked_arn),
            trace_header: (!cx.trace().root.is_empty()).then(|| cx.trace().to_string()),
            client_context: run.client_context,
            cognito_identity: None,
        };
        self.executor().await?.invoke(&spec, invocation).await.map_err(fault)
    }

    /// Takes a place under the function's and the account's limit; it is given back when the place is dropped.
    fn enter(&self, row: &FunctionRow) -> Result<Place, Fault> {
        let (counter, limit, reason) = match row.reserved_concurrency {
            Some(limit) => {
                let counter = self.busy.lock().entry(row.arn.clone()).or_default().clone();
                (counter, limit, "ReservedFunctionConcurrentInvocationLimitExceeded")
            }
            None => {
                let mut all = self.shared.lock();
                let home = home(&row.arn);
                if !all.contains_key(home) {
                    all.insert(home.to_string(), Shared::default());
                }
                let (busy, reserved) = all
                    .get(home)
                    .map_or_else(Default::default, |shared| (shared.busy.clone(), shared.reserved));
                (busy, ACCOUNT_CONCURRENCY - reserved, "ConcurrentInvocationLimitExceeded")
            }
        };
        let before = counter.fetch_add(1, Ordering::AcqRel);
        let place = Place(counter);
        if before < limit { Ok(place) } else { Err(throttled(reason)) }
    }

    /// Notes what the functions of the account and region of `arn` have reserved in all.
    pub fn reserve(&self, arn: &str, reserved: i32) {
        self.shared.lock().entry(home(arn).to_string()).or_default().reserved = reserved;
    }

    async fn spec(
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
            tracing: if c.traced { Tracing::Active } else { Tracing::PassThrough },
            outbound_network: true,
            revision: c.revision_id.clone(),
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
        let found = self.platform.store.get(
            &crate::state::CODE,
            tidemill_store::Partition::of(sha256),
            &sha256.to_string(),
        );
        let zip = found
            .map_err(Fault::internal)?
            .ok_or_else(|| Fault::internal(format!("the code {sha256} is not in the store")))?
            .value;
        let to = folder.clone();
        tokio::task::spawn_blocking(move || code::unpack(&zip, &to)).await.map_err(Fault::internal)??;
        Ok(folder)
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

/// A running invocation's place under a limit.
struct Place(Arc<AtomicI32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lambda {
    /// Runs whatever a name and qualifier stand for now.
    pub async fn run(
        &self,
        cx: &Cx,
        named: &Named,
        request_id: String,
        payload: Bytes,
        client_context: Option<String>,
    ) -> Result<(String, Outcome), Fault> {
        let row = self.get(named)?;
        let (version, configuration) =
            row.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(|| named.not_found())?;
        let run = Run {
            row: &row,
            version: &version,
            configuration,
            invoked_arn: named.qualified_arn(),
            request_id,
            payload,
            client_context,
        };
        let outcome = self.runner.run(cx, run).await?;
        Ok((version, outcome))
    }
}

fn throttled(reason: &str) -> Fault {
    let mut error = TooManyRequestsException::new("Rate Exceeded.");
    error.reason = Some(reason.into());
    error.r#type = Some("User".into());
    error.into()
}

fn fault(error: SandboxError) -> Fault {
    match error {
        SandboxError::Busy { .. } => throttled("ConcurrentInvocationLimitExceeded"),
        SandboxError::UnsupportedRuntime { .. } | SandboxError::InterpreterMissing { .. } => {
            Fault::new("InvalidRuntimeException", error.to_string()).with_status(502)
        }
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
