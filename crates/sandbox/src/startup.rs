//! Beginning: which tier this machine allows, found out by trying it.

use std::path::Path;

use crate::scratch::Scratch;
use crate::spawner::messages::{CellPlan, Settings};
use crate::spawner::{Cell, Spawner};
use crate::{ExecutorConfig, SandboxError, TierChoice};

/// The spawner that was started, and how.
pub struct Started {
    pub spawner: Spawner,
    pub settings: Settings,
    pub own_uids: bool,
    /// Why namespaces are not used although they were preferred.
    pub fallback: Option<String>,
    pub missing: Vec<String>,
}

/// Starts the spawner in the best tier this machine allows.
pub async fn start_spawner(
    config: &ExecutorConfig,
    program: &Path,
    scratch: &Scratch,
) -> Result<Started, SandboxError> {
    let failed = |reason: String| SandboxError::Launch { step: "spawner", reason };
    let mut settings = Settings {
        root: scratch.root.clone(),
        runtime_dir: scratch.runtime.clone(),
        namespaces: config.tier != TierChoice::Process,
    };
    let (spawner, hello) = Spawner::start(program, &settings).await.map_err(|e| failed(e.to_string()))?;
    let mut missing = hello.missing;
    let tried = match hello.error {
        Some(error) => Err(error),
        None if settings.namespaces => try_cell(config, &spawner).await,
        None => Ok(Vec::new()),
    };
    let own_uids = hello.own_uids;
    let reason = match tried {
        Ok(also) => {
            missing.extend(also);
            return Ok(Started { spawner, settings, own_uids, fallback: None, missing });
        }
        Err(reason) => reason,
    };
    if config.tier == TierChoice::Namespace {
        return Err(failed(reason));
    }
    tracing::warn!("functions run without sandboxes of their own (tier `process`): {reason}");
    settings.namespaces = false;
    let (spawner, _) = Spawner::start(program, &settings).await.map_err(|e| failed(e.to_string()))?;
    Ok(Started { spawner, settings, own_uids: false, fallback: Some(reason), missing })
}

/// Makes a sandbox and ends it: the only sure way to know that this machine can, and what not.
async fn try_cell(config: &ExecutorConfig, spawner: &Spawner) -> Result<Vec<String>, String> {
    let plan = CellPlan {
        mounts: Default::default(),
        uid: None,
        endpoint_port: config.endpoint.port(),
        xray: false,
        tun: config.outbound_network,
    };
    Cell::create(spawner, &plan).await.map(|cell| cell.missing).map_err(|e| e.to_string())
}

/// What a thousand sandboxes and their connections may need.
const FILES: u64 = 1 << 18;

/// Every sandbox takes some fifteen descriptors; the soft limit of 1,024 would end at some dozens.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // Root may also raise the hard limit.
    if getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(_, hard)| hard < FILES)
        && setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).is_ok()
    {
        return;
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
