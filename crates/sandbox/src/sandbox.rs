//! One live sandbox: a runtime that was given a function. It is initialised once and then invoked, one invocation at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::body::Body;
use crate::environment::{self, Places};
use crate::link::{Link, Said};
use crate::logs::LogReader;
use crate::network;
use crate::report::{self, Exit, Report};
use crate::runtimes::plan::{Family, NODE_PARENT_MODULES, Plan};
use crate::spawner::messages::{Command, Program};
use crate::verdict::Verdict;
use crate::waiting::{Factory, Waiting};
use crate::{FunctionErrorKind, FunctionSpec, Hooks, Invocation, Outcome, Overhead, SandboxError};

pub struct Sandbox {
    pub function: Arc<FunctionSpec>,
    pub body: Body,
    link: Link,
    log: LogReader,
    log_stream: Arc<str>,
    rss_kb: u64,
    /// What serves the function's endpoint; ends with the sandbox.
    _servers: JoinSet<()>,
}

/// How the init phase ended.
pub enum Initialised {
    Ready(Duration),
    Not(Verdict, Duration),
}

#[derive(Serialize)]
struct Start<'a> {
    handler: &'a str,
    env: &'a std::collections::BTreeMap<String, String>,
    task_root: &'a str,
    opt_roots: &'a [String],
    runtime_root: &'a str,
    sdk: Option<&'a str>,
    memory_mb: u32,
}

impl Sandbox {
    /// Gives a waiting runtime its function: limits, mounts, network. Its code has not run yet.
    pub async fn assign(
        mut waiting: Waiting,
        function: Arc<FunctionSpec>,
        factory: &Factory,
        hooks: &Hooks,
    ) -> Result<Self, SandboxError> {
        let memory = waiting.body.cgroup.as_ref().and_then(|group| {
            group.limit(function.memory_mb, factory.namespaces().then_some(function.tmp_mb))
        });
        mount(&waiting, &function, factory).await?;
        let log_stream: Arc<str> =
            report::log_stream_name(SystemTime::now(), &function.version, &random_bytes()).into();
        waiting.log.attach(hooks.logs.clone(), function.clone(), log_stream.clone());
        let mut servers = network::serve(&mut waiting, &function, factory, hooks)
            .map_err(|e| SandboxError::Launch { step: "network", reason: e.to_string() })?;
        if let Some(watch) = memory {
            servers.spawn(watch.run());
        }
        let Waiting { body, link, log, .. } = waiting;
        Ok(Self { function, body, link, log, log_stream, rss_kb: 0, _servers: servers })
    }

    /// Has the runtime load the function's code, for at most `limit`.
    pub async fn initialise(
        &mut self,
        ends: Option<crate::waiting::Ends>,
        api: Option<&str>,
        plan: &Plan,
        factory: &Factory,
        limit: Duration,
    ) -> Result<Initialised, SandboxError> {
        let started = Instant::now();
        self.log.begin();
        let family = match plan.family {
            Family::Python => "python",
            Family::Node => "nodejs",
            Family::Provided => "provided",
        };
        let version = if plan.version.is_empty() {
            plan.runtime.trim_start_matches("provided").trim_start_matches('.')
        } else {
            &plan.version
        };
        self.log.add(report::init_start(family, version, &factory.config.region));
        if let Err(verdict) = self.start(ends, api, plan, factory).await? {
            return Ok(Initialised::Not(verdict, started.elapsed()));
        }
        let verdict = match self.hear(started + limit).await {
            Heard::Said(Said::Ready { rss_kb }) => {
                self.rss_kb = rss_kb;
                // What was printed during init belongs before START.
                self.log.drain(false).await;
                return Ok(Initialised::Ready(started.elapsed()));
            }
            Heard::Said(Said::InitError { kind, body, rss_kb } | Said::Error { kind, body, rss_kb }) => {
                self.rss_kb = rss_kb;
                Verdict::Failed { kind, body }
            }
            Heard::Said(Said::Response { .. }) => Verdict::Exited(Exit::Unknown),
            Heard::Ended(exit) => Verdict::Exited(exit),
            Heard::TimedOut => Verdict::TimedOut(limit),
        };
        Ok(Initialised::Not(verdict, started.elapsed()))
    }

