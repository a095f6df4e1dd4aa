//! Which sandboxes there are: idle ones by function, most recently used first, and how much memory all of them were promised.
//!
//! Only bookkeeping; nothing here waits or runs. `executor.rs` makes and ends sandboxes by what this says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::FunctionSpec;
use crate::PoolStats;
use crate::sandbox::Sandbox;

/// After this long an idle sandbox is frozen. On Lambda it is at once; freezing and thawing between two quick invocations would cost more than
/// what little a function does meanwhile.
pub const FREEZE_AFTER: Duration = Duration::from_millis(100);

#[derive(Default)]
pub struct Pool {
    functions: HashMap<String, Function>,
    promised_mb: u64,
    busy: usize,
    /// When whoever tends this looks again by itself.
    looks_at: Option<Instant>,
}

#[derive(Default)]
struct Function {
    /// The most recently used one last.
    idle: Vec<Idle>,
    busy: usize,
    /// Invocations that take a sandbox that comes back before one is made for them, by version, the earliest first.
    waiting: VecDeque<(String, oneshot::Sender<()>)>,
    /// Counts `forget`; sandboxes of an earlier count are not kept.
    epoch: u64,
}

impl Function {
    /// Tells the first who waits for this version.
    fn tell(&mut self, version: &str) {
        while let Some(at) = self.waiting.iter().position(|(wanted, _)| wanted == version) {
            let Some((_, waiting)) = self.waiting.remove(at) else { return };
            if waiting.send(()).is_ok() {
                return;
            }
        }
    }
}

struct Idle {
    sandbox: Sandbox,
    since: Instant,
    frozen: bool,
}

/// A place for a busy sandbox; hand it back with `release` or `give_up`.
#[derive(Clone, Debug)]
pub struct Place {
    arn: String,
    memory_mb: u64,
    epoch: u64,
}

/// What an invocation can use.
pub enum Found {
    Warm(Box<Sandbox>, Place),
    /// There is memory for a new one.
    New(Place),
    Full,
}

impl Pool {
    /// Takes an idle sandbox of the function, or room for a new one. Where the machine is `short` of memory, another one must go for that.
    /// Sandboxes to end are added to `dropped`.
    pub fn acquire(
        &mut self,
        function: &Arc<FunctionSpec>,
        limit_mb: u64,
        short: impl FnOnce() -> bool,
        dropped: &mut Vec<Sandbox>,
    ) -> Found {
        self.drop_outdated(function, dropped);
        let memory_mb = u64::from(function.memory_mb);
        let entry = self.functions.entry(function.arn.clone()).or_default();
        let place = Place { arn: function.arn.clone(), memory_mb, epoch: entry.epoch };
        let of_version = |idle: &Idle| idle.sandbox.function.version == function.version;
        let provisioned = entry.idle.iter().rposition(|idle| of_version(idle) && idle.sandbox.provisioned());
        if let Some(at) = provisioned.or_else(|| entry.idle.iter().rposition(of_version)) {
            let idle = entry.idle.remove(at);
            entry.busy += 1;
            self.busy += 1;
            if idle.frozen
                && let Some(cgroup) = &idle.sandbox.body.cgroup
            {
                cgroup.thaw();
            }
            return Found::Warm(Box::new(idle.sandbox), place);
        }
        let limit_mb = if short() { limit_mb.min(self.promised_mb.max(memory_mb)) } else { limit_mb };
        self.room(function, limit_mb, dropped).map_or(Found::Full, Found::New)
    }

    /// Room for a new sandbox of the function, if there is memory for it.
    pub fn room(
        &mut self,
        function: &FunctionSpec,
        limit_mb: u64,
        dropped: &mut Vec<Sandbox>,
    ) -> Option<Place> {
        let memory_mb = u64::from(function.memory_mb);
        while self.promised_mb + memory_mb > limit_mb {
            let Some(evicted) = self.take_oldest() else {
                self.forget_if_unused(&function.arn);
                return None;
            };
            dropped.push(evicted);
        }
        let entry = self.functions.entry(function.arn.clone()).or_default();
        let place = Place { arn: function.arn.clone(), memory_mb, epoch: entry.epoch };
        entry.busy += 1;
        self.busy += 1;
        self.promised_mb += memory_mb;
        Some(place)
    }

