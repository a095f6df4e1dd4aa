//! The lines and error objects Lambda itself writes around an invocation, word for word.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub fn start(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}\n")
}

pub fn end(request_id: &str) -> String {
    format!("END RequestId: {request_id}\n")
}

/// `family` and `version` as in `python` and `3.11.7`: Lambda counts its builds (`python:3.11.v38`), we name the interpreter's own version.
pub fn init_start(family: &str, version: &str, region: &str) -> String {
    let arn = runtime_version_arn(family, version, region);
    format!("INIT_START Runtime Version: {family}:{version}\tRuntime Version ARN: {arn}\n")
}

pub fn runtime_version_arn(family: &str, version: &str, region: &str) -> String {
    format!("arn:aws:lambda:{region}::runtime:{family}-{version}")
}

/// The line about an init phase that failed. `status` is `error` or `timeout`.
pub fn init_report(init: Duration, status: &str, error_type: Option<&str>) -> String {
    let kind = error_type.map(|kind| format!("\tError Type: {kind}")).unwrap_or_default();
    format!("INIT_REPORT Init Duration: {} ms\tPhase: init\tStatus: {status}{kind}\n", millis(init))
}

/// The line before a restore from a snapshot.
pub fn restore_start(family: &str, version: &str, region: &str) -> String {
    init_start(family, version, region).replacen("INIT_START", "RESTORE_START", 1)
}

/// The line after it.
pub fn restore_report(took: Duration, failed: Option<&str>) -> String {
    let status = failed.map(|kind| format!("\tStatus: error\tError Type: {kind}")).unwrap_or_default();
    format!("RESTORE_REPORT Restore Duration: {} ms{status}\n", millis(took))
}

/// How long a restore took, and how much of that the function's own code did.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    pub took: Duration,
    pub billed: Duration,
}

/// What the REPORT line says.
pub struct Report<'a> {
    pub request_id: &'a str,
    pub duration: Duration,
    pub billed_ms: u64,
    pub memory_mb: u32,
    pub max_memory_mb: u32,
    pub init: Option<Duration>,
    pub restore: Option<Restored>,
    /// `timeout`, or `error` with its type.
    pub status: Option<(&'a str, Option<&'a str>)>,
    /// The type of the error the function answered; only logs in JSON and telemetry say it.
    pub error_type: Option<&'a str>,
    pub trace_header: Option<&'a str>,
}

impl Report<'_> {
    pub fn line(&self) -> String {
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
            self.request_id,
            millis(self.duration),
            self.billed_ms,
            self.memory_mb,
            self.max_memory_mb
        );
        if let Some(init) = self.init {
            line.push_str(&format!("Init Duration: {} ms\t", millis(init)));
        }
        if let Some(restore) = self.restore {
            line.push_str(&format!(
                "Restore Duration: {} ms\tBilled Restore Duration: {} ms\t",
                millis(restore.took),
                restore.billed.as_micros().div_ceil(1000)
            ));
        }
        if let Some((status, kind)) = self.status {
            line.push_str(&format!("Status: {status}\t"));
            if let Some(kind) = kind {
                line.push_str(&format!("Error Type: {kind}\t"));
            }
        }
        line.push('\n');
        if let Some(trace) = self.trace_header {
            line.push_str(&xray(trace));
        }
        line
    }
}

/// `XRAY TraceId: ...` from `Root=...;Parent=...;Sampled=1`.
fn xray(header: &str) -> String {
    let field =
        |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let Some(root) = field("Root") else { return String::new() };
    let mut line = format!("XRAY TraceId: {root}\t");
    if let Some(parent) = field("Parent") {
        line.push_str(&format!("SegmentId: {parent}\t"));
    }
    if let Some(sampled) = field("Sampled") {
        line.push_str(&format!("Sampled: {}\t", sampled == "1"));
    }
    line.push('\n');
    line
}

pub fn timed_out_line(now: SystemTime, request_id: &str, timeout: Duration) -> String {
    format!("{} {request_id} Task timed out after {:.2} seconds\n\n", iso_millis(now), timeout.as_secs_f64())
}

/// `Sandbox.Timedout`, as a function's caller gets it.
pub fn timed_out(request_id: &str, timeout: Duration) -> (String, Bytes) {
    error(
        "Sandbox.Timedout",
        &format!("RequestId: {request_id} Error: Task timed out after {:.2} seconds", timeout.as_secs_f64()),
    )
}

/// How a runtime process ended, from its wait status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Status(i32),
    Signal(i32),
    Unknown,
}

impl Exit {
    pub fn from_wait_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Self::Status(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Unknown
        }
    }

    /// `Runtime exited with error: exit status 1`
    fn reason(self) -> String {
        match self {
            Self::Status(0) | Self::Unknown => "Runtime exited without providing a reason".into(),
            Self::Status(code) => format!("Runtime exited with error: exit status {code}"),
            Self::Signal(number) => format!("Runtime exited with error: signal: {}", signal_name(number)),
        }
    }
}

