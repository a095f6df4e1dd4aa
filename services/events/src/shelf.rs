//! Rows of one kind under their ARNs, in memory and in the store: connections, API destinations, archives, replays.
//! They are few and read often, so all of them are kept in memory.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};
use tidemill_platform::{Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Store, Table, Ticket};

pub struct Shelf<R> {
    table: Table<String, R>,
    rows: RwLock<BTreeMap<String, R>>,
}

impl<R: Clone + Serialize + DeserializeOwned> Shelf<R> {
    pub fn open(table: Table<String, R>, store: &Store) -> Result<Shelf<R>, Damaged> {
        let mut rows = BTreeMap::new();
        for partition in Partition::ALL {
            rows.extend(store.all(&table, partition)?);
        }
        Ok(Shelf { table, rows: RwLock::new(rows) })
    }

    pub fn get(&self, key: &str) -> Option<R> {
        self.rows.read().get(key).cloned()
    }

    /// The rows whose keys begin with `prefix`, in the order of their keys.
    pub fn under(&self, prefix: &str) -> Vec<R> {
        let rows = self.rows.read();
        let from_there = rows.range(prefix.to_string()..);
        from_there.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, row)| row.clone()).collect()
    }

    pub fn all(&self) -> Vec<R> {
        self.under("")
    }

    /// Decides on a row (`None`: away with it) under the lock; gives what the decision answers when it is durable.
    pub async fn change<T>(
        &self,
        platform: &Platform,
        key: &str,
        decide: impl FnOnce(Option<&R>) -> Result<(Option<R>, T), Fault>,
    ) -> Result<T, Fault> {
        let (ticket, answer) = self.submit(key, decide, |write| {
            let mut batch = Batch::new(Partition::of(key));
            write(&mut batch);
            platform.submit(batch)
        })?;
        ticket.await;
        Ok(answer)
    }

    /// As [`Shelf::change`], in a batch of the caller's: `submit` calls what it is given to put the row into it.
    pub fn submit<T>(
        &self,
        key: &str,
        decide: impl FnOnce(Option<&R>) -> Result<(Option<R>, T), Fault>,
        submit: impl FnOnce(&dyn Fn(&mut Batch)) -> Result<Ticket, Fault>,
    ) -> Result<(Ticket, T), Fault> {
        let mut rows = self.rows.write();
        let (next, answer) = decide(rows.get(key))?;
        let ticket = submit(&|batch| self.write(batch, key, next.as_ref()))?;
        match next {
            Some(row) => drop(rows.insert(key.into(), row)),
            None => drop(rows.remove(key)),
        }
        Ok((ticket, answer))
    }

    fn write(&self, batch: &mut Batch, key: &str, row: Option<&R>) {
        let key = key.to_string();
        let partition = Partition::of(&key);
        match row {
            Some(row) => batch.put_in(partition, &self.table, &key, row),
            None => batch.delete_in(partition, &self.table, &key),
        };
    }
}