    /// Notes a failed init phase in the log.
    pub async fn report_init(&mut self, verdict: &Verdict, init: Duration) {
        let (status, kind) = match verdict {
            Verdict::TimedOut(_) => ("timeout", None),
            Verdict::Failed { kind, .. } => ("error", Some(kind.as_str())),
            Verdict::NoEntrypoint(_) => ("error", Some("Runtime.InvalidEntrypoint")),
            _ => ("error", Some("Runtime.ExitError")),
        };
        self.log.drain(true).await;
        self.log.add(report::init_report(init, status, kind));
        self.log.flush().await;
    }

    /// Runs one invocation and reports it. `used` is how much of the function's time init has used up already.
    pub async fn invoke(&mut self, invocation: &Invocation, used: Duration) -> (Verdict, Duration) {
        self.log.add(report::start(&invocation.request_id, &self.function.version));
        let timeout = Duration::from_millis(self.function.timeout_ms).saturating_sub(used);
        let (begun, now) = (Instant::now(), SystemTime::now());
        let mut limit = timeout;
        if let Some(wanted) = invocation.deadline {
            limit = limit.min(wanted.duration_since(now).unwrap_or_default());
        }
        if self.link.invoke(invocation, &self.function.arn, now + limit).await.is_err() {
            let exit = self.end_of_process().await;
            return (Verdict::Exited(exit), begun.elapsed());
        }
        loop {
            let verdict = match self.hear(begun + limit).await {
                Heard::Said(Said::Ready { .. }) => continue,
                Heard::Said(Said::Response { body: Some(body), rss_kb }) => {
                    self.rss_kb = self.rss_kb.max(rss_kb);
                    Verdict::Done(body)
                }
                Heard::Said(Said::Response { body: None, .. }) => Verdict::TooLarge,
                Heard::Said(Said::Error { kind, body, rss_kb } | Said::InitError { kind, body, rss_kb }) => {
                    self.rss_kb = self.rss_kb.max(rss_kb);
                    Verdict::Failed { kind, body }
                }
                Heard::Ended(exit) => Verdict::Exited(exit),
                Heard::TimedOut => Verdict::TimedOut(limit + used),
            };
            return (verdict, begun.elapsed());
        }
    }

    /// Begins the log of a warm invocation.
    pub fn begin_log(&mut self) {
        self.log.begin();
    }

    /// The START line of an invocation that never reached the function.
    pub fn log_start(&mut self, invocation: &Invocation) {
        self.log.add(report::start(&invocation.request_id, &self.function.version));
    }

    /// Writes the closing lines and makes the outcome.
    pub async fn conclude(
        &mut self,
        invocation: &Invocation,
        verdict: Verdict,
        duration: Duration,
        init: Option<Duration>,
        cold: bool,
    ) -> Outcome {
        self.log.drain(true).await;
        let out_of_memory = matches!(verdict, Verdict::Exited(_))
            && self.body.cgroup.as_ref().is_some_and(|group| group.ran_out_of_memory());
        let concluded = verdict.conclude(&invocation.request_id, out_of_memory);
        if let Some(line) = concluded.line {
            self.log.add(line);
        }
        let billed_ms = (duration + init.unwrap_or_default()).as_micros().div_ceil(1000) as u64;
        let max_memory_mb =
            if concluded.out_of_memory { self.function.memory_mb } else { self.max_memory_mb() };
        let status = concluded.status.map(|status| (status, concluded.reported_kind.as_deref()));
        let report = Report {
            request_id: &invocation.request_id,
            duration,
            billed_ms,
            memory_mb: self.function.memory_mb,
            max_memory_mb,
            init,
            status,
            trace_header: invocation.trace_header.as_deref().filter(|header| header.contains("Sampled=1")),
        };
        self.log.add(report::end(&invocation.request_id));
        self.log.add(report.line());
        let log_tail = self.log.tail();
        self.log.flush().await;
        Outcome {
            payload: concluded.payload,
            function_error: concluded.error_type.as_ref().map(|_| FunctionErrorKind::Unhandled),
            error_type: concluded.error_type,
            duration,
            billed_ms,
            init,
            memory_mb: self.function.memory_mb,
            max_memory_mb,
            log_stream: self.log_stream.to_string(),
            log_tail,
            cold,
            overhead: Overhead::default(),
        }
    }

