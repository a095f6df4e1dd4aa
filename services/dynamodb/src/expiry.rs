//! Time to live: items that carry a moment which has come are deleted.
//!
//! An index of moments is kept beside a table's rows, in the batches of the writes themselves, so that nothing is ever
//! searched for what is due. One timer a table waits for the earliest moment. DynamoDB deletes "within a few days"; here
//! an item goes when its second has come.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_dynamo_expression::{AttributeValue, Item, encoding};
use tidemill_platform::{Clock, Cx, Fault, Timers, Timestamp, Trace, timers::Timer};
use tidemill_store::{Batch, Damaged, Table};

use crate::{
    api::{
        DescribeTimeToLiveInput, DescribeTimeToLiveOutput, TimeToLiveDescription, TimeToLiveSpecification,
        TimeToLiveStatus, UpdateTimeToLiveInput, UpdateTimeToLiveOutput,
    },
    keys::{RowKey, in_table, space_end, space_from},
    schema::TableRow,
    state::{DynamoDb, ROWS, TableState, abandon},
    stream_records::StreamState,
    writing::{Action, Refusal, Write, count},
};

/// (space, (moment in seconds since 1970, where the item stands)) → the item's key, encoded. In the partition of the
/// table's ARN.
pub(crate) const MOMENTS: Table<MomentKey, Bytes> = Table::new("dynamodb.moment");

pub(crate) type MomentKey = (String, (u64, Vec<u8>));

/// Items deleted by one write.
const AT_ONCE: usize = 100;
/// Moments longer ago than this are taken for mistakes, in seconds. Source: "Using time to live (TTL)", developer guide.
const FIVE_YEARS: u64 = 5 * 365 * 86_400;

/// What a table's time to live is, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimeToLive {
    pub attribute: String,
    /// Where its moments are kept; another one each time it is enabled.
    pub space: String,
}

/// Who waits for which table's next moment.
pub struct Expiry {
    timers: Timers<String>,
    /// Table ARN → the earliest moment waited for.
    next: Mutex<HashMap<String, (Timestamp, Timer)>>,
}

impl Expiry {
    /// `due` is called with the ARN of a table that has items to delete, and must not block.
    pub fn new(clock: Clock, due: impl Fn(String) + Send + 'static) -> Expiry {
        Expiry { timers: Timers::new(clock, due), next: Mutex::default() }
    }

    /// Waits for a moment of a table, if nothing earlier is waited for.
    fn wait(&self, table: &str, moment: u64) {
        let at = Timestamp::from_secs(i64::try_from(moment).unwrap_or(i64::MAX / 1000));
        let mut next = self.next.lock();
        if next.get(table).is_some_and(|(earlier, _)| *earlier <= at) {
            return;
        }
        let timer = self.timers.set(at, table.to_string());
        if let Some((_, later)) = next.insert(table.to_string(), (at, timer)) {
            self.timers.cancel(later);
        }
    }

    fn forget(&self, table: &str) {
        self.next.lock().remove(table);
    }
}

impl TimeToLive {
    /// The moment an item carries, in seconds since 1970.
    fn moment(&self, item: &Item, now_s: u64) -> Option<u64> {
        let Some(AttributeValue::N(number)) = item.get(&self.attribute) else { return None };
        let text = number.to_string();
        let moment: u64 = text.parse().ok().or_else(|| text.split_once('.')?.0.parse().ok())?;
        (moment + FIVE_YEARS > now_s && i64::try_from(moment).is_ok()).then_some(moment)
    }
}

