//! What a function may not do to the machine, and what its caller gets when it tries.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use support::*;
use tidemill_sandbox::Tier;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_kills_and_the_next_start_is_fresh() {
    let house = house().await;
    let mut function = house.python("sleeps", "import time\ndef handler(event, context):\n    print('before', flush=True)\n    time.sleep(event)\n    return 'done'\n");
    function.timeout_ms = 1000;
    let function = Arc::new(function);
    let outcome = house.invoke(&function, "60").await;
    assert_eq!(
        json(&outcome),
        json!({"errorType": "Sandbox.Timedout", "errorMessage": format!("RequestId: {ID} Error: Task timed out after 1.00 seconds")})
    );
    assert!(outcome.duration.as_millis() >= 1000, "{:?}", outcome.duration);
    let log = tail(&outcome);
    assert!(
        log.contains(&format!("Z {ID} Task timed out after 1.00 seconds\n\nEND RequestId: {ID}\n")),
        "{log}"
    );
    assert!(log.contains("before\n") && log.contains("\tStatus: timeout\t\n"), "{log}");
    let again = house.invoke(&function, "0").await;
    assert!(again.cold);
    assert_eq!(success(&again), json!("done"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_beyond_the_limit_ends_the_function() {
    let house = house().await;
    if house.executor.tier().tier != Tier::Namespace
        || house.executor.tier().missing.iter().any(|m| m.contains("memory"))
    {
        println!("skipped: {:?}", house.executor.tier().missing);
        return;
    }
    let mut function = house.python("eats", "def handler(event, context):\n    kept = []\n    for i in range(event):\n        kept.append(bytearray(10 << 20))\n    return len(kept)\n");
    function.memory_mb = 128;
    let function = Arc::new(function);
    assert_eq!(success(&house.invoke(&function, "5").await), json!(5));
    let outcome = house.invoke(&function, "200").await;
    assert_eq!(
        json(&outcome),
        json!({"errorType": "Runtime.ExitError", "errorMessage": format!("RequestId: {ID} Error: Runtime exited with error: signal: killed")})
    );
    assert_eq!(outcome.max_memory_mb, 128);
    assert!(
        tail(&outcome)
            .contains("Max Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory\t\n"),
        "{}",
        tail(&outcome)
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tmp_is_private_limited_kept_and_not_memory() {
    let house = house().await;
    let code = "
import os
def handler(event, context):
    if event == 'look':
        return os.listdir('/tmp')
    try:
        with open('/tmp/big', 'wb') as file:
            for _ in range(1024):
                file.write(bytes(1 << 20))
    except OSError as error:
        size = os.path.getsize('/tmp/big') >> 20
        return [error.errno, size]
    return 'fit'
";
    let mut function = house.python("disk", code);
    function.memory_mb = 128;
    let function = Arc::new(function);
    assert_eq!(success(&house.invoke(&function, "\"look\"").await), json!([]));
    assert_eq!(success(&house.invoke(&function, "\"fill\"").await), json!([28, 511]));
    assert_eq!(success(&house.invoke(&function, "\"look\"").await), json!(["big"]));
    let mut other = house.python("disk2", code);
    other.tmp_mb = 1024;
    let other = Arc::new(other);
    assert_eq!(success(&house.invoke(&other, "\"look\"").await), json!([]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_of_output_are_delivered_in_bounded_memory() {
    let house = house().await;
    house.sink.count_only("prints");
    let code = "import os\ndef handler(event, context):\n    lines = (b'x' * 99 + b'\\n') * 100\n    for _ in range(10000):\n        os.write(1, lines)\n    return 'done'\n";
    let mut function = house.python("prints", code);
    function.timeout_ms = 60_000;
    let before = resident_kb();
    let outcome = house.invoke(&Arc::new(function), "{}").await;
    assert_eq!(success(&outcome), json!("done"));
    house.sink.after_reports("prints", 1).await;
    assert_eq!(house.sink.counted(), 100_000_000);
    assert_eq!(outcome.log_tail.len(), 4096);
    let grown = resident_kb() - before;
    assert!(grown < 40 * 1024, "{grown} kB");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_stays_inside_and_ends_with_the_sandbox() {
    let house = house().await;
    let code = "
import os, time
def handler(event, context):
    made = 0
    try:
        while made < 5000:
            if os.fork() == 0:
                time.sleep(600)
            made += 1
    except OSError as error:
        return [made < 5000, error.errno]
    return made
";
    let mut function = house.python("forks", code);
    function.timeout_ms = 60_000;
    function.memory_mb = 3008;
    let function = Arc::new(function);
    assert_eq!(success(&house.invoke(&function, "{}").await), json!([true, 11]));
    house.executor.forget(&function.arn);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_over_six_megabytes_is_refused() {
    let house = house().await;
    let mut function = house.python("large", "def handler(event, context):\n    return 'x' * event\n");
    function.memory_mb = 1024;
    let function = Arc::new(function);
    assert_eq!(house.invoke(&function, "6000000").await.payload.len(), 6_000_002);
    let outcome = house.invoke(&function, "100000000").await;
    assert_eq!(
        json(&outcome),
        json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes)."})
    );
    assert!(!house.invoke(&function, "1").await.cold);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_phase_of_more_than_ten_seconds_is_begun_again_within_the_functions_time() {
    let house = house().await;
    let mut function =
        house.python("slowinit", "import time\ntime.sleep(60)\ndef handler(event, context):\n    return 1\n");
    function.timeout_ms = 1000;
    let begun = Instant::now();
    let outcome = house.invoke(&Arc::new(function), "{}").await;
    assert_eq!(json(&outcome)["errorType"], "Sandbox.Timedout");
    assert!(begun.elapsed() >= Duration::from_secs(11), "{:?}", begun.elapsed());
    let lines = house.sink.after_reports("slowinit", 1).await;
    assert!(
        lines.iter().any(
            |line| line.starts_with("INIT_REPORT Init Duration: 100") && line.contains("Status: timeout")
        ),
        "{lines:?}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_written_to_the_platform_harms_only_the_function_itself() {
    let house = house().await;
    let code = "import os, time\ndef handler(event, context):\n    if event:\n        os.write(3, bytes.fromhex(event))\n        time.sleep(60)\n    return 'fine'\n";
    let function = Arc::new(house.python("nonsense", code));
    // Lengths beyond all limits, a header that is no JSON, and one of an unknown kind.
    for bytes in ["ffffffffffffffff", "0200000000000000ffff", "0b000000000000007b2274223a226e6f227d7d"] {
        let outcome = house.invoke(&function, &format!("\"{bytes}\"")).await;
        assert_eq!(outcome.error_type.as_deref(), Some("Runtime.ExitError"), "{bytes}");
    }
    assert_eq!(success(&house.invoke(&function, "null").await), json!("fine"));
    house.close().await;
}

fn resident_kb() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