    /// Told when a sandbox of the version has come back, once; another may have taken it by then. Whoever waits holds a place.
    pub fn wait(&mut self, function: &FunctionSpec) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let entry = self.functions.entry(function.arn.clone()).or_default();
        // Who came first has mostly been served first.
        while entry.waiting.front().is_some_and(|(_, gone)| gone.is_closed()) {
            entry.waiting.pop_front();
        }
        entry.waiting.push_back((function.version.clone(), tell));
        told
    }

    /// Up to `most` idle provisioned sandboxes of a version, to be ended.
    pub fn take_provisioned(&mut self, function: &FunctionSpec, most: usize) -> Vec<Sandbox> {
        let Some(entry) = self.functions.get_mut(&function.arn) else { return Vec::new() };
        let taken =
            |idle: &mut Idle| idle.sandbox.provisioned() && idle.sandbox.function.version == function.version;
        let taken: Vec<Sandbox> =
            entry.idle.extract_if(.., taken).take(most).map(|idle| idle.sandbox).collect();
        self.promised_mb =
            self.promised_mb.saturating_sub(taken.iter().map(|s| u64::from(s.function.memory_mb)).sum());
        self.forget_if_unused(&function.arn);
        taken
    }

    /// Takes a sandbox back; gives it again when it may not be kept.
    #[must_use]
    pub fn release(&mut self, sandbox: Sandbox, place: &Place, now: Instant) -> Option<Sandbox> {
        self.busy = self.busy.saturating_sub(1);
        let Some(entry) = self.functions.get_mut(&place.arn) else { return Some(sandbox) };
        entry.busy = entry.busy.saturating_sub(1);
        if entry.epoch != place.epoch && !sandbox.provisioned() {
            self.promised_mb = self.promised_mb.saturating_sub(place.memory_mb);
            self.forget_if_unused(&place.arn);
            return Some(sandbox);
        }
        entry.tell(&sandbox.function.version);
        entry.idle.push(Idle { sandbox, since: now, frozen: false });
        None
    }

    /// Notes that the sandbox of a place is gone.
    pub fn give_up(&mut self, place: &Place) {
        self.busy = self.busy.saturating_sub(1);
        self.promised_mb = self.promised_mb.saturating_sub(place.memory_mb);
        if let Some(entry) = self.functions.get_mut(&place.arn) {
            entry.busy = entry.busy.saturating_sub(1);
        }
        self.forget_if_unused(&place.arn);
    }

    /// The idle sandboxes of a function, to be ended; busy ones will not be kept. Provisioned ones belong to versions that do not change;
    /// they stay until they are not wanted.
    pub fn forget(&mut self, arn: &str) -> Vec<Sandbox> {
        let Some(entry) = self.functions.get_mut(arn) else { return Vec::new() };
        entry.epoch += 1;
        let on_demand = |idle: &mut Idle| !idle.sandbox.provisioned();
        let taken: Vec<Sandbox> = entry.idle.extract_if(.., on_demand).map(|idle| idle.sandbox).collect();
        self.promised_mb =
            self.promised_mb.saturating_sub(taken.iter().map(|s| u64::from(s.function.memory_mb)).sum());
        self.forget_if_unused(arn);
        taken
    }

    /// Freezes and expires what is due at `now`; gives the sandboxes to end and when to look again.
    pub fn tend(&mut self, now: Instant, idle_timeout: Duration) -> (Vec<Sandbox>, Option<Instant>) {
        let (mut ended, mut next) = (Vec::new(), None);
        for function in self.functions.values_mut() {
            let mut kept = Vec::with_capacity(function.idle.len());
            for mut idle in function.idle.drain(..) {
                if now >= idle.since + idle_timeout && !idle.sandbox.provisioned() {
                    self.promised_mb =
                        self.promised_mb.saturating_sub(u64::from(idle.sandbox.function.memory_mb));
                    ended.push(idle.sandbox);
                    continue;
                }
                if !idle.frozen && now >= idle.since + FREEZE_AFTER {
                    if let Some(cgroup) = &idle.sandbox.body.cgroup {
                        cgroup.freeze();
                    }
                    idle.frozen = true;
                }
                if !idle.frozen || !idle.sandbox.provisioned() {
                    let wait = if idle.frozen { idle_timeout } else { FREEZE_AFTER.min(idle_timeout) };
                    let due = idle.since + wait;
                    next = Some(next.map_or(due, |earlier: Instant| earlier.min(due)));
                }
                kept.push(idle);
            }
            function.idle = kept;
        }
        self.functions.retain(|_, function| function.busy > 0 || !function.idle.is_empty());
        self.looks_at = next;
        (ended, next)
    }

    /// Whether what became idle at `now` is due before the next look.
    pub fn must_look_earlier(&self, now: Instant) -> bool {
        self.looks_at.is_none_or(|next| next > now + FREEZE_AFTER)
    }

    /// Everything idle, to be ended.
    pub fn take_all(&mut self) -> Vec<Sandbox> {
        let idle = self.functions.values_mut().flat_map(|function| function.idle.drain(..));
        let taken: Vec<Sandbox> = idle.map(|idle| idle.sandbox).collect();
        self.functions.retain(|_, function| function.busy > 0);
        self.promised_mb =
            self.promised_mb.saturating_sub(taken.iter().map(|s| u64::from(s.function.memory_mb)).sum());
        taken
    }

    pub fn busy(&self) -> usize {
        self.busy
    }

    pub fn stats(&self) -> PoolStats {
        let idle = self.functions.values().map(|function| function.idle.len()).sum();
        PoolStats { busy: self.busy, idle, prewarmed: 0, promised_mb: self.promised_mb }
    }

    /// Idle sandboxes of another revision of the same version will never be used again.
    fn drop_outdated(&mut self, function: &FunctionSpec, dropped: &mut Vec<Sandbox>) {
        let Some(entry) = self.functions.get_mut(&function.arn) else { return };
        let outdated = |idle: &mut Idle| {
            idle.sandbox.function.version == function.version
                && idle.sandbox.function.revision != function.revision
        };
        for idle in entry.idle.extract_if(.., outdated) {
            self.promised_mb = self.promised_mb.saturating_sub(u64::from(idle.sandbox.function.memory_mb));
            dropped.push(idle.sandbox);
        }
    }

    fn take_oldest(&mut self) -> Option<Sandbox> {
        let on_demand = |idle: &Idle| !idle.sandbox.provisioned();
        let oldest = |(arn, f): (&String, &Function)| {
            let at = f.idle.iter().position(on_demand)?;
            Some((f.idle.get(at)?.since, arn.clone(), at))
        };
        let (_, arn, at) = self.functions.iter().filter_map(oldest).min()?;
        let idle = self.functions.get_mut(&arn)?.idle.remove(at);
        self.promised_mb = self.promised_mb.saturating_sub(u64::from(idle.sandbox.function.memory_mb));
        self.forget_if_unused(&arn);
        Some(idle.sandbox)
    }

    fn forget_if_unused(&mut self, arn: &str) {
        if self.functions.get(arn).is_some_and(|function| function.busy == 0 && function.idle.is_empty()) {
            self.functions.remove(arn);
        }
    }
}
