//! The scheduler's memory: all groups and schedules, and one timer for each schedule that has a run to come. Decisions are
//! made under one lock and become durable in one batch each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tidemill_delivery::{Delivery, Fate, Handover};
use tidemill_platform::{Cx, Fault, Platform, Timers, Timestamp, timers::Timer};
use tidemill_store::{Batch, Damaged, Partition, Seq, Ticket};

use crate::{
    api::ResourceNotFoundException,
    firing::Due,
    rows::{DEFAULT_GROUP, GROUPS, GroupRow, SCHEDULES, ScheduleRow, group_arn},
};

/// Deletions whose client tokens are remembered, so that a repeated request succeeds like the first.
const REMEMBERED_DELETIONS: usize = 1024;

pub struct Scheduler {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    timers: Timers<Due>,
    kept: Mutex<Kept>,
}

/// What is kept in memory.
#[derive(Default)]
pub struct Kept {
    pub groups: BTreeMap<String, GroupRow>,
    pub schedules: BTreeMap<String, Entry>,
    /// (ARN, client token) of the last deletions.
    pub deleted: VecDeque<(String, String)>,
    /// The last batch.
    last: Seq,
}

pub struct Entry {
    pub row: ScheduleRow,
    timer: Option<Timer>,
}

/// What a decision changes; `None` takes a row away.
#[derive(Default)]
pub struct Effects {
    pub groups: Vec<(String, Option<GroupRow>)>,
    pub schedules: Vec<(String, Option<ScheduleRow>)>,
    pub handovers: Vec<Handover>,
    pub fates: Vec<Fate>,
}

impl Scheduler {
    pub fn open(platform: Arc<Platform>, delivery: Delivery) -> Result<Arc<Scheduler>, Damaged> {
        let mut kept = Kept::default();
        for partition in Partition::ALL {
            kept.groups.extend(platform.store.all(&GROUPS, partition)?);
            let rows = platform.store.all(&SCHEDULES, partition)?;
            kept.schedules.extend(rows.into_iter().map(|(arn, row)| (arn, Entry { row, timer: None })));
        }
        Ok(Arc::new_cyclic(|me: &Weak<Scheduler>| {
            let me = me.clone();
            let timers = Timers::new(platform.clock.clone(), move |due: Due| {
                if let Some(scheduler) = me.upgrade() {
                    scheduler.fire(&due);
                }
            });
            Scheduler { platform, delivery, timers, kept: Mutex::new(kept) }
        }))
    }

