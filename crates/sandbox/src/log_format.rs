//! Logs in JSON: which levels of a function's own lines and of the platform's events reach the log.
//!
//! Sources: "Log level filtering" and "System log level event mapping" in the Lambda developer guide.

use serde::Deserialize;
use serde_json::Value;

/// From the most talkative to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl LogLevel {
    /// Reads Lambda's names, in any case, and those of Python's logging.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" | "WARNING" => Self::Warn,
            "ERROR" => Self::Error,
            "FATAL" | "CRITICAL" => Self::Fatal,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// The lowest levels that reach a log in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLogs {
    /// Of what the function prints.
    pub application: LogLevel,
    /// Of the platform's own events.
    pub system: LogLevel,
}

impl JsonLogs {
    pub fn shows_line(&self, line: &str) -> bool {
        // At the lowest level everything is shown: no need to read it.
        self.application == LogLevel::Trace || level_of_line(line) >= self.application
    }

    pub fn shows_event(&self, event: &str, record: &Value) -> bool {
        level_of_event(event, record) >= self.system
    }
}

/// A line without a level is information.
fn level_of_line(line: &str) -> LogLevel {
    #[derive(Deserialize)]
    struct Leveled<'a> {
        #[serde(borrow, alias = "log_level")]
        level: Option<std::borrow::Cow<'a, str>>,
    }
    if !line.starts_with('{') {
        return LogLevel::Info;
    }
    let read: Option<Leveled<'_>> = serde_json::from_str(line).ok();
    read.and_then(|line| LogLevel::parse(&line.level?)).unwrap_or(LogLevel::Info)
}

fn level_of_event(event: &str, record: &Value) -> LogLevel {
    let well = record.get("status").and_then(Value::as_str).is_none_or(|status| status == "success");
    let on_demand = record.get("initializationType").and_then(Value::as_str) == Some("on-demand");
    match event {
        "platform.logsDropped" => LogLevel::Warn,
        _ if !well => LogLevel::Warn,
        "platform.initRuntimeDone" | "platform.runtimeDone" => LogLevel::Debug,
        "platform.initReport" if on_demand => LogLevel::Debug,
        _ => LogLevel::Info,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_have_the_level_they_say() {
        for (line, level) in [
            ("plain", LogLevel::Info),
            (r#"{"level": "debug", "msg": "x"}"#, LogLevel::Debug),
            (r#"{"level": "CRITICAL"}"#, LogLevel::Fatal),
            (r#"{"log_level": "ERROR"}"#, LogLevel::Error),
            (r#"{"level": 3}"#, LogLevel::Info),
            (r#"{"level": "loud"}"#, LogLevel::Info),
            ("{broken", LogLevel::Info),
        ] {
            assert_eq!(level_of_line(line), level, "{line}");
        }
    }

    #[test]
    fn what_goes_wrong_is_a_warning() {
        for (event, record, level) in [
            ("platform.start", json!({}), LogLevel::Info),
            ("platform.runtimeDone", json!({"status": "success"}), LogLevel::Debug),
            ("platform.runtimeDone", json!({"status": "timeout"}), LogLevel::Warn),
            ("platform.report", json!({"status": "success"}), LogLevel::Info),
            ("platform.report", json!({"status": "error"}), LogLevel::Warn),
            (
                "platform.initReport",
                json!({"initializationType": "on-demand", "status": "success"}),
                LogLevel::Debug,
            ),
            (
                "platform.initReport",
                json!({"initializationType": "snap-start", "status": "success"}),
                LogLevel::Info,
            ),
        ] {
            assert_eq!(level_of_event(event, &record), level, "{event}");
        }
    }
}
