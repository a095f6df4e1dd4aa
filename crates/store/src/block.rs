//! Blocks: neighbouring rows as one value of the backing store, so that folding and reading cost a lookup a block, not a
//! row. A block stands under the key of its first row; whatever keys follow it up to the next block's belong into it.
//!
//! `crc32c u32 | rows`, a row being `key length u32 | value length u32 | key | value`, little-endian, in the order of keys.
//! Where it saves room the rows are compressed: `crc32c u32 | ffffffff | length of the rows u32 | LZ4`. The checksum is of
//! the block's key and all that follows the checksum.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Damaged, overlay::FullKey};

/// What a block holds unless one row needs more, in bytes: with the backing store's own bookkeeping two of its pages.
pub const TARGET: usize = 8192 - 128;
/// The same where rows are appended, which are seldom changed later and, as neighbours, much alike. Should one be
/// changed, its block is parted into such of the size above.
const APPENDED: usize = 32 << 10;
const SUM: usize = 4;
const ROW_HEAD: usize = 8;
/// Stands where the first row's key length does in a block that is not compressed.
const COMPRESSED: u32 = u32::MAX;
/// That, and the length of the rows.
const COMPRESSED_HEAD: usize = 8;

/// A row in a block or on its way into one.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// A block as it was read, whole and no longer compressed.
pub struct Block<'a> {
    key: &'a [u8],
    rows: Cow<'a, [u8]>,
}

