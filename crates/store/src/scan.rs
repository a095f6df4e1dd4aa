//! Scans: overlay and backing store merged, a bounded piece at a time, so that no scan holds a lock for long.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::{Damaged, overlay::FullKey, store::Inner};

/// Rows of the first piece; each further one is four times as large, up to the last.
const FIRST: usize = 16;
const MOST: usize = 1024;

/// Calls `each` with every row between two bounds until it breaks. Gives the largest sequence among what was shown that
/// may not be durable yet.
pub fn scan(
    store: &Inner,
    mut low: Bound<FullKey>,
    mut high: Bound<FullKey>,
    back: bool,
    mut each: impl FnMut(&[u8], Bytes) -> Result<ControlFlow<()>, Damaged>,
) -> Result<u64, Damaged> {
    let (mut seen, mut size) = (0, FIRST);
    while !is_empty(&low, &high) {
        let (over, under) = {
            let overlay = store.overlay.read();
            let over = overlay.take(&low, &high, back, size);
            let under = store
                .backing
                .as_ref()
                .map_or_else(|| Ok(Vec::new()), |backing| backing.take(&low, &high, back, size))?;
            (over, under)
        };
        // Beyond the last key of a full piece the other side may hold rows that were not read.
        let ends = [
            (over.len() == size).then(|| over.last().map(|(key, _)| key.clone())).flatten(),
            (under.len() == size).then(|| under.last().map(|(key, _)| key.clone())).flatten(),
        ];
        let horizon = ends.into_iter().flatten().reduce(|a, b| if back { a.max(b) } else { a.min(b) });
        let within = |key: &FullKey| {
            horizon.as_ref().is_none_or(|horizon| if back { key >= horizon } else { key <= horizon })
        };
        let (mut over, mut under) = (over.into_iter().peekable(), under.into_iter().peekable());
        loop {
            let from_over = match (over.peek(), under.peek()) {
                (None, None) => break,
                (Some((a, _)), Some((b, _))) => {
                    if back {
                        a >= b
                    } else {
                        a <= b
                    }
                }
                (Some(_), None) => true,
                (None, Some(_)) => false,
            };
            let (key, value) = if from_over {
                let Some((key, entry)) = over.next() else { break };
                if under.peek().is_some_and(|(other, _)| *other == key) {
                    under.next();
                }
                if !within(&key) {
                    break;
                }
                seen = seen.max(entry.seq);
                (key, entry.value)
            } else {
                let Some((key, value)) = under.next() else { break };
                if !within(&key) {
                    break;
                }
                (key, Some(value))
            };
            if let Some(value) = value
                && each(&key, value)?.is_break()
            {
                return Ok(seen);
            }
        }
        match horizon {
            Some(horizon) if back => high = Bound::Excluded(horizon),
            Some(horizon) => low = Bound::Excluded(horizon),
            None => break,
        }
        size = (size * 4).min(MOST);
    }
    Ok(seen)
}

fn is_empty(low: &Bound<FullKey>, high: &Bound<FullKey>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
        _ => false,
    }
}
