//! Many patterns matched at once, against events as JSON text.
//!
//! A match has two steps. `scan` reads the event once, follows only the names that some rule uses and skips the rest;
//! what it finds is unescaped and numbers are parsed. `net` then walks an automaton whose edges are fields' alternatives:
//! narrow tests (values) come before broad ones (`anything-but`, `exists`), equal beginnings are shared, and where a node
//! has many alternatives for a path they are indexed by value: hash tables for values, radix trees for prefixes and
//! suffixes, an interval tree for ranges, grams for wildcards. So a match costs what the event and the edges that hold
//! cost, not what the rules cost. Fields in arrays are compared for consistency only for rules that otherwise match.
//!
//! Readers never wait: they work on a snapshot. The writer changes the pieces a rule touches (`persistent`) and
//! publishes the next one.

use crate::condition::Scalar;
use crate::error::EventError;
use crate::fields::Fields;
use crate::flatten::flatten;
use crate::net::{self, Node, Test, Tests};
use crate::paths::{PathNode, Paths};
use crate::pattern::{Conjunction, Pattern};
use crate::persistent::slab::Slab;
use crate::scan::scan;
use arc_swap::ArcSwap;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A set of patterns, each under a name of the caller's. Shared between threads; matching takes no lock.
pub struct Matcher<Id> {
    writer: Mutex<Writer<Id>>,
    current: ArcSwap<Snapshot<Id>>,
}

/// The patterns at one moment.
pub struct Snapshot<Id> {
    root: Arc<Node>,
    paths: Arc<PathNode>,
    names: Slab<Id>,
}

/// Changes to a matcher that become visible together.
pub struct Edit<'m, Id> {
    writer: MutexGuard<'m, Writer<Id>>,
}

struct Writer<Id> {
    rules: HashMap<Id, Rule>,
    paths: Paths,
    root: Arc<Node>,
    names: Slab<Id>,
}

/// What the automaton holds for one pattern.
struct Rule {
    number: u32,
    pattern: Pattern,
    conjunctions: Vec<Tests>,
}

impl<Id: Clone + Eq + Hash> Matcher<Id> {
    /// A matcher without patterns.
    pub fn new() -> Self {
        let writer = Writer {
            rules: HashMap::new(),
            paths: Paths::default(),
            root: Arc::default(),
            names: Slab::default(),
        };
        let current = ArcSwap::from_pointee(writer.snapshot());
        Self { writer: Mutex::new(writer), current }
    }

    /// Adds a pattern, replacing the one of the same name.
    pub fn add(&self, id: Id, pattern: &Pattern) {
        self.update(|edit| edit.add(id, pattern));
    }

    /// Removes a pattern; false when there was none of that name.
    pub fn remove(&self, id: &Id) -> bool {
        self.update(|edit| edit.remove(id))
    }

    /// Makes several changes at once: readers see all of them or none. Cheaper than one by one.
    pub fn update<T>(&self, change: impl FnOnce(&mut Edit<'_, Id>) -> T) -> T {
        let mut edit = Edit { writer: self.writer.lock().unwrap_or_else(PoisonError::into_inner) };
        let result = change(&mut edit);
        self.current.store(Arc::new(edit.writer.snapshot()));
        result
    }

    /// The patterns as they are now, for matching several events against the same set.
    pub fn snapshot(&self) -> Arc<Snapshot<Id>> {
        self.current.load_full()
    }

    /// The names of the patterns that match an event, in no particular order.
    ///
    /// # Errors
    /// `EventError` when the text is not a JSON object. What no pattern looks at is not checked.
    pub fn matches(&self, event: &str) -> Result<Vec<Id>, EventError> {
        self.current.load().matches(event)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).rules.len()
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<Id: Clone + Eq + Hash> Default for Matcher<Id> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Id: Clone> Snapshot<Id> {
    /// As `Matcher::matches`.
    ///
    /// # Errors
    /// As `Matcher::matches`.
    pub fn matches(&self, event: &str) -> Result<Vec<Id>, EventError> {
        let mut fields = Fields::default();
        scan(event, &self.paths, &mut fields)?;
        Ok(self.walk(&fields))
    }

    /// The names of the patterns that match an event that has been parsed already.
    pub fn matches_value(&self, event: &Value) -> Vec<Id> {
        let mut fields = Fields::default();
        for leaf in flatten(event) {
            let element = fields.enter(&leaf.elements);
            self.push(&mut fields, &leaf.path, leaf.value, element);
        }
        fields.group();
        self.walk(&fields)
    }

    /// The names of the patterns that match these named values; a name may come more than once, as in a list.
    pub fn matches_fields<'e>(&self, values: impl IntoIterator<Item = (&'e str, Scalar<'e>)>) -> Vec<Id> {
        let mut fields = Fields::default();
        for (name, value) in values {
            self.push(&mut fields, name, value, 0);
        }
        fields.group();
        self.walk(&fields)
    }

    fn push<'e>(&self, fields: &mut Fields<'e>, path: &str, value: Scalar<'e>, element: u32) {
        if let Some(path) = self.paths.descend(path).and_then(|node| node.id) {
            fields.push(path, value, element);
        }
    }

    fn walk(&self, fields: &Fields<'_>) -> Vec<Id> {
        let mut rules = net::walk(&self.root, fields);
        if rules.len() > 1 {
            rules.sort_unstable();
            rules.dedup();
        }
        rules.into_iter().filter_map(|rule| self.names.get(rule).cloned()).collect()
    }
}

impl<Id: Clone + Eq + Hash> Edit<'_, Id> {
    /// Adds a pattern, replacing the one of the same name.
    pub fn add(&mut self, id: Id, pattern: &Pattern) {
        self.remove(&id);
        let writer = &mut *self.writer;
        let number = writer.names.insert(id.clone());
        let conjunctions: Vec<Tests> =
            pattern.conjunctions().iter().map(|fields| tests(fields, &mut writer.paths)).collect();
        for tests in &conjunctions {
            net::insert(&mut writer.root, tests, number);
        }
        writer.rules.insert(id, Rule { number, pattern: pattern.clone(), conjunctions });
    }

    /// Removes a pattern; false when there was none of that name.
    pub fn remove(&mut self, id: &Id) -> bool {
        let writer = &mut *self.writer;
        let Some(rule) = writer.rules.remove(id) else { return false };
        for tests in &rule.conjunctions {
            net::remove(&mut writer.root, tests, rule.number);
        }
        for field in rule.pattern.conjunctions().iter().flatten() {
            writer.paths.release(&field.path);
        }
        writer.names.remove(rule.number);
        true
    }
}

fn tests(fields: &Conjunction, paths: &mut Paths) -> Tests {
    let mut tests: Vec<Test> = fields
        .iter()
        .map(|field| Test { path: paths.claim(&field.path), conditions: Arc::clone(&field.conditions) })
        .collect();
    net::order(&mut tests);
    tests.into()
}

impl<Id> Writer<Id> {
    fn snapshot(&self) -> Snapshot<Id> {
        Snapshot {
            root: Arc::clone(&self.root),
            paths: Arc::clone(&self.paths.tree),
            names: self.names.clone(),
        }
    }
}
