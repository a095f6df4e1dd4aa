//! What stands between functions and this machine, found out by putting it up once: for `tidemill doctor`.

use crate::spawner::landlock_version;
use crate::{Executor, ExecutorConfig, Hooks, SandboxError, Tier, TierReport};

/// One protection or limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wall {
    /// A word for machines, such as `namespaces`.
    pub name: &'static str,
    pub stands: bool,
    /// What it does, or what is missing and why.
    pub says: String,
}

/// The walls functions have on this machine. Starts and ends the spawner; no function runs.
pub async fn walls(config: ExecutorConfig, hooks: Hooks) -> Result<Vec<Wall>, SandboxError> {
    let executor = Executor::new(config, hooks).await?;
    let found = describe(&executor.tier(), landlock_version());
    executor.shutdown(std::time::Duration::ZERO).await;
    Ok(found)
}

fn describe(tier: &TierReport, landlock: Option<i64>) -> Vec<Wall> {
    let namespaces = tier.tier == Tier::Namespace;
    let without = "only where there are namespaces".to_owned();
    let mut walls = vec![
        Wall {
            name: "namespaces",
            stands: namespaces,
            says: match &tier.fallback {
                None if namespaces => "own processes, files, network, users; a read-only root".into(),
                None => "switched off: functions are ordinary processes of this user".into(),
                Some(reason) => format!("functions are ordinary processes of this user: {reason}"),
            },
        },
        Wall {
            name: "seccomp",
            stands: namespaces,
            says: if namespaces {
                "system calls that administer a machine are refused".into()
            } else {
                without.clone()
            },
        },
        Wall {
            name: "landlock",
            stands: namespaces && landlock.is_some(),
            says: match landlock {
                Some(version) if namespaces => {
                    format!("version {version}: only /tmp can be changed, signals stay inside")
                }
                Some(_) => without,
                None => "this kernel has none, or it is not among the modules of its lsm= setting".into(),
            },
        },
    ];
    let limits = tier.missing.is_empty();
    if limits {
        let says = "memory, CPU, processes; idle functions are frozen".to_owned();
        walls.push(Wall { name: "cgroups", stands: true, says });
    }
    walls.extend(tier.missing.iter().map(|missing| Wall {
        name: if missing.contains("network") { "network" } else { "cgroups" },
        stands: false,
        says: missing.clone(),
    }));
    walls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_reason() {
        let whole = TierReport { tier: Tier::Namespace, fallback: None, missing: Vec::new() };
        assert!(describe(&whole, Some(7)).iter().all(|wall| wall.stands));
        let bare = TierReport {
            tier: Tier::Process,
            fallback: Some("user namespaces are not allowed here".into()),
            missing: vec!["The cgroup controller pids cannot be used by this user".into()],
        };
        let found = describe(&bare, None);
        assert!(found.iter().all(|wall| !wall.stands));
        assert!(found[0].says.contains("not allowed") && found[3].name == "cgroups", "{found:?}");
    }
}
