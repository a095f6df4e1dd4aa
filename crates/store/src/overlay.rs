//! What is written and not folded yet, in memory, in the order of its keys: the level that is being written, and below it
//! the one that is being folded and changes no more.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

/// partition u8, table u16, key: as they order in the backing store too.
pub type FullKey = Vec<u8>;

/// A key as memory keeps it: short ones, such as those of messages, stand where they are compared.
pub type KeptKey = SmallVec<[u8; 23]>;

#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: u64,
    /// `None` when the row is deleted.
    pub value: Option<Bytes>,
    /// Nothing below knows the key.
    is_new: bool,
}

/// Entries in the order of their keys.
#[derive(Default)]
pub struct Level {
    pub entries: BTreeMap<KeptKey, Entry>,
    bytes: usize,
    /// Everything up to this sequence is here or further below.
    pub until: u64,
}

#[derive(Default)]
pub struct Overlay {
    active: Level,
    frozen: Option<Arc<Level>>,
}

/// What an entry takes beside its key and value, roughly.
const OVERHEAD: usize = 96;

pub fn full_key(partition: u8, table: u16, key: &[u8]) -> FullKey {
    kept_key(partition, table, key).into_vec()
}

pub fn kept_key(partition: u8, table: u16, key: &[u8]) -> KeptKey {
    let mut kept = KeptKey::with_capacity(3 + key.len());
    kept.push(partition);
    kept.extend_from_slice(&table.to_be_bytes());
    kept.extend_from_slice(key);
    kept
}

impl Level {
    fn apply(&mut self, key: KeptKey, seq: u64, value: Option<Bytes>, is_new: bool) {
        use std::collections::btree_map::Entry as Place;
        let weight = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let length = key.len() + OVERHEAD;
        match self.entries.entry(key) {
            Place::Vacant(place) => {
                self.bytes += length + weight(&value);
                place.insert(Entry { seq, value, is_new });
            }
            Place::Occupied(place) if place.get().is_new && value.is_none() => {
                self.bytes -= length + weight(&place.get().value);
                place.remove();
            }
            Place::Occupied(mut place) => {
                let is_new = place.get().is_new;
                self.bytes = self.bytes + weight(&value) - weight(&place.get().value);
                place.insert(Entry { seq, value, is_new });
            }
        }
    }
}

impl Overlay {
    /// Writes a row or, without a value, its deletion. `is_new` promises that nothing is kept under the key.
    pub fn apply(&mut self, key: KeptKey, seq: u64, value: Option<Bytes>, is_new: bool) {
        self.active.apply(key, seq, value, is_new);
    }

    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.active.entries.get(key).or_else(|| self.frozen.as_ref()?.entries.get(key))
    }

    /// Of the level that is being written.
    pub fn bytes(&self) -> usize {
        self.active.bytes
    }

    /// Of both levels.
    pub fn all_bytes(&self) -> usize {
        self.active.bytes + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes)
    }

    /// Up to `most` entries between two bounds, from either end.
    pub fn take(
        &self,
        low: &Bound<FullKey>,
        high: &Bound<FullKey>,
        back: bool,
        most: usize,
    ) -> Vec<(FullKey, Entry)> {
        let above = self.active.take(low, high, back, most);
        let Some(frozen) = &self.frozen else { return above };
        let below = frozen.take(low, high, back, most);
        merged(above, below, back, most)
    }

    /// Up to which sequence the frozen level goes.
    pub fn frozen_until(&self) -> Option<u64> {
        self.frozen.as_ref().map(|frozen| frozen.until)
    }

    /// The level to be folded next: the frozen one, or what was written so far, with everything up to `until`; it is
    /// frozen from now on. `None` when there is nothing.
    pub fn freeze(&mut self, until: u64) -> Option<Arc<Level>> {
        if self.frozen.is_none() && !self.active.entries.is_empty() {
            let mut level = std::mem::take(&mut self.active);
            level.until = until;
            self.frozen = Some(Arc::new(level));
        }
        self.frozen.clone()
    }

    /// Forgets the frozen level, which the backing store has now. Gives it back, to be dropped outside of locks.
    pub fn thaw(&mut self) -> Option<Arc<Level>> {
        self.frozen.take()
    }
}

