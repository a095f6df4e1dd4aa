//! What accompanies a sandbox from init to its end: its log stream, its extensions, and the telemetry of what happens in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::extensions::{Extensions, InvokeEvent};
use crate::logs::{LogReader, LogSender};
use crate::report::{self, Report};
use crate::sandbox::random_bytes;
use crate::spawner::Control;
use crate::telemetry::{Kind, Telemetry};
use crate::verdict::Verdict;
use crate::{FunctionSpec, Hooks, Invocation};

/// A sandbox's companions. Its clones share them.
#[derive(Clone)]
pub struct Diary {
    pub function: Arc<FunctionSpec>,
    pub log_stream: Arc<str>,
    pub extensions: Arc<Extensions>,
    pub telemetry: Arc<Telemetry>,
    lines: LogSender,
}

/// The runtime of an init phase, as telemetry names it.
pub struct Begun<'a> {
    pub version: String,
    pub region: &'a str,
}

impl Diary {
    /// Begins a log stream; `log` is what the function prints.
    pub fn begin(
        log: &mut LogReader,
        hooks: &Hooks,
        function: &Arc<FunctionSpec>,
        control: Option<Arc<Control>>,
    ) -> Self {
        let log_stream: Arc<str> =
            report::log_stream_name(SystemTime::now(), &function.version, &random_bytes()).into();
        let lines = log.attach(hooks.logs.clone(), function.clone(), log_stream.clone());
        let telemetry = Arc::new(Telemetry::new(control, function.json_logs));
        log.watched_by(telemetry.clone(), Kind::Function);
        Self { function: function.clone(), log_stream, extensions: Arc::default(), telemetry, lines }
    }

    /// Has what `log` reads go to the same stream.
    pub fn attach(&self, log: &mut LogReader, kind: Kind) {
        log.share(self.lines.clone());
        log.watched_by(self.telemetry.clone(), kind);
    }

    pub fn init_started(&self, begun: &Begun<'_>) {
        let (family, version) = begun.version.split_once(':').unwrap_or((&begun.version, ""));
        self.telemetry.platform("platform.initStart", || {
            json!({
                "initializationType": self.function.initialization.as_str(),
                "phase": "init",
                "runtimeVersion": begun.version,
                "runtimeVersionArn": report::runtime_version_arn(family, version, begun.region),
                "functionName": self.function.name,
                "functionVersion": self.function.version,
            })
        });
    }

    /// The runtime is done with init, well or not.
    pub fn init_ran(&self, result: &Result<(), Verdict>) {
        self.telemetry.platform("platform.initRuntimeDone", || {
            let mut record =
                json!({ "initializationType": self.function.initialization.as_str(), "phase": "init" });
            add_status(&mut record, result.as_ref().err());
            record
        });
    }

    /// Init is over; nobody may register or subscribe any more. Gives the lines the log has about extensions.
    pub fn init_ended(&self, result: &Result<(), Verdict>, took: Duration) -> Vec<String> {
        let mut lines = self.telemetry.subscriptions();
        for (name, state, events) in self.extensions.close() {
            lines.push(format!("EXTENSION\tName: {name}\tState: {state}\tEvents: [{}]\n", events.join(",")));
            self.telemetry
                .platform("platform.extension", || json!({ "name": name, "state": state, "events": events }));
        }
        self.telemetry.platform("platform.initReport", || {
            let mut record = json!({
                "initializationType": self.function.initialization.as_str(),
                "phase": "init",
                "metrics": { "durationMs": millis(took) },
            });
            add_status(&mut record, result.as_ref().err());
            record
        });
        self.telemetry.close();
        lines
    }

    /// A copy from a snapshot is ready, or its hooks failed; nobody may register or subscribe any more.
    pub fn restored(&self, result: &Result<(), Verdict>, took: Duration) {
        self.extensions.close();
        self.telemetry.platform("platform.restoreReport", || {
            let mut record = json!({ "metrics": { "durationMs": millis(took) } });
            add_status(&mut record, result.as_ref().err());
            record
        });
        self.telemetry.close();
    }

    /// An invocation begins: extensions hear of it, and telemetry.
    pub fn invoked(&self, invocation: &Invocation, deadline: SystemTime) {
        self.telemetry.platform("platform.start", || {
            let mut record = json!({ "requestId": invocation.request_id, "version": self.function.version });
            add_tracing(&mut record, invocation);
            record
        });
        if self.extensions.any() {
            self.extensions.invoke(&InvokeEvent {
                request_id: &invocation.request_id,
                deadline_ms: deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
                arn: invocation.invoked_arn.as_deref().unwrap_or(&self.function.arn),
                trace: invocation.trace_header.as_deref(),
            });
        }
    }

    /// The runtime is done with the invocation.
    pub fn ran(&self, invocation: &Invocation, verdict: &Verdict, took: Duration) {
        self.telemetry.platform("platform.runtimeDone", || {
            let mut metrics = json!({ "durationMs": millis(took) });
            if let (Verdict::Done(payload), Some(metrics)) = (verdict, metrics.as_object_mut()) {
                metrics.insert("producedBytes".into(), payload.len().into());
            }
            let mut record = json!({ "requestId": invocation.request_id, "metrics": metrics });
            add_status(&mut record, Some(verdict));
            add_tracing(&mut record, invocation);
            record
        });
    }

    pub fn reported(&self, report: &Report<'_>) {
        self.telemetry.platform("platform.report", || {
            let mut metrics = json!({
                "durationMs": millis(report.duration),
                "billedDurationMs": report.billed_ms,
                "memorySizeMB": report.memory_mb,
                "maxMemoryUsedMB": report.max_memory_mb,
            });
            if let (Some(init), Some(metrics)) = (report.init, metrics.as_object_mut()) {
                metrics.insert("initDurationMs".into(), millis(init).into());
            }
            let answered = report.error_type.map_or(("success", None), |kind| ("error", Some(kind)));
            let (status, kind) = report.status.unwrap_or(answered);
            let mut record = json!({ "requestId": report.request_id, "metrics": metrics, "status": status });
            if let (Some(kind), Some(record)) = (kind, record.as_object_mut()) {
                record.insert("errorType".into(), kind.into());
            }
            record
        });
    }
}

/// `status` and `errorType`, as telemetry words them.
fn add_status(record: &mut Value, verdict: Option<&Verdict>) {
    let (status, kind) = match verdict {
        None | Some(Verdict::Done(_)) => ("success", None),
        Some(Verdict::TimedOut(_)) => ("timeout", None),
        Some(Verdict::Failed { kind, .. }) => ("error", Some(kind.as_str())),
        Some(Verdict::TooLarge(_)) => ("error", Some("Function.ResponseSizeTooLarge")),
        Some(Verdict::Exited(_) | Verdict::Trapped(_)) => ("failure", Some("Runtime.ExitError")),
        Some(Verdict::NoEntrypoint(_)) => ("failure", Some("Runtime.InvalidEntrypoint")),
        Some(Verdict::Extension(failure)) => ("failure", Some(failure.kind)),
    };
    let Some(fields) = record.as_object_mut() else { return };
    fields.insert("status".into(), status.into());
    if let Some(kind) = kind {
        fields.insert("errorType".into(), kind.into());
    }
}

fn add_tracing(record: &mut Value, invocation: &Invocation) {
    if let (Some(trace), Some(fields)) = (&invocation.trace_header, record.as_object_mut()) {
        fields.insert("tracing".into(), json!({ "type": "X-Amzn-Trace-Id", "value": trace }));
    }
}

/// Milliseconds with at most three decimals.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
