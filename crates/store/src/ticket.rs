//! Waiting for durability: who waits is woken once, when the sync that covers it is done.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::{Condvar, Mutex};

/// The place of a batch in the log; later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub(crate) u64);

impl Seq {
    /// Before every batch: always durable.
    pub const ZERO: Seq = Seq(0);
}

/// What is durable, and who waits for more.
#[derive(Default)]
pub(crate) struct Progress {
    durable: AtomicU64,
    waiting: Mutex<BTreeMap<(u64, u64), Waker>>,
    next_waiter: AtomicU64,
    blocked: Mutex<()>,
    advanced: Condvar,
}

impl Progress {
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Everything up to `seq` is durable.
    pub fn reached(&self, seq: u64) {
        self.durable.fetch_max(seq, Ordering::AcqRel);
        let woken = {
            let mut waiting = self.waiting.lock();
            let still = waiting.split_off(&(seq + 1, 0));
            std::mem::replace(&mut *waiting, still)
        };
        woken.into_values().for_each(Waker::wake);
        // Who waits on a thread looks again under the lock, so none is missed.
        drop(self.blocked.lock());
        self.advanced.notify_all();
    }

    /// Holds the thread until everything up to `seq` is durable.
    pub fn wait(&self, seq: u64) {
        let mut blocked = self.blocked.lock();
        while self.durable() < seq {
            self.advanced.wait(&mut blocked);
        }
    }
}

/// A submitted batch. Resolves to its sequence when it is durable; dropping it changes nothing.
#[must_use = "await it before acknowledging"]
pub struct Ticket(pub(crate) Durable);

impl Ticket {
    pub fn seq(&self) -> Seq {
        Seq(self.0.seq)
    }
}

impl Future for Ticket {
    type Output = Seq;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Seq> {
        let seq = Seq(self.0.seq);
        Pin::new(&mut self.0).poll(cx).map(|()| seq)
    }
}

/// Ready when a sequence is durable.
pub struct Durable {
    seq: u64,
    waiter: Option<u64>,
    progress: Arc<Progress>,
}

impl Durable {
    pub(crate) fn new(seq: u64, progress: Arc<Progress>) -> Durable {
        Durable { seq, waiter: None, progress }
    }
}

impl Future for Durable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.progress.durable() >= self.seq {
            return Poll::Ready(());
        }
        let progress = self.progress.clone();
        let waiter = *self.waiter.get_or_insert_with(|| progress.next_waiter.fetch_add(1, Ordering::Relaxed));
        progress.waiting.lock().insert((self.seq, waiter), cx.waker().clone());
        // The sync may have ended between the question and the entry.
        if progress.durable() >= self.seq {
            progress.waiting.lock().remove(&(self.seq, waiter));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.progress.waiting.lock().remove(&(self.seq, waiter));
        }
    }
}
