//! Tables in memory, their rows, items, index entries and stream records in the store.
//!
//! Everything of a table lives in the partition of its ARN. Writes of a table are decided one after another under its
//! lock and submitted before the lock is let go, so the order of the log is the order of decisions.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Arc, Weak, atomic::AtomicI64},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tidemill_delivery::Delivery;
use tidemill_dynamo_expression::{Item, encoding};
use tidemill_platform::{Arn, Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Seq, Table};

use crate::{
    api::ResourceNotFoundException,
    expiry::{Expiry, MOMENTS},
    keys::{RowKey, space_end, space_from},
    schema::TableRow,
    stream_records::{StreamState, load_streams},
    tokens::Tokens,
};

/// Table ARN → table.
pub(crate) const TABLES: Table<String, TableRow> = Table::new("dynamodb.table");
/// Where a row stands → the item, encoded.
pub(crate) const ROWS: Table<RowKey, Bytes> = Table::new("dynamodb.row");
/// Spaces whose rows may be left over.
const GARBAGE: Table<String, ()> = Table::new("dynamodb.garbage");

const SWEEP: usize = 500;

/// A table as it is now.
pub struct TableState {
    pub row: RwLock<Arc<TableRow>>,
    pub partition: Partition,
    /// Held while a write is decided and submitted.
    pub writes: Mutex<Gone>,
    pub items: AtomicI64,
    pub bytes: AtomicI64,
}

/// Whether the table was deleted while a writer waited.
pub struct Gone(pub bool);

pub struct DynamoDb {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    /// By ARN.
    pub tables: RwLock<HashMap<String, Arc<TableState>>>,
    /// By stream ARN; streams outlive their tables for a day.
    pub streams: RwLock<HashMap<String, Arc<StreamState>>>,
    /// Taken before any table's lock.
    pub tokens: Mutex<Tokens>,
    pub expiry: Expiry,
}

impl DynamoDb {
    pub fn open(platform: Arc<Platform>, delivery: Delivery) -> Result<Arc<DynamoDb>, Damaged> {
        let mut tables = HashMap::new();
        for partition in Partition::ALL {
            for (arn, row) in platform.store.all(&TABLES, partition)? {
                tables.insert(arn, Arc::new(TableState::open(&platform, row)?));
            }
            for (space, ()) in platform.store.all(&GARBAGE, partition)? {
                tokio::spawn(sweep(platform.clone(), partition, space));
            }
        }
        let streams = load_streams(&platform)?;
        let tokens = Mutex::new(Tokens::open(&platform.store)?);
        let db = Arc::new_cyclic(|me: &Weak<DynamoDb>| {
            let due = me.clone();
            let expiry = Expiry::new(platform.clock.clone(), move |table| {
                if let Some(db) = due.upgrade() {
                    tokio::spawn(db.expire(table));
                }
            });
            let (tables, streams) = (RwLock::new(tables), RwLock::new(streams));
            DynamoDb { platform, delivery, tables, streams, tokens, expiry }
        });
        let tables: Vec<_> = db.tables.read().values().cloned().collect();
        for table in tables {
            db.wait_for_moments(&table)?;
        }
        Ok(db)
    }

    /// The table a request names, by name or ARN.
    pub fn table(&self, cx: &Cx, name: &str) -> Result<Arc<TableState>, Fault> {
        let tables = self.tables.read();
        tables
            .get(&table_arn(cx, name))
            .cloned()
            .ok_or_else(|| ResourceNotFoundException::new("Requested resource not found").into())
    }

    /// As [`DynamoDb::table`], with the sentence of operations on tables themselves.
    pub fn table_itself(&self, cx: &Cx, name: &str) -> Result<Arc<TableState>, Fault> {
        self.table(cx, name).map_err(|_| no_table(name))
    }

    /// An item that is there; the sequence must be durable before it is shown.
    pub fn find(&self, table: &TableState, key: &RowKey) -> Result<Option<(Item, Seq)>, Fault> {
        let found = self.platform.store.get(&ROWS, table.partition, key).map_err(Fault::internal)?;
        let Some(found) = found else { return Ok(None) };
        let item =
            encoding::decode(&found.value).ok_or_else(|| Fault::internal("an item cannot be read back"))?;
        Ok(Some((item, found.seq)))
    }
}

impl TableState {
    pub fn new(row: TableRow) -> TableState {
        TableState {
            partition: Partition::of(&row.arn),
            row: RwLock::new(Arc::new(row)),
            writes: Mutex::new(Gone(false)),
            items: AtomicI64::new(0),
            bytes: AtomicI64::new(0),
        }
    }

    /// Counts the items once: DynamoDB itself counts only every six hours.
    fn open(platform: &Platform, row: TableRow) -> Result<TableState, Damaged> {
        let state = TableState::new(row);
        let id = state.row.read().id.clone();
        let (mut items, mut bytes) = (0, 0);
        platform.store.scan(&ROWS, state.partition, space_from(&id, 0)..space_end(&id), |_, value| {
            items += 1;
            bytes += i64::try_from(value.len()).unwrap_or(0);
            ControlFlow::Continue(())
        })?;
        Ok(TableState { items: AtomicI64::new(items), bytes: AtomicI64::new(bytes), ..state })
    }

    pub fn row(&self) -> Arc<TableRow> {
        self.row.read().clone()
    }
}

/// Marks the rows of a space as left over; [`DynamoDb::clear`] removes them.
pub fn abandon(batch: &mut Batch, space: &str) {
    batch.put(&GARBAGE, &space.to_string(), &());
}

impl DynamoDb {
    /// Removes the rows of an abandoned space in the background.
    pub fn clear(&self, partition: Partition, space: String) {
        tokio::spawn(sweep(self.platform.clone(), partition, space));
    }
}

async fn sweep(platform: Arc<Platform>, partition: Partition, space: String) {
    loop {
        let mut batch = Batch::new(partition);
        let mut count = 0;
        let scanned =
            platform.store.scan(&ROWS, partition, space_from(&space, 0)..space_end(&space), |key, _| {
                batch.delete(&ROWS, &key);
                count += 1;
                if count < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        let moments = (space.clone(), (0, Vec::new()))..(space.clone(), (u64::MAX, Vec::new()));
        let scanned = scanned.and_then(|()| {
            platform.store.scan(&MOMENTS, partition, moments, |key, _| {
                batch.delete(&MOMENTS, &key);
                count += 1;
                if count < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        });
        if count < SWEEP {
            batch.delete(&GARBAGE, &space);
        }
        let done = match scanned {
            Ok(()) => platform.store.commit(batch).await.map(drop).map_err(|e| e.to_string()),
            Err(damaged) => Err(damaged.to_string()),
        };
        if let Err(error) = done {
            tracing::warn!(error, "rows of a deleted table stay until the next start");
            return;
        }
        if count < SWEEP {
            return;
        }
    }
}

pub fn table_arn(cx: &Cx, name: &str) -> String {
    match name.parse::<Arn>() {
        Ok(arn) => arn.to_string(),
        Err(_) => cx.arn("dynamodb", format!("table/{name}")).to_string(),
    }
}

pub fn no_table(name: &str) -> Fault {
    ResourceNotFoundException::new(format!("Requested resource not found: Table: {name} not found")).into()
}
