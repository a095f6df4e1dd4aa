//! Attribute values and items.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Invalid, Number};

/// Attribute name → value.
pub type Item = BTreeMap<String, AttributeValue>;

/// Nesting of lists and maps that DynamoDB takes.
pub const MOST_DEPTH: usize = 32;
/// What an item may weigh, in bytes.
pub const MOST_ITEM: usize = 400 * 1024;

/// One value. Sets keep the order in which they were given; equality of sets does not see it.
#[derive(Debug, Clone, Default)]
pub enum AttributeValue {
    S(String),
    N(Number),
    B(Bytes),
    Bool(bool),
    #[default]
    Null,
    Ss(Vec<String>),
    Ns(Vec<Number>),
    Bs(Vec<Bytes>),
    L(Vec<AttributeValue>),
    M(Item),
}

impl AttributeValue {
    /// As AWS names the type: `S`, `N`, `BOOL`, …
    pub fn type_name(&self) -> &'static str {
        match self {
            AttributeValue::S(_) => "S",
            AttributeValue::N(_) => "N",
            AttributeValue::B(_) => "B",
            AttributeValue::Bool(_) => "BOOL",
            AttributeValue::Null => "NULL",
            AttributeValue::Ss(_) => "SS",
            AttributeValue::Ns(_) => "NS",
            AttributeValue::Bs(_) => "BS",
            AttributeValue::L(_) => "L",
            AttributeValue::M(_) => "M",
        }
    }

    /// What the value weighs. Source: "DynamoDB item sizes and formats".
    pub fn size(&self) -> usize {
        match self {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(number) => number.size(),
            AttributeValue::B(bytes) => bytes.len(),
            AttributeValue::Bool(_) | AttributeValue::Null => 1,
            AttributeValue::Ss(set) => set.iter().map(String::len).sum(),
            AttributeValue::Ns(set) => set.iter().map(Number::size).sum(),
            AttributeValue::Bs(set) => set.iter().map(Bytes::len).sum(),
            AttributeValue::L(list) => 3 + list.iter().map(|value| value.size() + 1).sum::<usize>(),
            AttributeValue::M(map) => {
                3 + map.iter().map(|(name, value)| name.len() + value.size() + 1).sum::<usize>()
            }
        }
    }

    /// Checks what its own type cannot say: sets are not empty and hold nothing twice, nesting has a limit.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_within(MOST_DEPTH)
    }

    fn check_within(&self, depth: usize) -> Result<(), Invalid> {
        let inner = |values: &mut dyn Iterator<Item = &AttributeValue>| {
            let Some(left) = depth.checked_sub(1) else {
                return Err(Invalid::new(
                    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
                ));
            };
            for value in values {
                value.check_within(left)?;
            }
            Ok(())
        };
        match self {
            AttributeValue::Ss(set) if set.is_empty() => Err(Invalid::new(
                "One or more parameter values were invalid: An string set  may not be empty",
            )),
            AttributeValue::Ns(set) if set.is_empty() => Err(Invalid::new(
                "One or more parameter values were invalid: An number set  may not be empty",
            )),
            AttributeValue::Bs(set) if set.is_empty() => Err(Invalid::new(
                "One or more parameter values were invalid: Binary sets should not be empty",
            )),
            AttributeValue::Ss(set) => twice(set, |set| format!("[{}]", set.join(", "))),
            AttributeValue::Bs(set) => twice(set, |_| "[]".into()),
            AttributeValue::Ns(set) => match has_twice(set) {
                true => Err(Invalid::new("Input collection contains duplicates")),
                false => Ok(()),
            },
            AttributeValue::L(list) => inner(&mut list.iter()),
            AttributeValue::M(map) => inner(&mut map.values()),
            _ => Ok(()),
        }
    }
}

fn twice<T: Ord>(set: &[T], print: impl Fn(&[T]) -> String) -> Result<(), Invalid> {
    match has_twice(set) {
        true => Err(Invalid::new(format!(
            "One or more parameter values were invalid: Input collection {} contains duplicates.",
            print(set)
        ))),
        false => Ok(()),
    }
}

fn has_twice<T: Ord>(set: &[T]) -> bool {
    let mut sorted: Vec<&T> = set.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

impl PartialEq for AttributeValue {
    fn eq(&self, other: &AttributeValue) -> bool {
        match (self, other) {
            (AttributeValue::S(a), AttributeValue::S(b)) => a == b,
            (AttributeValue::N(a), AttributeValue::N(b)) => a == b,
            (AttributeValue::B(a), AttributeValue::B(b)) => a == b,
            (AttributeValue::Bool(a), AttributeValue::Bool(b)) => a == b,
            (AttributeValue::Null, AttributeValue::Null) => true,
            (AttributeValue::Ss(a), AttributeValue::Ss(b)) => same_set(a, b),
            (AttributeValue::Ns(a), AttributeValue::Ns(b)) => same_set(a, b),
            (AttributeValue::Bs(a), AttributeValue::Bs(b)) => same_set(a, b),
            (AttributeValue::L(a), AttributeValue::L(b)) => a == b,
            (AttributeValue::M(a), AttributeValue::M(b)) => a == b,
            _ => false,
        }
    }
}

fn same_set<T: Ord>(a: &[T], b: &[T]) -> bool {
    let sorted = |set: &[T]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..set.len()).collect();
        order.sort_by(|x, y| set[*x].cmp(&set[*y]));
        order
    };
    a.len() == b.len() && sorted(a).into_iter().zip(sorted(b)).all(|(x, y)| a[x] == b[y])
}

/// What an item weighs: names and values.
pub fn item_size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_equal_in_any_order() {
        let set = |items: &[&str]| AttributeValue::Ss(items.iter().map(|s| s.to_string()).collect());
        assert_eq!(set(&["a", "b"]), set(&["b", "a"]));
        assert_ne!(set(&["a", "b"]), set(&["a", "c"]));
        assert!(set(&["a", "a"]).check().is_err());
        assert!(set(&[]).check().unwrap_err().0.ends_with("An string set  may not be empty"));
    }

    #[test]
    fn nesting_has_a_limit() {
        let mut value = AttributeValue::Bool(true);
        for _ in 0..32 {
            value = AttributeValue::L(vec![value]);
        }
        assert!(value.check().is_ok());
        assert!(AttributeValue::L(vec![value]).check().is_err());
    }
}
