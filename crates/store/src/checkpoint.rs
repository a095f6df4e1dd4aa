//! Checkpoints: folding the log into the backing store, in the background, a bounded transaction at a time.

use std::sync::Weak;

use parking_lot::{Condvar, Mutex};

use crate::store::Inner;

/// Rows folded by one transaction.
const ROWS: usize = 8192;
/// The overlay is folded when it holds this much, in bytes.
pub const FOLD_AT: usize = 32 << 20;

/// Wakes the thread that folds.
#[derive(Default)]
pub struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: bool,
    closed: bool,
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

    /// `false` when there will be no more to do.
    fn wait(&self) -> bool {
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
        if let Err(error) = fold(&store) {
            // Nothing is lost: the log keeps what is not folded, and the next checkpoint tries again.
            tracing::warn!(error, "a checkpoint was not finished");
        }
    }
}

/// Folds everything that is durable now.
pub fn fold(store: &Inner) -> Result<(), String> {
    let Some(backing) = &store.backing else { return Ok(()) };
    let _one = store.folding.lock();
    let until = store.progress.durable();
    let mut after = None;
    loop {
        let entries = store.overlay.read().foldable(after.as_ref(), until, ROWS);
        let last = entries.len() < ROWS;
        backing.fold(&entries, last.then_some(until))?;
        store.overlay.write().forget(&entries);
        after = entries.last().map(|(key, _)| key.clone()).or(after);
        if last {
            break;
        }
    }
    store.writing.lock().log.as_mut().into_iter().for_each(|log| log.drop_folded(until));
    Ok(())
}
