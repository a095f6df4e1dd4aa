//! `tidemill doctor`: what this machine has and lacks for running functions, and installing what is missing; and which walls stand
//! between functions and this machine.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, bail};
use futures::future::{BoxFuture, FutureExt};
use serde_json::json;
use tidemill_sandbox::{
    ExecutorConfig, FunctionSpec, Hooks, LogLine, LogSink, Wall, runtimes, runtimes::java::Jvm,
};

use crate::{
    cli::{Doctor, Output},
    output::{bold, dim, green, paint},
    wiring::runtimes_dir,
};

pub async fn run(options: Doctor, output: Output) -> Result<()> {
    let folder = runtimes_dir();
    if options.install {
        let Some(folder) = &folder else {
            bail!("there is no HOME to keep the SDKs under; set XDG_CACHE_HOME")
        };
        for interpreter in
            runtimes::detect(Some(folder)).interpreters.iter().filter(|found| found.sdk.is_none())
        {
            println!("{} for {}", bold("Installing the AWS SDK"), interpreter.runtime);
            runtimes::prepare(&interpreter.runtime, folder, &mut |line| println!("  {}", dim(line)))?;
        }
    }
    let found = runtimes::detect(folder.as_deref());
    let jvms = runtimes::java::detect();
    let walls = walls().await;
    if output == Output::Json {
        let list: Vec<_> = found
            .interpreters
            .iter()
            .map(|i| json!({ "runtime": i.runtime, "version": i.version, "path": i.path, "sdk": i.sdk, "missing": i.missing }))
            .collect();
        let walls: Vec<_> = walls?
            .iter()
            .map(|wall| json!({ "name": wall.name, "stands": wall.stands, "says": wall.says }))
            .collect();
        let jvms: Vec<_> = jvms
            .iter()
            .map(|jvm| json!({ "version": jvm.version, "home": jvm.home, "compiler": jvm.is_jdk, "runtimes": jvm.runtimes(&jvms) }))
            .collect();
        println!("{}", json!({ "interpreters": list, "jvms": jvms, "walls": walls }));
        return Ok(());
    }
    println!("{}", bold("Runtimes"));
    for interpreter in &found.interpreters {
        let sdk = interpreter
            .sdk
            .as_ref()
            .map_or_else(|| paint("33", "no AWS SDK"), |sdk| green(&format!("AWS SDK {sdk}")));
        println!(
            "  {:<14} {:<10} {}  {}",
            interpreter.runtime,
            interpreter.version,
            sdk,
            dim(&interpreter.path.display().to_string())
        );
        for missing in &interpreter.missing {
            println!("    {}", paint("33", missing));
        }
    }
    if found.interpreters.is_empty() {
        println!(
            "  none found: install python3 (3.9 or later) or Node.js; functions with their own `bootstrap` run without"
        );
    }
    print_jvms(&jvms);
    println!("  {:<14} {}", "provided", dim("functions that bring a `bootstrap`"));
    println!("{}", bold("Walls around functions"));
    for wall in walls? {
        let shown = if wall.stands { green(&wall.says) } else { paint("33", &wall.says) };
        println!("  {:<14} {shown}", wall.name);
    }
    if found.interpreters.iter().any(|interpreter| interpreter.sdk.is_none()) {
        println!(
            "\nFunctions that import the AWS SDK without packing it need it here: {}",
            bold("tidemill doctor --install")
        );
    }
    Ok(())
}

/// Each with the runtimes whose functions it runs, and what is missing for the others.
fn print_jvms(jvms: &[Jvm]) {
    for jvm in jvms {
        let runs = jvm.runtimes(jvms);
        let shown = match (jvm.is_jdk, runs.is_empty()) {
            (false, _) => paint("33", "no compiler (javac): install the JDK"),
            (true, true) => dim("not needed"),
            (true, false) => green(&runs.join(" ")),
        };
        println!("  {:<14} {:<10} {shown}  {}", "java", jvm.version, dim(&jvm.home.display().to_string()));
    }
    let missing = runtimes::java::not_run_by(jvms);
    if !missing.is_empty() {
        let missing = format!("no JDK new enough for {}", missing.join(" "));
        println!("  {:<14} {}", "java", paint("33", &missing));
    }
}

/// Found out by putting them up, in a folder that is removed again.
async fn walls() -> Result<Vec<Wall>> {
    let scratch = tempfile::tempdir()?;
    let config = ExecutorConfig::new(scratch.path(), SocketAddr::from(([127, 0, 0, 1], 4566)));
    let hooks = Hooks { logs: Arc::new(NoLogs), connections: None, segments: None };
    Ok(tidemill_sandbox::walls(config, hooks).await?)
}

/// No function runs, so none prints.
struct NoLogs;

impl LogSink for NoLogs {
    fn write<'a>(&'a self, _: &'a FunctionSpec, _: &'a str, _: Vec<LogLine>) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
