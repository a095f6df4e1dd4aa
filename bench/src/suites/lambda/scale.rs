//! Many functions: from zero to so many at once, the memory of each further sandbox, and functions that are only deployed.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::functions::{Function, Kind, create, invoke};
use crate::{
    Options,
    http::Connection,
    report::Report,
    server::Server,
    suites::idle::{cpu_ms, rss_mib},
};

/// Runs for a second.
const SLOW: &str = "import time\ndef handler(event, context):\n    time.sleep(1)\n    return event\n";
/// Invocations at the same time; as many as an account has by default.
const BURSTS: [usize; 2] = [100, 1000];
const DEPLOYED: usize = 1000;
/// How long a platform has for what it does ahead.
const SETTLES: Duration = Duration::from_secs(2);

/// So many invocations of a one-second function at once, where no sandbox of it exists.
pub fn bursts(options: &Options, report: &mut Report) -> Result<()> {
    for count in BURSTS {
        let server = Server::of(options)?;
        let mut connection = Connection::open(server.address, "lambda")?;
        let name = format!("slow-{count}");
        create(&mut connection, &Function { timeout_s: 60, ..Function::new(&name, Kind::Python(SLOW)) })?;
        thread::sleep(SETTLES);
        let before = server.pid().map(below);
        let took = burst(server.address, &name, count)?;
        report.figure(&format!("{count} 1 s Python functions from zero"), took.as_secs_f64(), "s");
        // A sandbox that is free again serves those who wait, so only few invocations make one each.
        if let (Some(pid), Some(before), true) = (server.pid(), before, count == BURSTS[0]) {
            let new: Vec<u32> = below(pid).difference(&before).copied().collect();
            let each = new.iter().map(|pid| private_kib(*pid)).sum::<u64>() as f64 / count as f64 / 1024.0;
            report.figure(&format!("private memory of each of {count}"), each, "MiB");
        }
    }
    Ok(())
}

/// From the first request to the last answer.
fn burst(address: SocketAddr, name: &str, count: usize) -> Result<Duration> {
    let start = Barrier::new(count + 1);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..count)
            .map(|_| {
                let start = &start;
                let caller = move || -> Result<()> {
                    let connection = Connection::open(address, "lambda");
                    start.wait();
                    connection?.call(&invoke(name, "{}"))?.ok()
                };
                thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, caller)
            })
            .collect::<std::io::Result<_>>()?;
        start.wait();
        let began = Instant::now();
        for caller in callers {
            caller.join().map_err(|_| anyhow!("a caller failed"))??;
        }
        Ok(began.elapsed())
    })
}

/// Functions nobody invokes.
pub fn deployed(options: &Options, report: &mut Report) -> Result<()> {
    let server = Server::start(options)?;
    let pid = server.pid().context("a platform that was started here")?;
    let mut connection = Connection::open(server.address, "lambda")?;
    for number in 0..DEPLOYED {
        create(&mut connection, &Function::new(&format!("idle-{number}"), Kind::Python(SLOW)))?;
    }
    thread::sleep(SETTLES);
    let used_before = cpu_of_all(pid)?;
    thread::sleep(options.duration());
    let used = cpu_of_all(pid)? - used_before;
    report.figure("platform, 1,000 functions deployed", rss_mib(pid)?, "MiB");
    report.figure("the same, CPU", used / options.duration().as_secs_f64() / 10.0, "%");
    Ok(())
}

/// CPU time of the platform and of all processes below it.
fn cpu_of_all(pid: u32) -> Result<f64> {
    // One may end meanwhile; the platform may not.
    Ok(cpu_ms(pid)? + below(pid).into_iter().filter_map(|pid| cpu_ms(pid).ok()).sum::<f64>())
}

/// All processes below one.
fn below(pid: u32) -> HashSet<u32> {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    let (mut found, mut new) = (HashSet::new(), vec![pid]);
    while let Some(parent) = new.pop() {
        for (child, _) in parents.iter().filter(|(_, of)| *of == parent) {
            if found.insert(*child) {
                new.push(*child);
            }
        }
    }
    found
}

/// Memory no other process shares.
fn private_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let value = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    text.lines().filter(|line| line.starts_with("Private_")).filter_map(value).sum()
}
