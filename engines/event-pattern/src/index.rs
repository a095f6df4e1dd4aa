//! The alternatives that one node of the automaton has for one path, indexed by value: a look-up costs about the same
//! for ten alternatives as for a hundred thousand. Each kind of condition has its structure; the empty ones cost nothing.
//! `anything-but` is looked up as what it excludes: all such edges are taken but those whose exclusion was found.

use crate::address::Address;
use crate::condition::{Condition, Excluded, Literal, Scalar, Word};
use crate::fields::FieldValue;
use crate::net::Edge;
use crate::number::Number;
use crate::persistent::intervals::Intervals;
use crate::persistent::radix::Radix;
use crate::persistent::shard_map::ShardMap;
use crate::persistent::slab::Slab;
use crate::persistent::{Targets, drop_target};
use crate::text::fold;
use crate::wildcard_index::WildcardIndex;
use std::sync::Arc;

/// Reused lists, so that a look-up allocates nothing.
#[derive(Default)]
pub(crate) struct Found {
    targets: Vec<u32>,
    excluded: Vec<u32>,
}

#[derive(Clone, Default)]
pub(crate) struct Index {
    edges: Slab<Filed>,
    by_conditions: ShardMap<Arc<[Condition]>, u32>,
    texts: ShardMap<Arc<str>, Targets>,
    numbers: ShardMap<Number, Targets>,
    words: ShardMap<Word, Targets>,
    folded: ShardMap<Arc<str>, Targets>,
    prefixes: Radix,
    suffixes: Radix,
    folded_prefixes: Radix,
    folded_suffixes: Radix,
    wildcards: WildcardIndex,
    ranges: Intervals,
    networks: ShardMap<(bool, u8, u128), Targets>,
    network_lengths: Vec<NetworkLength>,
    present: Targets,
    absent: Targets,
    /// For each exclusion the edge it belongs to.
    exclusions: Slab<u32>,
}

/// An edge and its exclusions, in the order of its conditions.
#[derive(Clone)]
struct Filed {
    edge: Edge,
    exclusions: Vec<u32>,
}

/// How many networks of one length there are.
#[derive(Clone)]
struct NetworkLength {
    v6: bool,
    length: u8,
    count: usize,
}

/// A look-up's result: an edge (even) or the number of an exclusion (odd).
fn edge_target(edge: u32) -> u32 {
    edge << 1
}

fn exclusion_target(exclusion: u32) -> u32 {
    exclusion << 1 | 1
}

impl Index {
    /// The edge with exactly these conditions, made when there is none.
    pub(crate) fn edge_mut(&mut self, conditions: &Arc<[Condition]>) -> Option<&mut Edge> {
        let number = match self.by_conditions.get(conditions) {
            Some(number) => *number,
            None => self.add_edge(Edge::new(conditions)),
        };
        self.edges.get_mut(number).map(|filed| &mut filed.edge)
    }

    pub(crate) fn add_edge(&mut self, edge: Edge) -> u32 {
        let conditions = Arc::clone(&edge.conditions);
        let number = self.edges.insert(Filed { edge, exclusions: Vec::new() });
        self.by_conditions.edit(Arc::clone(&conditions), |place| {
            *place = number;
            true
        });
        let mut exclusions = Vec::new();
        for condition in conditions.iter() {
            match condition {
                Condition::AnythingBut(excluded) => exclusions.push(self.file_exclusion(excluded, number)),
                _ => self.file(condition, edge_target(number)),
            }
        }
        if let Some(filed) = self.edges.get_mut(number) {
            filed.exclusions = exclusions;
        }
        number
    }

    pub(crate) fn remove_edge(&mut self, conditions: &Arc<[Condition]>) {
        let Some(number) = self.by_conditions.get(conditions).copied() else { return };
        let Some(filed) = self.edges.remove(number) else { return };
        self.by_conditions.edit(Arc::clone(conditions), |_| false);
        let mut exclusions = filed.exclusions.into_iter();
        for condition in conditions.iter() {
            match condition {
                Condition::AnythingBut(excluded) => {
                    if let Some(exclusion) = exclusions.next() {
                        self.unfile_exclusion(excluded, exclusion);
                    }
                }
                _ => self.unfile(condition, edge_target(number)),
            }
        }
    }

