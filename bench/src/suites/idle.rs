//! A platform that does nothing: its memory, and the CPU time it takes.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result};

use crate::{Options, report::Report, server::Server};

const SETTLES: Duration = Duration::from_secs(2);

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::start(options)?;
    let pid = server.pid().context("a platform that was started here")?;
    thread::sleep(SETTLES);
    let before = cpu_ms(pid)?;
    thread::sleep(options.duration());
    let used = cpu_ms(pid)? - before;
    report.figure("idle RSS", rss_mib(pid)?, "MiB");
    report.figure("idle CPU", used / options.duration().as_secs_f64() / 10.0, "%");
    Ok(())
}

/// Resident memory of a process.
pub fn rss_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// CPU time of the process and of those it has started that still run, to the nanosecond the scheduler counts.
pub fn cpu_ms(pid: u32) -> Result<f64> {
    let mut nanos = 0_f64;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(entry?.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
    }
    Ok(nanos / 1e6)
}
