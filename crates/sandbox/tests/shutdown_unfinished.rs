//! Shutting down gives up what nobody waits for and, after its grace, what runs. Alone in its file, so that what is left is known to be its own.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tidemill_sandbox::{Initialization, Invocation, SandboxError};

const ENDLESS: &str = "import time\ndef handler(event, context):\n    time.sleep(3600)\n";
const ENDLESS_INIT: &str = "import time\ntime.sleep(3600)\ndef handler(event, context):\n    pass\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_leaves_nothing_of_what_is_not_finished() {
    let house = house().await;
    let slow = |name: &str, runtime: &str, code: &str, initialization| {
        let mut function = house.function(name, runtime, &[("app.py", code)]);
        (function.timeout_ms, function.initialization) = (900_000, initialization);
        Arc::new(function)
    };
    let running = slow("running", "python3.11", ENDLESS, Initialization::OnDemand);
    let provisioned = slow("provisioned", "python3.11", ENDLESS_INIT, Initialization::Provisioned);
    let snapshotted = slow("snapshotted", "python3.12", ENDLESS_INIT, Initialization::SnapStart);
    let executor = &house.executor;
    executor.provision(&provisioned, 2);
    let invocation = tokio::spawn({
        let (executor, function) = (executor.clone(), running.clone());
        async move { executor.invoke(&function, Invocation::new(ID, "{}")).await }
    });
    let snapshot = tokio::spawn({
        let (executor, function) = (executor.clone(), snapshotted.clone());
        async move { executor.snapshot(&function).await }
    });
    while executor.stats().busy < 3 {
        tokio::task::yield_now().await;
    }
    // So that their code runs, not only what brings it about.
    tokio::time::sleep(Duration::from_secs(1)).await;
    executor.shutdown(Duration::from_millis(100)).await;
    let outcome = invocation.await.unwrap();
    assert!(matches!(outcome, Err(SandboxError::ShutDown)), "{outcome:?}");
    let taken = snapshot.await.unwrap();
    assert!(taken.is_err(), "{taken:?}");
    assert_eq!(executor.stats(), Default::default());
    assert_eq!(own_groups(), Vec::<PathBuf>::new());
}
