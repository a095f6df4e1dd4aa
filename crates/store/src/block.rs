//! Blocks: neighbouring rows as one value of the backing store, so that folding and reading cost a lookup a block, not a
//! row. A block stands under the key of its first row; whatever keys follow it up to the next block's belong into it.
//!
//! `crc32c u32 | rows`, a row being `key length u32 | value length u32 | key | value`, little-endian, in the order of keys.
//! The checksum is of the block's key and its rows.

use bytes::Bytes;

use crate::{Damaged, overlay::FullKey};

/// What a block holds unless one row needs more, in bytes: with the backing store's own bookkeeping two of its pages.
pub const TARGET: usize = 8192 - 128;
const SUM: usize = 4;
const ROW_HEAD: usize = 8;

/// A row in a block or on its way into one.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// The rows of what was read under a key.
pub fn rows<'a>(key: &[u8], stored: &'a [u8]) -> Result<Vec<Row<'a>>, Damaged> {
    let mut rest = checked(key, stored)?;
    let mut rows = Vec::with_capacity(16);
    while !rest.is_empty() {
        let (row, behind) = next(rest).ok_or_else(|| broken(key))?;
        rows.push(row);
        rest = behind;
    }
    Ok(rows)
}

/// One row of what was read under a key.
pub fn find(key: &[u8], stored: &[u8], wanted: &[u8]) -> Result<Option<Bytes>, Damaged> {
    let mut rest = checked(key, stored)?;
    while !rest.is_empty() {
        let ((found, value), behind) = next(rest).ok_or_else(|| broken(key))?;
        match found.cmp(wanted) {
            std::cmp::Ordering::Less => rest = behind,
            std::cmp::Ordering::Equal => return Ok(Some(Bytes::copy_from_slice(value))),
            std::cmp::Ordering::Greater => break,
        }
    }
    Ok(None)
}

/// What rows take in a block.
pub fn size(rows: &[Row<'_>]) -> usize {
    rows.iter().map(|(key, value)| ROW_HEAD + key.len() + value.len()).sum()
}

/// Rows as blocks: filled one after the other where rows are appended, of about equal size elsewhere, so that there is
/// room for what comes between them.
pub fn write(rows: &[Row<'_>], appended: bool, mut each: impl FnMut(&FullKey, &[u8])) {
    let total = size(rows);
    let least = if appended { TARGET } else { total.div_ceil(total.div_ceil(TARGET).max(1)) };
    let mut block = Vec::with_capacity(TARGET + SUM);
    let mut from = 0;
    while from < rows.len() {
        let first = rows[from].0.to_vec();
        block.clear();
        block.extend_from_slice(&[0; SUM]);
        while let Some((key, value)) = rows.get(from) {
            let length = ROW_HEAD + key.len() + value.len();
            let filled = block.len() - SUM;
            if filled > 0 && (filled >= least || filled + length > TARGET) {
                break;
            }
            block.extend_from_slice(&(key.len() as u32).to_le_bytes());
            block.extend_from_slice(&(value.len() as u32).to_le_bytes());
            block.extend_from_slice(key);
            block.extend_from_slice(value);
            from += 1;
        }
        let sum = sum(&first, &block[SUM..]);
        block[..SUM].copy_from_slice(&sum.to_le_bytes());
        each(&first, &block);
    }
}

fn next(rest: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let key = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let value = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
    let (body, behind) = rest.get(ROW_HEAD..)?.split_at_checked(key.checked_add(value)?)?;
    Some((body.split_at(key), behind))
}

fn checked<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], Damaged> {
    let (head, rows) = stored.split_first_chunk::<SUM>().ok_or_else(|| broken(key))?;
    if u32::from_le_bytes(*head) == sum(key, rows) { Ok(rows) } else { Err(broken(key)) }
}

fn sum(key: &[u8], rows: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), rows)
}

fn broken(key: &[u8]) -> Damaged {
    Damaged(format!(
        "a block of partition {}, table {:?} is not what was written",
        key.first().copied().unwrap_or(0),
        key.get(1..3)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_blocks_of_their_size() {
        let keys: Vec<String> = (0..100).map(|number| format!("key{number:03}")).collect();
        let value = vec![7; 500];
        let given: Vec<Row<'_>> = keys.iter().map(|key| (key.as_bytes(), &value[..])).collect();
        for appended in [true, false] {
            let (mut back, mut sizes) = (Vec::new(), Vec::new());
            write(&given, appended, |key, stored| {
                let found = rows(key, stored).expect("whole");
                assert_eq!(found[0].0, key);
                assert_eq!(find(key, stored, found[1].0).expect("whole").as_deref(), Some(&value[..]));
                assert_eq!(find(key, stored, b"none").expect("whole"), None);
                assert!(rows(b"other", stored).is_err());
                sizes.push(found.len());
                back.extend(found.into_iter().map(|(key, _)| key.to_vec()));
            });
            assert_eq!(back, keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>());
            let smallest = sizes.iter().min().copied().unwrap_or_default();
            assert!(if appended { sizes[0] == 15 } else { smallest >= 10 }, "{sizes:?}");
        }
        let large = vec![1; 3 * TARGET];
        let mut many = 0;
        write(&[(b"a", &large), (b"b", &large)], true, |_, _| many += 1);
        assert_eq!(many, 2);
    }
}
