//! Stopping a mapping gently: what its consumers have begun is finished and remembered, nothing new is begun.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::{RwLock, RwLockReadGuard},
    task::JoinHandle,
};

/// Held open by those who consume; closing it waits for them.
#[derive(Default)]
pub(super) struct Gate {
    consuming: RwLock<()>,
    forgotten: AtomicBool,
}

impl Gate {
    /// To be held while a batch is consumed. Waits for ever once the gate is being closed.
    pub async fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.consuming.read().await
    }

    /// From now on nothing is remembered of the mapping.
    pub fn forget(&self) {
        self.forgotten.store(true, Ordering::Release);
    }

    pub fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }
}

/// The task that reads for a mapping.
pub(super) struct Reading {
    pub task: JoinHandle<()>,
    pub gate: Arc<Gate>,
}

impl Reading {
    /// Ends the task as soon as nothing is being consumed. The new task is over when the old one is.
    pub fn end(self) -> Reading {
        let (gate, task) = (self.gate.clone(), self.task);
        let ending = tokio::spawn(async move {
            let all_out = gate.consuming.write().await;
            task.abort();
            let _ = task.await;
            drop(all_out);
        });
        Reading { task: ending, gate: self.gate }
    }
}
