//! What a pipe writes about its executions, to a log group: one JSON line a step, as the level asks.
//! Source: "Logging Amazon EventBridge Pipes performance" and its log schema reference in the EventBridge user guide.

use serde_json::{Value, json};
use tidemill_platform::{Cx, Fault, doors::LogLine};

use crate::{api, api::LogLevel, plan::arn, plan::read};

/// What one record may hold, in bytes; longer execution data are cut.
const MOST_BYTES: usize = 256 << 10;
/// Room for everything that is not execution data.
const FRAME_BYTES: usize = 4 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Info,
    Trace,
}

pub struct Log {
    level: Level,
    with_data: bool,
    account: String,
    region: String,
    group: String,
    stream: String,
}

/// The records of one execution.
pub struct Execution<'a> {
    log: Option<&'a Log>,
    cx: &'a Cx,
    pipe_arn: &'a str,
    id: String,
}

/// What a step adds to its record.
#[derive(Default)]
pub struct Details<'a> {
    pub payload: Option<&'a str>,
    pub request: Option<&'a str>,
    pub response: Option<&'a str>,
    pub error: Option<&'a str>,
}

impl Log {
    /// `None` for a pipe that logs nothing.
    pub fn parse(pipe_name: &str, given: &Value) -> Result<Option<Log>, Fault> {
        let given: api::PipeLogConfigurationParameters = read(given)?;
        for (what, is_given) in [
            ("S3LogDestination", given.s3_log_destination.is_some()),
            ("FirehoseLogDestination", given.firehose_log_destination.is_some()),
        ] {
            if is_given {
                return Err(Fault::not_implemented(format!("pipes with {what}")));
            }
        }
        let level = match given.level {
            LogLevel::Error => Level::Error,
            LogLevel::Info => Level::Info,
            LogLevel::Trace => Level::Trace,
            _ => return Ok(None),
        };
        let group = given.cloudwatch_logs_log_destination.ok_or_else(|| {
            Fault::validation("LogConfiguration must have a log destination unless its level is OFF.")
        })?;
        let arn = arn(&group.log_group_arn)?;
        let group = arn.resource.trim_start_matches("log-group:").trim_end_matches(":*");
        Ok(Some(Log {
            level,
            with_data: given.include_execution_data.is_some_and(|all| !all.is_empty()),
            group: group.into(),
            account: arn.account,
            region: arn.region,
            stream: pipe_name.into(),
        }))
    }
}

impl<'a> Execution<'a> {
    pub fn begin(log: Option<&'a Log>, cx: &'a Cx, pipe_arn: &'a str) -> Execution<'a> {
        Execution { log, cx, pipe_arn, id: cx.random().uuid() }
    }

    /// Whether execution data are wanted: making them is not free.
    pub fn wants_data(&self) -> bool {
        self.log.is_some_and(|log| log.with_data)
    }

    pub fn step(&self, level: Level, step: &str) {
        self.tell(level, step, Details::default());
    }

    pub fn failed(&self, step: &str, error: &str) {
        self.tell(Level::Error, step, Details { error: Some(error), ..Details::default() });
    }

    pub fn tell(&self, level: Level, step: &str, details: Details<'_>) {
        let Some(log) = self.log.filter(|log| level <= log.level) else { return };
        let Some(logs) = self.cx.platform().doors.logs.get() else { return };
        let message = self.record(log, level, step, details).to_string();
        let line = LogLine { at: self.cx.now(), message };
        logs.write(&log.account, &log.region, &log.group, &log.stream, vec![line]);
    }

    fn record(&self, log: &Log, level: Level, step: &str, details: Details<'_>) -> Value {
        let level = match level {
            Level::Error => "ERROR",
            Level::Info => "INFO",
            Level::Trace => "TRACE",
        };
        let mut record = json!({
            "resourceArn": self.pipe_arn,
            "timestamp": self.cx.now().millis(),
            "executionId": self.id,
            "messageType": step,
            "logLevel": level,
        });
        if log.with_data {
            add_data(&mut record, &details);
        }
        if let Some(message) = details.error {
            record["error"] = json!({"message": cut(message, FRAME_BYTES / 2).0});
        }
        record
    }
}

/// The data that fit: the payload is cut first, then the request, then the response.
fn add_data(record: &mut Value, details: &Details<'_>) {
    let mut room = MOST_BYTES - FRAME_BYTES;
    let mut truncated = Vec::new();
    for (name, text) in
        [("awsResponse", details.response), ("awsRequest", details.request), ("payload", details.payload)]
    {
        let Some(text) = text else { continue };
        // Text in a record is escaped, which may double it.
        let (kept, is_cut) = cut(text, room / 2);
        room -= kept.len() * 2;
        record[name] = kept.into();
        if is_cut {
            truncated.push(name);
        }
    }
    if !truncated.is_empty() {
        record["truncatedFields"] = truncated.into();
    }
}

fn cut(text: &str, most: usize) -> (&str, bool) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], end < text.len())
}
