//! Installing the SDKs Lambda's runtimes carry, with the machine's own pip and npm, only when asked to.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Kind, detect, wanted};

/// The versions functions get; raised together with the contracts.
const PYTHON_PACKAGES: [&str; 2] = ["boto3==1.43.11", "botocore==1.43.11"];
/// boto3's last release for Python 3.9 is older than the one above.
const PYTHON_PACKAGES_OLD: [&str; 1] = ["boto3"];
/// The clients of the services this platform has, and the helpers people use with them.
const NODE_PACKAGES: [&str; 22] = [
    "@aws-sdk/client-cloudwatch@3",
    "@aws-sdk/client-cloudwatch-logs@3",
    "@aws-sdk/client-dynamodb@3",
    "@aws-sdk/client-dynamodb-streams@3",
    "@aws-sdk/client-eventbridge@3",
    "@aws-sdk/client-firehose@3",
    "@aws-sdk/client-iam@3",
    "@aws-sdk/client-kinesis@3",
    "@aws-sdk/client-kms@3",
    "@aws-sdk/client-lambda@3",
    "@aws-sdk/client-s3@3",
    "@aws-sdk/client-scheduler@3",
    "@aws-sdk/client-secrets-manager@3",
    "@aws-sdk/client-ses@3",
    "@aws-sdk/client-sfn@3",
    "@aws-sdk/client-sns@3",
    "@aws-sdk/client-sqs@3",
    "@aws-sdk/client-ssm@3",
    "@aws-sdk/client-sts@3",
    "@aws-sdk/lib-dynamodb@3",
    "@aws-sdk/lib-storage@3",
    "@aws-sdk/s3-request-presigner@3",
];

/// Why an SDK could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("{0}: no such interpreter on this machine")]
    NoInterpreter(String),
    #[error("`{command}` failed: {reason}")]
    Install { command: String, reason: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Installs the AWS SDK for `runtime` (`python3.11`, `nodejs20.x`) into `runtimes_dir/<runtime>` with the machine's own pip or npm and gives
/// that folder. `progress` gets one line at a time. An installation that is complete is left alone; an interrupted one is begun again.
pub fn prepare(
    runtime: &str,
    runtimes_dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, PrepareError> {
    let interpreter =
        detect::interpreter(runtime, None).ok_or_else(|| PrepareError::NoInterpreter(runtime.into()))?;
    let (target, unfinished) =
        (runtimes_dir.join(runtime), runtimes_dir.join(format!(".{runtime}.unfinished")));
    if detect::prepared_version(interpreter.kind, &target).is_some() {
        return Ok(target);
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Io { path, source }
    };
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
    }
    fs::create_dir_all(&unfinished).map_err(at(&unfinished))?;
    let command = match interpreter.kind {
        Kind::Python => pip(&interpreter.path, runtime, &unfinished),
        Kind::Node => npm(&interpreter.path, &unfinished),
        Kind::Java => return Ok(target),
    };
    run(command, progress)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(at(&target))?;
    }
    fs::rename(&unfinished, &target).map_err(at(&target))?;
    Ok(target)
}

fn pip(python: &Path, runtime: &str, target: &Path) -> Command {
    let packages: &[&str] = if matches!(wanted(runtime), Some((_, 3, minor)) if minor < 10) {
        &PYTHON_PACKAGES_OLD
    } else {
        &PYTHON_PACKAGES
    };
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--upgrade", "--target"])
        .arg(target)
        .args(packages);
    command
}

fn npm(node: &Path, target: &Path) -> Command {
    let beside = node.with_file_name("npm");
    let mut command = Command::new(if beside.is_file() { beside } else { PathBuf::from("npm") });
    command
        .args(["install", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--prefix"])
        .arg(target)
        .args(NODE_PACKAGES);
    command
}

fn run(mut command: Command, progress: &mut dyn FnMut(&str)) -> Result<(), PrepareError> {
    let shown = format!(
        "{} {}",
        command.get_program().to_string_lossy(),
        command.get_args().take(3).map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    );
    let failed = |reason: String| PrepareError::Install { command: shown.clone(), reason };
    progress(&shown);
    let (read, write) = io::pipe().map_err(|e| failed(e.to_string()))?;
    let errors = write.try_clone().map_err(|e| failed(e.to_string()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(errors)
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    // The command still holds the write ends; without this the reading below would not end.
    drop(command);
    let mut last = String::new();
    for line in BufReader::new(read).lines().map_while(Result::ok) {
        progress(&line);
        last = line;
    }
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(last)) }
}
