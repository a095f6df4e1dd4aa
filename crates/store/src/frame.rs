//! Frames: how a batch stands in the log. Effects, not commands, so that replay never depends on the code's version.
//!
//! `length u32 | crc32c u32 | version u8 | epoch u32 | sequence u64 | synced u64 | effects`, all little-endian; length and checksum
//! are of what follows them. `synced` is the last sequence that was durable when the frame was made: it tells a write that a
//! crash tore from damage to what was acknowledged. In version 2 the effects are compressed: `length of the effects u32 | LZ4`,
//! as the rows of one event for many receivers are much alike. An effect is `partition u8 | table u16 | key length u32 | value length u32 + 1, or 0 to
//! delete | key | value`.

use bytes::Bytes;

const VERSION: u8 = 1;
const PACKED: u8 = 2;
/// Frames of this length and more are compressed where that saves a quarter, in bytes.
const PACKED_FROM: usize = 4096;
/// Length and checksum.
pub const HEAD: usize = 8;
/// Version, epoch, sequence and what was synced.
const BODY_HEAD: usize = 21;
/// The epoch of a log with one writer.
const EPOCH: u32 = 0;

/// An effect with its table's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub partition: u8,
    pub table: u16,
    pub key: Vec<u8>,
    pub value: Option<Bytes>,
}

/// What stands at a place in the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Frame {
        seq: u64,
        synced: u64,
        changes: Vec<Change>,
        size: usize,
    },
    /// Nothing was written here.
    End,
    /// Something was, but not a whole frame.
    Torn,
}

/// Partition, table, length of the key and of the value.
pub const CHANGE_HEAD: usize = 11;

/// What stands before a change's key and value.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub partition: u8,
    pub table: u16,
    pub key: usize,
    pub value: Option<usize>,
}

/// Makes room for a change's head, and for the frame's if it is the first; gives where the change begins. Key and value
/// are to be written behind it, then [`end_change`].
pub fn begin_change(frame: &mut Vec<u8>) -> usize {
    if frame.is_empty() {
        frame.reserve(1024);
        frame.resize(HEAD + BODY_HEAD, 0);
    }
    let at = frame.len();
    frame.resize(at + CHANGE_HEAD, 0);
    at
}

/// Fills in the head of the change that begins at `at`.
pub fn end_change(frame: &mut [u8], at: usize, head: &Head) {
    let room = &mut frame[at..at + CHANGE_HEAD];
    room[0] = head.partition;
    room[1..3].copy_from_slice(&head.table.to_le_bytes());
    room[3..7].copy_from_slice(&(head.key as u32).to_le_bytes());
    room[7..].copy_from_slice(&head.value.map_or(0, |value| value as u32 + 1).to_le_bytes());
}

/// Fills in the table of the change that begins at `at`.
pub fn set_table(frame: &mut [u8], at: usize, table: u16) {
    frame[at + 1..at + 3].copy_from_slice(&table.to_le_bytes());
}

/// A frame whose changes are complete, compressed; `None` where that saves little.
pub fn packed(frame: &[u8]) -> Option<Vec<u8>> {
    const AT: usize = HEAD + BODY_HEAD + 4;
    let effects = frame.get(HEAD + BODY_HEAD..).filter(|_| frame.len() >= PACKED_FROM)?;
    let mut packed = vec![0; AT + lz4_flex::block::get_maximum_output_size(effects.len())];
    let length = lz4_flex::block::compress_into(effects, &mut packed[AT..]).ok()?;
    packed.truncate(AT + length);
    packed[HEAD] = PACKED;
    packed[AT - 4..AT].copy_from_slice(&(effects.len() as u32).to_le_bytes());
    (packed.len() < frame.len() / 4 * 3).then_some(packed)
}

