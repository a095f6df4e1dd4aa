//! `tidemill invoke --debug`: one invocation of a function in a debugger. The code runs in a process of this machine's own
//! interpreter, outside of the sandbox and as the person who asks, with the function's environment and role; it waits for
//! an editor and no timeout ends it. What the platform itself invokes meanwhile runs in sandboxes as ever.

mod code;
mod environment;

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    app::build::python::interpreter,
    cli::{Invoke, Output},
    client::Client,
    output::{bold, dim},
};

const PYTHON: &str = include_str!("driver.py");
const NODE: &str = include_str!("driver.cjs");

/// A function that is debugged.
struct Debugged<'a> {
    client: &'a Client,
    /// As `GetFunctionConfiguration` says it.
    configuration: Value,
    runtime: String,
    port: u16,
    /// For the driver, the event, the outcome and code that was fetched.
    scratch: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    Node,
}

pub async fn run(client: &Client, options: Invoke, event: &str, output: Output) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("tidemill-debug-{}", std::process::id()));
    std::fs::create_dir(&scratch).with_context(|| format!("{} cannot be made", scratch.display()))?;
    let done = in_folder(client, &options, event, output, &scratch).await;
    let _ = std::fs::remove_dir_all(&scratch);
    done
}

async fn in_folder(
    client: &Client,
    options: &Invoke,
    event: &str,
    output: Output,
    scratch: &Path,
) -> Result<()> {
    let event: Value = serde_json::from_str(event).context("the event is no JSON")?;
    let named = json!({"FunctionName": options.function});
    let configuration = client.call("lambda", "GetFunctionConfiguration", &named).await?;
    let runtime = configuration["Runtime"].as_str().unwrap_or_default().to_string();
    let language = match runtime.as_str() {
        python if python.starts_with("python") => Language::Python,
        node if node.starts_with("nodejs") => Language::Node,
        other => bail!("--debug steps through Python and Node.js; {} is {other}", options.function),
    };
    let usual = if language == Language::Python { 5678 } else { 9229 };
    let port = options.debug_port.unwrap_or(usual);
    let debugged = Debugged { client, configuration, runtime, port, scratch: scratch.to_path_buf() };
    let code = code::find(&debugged, options).await?;
    let environment = environment::of(&debugged, &code).await?;
    let files = debugged.write(language, event)?;
    let mut command = debugged.command(language, &files, &environment)?;
    debugged.tell(language, &code);
    let mut child = command.spawn().context("the debugger cannot be started")?;
    tokio::select! {
        ended = child.wait() => drop(ended?),
        () = crate::serve::ended() => bail!("given up before the function was through"),
    }
    show(&files.outcome, output)
}

/// The files a driver is given.
struct Files {
    driver: PathBuf,
    event: PathBuf,
    outcome: PathBuf,
}

impl Debugged<'_> {
    fn text(&self, name: &str) -> &str {
        self.configuration[name].as_str().unwrap_or_default()
    }

    fn write(&self, language: Language, event: Value) -> Result<Files> {
        let (name, text) = match language {
            Language::Python => ("driver.py", PYTHON),
            Language::Node => ("driver.cjs", NODE),
        };
        let place = |name: &str| self.scratch.join(name);
        let files = Files { driver: place(name), event: place("event.json"), outcome: place("outcome.json") };
        let timeout_ms = self.configuration["Timeout"].as_u64().unwrap_or(3) * 1000;
        let request_id = uuid_like();
        let arn = self.text("FunctionArn");
        let asked = json!({"event": event, "request_id": request_id, "arn": arn, "timeout_ms": timeout_ms});
        std::fs::write(&files.driver, text)?;
        std::fs::write(&files.event, asked.to_string())?;
        Ok(files)
    }

    fn command(
        &self,
        language: Language,
        files: &Files,
        environment: &[(String, String)],
    ) -> Result<Command> {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = match language {
            Language::Python => {
                let program = interpreter(&self.runtime)?;
                check_debugpy(&program)?;
                let mut python = Command::new(program);
                python.args(["-X", "frozen_modules=off", "-m", "debugpy", "--listen", &listen]);
                python.arg("--wait-for-client");
                python
            }
            Language::Node => Command::new("node"),
        };
        command.arg(&files.driver).arg(&files.event).arg(&files.outcome);
        if language == Language::Node {
            command.arg(self.port.to_string());
        }
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        // What the function prints is its log; standard output is for its answer.
        let log = std::io::stderr().as_fd().try_clone_to_owned()?;
        command.stdin(Stdio::null()).stdout(Stdio::from(log)).kill_on_drop(true);
        Ok(command)
    }

    fn tell(&self, language: Language, code: &code::Code) {
        let (debugger, editor) = match language {
            Language::Python => (
                "debugpy",
                r#"{"type": "debugpy", "request": "attach", "connect": {"host": "127.0.0.1", "port": PORT}, "justMyCode": false}"#,
            ),
            Language::Node => (
                "The Node.js inspector",
                r#"{"type": "node", "request": "attach", "address": "127.0.0.1", "port": PORT}"#,
            ),
        };
        let editor = editor.replace("PORT", &self.port.to_string());
        eprintln!("{} listens on 127.0.0.1:{} and waits for an editor.", bold(debugger), self.port);
        eprintln!("{}", dim(&format!("Code: {} ({})", code.task.display(), code.from)));
        eprintln!("{}", dim(&format!("VS Code: {editor}")));
        eprintln!("{}", dim("It runs outside of its sandbox, as you; no timeout ends it. Ctrl-C gives up."));
    }
}

fn check_debugpy(program: &Path) -> Result<()> {
    let mut asked = std::process::Command::new(program);
    let done = asked.args(["-c", "import debugpy"]).stderr(Stdio::null()).status()?;
    if !done.success() {
        bail!("--debug needs debugpy in {0}; install it: {0} -m pip install debugpy", program.display());
    }
    Ok(())
}

fn show(outcome: &Path, output: Output) -> Result<()> {
    let text = std::fs::read_to_string(outcome)
        .context("the function's process ended without an answer; what it printed says why")?;
    let outcome: Value = serde_json::from_str(&text)?;
    let error = &outcome["error"];
    let payload = match outcome["payload"].as_str() {
        Some(payload) => payload.to_string(),
        None => error.to_string(),
    };
    match output {
        Output::Json => {
            let value: Value = serde_json::from_str(&payload).unwrap_or(Value::Null);
            let failed = error.is_object().then_some("Unhandled");
            println!("{}", json!({"payload": value, "functionError": failed}));
        }
        Output::Text => println!("{payload}"),
    }
    if error.is_object() {
        bail!("the function failed; its answer says how");
    }
    Ok(())
}

/// A request id, as contexts have them.
fn uuid_like() -> String {
    let hex = tidemill_platform::Random::system().hex::<16>();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
