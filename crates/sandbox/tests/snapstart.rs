//! SnapStart: init runs once, and each sandbox goes on from there with what must be its own.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use support::*;
use tidemill_sandbox::{FunctionSpec, Initialization, Outcome, Snapshotted};

const CODE: &str = "
import os, random, socket, tempfile, threading, time, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

hooks = []
register_before_snapshot(hooks.append, 'registered first')
register_before_snapshot(hooks.append, 'registered last')

@register_after_restore
def after():
    hooks.append(os.environ['AWS_LAMBDA_LOG_STREAM_NAME'])

born = uuid.uuid4().hex
os.mkdir('/tmp/deep')
with open('/tmp/deep/file', 'w') as file:
    file.write('of init')
os.symlink('deep/file', '/tmp/link')
opened = open('/tmp/opened', 'w+')
nameless = tempfile.TemporaryFile()
nameless.write(b'of init')
nameless.flush()

def handler(event, context):
    with open('/tmp/link', 'a') as file:
        file.write('+')
    opened.write('x')
    opened.flush()
    nameless.write(b'+')
    nameless.flush()
    nameless.seek(0)
    time.sleep(event.get('sleep', 0))
    ports = []
    with socket.socket() as one:
        try:
            one.connect(('127.0.0.1', 4566))
            ports.append(4566)
        except OSError:
            pass
    return {
        'born': born, 'hooks': hooks, 'stream': context.log_stream_name, 'random': random.random(), 'file': open('/tmp/link').read(),
        'opened': open('/tmp/opened').read(), 'nameless': nameless.read().decode(), 'type': os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'], 'ports': ports,
        'pid': os.getpid(), 'pids': [int(name) for name in os.listdir('/proc') if name.isdigit()], 'uid': os.getuid(),
        'caps': [line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff')][0], 'fds': sorted(os.listdir('/proc/self/fd')),
    }
";

fn snapstart(house: &House, name: &str, code: &str) -> Arc<FunctionSpec> {
    let mut function = house.function(name, "python3.12", &[("app.py", code)]);
    function.version = "1".into();
    function.initialization = Initialization::SnapStart;
    Arc::new(function)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sandboxes_go_on_from_one_init_with_a_world_of_their_own() {
    let house = house().await;
    if !available(&house, "python3.12").await {
        return house.close().await;
    }
    let function = snapstart(&house, "restored", CODE);
    assert_eq!(house.executor.snapshot(&function).await.unwrap(), Snapshotted::On);
    let event = r#"{"sleep": 0.5}"#;
    let outcomes: Vec<Outcome> =
        futures::future::join_all((0..3).map(|_| house.invoke(&function, event))).await;
    let answers: Vec<_> = outcomes.iter().map(success).collect();
    let different =
        |member: &str| answers.iter().map(|a| a[member].to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((different("born"), different("random"), different("stream")), (1, 3, 3));
    for (answer, outcome) in answers.iter().zip(&outcomes) {
        println!("{answer} {:?}", outcome.overhead);
        assert_eq!(answer["hooks"], json!(["registered last", "registered first", outcome.log_stream]));
        assert_eq!((&answer["file"], &answer["opened"]), (&json!("of init+"), &json!("x")));
        assert_eq!(answer["nameless"], "of init+");
        assert_eq!((&answer["type"], &answer["ports"]), (&json!("snap-start"), &json!([4566])));
        assert_eq!(answer["pids"], json!([1, answer["pid"]]));
        assert_eq!(answer["caps"], "0000000000000000");
        assert_eq!((outcome.cold, outcome.init), (true, None));
        let tail = String::from_utf8_lossy(&outcome.log_tail);
        assert!(tail.contains("RESTORE_START Runtime Version: python:3.12"), "{tail}");
        assert!(tail.contains("RESTORE_REPORT Restore Duration: "), "{tail}");
        assert!(
            tail.contains("\tRestore Duration: ") && tail.contains("\tBilled Restore Duration: "),
            "{tail}"
        );
    }
    let warm = house.invoke(&function, "{}").await;
    assert!(!warm.cold);
    assert_eq!(success(&warm)["file"], "of init++");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_opens_for_restores_only() {
    let house = house().await;
    if !available(&house, "python3.12").await {
        return house.close().await;
    }
    let code = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def leave():
    return [libc.unshare(0x7e020000) and ctypes.get_errno(), libc.unshare(0x10000000) and ctypes.get_errno(), libc.mount(0, 0, 0, 0, 0) and ctypes.get_errno()]
at_init = leave()
def handler(event, context):
    return [at_init, leave(), os.path.exists('/proc/1/root/etc')]
";
    let function = snapstart(&house, "gate", code);
    assert_eq!(house.executor.snapshot(&function).await.unwrap(), Snapshotted::On);
    let refused = json!([libc_eperm(), libc_eperm(), libc_eperm()]);
    let answer = success(&house.invoke(&function, "{}").await);
    assert_eq!((&answer[0], &answer[1]), (&refused, &refused));
    house.close().await;
}

fn libc_eperm() -> i32 {
    nix::errno::Errno::EPERM as i32
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_copied_is_initialised_each_time() {
    let house = house().await;
    if !available(&house, "python3.12").await {
        return house.close().await;
    }
    for (name, init, reason) in [
        (
            "thread",
            "import threading\nthreading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()",
            "mine",
        ),
        ("child", "import subprocess\nchild = subprocess.Popen(['sleep', '100'])", "processes"),
        ("pipe", "import os\npipe = os.pipe()", "pipe"),
        ("memory", "import mmap\nshared = mmap.mmap(-1, 4096)", "share memory"),
    ] {
        let code = format!(
            "{init}\nimport os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
        );
        let function = snapstart(&house, name, &code);
        match house.executor.snapshot(&function).await.unwrap() {
            Snapshotted::Off(why) => assert!(why.contains(reason), "{why}"),
            other => panic!("{name}: {other:?}"),
        }
        let outcome = house.invoke(&function, "{}").await;
        assert_eq!(success(&outcome), "on-demand");
        assert!(outcome.init.is_some());
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_init_and_of_hooks_are_told() {
    let house = house().await;
    if !available(&house, "python3.12").await {
        return house.close().await;
    }
    let broken = snapstart(&house, "broken", "raise ValueError('no')\n");
    let told = Snapshotted::Failed { code: "FunctionError", reason: "ValueError: no".into() };
    assert_eq!(house.executor.snapshot(&broken).await.unwrap(), told);
    let code = "
from snapshot_restore_py import register_after_restore
@register_after_restore
def after():
    raise KeyError('lost')
def handler(event, context):
    return 1
";
    let function = snapstart(&house, "hook", code);
    assert_eq!(house.executor.snapshot(&function).await.unwrap(), Snapshotted::On);
    let outcome = house.invoke(&function, "{}").await;
    assert_eq!(outcome.error_type.as_deref(), Some("Runtime.AfterRestoreError"));
    house.close().await;
}
