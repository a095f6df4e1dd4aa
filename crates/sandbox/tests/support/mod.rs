//! What the tests share: an executor, functions written in place, and a log sink one can wait on.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tidemill_sandbox::*;

pub const ID: &str = "8f507cfc-3c8a-4a0f-9d1c-0123456789ab";

pub struct House {
    pub executor: Executor,
    pub sink: Arc<Lines>,
    pub dir: tempfile::TempDir,
}

#[derive(Default)]
pub struct Lines {
    lines: Mutex<Vec<(String, String)>>,
    counting: Mutex<Option<String>>,
    counted: std::sync::atomic::AtomicUsize,
    added: tokio::sync::Notify,
}

impl LogSink for Lines {
    fn write<'a>(
        &'a self,
        function: &'a FunctionSpec,
        _stream: &'a str,
        lines: Vec<LogLine>,
    ) -> BoxFuture<'a, ()> {
        let counting = self.counting.lock().as_deref() == Some(&function.name);
        let kept = lines.into_iter().filter(|line| {
            let counted = counting && line.message.starts_with('x');
            if counted {
                self.counted.fetch_add(line.message.len(), std::sync::atomic::Ordering::Relaxed);
            }
            !counted
        });
        self.lines.lock().extend(kept.map(|line| (function.name.clone(), line.message)));
        self.added.notify_waiters();
        Box::pin(async {})
    }
}

impl Lines {
    /// The function's lines, once `count` REPORT lines are among them.
    pub async fn after_reports(&self, function: &str, count: usize) -> Vec<String> {
        let collected = async {
            loop {
                let added = self.added.notified();
                tokio::pin!(added);
                added.as_mut().enable();
                let lines = self.of(function);
                if lines.iter().filter(|line| line.starts_with("REPORT ")).count() >= count {
                    return lines;
                }
                added.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), collected).await.expect("REPORT lines")
    }

    pub fn of(&self, function: &str) -> Vec<String> {
        self.lines.lock().iter().filter(|(name, _)| name == function).map(|(_, line)| line.clone()).collect()
    }

    /// Counts the bytes of a function's lines of x instead of keeping them.
    pub fn count_only(&self, function: &str) {
        *self.counting.lock() = Some(function.into());
    }

    pub fn counted(&self) -> usize {
        self.counted.load(std::sync::atomic::Ordering::Relaxed)
    }
}

pub async fn house() -> House {
    house_with(|_| {}).await
}

pub async fn house_with(adjust: impl FnOnce(&mut ExecutorConfig)) -> House {
    house_hooked(adjust, |_| {}).await
}

pub async fn house_hooked(adjust: impl FnOnce(&mut ExecutorConfig), hook: impl FnOnce(&mut Hooks)) -> House {
    let dir = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a folder");
    let mut config =
        ExecutorConfig::new(dir.path().join("scratch"), "127.0.0.1:4566".parse().expect("an address"));
    config.launcher = Some(env!("CARGO_BIN_EXE_tidemill-sandbox-spawner").into());
    config.prewarmed = 1;
    adjust(&mut config);
    let sink = Arc::new(Lines::default());
    let mut hooks = Hooks { logs: sink.clone(), connections: None, segments: None };
    hook(&mut hooks);
    let executor = Executor::new(config, hooks).await.expect("an executor");
    House { executor, sink, dir }
}

/// A runtime this machine has, or none, which is printed.
pub async fn available(house: &House, runtime: &str) -> bool {
    match house.executor.expect(runtime).await {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

impl House {
    pub fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.dir.path().join(name);
        for (path, content) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(&path, content).expect("a file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        }
        dir
    }

    pub fn function(&self, name: &str, runtime: &str, files: &[(&str, &str)]) -> FunctionSpec {
        let credentials = |_: &str| Credentials {
            access_key_id: "AKIDTEST".into(),
            secret_access_key: "secret".into(),
            session_token: Some("token".into()),
        };
        FunctionSpec {
            arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
            name: name.into(),
            version: "$LATEST".into(),
            runtime: runtime.into(),
            handler: "app.handler".into(),
            code_dir: self.folder(name, files),
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
        }
    }

    pub fn python(&self, name: &str, code: &str) -> FunctionSpec {
        self.function(name, "python3.11", &[("app.py", code)])
    }

    pub async fn invoke(&self, function: &Arc<FunctionSpec>, event: &str) -> Outcome {
        self.executor.invoke(function, Invocation::new(ID, event.to_owned())).await.expect("an outcome")
    }

    pub async fn close(self) {
        self.executor.shutdown(Duration::from_secs(5)).await;
    }
}

pub fn json(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.payload)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&outcome.payload)))
}

/// The answer of an invocation that must have succeeded.
#[track_caller]
pub fn success(outcome: &Outcome) -> Value {
    assert_eq!(
        outcome.function_error,
        None,
        "{} {}",
        String::from_utf8_lossy(&outcome.payload),
        String::from_utf8_lossy(&outcome.log_tail)
    );
    json(outcome)
}

pub fn tail(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.log_tail).into_owned()
}

/// This process's groups in every hierarchy.
pub fn own_groups() -> Vec<PathBuf> {
    let prefix = format!("tidemill-{}-", std::process::id());
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut parents = vec![PathBuf::from("/sys/fs/cgroup")];
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        for controller in controllers.split(',') {
            let root = PathBuf::from("/sys/fs/cgroup").join(controller);
            let inner = root.join(path.trim_start_matches('/'));
            parents.extend(inner.ancestors().take_while(|dir| dir.starts_with(&root)).map(PathBuf::from));
        }
    }
    parents.sort();
    parents.dedup();
    let entries = parents.iter().flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten().flatten());
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect()
}
