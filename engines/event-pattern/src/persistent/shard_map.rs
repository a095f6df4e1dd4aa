//! A hash map in shards of about a hundred entries each. Copying it copies one pointer; the first change after that
//! copies the list of shards and one shard.

use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Above this many entries a shard, on average, the number of shards doubles.
const ENTRIES_PER_SHARD: usize = 96;

type Shard<K, V> = Arc<HashTable<(K, V)>>;

#[derive(Clone)]
pub(crate) struct ShardMap<K, V> {
    shards: Arc<Vec<Shard<K, V>>>,
    entries: usize,
}

impl<K, V> Default for ShardMap<K, V> {
    fn default() -> Self {
        Self { shards: Arc::default(), entries: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> ShardMap<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if self.entries == 0 {
            return None;
        }
        let hash = hash(key);
        let shard = self.shards.get(place(hash, self.shards.len()))?;
        shard.find(hash, |entry| entry.0.borrow() == key).map(|entry| &entry.1)
    }

    /// Changes the value at `key`, which begins as `V::default()`, and drops the entry when `edit` answers false.
    pub(crate) fn edit(&mut self, key: K, edit: impl FnOnce(&mut V) -> bool)
    where
        V: Default,
    {
        self.grow();
        let hash = hash(&key);
        let count = self.shards.len();
        let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(place(hash, count)) else { return };
        let shard = Arc::make_mut(shard);
        match shard.find_entry(hash, |entry| entry.0 == key) {
            Ok(mut found) => {
                if !edit(&mut found.get_mut().1) {
                    found.remove();
                    self.entries -= 1;
                }
            }
            Err(_) => {
                let mut value = V::default();
                if edit(&mut value) {
                    shard.insert_unique(hash, (key, value), |entry| self::hash(&entry.0));
                    self.entries += 1;
                }
            }
        }
    }

    fn grow(&mut self) {
        if self.entries < self.shards.len() * ENTRIES_PER_SHARD {
            return;
        }
        let count = (self.shards.len() * 2).max(1);
        let mut grown: Vec<HashTable<(K, V)>> = (0..count).map(|_| HashTable::new()).collect();
        for entry in self.shards.iter().flat_map(|shard| shard.iter()) {
            let hash = hash(&entry.0);
            if let Some(shard) = grown.get_mut(place(hash, count)) {
                shard.insert_unique(hash, entry.clone(), |entry| self::hash(&entry.0));
            }
        }
        self.shards = Arc::new(grown.into_iter().map(Arc::new).collect());
    }
}

fn hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The shard of a hash; `count` is a power of two. The table inside uses the lowest and the highest bits.
fn place(hash: u64, count: usize) -> usize {
    (hash >> 28) as usize & count.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::ShardMap;

    #[test]
    fn copies_do_not_see_later_changes() {
        let mut map: ShardMap<u32, u32> = ShardMap::default();
        for key in 0..1000 {
            map.edit(key, |value| {
                *value = key + 1;
                true
            });
        }
        let copy = map.clone();
        for key in 0..500 {
            map.edit(key, |_| false);
        }
        assert_eq!((map.get(&10), map.get(&600)), (None, Some(&601)));
        assert_eq!((copy.get(&10), copy.get(&600)), (Some(&11), Some(&601)));
        assert!((500..1000).all(|key| map.get(&key).is_some()));
    }
}
