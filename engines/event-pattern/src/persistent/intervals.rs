//! An interval tree: finds all ranges that hold a number. A treap ordered by (low, high), each node knowing the highest
//! end below it; priorities come from the keys, so the same ranges always make the same tree.

use super::{Targets, drop_target};
use std::sync::Arc;

#[derive(Clone, Default)]
pub(crate) struct Intervals {
    root: Link,
}

type Link = Option<Arc<Node>>;

#[derive(Clone)]
struct Node {
    low: i64,
    high: i64,
    /// The highest end in this subtree.
    top: i64,
    priority: u64,
    targets: Targets,
    left: Link,
    right: Link,
}

impl Intervals {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub(crate) fn insert(&mut self, low: i64, high: i64, target: u32) {
        insert(&mut self.root, low, high, target);
    }

    pub(crate) fn remove(&mut self, low: i64, high: i64, target: u32) {
        remove(&mut self.root, low, high, target);
    }

    /// Adds the targets of every range that holds `number`.
    pub(crate) fn collect(&self, number: i64, found: &mut Vec<u32>) {
        collect(&self.root, number, found);
    }
}

fn collect(link: &Link, number: i64, found: &mut Vec<u32>) {
    let Some(node) = link else { return };
    if node.top < number {
        return;
    }
    collect(&node.left, number, found);
    if node.low <= number {
        if number <= node.high {
            found.extend_from_slice(&node.targets);
        }
        collect(&node.right, number, found);
    }
}

fn insert(link: &mut Link, low: i64, high: i64, target: u32) {
    let Some(shared) = link else {
        let targets = Targets::from_slice(&[target]);
        let priority = priority(low, high);
        *link = Some(Arc::new(Node { low, high, top: high, priority, targets, left: None, right: None }));
        return;
    };
    let node = Arc::make_mut(shared);
    match (low, high).cmp(&(node.low, node.high)) {
        std::cmp::Ordering::Equal => node.targets.push(target),
        std::cmp::Ordering::Less => insert(&mut node.left, low, high, target),
        std::cmp::Ordering::Greater => insert(&mut node.right, low, high, target),
    }
    node.refresh();
    let above = |child: &Link| child.as_ref().is_some_and(|child| child.priority > node.priority);
    if above(&node.left) {
        *link = node.left.take().map(|child| rotate(shared, child, true));
    } else if above(&node.right) {
        *link = node.right.take().map(|child| rotate(shared, child, false));
    }
}

/// Lifts `child`, the left or right child that `parent` has given up, above `parent`.
fn rotate(parent: &mut Arc<Node>, mut child: Arc<Node>, left: bool) -> Arc<Node> {
    let lifted = Arc::make_mut(&mut child);
    let lowered = Arc::make_mut(parent);
    let between = if left { &mut lifted.right } else { &mut lifted.left };
    if left {
        lowered.left = between.take();
    } else {
        lowered.right = between.take();
    }
    lowered.refresh();
    *between = Some(Arc::clone(parent));
    lifted.refresh();
    child
}

fn remove(link: &mut Link, low: i64, high: i64, target: u32) {
    let Some(shared) = link else { return };
    let node = Arc::make_mut(shared);
    match (low, high).cmp(&(node.low, node.high)) {
        std::cmp::Ordering::Less => remove(&mut node.left, low, high, target),
        std::cmp::Ordering::Greater => remove(&mut node.right, low, high, target),
        std::cmp::Ordering::Equal => drop_target(&mut node.targets, target),
    }
    if node.targets.is_empty() {
        let (left, right) = (node.left.take(), node.right.take());
        *link = merge(left, right);
    } else {
        node.refresh();
    }
}

/// Joins two subtrees, all of the left one's keys below the right one's.
fn merge(left: Link, right: Link) -> Link {
    let (mut left, mut right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (left, right) => return left.or(right),
    };
    if left.priority > right.priority {
        let node = Arc::make_mut(&mut left);
        node.right = merge(node.right.take(), Some(right));
        node.refresh();
        Some(left)
    } else {
        let node = Arc::make_mut(&mut right);
        node.left = merge(Some(left), node.left.take());
        node.refresh();
        Some(right)
    }
}

impl Node {
    fn refresh(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|child| child.top).max();
        self.top = below.map_or(self.high, |top| top.max(self.high));
    }
}

fn priority(low: i64, high: i64) -> u64 {
    let mut mixed = (low as u64) ^ (high as u64).rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::Intervals;
    use proptest::prelude::*;

    fn found(tree: &Intervals, number: i64) -> Vec<u32> {
        let mut found = Vec::new();
        tree.collect(number, &mut found);
        found.sort_unstable();
        found
    }

    fn expected(ranges: &[(i64, i64)], from: usize, number: i64) -> Vec<u32> {
        let holding =
            ranges.iter().enumerate().skip(from).filter(|(_, (low, high))| (*low..=*high).contains(&number));
        holding.map(|(at, _)| at as u32).collect()
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            ranges in prop::collection::vec((-20i64..20, -20i64..20), 0..60),
            number in -21i64..21,
        ) {
            let mut tree = Intervals::default();
            for (at, (low, high)) in ranges.iter().enumerate() {
                tree.insert(*low, *high, at as u32);
            }
            let before = tree.clone();
            let half = ranges.len() / 2;
            for (at, (low, high)) in ranges.iter().enumerate().take(half) {
                tree.remove(*low, *high, at as u32);
            }
            prop_assert_eq!(found(&before, number), expected(&ranges, 0, number));
            prop_assert_eq!(found(&tree, number), expected(&ranges, half, number));
        }
    }
}
