//! A zygote, seen from the platform: a warm Python that forks itself into sandboxes. `runtimes/python/zygote.py` is the other side.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::SandboxError;
use crate::logs::LogReader;
use crate::runtimes::plan::Plan;
use crate::spawner::messages::Request;
use crate::spawner::{Socket, Spawner, filter_program, filter_program_with_gate};

pub struct Zygote {
    control: Arc<Socket>,
    /// Becomes true when it has imported all that it keeps warm.
    warm: watch::Receiver<bool>,
    _listening: JoinSet<()>,
}

/// One fork. Descriptors travel beside it, named by `fds`.
#[derive(Serialize)]
pub struct Order {
    pub uid: Option<u32>,
    pub confine: bool,
    pub touch: bool,
    pub rlimits: Vec<(String, u64)>,
    pub fds: Vec<String>,
}

#[derive(Deserialize)]
struct IsReady {
    #[allow(dead_code)]
    ready: bool,
}

impl Zygote {
    /// Starts an interpreter and waits until it can be forked. What it keeps warm it imports between forks, in a few hundred milliseconds.
    pub async fn start(spawner: &Spawner, plan: &Plan) -> Result<Self, SandboxError> {
        let failed = |error: io::Error| SandboxError::Launch { step: "zygote", reason: error.to_string() };
        let (control, theirs) = Socket::pair().map_err(failed)?;
        let (log, log_write) = LogReader::pipe().map_err(failed)?;
        let request = Request::Zygote {
            program: plan.program.clone(),
            args: vec!["-B".into(), format!("{}/zygote.py", plan.runtime_root)],
            env: environment(plan),
            mounts: plan.mounts.clone(),
        };
        spawner.request(&request, &[theirs.as_fd(), log_write.as_fd()]).await.map_err(failed)?;
        drop((theirs, log_write));
        match control.receive::<IsReady>().await {
            Ok(_) => {
                tokio::spawn(log.into_trace(plan.runtime.clone()));
                let (control, (told, warm)) = (Arc::new(control), watch::channel(false));
                let (mut listening, hears) = (JoinSet::new(), control.clone());
                listening.spawn(async move {
                    if hears.receive::<IsReady>().await.is_ok() {
                        let _ = told.send(true);
                    }
                });
                Ok(Self { control, warm, _listening: listening })
            }
            Err(error) => {
                let said = log.into_text().await;
                let reason = said.lines().last().map_or_else(|| error.to_string(), str::to_owned);
                Err(SandboxError::Launch {
                    step: "zygote",
                    reason: format!("{}: {reason}", plan.program.display()),
                })
            }
        }
    }

    /// Waits until a fork finds everything in memory, or the zygote has died.
    pub async fn warm(&self) {
        let _ = self.warm.clone().wait_for(|warm| *warm).await;
    }

    /// Forks it once. How that went is seen on the sandbox's own channel and status pipe.
    pub async fn fork(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.control.send(order, fds).await
    }
}

fn environment(plan: &Plan) -> Vec<(String, String)> {
    let mut env = vec![
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TZ".to_owned(), ":UTC".to_owned()),
        ("LD_LIBRARY_PATH".to_owned(), format!("{}/lib", plan.lang)),
        ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ("TIDEMILL_SECCOMP".to_owned(), hex::encode(filter_program())),
        ("TIDEMILL_SECCOMP_WITH_GATE".to_owned(), hex::encode(filter_program_with_gate())),
    ];
    if let Some(sdk) = &plan.sdk_path {
        env.push(("TIDEMILL_SDK".to_owned(), sdk.clone()));
    }
    env
}

/// Descriptors with their names, in the order they are sent.
#[derive(Default)]
pub struct Named<'a> {
    pub names: Vec<String>,
    pub fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Named<'a> {
    pub fn add(&mut self, name: &str, fd: BorrowedFd<'a>) {
        self.names.push(name.to_owned());
        self.fds.push(fd);
    }

    pub fn add_owned(&mut self, name: &str, fd: &'a OwnedFd) {
        self.add(name, fd.as_fd());
    }
}
