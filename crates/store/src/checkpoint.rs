//! Checkpoints: folding the log into the backing store, in the background, a bounded transaction at a time.

use std::{
    fs,
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{backing::Backing, store::Inner};

/// Rows folded by one transaction.
const ROWS: usize = 16_384;
/// The level that is written is folded when it holds this much, in bytes. Rows that are deleted before that, as most
/// messages are, are never folded.
const FOLD_AT: usize = 64 << 20;
/// While one level is folded, nothing is acknowledged when the next one holds this much, in bytes: then folding catches
/// up, and memory stays bounded.
const MOST: usize = 256 << 20;

/// How long after a failed attempt the next one is made, if it is wanted then.
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes the thread that folds.
#[derive(Default)]
pub struct Signal {
    state: Mutex<State>,
    changed: Condvar,
    /// The last attempt to fold failed.
    failing: AtomicBool,
}

#[derive(Default)]
struct State {
    wanted: bool,
    closed: bool,
    folding: bool,
}

impl Signal {
    pub fn want(&self) {
        self.state.lock().wanted = true;
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn set_folding(&self, folding: bool) {
        self.state.lock().folding = folding;
        self.changed.notify_all();
    }

    /// Waits for the fold that runs, if one does.
    fn wait_for_fold(&self) {
        let mut state = self.state.lock();
        while state.folding {
            self.changed.wait(&mut state);
        }
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Waits after an attempt that failed.
    fn pause(&self) {
        let until = Instant::now() + PAUSE;
        let mut state = self.state.lock();
        while !state.closed && !self.changed.wait_until(&mut state, until).timed_out() {}
    }

    /// `false` when there will be no more to do.
    pub fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.wanted && !state.closed {
            self.changed.wait(&mut state);
        }
        state.wanted = false;
        !state.closed
    }
}

/// Runs until the store is closed.
pub fn run(signal: &Signal, store: &Weak<Inner>) {
    while signal.wait() {
        let Some(store) = store.upgrade() else { return };
        let failed_before = signal.is_failing();
        let Err(error) = fold(&store) else { continue };
        drop(store);
        if !failed_before {
            // Nothing is lost: the log keeps what is not folded, and the next checkpoint tries again.
            tracing::warn!(error, "a checkpoint was not finished; it is tried again");
        }
        signal.pause();
    }
}

/// Called by the committer after each sync: has the overlay folded when it is large enough, and waits while it is too
/// large.
pub fn consider(store: &Inner, signal: &Signal) {
    let (bytes, frozen) = {
        let overlay = store.overlay.read();
        (overlay.bytes(), overlay.frozen_until())
    };
    if bytes <= FOLD_AT {
        return;
    }
    signal.want();
    // Never for a fold that itself waits for this thread to make its level durable.
    let is_under_way = frozen.is_some_and(|until| until <= store.progress.durable());
    if bytes > MOST && is_under_way {
        signal.wait_for_fold();
    }
}

/// Whether nothing more can be taken: what was taken cannot be folded, fills memory, and the disk has no room for it. Has
/// another attempt made, for somebody may have made room.
pub fn is_stuck(store: &Inner, signal: &Signal) -> bool {
    if !signal.is_failing() {
        return false;
    }
    let bytes = store.overlay.read().bytes();
    let room = || store.backing.as_ref().map_or(0, Backing::room);
    let is_stuck = bytes > MOST || bytes > FOLD_AT && room() < bytes as u64;
    if is_stuck {
        signal.want();
    }
    is_stuck
}

/// Folds everything that was submitted before, as soon as it is durable.
pub fn fold(store: &Inner) -> Result<(), String> {
    let Some(backing) = &store.backing else { return Ok(()) };
    let _one = store.folding.lock();
    // A level that an earlier fold could not finish comes first.
    let is_left = store.overlay.read().frozen_until().is_some();
    for _ in 0..=usize::from(is_left) {
        let level = {
            let writing = store.writing.lock();
            store.overlay.write().freeze(writing.next - 1)
        };
        let Some(level) = level else { break };
        store.progress.wait(level.until);
        store.signal.set_folding(true);
        let folded = backing.fold(&level, ROWS);
        store.signal.failing.store(folded.is_err(), Ordering::Relaxed);
        if folded.is_ok() {
            // Readers hold the lock while they look at both, so they find each row in one of them.
            let thawed = store.overlay.write().thaw();
            drop(thawed);
        }
        store.signal.set_folding(false);
        folded?;
        let left = store.writing.lock().log.as_mut().map(|log| log.drop_folded(level.until));
        for path in left.into_iter().flatten() {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a folded segment of the log stays");
            }
        }
    }
    Ok(())
}
