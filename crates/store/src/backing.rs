//! The checkpointed store: redb, one table of blocks of rows (see `block`), which carry checksums.

use std::{
    iter::Peekable,
    ops::Bound,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use parking_lot::RwLock;
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use crate::{
    Damaged, OpenError,
    block::{self, Block, Row},
    overlay::{Entry, FullKey, KeptKey, Level},
};

const BLOCKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blocks");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FOLDED: &str = "folded";
/// What redb may keep in memory of the file.
const CACHE: usize = 64 << 20;
/// Rows and bytes that are put into blocks at once.
const GROUP_ROWS: usize = 4096;
const GROUP_BYTES: usize = 4 << 20;

pub struct Backing {
    path: PathBuf,
    /// `None` when a write failed and the file could not be opened again.
    database: RwLock<Option<Database>>,
}

impl Backing {
    /// Opens the file and gives the sequence up to which the log is folded into it.
    pub fn open(path: &Path) -> Result<(Backing, u64), OpenError> {
        let backing = |error: String| OpenError::Backing(error);
        let database = file(path).map_err(backing)?;
        let write = database.begin_write().map_err(|e| backing(e.to_string()))?;
        let folded = {
            write.open_table(BLOCKS).map_err(|e| backing(e.to_string()))?;
            let meta = write.open_table(META).map_err(|e| backing(e.to_string()))?;
            let found = meta.get(FOLDED).map_err(|e| backing(e.to_string()))?;
            found.map_or(0, |found| found.value())
        };
        write.commit().map_err(|e| backing(e.to_string()))?;
        Ok((Backing { path: path.to_path_buf(), database: RwLock::new(Some(database)) }, folded))
    }

    /// What the disk has left for it, in bytes; 0 when it does not say.
    pub fn room(&self) -> u64 {
        statvfs(&self.path).map_or(0, |disk| disk.blocks_available() * disk.fragment_size())
    }

    fn read<R>(&self, look: impl FnOnce(&Stored) -> Result<R, Damaged>) -> Result<R, Damaged> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| damaged("a write failed"))?;
        let read = database.begin_read().map_err(damaged)?;
        look(&read.open_table(BLOCKS).map_err(damaged)?)
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
        self.read(|blocks| get(blocks, key))
    }

    /// Up to `most` rows between two bounds, from either end.
    pub fn take(
        &self,
        low: &Bound<FullKey>,
        high: &Bound<FullKey>,
        back: bool,
        most: usize,
    ) -> Result<Vec<(FullKey, Bytes)>, Damaged> {
        self.read(|blocks| take(blocks, low, high, back, most))
    }

    /// Writes a level, some rows by one transaction, and with the last of them how far the log is folded. Only then the
    /// file is synced, which makes all of them durable: until then the log has them, and its own syncs are not held up.
    pub fn fold(&self, level: &Level, rows_at_once: usize) -> Result<(), String> {
        if self.database.read().is_none() {
            self.open_again()?;
        }
        let folded = match &*self.database.read() {
            Some(database) => fold(database, level, rows_at_once),
            None => Err("it is closed".to_string()),
        };
        // After a write that failed, such as on a full disk, redb neither writes nor reads before the file is opened again.
        folded.or_else(|error| {
            self.open_again().map_err(|again| format!("{error}; then it could not be opened: {again}"))?;
            Err(error)
        })
    }

    fn open_again(&self) -> Result<(), String> {
        let mut database = self.database.write();
        drop(database.take());
        *database = Some(file(&self.path)?);
        Ok(())
    }
}

fn file(path: &Path) -> Result<Database, String> {
    Database::builder().set_cache_size(CACHE).create(path).map_err(|e| e.to_string())
}

type Stored = ReadOnlyTable<&'static [u8], &'static [u8]>;

fn get(blocks: &Stored, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
    let Some(found) = blocks.range::<&[u8]>(..=key).map_err(damaged)?.next_back() else {
        return Ok(None);
    };
    let (first, stored) = found.map_err(damaged)?;
    Block::open(first.value(), stored.value())?.find(key)
}

