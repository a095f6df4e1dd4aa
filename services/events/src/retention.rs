//! What comes into archives, in the batches that acknowledge it, and what leaves them: events older than their archive's `RetentionDays`, by one timer an archive, and all events of
//! deleted archives. Both go in pieces, so that a large archive holds nobody up.

use std::collections::BTreeMap;

use tidemill_platform::{Cx, Fault, Timestamp};
use tidemill_store::{Batch, Ticket};

use crate::{
    EventBridge,
    vault::{self, Archived, Vault},
};

/// Events deleted in one batch.
const PIECE: usize = 500;
const DAY_MS: i64 = 86_400_000;
/// Milliseconds after which a refused deletion (no space) is tried again.
const AGAIN_MS: i64 = 60_000;

impl EventBridge {
    /// Submits a batch with events for archives in it. Their vaults are locked until it is submitted.
    pub fn submit_archiving(
        &self,
        cx: &Cx,
        mut batch: Batch,
        archived: BTreeMap<String, Vec<(i64, Archived)>>,
    ) -> Result<Ticket, Fault> {
        if archived.is_empty() {
            return self.platform.submit(batch);
        }
        let now = cx.now().millis();
        // In the order of their ARNs, so that nobody waits for each other.
        let vaults: Vec<_> = archived
            .into_iter()
            .filter_map(|(arn, events)| Some((self.vaults.get(&arn)?, arn, events)))
            .collect();
        let mut deposits = Vec::new();
        for (vault, arn, events) in &vaults {
            deposits.extend(vault.deposit(&mut batch, now, events).map(|deposit| (arn, deposit)));
        }
        let ticket = self.platform.submit(batch)?;
        let mut fresh = Vec::new();
        for (arn, deposit) in deposits {
            if deposit.is_first {
                fresh.push(arn);
            }
            deposit.done();
        }
        fresh.into_iter().for_each(|arn| self.plan_retention(arn));
        Ok(ticket)
    }

    /// Sets the timer of an archive for its oldest event.
    pub fn plan_retention(&self, arn: &str) {
        let (Some(vault), Some(row)) = (self.vaults.get(arn), self.archives.get(arn)) else { return };
        *vault.due_at.lock() = None;
        if row.retention_days == 0 {
            return;
        }
        match vault.oldest(&self.platform.store) {
            Ok(Some(oldest)) => {
                let due_at = oldest.saturating_add(i64::from(row.retention_days) * DAY_MS + 1);
                self.look_at(&vault, arn, due_at);
            }
            Ok(None) => {}
            Err(damaged) => tracing::error!(%damaged, archive = arn, "an archive cannot be read"),
        }
    }

    fn look_at(&self, vault: &Vault, arn: &str, at: i64) {
        *vault.due_at.lock() = Some(at);
        self.retention.set(Timestamp::from_millis(at), (arn.to_string(), at));
    }

    /// An archive's timer fired.
    pub fn expire_later(&self, arn: String, at: i64) {
        let (Some(bridge), Some(vault)) = (self.me.upgrade(), self.vaults.get(&arn)) else { return };
        if *vault.due_at.lock() != Some(at) {
            return;
        }
        tokio::spawn(async move {
            match bridge.expire(&arn).await {
                Ok(()) => bridge.plan_retention(&arn),
                Err(fault) => {
                    tracing::warn!(%fault, archive = arn, "old events of an archive were not deleted yet");
                    bridge.look_at(&vault, &arn, bridge.platform.clock.now().millis() + AGAIN_MS);
                }
            }
        });
    }

    async fn expire(&self, arn: &str) -> Result<(), Fault> {
        loop {
            let (Some(vault), Some(row)) = (self.vaults.get(arn), self.archives.get(arn)) else {
                return Ok(());
            };
            if row.retention_days == 0 {
                return Ok(());
            }
            let until = self.platform.clock.now().millis() - i64::from(row.retention_days) * DAY_MS;
            let ticket = {
                let taken = vault.withdraw(&self.platform.store, until, PIECE).map_err(Fault::internal)?;
                let Some((batch, deposit)) = taken else { return Ok(()) };
                let ticket = self.platform.submit(batch)?;
                deposit.done();
                ticket
            };
            ticket.await;
        }
    }

    /// Deletes the events of a deleted archive.
    pub fn sweep_later(&self, id: String) {
        let Some(bridge) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            while let Err(fault) = bridge.sweep(&id).await {
                tracing::warn!(%fault, "events of a deleted archive were not deleted yet");
                bridge.platform.clock.sleep(AGAIN_MS).await;
            }
        });
    }

    async fn sweep(&self, id: &str) -> Result<(), Fault> {
        loop {
            let (batch, is_last) = vault::sweep(&self.platform.store, id, PIECE).map_err(Fault::internal)?;
            self.platform.submit(batch)?.await;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Goes on with deletions that an earlier run began.
    pub fn sweep_all(&self) {
        match vault::doomed(&self.platform.store) {
            Ok(ids) => ids.into_iter().for_each(|id| self.sweep_later(id)),
            Err(damaged) => tracing::error!(%damaged, "deleted archives cannot be read"),
        }
    }
}
