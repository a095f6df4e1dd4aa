//! The automaton: a tree in which each node tests fields and each edge is one field's list of alternatives. A conjunction
//! is a path from the root, its narrow fields first; conjunctions that begin alike share nodes. An event walks all edges
//! that hold. Few alternatives at a node are tried one by one, many are indexed (`index`).

use crate::arrays;
use crate::condition::Condition;
use crate::fields::{FieldValue, Fields};
use crate::index::{Found, Index};
use crate::paths::PathId;
use std::sync::Arc;

/// Up to this many conditions for one path at one node are tried one by one.
const FEW: usize = 8;

/// A conjunction as the automaton holds it.
pub(crate) type Tests = Arc<[Test]>;

/// One field and its alternatives.
#[derive(Clone)]
pub(crate) struct Test {
    pub(crate) path: PathId,
    pub(crate) conditions: Arc<[Condition]>,
}

#[derive(Clone, Default)]
pub(crate) struct Node {
    /// Sorted by path.
    branches: Vec<Branch>,
    /// The paths whose absence may lead on.
    absences: Vec<PathId>,
    /// The rules whose conjunction ends here, and that conjunction.
    end: Option<Arc<End>>,
}

#[derive(Clone)]
struct End {
    rules: Vec<u32>,
    tests: Tests,
}

#[derive(Clone)]
struct Branch {
    path: PathId,
    edges: Edges,
}

#[derive(Clone)]
enum Edges {
    Few(Vec<Edge>),
    Many(Arc<Index>),
}

#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) conditions: Arc<[Condition]>,
    pub(crate) child: Arc<Node>,
}

impl Edge {
    pub(crate) fn new(conditions: &Arc<[Condition]>) -> Self {
        Self { conditions: Arc::clone(conditions), child: Arc::default() }
    }

    fn holds(&self, values: &[FieldValue<'_>]) -> bool {
        if values.is_empty() {
            return self.conditions.contains(&Condition::Absent);
        }
        values.iter().any(|value| accepts(&self.conditions, value))
    }
}

fn accepts(conditions: &[Condition], value: &FieldValue<'_>) -> bool {
    conditions.iter().any(|condition| condition.accepts(&value.scalar))
}

/// Puts the tests into the order in which the automaton makes them.
pub(crate) fn order(tests: &mut [Test]) {
    let breadth = |test: &Test| test.conditions.iter().map(Condition::breadth).max().unwrap_or(0);
    tests.sort_by_cached_key(|test| (breadth(test), test.path));
}

/// Adds a rule whose conjunction is `tests`, in order.
pub(crate) fn insert(root: &mut Arc<Node>, tests: &Tests, rule: u32) {
    let mut node = root;
    for test in tests.iter() {
        match Arc::make_mut(node).edge_mut(test) {
            Some(edge) => node = &mut edge.child,
            None => return,
        }
    }
    let node = Arc::make_mut(node);
    let end = node.end.get_or_insert_with(|| Arc::new(End { rules: Vec::new(), tests: Arc::clone(tests) }));
    Arc::make_mut(end).rules.push(rule);
}

/// Removes the rule at the end of `tests`, and the nodes that only led there. A conjunction has at most a thousand
/// tests, which bounds the depth.
pub(crate) fn remove(root: &mut Arc<Node>, tests: &[Test], rule: u32) {
    let node = Arc::make_mut(root);
    let Some((test, rest)) = tests.split_first() else {
        node.remove_rule(rule);
        return;
    };
    let Some(edge) = node.edge_mut(test) else { return };
    remove(&mut edge.child, rest, rule);
    if edge.child.is_empty() {
        node.remove_edge(test);
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.end.is_none() && self.branches.is_empty()
    }

    fn remove_rule(&mut self, rule: u32) {
        let Some(end) = &mut self.end else { return };
        let end = Arc::make_mut(end);
        if let Some(at) = end.rules.iter().position(|&other| other == rule) {
            end.rules.swap_remove(at);
        }
        if end.rules.is_empty() {
            self.end = None;
        }
    }

    fn edge_mut(&mut self, test: &Test) -> Option<&mut Edge> {
        let at = match self.branches.binary_search_by_key(&test.path, |branch| branch.path) {
            Ok(at) => at,
            Err(at) => {
                self.branches.insert(at, Branch { path: test.path, edges: Edges::Few(Vec::new()) });
                at
            }
        };
        if test.conditions.contains(&Condition::Absent) && !self.absences.contains(&test.path) {
            self.absences.push(test.path);
        }
        self.branches.get_mut(at)?.edges.edge_mut(&test.conditions)
    }

    fn remove_edge(&mut self, test: &Test) {
        let Ok(at) = self.branches.binary_search_by_key(&test.path, |branch| branch.path) else { return };
        let Some(branch) = self.branches.get_mut(at) else { return };
        branch.edges.remove_edge(&test.conditions);
        if branch.edges.is_empty() {
            self.branches.remove(at);
            self.absences.retain(|&path| path != test.path);
        }
    }

    fn branch(&self, path: PathId) -> Option<&Branch> {
        let at = self.branches.binary_search_by_key(&path, |branch| branch.path).ok()?;
        self.branches.get(at)
    }
}

impl Edges {
    fn edge_mut(&mut self, conditions: &Arc<[Condition]>) -> Option<&mut Edge> {
        self.index_when_many(conditions);
        match self {
            Self::Few(edges) => {
                let known = edges.iter().position(|edge| edge.conditions == *conditions);
                let at = known.unwrap_or(edges.len());
                if known.is_none() {
                    edges.push(Edge::new(conditions));
                }
                edges.get_mut(at)
            }
            Self::Many(index) => Arc::make_mut(index).edge_mut(conditions),
        }
    }