impl<'a> Block<'a> {
    /// What was read under a key.
    pub fn open(key: &'a [u8], stored: &'a [u8]) -> Result<Block<'a>, Damaged> {
        let (head, body) = stored.split_first_chunk::<SUM>().ok_or_else(|| broken(key))?;
        if u32::from_le_bytes(*head) != sum(key, body) {
            return Err(broken(key));
        }
        let number = |at: usize| body.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let rows = match (number(0), number(4)) {
            (Some(COMPRESSED), Some(length)) => {
                let rows = lz4_flex::block::decompress(&body[COMPRESSED_HEAD..], length as usize);
                Cow::Owned(rows.map_err(|_| broken(key))?)
            }
            _ => Cow::Borrowed(body),
        };
        Ok(Block { key, rows })
    }

    pub fn rows(&self) -> Result<Vec<Row<'_>>, Damaged> {
        let mut rest = &*self.rows;
        let mut rows = Vec::with_capacity(16);
        while !rest.is_empty() {
            let (row, behind) = next(rest).ok_or_else(|| broken(self.key))?;
            rows.push(row);
            rest = behind;
        }
        Ok(rows)
    }

    /// The value of one row.
    pub fn find(&self, wanted: &[u8]) -> Result<Option<Bytes>, Damaged> {
        let mut rest = &*self.rows;
        while !rest.is_empty() {
            let ((found, value), behind) = next(rest).ok_or_else(|| broken(self.key))?;
            match found.cmp(wanted) {
                std::cmp::Ordering::Less => rest = behind,
                std::cmp::Ordering::Equal => return Ok(Some(Bytes::copy_from_slice(value))),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }
}

/// What rows take in a block.
pub fn size(rows: &[Row<'_>]) -> usize {
    rows.iter().map(|(key, value)| ROW_HEAD + key.len() + value.len()).sum()
}

/// Rows as blocks: filled one after the other where rows are appended, of about equal size elsewhere, so that there is
/// room for what comes between them.
pub fn write(rows: &[Row<'_>], appended: bool, mut each: impl FnMut(&FullKey, &[u8])) {
    let total = size(rows);
    let (least, most) = match appended {
        true => (APPENDED, APPENDED),
        false => (total.div_ceil(total.div_ceil(TARGET).max(1)), TARGET),
    };
    let (mut block, mut stored) = (Vec::with_capacity(most), Vec::new());
    let mut from = 0;
    while from < rows.len() {
        let first = rows[from].0.to_vec();
        block.clear();
        while let Some((key, value)) = rows.get(from) {
            let length = ROW_HEAD + key.len() + value.len();
            if !block.is_empty() && (block.len() >= least || block.len() + length > most) {
                break;
            }
            block.extend_from_slice(&(key.len() as u32).to_le_bytes());
            block.extend_from_slice(&(value.len() as u32).to_le_bytes());
            block.extend_from_slice(key);
            block.extend_from_slice(value);
            from += 1;
        }
        store(&first, &block, &mut stored);
        each(&first, &stored);
    }
}

/// The rows of a block as they are stored, compressed if that saves an eighth.
fn store(key: &[u8], rows: &[u8], stored: &mut Vec<u8>) {
    const HEAD: usize = SUM + COMPRESSED_HEAD;
    stored.clear();
    stored.resize(HEAD + lz4_flex::block::get_maximum_output_size(rows.len()), 0);
    match lz4_flex::block::compress_into(rows, &mut stored[HEAD..]) {
        Ok(length) if length + rows.len() / 8 < rows.len() => {
            stored.truncate(HEAD + length);
            stored[SUM..SUM + 4].copy_from_slice(&COMPRESSED.to_le_bytes());
            stored[SUM + 4..HEAD].copy_from_slice(&(rows.len() as u32).to_le_bytes());
        }
        _ => {
            stored.truncate(SUM);
            stored.extend_from_slice(rows);
        }
    }
    let sum = sum(key, &stored[SUM..]);
    stored[..SUM].copy_from_slice(&sum.to_le_bytes());
}

fn next(rest: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let key = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let value = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
    let (body, behind) = rest.get(ROW_HEAD..)?.split_at_checked(key.checked_add(value)?)?;
    Some((body.split_at(key), behind))
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

    /// Bytes that cannot be compressed, the same for the same `from`.
    fn noise(from: u32, length: usize) -> Vec<u8> {
        let step = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        std::iter::successors(Some(from), step)
            .skip(1)
            .take(length)
            .map(|state| (state >> 24) as u8)
            .collect()
    }

    #[test]
    fn rows_come_back_in_blocks_of_their_size() {
        let keys: Vec<String> = (0..100).map(|number| format!("key{number:03}")).collect();
        let (alike, unlike): (Vec<_>, Vec<_>) =
            (0..100).map(|number| (vec![7; 500], noise(number, 500))).unzip();
        for (values, appended) in [(&alike, true), (&alike, false), (&unlike, true), (&unlike, false)] {
            let given: Vec<Row<'_>> =
                keys.iter().map(String::as_bytes).zip(values.iter().map(Vec::as_slice)).collect();
            let (mut back, mut sizes) = (Vec::new(), Vec::new());
            write(&given, appended, |key, stored| {
                let block = Block::open(key, stored).expect("whole");
                let found = block.rows().expect("whole");
                assert_eq!(found[0].0, key);
                assert_eq!(block.find(found[1].0).expect("whole").as_deref(), Some(found[1].1));
                assert_eq!(block.find(b"none").expect("whole"), None);
                assert!(Block::open(b"other", stored).is_err());
                let mut broken = stored.to_vec();
                broken[stored.len() / 2] ^= 1;
                assert!(Block::open(key, &broken).is_err());
                assert_eq!(stored.len() < size(&found) / 4, values == &alike, "alike rows take less room");
                sizes.push(found.len());
                back.extend(found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
            });
            let expected: Vec<_> = given.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            assert!(back == expected, "the same rows in their order");
            let smallest = sizes.iter().min().copied().unwrap_or_default();
            assert!(if appended { sizes[0] == 63 } else { smallest >= 10 }, "{sizes:?}");
        }
        let large = vec![1; 3 * APPENDED];
        let mut many = 0;
        write(&[(b"a", &large), (b"b", &large)], true, |_, _| many += 1);
        assert_eq!(many, 2);
    }

    #[test]
    fn blocks_from_before_compression_are_read() {
        let mut rows = Vec::new();
        for part in [&1_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), b"k", b"vv"] {
            rows.extend_from_slice(part);
        }
        let mut stored = sum(b"k", &rows).to_le_bytes().to_vec();
        stored.extend_from_slice(&rows);
        let block = Block::open(b"k", &stored).expect("whole");
        assert_eq!(block.rows().expect("whole"), [(&b"k"[..], &b"vv"[..])]);
    }
}
