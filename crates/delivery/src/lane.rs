//! Lanes: which rows wait for which. A lane runs as many attempts as it is wide and keeps the rest in order.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{Handover, route::Lane};

/// A row as memory knows it; the row itself is kept while it is young and small enough, otherwise it is read again.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub id: u64,
    pub partition: tidemill_store::Partition,
    /// The sequence that must be durable before the first attempt.
    pub seq: tidemill_store::Seq,
    pub handover: Option<Arc<Handover>>,
    pub lane: Arc<str>,
    pub width: usize,
}

#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<Arc<str>, State>>);

#[derive(Default)]
struct State {
    running: usize,
    waiting: VecDeque<Pending>,
}

impl Lanes {
    /// The lane's name, shared by all its rows.
    pub fn name(&self, lane: &Lane) -> Arc<str> {
        let lanes = self.0.lock();
        lanes
            .get_key_value(lane.key.as_str())
            .map_or_else(|| Arc::from(lane.key.as_str()), |(name, _)| name.clone())
    }

    /// Enters a row; gives it back when it may run now.
    pub fn enter(&self, pending: Pending) -> Option<Pending> {
        let mut lanes = self.0.lock();
        let state = lanes.entry(pending.lane.clone()).or_default();
        if state.running < pending.width.max(1) {
            state.running += 1;
            return Some(pending);
        }
        state.waiting.push_back(pending);
        None
    }

    /// A row of the lane is through; gives the next one, which takes its place.
    pub fn leave(&self, lane: &Arc<str>) -> Option<Pending> {
        let mut lanes = self.0.lock();
        let state = lanes.get_mut(lane)?;
        if let Some(next) = state.waiting.pop_front() {
            return Some(next);
        }
        state.running = state.running.saturating_sub(1);
        if state.running == 0 {
            lanes.remove(lane);
        }
        None
    }
}
