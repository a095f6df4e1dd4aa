//! Collections that share what does not change: a copy costs little, and a change to one copy leaves the others as they
//! were. The matcher publishes a snapshot while its writer goes on; with a copy outstanding a change clones only the
//! piece it touches, without one it changes in place (`Arc::make_mut`).

pub(crate) mod intervals;
pub(crate) mod radix;
pub(crate) mod shard_map;
pub(crate) mod slab;

use smallvec::SmallVec;

/// What a value leads to: an edge of the automaton, or an exclusion that fails (`index::Target`).
pub(crate) type Targets = SmallVec<[u32; 4]>;

/// Removes one occurrence of `target`.
pub(crate) fn drop_target(targets: &mut Targets, target: u32) {
    if let Some(at) = targets.iter().position(|&other| other == target) {
        targets.swap_remove(at);
    }
}
