//! SNS filter policies: the pattern language on a message's attributes or on its body, under SNS's limits.
//! Source: the SNS developer guide, "Filter policy constraints" and "Amazon SNS subscription filter policies".
//! The order of a policy's checks is: JSON, keys, combinations, conditions.

use crate::condition::{Condition, Excluded, Literal, Scalar, Word};
use crate::flatten::Leaf;
use crate::naive;
use crate::number::Number;
use crate::pattern::{Limits, Pattern};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

const LONGEST_BYTES: usize = 256 * 1024;
const MOST_KEYS: usize = 5;
const MOST_COMBINATIONS: usize = 150;
const MOST_WILDCARDS: usize = 3;
const MOST_WILDCARD_POINTS: usize = 100;
/// SNS numbers lie strictly between -1.0e9 and 1.0e9.
const NUMBER_LIMIT_MICROS: i64 = 1_000_000_000_000_000;

/// What a policy is applied to (`FilterPolicyScope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The message's attributes; the default.
    MessageAttributes,
    /// The message's body, which must be a JSON object.
    MessageBody,
}

/// A message attribute, by its data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'m> {
    /// `String`, and its custom subtypes.
    String(&'m str),
    /// `String.Array`: a JSON array; its strings, numbers, booleans and nulls take part.
    StringArray(&'m str),
    /// `Number`, and its custom subtypes.
    Number(&'m str),
    /// `Binary`: never seen by a policy.
    Binary,
}

/// A filter policy, validated.
#[derive(Clone, Debug)]
pub struct FilterPolicy {
    scope: Scope,
    /// `None` for the empty policy, which lets everything through.
    pattern: Option<Pattern>,
}

/// A filter policy that SNS refuses (`InvalidParameter`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterPolicyError {
    reason: String,
}

impl FilterPolicyError {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The sentence of `Subscribe`; `Display` gives that of `SetSubscriptionAttributes`.
    pub fn in_subscribe(&self) -> String {
        format!("Invalid parameter: Attributes Reason: FilterPolicy: {}", self.reason)
    }
}

impl fmt::Display for FilterPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid parameter: FilterPolicy: {}", self.reason)
    }
}

impl std::error::Error for FilterPolicyError {}

impl FilterPolicy {
    /// Parses a policy for a scope.
    ///
    /// # Errors
    /// What SNS says of it.
    pub fn parse(source: &str, scope: Scope) -> Result<Self, FilterPolicyError> {
        if source.len() > LONGEST_BYTES {
            return Err(FilterPolicyError::new("Filter policy is too long"));
        }
        let Ok(Value::Object(policy)) = serde_json::from_str(source) else {
            return Err(FilterPolicyError::new("failed to parse JSON."));
        };
        if policy.is_empty() {
            return Ok(Self { scope, pattern: None });
        }
        if policy.len() > MOST_KEYS {
            return Err(FilterPolicyError::new("Filter policy can not have more than 5 keys"));
        }
        if combinations(&policy, scope, 1)? > MOST_COMBINATIONS {
            return Err(FilterPolicyError::new("Filter policy is too complex"));
        }
        let limits = Limits { bytes: LONGEST_BYTES, ..Limits::default() };
        let pattern =
            Pattern::parse_within(source, limits).map_err(|error| FilterPolicyError::new(error.reason()))?;
        check_numbers(&pattern)?;
        check_wildcards(&pattern)?;
        Ok(Self { scope, pattern: Some(pattern) })
    }

    /// What the policy is applied to.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The policy as a pattern, for a `Matcher` of many subscriptions or to explain a verdict; `None` when it is empty
    /// and lets everything through.
    pub fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// Whether a message with these attributes passes.
    pub fn matches_attributes<'m>(
        &self,
        attributes: impl IntoIterator<Item = (&'m str, Attribute<'m>)>,
    ) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let leaf = |(name, value): (&str, _)| Leaf { path: name.to_owned(), value, elements: Vec::new() };
        let leaves: Vec<Leaf<'_>> = attribute_fields(attributes).into_iter().map(leaf).collect();
        naive::matches(pattern.conjunctions(), &leaves)
    }

    /// Whether a message with this body passes. A body that is not a JSON object passes only the empty policy.
    pub fn matches_body(&self, body: &str) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        serde_json::from_str(body).is_ok_and(|body: Value| pattern.matches_naive(&body))
    }
}

