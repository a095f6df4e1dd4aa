//! All pipes, in memory and in the store. Decisions are made under one lock and become durable in one batch each; whoever
//! reads for a pipe is begun and ended under the same lock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tidemill_delivery::{Delivery, stream::Streams};
use tidemill_platform::{Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition};

use crate::{
    api::NotFoundException,
    plan::{Plan, Source},
    queue_source::Readers,
    rows::{PIPES, PipeRow, pipe_arn},
    stream_source,
};

pub struct Pipes {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    pub streams: Streams,
    pub me: Weak<Pipes>,
    readers: Readers,
    rows: Mutex<BTreeMap<String, PipeRow>>,
}

impl Pipes {
    pub fn open(
        platform: Arc<Platform>,
        delivery: Delivery,
        streams: Streams,
    ) -> Result<Arc<Pipes>, Damaged> {
        let mut rows = BTreeMap::new();
        for partition in Partition::ALL {
            rows.extend(platform.store.all(&PIPES, partition)?);
        }
        Ok(Arc::new_cyclic(|me| Pipes {
            platform,
            delivery,
            streams,
            me: me.clone(),
            readers: Readers::default(),
            rows: Mutex::new(rows),
        }))
    }

    /// Lets every pipe go on where it was.
    pub fn start(&self) {
        let rows = self.rows.lock();
        for row in rows.values().filter(|row| row.runs()) {
            if let Err(fault) = self.run(row) {
                tracing::error!(%fault, pipe = row.arn, "a pipe cannot run");
            }
        }
    }

    /// The pipe of the caller with this name.
    pub fn get(&self, cx: &Cx, name: &str) -> Result<PipeRow, Fault> {
        self.by_arn(&pipe_arn(cx, name)).ok_or_else(|| no_pipe(name))
    }

    pub fn by_arn(&self, arn: &str) -> Option<PipeRow> {
        self.rows.lock().get(arn).cloned()
    }

    /// The caller's pipes, by name.
    pub fn of_caller(&self, cx: &Cx) -> Vec<PipeRow> {
        let prefix = pipe_arn(cx, "");
        let rows = self.rows.lock();
        let mine = rows.range(prefix.clone()..).take_while(|(arn, _)| arn.starts_with(&prefix));
        mine.map(|(_, row)| row.clone()).collect()
    }

    /// Decides on a pipe under the lock: what it becomes (`None`: it goes away). Answers when that is durable.
    pub async fn change(
        &self,
        arn: &str,
        decide: impl FnOnce(Option<&PipeRow>) -> Result<Option<PipeRow>, Fault>,
    ) -> Result<(), Fault> {
        let ticket = self.decide(arn, decide)?;
        if let Some(ticket) = ticket {
            ticket.await;
        }
        Ok(())
    }

    /// The same for what nobody waits for.
    pub fn decide(
        &self,
        arn: &str,
        decide: impl FnOnce(Option<&PipeRow>) -> Result<Option<PipeRow>, Fault>,
    ) -> Result<Option<tidemill_store::Ticket>, Fault> {
        let mut rows = self.rows.lock();
        let before = rows.get(arn).cloned();
        let next = decide(before.as_ref())?;
        let mut batch = Batch::new(Partition::of(arn));
        match (&before, &next) {
            (None, None) => return Ok(None),
            (_, Some(row)) => batch.put(&PIPES, &row.arn, row),
            (Some(_), None) => batch.delete(&PIPES, &arn.to_string()),
        };
        if let (Some(gone), None) = (&before, &next) {
            self.streams.forget(&mut batch, &gone.id)?;
        }
        let ticket = self.platform.submit(batch)?;
        self.follow(before.as_ref(), next.as_ref());
        match next {
            Some(row) => drop(rows.insert(arn.into(), row)),
            None => drop(rows.remove(arn)),
        }
        Ok(Some(ticket))
    }

    /// A pipe cannot go on by itself: it stops and says why, until somebody starts it.
    pub fn stop_because(&self, arn: &str, id: &str, reason: &str) {
        let stopped = self.decide(arn, |row| {
            // Meanwhile it may be another of that name, or stopped.
            let same = row.filter(|row| row.id == id && row.runs());
            Ok(same.or(row).cloned().map(|row| match same {
                Some(_) => PipeRow { failed: Some("STOPPED".into()), reason: reason.into(), ..row },
                None => row,
            }))
        });
        if let Err(fault) = stopped {
            tracing::error!(%fault, pipe = arn, "a pipe that cannot go on was not stopped");
        }
    }

    /// Begins and ends reading as a pipe changes.
    fn follow(&self, before: Option<&PipeRow>, next: Option<&PipeRow>) {
        let ran = before.filter(|row| row.runs());
        match next.filter(|row| row.runs()) {
            // Tags do not matter to who reads.
            Some(row) if ran.is_some_and(|ran| PipeRow { tags: row.tags.clone(), ..ran.clone() } == *row) => {
            }
            Some(row) => {
                if let Err(fault) = self.run(row) {
                    tracing::error!(%fault, pipe = row.arn, "a pipe cannot run");
                }
            }
            None => {
                if let Some(row) = ran {
                    self.readers.stop(&row.id);
                    self.streams.stop(&row.id);
                }
            }
        }
    }

    fn run(&self, row: &PipeRow) -> Result<(), Fault> {
        let plan = Arc::new(Plan::of(row)?);
        match &plan.source {
            Source::Queue(_) => self.readers.run(self, plan),
            Source::Stream(settings) => {
                let mapping = stream_source::mapping(self.me.clone(), &plan, settings);
                self.streams.run(mapping);
                Ok(())
            }
        }
    }
}

pub fn no_pipe(name: &str) -> Fault {
    let error = NotFoundException { message: Some(format!("Pipe {name} does not exist.")) };
    error.into()
}
