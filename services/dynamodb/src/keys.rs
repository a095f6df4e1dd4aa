//! Keys as bytes: where a row stands in the store.
//!
//! A space is a table or an index. Rows of a space are ordered by a hash of their hash key, as DynamoDB scans them, then
//! by hash key, range key and, in indexes, the key of the item in its table.

use tidemill_dynamo_expression::{Item, key};

use crate::schema::Keys;

/// ((space id, hash of the hash key), (hash key, (range key, key in the table)))
pub type RowKey = ((String, u64), (Vec<u8>, (Vec<u8>, Vec<u8>)));

/// Where an item stands in its table.
pub fn in_table(space: &str, keys: &Keys, item: &Item) -> RowKey {
    let (hash, range) = encoded(keys, item);
    ((space.to_string(), spread(&hash)), (hash, (range, Vec::new())))
}

/// Where an item stands in an index.
pub fn in_index(space: &str, keys: &Keys, table: &Keys, item: &Item) -> RowKey {
    let (hash, range) = encoded(keys, item);
    let (table_hash, table_range) = encoded(table, item);
    let mut own = u32::try_from(table_hash.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    own.extend_from_slice(&table_hash);
    own.extend_from_slice(&table_range);
    ((space.to_string(), spread(&hash)), (hash, (range, own)))
}

fn encoded(keys: &Keys, item: &Item) -> (Vec<u8>, Vec<u8>) {
    let bytes = |name: &str| {
        let mut out = Vec::new();
        if let Some(value) = item.get(name) {
            key::encode(value, &mut out);
        }
        out
    };
    (bytes(&keys.hash), keys.range.as_deref().map(bytes).unwrap_or_default())
}

/// Spreads hash keys over the number line (FNV-1a with a final mix), so that segments of a scan are alike.
pub fn spread(hash: &[u8]) -> u64 {
    let folded = hash
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// The first key of a space's part, by the hash of the hash key.
pub fn space_from(space: &str, spread: u64) -> RowKey {
    ((space.to_string(), spread), (Vec::new(), (Vec::new(), Vec::new())))
}

/// The end of a space.
pub fn space_end(space: &str) -> RowKey {
    ((format!("{space}\u{1}"), 0), (Vec::new(), (Vec::new(), Vec::new())))
}