fn take(
    blocks: &Stored,
    low: &Bound<FullKey>,
    high: &Bound<FullKey>,
    back: bool,
    most: usize,
) -> Result<Vec<(FullKey, Bytes)>, Damaged> {
    // The first rows may stand in a block that begins before them.
    let from = match low {
        Bound::Unbounded => None,
        Bound::Included(key) | Bound::Excluded(key) => {
            let before = blocks.range::<&[u8]>(..=key.as_slice()).map_err(damaged)?.next_back();
            before.transpose().map_err(damaged)?.map(|(first, _)| first.value().to_vec())
        }
    };
    let from = from.as_deref().map_or(Bound::Unbounded, Bound::Included);
    let to = high.as_ref().map(Vec::as_slice);
    let mut range = blocks.range::<&[u8]>((from, to)).map_err(damaged)?;
    let mut taken = Vec::new();
    while taken.len() < most {
        let Some(found) = (if back { range.next_back() } else { range.next() }) else { break };
        let (first, stored) = found.map_err(damaged)?;
        let block = Block::open(first.value(), stored.value())?;
        let mut rows = block.rows()?;
        rows.retain(|(key, _)| within(key, low, high));
        if back {
            rows.reverse();
        }
        let room = most - taken.len();
        let copy = |(key, value): Row<'_>| (key.to_vec(), Bytes::copy_from_slice(value));
        taken.extend(rows.into_iter().take(room).map(copy));
    }
    Ok(taken)
}

fn fold(database: &Database, level: &Level, rows_at_once: usize) -> Result<(), String> {
    let mut entries = level.entries.iter().peekable();
    loop {
        let mut write = database.begin_write().map_err(|e| e.to_string())?;
        write.set_durability(Durability::None).map_err(|e| e.to_string())?;
        write_some(&write, &mut entries, rows_at_once)?;
        if entries.peek().is_some() {
            write.commit().map_err(|e| e.to_string())?;
            continue;
        }
        write.set_durability(Durability::Immediate).map_err(|e| e.to_string())?;
        write.set_quick_repair(true);
        {
            let mut meta = write.open_table(META).map_err(|e| e.to_string())?;
            meta.insert(FOLDED, level.until).map_err(|e| e.to_string())?;
        }
        return write.commit().map_err(|e| e.to_string());
    }
}

fn within(key: &[u8], low: &Bound<FullKey>, high: &Bound<FullKey>) -> bool {
    let above = match low {
        Bound::Unbounded => true,
        Bound::Included(low) => key >= low.as_slice(),
        Bound::Excluded(low) => key > low.as_slice(),
    };
    let below = match high {
        Bound::Unbounded => true,
        Bound::Included(high) => key <= high.as_slice(),
        Bound::Excluded(high) => key < high.as_slice(),
    };
    above && below
}

type Entries<'a> = Peekable<std::collections::btree_map::Iter<'a, KeptKey, Entry>>;
type Blocks<'t> = Table<'t, &'static [u8], &'static [u8]>;

fn write_some(write: &WriteTransaction, entries: &mut Entries<'_>, most: usize) -> Result<(), String> {
    let mut blocks = write.open_table(BLOCKS).map_err(|e| e.to_string())?;
    let mut written = 0;
    while written < most {
        match write_group(&mut blocks, entries)? {
            0 => break,
            many => written += many,
        }
    }
    Ok(())
}

/// Writes the entries that belong into one block, or between it and the next; how many those were.
fn write_group(blocks: &mut Blocks<'_>, entries: &mut Entries<'_>) -> Result<usize, String> {
    let Some((first, _)) = entries.peek() else { return Ok(0) };
    let (before, next) = around(blocks, first).map_err(|e| e.to_string())?;
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some((key, entry)) = entries.next_if(|(key, _)| {
        group.len() < GROUP_ROWS
            && bytes < GROUP_BYTES
            && next.as_ref().is_none_or(|next| key.as_slice() < next.as_slice())
    }) {
        bytes += key.len() + entry.value.as_ref().map_or(0, Bytes::len);
        group.push((key, entry));
    }
    let block = before.as_ref().map(|(key, stored)| Block::open(key, stored)).transpose();
    let block = block.map_err(|e| e.to_string())?;
    let old = block.as_ref().map_or(Ok(Vec::new()), Block::rows).map_err(|e| e.to_string())?;
    let appends = old.last().is_none_or(|(last, _)| *last < group[0].0.as_slice());
    let is_left_alone = appends && block::size(&old) * 2 > block::TARGET;
    let rows = merged(if is_left_alone { &[] } else { &old }, &group);
    let mut failed = None;
    if let Some((key, _)) =
        before.as_ref().filter(|(key, _)| !is_left_alone && rows.first().is_none_or(|row| row.0 != key))
    {
        blocks.remove(key.as_slice()).map_err(|e| e.to_string())?;
    }
    block::write(&rows, appends, |key, block| {
        if let Err(error) = blocks.insert(key.as_slice(), block) {
            failed = Some(error.to_string());
        }
    });
    failed.map_or(Ok(group.len()), Err)
}

