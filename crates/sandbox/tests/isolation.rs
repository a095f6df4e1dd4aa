//! What a function in the namespace tier cannot see or do.

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use support::*;
use tidemill_sandbox::Tier;

/// Runs Python statements inside a function; `answer` is what they leave in `result`.
async fn inside(house: &House, name: &str, statements: &str) -> Value {
    let body: String = statements.lines().map(|line| format!("    {line}\n")).collect();
    let code = format!(
        "import os, socket, ctypes, errno, glob, subprocess\nlibc = ctypes.CDLL(None, use_errno=True)\ndef attempt(f):\n    try:\n        return f()\n    except OSError as e:\n        return errno.errorcode[e.errno]\ndef call(*args):\n    return errno.errorcode.get(ctypes.get_errno()) if libc.syscall(*args) < 0 else 'allowed'\ndef handler(event, context):\n    result = None\n{body}\n    return result\n"
    );
    success(&house.invoke(&Arc::new(house.python(name, &code)), "{}").await)
}

async fn namespace_house() -> Option<House> {
    let house = house().await;
    if house.executor.tier().tier == Tier::Namespace {
        return Some(house);
    }
    println!("skipped: {:?}", house.executor.tier());
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_not_there() {
    let Some(house) = namespace_house().await else { return };
    let secret = house.folder("secrets", &[("secret", "x")]).join("secret");
    let statements = format!(
        "result = {{'root': sorted(os.listdir('/')), 'secret': os.path.exists({:?}), 'home': os.path.exists('/home'), 'shadow': os.path.exists('/etc/shadow'), 'proc': [p for p in os.listdir('/proc') if p.isdigit()].__len__() < 5, 'mounts': [l for l in open('/proc/mounts') if '/.host' in l], 'shm': os.path.exists('/dev/shm'), 'host': socket.gethostname()}}",
        secret.display().to_string()
    );
    let found = inside(&house, "host", &statements).await;
    for name in ["secret", "home", "shadow", "shm"] {
        assert_eq!(found[name], json!(false), "{name}");
    }
    assert_eq!(
        (&found["proc"], &found["mounts"], &found["host"]),
        (&json!(true), &json!([]), &json!("sandbox"))
    );
    for name in ["root", "sys", "run", "work", "data"] {
        assert!(!found["root"].as_array().unwrap().contains(&json!(name)), "/{name}: {found}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tmp_can_be_written() {
    let Some(house) = namespace_house().await else { return };
    let statements = "def write(path):\n    with open(path, 'w') as f:\n        f.write('x')\n    return 'written'\nresult = [attempt(lambda p=p: write(p)) for p in ('/x', '/var/task/x', '/opt/x', '/var/runtime/x', '/usr/x', '/etc/x', '/dev/x', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/tmp/x')]";
    let found = inside(&house, "writes", statements).await;
    let refused = |v: &Value| matches!(v.as_str(), Some("EROFS" | "EACCES" | "EPERM" | "ENOENT"));
    let all = found.as_array().unwrap();
    assert!(all[..9].iter().all(refused), "{found}");
    assert_eq!(all[9], "written");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_privileges_are_left_and_none_can_be_gained() {
    let Some(house) = namespace_house().await else { return };
    let statements = "status = dict(l.rstrip('\\n').split(':\\t', 1) for l in open('/proc/self/status') if ':\\t' in l)\nresult = {'uid': os.getuid() != 0, 'groups': os.getgroups(), 'caps': [status[n] for n in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')], 'bounding': status['CapBnd'], 'nnp': status['NoNewPrivs'], 'seccomp': status['Seccomp'], 'setuid': attempt(lambda: os.setuid(0)), 'limits': __import__('resource').getrlimit(__import__('resource').RLIMIT_NOFILE)}";
    let found = inside(&house, "privileges", statements).await;
    let none = "0000000000000000";
    assert_eq!(found["caps"], json!([none, none, none, none]));
    assert_eq!(
        (&found["uid"], &found["bounding"], &found["nnp"], &found["seccomp"], &found["setuid"]),
        (&json!(true), &json!(none), &json!("1"), &json!("2"), &json!("EPERM"))
    );
    assert_eq!(found["limits"], json!([1024, 1024]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernels_dangerous_doors_are_shut() {
    let Some(house) = namespace_house().await else { return };
    // x86-64 numbers; on other machines the names in /proc/self/status of the test above still hold.
    let statements = "numbers = {'ptrace': 101, 'mount': 165, 'umount2': 166, 'unshare': 272, 'setns': 308, 'bpf': 321, 'keyctl': 250, 'perf_event_open': 298, 'kexec_load': 246, 'userfaultfd': 323, 'io_uring_setup': 425, 'open_tree': 428, 'pidfd_getfd': 438, 'chroot': 161, 'pivot_root': 155, 'process_vm_readv': 310, 'init_module': 175, 'open_by_handle_at': 304}\nresult = {name: call(number, 0, 0, 0, 0, 0, 0) for name, number in numbers.items()}\nresult['clone newuser'] = call(56, 0x10000000 | 17, 0, 0, 0, 0)\nresult['clone3'] = call(435, 0, 0)\nresult['raw'] = attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\nresult['packet'] = attempt(lambda: socket.socket(17, socket.SOCK_RAW, 3))\nresult['vsock'] = attempt(lambda: socket.socket(40, socket.SOCK_STREAM))";
    let mut found = inside(&house, "doors", statements).await;
    let map = found.as_object_mut().unwrap();
    assert_eq!(map.remove("clone3"), Some(json!("ENOSYS")));
    assert_eq!(map.remove("packet"), Some(json!("EAFNOSUPPORT")));
    assert_eq!(map.remove("vsock"), Some(json!("EAFNOSUPPORT")));
    for (name, answer) in map {
        assert_eq!(answer, "EPERM", "{name}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_do_not_see_each_other() {
    let Some(house) = namespace_house().await else { return };
    let first = "sock = socket.socket()\nsock.bind(('127.0.0.1', 5555))\nsock.listen()\nopen('/tmp/mine', 'w').write('x')\nglobals()['kept'] = sock\nresult = [os.getpid() < 50, len(os.listdir('/tmp'))]";
    assert_eq!(inside(&house, "first", first).await, json!([true, 1]));
    let second = "result = [attempt(lambda: socket.create_connection(('127.0.0.1', 5555), 1)), len(os.listdir('/tmp'))]";
    assert_eq!(inside(&house, "second", second).await, json!(["ECONNREFUSED", 0]));
    // The Runtime API there is its own, and serves nothing to a runtime that is invoked another way.
    let api = "import urllib.request, urllib.error, json\ntry:\n    urllib.request.urlopen('http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2018-06-01/runtime/invocation/next', timeout=2)\nexcept urllib.error.HTTPError as error:\n    result = [error.code, json.loads(error.read())['errorType']]";
    assert_eq!(inside(&house, "third", api).await, json!([403, "Runtime.NotServed"]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platform_and_its_sandboxes_inits_cannot_be_touched() {
    let Some(house) = namespace_house().await else { return };
    let statements = "pids = sorted(int(p) for p in os.listdir('/proc') if p.isdigit())\nresult = [attempt(lambda: os.kill(1, 9)), attempt(lambda: open('/proc/1/mem', 'rb')), attempt(lambda: os.listdir('/proc/1/fd')), attempt(lambda: os.listdir('/proc/1/root')), pids[0] == 1 and len(pids) == 2, sorted(os.listdir('/proc/self/fd'))]";
    let found = inside(&house, "init", statements).await;
    let all = found.as_array().unwrap();
    // A signal to a namespace's first process from inside is not delivered, whether or not it is refused.
    assert!(all[0] == "EPERM" || all[0].is_null(), "{found}");
    assert!(all[1..4].iter().all(|v| v == "EACCES" || v == "EPERM"), "{found}");
    assert_eq!(all[4], json!(true));
    let open: Vec<&str> = all[5].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    // Standard streams, the channel, /dev/urandom and the listing itself: no descriptor of the platform's.
    assert!(open.len() <= 6, "{open:?}");
    house.close().await;
}
