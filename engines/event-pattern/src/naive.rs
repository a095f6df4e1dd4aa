//! Matching by the plain definition, one pattern at a time. It is what the matcher is tested against, and what
//! `explain` reports from. Fields that fall into arrays are checked for consistency by `arrays`.

use crate::arrays;
use crate::condition::Condition;
use crate::flatten::Leaf;
use crate::pattern::{Conjunction, Field};

pub(crate) fn matches(conjunctions: &[Conjunction], leaves: &[Leaf<'_>]) -> bool {
    conjunctions.iter().any(|fields| fields_hold(fields, leaves) && is_consistent(fields, leaves))
}

fn fields_hold(fields: &[Field], leaves: &[Leaf<'_>]) -> bool {
    fields.iter().all(|field| holds(field, leaves))
}

/// Whether the field's list has an alternative that some value of the field, or its absence, satisfies.
pub(crate) fn holds(field: &Field, leaves: &[Leaf<'_>]) -> bool {
    is_missing(field, leaves) || accepted(field, leaves).next().is_some()
}

/// Whether the conditions that hold can hold within the same elements of every array.
pub(crate) fn is_consistent(fields: &[Field], leaves: &[Leaf<'_>]) -> bool {
    let places = fields
        .iter()
        .filter(|field| !is_missing(field, leaves))
        .map(|field| accepted(field, leaves).map(|leaf| leaf.elements.clone()).collect())
        .collect();
    arrays::is_consistent(places)
}

fn is_missing(field: &Field, leaves: &[Leaf<'_>]) -> bool {
    field.conditions.contains(&Condition::Absent) && !leaves.iter().any(|leaf| leaf.path == *field.path)
}

fn accepted<'a, 'e>(field: &'a Field, leaves: &'a [Leaf<'e>]) -> impl Iterator<Item = &'a Leaf<'e>> {
    leaves
        .iter()
        .filter(|leaf| leaf.path == *field.path)
        .filter(|leaf| field.conditions.iter().any(|condition| condition.accepts(&leaf.value)))
}
