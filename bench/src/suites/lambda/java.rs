//! Java functions: first invocations and warm ones, on a machine that has a JDK for them; on any other nothing is measured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    cold,
    functions::{Function, JAVA, Kind, create, invoke},
};
use crate::{Options, http::Connection, load, report::Report, server::Server};

/// Echoes whatever it is given.
const ECHO: &str =
    "public class Echo {\n    public Object handle(Object event) {\n        return event;\n    }\n}\n";

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let Some(home) = jdk(options)? else {
        eprintln!("no JDK runs {JAVA} functions here: `tidemill doctor` tells more");
        return Ok(());
    };
    let kind = Kind::Java(Vec::leak(compile(options, &home)?));
    let server = Server::of(options)?;
    let mut connection = Connection::open(server.address, "lambda")?;
    let measured = cold(&mut connection, |_| kind, "Java")?;
    report.figure("Lambda Invoke, Java, cold p50", measured.percentile_ms(0.5), "ms");
    report.figure("Lambda Invoke, Java, cold worst", measured.percentile_ms(1.0), "ms");
    create(&mut connection, &Function::new("echo-java", kind))?;
    connection.call(&invoke("echo-java", "{}"))?.ok()?;
    for &connections in &options.connections {
        let measured = load::run(server.address, "lambda", connections, options.duration(), |_, _| {
            invoke("echo-java", r#"{"a":1}"#)
        })?;
        report.rate("Lambda Invoke, Java, warm", connections, &measured);
    }
    Ok(())
}

/// The JDK that runs the functions, if it can compile too.
fn jdk(options: &Options) -> Result<Option<PathBuf>> {
    let said = Command::new(&options.binary).args(["doctor", "--output", "json"]).output()?;
    let said: Value = serde_json::from_slice(&said.stdout).context("what doctor says")?;
    let fits = |jvm: &&Value| {
        let runtimes = jvm["runtimes"].as_array();
        jvm["compiler"] == true && runtimes.is_some_and(|all| all.iter().any(|runtime| runtime == JAVA))
    };
    let found = said["jvms"].as_array().and_then(|jvms| jvms.iter().find(fits));
    Ok(found.and_then(|jvm| jvm["home"].as_str()).map(PathBuf::from))
}

/// The class file of the echo.
fn compile(options: &Options, home: &Path) -> Result<Vec<u8>> {
    let folder = options.data.join(format!("bench-java-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let compiled = compile_in(&folder, home);
    fs::remove_dir_all(&folder)?;
    compiled
}

fn compile_in(folder: &Path, home: &Path) -> Result<Vec<u8>> {
    let source = folder.join("Echo.java");
    fs::write(&source, ECHO)?;
    let done = Command::new(home.join("bin/javac"))
        .args(["--release", "21", "-d"])
        .arg(folder)
        .arg(&source)
        .output()?;
    if !done.status.success() {
        bail!("javac: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(fs::read(folder.join("Echo.class"))?)
}
