//! Log groups as targets of events: a line in a stream of its own, in the sender's batch, so that it is there when the
//! sender's acknowledgement is.

use std::sync::{Arc, atomic::Ordering};

use tidemill_delivery::{Event, Handover, Taken, Target};
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_store::{Batch, Partition, Seq};

use crate::{
    Logs,
    state::{EVENTS, EventRow, Line, STREAMS, StreamRow, Written, no_group},
};

pub struct Groups(pub Arc<Logs>);

impl Target for Groups {
    /// Never asked by those who take [`Target::take`] for an answer.
    fn accept(&self, _: &Cx, target: &Arn, _: Event) -> Result<Handover, Fault> {
        Err(Fault::not_implemented(format!("hand-overs to {target}")))
    }

    fn take(
        &self,
        cx: &Cx,
        target: &Arn,
        event: &Event,
        batch: &mut Batch,
    ) -> Result<Option<Box<dyn Taken>>, Fault> {
        let name = target.resource.strip_prefix("log-group:").ok_or_else(no_group)?;
        let resource = format!("log-group:{}", name.strip_suffix(":*").unwrap_or(name));
        let arn = Arn { resource, ..target.clone() }.to_string();
        let (group_id, group_name) = {
            let groups = self.0.groups.lock();
            let row = &groups.get(&arn).ok_or_else(no_group)?.row;
            (row.id.clone(), row.name.clone())
        };
        let now = cx.now().millis();
        let line =
            Line { at: now, ingested_at: now, message: String::from_utf8_lossy(&event.payload).into_owned() };
        let mut row = StreamRow { created_at: now, ..StreamRow::default() };
        row.count(&line);
        let stream = cx.random().uuid();
        let key = (group_id, stream);
        let number = self.0.number.fetch_add(1, Ordering::Relaxed);
        let told = EventRow { message: line.message.clone(), ingested_at: now };
        let partition = Partition::of(&arn);
        batch.add_in(partition, &EVENTS, &(key.clone(), (now.unsigned_abs(), number)), &told);
        batch.add_in(partition, &STREAMS, &key, &row);
        Ok(Some(Box::new(Arriving { logs: self.0.clone(), arn, group_name, key, row, line })))
    }
}

/// A line in a batch that has not been submitted yet.
struct Arriving {
    logs: Arc<Logs>,
    arn: String,
    group_name: String,
    /// The group's id and the stream's name.
    key: (String, String),
    row: StreamRow,
    line: Line,
}

impl Taken for Arriving {
    fn submitted(self: Box<Self>, _: Seq) {
        let Arriving { logs, arn, group_name, key, row, line } = *self;
        {
            let mut groups = logs.groups.lock();
            let Some(group) = groups.get_mut(&arn).filter(|group| group.row.id == key.0) else {
                drop(groups);
                // The group was deleted meanwhile, before it knew of the stream.
                return logs.discard(Partition::of(&arn), key);
            };
            group.streams.insert(key.1.clone(), row);
        }
        logs.tell(|| Written { group_arn: arn, group_name, stream: key.1, lines: vec![line] });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use tidemill_platform::{Platform, Trace};

    use super::*;
    use crate::state::{GroupRow, group_arn};

    #[tokio::test]
    async fn a_line_that_comes_after_its_group_went_leaves_nothing() {
        let platform = Platform::for_tests();
        let trace = Trace::begin(platform.clock.now(), &platform.random);
        let cx = platform.cx("000000000000", "us-east-1", trace);
        let logs = Arc::new(Logs::open(platform.clone()).unwrap());
        let arn = group_arn(&cx, "g");
        let row = GroupRow {
            id: "1".into(),
            name: "g".into(),
            arn: arn.clone(),
            created_at: 0,
            retention_days: None,
            class: None,
            deletion_protected: false,
            tags: BTreeMap::new(),
        };
        logs.create(&mut logs.groups.lock(), row).map(drop).unwrap();
        let mut batch = Batch::new(Partition::of("sender"));
        let event = Event { payload: Bytes::from_static(b"{}"), ..Event::default() };
        let taken = Groups(logs.clone()).take(&cx, &arn.parse().unwrap(), &event, &mut batch).unwrap();
        logs.remove(&arn).await.unwrap();
        let seq = platform.submit(batch).unwrap().await;
        let partition = Partition::of(&arn);
        assert_eq!(platform.store.all(&STREAMS, partition).unwrap().len(), 1);
        taken.unwrap().submitted(seq);
        assert!(platform.store.all(&STREAMS, partition).unwrap().is_empty());
        while !platform.store.all(&EVENTS, partition).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
