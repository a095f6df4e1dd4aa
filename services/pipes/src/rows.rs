//! What is kept of a pipe. The parameters stay in the form of the API, as they were given and with AWS's defaults, for they
//! are shown again; `plan` reads them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_platform::Cx;
use tidemill_store::Table;

/// ARN → pipe, in the partition of the ARN.
pub const PIPES: Table<String, PipeRow> = Table::new("pipes.pipe");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipeRow {
    /// Names the pipe where another of the same name must not go on: in the checkpoints of streams.
    pub id: String,
    pub arn: String,
    pub name: String,
    pub account: String,
    pub region: String,
    pub description: Option<String>,
    /// Whether it is meant to run.
    pub wants_to_run: bool,
    /// `CREATE_FAILED` and its like; nothing where the pipe does what it is meant to.
    pub failed: Option<String>,
    /// Why it is in its state.
    pub reason: String,
    pub source: String,
    pub source_parameters: Value,
    pub enrichment: Option<String>,
    pub enrichment_parameters: Option<Value>,
    pub target: String,
    pub target_parameters: Option<Value>,
    pub role_arn: String,
    pub log: Option<Value>,
    pub tags: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub changed_at: i64,
}

/// The reason of states that a caller asked for.
pub const ASKED_FOR: &str = "USER_INITIATED";

impl PipeRow {
    pub fn runs(&self) -> bool {
        self.wants_to_run && self.failed.is_none()
    }

    /// `CurrentState` of a pipe that is not changing.
    pub fn state(&self) -> &str {
        match &self.failed {
            Some(state) => state,
            None => self.desired(),
        }
    }

    /// `DesiredState`
    pub fn desired(&self) -> &'static str {
        if self.wants_to_run { "RUNNING" } else { "STOPPED" }
    }
}

pub fn pipe_arn(cx: &Cx, name: &str) -> String {
    cx.arn("pipes", format!("pipe/{name}")).to_string()
}
