//! The sales pipeline: the time from an upload to the row that two functions and a stream make of it.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Options, report::Report};

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let done = Command::new(&options.binary)
        .args(["--output", "json", "up", "--demo", "examples/sales-pipeline"])
        .output()
        .with_context(|| format!("{} cannot be started", options.binary.display()))?;
    if !done.status.success() {
        bail!("the demonstration failed: {}", String::from_utf8_lossy(&done.stderr));
    }
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).context("no JSON")?;
    let figure = |name: &str| answer[name].as_f64().with_context(|| format!("no {name}"));
    report.figure("pipeline, first file (cold)", figure("first_ms")?, "ms");
    report.figure("pipeline, warm p50 of 20 files", figure("warm_p50_ms")?, "ms");
    Ok(())
}
