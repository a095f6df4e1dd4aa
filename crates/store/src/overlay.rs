//! What is written and not folded yet, in memory, in the order of its keys.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

/// partition u8, table u16, key: as they order in the backing store too.
pub type FullKey = Vec<u8>;

#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: u64,
    /// `None` when the row is deleted.
    pub value: Option<Bytes>,
}

#[derive(Default)]
pub struct Overlay {
    entries: BTreeMap<FullKey, Entry>,
    bytes: usize,
}

/// What an entry takes beside its key and value, roughly.
const OVERHEAD: usize = 96;

pub fn full_key(partition: u8, table: u16, key: &[u8]) -> FullKey {
    let mut full = Vec::with_capacity(3 + key.len());
    full.push(partition);
    full.extend_from_slice(&table.to_be_bytes());
    full.extend_from_slice(key);
    full
}

impl Overlay {
    pub fn apply(&mut self, key: FullKey, seq: u64, value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + OVERHEAD;
        let length = key.len();
        if let Some(before) = self.entries.insert(key, Entry { seq, value }) {
            self.bytes -= length + before.value.as_ref().map_or(0, Bytes::len) + OVERHEAD;
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Up to `most` entries between two bounds, from either end.
    pub fn take(
        &self,
        low: &Bound<FullKey>,
        high: &Bound<FullKey>,
        back: bool,
        most: usize,
    ) -> Vec<(FullKey, Entry)> {
        let range = self.entries.range::<FullKey, _>((low.as_ref(), high.as_ref()));
        let copy = |(key, entry): (&FullKey, &Entry)| (key.clone(), entry.clone());
        if back { range.rev().take(most).map(copy).collect() } else { range.take(most).map(copy).collect() }
    }

    /// Up to `most` entries after a key whose sequence is at most `seq`, for folding.
    pub fn foldable(&self, after: Option<&FullKey>, seq: u64, most: usize) -> Vec<(FullKey, Entry)> {
        let low = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        let range = self.entries.range::<FullKey, _>((low.as_ref(), Bound::Unbounded));
        range
            .filter(|(_, entry)| entry.seq <= seq)
            .take(most)
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect()
    }

    /// Forgets entries that are folded and were not written again since.
    pub fn forget(&mut self, folded: &[(FullKey, Entry)]) {
        for (key, entry) in folded {
            if self.entries.get(key).is_some_and(|now| now.seq == entry.seq) {
                self.entries.remove(key);
                self.bytes -= key.len() + entry.value.as_ref().map_or(0, Bytes::len) + OVERHEAD;
            }
        }
    }
}
