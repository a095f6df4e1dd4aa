//! The matcher against the plain definition: random patterns and events from a small alphabet, so that they meet often.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tidemill_event_pattern::{Matcher, Pattern};

const NAMES: [&str; 6] = ["a", "b", "c", "a.b", "", "é"];

fn text() -> impl Strategy<Value = String> {
    select(vec![
        "",
        "a",
        "A",
        "ab",
        "aB",
        "abc",
        "bca",
        "x.png",
        "X.PNG",
        "é\"\\",
        "10.0.0.1",
        "10.0.0.200",
        "::1",
        "0:0::1",
        "1",
        "xxabcdefghijyy",
    ])
    .prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = Value> {
    select(vec![
        json!(0),
        json!(1),
        json!(1.0),
        json!(1.5),
        json!(-2),
        json!(100),
        json!(5e9),
        json!(123456789012u64),
        json!(0.0000001),
    ])
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::from),
        2 => number(),
        1 => select(vec![json!(true), json!(false), json!(null)]),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let value = leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner),]
    });
    object(value)
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((select(NAMES.to_vec()), value), 0..5).prop_map(|fields| {
        Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    })
}

fn wildcard() -> impl Strategy<Value = String> {
    select(vec![
        "*",
        "a*",
        "*a",
        "*b*",
        "a*c",
        "*.png",
        "abc",
        "*abc*",
        "x*p*g",
        "*abcdefgh*",
        "x*cdefghijy*",
        "*abcdefghijk*",
        "\\**",
    ])
    .prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = Value> {
    let texts = || prop::collection::vec(text().prop_filter("not empty", |text| !text.is_empty()), 1..4);
    prop_oneof![
        6 => leaf(),
        1 => text().prop_map(|text| json!({"prefix": text})),
        1 => text().prop_map(|text| json!({"suffix": text})),
        1 => text().prop_map(|text| json!({"prefix": {"equals-ignore-case": text}})),
        1 => text().prop_map(|text| json!({"suffix": {"equals-ignore-case": text}})),
        1 => text().prop_map(|text| json!({"equals-ignore-case": text})),
        2 => wildcard().prop_map(|text| json!({"wildcard": text})),
        1 => select(vec![
            json!({"numeric": ["=", 1]}), json!({"numeric": [">", 0]}), json!({"numeric": [">=", 1, "<", 100]}),
            json!({"numeric": ["<=", 1.5]}), json!({"numeric": [">", -5, "<=", 0]}), json!({"numeric": ["<", 0]}),
        ]),
        1 => select(vec!["10.0.0.0/24", "10.0.0.128/25", "0.0.0.0/0", "::/0", "::1/128"]).prop_map(|text| json!({"cidr": text})),
        1 => any::<bool>().prop_map(|there| json!({"exists": there})),
        1 => texts().prop_map(|texts| json!({"anything-but": texts})),
        1 => text().prop_map(|text| json!({"anything-but": text})),
        1 => select(vec![json!({"anything-but": 1}), json!({"anything-but": [0, 100]})]),
        1 => texts().prop_map(|texts| json!({"anything-but": {"prefix": texts}})),
        1 => texts().prop_map(|texts| json!({"anything-but": {"suffix": texts}})),
        1 => texts().prop_map(|texts| json!({"anything-but": {"equals-ignore-case": texts}})),
        1 => prop::collection::vec(wildcard(), 1..3).prop_map(|texts| json!({"anything-but": {"wildcard": texts}})),
    ]
}

fn pattern() -> impl Strategy<Value = Value> {
    let conditions = prop::collection::vec(condition(), 1..4).prop_map(Value::from);
    let nested = conditions.prop_recursive(2, 8, 3, pattern_object);
    pattern_object(nested).prop_filter("within the limits", |source| {
        !Pattern::parse(&source.to_string()).is_err_and(|error| {
            error.reason().starts_with("Event pattern is longer") || error.reason().contains("combinations")
        })
    })
}

fn pattern_object(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let plain = || {
        prop::collection::vec((select(NAMES.to_vec()), value.clone()), 1..4).prop_map(|fields| {
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()
        })
    };
    let with_or = (plain(), plain(), plain()).prop_map(|(mut fields, left, right)| {
        fields.insert("$or".to_owned(), json!([left, right]));
        fields
    });
    prop_oneof![3 => plain(), 1 => with_or].prop_map(Value::Object)
}

fn expected(patterns: &[Pattern], wanted: impl Fn(usize) -> bool, event: &Value) -> BTreeSet<usize> {
    let matching =
        patterns.iter().enumerate().filter(|(at, pattern)| wanted(*at) && pattern.matches_naive(event));
    matching.map(|(at, _)| at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_finds_what_the_definition_says(
        sources in prop::collection::vec(pattern(), 1..60),
        events in prop::collection::vec(event(), 1..12),
    ) {
        let patterns: Vec<Pattern> =
            sources.iter().map(|source| Pattern::parse(&source.to_string()).expect("a valid pattern")).collect();
        let matcher = Matcher::new();
        for (at, pattern) in patterns.iter().enumerate() {
            matcher.add(at, pattern);
        }
        let before = matcher.snapshot();
        for at in (0..patterns.len()).filter(|at| at % 3 == 0) {
            prop_assert!(matcher.remove(&at));
        }
        for event in &events {
            let text = event.to_string();
            let all = expected(&patterns, |_| true, event);
            let kept = expected(&patterns, |at| at % 3 != 0, event);
            let found = |ids: Vec<usize>| ids.into_iter().collect::<BTreeSet<usize>>();
            prop_assert_eq!(found(before.matches(&text).expect("an event")), all.clone(), "{}", text);
            prop_assert_eq!(found(before.matches_value(event)), all);
            prop_assert_eq!(found(matcher.matches(&text).expect("an event")), kept, "after removal: {}", text);
        }
    }

    /// All alternatives stand at one node of the automaton, so that they are indexed.
    #[test]
    fn an_index_finds_what_the_definition_says(
        sources in prop::collection::vec(prop::collection::vec(condition(), 1..4), 10..120),
        values in prop::collection::vec(prop_oneof![
            3 => leaf(),
            1 => prop::collection::vec(leaf(), 0..4).prop_map(Value::from),
        ], 1..20),
    ) {
        let patterns: Vec<Pattern> = sources
            .iter()
            .map(|conditions| Pattern::parse(&json!({"a": conditions}).to_string()).expect("a valid pattern"))
            .collect();
        let matcher = Matcher::new();
        matcher.update(|edit| patterns.iter().enumerate().for_each(|(at, pattern)| edit.add(at, pattern)));
        let events = values.into_iter().map(|value| json!({"a": value})).chain([json!({}), json!({"a": "é".repeat(30)})]);
        let events: Vec<Value> = events.chain([json!({"a": "xabcdefgh".repeat(40)})]).collect();
        for kept in 0..3usize {
            for event in &events {
                let wanted = expected(&patterns, |at| at % 3 >= kept, event);
                let found: BTreeSet<usize> = matcher.matches(&event.to_string()).expect("an event").into_iter().collect();
                prop_assert_eq!(found, wanted, "{}", event);
            }
            matcher.update(|edit| (0..patterns.len()).filter(|at| at % 3 == kept && kept < 2).for_each(|at| { edit.remove(&at); }));
        }
        // Numbers are used again in another order: nothing may be left of those who had them before.
        matcher.update(|edit| patterns.iter().enumerate().rev().step_by(2).for_each(|(at, pattern)| edit.add(at, pattern)));
        let again: BTreeSet<usize> = (0..patterns.len()).rev().step_by(2).collect();
        for event in &events {
            let wanted = expected(&patterns, |at| at % 3 == 2 || again.contains(&at), event);
            let found: BTreeSet<usize> = matcher.matches(&event.to_string()).expect("an event").into_iter().collect();
            prop_assert_eq!(found, wanted, "added again: {}", event);
        }
    }

    #[test]
    fn an_explanation_agrees_with_the_verdict(source in pattern(), event in event()) {
        let pattern = Pattern::parse(&source.to_string()).expect("a valid pattern");
        let explanation = pattern.explain(&event);
        prop_assert_eq!(explanation.matched, pattern.matches_naive(&event));
        prop_assert_eq!(explanation.matched, explanation.failures.is_empty());
    }

    #[test]
    fn a_removed_pattern_leaves_nothing_behind(sources in prop::collection::vec(pattern(), 1..40), event in event()) {
        let matcher = Matcher::new();
        let patterns: Vec<Pattern> =
            sources.iter().map(|source| Pattern::parse(&source.to_string()).expect("a valid pattern")).collect();
        for round in 0..2 {
            for (at, pattern) in patterns.iter().enumerate() {
                matcher.add((round, at), pattern);
            }
            for at in 0..patterns.len() {
                matcher.remove(&(round, at));
            }
        }
        prop_assert!(matcher.is_empty());
        prop_assert_eq!(matcher.matches(&event.to_string()).expect("an event"), vec![]);
    }

    #[test]
    fn no_text_crashes_the_readers(text in "[\\[\\]{}\",:0-9a-e.\\\\ ntrufl$o*-]{0,60}") {
        let _ = Pattern::parse(&text);
        let matcher = Matcher::new();
        matcher.add(1, &Pattern::parse(r#"{"a": [1], "b": {"c": [{"exists": false}]}}"#).expect("a pattern"));
        let _ = matcher.matches(&text);
        let _ = matcher.matches(&format!("{{\"a\":{text}}}"));
    }
}
