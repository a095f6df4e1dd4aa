//! Measures the executor: cold and warm invocations of a Python function that uses boto3, a Node function and a `bootstrap`.
//!
//! `cargo run --release -p tidemill-sandbox --example invoke -- [python3.11] [nodejs20.x] [provided.al2023] [--burst N]`
//! `--burst N --only` measures nothing else; `CODE=file` gives the functions' code. After a burst the memory of its sandboxes is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tidemill_sandbox::{
    Credentials, Executor, ExecutorConfig, FunctionSpec, Hooks, Invocation, LogLine, LogSink, Outcome,
    Tracing,
};

const PYTHON: &str =
    "import os, json, boto3\ns3 = boto3.client('s3')\ndef handler(event, context):\n    return event\n";
const NODE: &str = "exports.handler = async (event) => event;\n";
const BOOTSTRAP: &str = "#!/bin/sh\nset -e\nwhile true; do\n  H=$(mktemp)\n  E=$(curl -sS -D $H http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next)\n  I=$(grep -i request-id $H | tr -d '[:space:]' | cut -d: -f2)\n  curl -sS -o /dev/null -d \"$E\" http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$I/response\ndone\n";

struct Quiet;

impl LogSink for Quiet {
    fn write<'a>(&'a self, _: &'a FunctionSpec, stream: &'a str, lines: Vec<LogLine>) -> BoxFuture<'a, ()> {
        if std::env::var_os("SHOW_LOGS").is_some() {
            for line in lines {
                eprint!("{} {}", stream.get(..20).unwrap_or(stream), line.message);
            }
        }
        Box::pin(async {})
    }
}

fn main() {
    if let Some(code) = tidemill_sandbox::spawner_main() {
        std::process::exit(code);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a Tokio runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let burst =
        args.iter().position(|a| a == "--burst").and_then(|at| args.get(at + 1)?.parse::<usize>().ok());
    let runtimes: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|a| a.contains("python") || a.contains("node") || a.contains("provided"))
        .collect();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut config =
        ExecutorConfig::new(scratch.path().join("scratch"), "127.0.0.1:4566".parse().expect("an address"));
    config.runtimes_dir = std::env::var_os("RUNTIMES_DIR").map(PathBuf::from);
    config.outbound_network = std::env::var_os("NO_NETWORK").is_none();
    config.max_memory_mb = u64::MAX / 2;
    let begun = Instant::now();
    let executor = Executor::new(config, Hooks { logs: Arc::new(Quiet), connections: None, segments: None })
        .await
        .expect("an executor");
    println!("executor ready in {:.1} ms: {:?}", ms(begun.elapsed()), executor.tier());
    for runtime in
        if runtimes.is_empty() { vec!["python3.11", "nodejs20.x", "provided.al2023"] } else { runtimes }
    {
        if let Err(error) = measure_runtime(&executor, scratch.path(), runtime, burst).await {
            println!("{runtime}: {error}");
        }
    }
    let begun = Instant::now();
    executor.shutdown(Duration::from_secs(1)).await;
    println!("shut down in {:.1} ms", ms(begun.elapsed()));
}

