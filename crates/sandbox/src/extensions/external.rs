//! External extensions: the executables in `extensions/` of a function's layers, each started before the runtime.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::registry::{Extensions, Failure};
use crate::body::{Body, ProcessWatch};
use crate::diary::Diary;
use crate::logs::LogReader;
use crate::report;
use crate::spawner::messages::Program;
use crate::telemetry::Kind;
use crate::waiting::{Ends, Factory};
use crate::{FunctionSpec, SandboxError};

/// What extensions do not see of the function's environment ("Lambda Extensions API", environment variables).
const RUNTIME_ONLY: [&str; 10] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_HANDLER",
];

/// The names of the programs a function's layers bring, in order.
pub fn wanted(function: &FunctionSpec) -> BTreeSet<String> {
    let folders = function.layers.iter().map(|layer| layer.join("extensions"));
    let entries = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    entries
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Starts a program; `servers` takes what reads its output and notices its end. An error is what Lambda says when it cannot be started.
pub async fn start(
    name: &str,
    env: &[(String, String)],
    body: &mut Body,
    factory: &Factory,
    diary: &Diary,
    servers: &mut JoinSet<()>,
) -> Result<Result<(), Failure>, SandboxError> {
    if !factory.namespaces() {
        let message = "functions have no sandboxes of their own on this machine, so no extensions".to_owned();
        return Ok(Err(Failure { kind: "Extension.LaunchError", message }));
    }
    let failed =
        |error: std::io::Error| SandboxError::Launch { step: "extension", reason: error.to_string() };
    let (mut log, log_end) = LogReader::pipe().map_err(failed)?;
    let (mut process, status_end) = ProcessWatch::pipe().map_err(failed)?;
    let program = Program {
        path: PathBuf::from("/opt/extensions").join(name),
        args: Vec::new(),
        env: env.iter().filter(|(name, _)| !RUNTIME_ONLY.contains(&name.as_str())).cloned().collect(),
        cwd: "/".into(),
    };
    let ends = Ends { log: log_end, status: status_end, program: None };
    match factory.exec_beside(body, ends, program).await {
        Ok(()) => {}
        Err(SandboxError::Entrypoint { path, reason }) => {
            let message = format!("fork/exec {path}: {reason}");
            return Ok(Err(Failure { kind: "Extension.LaunchError", message }));
        }
        Err(error) => return Err(error),
    }
    diary.extensions.started(name);
    diary.attach(&mut log, Kind::Extension);
    let (extensions, name): (Arc<Extensions>, _) = (diary.extensions.clone(), name.to_owned());
    servers.spawn(async move {
        let exit = tokio::select! {
            exit = process.ended() => exit,
            () = log.pump() => report::Exit::Unknown,
        };
        log.drain(true).await;
        log.flush().await;
        extensions.exited(&name, exit);
    });
    Ok(Ok(()))
}
