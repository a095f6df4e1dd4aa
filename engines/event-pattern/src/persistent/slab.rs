//! Numbered slots in chunks of 64; freed numbers are used again.

use std::sync::Arc;

const CHUNK: usize = 64;

pub(crate) struct Slab<T> {
    chunks: Arc<Vec<Arc<Vec<Option<T>>>>>,
    free: Arc<Vec<u32>>,
    length: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), free: Arc::default(), length: 0 }
    }
}

impl<T> Clone for Slab<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), free: Arc::clone(&self.free), length: self.length }
    }
}

impl<T: Clone> Slab<T> {
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(slot as usize / CHUNK)?;
        Arc::make_mut(chunk).get_mut(slot as usize % CHUNK)?.as_mut()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let slot = match Arc::make_mut(&mut self.free).pop() {
            Some(slot) => slot,
            None => {
                self.length += 1;
                self.length - 1
            }
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        if slot as usize / CHUNK >= chunks.len() {
            chunks.push(Arc::default());
        }
        if let Some(chunk) = chunks.get_mut(slot as usize / CHUNK) {
            let chunk = Arc::make_mut(chunk);
            let at = slot as usize % CHUNK;
            if at >= chunk.len() {
                chunk.resize(at + 1, None);
            }
            chunk[at] = Some(value);
        }
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(slot as usize / CHUNK)?;
        let value = Arc::make_mut(chunk).get_mut(slot as usize % CHUNK)?.take()?;
        Arc::make_mut(&mut self.free).push(slot);
        Some(value)
    }

    /// The taken slots in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        (0..).zip(slots).filter_map(|(slot, value)| Some((slot, value.as_ref()?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.length as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn slots_are_used_again_and_copies_stay() {
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..200).map(|value| slab.insert(value)).collect();
        assert_eq!(slots, (0..200).collect::<Vec<u32>>());
        let copy = slab.clone();
        assert_eq!(slab.remove(70), Some(70));
        assert_eq!((slab.get(70), copy.get(70)), (None, Some(&70)));
        assert_eq!(slab.insert(7), 70);
        assert!(!slab.is_empty());
    }
}
