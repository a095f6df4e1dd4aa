//! Finds the wildcards that may match a text without trying all: each is filed under a few consecutive bytes (a gram) of
//! one of its literal parts, where fewest are filed so far. The grams of a text are looked up; where one is found and
//! the end of its literal part stands where it must, the wildcard is tried, once a text. Memory is a few words a
//! wildcard, whatever its shape; no automaton can explode.

use crate::persistent::slab::Slab;
use crate::wildcard::Wildcard;
use smallvec::SmallVec;
use std::sync::Arc;

/// The lengths of grams, in bytes. A wildcard uses the longest that one of its literal parts has room for.
const LENGTHS: [usize; 4] = [8, 4, 2, 1];

/// Slots in a chunk of a table.
const CHUNK: usize = 512;

/// More hits of one bucket than this are not told apart.
const MANY_HITS: usize = 16;

#[derive(Clone, Default)]
pub(crate) struct WildcardIndex {
    /// One for each of `LENGTHS`.
    tables: [Table; 4],
    /// Wildcards without any literal.
    any: Bucket,
    count: usize,
}

#[derive(Clone)]
struct Entry {
    /// The literal part's last gram, and how far behind the filed one it begins.
    ending: u64,
    offset: u32,
    target: u32,
    wildcard: Arc<Wildcard>,
}

type Bucket = SmallVec<[Entry; 2]>;

/// A gram of a text that is filed.
struct Hit {
    bucket: u32,
    start: usize,
}

/// A gram of a wildcard and its part's last one.
struct Gram {
    slot: usize,
    ending: u64,
    offset: u32,
}

/// Grams by their hash. Different grams may share a slot: what is found is tried anyway.
#[derive(Clone, Default)]
struct Table {
    /// For each slot its bucket's number plus one, or 0; a power of two of them, in chunks that copies share.
    slots: Arc<Vec<Arc<Vec<u32>>>>,
    buckets: Slab<Bucket>,
    entries: usize,
}

impl WildcardIndex {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn insert(&mut self, wildcard: &Wildcard, target: u32) {
        self.count += 1;
        let entry = Entry { ending: 0, offset: 0, target, wildcard: Arc::new(wildcard.clone()) };
        match self.table(wildcard) {
            Some((table, length)) => table.insert(entry, length),
            None => self.any.push(entry),
        }
    }

    pub(crate) fn remove(&mut self, wildcard: &Wildcard, target: u32) {
        self.count = self.count.saturating_sub(1);
        match self.table(wildcard) {
            Some((table, length)) => table.remove(wildcard, target, length),
            None => remove_from(&mut self.any, wildcard, target),
        }
    }

    /// Adds the targets of every wildcard that matches `text`.
    pub(crate) fn collect(&self, text: &[u8], found: &mut Vec<u32>) {
        found.extend(self.any.iter().filter(|entry| entry.wildcard.matches(text)).map(|entry| entry.target));
        for (table, length) in self.tables.iter().zip(LENGTHS).filter(|(table, _)| table.entries > 0) {
            table.collect(text, length, found);
        }
    }

    /// Where a wildcard is filed: the table and its grams' length.
    fn table(&mut self, wildcard: &Wildcard) -> Option<(&mut Table, usize)> {
        let longest = wildcard.parts().iter().map(|part| part.len()).max()?;
        self.tables.iter_mut().zip(LENGTHS).find(|(_, length)| *length <= longest)
    }
}

impl Table {
    fn insert(&mut self, entry: Entry, length: usize) {
        self.grow(length);
        self.entries += 1;
        self.file(entry, length);
    }

    fn file(&mut self, mut entry: Entry, length: usize) {
        let load = |gram: &Gram| self.bucket(gram.slot).map_or(0, |bucket| bucket.len());
        let Some(gram) = self.grams(&entry.wildcard, length).min_by_key(load) else { return };
        (entry.ending, entry.offset) = (gram.ending, gram.offset);
        let number = match self.slot(gram.slot) {
            0 => {
                let number = self.buckets.insert(Bucket::new()) + 1;
                self.set_slot(gram.slot, number);
                number
            }
            number => number,
        };
        if let Some(bucket) = self.buckets.get_mut(number - 1) {
            bucket.push(entry);
        }
    }

