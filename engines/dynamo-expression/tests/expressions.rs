//! Expressions as the developer guide shows them, and the sentences DynamoDB refuses others with.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemill_dynamo_expression::{
    AttributeValue, Condition, Item, KeyCondition, Number, Projection, RangeCondition, Scope, Update,
};

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(text: &str) -> AttributeValue {
    AttributeValue::N(Number::parse(text).unwrap())
}

fn product() -> Item {
    [
        ("Id".to_string(), n("789")),
        ("Price".into(), n("52")),
        ("ProductCategory".into(), s("Home Improvement")),
        ("RelatedItems".into(), AttributeValue::L(vec![s("Hammer"), s("Nails"), s("Screws")])),
        (
            "ProductReviews".into(),
            AttributeValue::M(
                [("FiveStar".to_string(), AttributeValue::L(vec![s("Best product ever!")]))].into(),
            ),
        ),
        ("Color".into(), AttributeValue::Ss(vec!["Red".into(), "Blue".into()])),
    ]
    .into()
}

fn names(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

fn values(list: &[(&str, AttributeValue)]) -> BTreeMap<String, AttributeValue> {
    list.iter().map(|(a, b)| (a.to_string(), b.clone())).collect()
}

fn holds(text: &str, list: &[(&str, AttributeValue)]) -> bool {
    let list = values(list);
    let scope = Scope::new(None, (!list.is_empty()).then_some(&list)).unwrap();
    let condition =
        Condition::parse("ConditionExpression", text, &scope).unwrap_or_else(|e| panic!("{text}: {e}"));
    scope.finish().unwrap();
    condition.holds(&product())
}

#[test]
fn conditions() {
    for (text, list, outcome) in [
        ("attribute_exists(ProductReviews.FiveStar)", vec![], true),
        ("attribute_not_exists(ProductReviews.OneStar)", vec![], true),
        ("Price > :p AND Price <= :q", vec![(":p", n("50")), (":q", n("52"))], true),
        ("NOT Price = :p", vec![(":p", n("52.0"))], false),
        ("Price = :p OR Price = :q AND Id = :q", vec![(":p", n("52")), (":q", n("1"))], true),
        ("(Price = :p OR Price = :q) AND Id = :q", vec![(":p", n("52")), (":q", n("1"))], false),
        ("Price BETWEEN :a AND :b", vec![(":a", n("1")), (":b", n("60"))], true),
        ("ProductCategory IN (:a, :b)", vec![(":a", s("Toys")), (":b", s("Home Improvement"))], true),
        ("begins_with(ProductCategory, :h)", vec![(":h", s("Home"))], true),
        ("contains(Color, :r)", vec![(":r", s("Red"))], true),
        ("contains(RelatedItems, :r)", vec![(":r", s("Nails"))], true),
        ("size(RelatedItems) = :three", vec![(":three", n("3"))], true),
        ("attribute_type(Color, :t)", vec![(":t", s("SS"))], true),
        ("RelatedItems[1] = :n", vec![(":n", s("Nails"))], true),
        ("Absent = :x", vec![(":x", n("1"))], false),
        ("Absent <> :x", vec![(":x", n("1"))], true),
        ("Price < :x", vec![(":x", s("52"))], false),
    ] {
        assert_eq!(holds(text, &list), outcome, "{text}");
    }
}

#[test]
fn refused_conditions() {
    for (text, list, sentence) in [
        ("", vec![], "Invalid ConditionExpression: The expression can not be empty;"),
        (
            "status = :x",
            vec![(":x", n("1"))],
            "Invalid ConditionExpression: Attribute name is a reserved keyword; reserved keyword: status",
        ),
        (
            "a = :y",
            vec![(":x", n("1"))],
            "Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :y",
        ),
        (
            "#a = :x",
            vec![(":x", n("1"))],
            "Invalid ConditionExpression: An expression attribute name used in the document path is not defined; attribute name: #a",
        ),
        (
            "a < :x",
            vec![(":x", AttributeValue::Bool(true))],
            "Invalid ConditionExpression: Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
        ),
        ("size(a)", vec![], "Invalid ConditionExpression: Syntax error; token: \"<EOF>\", near: \")\""),
        ("nonsense(a)", vec![], "Invalid ConditionExpression: Invalid function name; function: nonsense"),
        (
            "attribute_exists(a, b)",
            vec![],
            "Invalid ConditionExpression: Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 2",
        ),
    ] {
        let list = values(&list);
        let scope = Scope::new(None, (!list.is_empty()).then_some(&list)).unwrap();
        assert_eq!(Condition::parse("ConditionExpression", text, &scope).unwrap_err().0, sentence, "{text}");
    }
}

#[test]
fn unused_placeholders_are_refused() {
    let (names, values) = (names(&[("#a", "a")]), values(&[(":x", n("1"))]));
    let scope = Scope::new(None, Some(&values)).unwrap();
    assert_eq!(
        scope.finish().unwrap_err().0,
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}"
    );
    let scope = Scope::new(Some(&names), None).unwrap();
    assert_eq!(
        scope.finish().unwrap_err().0,
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a}"
    );
}

fn update(text: &str, list: &[(&str, AttributeValue)]) -> Result<Item, String> {
    let list = values(list);
    let scope = Scope::new(None, (!list.is_empty()).then_some(&list)).map_err(|e| e.0)?;
    let update = Update::parse(text, &scope).map_err(|e| e.0)?;
    update.apply(&product()).map_err(|e| e.0)
}