/// `Runtime.ExitError`: the type, the object for the caller and the line for the log.
pub fn exited(request_id: &str, exit: Exit) -> (String, Bytes, String) {
    let message = format!("RequestId: {request_id} Error: {}", exit.reason());
    let (kind, body) = error("Runtime.ExitError", &message);
    (kind, body, format!("{message}\nRuntime.ExitError\n"))
}

/// A WebAssembly program that trapped: `wasm trap: wasm \`unreachable\` instruction executed`.
pub fn trapped(request_id: &str, reason: &str) -> (String, Bytes, String) {
    let message = format!("RequestId: {request_id} Error: {reason}");
    let (kind, body) = error("Runtime.ExitError", &message);
    (kind, body, format!("{message}\nRuntime.ExitError\n"))
}

/// An extension that failed: `exit code 1`, `fork/exec ...: permission denied`.
pub fn extension_failed(request_id: &str, kind: &str, how: &str) -> (String, Bytes, String) {
    let message = format!("RequestId: {request_id} Error: {how}");
    let (kind, body) = error(kind, &message);
    let line = format!("{message}\n{kind}\n");
    (kind, body, line)
}

/// `limit` in bytes.
pub fn too_large(limit: usize) -> (String, Bytes) {
    error(
        "Function.ResponseSizeTooLarge",
        &format!("Response payload size exceeded maximum allowed payload size ({limit} bytes)."),
    )
}

/// An executable that cannot be started: `fork/exec /var/task/bootstrap: permission denied`.
pub fn invalid_entrypoint(request_id: &str, path: &str, reason: &str) -> (String, Bytes, String) {
    let message = format!("RequestId: {request_id} Error: fork/exec {path}: {reason}");
    let (kind, body) = error("Runtime.InvalidEntrypoint", &message);
    (kind, body, format!("{message}\nRuntime.InvalidEntrypoint\n"))
}

/// No `bootstrap` in the code or the layers.
pub fn no_bootstrap(request_id: &str) -> (String, Bytes, String) {
    let message = format!(
        "RequestId: {request_id} Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    );
    let (kind, body) = error("Runtime.InvalidEntrypoint", &message);
    (kind, body, format!("{message}\nRuntime.InvalidEntrypoint\n"))
}

fn error(kind: &str, message: &str) -> (String, Bytes) {
    let body = serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string();
    (kind.to_owned(), Bytes::from(body))
}

/// The names Go's runtime gives signals, which Lambda prints.
fn signal_name(number: i32) -> String {
    match number {
        libc::SIGKILL => "killed".into(),
        libc::SIGSEGV => "segmentation fault".into(),
        libc::SIGABRT => "aborted".into(),
        libc::SIGTERM => "terminated".into(),
        libc::SIGINT => "interrupt".into(),
        libc::SIGBUS => "bus error".into(),
        libc::SIGFPE => "floating point exception".into(),
        libc::SIGILL => "illegal instruction".into(),
        libc::SIGPIPE => "broken pipe".into(),
        libc::SIGHUP => "hangup".into(),
        libc::SIGQUIT => "quit".into(),
        libc::SIGTRAP => "trace/breakpoint trap".into(),
        libc::SIGALRM => "alarm clock".into(),
        libc::SIGSYS => "bad system call".into(),
        other => format!("signal {other}"),
    }
}

/// Milliseconds with two decimals, as Lambda prints durations.
pub fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

/// `2026-11-23T08:00:00.000Z`
pub fn iso_millis(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|t| format!("{t:.3}")).unwrap_or_default()
}

/// `2026/11/23/[$LATEST]<32 hex>`
pub fn log_stream_name(now: SystemTime, version: &str, unique: &[u8; 16]) -> String {
    let day = jiff::Timestamp::try_from(now).map(|t| t.strftime("%Y/%m/%d").to_string()).unwrap_or_default();
    format!("{day}/[{version}]{}", hex::encode(unique))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_line_as_lambda_prints_it() {
        let report = Report {
            request_id: "id",
            duration: Duration::from_micros(1234),
            billed_ms: 2,
            memory_mb: 128,
            max_memory_mb: 40,
            init: Some(Duration::from_millis(100)),
            restore: None,
            status: None,
            error_type: None,
            trace_header: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"),
        };
        assert_eq!(
            report.line(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 100.00 ms\t\nXRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t\n"
        );
    }

    #[test]
    fn exits_are_named_as_lambda_names_them() {
        let text = |status| exited("id", Exit::from_wait_status(status)).2;
        assert_eq!(
            text(256),
            "RequestId: id Error: Runtime exited with error: exit status 1\nRuntime.ExitError\n"
        );
        assert_eq!(
            text(9),
            "RequestId: id Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"
        );
        assert_eq!(
            text(0),
            "RequestId: id Error: Runtime exited without providing a reason\nRuntime.ExitError\n"
        );
    }

    #[test]
    fn names_of_streams_and_times() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000);
        assert_eq!(
            log_stream_name(time, "$LATEST", &[0xab; 16]),
            format!("2023/11/14/[$LATEST]{}", "ab".repeat(16))
        );
        assert_eq!(
            timed_out_line(time, "id", Duration::from_secs(3)),
            "2023-11-14T22:13:20.000Z id Task timed out after 3.00 seconds\n\n"
        );
    }
}