/// A message's attributes as the fields that policies see; for `Snapshot::matches_fields`.
pub fn attribute_fields<'m>(
    attributes: impl IntoIterator<Item = (&'m str, Attribute<'m>)>,
) -> Vec<(&'m str, Scalar<'m>)> {
    let mut fields = Vec::new();
    for (name, attribute) in attributes {
        match attribute {
            Attribute::Binary => {}
            Attribute::String(text) => fields.push((name, Scalar::Text(Cow::Borrowed(text)))),
            Attribute::Number(text) => {
                let number = Number::parse(text.trim()).map(Scalar::Number);
                fields.push((name, number.unwrap_or(Scalar::Text(Cow::Borrowed(text)))));
            }
            Attribute::StringArray(text) => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => {
                    fields.extend(items.iter().filter_map(scalar).map(|item| (name, item)))
                }
                _ => fields.push((name, Scalar::Text(Cow::Borrowed(text)))),
            },
        }
    }
    fields
}

fn scalar<'m>(item: &Value) -> Option<Scalar<'m>> {
    match item {
        Value::String(text) => Some(Scalar::Text(Cow::Owned(text.clone()))),
        Value::Number(number) => Number::parse(&number.to_string()).map(Scalar::Number),
        Value::Bool(true) => Some(Scalar::Word(Word::True)),
        Value::Bool(false) => Some(Scalar::Word(Word::False)),
        Value::Null => Some(Scalar::Word(Word::Null)),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// The product over all keys of their numbers of values; a nested key counts its values times its depth, `$or` the sum of
/// its alternatives. A sum that leaves the limit far behind stops growing.
fn combinations(policy: &Map<String, Value>, scope: Scope, depth: usize) -> Result<usize, FilterPolicyError> {
    let mut product = 1usize;
    for (name, value) in policy {
        let factor = match value {
            Value::Array(alternatives) if name == "$or" => {
                let mut sum = 0usize;
                for branch in alternatives.iter().filter_map(Value::as_object) {
                    sum = sum.saturating_add(combinations(branch, scope, depth)?);
                }
                sum
            }
            Value::Array(values) => values.len().saturating_mul(depth),
            Value::Object(_) if scope == Scope::MessageAttributes => {
                return Err(FilterPolicyError::new(
                    "Filter policy scope MessageAttributes does not support nested filter policy",
                ));
            }
            Value::Object(nested) => combinations(nested, scope, depth + 1)?,
            _ => return Err(FilterPolicyError::new(format!("\"{name}\" must be an object or an array"))),
        };
        product = product.saturating_mul(factor.max(1));
    }
    Ok(product)
}

fn check_numbers(pattern: &Pattern) -> Result<(), FilterPolicyError> {
    for condition in conditions(pattern) {
        let numbers: Vec<&Literal> = match condition {
            Condition::Equals(literal) => vec![literal],
            Condition::AnythingBut(Excluded::Values(values)) => values.iter().collect(),
            _ => continue,
        };
        for literal in numbers {
            let Literal::Number(number, text) = literal else { continue };
            if number.micros().is_none_or(|micros| micros.abs() >= NUMBER_LIMIT_MICROS) {
                return Err(FilterPolicyError::new(format!("Match value {text} must be smaller than 1E9")));
            }
        }
    }
    Ok(())
}

/// A wildcard scores 1 with one `*` and 3 with more; a key scores the sum of its wildcards times their number, other
/// keys their number of values, and the product of all keys is limited.
fn check_wildcards(pattern: &Pattern) -> Result<(), FilterPolicyError> {
    let too_complex = || FilterPolicyError::new("Filter policy is too complex");
    for fields in pattern.conjunctions() {
        let (mut points, mut any) = (1usize, false);
        for field in fields {
            let stars: Vec<usize> = field.conditions.iter().flat_map(stars).collect();
            if stars.iter().any(|stars| *stars > MOST_WILDCARDS) {
                return Err(too_complex());
            }
            any |= !stars.is_empty();
            let scores: usize = stars.iter().map(|stars| if *stars > 1 { 3 } else { 1 }).sum();
            points = points.saturating_mul(if stars.is_empty() {
                field.conditions.len()
            } else {
                scores * stars.len()
            });
        }
        if any && points > MOST_WILDCARD_POINTS {
            return Err(too_complex());
        }
    }
    Ok(())
}

fn stars(condition: &Condition) -> Vec<usize> {
    match condition {
        Condition::Wildcard(wildcard) => vec![wildcard.stars()],
        Condition::AnythingBut(Excluded::Wildcard(wildcards)) => {
            wildcards.iter().map(|one| one.stars()).collect()
        }
        _ => Vec::new(),
    }
}

fn conditions(pattern: &Pattern) -> impl Iterator<Item = &Condition> {
    pattern.conjunctions().iter().flatten().flat_map(|field| field.conditions.iter())
}

#[cfg(test)]
mod tests {
    use super::{Attribute, FilterPolicy, Scope};

    fn refused(policy: &str, scope: Scope) -> String {
        FilterPolicy::parse(policy, scope).expect_err("refused").to_string()
    }

    /// The message of the developer guide's examples.
    const MESSAGE: [(&str, Attribute<'static>); 5] = [
        ("customer_interests", Attribute::StringArray(r#"["soccer", "rugby", "hockey"]"#)),
        ("store", Attribute::String("example_corp")),
        ("event", Attribute::String("order_placed")),
        ("price_usd", Attribute::Number("210.75")),
        ("picture", Attribute::Binary),
    ];

    #[test]
    fn attributes_are_filtered_as_the_guide_says() {
        let cases = [
            (r#"{"store": ["example_corp"]}"#, true),
            (r#"{"store": ["other"]}"#, false),
            (r#"{"store": ["example_corp"], "event": [{"anything-but": "order_cancelled"}]}"#, true),
            (r#"{"customer_interests": ["rugby", "football", "baseball"]}"#, true),
            (r#"{"customer_interests": [{"anything-but": ["rugby", "tennis"]}]}"#, true),
            (r#"{"customer_interests": [{"prefix": "bas"}]}"#, false),
            (r#"{"customer_interests": [{"suffix": "ball"}]}"#, false),
            (r#"{"customer_interests": [{"equals-ignore-case": "SOCCER"}]}"#, true),
            (r#"{"event": [{"wildcard": "order_*"}]}"#, true),
            (r#"{"event": [{"anything-but": {"prefix": "order-"}}]}"#, true),
            (r#"{"price_usd": [{"numeric": ["=", 210.75]}]}"#, true),
            (r#"{"price_usd": [{"numeric": ["=", 301.5]}]}"#, false),
            (r#"{"price_usd": [210.750]}"#, true),
            (r#"{"price_usd": ["210.75"]}"#, false),
            (r#"{"price_usd": [{"anything-but": [100, 500]}]}"#, true),
            (r#"{"price_usd": [{"numeric": [">", 0, "<=", 150]}]}"#, false),
            (r#"{"price_usd": [{"numeric": ["<", 25]}, {"numeric": [">", 200]}]}"#, true),
            (r#"{"store": [{"exists": true}]}"#, true),
            (r#"{"encrypted": [{"exists": false}]}"#, true),
            (r#"{"picture": [{"exists": true}]}"#, false),
            (r#"{"$or": [{"store": ["x"]}, {"event": ["order_placed"]}]}"#, true),
            ("{}", true),
        ];
        for (policy, expected) in cases {
            let policy = FilterPolicy::parse(policy, Scope::MessageAttributes).expect("a policy");
            assert_eq!(policy.matches_attributes(MESSAGE), expected, "{policy:?}");
        }
    }

    #[test]
    fn addresses_in_attributes() {
        let policy =
            FilterPolicy::parse(r#"{"source_ip": [{"cidr": "10.0.0.0/24"}]}"#, Scope::MessageAttributes)
                .expect("a policy");
        assert!(policy.matches_attributes([("source_ip", Attribute::String("10.0.0.255"))]));
        assert!(!policy.matches_attributes([("source_ip", Attribute::String("10.1.1.0"))]));
    }

    #[test]
    fn bodies_are_filtered_with_nesting() {
        let policy = r#"{"store": ["example_corp"], "price": {"usd": [{"numeric": [">", 100]}]}}"#;
        let policy = FilterPolicy::parse(policy, Scope::MessageBody).expect("a policy");
        assert!(policy.matches_body(r#"{"store": "example_corp", "price": {"usd": 200}}"#));
        assert!(!policy.matches_body(r#"{"store": "example_corp", "price": {"usd": 20}}"#));
        assert!(!policy.matches_body("plain text"));
    }

    #[test]
    fn refusals_are_those_of_sns() {
        use Scope::{MessageAttributes, MessageBody};
        let many: Vec<String> = (0..151).map(|n| n.to_string()).collect();
        let many = serde_json::json!({"key": many}).to_string();
        let cases = [
            ("{", MessageBody, "failed to parse JSON."),
            ("[]", MessageBody, "failed to parse JSON."),
            (
                r#"{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}"#,
                MessageBody,
                "Filter policy can not have more than 5 keys",
            ),
            (&many, MessageAttributes, "Filter policy is too complex"),
            (
                r#"{"a":{"b":{"c":{"d":["1","2","3","4"]}}},"e":{"f":{"g":["1","2","3","4"]}}}"#,
                MessageBody,
                "Filter policy is too complex",
            ),
            (
                r#"{"a":{"b":["c"]}}"#,
                MessageAttributes,
                "Filter policy scope MessageAttributes does not support nested filter policy",
            ),
            (r#"{"key_a":"value_one"}"#, MessageBody, r#""key_a" must be an object or an array"#),
            (r#"{"a":[1000000000]}"#, MessageBody, "Match value 1000000000 must be smaller than 1E9"),
            (
                r#"{"a":[{"suffix":1}]}"#,
                MessageAttributes,
                "suffix match pattern must be a string\n at [Source: (String)\"{\"a\":[{\"suffix\":1}]}\"; line: 1, column: 18]",
            ),
            (r#"{"a":[{"wildcard":"*a*b*c*"}]}"#, MessageBody, "Filter policy is too complex"),
        ];
        for (policy, scope, reason) in cases {
            assert_eq!(refused(policy, scope), format!("Invalid parameter: FilterPolicy: {reason}"));
        }
        let error = FilterPolicy::parse("{", MessageBody).expect_err("refused");
        assert_eq!(
            error.in_subscribe(),
            "Invalid parameter: Attributes Reason: FilterPolicy: failed to parse JSON."
        );
    }

    #[test]
    fn nested_keys_and_wildcards_count_for_more() {
        let policy = r#"{"key_a":{"key_b":["v1","v2","v3"]},"key_d":{"key_e":["v1","v2"]}}"#;
        assert!(FilterPolicy::parse(policy, Scope::MessageBody).is_ok());
        let wildcards = |count: usize| {
            let patterns: Vec<_> =
                (0..count).map(|n| serde_json::json!({"wildcard": format!("*/S{n}/*")})).collect();
            serde_json::json!({"key": patterns, "date": ["a", "b"]}).to_string()
        };
        assert!(FilterPolicy::parse(&wildcards(4), Scope::MessageBody).is_ok());
        assert!(FilterPolicy::parse(&wildcards(5), Scope::MessageBody).is_err());
    }
}