    pub(crate) fn edge(&self, number: u32) -> Option<&Edge> {
        self.edges.get(number).map(|filed| &filed.edge)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Adds the edges that lead on for these values, or for the field's absence when there are none; sorted, each once.
    pub(crate) fn collect(&self, values: &[FieldValue<'_>], found: &mut Found, edges: &mut Vec<u32>) {
        let start = edges.len();
        if values.is_empty() {
            edges.extend(self.absent.iter().map(|target| target >> 1));
        }
        for value in values {
            found.targets.clear();
            self.look_up(&value.scalar, &mut found.targets);
            edges.extend(found.targets.iter().filter(|target| *target & 1 == 0).map(|target| target >> 1));
            if !self.exclusions.is_empty() {
                found.excluded.clear();
                found
                    .excluded
                    .extend(found.targets.iter().filter(|target| *target & 1 == 1).map(|target| target >> 1));
                found.excluded.sort_unstable();
                let kept = self
                    .exclusions
                    .iter()
                    .filter(|(number, _)| found.excluded.binary_search(number).is_err());
                edges.extend(kept.map(|(_, edge)| *edge));
            }
        }
        sort_from(edges, start);
    }

    fn look_up(&self, value: &Scalar<'_>, targets: &mut Vec<u32>) {
        targets.extend_from_slice(&self.present);
        let exact = match value {
            Scalar::Text(text) => {
                self.look_up_text(text, targets);
                self.texts.get(&**text)
            }
            Scalar::Number(number) => {
                if let (Some(micros), false) = (number.micros(), self.ranges.is_empty()) {
                    self.ranges.collect(micros, targets);
                }
                self.numbers.get(number)
            }
            Scalar::Word(word) => self.words.get(word),
        };
        targets.extend(exact.into_iter().flatten());
    }

    fn look_up_text(&self, text: &str, targets: &mut Vec<u32>) {
        let bytes = text.as_bytes();
        if !self.prefixes.is_empty() {
            self.prefixes.collect(bytes, false, targets);
        }
        if !self.suffixes.is_empty() {
            self.suffixes.collect(bytes, true, targets);
        }
        if !(self.folded.is_empty() && self.folded_prefixes.is_empty() && self.folded_suffixes.is_empty()) {
            let folded = fold(text);
            targets.extend(self.folded.get(&*folded).into_iter().flatten());
            self.folded_prefixes.collect(folded.as_bytes(), false, targets);
            self.folded_suffixes.collect(folded.as_bytes(), true, targets);
        }
        if !self.wildcards.is_empty() {
            self.wildcards.collect(bytes, targets);
        }
        if !self.networks.is_empty() {
            self.look_up_address(text, targets);
        }
    }

    fn look_up_address(&self, text: &str, targets: &mut Vec<u32>) {
        let Some(address) = Address::parse(text) else { return };
        for NetworkLength { v6, length, .. } in &self.network_lengths {
            if *v6 == address.v6 {
                let key = (*v6, *length, address.masked(*length).bits);
                targets.extend(self.networks.get(&key).into_iter().flatten());
            }
        }
    }

    fn file_exclusion(&mut self, excluded: &Excluded, edge: u32) -> u32 {
        let exclusion = self.exclusions.insert(edge);
        for condition in as_conditions(excluded) {
            self.file(&condition, exclusion_target(exclusion));
        }
        exclusion
    }

    fn unfile_exclusion(&mut self, excluded: &Excluded, exclusion: u32) {
        for condition in as_conditions(excluded) {
            self.unfile(&condition, exclusion_target(exclusion));
        }
        self.exclusions.remove(exclusion);
    }

    fn file(&mut self, condition: &Condition, target: u32) {
        match condition {
            Condition::Equals(Literal::Text(text)) => add(&mut self.texts, Arc::clone(text), target),
            Condition::Equals(Literal::Number(number, _)) => add(&mut self.numbers, *number, target),
            Condition::Equals(Literal::Word(word)) => add(&mut self.words, *word, target),
            Condition::EqualsIgnoreCase(text) => add(&mut self.folded, Arc::clone(text), target),
            Condition::Prefix(text) => self.prefixes.insert(text.as_bytes(), target),
            Condition::PrefixIgnoreCase(text) => self.folded_prefixes.insert(text.as_bytes(), target),
            Condition::Suffix(text) => self.suffixes.insert(&reversed(text), target),
            Condition::SuffixIgnoreCase(text) => self.folded_suffixes.insert(&reversed(text), target),
            Condition::Wildcard(wildcard) => self.wildcards.insert(wildcard, target),
            Condition::Range(range) => self.ranges.insert(range.low, range.high, target),
            Condition::Cidr(network) | Condition::Address(network, _) => {
                add(&mut self.networks, (network.address.v6, network.length, network.address.bits), target);
                self.count_network(network.address.v6, network.length, true);
            }
            Condition::Exists => self.present.push(target),
            Condition::Absent => self.absent.push(target),
            Condition::AnythingBut(_) => {}
        }
    }

    fn unfile(&mut self, condition: &Condition, target: u32) {
        match condition {
            Condition::Equals(Literal::Text(text)) => drop_from(&mut self.texts, Arc::clone(text), target),
            Condition::Equals(Literal::Number(number, _)) => drop_from(&mut self.numbers, *number, target),
            Condition::Equals(Literal::Word(word)) => drop_from(&mut self.words, *word, target),
            Condition::EqualsIgnoreCase(text) => drop_from(&mut self.folded, Arc::clone(text), target),
            Condition::Prefix(text) => self.prefixes.remove(text.as_bytes(), target),
            Condition::PrefixIgnoreCase(text) => self.folded_prefixes.remove(text.as_bytes(), target),
            Condition::Suffix(text) => self.suffixes.remove(&reversed(text), target),
            Condition::SuffixIgnoreCase(text) => self.folded_suffixes.remove(&reversed(text), target),
            Condition::Wildcard(wildcard) => self.wildcards.remove(wildcard, target),
            Condition::Range(range) => self.ranges.remove(range.low, range.high, target),
            Condition::Cidr(network) | Condition::Address(network, _) => {
                drop_from(
                    &mut self.networks,
                    (network.address.v6, network.length, network.address.bits),
                    target,
                );
                self.count_network(network.address.v6, network.length, false);
            }
            Condition::Exists => drop_target(&mut self.present, target),
            Condition::Absent => drop_target(&mut self.absent, target),
            Condition::AnythingBut(_) => {}
        }
    }

    fn count_network(&mut self, v6: bool, length: u8, more: bool) {
        let known = self.network_lengths.iter().position(|known| known.v6 == v6 && known.length == length);
        match (known, more) {
            (None, true) => self.network_lengths.push(NetworkLength { v6, length, count: 1 }),
            (None, false) => {}
            (Some(at), _) => {
                let known = &mut self.network_lengths[at];
                known.count = if more { known.count + 1 } else { known.count.saturating_sub(1) };
                if known.count == 0 {
                    self.network_lengths.swap_remove(at);
                }
            }
        }
    }
}

/// What an exclusion looks for, as conditions.
fn as_conditions(excluded: &Excluded) -> Vec<Condition> {
    match excluded {
        Excluded::Values(values) => values.iter().cloned().map(Condition::Equals).collect(),
        Excluded::EqualsIgnoreCase(texts) => texts.iter().cloned().map(Condition::EqualsIgnoreCase).collect(),
        Excluded::Prefix(texts) => texts.iter().cloned().map(Condition::Prefix).collect(),
        Excluded::Suffix(texts) => texts.iter().cloned().map(Condition::Suffix).collect(),
        Excluded::Wildcard(wildcards) => wildcards.iter().cloned().map(Condition::Wildcard).collect(),
    }
}

fn add<K: std::hash::Hash + Eq + Clone>(map: &mut ShardMap<K, Targets>, key: K, target: u32) {
    map.edit(key, |targets| {
        targets.push(target);
        true
    });
}

fn drop_from<K: std::hash::Hash + Eq + Clone>(map: &mut ShardMap<K, Targets>, key: K, target: u32) {
    map.edit(key, |targets| {
        drop_target(targets, target);
        !targets.is_empty()
    });
}

fn reversed(text: &str) -> Vec<u8> {
    text.bytes().rev().collect()
}

/// Sorts what lies behind `start` and drops what is there twice.
fn sort_from(edges: &mut Vec<u32>, start: usize) {
    if edges.len() < start + 2 {
        return;
    }
    edges[start..].sort_unstable();
    let mut kept = start;
    for at in start + 1..edges.len() {
        if edges[at] != edges[kept] {
            kept += 1;
            edges[kept] = edges[at];
        }
    }
    edges.truncate(kept + 1);
}