#[test]
fn updates() {
    let after = update("SET Price = Price - :p, Stock = if_not_exists(Stock, :z), RelatedItems[1] = :w REMOVE ProductReviews.FiveStar ADD Color :c", &[
        (":p", n("15")),
        (":z", n("0")),
        (":w", s("Chisel")),
        (":c", AttributeValue::Ss(vec!["Green".into(), "Red".into()])),
    ])
    .unwrap();
    assert_eq!(after["Price"], n("37"));
    assert_eq!(after["Stock"], n("0"));
    assert_eq!(after["RelatedItems"], AttributeValue::L(vec![s("Hammer"), s("Chisel"), s("Screws")]));
    assert_eq!(after["ProductReviews"], AttributeValue::M(Item::new()));
    assert_eq!(after["Color"], AttributeValue::Ss(vec!["Red".into(), "Blue".into(), "Green".into()]));

    let after = update(
        "DELETE Color :c REMOVE RelatedItems[0], RelatedItems[2]",
        &[(":c", AttributeValue::Ss(vec!["Red".into(), "Blue".into()]))],
    )
    .unwrap();
    assert!(!after.contains_key("Color"));
    assert_eq!(after["RelatedItems"], AttributeValue::L(vec![s("Nails")]));

    let after = update(
        "SET RelatedItems = list_append(:l, RelatedItems) ADD Visits :one",
        &[(":l", AttributeValue::L(vec![s("Saw")])), (":one", n("1"))],
    )
    .unwrap();
    assert_eq!(after["Visits"], n("1"));
    assert!(
        matches!(&after["RelatedItems"], AttributeValue::L(list) if list.len() == 4 && list[0] == s("Saw"))
    );
}

#[test]
fn refused_updates() {
    for (text, list, sentence) in [
        (
            "SET a = :x SET b = :x",
            vec![(":x", n("1"))],
            "Invalid UpdateExpression: The \"SET\" section can only be used once in an update expression;",
        ),
        (
            "SET a = :x, a.b = :x",
            vec![(":x", n("1"))],
            "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
        ),
        (
            "SET a = Absent",
            vec![],
            "The provided expression refers to an attribute that does not exist in the item",
        ),
        (
            "SET Absent.b = :x",
            vec![(":x", n("1"))],
            "The document path provided in the update expression is invalid for update",
        ),
        (
            "SET Price = Price + :s",
            vec![(":s", s("x"))],
            "Invalid UpdateExpression: Incorrect operand type for operator or function; operator or function: +, operand type: S",
        ),
        (
            "SET Price = ProductCategory + :n",
            vec![(":n", n("1"))],
            "An operand in the update expression has an incorrect data type",
        ),
        (
            "ADD Price :s",
            vec![(":s", s("x"))],
            "Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
        ),
        (
            "FOO a = :x",
            vec![(":x", n("1"))],
            "Invalid UpdateExpression: Syntax error; token: \"FOO\", near: \"FOO a\"",
        ),
    ] {
        assert_eq!(update(text, &list).unwrap_err(), sentence, "{text}");
    }
}

#[test]
fn projections_keep_what_they_name() {
    let scope = Scope::new(None, None).unwrap();
    let kept = Projection::parse(
        "Price, RelatedItems[2], RelatedItems[0], ProductReviews.FiveStar[0], Absent",
        &scope,
    )
    .unwrap()
    .apply(&product());
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["Price", "ProductReviews", "RelatedItems"]);
    assert_eq!(kept["RelatedItems"], AttributeValue::L(vec![s("Hammer"), s("Screws")]));
}

#[test]
fn key_conditions() {
    let list = values(&[(":h", s("a")), (":r", n("5"))]);
    let parse = |text: &str, list: &BTreeMap<String, AttributeValue>| {
        let scope = Scope::new(None, Some(list)).unwrap();
        KeyCondition::parse(text, &scope, "pk", Some("sk")).map_err(|e| e.0)
    };
    let found = parse("pk = :h AND :r < sk", &list).unwrap();
    assert_eq!((found.hash, found.range), (s("a"), Some(RangeCondition::Greater(n("5")))));
    for (text, sentence) in [
        ("sk = :r", "Query condition missed key schema element: pk"),
        ("pk > :h", "Query key condition not supported"),
        ("pk = :h OR sk = :r", "Invalid operator used in KeyConditionExpression: OR"),
        ("pk = :h AND elsewhere = :r", "Query condition missed key schema element: sk"),
    ] {
        assert_eq!(parse(text, &list).unwrap_err(), sentence, "{text}");
    }
}

proptest! {
    #[test]
    fn no_expression_panics(text in "[a-z#:().,=<>+\\-\\[\\]0-9 ANDORTIBEWSM]{0,80}") {
        let list = values(&[(":a", n("1"))]);
        let scope = Scope::new(None, Some(&list)).unwrap();
        let _ = Condition::parse("ConditionExpression", &text, &scope).map(|c| c.holds(&product()));
        let _ = Update::parse(&text, &scope).map(|u| u.apply(&product()));
        let _ = Projection::parse(&text, &scope).map(|p| p.apply(&product()));
        let _ = KeyCondition::parse(&text, &scope, "a", Some("b"));
    }
}
