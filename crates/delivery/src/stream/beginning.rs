//! Where the lanes of a mapping begin: one that wants only what comes from now on, and one whose number of lanes has changed.

use std::ops::ControlFlow;

use tidemill_store::{Batch, Partition, Ticket};

use super::{CHECKPOINTS, Checkpoint, Inner, StreamMapping};

impl Inner {
    /// With another number of lanes keys change lanes, so all of a shard's go on where the hindmost was. What the others had done
    /// comes again; nothing is skipped.
    pub(super) fn share_out(&self, mapping: &StreamMapping, shard: &str) {
        let partition = Partition::of(&mapping.id);
        let key = |lane| (mapping.id.clone(), (shard.to_string(), lane));
        let mut there: Vec<(u64, Checkpoint)> = Vec::new();
        let looked = self.platform.store.scan(
            &CHECKPOINTS,
            partition,
            key(0)..=key(u64::MAX),
            |(_, (_, lane)), row| {
                there.push((lane, row));
                ControlFlow::Continue(())
            },
        );
        let before = there.iter().map(|(_, row)| row.lanes).max().unwrap_or_default();
        if looked.is_err() || before == 0 || before == mapping.lanes {
            return;
        }
        // A lane without a checkpoint has not done anything yet.
        let all = u64::try_from(there.len()).unwrap_or_default() >= before;
        let hindmost = there.iter().map(|(_, row)| row.done.as_str()).min_by_key(|done| (done.len(), *done));
        let done = hindmost.filter(|_| all).unwrap_or_default().to_string();
        let mut batch = Batch::new(partition);
        for (lane, _) in &there {
            batch.delete(&CHECKPOINTS, &key(*lane));
        }
        for lane in 0..mapping.lanes {
            let row = Checkpoint { done: done.clone(), window: None, lanes: mapping.lanes };
            batch.put(&CHECKPOINTS, &key(lane), &row);
        }
        if let Err(refused) = self.platform.store.submit(batch) {
            tracing::warn!(%refused, stream = mapping.stream, "a mapping's lanes were not shared out anew");
        }
    }

    /// Marks where a new mapping begins when it wants only what comes from now on. It is done before anybody is told that the
    /// mapping is there, so no later record is skipped; shards that appear later are read whole.
    pub(super) fn begin_at_the_end(&self, mapping: &StreamMapping) -> Option<Ticket> {
        let source = self.source_of(&mapping.stream)?;
        let partition = Partition::of(&mapping.id);
        let begins = |shard: &str, lane| (mapping.id.clone(), (shard.to_string(), lane));
        let mut known = false;
        let all =
            (mapping.id.clone(), (String::new(), 0))..(format!("{}\u{1}", mapping.id), (String::new(), 0));
        let looked = self.platform.store.scan(&CHECKPOINTS, partition, all, |_, _| {
            known = true;
            ControlFlow::Break(())
        });
        let shards = source.shards(&mapping.stream).ok()?;
        if known || looked.is_err() {
            return None;
        }
        let mut batch = Batch::new(partition);
        for shard in &shards {
            // Nothing yet: the beginning of the shard is its end.
            let done = source.latest(&mapping.stream, &shard.id).ok().flatten().unwrap_or_default();
            for lane in 0..mapping.lanes {
                batch.put(
                    &CHECKPOINTS,
                    &begins(&shard.id, lane),
                    &Checkpoint { done: done.clone(), window: None, lanes: mapping.lanes },
                );
            }
        }
        let submitted = self.platform.store.submit(batch);
        submitted
            .map_err(|refused| {
                tracing::warn!(%refused, stream = mapping.stream, "where a mapping begins was not written");
            })
            .ok()
    }
}
