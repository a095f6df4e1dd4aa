//! A radix tree over bytes: finds all keys that are a prefix of a text, in one walk down. Suffixes are kept reversed
//! and looked up from the text's end.

use super::{Targets, drop_target};
use std::sync::Arc;

#[derive(Clone, Default)]
pub(crate) struct Radix {
    root: Arc<Node>,
    keys: usize,
}

#[derive(Clone, Default)]
struct Node {
    /// The bytes between the parent and here.
    label: Box<[u8]>,
    targets: Targets,
    /// Sorted by the first byte of their labels, which differ.
    children: Vec<(u8, Arc<Node>)>,
}

impl Radix {
    pub(crate) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    pub(crate) fn insert(&mut self, key: &[u8], target: u32) {
        self.keys += 1;
        let mut node = Arc::make_mut(&mut self.root);
        let mut rest = key;
        loop {
            let Some(&first) = rest.first() else {
                node.targets.push(target);
                return;
            };
            let at = match node.find(first) {
                Ok(at) => at,
                Err(at) => {
                    let leaf = Node {
                        label: rest.into(),
                        targets: Targets::from_slice(&[target]),
                        children: Vec::new(),
                    };
                    node.children.insert(at, (first, Arc::new(leaf)));
                    return;
                }
            };
            let Some((_, child)) = node.children.get_mut(at) else { return };
            let child = Arc::make_mut(child);
            let common = common_length(&child.label, rest);
            if common < child.label.len() {
                child.split(common);
            }
            rest = rest.get(common..).unwrap_or_default();
            node = child;
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8], target: u32) {
        self.keys = self.keys.saturating_sub(1);
        remove(Arc::make_mut(&mut self.root), key, target);
    }

    /// Adds the targets of every key that `text` begins with (or, reversed, ends with).
    pub(crate) fn collect(&self, text: &[u8], reversed: bool, found: &mut Vec<u32>) {
        let byte = |at: usize| {
            if reversed { text.len().checked_sub(at + 1).map(|at| text[at]) } else { text.get(at).copied() }
        };
        let mut node = &*self.root;
        let mut depth = 0;
        loop {
            found.extend_from_slice(&node.targets);
            let Some(first) = byte(depth) else { return };
            let Ok(at) = node.find(first) else { return };
            let Some((_, child)) = node.children.get(at) else { return };
            if !(0..child.label.len()).all(|offset| byte(depth + offset) == child.label.get(offset).copied())
            {
                return;
            }
            depth += child.label.len();
            node = child;
        }
    }
}

impl Node {
    fn find(&self, first: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&first, |child| child.0)
    }

    /// Puts a node between this one and its parent, after `length` bytes of the label.
    fn split(&mut self, length: usize) {
        let (upper, lower) = self.label.split_at(length);
        let first = lower.first().copied().unwrap_or_default();
        let (upper, lower) = (upper.into(), lower.into());
        let below = Self {
            label: lower,
            targets: std::mem::take(&mut self.targets),
            children: std::mem::take(&mut self.children),
        };
        self.label = upper;
        self.children = vec![(first, Arc::new(below))];
    }
}

/// Removes a key below `node` and the nodes that only led to it. The depth is that of the tree, at most the key's length.
fn remove(node: &mut Node, key: &[u8], target: u32) {
    let Some(&first) = key.first() else {
        drop_target(&mut node.targets, target);
        return;
    };
    let Ok(at) = node.find(first) else { return };
    let Some((_, child)) = node.children.get_mut(at) else { return };
    let Some(rest) = key.strip_prefix(&*child.label) else { return };
    let child = Arc::make_mut(child);
    remove(child, rest, target);
    if child.targets.is_empty() && child.children.is_empty() {
        node.children.remove(at);
    }
}

fn common_length(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::Radix;

    fn found(tree: &Radix, text: &str, reversed: bool) -> Vec<u32> {
        let mut found = Vec::new();
        tree.collect(text.as_bytes(), reversed, &mut found);
        found.sort_unstable();
        found
    }

    #[test]
    fn finds_all_prefixes_and_forgets_removed_ones() {
        let mut tree = Radix::default();
        for (key, target) in [("", 0), ("us-", 1), ("us-east", 2), ("us-west", 3), ("eu", 4), ("us-east", 5)]
        {
            tree.insert(key.as_bytes(), target);
        }
        assert_eq!(found(&tree, "us-east-1", false), [0, 1, 2, 5]);
        assert_eq!(found(&tree, "us", false), [0]);
        let copy = tree.clone();
        tree.remove(b"us-east", 2);
        tree.remove(b"us-", 1);
        assert_eq!(found(&tree, "us-east-1", false), [0, 5]);
        assert_eq!(found(&copy, "us-east-1", false), [0, 1, 2, 5]);
    }

    #[test]
    fn finds_suffixes() {
        let mut tree = Radix::default();
        tree.insert(b"gnp.", 1);
        tree.insert(b"g", 2);
        assert_eq!(found(&tree, "a.png", true), [1, 2]);
        assert_eq!(found(&tree, "png", true), [2]);
    }
}