impl Level {
    fn take(
        &self,
        low: &Bound<FullKey>,
        high: &Bound<FullKey>,
        back: bool,
        most: usize,
    ) -> Vec<(FullKey, Entry)> {
        let (low, high) = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let range = self.entries.range::<[u8], _>((low, high));
        let copy = |(key, entry): (&KeptKey, &Entry)| (key.to_vec(), entry.clone());
        if back { range.rev().take(most).map(copy).collect() } else { range.take(most).map(copy).collect() }
    }
}

/// Two lists in order as one, up to `most`; where both know a key, the upper one is right.
fn merged(
    above: Vec<(FullKey, Entry)>,
    below: Vec<(FullKey, Entry)>,
    back: bool,
    most: usize,
) -> Vec<(FullKey, Entry)> {
    let mut out = Vec::with_capacity(most.min(above.len() + below.len()));
    let (mut above, mut below) = (above.into_iter().peekable(), below.into_iter().peekable());
    while out.len() < most {
        let order = match (above.peek(), below.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => {
                if back {
                    b.cmp(a)
                } else {
                    a.cmp(b)
                }
            }
        };
        if order.is_eq() {
            below.next();
        }
        out.extend(if order.is_gt() { below.next() } else { above.next() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(overlay: &mut Overlay, key: &str, seq: u64, value: Option<&str>, is_new: bool) {
        overlay.apply(
            key.as_bytes().into(),
            seq,
            value.map(|text| Bytes::copy_from_slice(text.as_bytes())),
            is_new,
        );
    }

    fn keys(overlay: &Overlay, back: bool, most: usize) -> Vec<(String, bool)> {
        let taken = overlay.take(&Bound::Unbounded, &Bound::Unbounded, back, most);
        let shown =
            |(key, entry): (FullKey, Entry)| (String::from_utf8(key).expect("text"), entry.value.is_some());
        taken.into_iter().map(shown).collect()
    }

    #[test]
    fn a_new_row_that_is_deleted_leaves_nothing_and_another_leaves_its_deletion() {
        let mut overlay = Overlay::default();
        put(&mut overlay, "new", 1, Some("1"), true);
        put(&mut overlay, "new", 2, Some("2"), false);
        put(&mut overlay, "old", 3, Some("3"), false);
        put(&mut overlay, "new", 4, None, false);
        put(&mut overlay, "old", 5, None, false);
        assert_eq!(keys(&overlay, false, 9), [("old".to_string(), false)]);
        // Under a key whose deletion is remembered a row is not new, whatever is said.
        put(&mut overlay, "old", 6, Some("6"), true);
        put(&mut overlay, "old", 7, None, false);
        assert_eq!(keys(&overlay, false, 9), [("old".to_string(), false)]);
        assert_eq!(overlay.bytes(), 3 + OVERHEAD);
    }

    #[test]
    fn what_is_written_covers_what_is_frozen() {
        let mut overlay = Overlay::default();
        for key in ["a", "b", "c", "d"] {
            put(&mut overlay, key, 1, Some("1"), true);
        }
        assert_eq!(overlay.freeze(1).expect("rows").entries.len(), 4);
        put(&mut overlay, "b", 2, None, false);
        put(&mut overlay, "e", 3, Some("3"), true);
        let all = [("a", true), ("b", false), ("c", true), ("d", true), ("e", true)];
        let all = all.map(|(key, there)| (key.to_string(), there));
        assert_eq!(keys(&overlay, false, 9), all);
        assert_eq!(keys(&overlay, false, 2), all[..2]);
        assert_eq!(keys(&overlay, true, 2), [all[4].clone(), all[3].clone()]);
        assert!(overlay.get(b"b").is_some_and(|entry| entry.value.is_none()));
        assert_eq!(overlay.freeze(3).expect("the same").until, 1);
        drop(overlay.thaw());
        assert_eq!(keys(&overlay, false, 9), [all[1].clone(), all[4].clone()]);
    }
}
