//! Array consistency: of the values that satisfy each field, one must be chosen so that no two chosen values lie in
//! different elements of the same array. Arrays nest, so the choice is made array by array from the outside: fields
//! that share an array need one element that serves them all, fields that share none are independent.

use std::collections::BTreeMap;

/// The elements a value lies in, outermost first: (array, index).
pub(crate) type Place = Vec<(u32, u32)>;

/// What is left of a place behind the steps already decided.
type Steps<'p> = &'p [(u32, u32)];

/// A field's remaining places.
type Places<'p> = Vec<Steps<'p>>;

/// Arrays, and the fields that lie in them.
type Group<'p> = (Vec<u32>, Vec<Places<'p>>);

/// How many places are looked at beyond the number an ordinary event needs. More are wanted only where one path leads
/// through several arrays at once (repeated names, or names with dots) over and over; such an event then counts as
/// inconsistent.
const SPARE_WORK: usize = 1_000_000;

/// Whether one place can be chosen for each field without contradiction.
pub(crate) fn is_consistent(fields: Vec<Vec<Place>>) -> bool {
    let mut work = SPARE_WORK + 4 * fields.iter().flatten().map(|place| place.len() + 1).sum::<usize>();
    let fields = fields.iter().map(|places| places.iter().map(Vec::as_slice).collect()).collect();
    solve(fields, &mut work)
}

fn solve(fields: Vec<Places<'_>>, work: &mut usize) -> bool {
    *work = work.saturating_sub(fields.iter().map(Vec::len).sum());
    if *work == 0 || fields.iter().any(Vec::is_empty) {
        return false;
    }
    // A value outside all remaining arrays contradicts nothing.
    let bound: Vec<_> =
        fields.into_iter().filter(|places| !places.iter().any(|place| place.is_empty())).collect();
    if bound.len() < 2 {
        return true;
    }
    components(bound).into_iter().all(|group| solve_group(group, work))
}

/// Splits the fields into groups that have no array in common.
fn components(fields: Vec<Places<'_>>) -> Vec<Vec<Places<'_>>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for field in fields {
        let mut arrays: Vec<u32> =
            field.iter().filter_map(|place| place.first()).map(|step| step.0).collect();
        arrays.sort_unstable();
        arrays.dedup();
        let mut members = vec![field];
        groups.retain_mut(|(others, theirs)| {
            let shared = others.iter().any(|array| arrays.contains(array));
            if shared {
                arrays.append(others);
                members.append(theirs);
            }
            !shared
        });
        groups.push((arrays, members));
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

fn solve_group(fields: Vec<Places<'_>>, work: &mut usize) -> bool {
    let [first, _, ..] = fields.as_slice() else { return true };
    let mut arrays: Vec<u32> = first.iter().filter_map(|place| place.first()).map(|step| step.0).collect();
    arrays.dedup();
    arrays.into_iter().any(|array| solve_array(&fields, array, work))
}

/// Tries each element of `array` that the first field has a value in.
fn solve_array(fields: &[Places<'_>], array: u32, work: &mut usize) -> bool {
    let by_element: Vec<Split<'_>> = fields.iter().map(|places| Split::new(places, array)).collect();
    let Some(first) = by_element.first() else { return true };
    first.inside.keys().any(|index| solve(chosen(&by_element, *index), work))
}

/// A field's values: those in each element of one array, without that step, and those elsewhere.
struct Split<'p> {
    inside: BTreeMap<u32, Places<'p>>,
    elsewhere: Places<'p>,
}

impl<'p> Split<'p> {
    fn new(places: &[Steps<'p>], array: u32) -> Self {
        let mut split = Self { inside: BTreeMap::new(), elsewhere: Vec::new() };
        for place in places {
            match place {
                [(its, index), rest @ ..] if *its == array => {
                    split.inside.entry(*index).or_default().push(rest)
                }
                _ => split.elsewhere.push(place),
            }
        }
        split
    }
}

fn chosen<'p>(fields: &[Split<'p>], index: u32) -> Vec<Places<'p>> {
    fields
        .iter()
        .map(|split| {
            let mut places = split.elsewhere.clone();
            places.extend(split.inside.get(&index).into_iter().flatten());
            places
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Place, is_consistent};
    use proptest::prelude::*;

    /// Every choice of one place each, compared pairwise.
    fn brute(fields: &[Vec<Place>], taken: &mut Vec<Place>) -> bool {
        let Some((places, rest)) = fields.split_first() else { return true };
        places.iter().any(|place| {
            let clash = taken
                .iter()
                .flatten()
                .any(|(array, index)| place.iter().any(|(other, its)| other == array && its != index));
            if clash {
                return false;
            }
            taken.push(place.clone());
            let found = brute(rest, taken);
            taken.pop();
            found
        })
    }

    /// Places as flattening makes them: an inner array belongs to one element of its outer array.
    fn place() -> impl Strategy<Value = Place> {
        let step = prop::collection::vec((0u32..2, 0u32..3), 0..3);
        step.prop_map(|choices| {
            let mut scope = 1;
            let mut place = Place::new();
            for (which, index) in choices {
                let array = scope * 10 + which;
                place.push((array, index));
                scope = array * 4 + index;
            }
            place
        })
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_choice(
            fields in prop::collection::vec(prop::collection::vec(place(), 0..4), 0..5),
        ) {
            let expected = brute(&fields, &mut Vec::new());
            prop_assert_eq!(is_consistent(fields), expected);
        }
    }
}
