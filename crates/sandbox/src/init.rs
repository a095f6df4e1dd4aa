//! The init phase of a sandbox: extensions of layers first, then the runtime loads the function's code, then everybody says it is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::diary::Begun;
use crate::environment::{self, Places};
use crate::extensions;
use crate::java;
use crate::link::{Link, Said};
use crate::report::{self, Exit};
use crate::runtimes::plan::{Family, Plan};
use crate::sandbox::{Heard, Sandbox};
use crate::spawner::messages::Program;
use crate::verdict::Verdict;
use crate::waiting::{Ends, Factory};
use crate::{FunctionSpec, SandboxError};

/// How the init phase ended.
pub enum Initialised {
    Ready(Duration),
    /// From a snapshot, whose init phase was long before.
    Restored,
    Not(Verdict, Duration),
}

/// What one of our bootstraps is told.
#[derive(Serialize)]
struct Start<'a> {
    handler: &'a str,
    env: &'a BTreeMap<String, String>,
    task_root: &'a str,
    opt_roots: &'a [String],
    runtime_root: &'a str,
    sdk: Option<&'a str>,
    memory_mb: u32,
}

type Phase = Result<Result<(), Verdict>, SandboxError>;

impl Sandbox {
    /// Has the extensions and the runtime begin and load the function's code, for at most `limit`.
    pub async fn initialise(
        &mut self,
        ends: Option<Ends>,
        api: Option<&str>,
        plan: &Plan,
        factory: &Factory,
        limit: Duration,
    ) -> Result<Initialised, SandboxError> {
        let started = Instant::now();
        self.log.begin();
        let (family, version) = named(plan);
        self.log.add(report::init_start(family, version, &factory.config.region));
        let version = format!("{family}:{version}");
        self.diary.init_started(&Begun { version, region: &factory.config.region });
        let deadline = started + limit;
        let mut result = self.begin(ends, api, plan, factory, deadline).await?;
        if let Err(Verdict::TimedOut(whole)) = &mut result {
            *whole = limit;
        }
        // What was printed during init belongs before START.
        self.log.drain(false).await;
        for line in self.diary.init_ended(&result, started.elapsed()) {
            self.log.add(line);
        }
        Ok(match result {
            Ok(()) => Initialised::Ready(started.elapsed()),
            Err(verdict) => Initialised::Not(verdict, started.elapsed()),
        })
    }

    async fn begin(
        &mut self,
        ends: Option<Ends>,
        api: Option<&str>,
        plan: &Plan,
        factory: &Factory,
        deadline: Instant,
    ) -> Phase {
        let places = places(&self.function, factory, plan, api, self.body.tmp.as_deref());
        let credentials = self.function.credentials.credentials(&self.function.arn);
        let env = environment::build(
            &self.function,
            &places,
            &self.diary.log_stream,
            &factory.config.region,
            &credentials,
        );
        if let Err(verdict) = self.start_extensions(&env, factory, deadline).await? {
            return Ok(Err(verdict));
        }
        if let Err(verdict) = self.start_runtime(ends, &places, env, plan, factory).await? {
            return Ok(Err(verdict));
        }
        let loaded = self.runtime_ready(deadline).await;
        self.diary.init_ran(&loaded);
        if loaded.is_err() {
            return Ok(loaded);
        }
        let extensions = self.diary.extensions.clone();
        Ok(self.wait_for(extensions.ready(), deadline).await)
    }

    /// Starts what layers bring and waits until each has registered.
    async fn start_extensions(
        &mut self,
        env: &BTreeMap<String, String>,
        factory: &Factory,
        deadline: Instant,
    ) -> Phase {
        let wanted = extensions::wanted(&self.function);
        if wanted.is_empty() {
            return Ok(Ok(()));
        }
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for name in wanted {
            let (body, diary, servers) = (&mut self.body, &self.diary, &mut self.servers);
            if let Err(failure) = extensions::start(&name, &env, body, factory, diary, servers).await? {
                let kind = if failure.message.ends_with("permission denied") {
                    "PermissionDenied"
                } else {
                    "UnknownError"
                };
                let line = "State: LaunchError\tEvents: []";
                self.log.add(format!("EXTENSION\tName: {name}\t{line}\tError Type: {kind}\n"));
                return Ok(Err(Verdict::Extension(failure)));
            }
        }
        let extensions = self.diary.extensions.clone();
        Ok(self.wait_for(extensions.registered(), deadline).await)
    }

    pub async fn runtime_ready(&mut self, deadline: Instant) -> Result<(), Verdict> {
        match self.hear(deadline).await {
            Heard::Said(Said::Ready { rss_kb }) => {
                self.rss_kb = rss_kb;
                Ok(())
            }
            Heard::Said(Said::InitError { kind, body, rss_kb } | Said::Error { kind, body, rss_kb, .. }) => {
                self.rss_kb = rss_kb;
                Err(Verdict::Failed { kind, body })
            }
            Heard::Said(Said::Response { .. } | Said::Piece(_)) => Err(Verdict::Exited(Exit::Unknown)),
            Heard::Ended(exit) => Err(Verdict::Exited(exit)),
            Heard::Broken(failure) => Err(Verdict::Extension(failure)),
            Heard::TimedOut => Err(Verdict::TimedOut(Duration::ZERO)),
        }
    }