    /// Looks at what is kept.
    pub fn read<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.kept.lock())
    }

    /// The same for what callers see: answers when it is durable.
    pub async fn show<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        let (seq, answer) = {
            let kept = self.kept.lock();
            (kept.last, look(&kept))
        };
        self.platform.store.durable(seq).await;
        answer
    }

    /// Decides under the lock; answers when what was decided, and what the decision saw, is durable.
    pub async fn decide<T>(
        &self,
        decide: impl FnOnce(&mut Kept, &mut Effects) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (seq, answer) = {
            let mut kept = self.kept.lock();
            let mut effects = Effects::default();
            let answer = decide(&mut kept, &mut effects)?;
            if !effects.is_empty() {
                drop(self.commit(&mut kept, effects)?);
            }
            (kept.last, answer)
        };
        self.platform.store.durable(seq).await;
        Ok(answer)
    }

    /// The same for what nobody waits for.
    pub fn decide_now(
        &self,
        decide: impl FnOnce(&mut Kept, &mut Effects) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut kept = self.kept.lock();
        let mut effects = Effects::default();
        decide(&mut kept, &mut effects)?;
        if effects.is_empty() { Ok(()) } else { self.commit(&mut kept, effects).map(drop) }
    }

    /// Submits effects as one batch, then takes them into memory and sets their timers.
    fn commit(&self, kept: &mut Kept, mut effects: Effects) -> Result<Ticket, Fault> {
        let mut batch = Batch::new(Partition::FIRST);
        for (arn, group) in &effects.groups {
            match group {
                Some(row) => batch.put_in(Partition::of(arn), &GROUPS, arn, row),
                None => batch.delete_in(Partition::of(arn), &GROUPS, arn),
            };
        }
        for (arn, schedule) in &effects.schedules {
            match schedule {
                Some(row) => batch.put_in(Partition::of(arn), &SCHEDULES, arn, row),
                None => batch.delete_in(Partition::of(arn), &SCHEDULES, arn),
            };
        }
        self.delivery.ledger().record_all(&mut batch, std::mem::take(&mut effects.fates));
        let handovers = std::mem::take(&mut effects.handovers);
        let staged: Vec<_> = handovers.into_iter().map(|row| self.delivery.stage(&mut batch, row)).collect();
        let ticket = self.platform.submit(batch)?;
        kept.last = ticket.seq();
        staged.into_iter().for_each(|row| row.release(ticket.seq()));
        self.remember(kept, effects);
        Ok(ticket)
    }

    fn remember(&self, kept: &mut Kept, effects: Effects) {
        for (arn, group) in effects.groups {
            match group {
                Some(row) => drop(kept.groups.insert(arn, row)),
                None => drop(kept.groups.remove(&arn)),
            }
        }
        for (arn, schedule) in effects.schedules {
            if let Some(timer) = kept.schedules.remove(&arn).and_then(|before| before.timer) {
                self.timers.cancel(timer);
            }
            let Some(row) = schedule else { continue };
            let timer = row.next.map(|run| self.wait(Due { arn: arn.clone(), at: run.due_at, late: false }));
            kept.schedules.insert(arn, Entry { row, timer });
        }
    }

    fn wait(&self, due: Due) -> Timer {
        self.timers.set(Timestamp::from_millis(due.at), due)
    }

    /// Sets the timer of a kept schedule once more, for `at`.
    pub fn wait_until(&self, at: i64, due: Due) {
        let mut kept = self.kept.lock();
        if let Some(entry) = kept.schedules.get_mut(&due.arn) {
            entry.timer = Some(self.timers.set(Timestamp::from_millis(at), due));
        }
    }
}

impl Entry {
    /// The schedule's timer fired: from now on its name may be another one's.
    pub fn fired(&mut self) {
        self.timer = None;
    }
}

impl Effects {
    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.schedules.is_empty() && self.handovers.is_empty()
    }
}

impl Kept {
    /// A group; the default one is always there.
    pub fn group(&self, cx: &Cx, name: &str) -> Result<GroupRow, Fault> {
        let found = self.groups.get(&group_arn(cx, name)).cloned();
        found.or_else(|| (name == DEFAULT_GROUP).then(|| GroupRow::default_of(cx))).ok_or_else(|| {
            ResourceNotFoundException::new(format!("Schedule group {name} does not exist.")).into()
        })
    }

    pub fn schedule(&self, arn: &str) -> Result<&ScheduleRow, Fault> {
        self.schedules.get(arn).map(|entry| &entry.row).ok_or_else(|| {
            let name = arn.rsplit('/').next().unwrap_or(arn);
            ResourceNotFoundException::new(format!("Schedule {name} does not exist.")).into()
        })
    }

    /// The schedules whose ARNs begin like this, in the order of their ARNs.
    pub fn schedules_below(&self, prefix: &str) -> impl Iterator<Item = &ScheduleRow> {
        let below = self.schedules.range(prefix.to_string()..);
        below.take_while(move |(arn, _)| arn.starts_with(prefix)).map(|(_, entry)| &entry.row)
    }

    /// Whether this very request to delete was carried out before.
    pub fn was_deleted(&self, arn: &str, token: Option<&str>) -> bool {
        token.is_some_and(|token| self.deleted.iter().any(|(gone, by)| gone == arn && by == token))
    }

    pub fn note_deletion(&mut self, arn: &str, token: Option<String>) {
        let Some(token) = token else { return };
        if self.deleted.len() >= REMEMBERED_DELETIONS {
            self.deleted.pop_front();
        }
        self.deleted.push_back((arn.into(), token));
    }
}
