//! One live sandbox: a runtime that was given a function. It is initialised once (`init.rs`), then invoked, one invocation at a time, and
//! ended gently where it has extensions (`farewell.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use tokio::task::JoinSet;

use crate::body::Body;
use crate::cgroup::Cgroup;
use crate::channel::RESPONSE_MAX;
use crate::conclusion::{Conclusion, conclude};
use crate::diary::Diary;
use crate::extensions::{Failure, ShutdownReason};
use crate::link::{Link, Said};
use crate::logs::LogReader;
use crate::network;
use crate::report::{self, Exit, Restored};
use crate::runtimes::plan::NODE_PARENT_MODULES;
use crate::spawner::messages::Command;
use crate::streamed::{Streamed, Taken};
use crate::verdict::Verdict;
use crate::waiting::{Factory, Waiting};
use crate::{FunctionSpec, Hooks, Initialization, Invocation, Outcome, SandboxError};

/// A sandbox gets its role's credentials once, for twelve hours; an invocation takes fifteen minutes at most.
pub const LONGEST_LIFE: Duration = Duration::from_secs(11 * 3600);

pub struct Sandbox {
    pub function: Arc<FunctionSpec>,
    pub body: Body,
    pub link: Link,
    pub log: LogReader,
    pub rss_kb: u64,
    /// When its credentials were made, or those it was restored with.
    pub born: Instant,
    /// Whether its runtime said that it ends.
    ending: bool,
    /// How long its restore took, until an invocation has reported it.
    pub restored: Option<Restored>,
    /// Its log stream, its extensions and its telemetry.
    pub diary: Diary,
    /// When the current invocation must be over, for extensions too.
    pub deadline: Instant,
    pub ended_by: ShutdownReason,
    /// What serves the function's endpoint and its extensions; ends with the sandbox.
    pub servers: JoinSet<()>,
}

impl Sandbox {
    /// Gives a waiting runtime its function: limits, mounts, network. Its code has not run yet.
    pub async fn assign(
        waiting: Waiting,
        function: Arc<FunctionSpec>,
        factory: &Factory,
        hooks: &Hooks,
    ) -> Result<Self, SandboxError> {
        mount(&waiting, &function, factory).await?;
        Self::settle(waiting, function, factory, hooks)
    }

    /// What of that is left when everything is mounted.
    pub fn settle(
        mut waiting: Waiting,
        function: Arc<FunctionSpec>,
        factory: &Factory,
        hooks: &Hooks,
    ) -> Result<Self, SandboxError> {
        let memory = waiting.body.cgroup.as_ref().and_then(|group| {
            group.limit(function.memory_mb, factory.namespaces().then_some(function.tmp_mb))
        });
        let control = waiting.body.cell.as_ref().map(|cell| cell.control.clone());
        let diary = Diary::begin(&mut waiting.log, hooks, &function, control);
        let mut servers = network::serve(&mut waiting, &diary, factory, hooks)
            .map_err(|e| SandboxError::Launch { step: "network", reason: e.to_string() })?;
        if let Some(watch) = memory {
            servers.spawn(watch.run());
        }
        let Waiting { body, link, log, .. } = waiting;
        let now = Instant::now();
        let ended_by = ShutdownReason::Spindown;
        Ok(Self {
            function,
            body,
            link,
            log,
            rss_kb: 0,
            born: now,
            ending: false,
            restored: None,
            diary,
            deadline: now,
            ended_by,
            servers,
        })
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
        self.deadline = begun + limit;
        self.diary.invoked(invocation, now + limit);
        let verdict = self.run(invocation, limit, used).await;
        if self.diary.telemetry.wanted() {
            // What it printed is told before that it is done.
            self.log.drain(false).await;
        }
        let took = begun.elapsed();
        if self.function.json_logs.is_some() {
            // What was printed belongs before the platform's word on it.
            self.log.drain(false).await;
        }
        self.diary.ran(invocation, &verdict, took);
        (verdict, took)
    }