    /// Waits for something about extensions while the runtime runs on.
    async fn wait_for(&mut self, what: impl Future<Output = ()>, deadline: Instant) -> Result<(), Verdict> {
        tokio::select! {
            biased;
            () = what => Ok(()),
            failure = self.diary.extensions.failed() => Err(Verdict::Extension(failure)),
            exit = self.body.process.ended() => Err(Verdict::Exited(exit)),
            () = tokio::time::sleep_until(deadline.into()) => Err(Verdict::TimedOut(Duration::ZERO)),
            () = self.log.pump() => Ok(()),
        }
    }

    async fn start_runtime(
        &mut self,
        ends: Option<Ends>,
        places: &Places,
        env: BTreeMap<String, String>,
        plan: &Plan,
        factory: &Factory,
    ) -> Phase {
        if plan.family == Family::Provided {
            return self.start_bootstrap(ends, places, env, factory).await;
        }
        if plan.family == Family::Java
            && let Some(ends) = ends
        {
            let api = places.runtime_api.as_deref().unwrap_or_default();
            let program = java::program_for(plan, api, &env, &places.task);
            factory.exec(&mut self.body, ends, program, None).await?;
            return self.tell(places, &env, plan).await;
        }
        if let Some(mut ends) = ends
            && let Some((program, channel)) = ends.program.take()
        {
            factory.exec(&mut self.body, ends, program, Some(&channel)).await?;
        }
        self.tell(places, &env, plan).await
    }

    /// Tells a bootstrap of ours which function it is to run.
    async fn tell(&mut self, places: &Places, env: &BTreeMap<String, String>, plan: &Plan) -> Phase {
        let start = Start {
            handler: &self.function.handler,
            env,
            task_root: &places.task,
            opt_roots: &places.opts,
            runtime_root: &places.runtime,
            sdk: plan.sdk_path.as_deref(),
            memory_mb: self.function.memory_mb,
        };
        // A runtime that is gone says so on the other side: whoever listens hears it.
        match &mut self.link {
            Link::Channel(channel) => drop(channel.send(&start, &[]).await),
            Link::Api(api) => {
                let start = serde_json::to_vec(&start)
                    .map_err(|e| SandboxError::Launch { step: "start", reason: e.to_string() })?;
                if let Some(told) = api.start.take() {
                    let _ = told.send(start.into());
                }
            }
        }
        Ok(Ok(()))
    }

    async fn start_bootstrap(
        &mut self,
        ends: Option<Ends>,
        places: &Places,
        env: BTreeMap<String, String>,
        factory: &Factory,
    ) -> Phase {
        let Some(path) = find_bootstrap(&self.function, places) else {
            return Ok(Err(Verdict::NoEntrypoint(None)));
        };
        let program = Program {
            path,
            args: Vec::new(),
            env: env.into_iter().collect(),
            cwd: PathBuf::from(&places.task),
        };
        let Some(ends) = ends else {
            return Err(SandboxError::Launch { step: "start", reason: "started twice".into() });
        };
        match factory.exec(&mut self.body, ends, program, None).await {
            Ok(()) => Ok(Ok(())),
            Err(SandboxError::Entrypoint { path, reason }) => {
                Ok(Err(Verdict::NoEntrypoint(Some((path, reason)))))
            }
            Err(error) => Err(error),
        }
    }

    /// Notes a failed init phase in the log.
    pub async fn report_init(&mut self, verdict: &Verdict, init: Duration) {
        let (status, kind) = match verdict {
            Verdict::TimedOut(_) => ("timeout", None),
            Verdict::Failed { kind, .. } => ("error", Some(kind.as_str())),
            Verdict::NoEntrypoint(_) => ("error", Some("Runtime.InvalidEntrypoint")),
            Verdict::Extension(failure) => ("error", Some(failure.kind)),
            _ => ("error", Some("Runtime.ExitError")),
        };
        self.log.drain(true).await;
        self.log.add(report::init_report(init, status, kind));
        self.log.flush().await;
    }
}

/// The runtime's family and version as Lambda's log names them.
pub fn named(plan: &Plan) -> (&str, &str) {
    let family = match plan.family {
        Family::Python => "python",
        Family::Node => "nodejs",
        Family::Java => "java",
        Family::Provided => "provided",
    };
    if plan.version.is_empty() {
        return (family, plan.runtime.trim_start_matches("provided").trim_start_matches('.'));
    }
    (family, &plan.version)
}

pub fn places(
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
