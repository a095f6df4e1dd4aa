//! Which versions have a snapshot: taken when they are published, and again when it is gone or its credentials are about to end.
//!
//! Only bookkeeping, like `pool.rs`; the executor takes them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::FunctionSpec;
use crate::snapshot::Snapshot;

/// So many are kept; a version used less recently is initialised as any other until it has one again.
const MOST: usize = 64;

/// What SnapStart makes of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshotted {
    On,
    /// Each sandbox runs init for itself: why.
    Off(String),
    /// Init failed, with what Lambda calls that kind of failure and with what it said.
    Failed {
        code: &'static str,
        reason: String,
    },
}

#[derive(Default)]
pub struct Snapshots {
    /// Function ARN and version → how it stands.
    versions: HashMap<(String, String), Entry>,
}

struct Entry {
    revision: String,
    /// None while one is taken, or where none can be.
    snapshot: Option<Arc<Snapshot>>,
    used: Instant,
}

/// What a cold start is to do.
pub enum Advice {
    Restore(Arc<Snapshot>),
    /// Run init, and have a snapshot taken for the next one.
    Take,
    Initialise,
}

fn key(function: &FunctionSpec) -> (String, String) {
    (function.arn.clone(), function.version.clone())
}

impl Snapshots {
    pub fn advise(&mut self, function: &FunctionSpec, now: Instant) -> Advice {
        match self.versions.get_mut(&key(function)) {
            Some(Entry { snapshot: Some(snapshot), used, .. }) if snapshot.serves(function) => {
                *used = now;
                Advice::Restore(snapshot.clone())
            }
            Some(Entry { snapshot: None, revision, .. }) if *revision == function.revision => {
                Advice::Initialise
            }
            _ => Advice::Take,
        }
    }

    /// Notes that one is being taken; whether nobody else does already.
    pub fn begin(&mut self, function: &FunctionSpec, now: Instant) -> bool {
        let fresh = Entry { revision: function.revision.clone(), snapshot: None, used: now };
        let before = self.versions.insert(key(function), fresh);
        before.is_none_or(|before| before.snapshot.is_some() || before.revision != function.revision)
    }

    /// Keeps one that was taken, if the version is still there.
    pub fn taken(&mut self, function: &FunctionSpec, snapshot: Arc<Snapshot>) {
        if let Some(entry) = self.versions.get_mut(&key(function)) {
            entry.snapshot = Some(snapshot);
        }
        while self.versions.values().filter(|entry| entry.snapshot.is_some()).count() > MOST {
            let kept = self.versions.iter().filter(|(_, entry)| entry.snapshot.is_some());
            let Some(oldest) = kept.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone()) else {
                return;
            };
            self.versions.remove(&oldest);
        }
    }

    /// Forgets one that does not work any more.
    pub fn lost(&mut self, function: &FunctionSpec) {
        self.versions.remove(&key(function));
    }

    /// The versions of a function that `keep` does not name have none any more.
    pub fn keep_only(&mut self, arn: &str, keep: &dyn Fn(&str) -> bool) {
        self.versions.retain(|(of, version), _| of != arn || keep(version));
    }

    pub fn clear(&mut self) {
        self.versions.clear();
    }
}
