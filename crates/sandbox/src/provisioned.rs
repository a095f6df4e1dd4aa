//! Sandboxes that are made before anybody needs them, and kept: how many are wanted of each function version, and how far that is.
//!
//! Only bookkeeping, like `pool.rs`; the executor makes what `begin` hands out and tells what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::FunctionSpec;

/// How many of one function version are made at the same time.
const MAKERS: usize = 4;

/// How far provisioning is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    pub wanted: usize,
    /// Initialised, whether idle or busy.
    pub ready: usize,
    /// Why no more are made although more are wanted.
    pub failed: Option<String>,
}

#[derive(Default)]
pub struct Provisions {
    /// Function ARN and version → what is wanted of it.
    versions: HashMap<(String, String), Provision>,
}

struct Provision {
    function: Arc<FunctionSpec>,
    wanted: usize,
    ready: usize,
    making: usize,
    failed: Option<String>,
}

fn key(function: &FunctionSpec) -> (String, String) {
    (function.arn.clone(), function.version.clone())
}

impl Provisions {
    /// Wants `wanted` of a function version from now on. Gives how many there are too many: all of a function that was made anew.
    pub fn want(&mut self, function: &Arc<FunctionSpec>, wanted: usize) -> usize {
        let fresh = || Provision { function: function.clone(), wanted, ready: 0, making: 0, failed: None };
        let provision = self.versions.entry(key(function)).or_insert_with(fresh);
        provision.wanted = wanted;
        provision.failed = None;
        let mut surplus = provision.ready.saturating_sub(wanted);
        if provision.function.revision != function.revision {
            provision.function = function.clone();
            provision.ready = 0;
            surplus = usize::MAX;
        }
        self.forget_unused();
        surplus
    }

    /// What should be made next of a version; it counts as being made until `made`, `lost` or `failed`.
    pub fn begin(&mut self, arn: &str, version: &str) -> Option<Arc<FunctionSpec>> {
        let provision = self.find(arn, version)?;
        let enough = provision.ready + provision.making >= provision.wanted;
        if enough || provision.making >= MAKERS || provision.failed.is_some() {
            return None;
        }
        provision.making += 1;
        Some(provision.function.clone())
    }

    /// One was made; whether it is still wanted.
    pub fn made(&mut self, function: &FunctionSpec) -> bool {
        let Some(provision) = self.find(&function.arn, &function.version) else { return false };
        provision.making = provision.making.saturating_sub(1);
        let same = provision.function.revision == function.revision;
        let wanted = same && provision.ready < provision.wanted;
        if wanted {
            provision.ready += 1;
        }
        self.forget_unused();
        wanted
    }

    /// One could not be made.
    pub fn failed(&mut self, function: &FunctionSpec, reason: String) {
        let Some(provision) = self.find(&function.arn, &function.version) else { return };
        provision.making = provision.making.saturating_sub(1);
        if provision.function.revision == function.revision {
            provision.failed = Some(reason);
        }
        self.forget_unused();
    }

    /// One that was ready is gone.
    pub fn lost(&mut self, function: &FunctionSpec) {
        let found = self.find(&function.arn, &function.version);
        if let Some(provision) = found.filter(|p| p.function.revision == function.revision) {
            provision.ready = provision.ready.saturating_sub(1);
        }
        self.forget_unused();
    }

    /// Whether one that was used is to be kept.
    pub fn keeps(&self, function: &FunctionSpec) -> bool {
        let found = self.versions.get(&key(function));
        found.is_some_and(|p| p.function.revision == function.revision && p.ready <= p.wanted)
    }

    pub fn of(&self, arn: &str, version: &str) -> Provisioned {
        let found = self.versions.get(&(arn.to_owned(), version.to_owned()));
        found.map_or_else(Provisioned::default, |provision| Provisioned {
            wanted: provision.wanted,
            ready: provision.ready,
            failed: provision.failed.clone(),
        })
    }

    /// The versions of a function of which some are wanted or left.
    pub fn versions(&self, arn: &str) -> Vec<Arc<FunctionSpec>> {
        let versions = self.versions.values().filter(|provision| provision.function.arn == arn);
        versions.map(|provision| provision.function.clone()).collect()
    }

    fn find(&mut self, arn: &str, version: &str) -> Option<&mut Provision> {
        self.versions.get_mut(&(arn.to_owned(), version.to_owned()))
    }

    fn forget_unused(&mut self) {
        self.versions.retain(|_, provision| provision.wanted + provision.ready + provision.making > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Credentials, Initialization, Tracing};

    fn function() -> Arc<FunctionSpec> {
        let credentials = |_: &str| Credentials {
            access_key_id: String::new(),
            secret_access_key: String::new(),
            session_token: None,
        };
        Arc::new(FunctionSpec {
            arn: "arn".into(),
            name: "f".into(),
            version: "1".into(),
            runtime: "python3.11".into(),
            handler: "app.handler".into(),
            code_dir: PathBuf::new(),
            layers: Vec::new(),
            env: Default::default(),
            memory_mb: 128,
            timeout_ms: 1000,
            tmp_mb: 512,
            credentials: Arc::new(credentials),
            log_group: String::new(),
            json_logs: None,
            tracing: Tracing::PassThrough,
            outbound_network: false,
            revision: String::new(),
            initialization: Initialization::Provisioned,
        })
    }

    #[test]
    fn as_many_are_made_as_are_wanted() {
        let (mut provisions, function) = (Provisions::default(), function());
        provisions.want(&function, 2);
        assert!(provisions.begin("arn", "1").is_some() && provisions.begin("arn", "1").is_some());
        assert!(provisions.begin("arn", "1").is_none(), "two are being made");
        assert!(provisions.made(&function) && provisions.made(&function));
        assert_eq!(provisions.of("arn", "1"), Provisioned { wanted: 2, ready: 2, failed: None });
        provisions.lost(&function);
        assert!(provisions.begin("arn", "1").is_some(), "one that died is made again");
    }

    #[test]
    fn what_is_too_many_goes() {
        let (mut provisions, function) = (Provisions::default(), function());
        provisions.want(&function, 2);
        provisions.begin("arn", "1");
        provisions.begin("arn", "1");
        provisions.made(&function);
        assert_eq!(provisions.want(&function, 0), 1);
        assert!(!provisions.made(&function), "nobody wants it any more");
        assert!(!provisions.keeps(&function));
        provisions.lost(&function);
        assert!(provisions.versions("arn").is_empty());
    }

    #[test]
    fn a_function_made_anew_keeps_nothing_of_the_old() {
        let (mut provisions, old) = (Provisions::default(), function());
        provisions.want(&old, 1);
        provisions.begin("arn", "1");
        provisions.made(&old);
        let new = Arc::new(FunctionSpec { revision: "2".into(), ..(*old).clone() });
        assert_eq!(provisions.want(&new, 1), usize::MAX);
        assert!(!provisions.keeps(&old));
        provisions.lost(&old);
        assert!(provisions.begin("arn", "1").is_some_and(|next| next.revision == "2"));
        assert!(provisions.made(&new) && provisions.keeps(&new));
    }

    #[test]
    fn a_failure_stops_until_it_is_wanted_again() {
        let (mut provisions, function) = (Provisions::default(), function());
        provisions.want(&function, 1);
        provisions.begin("arn", "1");
        provisions.failed(&function, "init".into());
        assert!(provisions.begin("arn", "1").is_none());
        provisions.want(&function, 1);
        assert!(provisions.begin("arn", "1").is_some());
    }
}