    fn max_memory_mb(&self) -> u32 {
        let group = self.body.cgroup.as_ref().map_or(0, |group| group.peak());
        let bytes = group.max(self.rss_kb << 10);
        (bytes.div_ceil(1 << 20) as u32).clamp(1, self.function.memory_mb)
    }

    async fn start(
        &mut self,
        ends: Option<crate::waiting::Ends>,
        api: Option<&str>,
        plan: &Plan,
        factory: &Factory,
    ) -> Result<Result<(), Verdict>, SandboxError> {
        let places = places(&self.function, factory, plan, api, self.body.tmp.as_deref());
        let credentials = self.function.credentials.credentials(&self.function.arn);
        let env = environment::build(
            &self.function,
            &places,
            &self.log_stream,
            &factory.config.region,
            &credentials,
        );
        if plan.family == Family::Provided {
            return self.start_bootstrap(ends, &places, env, factory).await;
        }
        let start = Start {
            handler: &self.function.handler,
            env: &env,
            task_root: &places.task,
            opt_roots: &places.opts,
            runtime_root: &places.runtime,
            sdk: plan.sdk_path.as_deref(),
            memory_mb: self.function.memory_mb,
        };
        let Link::Channel(channel) = &mut self.link else {
            return Err(SandboxError::Launch { step: "start", reason: "no channel".into() });
        };
        // A runtime that is gone says so on the other side: initialise hears it.
        let _ = channel.send(&start, &[]).await;
        Ok(Ok(()))
    }

    async fn start_bootstrap(
        &mut self,
        ends: Option<crate::waiting::Ends>,
        places: &Places,
        env: std::collections::BTreeMap<String, String>,
        factory: &Factory,
    ) -> Result<Result<(), Verdict>, SandboxError> {
        let Some(path) = find_bootstrap(&self.function, places) else {
            return Ok(Err(Verdict::NoEntrypoint(None)));
        };
        let program = Program {
            path,
            args: Vec::new(),
            env: env.into_iter().collect(),
            cwd: PathBuf::from(&places.task),
        };
        let result = factory.exec(&mut self.body, ends, program, None).await;
        match result {
            Ok(()) => Ok(Ok(())),
            Err(SandboxError::Entrypoint { path, reason }) => {
                Ok(Err(Verdict::NoEntrypoint(Some((path, reason)))))
            }
            Err(error) => Err(error),
        }
    }

    async fn hear(&mut self, deadline: Instant) -> Heard {
        let heard = tokio::select! {
            biased;
            said = self.link.listen() => said.map(Heard::Said),
            exit = self.body.process.ended() => Some(Heard::Ended(exit)),
            () = tokio::time::sleep_until(deadline.into()) => Some(Heard::TimedOut),
            () = self.log.pump() => None,
        };
        match heard {
            Some(Heard::Ended(exit)) => match self.link.listen().now_or_never().flatten() {
                // It answered and then ended: the answer counts.
                Some(said) if !matches!(said, Said::Ready { .. }) => Heard::Said(said),
                _ => Heard::Ended(exit),
            },
            Some(heard) => heard,
            None => Heard::Ended(self.end_of_process().await),
        }
    }

