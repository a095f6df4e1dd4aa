//! Batches: effects that become durable together, written from the beginning as they will stand in the log's frame, so
//! that a row is copied nowhere on its way there and memory keeps slices of the same bytes.

use serde::Serialize;

use crate::{
    Key, Partition, Table,
    frame::{self, Head},
};

/// Effects on tables, in order. Effects name their partition; the batch is one frame whatever they name.
#[derive(Debug, Clone)]
pub struct Batch {
    partition: Partition,
    pub(crate) frame: Vec<u8>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) unhurried: bool,
}

/// Where an effect stands in the frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effect {
    pub table: &'static str,
    pub at: usize,
    pub key: usize,
    /// `None` deletes.
    pub value: Option<usize>,
    /// Nothing was ever kept under this key.
    pub is_new: bool,
}

impl Batch {
    pub fn new(partition: Partition) -> Batch {
        Batch { partition, frame: Vec::new(), effects: Vec::new(), unhurried: false }
    }

    /// The partition of effects that name none.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// Nobody waits for this batch: it is written with the next one that somebody waits for, after 5 ms at the latest.
    pub fn unhurried(&mut self) -> &mut Batch {
        self.unhurried = true;
        self
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
        self.push(partition, table, key, Some(value), false)
    }

    /// As [`Batch::put_in`] under a key that was never used before: should the row be deleted while it is young, nothing
    /// of it is ever folded.
    pub fn add_in<K: Key, V: Serialize>(
        &mut self,
        partition: Partition,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> &mut Batch {
        self.push(partition, table, key, Some(value), true)
    }

    pub fn delete_in<K: Key, V>(&mut self, partition: Partition, table: &Table<K, V>, key: &K) -> &mut Batch {
        self.push::<K, V, ()>(partition, table, key, None, false)
    }

    fn push<K: Key, V, W: Serialize>(
        &mut self,
        partition: Partition,
        table: &Table<K, V>,
        key: &K,
        value: Option<&W>,
        is_new: bool,
    ) -> &mut Batch {
        let at = frame::begin_change(&mut self.frame);
        key.encode(&mut self.frame);
        let key = self.frame.len() - at - frame::CHANGE_HEAD;
        let written = value.map(|value| {
            let from = self.frame.len();
            rmp_serde::encode::write_named(&mut self.frame, value)
                .unwrap_or_else(|error| panic!("a row of {} cannot be written: {error}", table.name));
            self.frame.len() - from
        });
        frame::end_change(
            &mut self.frame,
            at,
            &Head { partition: partition.0, table: 0, key, value: written },
        );
        self.effects.push(Effect { table: table.name, at, key, value: written, is_new });
        self
    }
}