/// Fills in the head of a frame whose changes are complete.
pub fn seal(frame: &mut Vec<u8>, seq: u64, synced: u64) {
    if frame.is_empty() {
        frame.resize(HEAD + BODY_HEAD, 0);
    }
    let head = &mut frame[HEAD..HEAD + BODY_HEAD];
    head[0] = head[0].max(VERSION);
    head[1..5].copy_from_slice(&EPOCH.to_le_bytes());
    head[5..13].copy_from_slice(&seq.to_le_bytes());
    head[13..].copy_from_slice(&synced.to_le_bytes());
    let (length, sum) = ((frame.len() - HEAD) as u32, crc32c::crc32c(&frame[HEAD..]));
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// Reads the frame at the beginning of `bytes`. What frames up to the sequence `known` changed is not looked at: they are
/// given without changes.
pub fn read(bytes: &[u8], known: u64) -> Read {
    let Some((length, sum)) = head(bytes) else {
        return if bytes.iter().all(|byte| *byte == 0) { Read::End } else { Read::Torn };
    };
    if length == 0 && sum == 0 {
        return Read::End;
    }
    let Some(body) = bytes.get(HEAD..HEAD + length).filter(|body| body.len() >= BODY_HEAD) else {
        return Read::Torn;
    };
    let Some((seq, synced)) = claims(bytes).filter(|_| crc32c::crc32c(body) == sum) else {
        return Read::Torn;
    };
    let effects = &body[BODY_HEAD..];
    let found = match body[0] {
        _ if seq <= known => Some(Vec::new()),
        PACKED => unpacked(effects).and_then(|all| changes(&all)),
        _ => changes(effects),
    };
    match found {
        Some(changes) => Read::Frame { seq, synced, changes, size: HEAD + length },
        None => Read::Torn,
    }
}

/// Sequence and what was synced, as the frame at the beginning of `bytes` says; whether it is whole is not looked at.
pub fn claims(bytes: &[u8]) -> Option<(u64, u64)> {
    let body = bytes.get(HEAD..)?.first_chunk::<BODY_HEAD>()?;
    let number = |at: usize| body[at..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (matches!(body[0], VERSION | PACKED) && body[1..5] == EPOCH.to_le_bytes())
        .then(|| (number(5), number(13)))
}

/// How many bytes follow the head of a frame.
pub fn length(head_bytes: &[u8]) -> Option<u64> {
    head(head_bytes).map(|(length, _)| length as u64)
}

fn head(bytes: &[u8]) -> Option<(usize, u32)> {
    let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?);
    let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?);
    Some((length as usize, sum))
}

fn unpacked(effects: &[u8]) -> Option<Vec<u8>> {
    let (length, packed) = effects.split_first_chunk::<4>()?;
    lz4_flex::block::decompress(packed, u32::from_le_bytes(*length) as usize).ok()
}

fn changes(mut rest: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let head = rest.get(..11)?;
        let table = u16::from_le_bytes([head[1], head[2]]);
        let key = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let value = u32::from_le_bytes([head[7], head[8], head[9], head[10]]) as usize;
        let body = rest.get(11..11 + key + value.saturating_sub(1))?;
        changes.push(Change {
            partition: head[0],
            table,
            key: body[..key].to_vec(),
            value: (value > 0).then(|| Bytes::copy_from_slice(&body[key..])),
        });
        rest = &rest[11 + body.len()..];
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(seq: u64, synced: u64, changes: &[Change]) -> Vec<u8> {
        let mut frame = Vec::new();
        for change in changes {
            let at = begin_change(&mut frame);
            frame.extend_from_slice(&change.key);
            frame.extend_from_slice(change.value.as_deref().unwrap_or_default());
            let (key, value) = (change.key.len(), change.value.as_ref().map(Bytes::len));
            end_change(&mut frame, at, &Head { partition: change.partition, table: 0, key, value });
            set_table(&mut frame, at, change.table);
        }
        seal(&mut frame, seq, synced);
        frame
    }

    proptest! {
        #[test]
        fn frames_come_back(seq in 1..u64::MAX, keys in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..5)) {
            let changes: Vec<Change> = keys.into_iter().map(|(partition, table, key, value)| Change { partition, table, key, value: value.map(Bytes::from) }).collect();
            let bytes = encode(seq, 7, &changes);
            let size = bytes.len();
            prop_assert_eq!(read(&bytes, 0), Read::Frame { seq, synced: 7, changes, size });
            for cut in 1..size {
                let mut torn = bytes[..cut].to_vec();
                torn.resize(size + 16, 0);
                let found = read(&torn, 0);
                let nothing = torn.iter().all(|byte| *byte == 0);
                prop_assert!(found == Read::Torn || nothing || torn[..size] == bytes[..], "{cut}: {found:?}");
            }
        }

        #[test]
        fn what_is_alike_takes_less_room(values in proptest::collection::vec(proptest::collection::vec(97_u8..100, 0..900), 0..20)) {
            let value = |value: Vec<u8>| Change { partition: 1, table: 2, key: vec![3], value: Some(value.into()) };
            let changes: Vec<Change> = values.into_iter().map(value).collect();
            let whole = encode(5, 4, &changes);
            match packed(&whole) {
                Some(mut packed) => {
                    seal(&mut packed, 5, 4);
                    let size = packed.len();
                    prop_assert!(size * 4 < whole.len() * 3);
                    prop_assert_eq!(claims(&packed), Some((5, 4)));
                    packed.resize(size + 16, 0);
                    prop_assert_eq!(read(&packed, 0), Read::Frame { seq: 5, synced: 4, changes, size });
                    prop_assert_eq!(read(&packed, 5), Read::Frame { seq: 5, synced: 4, changes: Vec::new(), size });
                    packed[size - 1] ^= 1;
                    prop_assert_eq!(read(&packed, 0), Read::Torn);
                }
                None => prop_assert!(whole.len() < PACKED_FROM),
            }
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = read(&bytes, 0);
        }
    }
}