async fn measure_runtime(
    executor: &Executor,
    dir: &Path,
    runtime: &str,
    burst: Option<usize>,
) -> Result<(), tidemill_sandbox::SandboxError> {
    let begun = Instant::now();
    executor.expect(runtime).await?;
    first(executor, dir, runtime).await?;
    println!("{runtime}: first ever invocation {:.1} ms", ms(begun.elapsed()));
    if std::env::args().any(|a| a == "--one") {
        settle(executor).await;
        show(&executor.invoke(&spec(dir, runtime, "second"), Invocation::new("id", "{}")).await?);
        return Ok(());
    }
    if let Some(count) = burst.filter(|_| std::env::args().any(|a| a == "--only")) {
        return measure_burst(executor, dir, runtime, count).await;
    }
    let mut colds = Vec::new();
    for round in 0..20 {
        settle(executor).await;
        let function = spec(dir, runtime, &format!("cold{round}"));
        let begun = Instant::now();
        let outcome = executor.invoke(&function, Invocation::new("id", "{}")).await?;
        colds.push(begun.elapsed());
        if round == 0 {
            show(&outcome);
        }
        executor.forget(&function.arn);
    }
    print("cold", &mut colds);
    let function = spec(dir, runtime, "warm");
    executor.invoke(&function, Invocation::new("id", "{}")).await?;
    let (mut warm, mut platform) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        let begun = Instant::now();
        let outcome = executor.invoke(&function, Invocation::new("id", r#"{"a":1}"#)).await?;
        warm.push(begun.elapsed());
        platform.push(outcome.overhead.total);
    }
    print("warm, whole", &mut warm);
    print("warm, platform's part", &mut platform);
    match burst {
        Some(count) => measure_burst(executor, dir, runtime, count).await,
        None => Ok(()),
    }
}

async fn measure_burst(
    executor: &Executor,
    dir: &Path,
    runtime: &str,
    count: usize,
) -> Result<(), tidemill_sandbox::SandboxError> {
    // Long enough for a zygote to import the SDK.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let begun = Instant::now();
    {
        let function = spec(dir, runtime, "burst");
        let all = (0..count).map(|i| executor.invoke(&function, Invocation::new(format!("id{i}"), "{}")));
        let mut times = Vec::new();
        for outcome in futures::future::join_all(all).await {
            let outcome = outcome?;
            times.push(outcome.overhead.acquire);
            assert_eq!(outcome.function_error, None);
        }
        println!(
            "  {count} concurrent cold starts: all done after {:.1} ms; {:?}",
            ms(begun.elapsed()),
            executor.stats()
        );
        print("  acquire", &mut times);
    }
    let private = private_kb();
    let whole: u64 = private.iter().sum();
    println!(
        "  {} processes of functions, {:.1} MiB private each",
        private.len(),
        whole as f64 / 1024.0 / private.len().max(1) as f64
    );
    Ok(())
}

/// What each process of a function has for itself.
fn private_kb() -> Vec<u64> {
    let of = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?;
        let function = uid.parse::<u32>().ok()? >= 600_000;
        let memory =
            std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok().filter(|_| function)?;
        let fields = memory.lines().filter(|line| line.starts_with("Private_"));
        Some(fields.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| of(entry.file_name().to_str()?)).collect()
}

async fn first(executor: &Executor, dir: &Path, runtime: &str) -> Result<(), tidemill_sandbox::SandboxError> {
    let outcome = executor.invoke(&spec(dir, runtime, "first"), Invocation::new("id", "{}")).await?;
    show(&outcome);
    Ok(())
}

/// Lets the background make its runtimes ready, as it would between real invocations.
async fn settle(executor: &Executor) {
    let _ = executor;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

fn show(outcome: &Outcome) {
    println!(
        "  payload {} error {:?} init {:?} duration {:?} acquire {:?} memory {} MB",
        String::from_utf8_lossy(&outcome.payload),
        outcome.error_type,
        outcome.init,
        outcome.duration,
        outcome.overhead.acquire,
        outcome.max_memory_mb
    );
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "  {what}: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        ms(at(0.5)),
        ms(at(0.9)),
        ms(at(0.99)),
        ms(at(1.0))
    );
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn spec(dir: &Path, runtime: &str, name: &str) -> Arc<FunctionSpec> {
    use std::os::unix::fs::PermissionsExt;
    let code_dir = dir.join(runtime);
    let (file, content) = match runtime.get(..4) {
        Some("pyth") => ("app.py", PYTHON),
        Some("node") => ("app.js", NODE),
        _ => ("bootstrap", BOOTSTRAP),
    };
    std::fs::create_dir_all(&code_dir).expect("a code folder");
    let content =
        std::env::var("CODE").map_or(content.to_owned(), |path| std::fs::read_to_string(path).expect("CODE"));
    std::fs::write(code_dir.join(file), content).expect("code");
    std::fs::set_permissions(code_dir.join(file), std::fs::Permissions::from_mode(0o755))
        .expect("executable");
    std::fs::set_permissions(&code_dir, std::fs::Permissions::from_mode(0o755)).expect("readable");
    let credentials = |_: &str| Credentials {
        access_key_id: "test".into(),
        secret_access_key: "test".into(),
        session_token: None,
    };
    Arc::new(FunctionSpec {
        arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}-{}", runtime.replace('.', "")),
        name: name.into(),
        version: "$LATEST".into(),
        runtime: runtime.into(),
        handler: "app.handler".into(),
        code_dir,
        layers: Vec::new(),
        env: BTreeMap::new(),
        memory_mb: 256,
        timeout_ms: 10_000,
        tmp_mb: 512,
        credentials: Arc::new(credentials),
        log_group: format!("/aws/lambda/{name}"),
        json_logs: None,
        tracing: Tracing::PassThrough,
        outbound_network: true,
        revision: "1".into(),
        initialization: Default::default(),
    })
}
