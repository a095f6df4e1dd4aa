//! Sandboxes come and go: concurrency, revisions, idling, memory promised, shutting down, and a platform that is killed.

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::*;
use tidemill_sandbox::{Invocation, SandboxError};

const COUNTS: &str = "import time\nn = 0\ndef handler(event, context):\n    global n\n    n += 1\n    time.sleep(event or 0)\n    return n\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_invocation_a_sandbox_at_a_time_and_the_last_used_first() {
    let house = house().await;
    let function = Arc::new(house.python("counts", COUNTS));
    let all = futures::future::join_all((0..4).map(|_| house.invoke(&function, "0.3"))).await;
    assert!(all.iter().all(|outcome| outcome.cold && json(outcome) == json!(1)));
    assert_eq!(house.executor.stats().idle, 4);
    let streams: std::collections::HashSet<_> =
        all.iter().map(|outcome| outcome.log_stream.clone()).collect();
    assert_eq!(streams.len(), 4);
    for expected in 2..5 {
        let outcome = house.invoke(&function, "0").await;
        assert_eq!((outcome.cold, json(&outcome)), (false, json!(expected)));
    }
    assert_eq!(house.executor.stats().idle, 4);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_revision_or_forget_makes_new_sandboxes() {
    let house = house().await;
    let mut spec = house.python("changes", COUNTS);
    assert_eq!(json(&house.invoke(&Arc::new(spec.clone()), "0").await), json!(1));
    assert_eq!(json(&house.invoke(&Arc::new(spec.clone()), "0").await), json!(2));
    spec.revision = "2".into();
    let function = Arc::new(spec);
    assert_eq!(json(&house.invoke(&function, "0").await), json!(1));
    assert_eq!(house.executor.stats().idle, 1);
    let running = tokio::spawn({
        let (executor, function) = (house.executor.clone(), function.clone());
        async move { executor.invoke(&function, Invocation::new(ID, "0.4")).await.unwrap() }
    });
    while house.executor.stats().busy == 0 {
        tokio::task::yield_now().await;
    }
    house.executor.forget(&function.arn);
    assert_eq!(json(&running.await.unwrap()), json!(2));
    assert_eq!((house.executor.stats().idle, house.executor.stats().promised_mb), (0, 0));
    assert!(house.invoke(&function, "0").await.cold);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sandboxes_are_let_go_and_busy_memory_is_refused() {
    let house = house_with(|config| {
        config.idle_timeout = Duration::from_millis(300);
        config.max_memory_mb = 600;
    })
    .await;
    let (a, b, c) = (
        Arc::new(house.python("a", COUNTS)),
        Arc::new(house.python("b", COUNTS)),
        Arc::new(house.python("c", COUNTS)),
    );
    house.invoke(&a, "0").await;
    house.invoke(&b, "0").await;
    // The third fits only because the first is let go.
    house.invoke(&c, "0").await;
    assert!(house.executor.stats().promised_mb <= 512);
    let busy = [a.clone(), b.clone()].map(|function| {
        let executor = house.executor.clone();
        tokio::spawn(async move { executor.invoke(&function, Invocation::new(ID, "1")).await })
    });
    while house.executor.stats().busy < 2 {
        tokio::task::yield_now().await;
    }
    let refused = house.executor.invoke(&c, Invocation::new(ID, "0")).await;
    assert!(matches!(refused, Err(SandboxError::Busy { limit_mb: 600 })), "{refused:?}");
    for task in busy {
        task.await.unwrap().unwrap();
    }
    let gone = async {
        while house.executor.stats().idle > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("idle sandboxes end");
    assert_eq!(house.executor.stats().promised_mb, 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_function_is_frozen_and_thawed() {
    let house = house().await;
    let code = "import threading, time\nticks = 0\ndef tick():\n    global ticks\n    while True:\n        time.sleep(0.005)\n        ticks += 1\nthreading.Thread(target=tick, daemon=True).start()\ndef handler(event, context):\n    return ticks\n";
    let function = Arc::new(house.python("ticks", code));
    if house.executor.tier().missing.iter().any(|m| m.contains("frozen") || m.contains("groups")) {
        println!("skipped: {:?}", house.executor.tier().missing);
        return;
    }
    house.invoke(&function, "{}").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Unfrozen it would be near 300.
    let ticks = json(&house.invoke(&function, "{}").await).as_u64().unwrap();
    assert!(ticks < 80, "{ticks}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_goes_on() {
    let house = house().await;
    let function = Arc::new(house.python("dropped", COUNTS));
    house.invoke(&function, "0").await;
    let call = house.executor.invoke(&function, Invocation::new(ID, "0.3"));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    house.sink.after_reports("dropped", 2).await;
    assert_eq!(json(&house.invoke(&function, "0").await), json!(3));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_this_machine_lacks_is_named_with_what_helps() {
    let house = house().await;
    let error = house.executor.expect("python3.99").await.unwrap_err().to_string();
    assert!(
        error.contains("python3.99 needs Python 3.99") && error.contains("pyenv install 3.99"),
        "{error}"
    );
    let error = house.executor.expect("ruby3.3").await.unwrap_err();
    assert!(matches!(error, SandboxError::UnsupportedRuntime { .. }));
    let mut spec = house.python("nocode", "");
    spec.code_dir = "/nonexistent".into();
    let error =
        house.executor.invoke(&Arc::new(spec), Invocation::new(ID, "{}")).await.unwrap_err().to_string();
    assert_eq!(error, "The code of function nocode cannot be used: /nonexistent is not a folder");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_platform_leaves_no_process() {
    const MARK: &str = "876543.21";
    if std::env::var_os("BE_THE_PLATFORM").is_some() {
        let house = house().await;
        let code = format!(
            "import subprocess\ndef handler(event, context):\n    subprocess.Popen(['sleep', '{MARK}'], start_new_session=True)\n"
        );
        house.invoke(&Arc::new(house.python("left", &code)), "{}").await;
        // Long enough to be frozen, which must not save it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        println!("platform ready");
        std::future::pending::<()>().await;
    }
    let mut platform = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_platform_leaves_no_process", "--nocapture"])
        .env("BE_THE_PLATFORM", "1")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(platform.stdout.take().unwrap()));
    while !lines.next_line().await.unwrap().expect("the platform's output").contains("platform ready") {}
    assert!(runs(MARK));
    platform.kill().await.unwrap();
    let gone = async {
        while runs(MARK) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("its functions end with it");
}

fn runs(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).split('\0').any(|part| part == argument))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_short_invocations_takes_what_comes_back_instead_of_making_one_each() {
    let house = house().await;
    let function = Arc::new(house.python("burst", COUNTS));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (executor, function) = (house.executor.clone(), function.clone());
            tokio::spawn(async move { executor.invoke(&function, Invocation::new(ID, "0")).await })
        })
        .collect();
    for call in calls {
        success(&call.await.unwrap().unwrap());
    }
    let stats = house.executor.stats();
    assert!(stats.busy == 0 && stats.idle < 100, "{stats:?}");
    assert_eq!(stats.promised_mb, 256 * stats.idle as u64);
    house.close().await;
}
