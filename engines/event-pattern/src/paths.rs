//! The paths that some rule looks at: numbered, counted, and as a tree of names along which `scan` follows an event,
//! skipping whatever no rule asks for. A name with dots in an event walks several steps, as Event Ruler's joined paths
//! do.

use crate::persistent::shard_map::ShardMap;
use std::collections::HashMap;
use std::sync::Arc;

/// A numbered path.
pub(crate) type PathId = u32;

/// Up to this many children are looked through one by one.
const FEW: usize = 16;

/// One step of the tree.
#[derive(Clone, Default)]
pub(crate) struct PathNode {
    pub(crate) id: Option<PathId>,
    few: Vec<Child>,
    many: ShardMap<Arc<str>, Arc<PathNode>>,
}

#[derive(Clone)]
struct Child {
    head: u64,
    name: Arc<str>,
    node: Arc<PathNode>,
}

/// A name's first eight bytes: all of most names.
fn head(name: &str) -> u64 {
    let bytes = name.as_bytes();
    match bytes.first_chunk::<8>() {
        Some(start) => u64::from_le_bytes(*start),
        None => bytes.iter().rev().fold(0, |packed, byte| packed << 8 | u64::from(*byte)),
    }
}

/// The numbers, kept by the writer.
#[derive(Default)]
pub(crate) struct Paths {
    known: HashMap<Arc<str>, Known>,
    free: Vec<PathId>,
    pub(crate) tree: Arc<PathNode>,
}

struct Known {
    id: PathId,
    uses: usize,
}

impl Paths {
    /// The number of a path, which stays until `release` has been called as often as this.
    pub(crate) fn claim(&mut self, path: &Arc<str>) -> PathId {
        if let Some(known) = self.known.get_mut(path) {
            known.uses += 1;
            return known.id;
        }
        let id = self.free.pop().unwrap_or(self.known.len() as PathId);
        self.known.insert(Arc::clone(path), Known { id, uses: 1 });
        set(&mut self.tree, &mut path.split('.'), Some(id));
        id
    }

    pub(crate) fn release(&mut self, path: &str) {
        let Some(known) = self.known.get_mut(path) else { return };
        known.uses -= 1;
        if known.uses > 0 {
            return;
        }
        self.free.push(known.id);
        self.known.remove(path);
        set(&mut self.tree, &mut path.split('.'), None);
    }
}

fn set(node: &mut Arc<PathNode>, steps: &mut std::str::Split<'_, char>, id: Option<PathId>) {
    let node = Arc::make_mut(node);
    match steps.next() {
        None => node.id = id,
        Some(step) => node.edit(step, |child| set(child, steps, id)),
    }
}

impl PathNode {
    /// The step that a name in an event leads to.
    pub(crate) fn descend(&self, name: &str) -> Option<&Self> {
        if let Some(child) = self.child(name) {
            return Some(child);
        }
        memchr::memchr(b'.', name.as_bytes())?;
        name.split('.').try_fold(self, Self::child)
    }

    /// Whether no path leads further down.
    pub(crate) fn is_leaf(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    fn child(&self, name: &str) -> Option<&Self> {
        if !self.many.is_empty() {
            return self.many.get(name).map(|child| &**child);
        }
        let head = head(name);
        let is = |child: &&Child| {
            child.head == head && child.name.len() == name.len() && (name.len() <= 8 || *child.name == *name)
        };
        self.few.iter().find(is).map(|child| &*child.node)
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Arc<Self>)) {
        if self.many.is_empty() && self.few.len() >= FEW && self.child(name).is_none() {
            for child in self.few.drain(..) {
                self.many.edit(child.name, |place| {
                    *place = child.node;
                    true
                });
            }
        }
        if !self.many.is_empty() {
            self.many.edit(name.into(), |child| {
                edit(child);
                !child.is_unused()
            });
            return;
        }
        let at = self.few.iter().position(|child| *child.name == *name).unwrap_or(self.few.len());
        if at == self.few.len() {
            self.few.push(Child { head: head(name), name: name.into(), node: Arc::default() });
        }
        if let Some(child) = self.few.get_mut(at) {
            edit(&mut child.node);
            if child.node.is_unused() {
                self.few.swap_remove(at);
            }
        }
    }

    fn is_unused(&self) -> bool {
        self.id.is_none() && self.is_leaf()
    }
}

#[cfg(test)]
mod tests {
    use super::Paths;
    use std::sync::Arc;

    #[test]
    fn paths_are_counted_and_forgotten() {
        let mut paths = Paths::default();
        let names: Vec<Arc<str>> = (0..40).map(|n| Arc::from(format!("detail.name-{n}"))).collect();
        let ids: Vec<u32> = names.iter().map(|name| paths.claim(name)).collect();
        assert_eq!(ids, (0..40).collect::<Vec<u32>>());
        assert_eq!(paths.claim(&names[3]), 3);
        let found = |paths: &Paths, name: &str| {
            paths.tree.descend("detail").and_then(|node| node.descend(name)).and_then(|node| node.id)
        };
        assert_eq!(found(&paths, "name-39"), Some(39));
        assert_eq!(paths.tree.descend("detail.name-7").and_then(|node| node.id), Some(7));
        paths.release("detail.name-3");
        assert_eq!(found(&paths, "name-3"), Some(3));
        paths.release("detail.name-3");
        assert_eq!(found(&paths, "name-3"), None);
        names.iter().for_each(|name| paths.release(name));
        assert!(paths.tree.descend("detail").is_none());
    }
}
