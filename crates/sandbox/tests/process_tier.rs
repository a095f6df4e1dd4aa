//! The fallback tier: the same answers without namespaces.

mod support;

use std::sync::Arc;

use serde_json::json;
use support::*;
use tidemill_sandbox::{Tier, TierChoice};

async fn process_house() -> House {
    house_with(|config| config.tier = TierChoice::Process).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_node_and_bootstraps_run() {
    let house = process_house().await;
    assert_eq!(house.executor.tier().tier, Tier::Process);
    let code = "import os, boto3\ndef handler(event, context):\n    return [event, os.environ['LAMBDA_TASK_ROOT'] == os.getcwd(), 'HOME' in os.environ, open(os.environ['TMPDIR'] + '/x', 'w').write('x')]\n";
    let function = Arc::new(house.python("python", code));
    assert_eq!(success(&house.invoke(&function, "1").await), json!([1, true, false, 1]));
    assert!(!house.invoke(&function, "1").await.cold);
    if available(&house, "nodejs20.x").await {
        let function = Arc::new(house.function(
            "node",
            "nodejs20.x",
            &[("app.mjs", "export const handler = async (event) => event;")],
        ));
        assert_eq!(success(&house.invoke(&function, "2").await), json!(2));
    }
    let bootstrap = "#!/bin/bash\nh=${AWS_LAMBDA_RUNTIME_API%:*} p=${AWS_LAMBDA_RUNTIME_API#*:}\nexec 5<>/dev/tcp/$h/$p\nprintf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&5\nid=$(grep -i request-id <&5 | tr -d '\\r' | cut -d' ' -f2)\nexec 5<>/dev/tcp/$h/$p\nprintf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1\\r\\n\\r\\n3' $id >&5\nread -r x <&5\nsleep 60\n";
    let function = Arc::new(house.function("bootstrap", "provided.al2023", &[("bootstrap", bootstrap)]));
    assert_eq!(success(&house.invoke(&function, "{}").await), json!(3));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_kills_the_function_and_its_children() {
    let house = process_house().await;
    let marker = house.dir.path().join("marker");
    std::fs::write(&marker, "").unwrap();
    let code = format!(
        "import subprocess, time\ndef handler(event, context):\n    subprocess.Popen(['sleep', '987654'])\n    open({:?}, 'w').write(str(__import__('os').getpid()))\n    time.sleep(60)\n",
        marker.display().to_string()
    );
    let mut spec = house.python("times", &code);
    spec.timeout_ms = 1000;
    let outcome = house.invoke(&Arc::new(spec), "{}").await;
    assert_eq!(json(&outcome)["errorType"], "Sandbox.Timedout");
    let pid = std::fs::read_to_string(&marker).unwrap();
    house.close().await;
    assert!(!alive(&pid), "{pid} lives");
    assert!(!anything_runs("987654"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exits_are_reported() {
    let house = process_house().await;
    let function =
        Arc::new(house.python("exits", "import os\ndef handler(event, context):\n    os._exit(5)\n"));
    let outcome = house.invoke(&function, "{}").await;
    assert_eq!(
        json(&outcome)["errorMessage"],
        format!("RequestId: {ID} Error: Runtime exited with error: exit status 5")
    );
    house.close().await;
}

/// Whether the process exists and is more than a name waiting to be collected.
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn anything_runs(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).split('\0').any(|part| part == argument))
}
