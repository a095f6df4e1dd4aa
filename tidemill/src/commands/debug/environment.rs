//! The environment of a function that is debugged: its own variables, those Lambda sets, its role's credentials, and of
//! this machine's only what interpreters need.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Debugged, code::Code};
use crate::{credentials::Credentials, output::dim, wiring};

/// What is passed on of the caller's own environment.
const PASSED: &[&str] = &["PATH", "HOME", "LD_LIBRARY_PATH", "DEBUGPY_LOG_DIR", "NODE_OPTIONS"];

pub async fn of(debugged: &Debugged<'_>, code: &Code) -> Result<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| all.push((name.to_string(), value.to_string()));
    for name in PASSED {
        if let Ok(value) = std::env::var(name) {
            set(name, &value);
        }
    }
    set("LANG", "en_US.UTF-8");
    set("TZ", ":UTC");
    set("PYTHONUNBUFFERED", "1");
    set("AWS_ENDPOINT_URL", debugged.client.endpoint());
    for (name, value) in modules(debugged, code) {
        set(name, &value);
    }
    let variables = debugged.configuration["Environment"]["Variables"].as_object();
    for (name, value) in variables.into_iter().flatten() {
        set(name, value.as_str().unwrap_or_default());
    }
    let region = debugged.text("FunctionArn").split(':').nth(3).unwrap_or("us-east-1");
    let group = debugged.configuration["LoggingConfig"]["LogGroup"].as_str().map(String::from);
    let group = group.unwrap_or_else(|| format!("/aws/lambda/{}", debugged.text("FunctionName")));
    let reserved = [
        ("_HANDLER", debugged.text("Handler")),
        ("AWS_REGION", region),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", debugged.runtime)),
        ("AWS_LAMBDA_FUNCTION_NAME", debugged.text("FunctionName")),
        ("AWS_LAMBDA_FUNCTION_VERSION", debugged.text("Version")),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &debugged.configuration["MemorySize"].to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "debug"),
        ("LAMBDA_TASK_ROOT", &code.task.to_string_lossy()),
    ];
    reserved.iter().for_each(|(name, value)| set(name, value));
    let keys = credentials(debugged).await?;
    set("AWS_ACCESS_KEY_ID", &keys.access_key);
    set("AWS_SECRET_ACCESS_KEY", &keys.secret);
    if let Some(token) = &keys.session_token {
        set("AWS_SESSION_TOKEN", token);
    }
    Ok(all)
}

/// Where modules are found that are not among the code: dependencies, layers, the AWS SDK of Lambda's runtimes.
fn modules(debugged: &Debugged<'_>, code: &Code) -> Vec<(&'static str, String)> {
    let sdk = wiring::runtimes_dir().map(|folder| folder.join(&debugged.runtime));
    let is_python = debugged.runtime.starts_with("python");
    let below = |folder: &Option<std::path::PathBuf>, name: &str| folder.as_deref().map(|one| one.join(name));
    let places = if is_python {
        [code.dependencies.clone(), below(&code.opt, "python"), sdk]
    } else {
        let modules = "node_modules";
        [below(&code.dependencies, modules), below(&code.opt, "nodejs/node_modules"), below(&sdk, modules)]
    };
    let variable = if is_python { "PYTHONPATH" } else { "NODE_PATH" };
    let own = std::env::var(variable).ok();
    let places = places.iter().flatten().map(|place: &std::path::PathBuf| text(place)).chain(own);
    vec![(variable, places.collect::<Vec<_>>().join(":"))]
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Those of the function's role; where it lets only Lambda assume it, the caller's own.
async fn credentials(debugged: &Debugged<'_>) -> Result<Credentials> {
    let session = debugged.text("FunctionName");
    let input = json!({"RoleArn": debugged.text("Role"), "RoleSessionName": session});
    let own = debugged.client.keys().credentials.clone();
    match debugged.client.call("sts", "AssumeRole", &input).await {
        Ok(answer) => {
            let found = &answer["Credentials"];
            let word = |name: &str| found[name].as_str().map(String::from);
            let (key, secret) = (word("AccessKeyId"), word("SecretAccessKey"));
            let (access_key, secret) = key.zip(secret).context("the role has no keys")?;
            Ok(Credentials { access_key, secret, session_token: word("SessionToken") })
        }
        Err(error) => {
            eprintln!("{}", dim(&format!("Your own keys are used, not the role's: {error}")));
            let account = debugged.text("FunctionArn").split(':').nth(4).unwrap_or_default().to_string();
            let nobodys =
                Credentials { access_key: account, secret: Value::Null.to_string(), session_token: None };
            Ok(own.unwrap_or(nobodys))
        }
    }
}