    /// The runtime closed its channel: its exit is not far, or it is broken.
    async fn end_of_process(&mut self) -> Exit {
        let soon = tokio::time::timeout(Duration::from_millis(500), self.body.process.ended()).await;
        soon.unwrap_or(Exit::Unknown)
    }
}

enum Heard {
    Said(Said),
    Ended(Exit),
    TimedOut,
}

async fn mount(waiting: &Waiting, function: &FunctionSpec, factory: &Factory) -> Result<(), SandboxError> {
    let unusable = |reason: String| SandboxError::Code { function: function.name.clone(), reason };
    for dir in std::iter::once(&function.code_dir).chain(&function.layers) {
        if !dir.is_dir() {
            return Err(unusable(format!("{} is not a folder", dir.display())));
        }
    }
    if !factory.namespaces() {
        return Ok(());
    }
    let Some(cell) = &waiting.body.cell else { return Err(unusable("it has no cell".into())) };
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| unusable(e.to_string()));
    let layers = function.layers.iter().map(|layer| absolute(layer)).collect::<Result<Vec<_>, _>>()?;
    // A layer's own SDK must be found before the runtime's, which hangs nearer to the code.
    let packs_sdk = |layer: &PathBuf| {
        layer.join("nodejs/node_modules/@aws-sdk").is_dir()
            || layer.join("nodejs/node_modules/aws-sdk").is_dir()
    };
    let hide = waiting.sdk_near_code && layers.iter().any(packs_sdk);
    let command = Command::Assign {
        code: absolute(&function.code_dir)?,
        layers,
        tmp_mb: function.tmp_mb,
        hide: hide.then(|| NODE_PARENT_MODULES.into()),
    };
    let done = cell
        .command(&command, &[])
        .await
        .map_err(|e| SandboxError::Launch { step: "assign", reason: e.to_string() })?;
    match done.error {
        None => Ok(()),
        Some((_, reason, _)) => Err(unusable(reason)),
    }
}

fn places(
    function: &FunctionSpec,
    factory: &Factory,
    plan: &Plan,
    api: Option<&str>,
    tmp: Option<&Path>,
) -> Places {
    let endpoint = factory.config.endpoint;
    let shown = |path: &Path| path.display().to_string();
    let runtime_api = api.map(str::to_owned);
    if factory.namespaces() {
        return Places {
            task: "/var/task".into(),
            opts: vec!["/opt".into()],
            runtime: "/var/runtime".into(),
            lang: plan.lang.clone(),
            runtime_api,
            endpoint: format!("http://127.0.0.1:{}", endpoint.port()),
            xray: factory.machine.xray.then(|| "127.0.0.1:2000".into()),
            node_sdk: None,
            tmp: None,
        };
    }
    let host =
        if endpoint.ip().is_unspecified() { "127.0.0.1".to_owned() } else { endpoint.ip().to_string() };
    Places {
        task: shown(&function.code_dir),
        opts: function.layers.iter().rev().map(|layer| shown(layer)).collect(),
        runtime: plan.runtime_root.clone(),
        lang: plan.lang.clone(),
        runtime_api,
        endpoint: format!("http://{host}:{}", endpoint.port()),
        xray: None,
        node_sdk: plan.sdk_path.clone(),
        tmp: tmp.map(shown),
    }
}

/// The code's `bootstrap`, or a layer's, as the sandbox sees it.
fn find_bootstrap(function: &FunctionSpec, places: &Places) -> Option<PathBuf> {
    if function.code_dir.join("bootstrap").is_file() {
        return Some(Path::new(&places.task).join("bootstrap"));
    }
    let layer = function.layers.iter().rev().position(|layer| layer.join("bootstrap").is_file())?;
    let root = places.opts.get(layer).or(places.opts.first())?;
    Some(Path::new(root).join("bootstrap"))
}

pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Without a source of randomness the stream's name is still valid, only not unique.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
