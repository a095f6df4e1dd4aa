//! Key conditions of queries: the hash key equals a value, and the range key may be bounded.

use crate::{
    AttributeValue, Condition, Invalid, Item, Scope,
    condition::{Comparison, order},
    operand::Operand,
};

const KIND: &str = "KeyConditionExpression";

/// What a query asks of the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyCondition {
    pub hash: AttributeValue,
    pub range: Option<RangeCondition>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RangeCondition {
    Equal(AttributeValue),
    Less(AttributeValue),
    LessOrEqual(AttributeValue),
    Greater(AttributeValue),
    GreaterOrEqual(AttributeValue),
    Between(AttributeValue, AttributeValue),
    BeginsWith(AttributeValue),
}

impl KeyCondition {
    /// Parses a key condition against a table's or index's key names.
    pub fn parse(
        text: &str,
        scope: &Scope<'_>,
        hash_name: &str,
        range_name: Option<&str>,
    ) -> Result<KeyCondition, Invalid> {
        let condition = Condition::parse(KIND, text, scope)?;
        let mut parts = Vec::new();
        flatten(condition, &mut parts)?;
        KeyCondition::of_parts(parts, hash_name, range_name)
    }

    /// The same of conditions that were read already, one a key.
    ///
    /// # Errors
    /// A key is named twice or without an equality, or another attribute is named.
    pub fn of_parts(
        parts: Vec<Condition>,
        hash_name: &str,
        range_name: Option<&str>,
    ) -> Result<KeyCondition, Invalid> {
        let (mut hash, mut range) = (None, None);
        for part in parts {
            let (name, bound) = bound(part)?;
            if name == hash_name {
                let RangeCondition::Equal(value) = bound else {
                    return Err(Invalid::new("Query key condition not supported"));
                };
                if hash.replace(value).is_some() {
                    return Err(Invalid::new(format!("{KIND}s must only contain one condition per key")));
                }
            } else if Some(name.as_str()) == range_name {
                if range.replace(bound).is_some() {
                    return Err(Invalid::new(format!("{KIND}s must only contain one condition per key")));
                }
            } else {
                return Err(Invalid::new(format!(
                    "Query condition missed key schema element: {}",
                    range_name.filter(|_| hash.is_some()).unwrap_or(hash_name)
                )));
            }
        }
        let hash = hash
            .ok_or_else(|| Invalid::new(format!("Query condition missed key schema element: {hash_name}")))?;
        Ok(KeyCondition { hash, range })
    }
}

impl RangeCondition {
    /// Whether a range key is within.
    pub fn holds(&self, value: &AttributeValue) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let is = |other: &AttributeValue, wanted: &[std::cmp::Ordering]| {
            order(value, other).is_some_and(|found| wanted.contains(&found))
        };
        match self {
            RangeCondition::Equal(other) => is(other, &[Equal]),
            RangeCondition::Less(other) => is(other, &[Less]),
            RangeCondition::LessOrEqual(other) => is(other, &[Less, Equal]),
            RangeCondition::Greater(other) => is(other, &[Greater]),
            RangeCondition::GreaterOrEqual(other) => is(other, &[Greater, Equal]),
            RangeCondition::Between(low, high) => is(low, &[Greater, Equal]) && is(high, &[Less, Equal]),
            RangeCondition::BeginsWith(prefix) => {
                let item: Item = [("k".to_string(), value.clone())].into();
                let path = crate::Path { root: "k".into(), steps: Vec::new() };
                Condition::BeginsWith(Operand::Path(path), Operand::Value(prefix.clone())).holds(&item)
            }
        }
    }

    /// The values it names, to be checked against the key's type.
    pub fn values(&self) -> Vec<&AttributeValue> {
        match self {
            RangeCondition::Equal(v)
            | RangeCondition::Less(v)
            | RangeCondition::LessOrEqual(v)
            | RangeCondition::Greater(v)
            | RangeCondition::GreaterOrEqual(v)
            | RangeCondition::BeginsWith(v) => vec![v],
            RangeCondition::Between(low, high) => vec![low, high],
        }
    }
}

fn flatten(condition: Condition, parts: &mut Vec<Condition>) -> Result<(), Invalid> {
    match condition {
        Condition::And(a, b) => {
            flatten(*a, parts)?;
            flatten(*b, parts)
        }
        Condition::Or(..) => Err(Invalid::new(format!("Invalid operator used in {KIND}: OR"))),
        Condition::Not(..) => Err(Invalid::new(format!("Invalid operator used in {KIND}: NOT"))),
        Condition::In(..) => Err(Invalid::new(format!("Invalid operator used in {KIND}: IN"))),
        Condition::Exists(_) => {
            Err(Invalid::new(format!("Invalid operator used in {KIND}: attribute_exists")))
        }
        Condition::NotExists(_) => {
            Err(Invalid::new(format!("Invalid operator used in {KIND}: attribute_not_exists")))
        }
        Condition::Type(..) => Err(Invalid::new(format!("Invalid operator used in {KIND}: attribute_type"))),
        Condition::Contains(..) => Err(Invalid::new(format!("Invalid operator used in {KIND}: contains"))),
        Condition::Compare(Comparison::NotEqual, ..) => {
            Err(Invalid::new(format!("Invalid operator used in {KIND}: <>")))
        }
        other => {
            parts.push(other);
            Ok(())
        }
    }
}

/// The attribute and bound of one part. The attribute may stand on either side.
fn bound(part: Condition) -> Result<(String, RangeCondition), Invalid> {
    let unsupported = || {
        Invalid::new(format!("Invalid condition in {KIND}: Multiple attribute names used in one condition"))
    };
    let value = |operand: Operand| match operand {
        Operand::Value(value) => Ok(value),
        _ => Err(unsupported()),
    };
    let name = |operand: &Operand| match operand {
        Operand::Path(path) if path.steps.is_empty() => Ok(path.root.clone()),
        Operand::Path(_) => Err(Invalid::new(format!("{KIND}s cannot have conditions on nested attributes"))),
        _ => Err(Invalid::new(format!("Invalid condition in {KIND}: No key attribute specified"))),
    };
    Ok(match part {
        Condition::Compare(comparison, left, right) => {
            let (operand, other, turned) =
                if left.as_path().is_some() { (left, right, false) } else { (right, left, true) };
            let (name, value) = (name(&operand)?, value(other)?);
            let bound = match (comparison, turned) {
                (Comparison::Equal, _) => RangeCondition::Equal(value),
                (Comparison::Less, false) | (Comparison::Greater, true) => RangeCondition::Less(value),
                (Comparison::LessOrEqual, false) | (Comparison::GreaterOrEqual, true) => {
                    RangeCondition::LessOrEqual(value)
                }
                (Comparison::Greater, false) | (Comparison::Less, true) => RangeCondition::Greater(value),
                (Comparison::GreaterOrEqual, false) | (Comparison::LessOrEqual, true) => {
                    RangeCondition::GreaterOrEqual(value)
                }
                (Comparison::NotEqual, _) => return Err(unsupported()),
            };
            (name, bound)
        }
        Condition::Between(operand, low, high) => {
            (name(&operand)?, RangeCondition::Between(value(low)?, value(high)?))
        }
        Condition::BeginsWith(operand, prefix) => {
            (name(&operand)?, RangeCondition::BeginsWith(value(prefix)?))
        }
        _ => return Err(Invalid::new("Query key condition not supported")),
    })
}
