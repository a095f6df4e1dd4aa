//! The parameters of before expressions (`Expected`, `AttributeUpdates`, `KeyConditions`, `QueryFilter`, `ScanFilter`,
//! `AttributesToGet`), turned into what expressions are parsed to. Source: "Legacy conditional parameters" in the
//! DynamoDB developer guide; the sentences are DynamoDB's.

use std::collections::BTreeMap;

use tidemill_dynamo_expression::{
    AttributeValue, Condition, KeyCondition, Operand, Path, Projection, Update, condition::Comparison,
    update::Value,
};
use tidemill_platform::Fault;

use crate::{
    api::{
        AttributeAction, AttributeValueUpdate, ComparisonOperator, Condition as Asked, ConditionalOperator,
        ExpectedAttributeValue,
    },
    schema::Keys,
    writing::invalid,
};

/// Names of parameters and whether they are there.
type Given<'a> = &'a [(&'a str, bool)];

fn wrong(what: impl std::fmt::Display) -> Fault {
    Fault::validation(format!("One or more parameter values were invalid: {what}"))
}

/// Refuses old and new parameters in one request.
pub fn one_kind(old: Given<'_>, new: Given<'_>) -> Result<(), Fault> {
    let named = |given: Given<'_>| -> String {
        given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let (old, new) = (named(old), named(new));
    if old.is_empty() || new.is_empty() {
        return Ok(());
    }
    Err(Fault::validation(format!(
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {{{old}}} Expression parameters: {{{new}}}"
    )))
}

/// `Expected`: what must hold for a write.
pub fn expected(
    list: Option<&BTreeMap<String, ExpectedAttributeValue>>,
    operator: Option<&ConditionalOperator>,
) -> Result<Option<Condition>, Fault> {
    check_operator(list.map(BTreeMap::len), operator)?;
    let conditions: Result<Vec<_>, _> =
        list.into_iter().flatten().map(|(name, asked)| expectation(name, asked)).collect();
    Ok(joined(conditions?, operator))
}

fn expectation(name: &str, asked: &ExpectedAttributeValue) -> Result<Condition, Fault> {
    let ExpectedAttributeValue { value, exists, comparison_operator, attribute_value_list: list } = asked;
    if value.is_some() && list.is_some() {
        return Err(wrong(format!(
            "Value and AttributeValueList cannot be used together for Attribute: {name}"
        )));
    }
    if let Some(operator) = comparison_operator {
        if exists.is_some() {
            return Err(wrong(format!(
                "Exists and ComparisonOperator cannot be used together for Attribute: {name}"
            )));
        }
        let has_values = value.is_some() || list.is_some();
        if !has_values && !matches!(operator, ComparisonOperator::Null | ComparisonOperator::NotNull) {
            return Err(wrong(format!(
                "Value or AttributeValueList must be used with ComparisonOperator: {} for Attribute: {name}",
                operator.as_str()
            )));
        }
        let values = list.clone().unwrap_or_else(|| value.iter().cloned().collect());
        return comparison(name, operator, values);
    }
    if list.is_some() {
        return Err(wrong(format!(
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
        )));
    }
    match (value, exists) {
        (Some(value), None | Some(true)) => comparison(name, &ComparisonOperator::Eq, vec![value.clone()]),
        (Some(_), Some(false)) => {
            Err(wrong(format!("Value cannot be used when Exists is false for Attribute: {name}")))
        }
        (None, Some(false)) => Ok(Condition::NotExists(path(name))),
        (None, Some(true)) => {
            Err(wrong(format!("Value must be provided when Exists is true for Attribute: {name}")))
        }
        (None, None) => {
            Err(wrong(format!("Value must be provided when Exists is null for Attribute: {name}")))
        }
    }
}

/// `QueryFilter` or `ScanFilter`; `keys` are those that a query's filter must not name.
pub fn filter(
    list: Option<&BTreeMap<String, Asked>>,
    operator: Option<&ConditionalOperator>,
    keys: Option<&Keys>,
) -> Result<Option<Condition>, Fault> {
    check_operator(list.map(BTreeMap::len), operator)?;
    let mut conditions = Vec::new();
    for (name, asked) in list.into_iter().flatten() {
        if keys.is_some_and(|keys| keys.names().any(|key| key == name)) {
            return Err(Fault::validation(format!(
                "QueryFilter can only contain non-primary key attributes: Primary key attribute: {name}"
            )));
        }
        let values = asked.attribute_value_list.clone().unwrap_or_default();
        conditions.push(comparison(name, &asked.comparison_operator, values)?);
    }
    Ok(joined(conditions, operator))
}

/// `KeyConditions` of a query.
pub fn key_conditions(list: &BTreeMap<String, Asked>, keys: &Keys) -> Result<KeyCondition, Fault> {
    if list.is_empty() || list.len() > 2 {
        return Err(Fault::validation("Conditions can be of length 1 or 2 only"));
    }
    let mut parts = Vec::new();
    for (name, asked) in list {
        use ComparisonOperator::{BeginsWith, Between, Eq, Ge, Gt, Le, Lt};
        if !matches!(asked.comparison_operator, BeginsWith | Between | Eq | Ge | Gt | Le | Lt) {
            return Err(Fault::validation("Attempted conditional constraint is not an indexable operation"));
        }
        let values = asked.attribute_value_list.clone().unwrap_or_default();
        parts.push(comparison(name, &asked.comparison_operator, values)?);
    }
    KeyCondition::of_parts(parts, &keys.hash, keys.range.as_deref()).map_err(invalid)
}

/// `AttributesToGet`.
pub fn attributes_to_get(names: Option<Vec<String>>) -> Result<Option<Projection>, Fault> {
    let Some(names) = names else { return Ok(None) };
    let repeated = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    if let Some((_, name)) = repeated {
        return Err(wrong(format!("Duplicate value in attribute name: {name}")));
    }
    Ok(Some(Projection::of_names(names)))
}

/// `AttributeUpdates`.
pub fn updates(list: BTreeMap<String, AttributeValueUpdate>) -> Result<Update, Fault> {
    let mut update = Update::default();
    for (name, AttributeValueUpdate { value, action }) in list {
        let path = path(&name);
        match (action.unwrap_or(AttributeAction::Put), value) {
            (AttributeAction::Delete, None) => update.remove.push(path),
            (_, None) => {
                return Err(wrong("Only DELETE action is allowed when no attribute value is specified"));
            }
            (AttributeAction::Delete, Some(value)) => match value {
                AttributeValue::Ss(_) | AttributeValue::Ns(_) | AttributeValue::Bs(_) => {
                    update.delete.push((path, value));
                }
                other => {
                    return Err(wrong(format!(
                        "DELETE action with value is not supported for the type {}",
                        other.type_name()
                    )));
                }
            },
            (AttributeAction::Add, Some(value)) => match value {
                AttributeValue::N(_)
                | AttributeValue::Ss(_)
                | AttributeValue::Ns(_)
                | AttributeValue::Bs(_) => {
                    update.add.push((path, value));
                }
                other => {
                    return Err(wrong(format!(
                        "ADD action is not supported for the type {}",
                        other.type_name()
                    )));
                }
            },
            (_, Some(value)) => update.set.push((path, Value::Operand(Operand::Value(value)))),
        }
    }
    Ok(update)
}

fn check_operator(conditions: Option<usize>, operator: Option<&ConditionalOperator>) -> Result<(), Fault> {
    match (conditions, operator) {
        (None | Some(0), Some(_)) => {
            Err(Fault::validation("ConditionalOperator cannot be used without Filter or Expected"))
        }
        (Some(1), Some(_)) => Err(Fault::validation(
            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        )),
        _ => Ok(()),
    }
}

fn joined(conditions: Vec<Condition>, operator: Option<&ConditionalOperator>) -> Option<Condition> {
    let is_any = operator == Some(&ConditionalOperator::Or);
    conditions.into_iter().reduce(|all, one| match is_any {
        true => Condition::Or(Box::new(all), Box::new(one)),
        false => Condition::And(Box::new(all), Box::new(one)),
    })
}

fn path(name: &str) -> Path {
    Path { root: name.to_string(), steps: Vec::new() }
}

fn comparison(
    name: &str,
    operator: &ComparisonOperator,
    values: Vec<AttributeValue>,
) -> Result<Condition, Fault> {
    use ComparisonOperator as Is;
    check_arguments(operator, &values)?;
    let attribute = || Operand::Path(path(name));
    let mut operands = values.into_iter().map(Operand::Value);
    let mut next = || operands.next().unwrap_or(Operand::Value(AttributeValue::Null));
    let compare = |comparison, value| Condition::Compare(comparison, attribute(), value);
    Ok(match operator {
        Is::Eq => compare(Comparison::Equal, next()),
        Is::Ne => compare(Comparison::NotEqual, next()),
        Is::Le => compare(Comparison::LessOrEqual, next()),
        Is::Lt => compare(Comparison::Less, next()),
        Is::Ge => compare(Comparison::GreaterOrEqual, next()),
        Is::Gt => compare(Comparison::Greater, next()),
        Is::NotNull => Condition::Exists(path(name)),
        Is::Null => Condition::NotExists(path(name)),
        Is::Contains => Condition::Contains(attribute(), next()),
        Is::NotContains => Condition::Not(Box::new(Condition::Contains(attribute(), next()))),
        Is::BeginsWith => Condition::BeginsWith(attribute(), next()),
        Is::Between => Condition::Between(attribute(), next(), next()),
        _ => Condition::In(attribute(), operands.collect()),
    })
}

/// How many values an operator takes, and of which types.
fn check_arguments(operator: &ComparisonOperator, values: &[AttributeValue]) -> Result<(), Fault> {
    use ComparisonOperator as Is;
    let fits = match operator {
        Is::Null | Is::NotNull => values.is_empty(),
        Is::Between => values.len() == 2,
        Is::In => !values.is_empty(),
        _ => values.len() == 1,
    };
    if !fits {
        return Err(wrong(format!(
            "Invalid number of argument(s) for the {} ComparisonOperator",
            operator.as_str()
        )));
    }
    let types: &[&str] = match operator {
        Is::Eq | Is::Ne | Is::Null | Is::NotNull => return Ok(()),
        Is::BeginsWith => &["S", "B"],
        _ => &["S", "N", "B"],
    };
    match values.iter().find(|value| !types.contains(&value.type_name())) {
        Some(value) => Err(wrong(format!(
            "ComparisonOperator {} is not valid for {} AttributeValue type",
            operator.as_str(),
            value.type_name()
        ))),
        None => Ok(()),
    }
}