/// A block and its key, if there is one, and the key of the block behind it.
type Around = (Option<(FullKey, Vec<u8>)>, Option<FullKey>);

/// The block a key belongs into.
fn around(blocks: &Blocks<'_>, key: &[u8]) -> Result<Around, redb::StorageError> {
    let before = blocks.range::<&[u8]>(..=key)?.next_back().transpose()?;
    let before = before.map(|(key, block)| (key.value().to_vec(), block.value().to_vec()));
    let behind = (Bound::Excluded(key), Bound::Unbounded);
    let next = blocks.range::<&[u8]>(behind)?.next().transpose()?;
    Ok((before, next.map(|(key, _)| key.value().to_vec())))
}

/// What is there, with what is to be written over it.
fn merged<'a>(old: &[Row<'a>], group: &[(&'a KeptKey, &'a Entry)]) -> Vec<Row<'a>> {
    let mut rows = Vec::with_capacity(old.len() + group.len());
    let mut old = old.iter().copied().peekable();
    for (key, entry) in group {
        while let Some(row) = old.next_if(|(there, _)| *there < key.as_slice()) {
            rows.push(row);
        }
        old.next_if(|(there, _)| *there == key.as_slice());
        rows.extend(entry.value.as_ref().map(|value| (key.as_slice(), value.as_ref())));
    }
    rows.extend(old);
    rows
}

fn damaged(error: impl std::fmt::Display) -> Damaged {
    Damaged(format!("the checkpoint cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::overlay::Overlay;

    type Write = (u8, Option<usize>);

    /// Keys of a narrow range and values of up to three to a block, so that blocks are split, emptied and met again.
    fn writes() -> impl Strategy<Value = Vec<Vec<Write>>> {
        let write = (any::<u8>(), proptest::option::weighted(0.7, 0_usize..3000));
        proptest::collection::vec(proptest::collection::vec(write, 1..150), 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn folded_rows_are_an_ordered_map(levels in writes(), low in any::<u8>(), high in any::<u8>(), most in 1_usize..80) {
            let folder = tempfile::tempdir().unwrap();
            let (backing, _) = Backing::open(&folder.path().join("store.redb")).unwrap();
            let mut expected: BTreeMap<FullKey, Bytes> = BTreeMap::new();
            for (number, level) in levels.into_iter().enumerate() {
                let mut overlay = Overlay::default();
                for (key, length) in level {
                    let key = vec![0, 0, 1, key];
                    let value = length.map(|length| Bytes::from(vec![number as u8; length]));
                    match &value {
                        Some(value) => drop(expected.insert(key.clone(), value.clone())),
                        None => drop(expected.remove(&key)),
                    }
                    overlay.apply(key.into(), 1, value, false);
                }
                backing.fold(&overlay.freeze(number as u64).unwrap(), 40).unwrap();
            }
            for key in 0..=255 {
                let key = vec![0, 0, 1, key];
                prop_assert_eq!(backing.get(&key).unwrap(), expected.get(&key).cloned());
            }
            let bound = |key: u8| vec![0, 0, 1, key];
            let bounds = [
                (Bound::Unbounded, Bound::Unbounded),
                (Bound::Included(bound(low.min(high))), Bound::Included(bound(low.max(high)))),
                (Bound::Excluded(bound(low.min(high))), Bound::Unbounded),
                (Bound::Included(bound(low.min(high))), Bound::Excluded(bound(low.max(high)).into_iter().chain([0]).collect())),
            ];
            for (low, high) in bounds {
                let all = expected.range((low.clone(), high.clone())).map(|(key, value)| (key.clone(), value.clone()));
                let forward: Vec<_> = all.clone().take(most).collect();
                let backward: Vec<_> = all.rev().take(most).collect();
                prop_assert_eq!(backing.take(&low, &high, false, most).unwrap(), forward);
                prop_assert_eq!(backing.take(&low, &high, true, most).unwrap(), backward);
            }
        }
    }
}