    fn remove(&mut self, wildcard: &Wildcard, target: u32, length: usize) {
        let is = |entry: &Entry| entry.target == target && *entry.wildcard == *wildcard;
        let holds = |gram: &Gram| self.bucket(gram.slot).is_some_and(|bucket| bucket.iter().any(is));
        let Some(Gram { slot, .. }) = self.grams(wildcard, length).find(holds) else { return };
        let number = self.slot(slot);
        let Some(bucket) = self.buckets.get_mut(number - 1) else { return };
        remove_from(bucket, wildcard, target);
        self.entries -= 1;
        if bucket.is_empty() {
            self.buckets.remove(number - 1);
            self.set_slot(slot, 0);
        }
    }

    fn collect(&self, text: &[u8], length: usize, found: &mut Vec<u32>) {
        let mut hits: Vec<Hit> = Vec::new();
        for (start, gram) in text.windows(length).enumerate() {
            if let Some(bucket) = self.slot(self.place(gram)).checked_sub(1) {
                hits.push(Hit { bucket, start });
            }
        }
        hits.sort_unstable_by_key(|hit| hit.bucket);
        for hits in hits.chunk_by(|left, right| left.bucket == right.bucket) {
            let bucket = hits.first().and_then(|hit| self.buckets.get(hit.bucket));
            let candidates = bucket.into_iter().flatten().filter(|entry| entry.may_match(hits, text, length));
            found.extend(candidates.filter(|entry| entry.wildcard.matches(text)).map(|entry| entry.target));
        }
    }

    /// Keeps at least four slots for each entry.
    fn grow(&mut self, length: usize) {
        let slots = self.slots.len() * CHUNK;
        if self.entries * 4 < slots {
            return;
        }
        let entries: Vec<Entry> = self.buckets.iter().flat_map(|(_, bucket)| bucket).cloned().collect();
        let chunk = Arc::new(vec![0; CHUNK]);
        self.slots = Arc::new(vec![chunk; (self.slots.len() * 2).max(1)]);
        self.buckets = Slab::default();
        entries.into_iter().for_each(|entry| self.file(entry, length));
    }

    fn grams(&self, wildcard: &Wildcard, length: usize) -> impl Iterator<Item = Gram> {
        wildcard.parts().iter().filter(move |part| part.len() >= length).flat_map(move |part| {
            let last = part.len() - length;
            let ending = pack(part.get(last..).unwrap_or_default());
            let gram = move |(at, gram)| Gram { slot: self.place(gram), ending, offset: (last - at) as u32 };
            part.windows(length).enumerate().map(gram)
        })
    }

    fn bucket(&self, slot: usize) -> Option<&Bucket> {
        self.buckets.get(self.slot(slot).checked_sub(1)?)
    }

    fn slot(&self, slot: usize) -> u32 {
        self.slots.get(slot / CHUNK).and_then(|chunk| chunk.get(slot % CHUNK)).copied().unwrap_or(0)
    }

    fn set_slot(&mut self, slot: usize, number: u32) {
        let chunk = Arc::make_mut(&mut self.slots).get_mut(slot / CHUNK);
        if let Some(place) = chunk.and_then(|chunk| Arc::make_mut(chunk).get_mut(slot % CHUNK)) {
            *place = number;
        }
    }

    fn place(&self, gram: &[u8]) -> usize {
        let mask = (self.slots.len() * CHUNK).wrapping_sub(1);
        (pack(gram).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
    }
}

impl Entry {
    /// Whether the literal part's end stands behind one of the hits. Where a gram repeats over and over, that is not
    /// looked at and the wildcard is tried: a long text must not cost its length times the bucket's.
    fn may_match(&self, hits: &[Hit], text: &[u8], length: usize) -> bool {
        let ends = |hit: &Hit| {
            let start = hit.start + self.offset as usize;
            text.get(start..start + length).is_some_and(|gram| pack(gram) == self.ending)
        };
        hits.len() > MANY_HITS || hits.iter().any(ends)
    }
}

fn pack(gram: &[u8]) -> u64 {
    match <[u8; 8]>::try_from(gram) {
        Ok(bytes) => u64::from_le_bytes(bytes),
        Err(_) => gram.iter().fold(0, |packed, byte| packed << 8 | u64::from(*byte)),
    }
}

fn remove_from(entries: &mut Bucket, wildcard: &Wildcard, target: u32) {
    let is = |entry: &Entry| entry.target == target && *entry.wildcard == *wildcard;
    if let Some(at) = entries.iter().position(is) {
        entries.swap_remove(at);
    }
}
