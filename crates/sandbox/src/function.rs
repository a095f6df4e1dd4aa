//! What is run: a function as the executor needs to know it, and one invocation of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{CredentialsProvider, JsonLogs, Piece};

/// A function version with everything a sandbox is made from. Two specs with the same `arn`, `version` and `revision` share sandboxes.
#[derive(Clone)]
pub struct FunctionSpec {
    /// The ARN functions see as `invoked_function_arn` unless the invocation names another; also the key of `Executor::forget`.
    pub arn: String,
    pub name: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// `python3.11`, `nodejs20.x`, `provided.al2023`, ...
    pub runtime: String,
    /// `module.function`; given to `provided` runtimes as `_HANDLER`.
    pub handler: String,
    /// The extracted code, mounted read-only as `/var/task`. Files must be readable by others, as on AWS.
    pub code_dir: PathBuf,
    /// Extracted layers, merged in this order as `/opt`; later ones win.
    pub layers: Vec<PathBuf>,
    /// The user's variables; reserved names in it are overridden.
    pub env: BTreeMap<String, String>,
    /// 128 to 10,240.
    pub memory_mb: u32,
    /// 1,000 to 900,000.
    pub timeout_ms: u64,
    /// Size of `/tmp` in MB, 512 to 10,240.
    pub tmp_mb: u32,
    pub credentials: Arc<dyn CredentialsProvider>,
    pub log_group: String,
    /// The log's format is JSON, with these levels; `None` is text.
    pub json_logs: Option<JsonLogs>,
    pub tracing: Tracing,
    /// Whether it reaches anything but the platform; only where `ExecutorConfig::outbound_network` allows it.
    pub outbound_network: bool,
    /// Changes whenever code or configuration does (a code hash, a revision id); sandboxes of another revision are not used again.
    pub revision: String,
    /// What its sandboxes say of how they came about.
    pub initialization: Initialization,
}

/// `AWS_LAMBDA_INITIALIZATION_TYPE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initialization {
    /// For the invocation that needed it.
    #[default]
    OnDemand,
    /// Made ahead, and kept.
    Provisioned,
    /// Restored from a snapshot taken after the init phase.
    SnapStart,
}

impl Initialization {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Provisioned => "provisioned-concurrency",
            Self::SnapStart => "snap-start",
        }
    }
}

/// Lambda's `TracingConfig.Mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracing {
    #[default]
    PassThrough,
    Active,
}

/// One invocation.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// A UUID; appears in the logs and as the context's `aws_request_id`.
    pub request_id: String,
    /// The event, JSON text (at most 6 MB, which the caller checks).
    pub payload: Bytes,
    /// When it is to be ended if that is before the function's own timeout.
    pub deadline: Option<SystemTime>,
    /// The ARN that was called when it is not the function's own (an alias, a version).
    pub invoked_arn: Option<String>,
    /// `X-Amzn-Trace-Id`: `Root=1-...;Parent=...;Sampled=1`.
    pub trace_header: Option<String>,
    /// The client context as JSON text, already base64-decoded.
    pub client_context: Option<String>,
    /// `{"cognitoIdentityId": ..., "cognitoIdentityPoolId": ...}` as JSON text.
    pub cognito_identity: Option<String>,
    /// Takes the pieces of a streamed answer while they come; without it they are gathered into the outcome's payload.
    pub pieces: Option<mpsc::Sender<Piece>>,
}

impl Invocation {
    pub fn new(request_id: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { request_id: request_id.into(), payload: payload.into(), ..Self::default() }
    }
}

impl std::fmt::Debug for FunctionSpec {
    /// Names the function without its environment: variables hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionSpec")
            .field("arn", &self.arn)
            .field("version", &self.version)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}
