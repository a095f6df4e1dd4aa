//! Batches: effects that become durable together.

use bytes::Bytes;
use serde::Serialize;

use crate::{Key, Partition, Table};

/// Effects on tables, in order. Effects name their partition; the batch is one frame whatever they name.
#[derive(Debug, Clone)]
pub struct Batch {
    partition: Partition,
    pub(crate) effects: Vec<Effect>,
}

#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub partition: u8,
    pub table: &'static str,
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Bytes>,
}

impl Batch {
    pub fn new(partition: Partition) -> Batch {
        Batch { partition, effects: Vec::new() }
    }

    /// The partition of effects that name none.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub fn put<K: Key, V: Serialize>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> &mut Batch {
        self.put_in(self.partition, table, key, value)
    }

    pub fn delete<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) -> &mut Batch {
        self.delete_in(self.partition, table, key)
    }

    /// Puts a row into a table of another partition.
    ///
    /// Panics when the row cannot be written at all (a map whose keys are no strings): a mistake in its type that shows
    /// the first time.
    pub fn put_in<K: Key, V: Serialize>(
        &mut self,
        partition: Partition,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> &mut Batch {
        let row = rmp_serde::to_vec_named(value)
            .unwrap_or_else(|error| panic!("a row of {} cannot be written: {error}", table.name));
        self.push(partition, table.name, key, Some(Bytes::from(row)))
    }

    pub fn delete_in<K: Key, V>(&mut self, partition: Partition, table: &Table<K, V>, key: &K) -> &mut Batch {
        self.push(partition, table.name, key, None)
    }

    fn push(
        &mut self,
        partition: Partition,
        table: &'static str,
        key: &impl Key,
        value: Option<Bytes>,
    ) -> &mut Batch {
        let mut bytes = Vec::with_capacity(48);
        key.encode(&mut bytes);
        self.effects.push(Effect { partition: partition.0, table, key: bytes, value });
        self
    }
}
