//! Shutting down waits, then refuses, and leaves nothing behind. Alone in its file, so that what is left is known to be its own.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::*;
use tidemill_sandbox::{Invocation, SandboxError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_waits_then_refuses_and_leaves_nothing() {
    let house = house().await;
    let code = "import time\nn = 0\ndef handler(event, context):\n    global n\n    n += 1\n    time.sleep(event)\n    return n\n";
    let function = Arc::new(house.python("last", code));
    house.invoke(&function, "0").await;
    assert_eq!(
        own_groups().is_empty(),
        house.executor.tier().missing.iter().any(|missing| missing.contains("memory"))
    );
    let running = tokio::spawn({
        let (executor, function) = (house.executor.clone(), function.clone());
        async move { executor.invoke(&function, Invocation::new(ID, "0.3")).await }
    });
    while house.executor.stats().busy == 0 {
        tokio::task::yield_now().await;
    }
    house.executor.shutdown(Duration::from_secs(10)).await;
    assert_eq!(json(&running.await.unwrap().unwrap()), json!(2));
    let refused = house.executor.invoke(&function, Invocation::new(ID, "0")).await;
    assert!(matches!(refused, Err(SandboxError::ShutDown)), "{refused:?}");
    assert_eq!(own_groups(), Vec::<PathBuf>::new());
    assert_eq!(house.executor.stats(), Default::default());
    assert!(
        !std::fs::read_to_string("/proc/self/mounts").unwrap().contains(house.dir.path().to_str().unwrap())
    );
}
