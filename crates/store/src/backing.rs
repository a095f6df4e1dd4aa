//! The checkpointed store: redb, one table of bytes. Every value carries a checksum of itself and its key.

use std::{ops::Bound, path::Path};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::{
    Damaged, OpenError,
    overlay::{Entry, FullKey},
};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FOLDED: &str = "folded";
/// What redb may keep in memory of the file.
const CACHE: usize = 64 << 20;

pub struct Backing(Database);

impl Backing {
    /// Opens the file and gives the sequence up to which the log is folded into it.
    pub fn open(path: &Path) -> Result<(Backing, u64), OpenError> {
        let backing = |error: String| OpenError::Backing(error);
        let database =
            Database::builder().set_cache_size(CACHE).create(path).map_err(|e| backing(e.to_string()))?;
        let write = database.begin_write().map_err(|e| backing(e.to_string()))?;
        let folded = {
            write.open_table(ROWS).map_err(|e| backing(e.to_string()))?;
            let meta = write.open_table(META).map_err(|e| backing(e.to_string()))?;
            let found = redb::ReadableTable::get(&meta, FOLDED).map_err(|e| backing(e.to_string()))?;
            found.map_or(0, |found| found.value())
        };
        write.commit().map_err(|e| backing(e.to_string()))?;
        Ok((Backing(database), folded))
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Damaged> {
        let read = self.0.begin_read().map_err(damaged)?;
        let rows = read.open_table(ROWS).map_err(damaged)?;
        let found = rows.get(key).map_err(damaged)?;
        found.map(|found| checked(key, found.value())).transpose()
    }

    /// Up to `most` rows between two bounds, from either end.
    pub fn take(
        &self,
        low: &Bound<FullKey>,
        high: &Bound<FullKey>,
        back: bool,
        most: usize,
    ) -> Result<Vec<(FullKey, Bytes)>, Damaged> {
        let read = self.0.begin_read().map_err(damaged)?;
        let rows = read.open_table(ROWS).map_err(damaged)?;
        let slices = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let mut range = rows.range::<&[u8]>(slices).map_err(damaged)?;
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(row) = (if back { range.next_back() } else { range.next() }) else { break };
            let (key, value) = row.map_err(damaged)?;
            taken.push((key.value().to_vec(), checked(key.value(), value.value())?));
        }
        Ok(taken)
    }

    /// Writes folded entries, and with the last of them how far the log is folded. Only then the file is synced, which makes
    /// all of them durable: until then the log has them, and its own syncs are not held up.
    pub fn fold(&self, entries: &[(FullKey, Entry)], folded: Option<u64>) -> Result<(), String> {
        let mut write = self.0.begin_write().map_err(|e| e.to_string())?;
        match folded {
            Some(_) => write.set_quick_repair(true),
            None => write.set_durability(Durability::None).map_err(|e| e.to_string())?,
        }
        {
            let mut rows = write.open_table(ROWS).map_err(|e| e.to_string())?;
            for (key, entry) in entries {
                match &entry.value {
                    Some(value) => drop(
                        rows.insert(key.as_slice(), with_sum(key, value).as_slice())
                            .map_err(|e| e.to_string())?,
                    ),
                    None => drop(rows.remove(key.as_slice()).map_err(|e| e.to_string())?),
                }
            }
            if let Some(folded) = folded {
                let mut meta = write.open_table(META).map_err(|e| e.to_string())?;
                meta.insert(FOLDED, folded).map_err(|e| e.to_string())?;
            }
        }
        write.commit().map_err(|e| e.to_string())
    }
}

fn sum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn with_sum(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = sum(key, value).to_le_bytes().to_vec();
    out.extend_from_slice(value);
    out
}

fn checked(key: &[u8], stored: &[u8]) -> Result<Bytes, Damaged> {
    let broken = || {
        Damaged(format!(
            "a row of partition {}, table {:?} is not what was written",
            key.first().copied().unwrap_or(0),
            key.get(1..3)
        ))
    };
    let (head, value) = stored.split_first_chunk::<4>().ok_or_else(broken)?;
    if u32::from_le_bytes(*head) == sum(key, value) {
        Ok(Bytes::copy_from_slice(value))
    } else {
        Err(broken())
    }
}

fn damaged(error: impl std::fmt::Display) -> Damaged {
    Damaged(format!("the checkpoint cannot be read: {error}"))
}
