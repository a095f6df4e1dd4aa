//! An event as the automaton sees it: the values of the paths that rules look at, grouped by path, each with its place
//! among the event's arrays.

use crate::arrays::Place;
use crate::condition::Scalar;
use crate::paths::PathId;
use smallvec::SmallVec;

/// A value at a path that some rule looks at.
pub(crate) struct FieldValue<'e> {
    pub(crate) path: PathId,
    pub(crate) scalar: Scalar<'e>,
    /// The innermost array element it lies in: an index into `Fields::elements` plus one, or 0.
    pub(crate) element: u32,
}

/// An element of an array, and the element that array lies in.
pub(crate) struct Element {
    pub(crate) outer: u32,
    pub(crate) array: u32,
    pub(crate) index: u32,
}

#[derive(Default)]
pub(crate) struct Fields<'e> {
    values: SmallVec<[FieldValue<'e>; 16]>,
    groups: SmallVec<[Group; 16]>,
    pub(crate) elements: Vec<Element>,
}

/// The values of one path.
struct Group {
    path: PathId,
    start: u32,
    end: u32,
}

impl<'e> Fields<'e> {
    pub(crate) fn push(&mut self, path: PathId, scalar: Scalar<'e>, element: u32) {
        self.values.push(FieldValue { path, scalar, element });
    }

    /// Registers the array elements around a value, given outermost first, and answers the innermost.
    pub(crate) fn enter(&mut self, place: &[(u32, u32)]) -> u32 {
        place.iter().fold(0, |outer, &(array, index)| {
            self.elements.push(Element { outer, array, index });
            self.elements.len() as u32
        })
    }

    /// Sorts the values by path; to be called once, after the last `push`.
    pub(crate) fn group(&mut self) {
        self.values.sort_by_key(|value| value.path);
        for (at, value) in (0u32..).zip(&self.values) {
            match self.groups.last_mut() {
                Some(group) if group.path == value.path => group.end = at + 1,
                _ => self.groups.push(Group { path: value.path, start: at, end: at + 1 }),
            }
        }
    }

    /// How many different paths have values.
    pub(crate) fn paths(&self) -> usize {
        self.groups.len()
    }

    /// The values at `path`; none when the event lacks it.
    pub(crate) fn at(&self, path: PathId) -> &[FieldValue<'e>] {
        let found = self.groups.binary_search_by_key(&path, |group| group.path);
        found.ok().and_then(|at| self.groups.get(at)).map_or(&[], |group| self.in_group(group))
    }

    /// All paths with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PathId, &[FieldValue<'e>])> {
        self.groups.iter().map(|group| (group.path, self.in_group(group)))
    }

    /// The array elements a value lies in, outermost first.
    pub(crate) fn place(&self, value: &FieldValue<'_>) -> Place {
        let mut place = Place::new();
        let mut at = value.element;
        while let Some(element) = (at as usize).checked_sub(1).and_then(|at| self.elements.get(at)) {
            place.push((element.array, element.index));
            at = element.outer;
        }
        place.reverse();
        place
    }

    fn in_group(&self, group: &Group) -> &[FieldValue<'e>] {
        self.values.get(group.start as usize..group.end as usize).unwrap_or(&[])
    }
}