    fn index_when_many(&mut self, added: &[Condition]) {
        let Self::Few(edges) = self else { return };
        let conditions: usize = edges.iter().map(|edge| edge.conditions.len()).sum();
        if conditions + added.len() <= FEW || edges.iter().any(|edge| *edge.conditions == *added) {
            return;
        }
        let mut index = Index::default();
        for edge in edges.drain(..) {
            index.add_edge(edge);
        }
        *self = Self::Many(Arc::new(index));
    }

    fn remove_edge(&mut self, conditions: &Arc<[Condition]>) {
        match self {
            Self::Few(edges) => edges.retain(|edge| edge.conditions != *conditions),
            Self::Many(index) => Arc::make_mut(index).remove_edge(conditions),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(edges) => edges.is_empty(),
            Self::Many(index) => index.is_empty(),
        }
    }
}

/// The rules that match the event; a rule is there once for each of its conjunctions that holds.
pub(crate) fn walk(root: &Node, event: &Fields<'_>) -> Vec<u32> {
    let mut walk = Walk { event, rules: Vec::new(), edges: Vec::new(), found: Found::default() };
    walk.node(root);
    walk.rules
}

struct Walk<'a, 'e> {
    event: &'a Fields<'e>,
    rules: Vec<u32>,
    /// A stack: each indexed branch on the way down puts its edges on top.
    edges: Vec<u32>,
    found: Found,
}

impl Walk<'_, '_> {
    fn node(&mut self, node: &Node) {
        if let Some(end) = &node.end
            && self.is_consistent(&end.tests)
        {
            self.rules.extend_from_slice(&end.rules);
        }
        let event = self.event;
        if node.branches.len() <= event.paths() * 2 {
            for branch in &node.branches {
                self.branch(branch, event.at(branch.path));
            }
            return;
        }
        for (path, values) in event.iter() {
            if let Some(branch) = node.branch(path) {
                self.branch(branch, values);
            }
        }
        for path in node.absences.iter().filter(|path| event.at(**path).is_empty()) {
            if let Some(branch) = node.branch(*path) {
                self.branch(branch, &[]);
            }
        }
    }

    fn branch(&mut self, branch: &Branch, values: &[FieldValue<'_>]) {
        let index = match &branch.edges {
            Edges::Few(edges) => {
                for edge in edges.iter().filter(|edge| edge.holds(values)) {
                    self.node(&edge.child);
                }
                return;
            }
            Edges::Many(index) => index,
        };
        let start = self.edges.len();
        index.collect(values, &mut self.found, &mut self.edges);
        for at in start..self.edges.len() {
            if let Some(edge) = self.edges.get(at).and_then(|number| index.edge(*number)) {
                self.node(&edge.child);
            }
        }
        self.edges.truncate(start);
    }

    /// Whether the values that satisfy the tests can be of the same elements of every array.
    fn is_consistent(&self, tests: &[Test]) -> bool {
        let in_arrays = |test: &&Test| self.event.at(test.path).iter().any(|value| value.element > 0);
        if self.event.elements.is_empty() || tests.iter().filter(in_arrays).count() < 2 {
            return true;
        }
        let places = tests.iter().filter_map(|test| {
            let values = self.event.at(test.path);
            let holding = values.iter().filter(|value| accepts(&test.conditions, value));
            (!values.is_empty()).then(|| holding.map(|value| self.event.place(value)).collect())
        });
        arrays::is_consistent(places.collect())
    }
}