    /// Hands the invocation over and hears what becomes of it.
    async fn run(&mut self, invocation: &Invocation, limit: Duration, used: Duration) -> Verdict {
        let (begun, now) = (Instant::now(), SystemTime::now());
        if self.link.invoke(invocation, &self.function.arn, now + limit).await.is_err() {
            return Verdict::Exited(self.end_of_process().await);
        }
        let mut streamed = Streamed::new(invocation.pieces.clone());
        loop {
            return match self.hear(begun + limit).await {
                Heard::Said(Said::Ready { .. }) => continue,
                Heard::Said(Said::Piece(piece)) => {
                    match streamed.take(piece, begun + limit, &mut self.log).await {
                        Taken::Yes => continue,
                        Taken::TimedOut => Verdict::TimedOut(limit + used),
                    }
                }
                Heard::Said(Said::Response { .. }) if streamed.too_large() => {
                    Verdict::TooLarge(streamed.limit())
                }
                Heard::Said(Said::Response { body: Some(body), rss_kb }) => {
                    self.rss_kb = self.rss_kb.max(rss_kb);
                    Verdict::Done(if streamed.begun() { streamed.into_bytes() } else { body })
                }
                Heard::Said(Said::Response { body: None, .. }) => Verdict::TooLarge(RESPONSE_MAX),
                Heard::Said(Said::Error { kind, body, rss_kb, last }) => {
                    self.rss_kb = self.rss_kb.max(rss_kb);
                    self.ending = last;
                    Verdict::Failed { kind, body }
                }
                Heard::Said(Said::InitError { kind, body, rss_kb }) => {
                    self.rss_kb = self.rss_kb.max(rss_kb);
                    Verdict::Failed { kind, body }
                }
                Heard::Ended(exit) => Verdict::Exited(exit),
                Heard::Broken(failure) => Verdict::Extension(failure),
                Heard::TimedOut => Verdict::TimedOut(limit + used),
            };
        }
    }

    /// Whether its runtime is ending, or its credentials may end during another invocation: it is used no more.
    pub fn outlived(&self) -> bool {
        self.ending || self.born.elapsed() > LONGEST_LIFE
    }

    /// Whether it was made ahead, and is kept.
    pub fn provisioned(&self) -> bool {
        self.function.initialization == Initialization::Provisioned
    }

    /// Hands on what was printed while nobody waited for it.
    pub async fn flush_log(&mut self) {
        self.log.flush().await;
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
        self.ended_by = match verdict {
            Verdict::TimedOut(_) => ShutdownReason::Timeout,
            Verdict::Exited(_) | Verdict::Extension(_) => ShutdownReason::Failure,
            _ => ShutdownReason::Spindown,
        };
        let out_of_memory = matches!(verdict, Verdict::Exited(_))
            && self.body.cgroup.as_ref().is_some_and(|group| group.ran_out_of_memory());
        let max_memory_mb = self.max_memory_mb();
        let restore = self.restored.take();
        let measured = Conclusion { duration, init, restore, cold, out_of_memory, max_memory_mb };
        conclude(&mut self.log, &self.diary, invocation, verdict, measured).await
    }

    fn max_memory_mb(&self) -> u32 {
        let group = self.body.cgroup.as_ref().map_or(0, |group| group.peak());
        let bytes = group.max(self.rss_kb << 10);
        (bytes.div_ceil(1 << 20) as u32).clamp(1, self.function.memory_mb)
    }

    /// The next thing the runtime says, or what keeps it from that.
    pub async fn hear(&mut self, deadline: Instant) -> Heard {
        let heard = tokio::select! {
            biased;
            said = self.link.listen() => said.map(Heard::Said),
            failure = self.diary.extensions.failed() => Some(Heard::Broken(failure)),
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

/// What came first.
pub enum Heard {
    Said(Said),
    /// The runtime's process has ended.
    Ended(Exit),
    /// An extension failed.
    Broken(Failure),
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
    let freezer = waiting.body.cgroup.as_ref().and_then(Cgroup::v1_freezer);
    let done = cell
        .control
        .command(&command, freezer.as_slice())
        .await
        .map_err(|e| SandboxError::Launch { step: "assign", reason: e.to_string() })?;
    match done.error {
        None => Ok(()),
        Some((_, reason, _)) => Err(unusable(reason)),
    }
}

pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Without a source of randomness the stream's name is still valid, only not unique.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
