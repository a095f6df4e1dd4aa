//! After an invocation: a sandbox goes back to the pool or ends, and whoever waits hears of it. Idle ones are frozen and ended when they are due.

use std::sync::{Arc, Weak};

use tokio::time::Instant;

use super::{Inner, Stage};
use crate::farewell::end_all;
use crate::pool::Place;
use crate::sandbox::Sandbox;

impl Inner {
    /// Takes a sandbox back that has run an invocation.
    pub(super) fn put_back(self: &Arc<Self>, sandbox: Sandbox, place: &Place, keep: bool) {
        if !sandbox.provisioned() {
            return self.put_back_counted(sandbox, place, keep);
        }
        let keep = keep && self.provisions.lock().keeps(&sandbox.function);
        if !keep {
            self.lose(&sandbox);
        }
        self.put_back_counted(sandbox, place, keep);
    }

    /// The answer is out, but extensions still work on the invocation.
    async fn put_back_later(self: Arc<Self>, mut sandbox: Sandbox, place: Place) {
        let keep = self.before(Stage::Ended, sandbox.linger()).await.unwrap_or(false);
        if !keep {
            self.lose(&sandbox);
        }
        self.put_back_counted(sandbox, &place, keep);
    }

    /// The same for one that provisioning knows of, or need not.
    pub(super) fn put_back_counted(self: &Arc<Self>, sandbox: Sandbox, place: &Place, keep: bool) {
        if keep && sandbox.lingers() {
            tokio::spawn(self.clone().put_back_later(sandbox, place.clone()));
            return;
        }
        if keep && !self.is_closed() {
            let now = Instant::now();
            let (rejected, earlier) = {
                let mut pool = self.pool.lock();
                (pool.release(sandbox, place, now), pool.must_look_earlier(now))
            };
            rejected.into_iter().for_each(Sandbox::end);
            if earlier {
                self.tend.notify_one();
            }
        } else {
            sandbox.end();
            self.pool.lock().give_up(place);
        }
        self.finished.notify_waiters();
    }
}

/// Freezes and ends idle sandboxes when they are due; sleeps until then, or until one is due earlier.
pub(super) async fn tend(inner: Weak<Inner>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let (ended, next) = strong.pool.lock().tend(Instant::now(), strong.factory.config.idle_timeout);
        end_all(ended);
        let wake = strong.tend.clone();
        drop(strong);
        let look = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = look => {}
            () = wake.notified() => {}
        }
    }
}