/// Where a moment of an item is kept.
fn place(space: &str, moment: u64, item: &RowKey) -> MomentKey {
    let (_, (hash, (range, _))) = item;
    let mut own = u32::try_from(hash.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    own.extend_from_slice(hash);
    own.extend_from_slice(range);
    (space.to_string(), (moment, own))
}

fn seconds(cx: &Cx) -> u64 {
    u64::try_from(cx.now().millis() / 1000).unwrap_or(0)
}

impl DynamoDb {
    /// Keeps the moments of a changed item, in the batch of its change.
    pub fn keep_moment(
        &self,
        cx: &Cx,
        table: &TableRow,
        write: &Write,
        (old, new): (Option<&Item>, Option<&Item>),
        batch: &mut Batch,
    ) {
        let Some(ttl) = &table.time_to_live else { return };
        // What was kept does not depend on how long ago it is now.
        let before = old.and_then(|item| ttl.moment(item, 0));
        let after = new.and_then(|item| ttl.moment(item, seconds(cx)));
        if before == after {
            return;
        }
        let item = in_table(&table.id, &table.keys, &write.key);
        let partition = write.table.partition;
        if let Some(before) = before {
            batch.delete_in(partition, &MOMENTS, &place(&ttl.space, before, &item));
        }
        if let Some(after) = after {
            let key = Bytes::from(encoding::encode(&write.key));
            batch.put_in(partition, &MOMENTS, &place(&ttl.space, after, &item), &key);
            self.expiry.wait(&table.arn, after);
        }
    }

    /// Waits for the earliest moment that is kept of a table.
    pub fn wait_for_moments(&self, table: &TableState) -> Result<(), Damaged> {
        let row = table.row();
        let Some(ttl) = &row.time_to_live else { return Ok(()) };
        let first = self.moments(table, &ttl.space, u64::MAX, 1)?;
        if let Some(((_, (moment, _)), _)) = first.first() {
            self.expiry.wait(&row.arn, *moment);
        }
        Ok(())
    }

    fn moments(
        &self,
        table: &TableState,
        space: &str,
        until: u64,
        most: usize,
    ) -> Result<Vec<(MomentKey, Bytes)>, Damaged> {
        let mut found = Vec::new();
        let range = (space.to_string(), (0, Vec::new()))..(space.to_string(), (until, Vec::new()));
        self.platform.store.scan(&MOMENTS, table.partition, range, |key, item| {
            found.push((key, item));
            if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// Deletes the items of a table whose moment has come, and waits for the next one.
    pub async fn expire(self: Arc<Self>, arn: String) {
        let Some(table) = self.tables.read().get(&arn).cloned() else { return };
        self.expiry.forget(&arn);
        let done = loop {
            match self.expire_some(&table).await {
                Ok(AT_ONCE) => {}
                Ok(_) => break self.wait_for_moments(&table).map_err(Fault::internal),
                Err(fault) => break Err(fault),
            }
        };
        if let Err(fault) = done {
            tracing::warn!(%fault, table = arn, "items whose time has come stay until the next write or start");
        }
    }

    /// Deletes up to [`AT_ONCE`] items and says how many moments it looked at.
    async fn expire_some(&self, table: &Arc<TableState>) -> Result<usize, Fault> {
        let (ticket, looked_at) = {
            let gone = table.writes.lock();
            let row = table.row();
            let Some(ttl) = &row.time_to_live else { return Ok(0) };
            let cx = Cx::internal(self.platform.clone(), &row.account, &row.region, Trace::default());
            let due = self.moments(table, &ttl.space, seconds(&cx) + 1, AT_ONCE).map_err(Fault::internal)?;
            if gone.0 || due.is_empty() {
                return Ok(0);
            }
            let looked_at = due.len();
            (self.expire_those(&cx, table, due)?, looked_at)
        };
        ticket.await;
        Ok(looked_at)
    }

    /// The caller holds the table's lock.
    fn expire_those(
        &self,
        cx: &Cx,
        table: &Arc<TableState>,
        due: Vec<(MomentKey, Bytes)>,
    ) -> Result<tidemill_store::Ticket, Fault> {
        let mut batch = Batch::new(table.partition);
        let mut streams: Vec<Arc<StreamState>> = Vec::new();
        let mut all = Vec::new();
        for (moment, key) in due {
            let key = encoding::decode(&key).ok_or_else(|| Fault::internal("a key cannot be read back"))?;
            let write = Write {
                table: table.clone(),
                key,
                action: Action::Expire,
                condition: None,
                show_on_failure: false,
            };
            batch.delete(&MOMENTS, &moment);
            let (written, stream) = self.decide(cx, &write, &mut batch).map_err(|refusal| match refusal {
                Refusal::Other(fault) => fault,
                Refusal::Condition(_) => Fault::internal("an item cannot expire"),
            })?;
            streams.extend(stream);
            all.push(written);
        }
        let ticket = self.platform.submit(batch)?;
        self.written(streams, ticket.seq());
        all.iter().for_each(|written| count(table, written));
        Ok(ticket)
    }

    /// Finds the moments of what is in the table already.
    fn find_moments(
        &self,
        cx: &Cx,
        table: &TableState,
        row: &TableRow,
        ttl: &TimeToLive,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let range = space_from(&row.id, 0)..space_end(&row.id);
        let scanned = self.platform.store.scan(&ROWS, table.partition, range, |at, bytes: Bytes| {
            if let Some(item) = encoding::decode(&bytes)
                && let Some(moment) = ttl.moment(&item, seconds(cx))
            {
                let key = Bytes::from(encoding::encode(&row.keys.of(&item)));
                batch.put(&MOMENTS, &place(&ttl.space, moment, &at), &key);
                self.expiry.wait(&row.arn, moment);
            }
            ControlFlow::Continue(())
        });
        scanned.map_err(Fault::internal)
    }
}

pub async fn update_time_to_live(
    db: &DynamoDb,
    cx: &Cx,
    input: UpdateTimeToLiveInput,
) -> Result<UpdateTimeToLiveOutput, Fault> {
    let table = db.table_itself(cx, &input.table_name)?;
    let asked = input.time_to_live_specification;
    if asked.attribute_name.is_empty() {
        return Err(Fault::validation(
            "TimeToLiveSpecification.AttributeName must be at least 1 character long",
        ));
    }
    let mut left = None;
    db.change(&table, |row, batch| {
        match (&row.time_to_live, asked.enabled) {
            (Some(_), true) => return Err(Fault::validation("TimeToLive is already enabled")),
            (None, false) => return Err(Fault::validation("TimeToLive is already disabled")),
            (Some(ttl), false) if ttl.attribute != asked.attribute_name => {
                return Err(Fault::validation(format!(
                    "TimeToLive is active on a different AttributeName: current AttributeName is {}",
                    ttl.attribute
                )));
            }
            (Some(ttl), false) => {
                abandon(batch, &ttl.space);
                left = Some(ttl.space.clone());
                row.time_to_live = None;
            }
            (None, true) => {
                let ttl = TimeToLive { attribute: asked.attribute_name.clone(), space: cx.random().uuid() };
                db.find_moments(cx, &table, row, &ttl, batch)?;
                row.time_to_live = Some(ttl);
            }
        }
        Ok(())
    })
    .await?;
    left.into_iter().for_each(|space| db.clear(table.partition, space));
    Ok(UpdateTimeToLiveOutput {
        time_to_live_specification: Some(TimeToLiveSpecification {
            enabled: asked.enabled,
            attribute_name: asked.attribute_name,
        }),
    })
}

pub async fn describe_time_to_live(
    db: &DynamoDb,
    cx: &Cx,
    input: DescribeTimeToLiveInput,
) -> Result<DescribeTimeToLiveOutput, Fault> {
    let row = db.table_itself(cx, &input.table_name)?.row();
    let status =
        if row.time_to_live.is_some() { TimeToLiveStatus::Enabled } else { TimeToLiveStatus::Disabled };
    Ok(DescribeTimeToLiveOutput {
        time_to_live_description: Some(TimeToLiveDescription {
            time_to_live_status: Some(status),
            attribute_name: row.time_to_live.as_ref().map(|ttl| ttl.attribute.clone()),
        }),
    })
}
