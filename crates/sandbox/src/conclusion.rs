//! The end of an invocation: the closing lines of its log, telemetry's report, and the outcome for whoever called.

use std::time::Duration;

use crate::diary::Diary;
use crate::logs::LogReader;
use crate::report::{self, Report, Restored};
use crate::verdict::Verdict;
use crate::{FunctionErrorKind, Invocation, Outcome, Overhead};

/// What was measured of an invocation.
pub struct Conclusion {
    pub duration: Duration,
    /// Of the init phase, when this was a cold start.
    pub init: Option<Duration>,
    /// Of the restore, when it was one from a snapshot.
    pub restore: Option<Restored>,
    pub cold: bool,
    /// Something was ended for want of memory.
    pub out_of_memory: bool,
    /// The most memory that was seen in use; running out of it counts as all.
    pub max_memory_mb: u32,
}

/// Writes the closing lines and makes the outcome. Everything the function printed is in `log`.
pub async fn conclude(
    log: &mut LogReader,
    diary: &Diary,
    invocation: &Invocation,
    verdict: Verdict,
    measured: Conclusion,
) -> Outcome {
    let Conclusion { duration, init, restore, cold, .. } = measured;
    let memory_mb = diary.function.memory_mb;
    let concluded = verdict.conclude(&invocation.request_id, measured.out_of_memory);
    if let Some(line) = concluded.line {
        log.add(line);
    }
    let billed_ms = (duration + init.unwrap_or_default()).as_micros().div_ceil(1000) as u64;
    let max_memory_mb = if concluded.out_of_memory { memory_mb } else { measured.max_memory_mb };
    let status = concluded.status.map(|status| (status, concluded.reported_kind.as_deref()));
    let report = Report {
        request_id: &invocation.request_id,
        duration,
        billed_ms,
        memory_mb,
        max_memory_mb,
        init,
        restore,
        status,
        error_type: concluded.error_type.as_deref(),
        trace_header: invocation.trace_header.as_deref().filter(|header| header.contains("Sampled=1")),
    };
    log.add(report::end(&invocation.request_id));
    log.add(report.line());
    diary.reported(&report);
    let log_tail = log.tail();
    log.flush().await;
    Outcome {
        payload: concluded.payload,
        function_error: concluded.error_type.as_ref().map(|_| FunctionErrorKind::Unhandled),
        error_type: concluded.error_type,
        duration,
        billed_ms,
        init,
        memory_mb,
        max_memory_mb,
        log_stream: diary.log_stream.to_string(),
        log_tail,
        cold,
        overhead: Overhead::default(),
    }
}
