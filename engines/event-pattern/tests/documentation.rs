//! The examples of the EventBridge user guide ("Comparison operators for use in event patterns", "Event patterns", "Null
//! values and empty strings", "Arrays") and of Event Ruler's README, and the errors AWS was seen to give.

use serde_json::Value;
use tidemill_event_pattern::{Matcher, Pattern};

const EC2: &str = r#"{
  "version": "0", "id": "ddddd4-aaaa-7777-4444-345dd43cc333", "detail-type": "EC2 Instance State-change Notification",
  "source": "aws.ec2", "account": "012345679012", "time": "2017-10-02T16:24:49Z", "region": "us-east-1",
  "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa00000"],
  "detail": {"c-count": 5, "d-count": 3, "x-limit": 301.8, "source-ip": "10.0.0.33",
             "instance-id": "i-000000aaaaaa00000", "state": "running"}
}"#;

fn verdict(pattern: &str, event: &str) -> bool {
    let pattern = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let value: Value = serde_json::from_str(event).expect("the event is JSON");
    let matcher = Matcher::new();
    matcher.add("rule", &pattern);
    let matched = matcher.matches(event).expect("the event is an object") == ["rule"];
    assert_eq!(matched, pattern.matches_naive(&value), "the two ways differ");
    matched
}

#[test]
fn patterns_on_an_ec2_event() {
    let cases = [
        (
            r#"{"detail-type": ["EC2 Instance State-change Notification"], "detail": {"state": ["initializing", "running"]}}"#,
            true,
        ),
        (r#"{"resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa00000"]}"#, true),
        (r#"{"time": [{"prefix": "2017-10-02"}]}"#, true),
        (r#"{"source": [{"suffix": "ec2"}]}"#, true),
        (r#"{"source": [{"equals-ignore-case": "AWS.EC2"}]}"#, true),
        (r#"{"source": [{"equals-ignore-case": "EC2"}]}"#, false),
        (r#"{"source": [{"wildcard": "aws.*2"}]}"#, true),
        (r#"{"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}"#, true),
        (r#"{"source": [{"suffix": {"equals-ignore-case": ".Ec2"}}]}"#, true),
        (r#"{"detail": {"state": [{"anything-but": "initializing"}]}}"#, true),
        (r#"{"detail": {"x-limit": [{"anything-but": 123}]}}"#, true),
        (r#"{"detail": {"x-limit": [{"anything-but": 301.80}]}}"#, false),
        (r#"{"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}}"#, true),
        (r#"{"detail": {"x-limit": [{"anything-but": [100, 200, 300]}]}}"#, true),
        (r#"{"detail": {"state": [{"anything-but": {"prefix": "init"}}]}}"#, true),
        (r#"{"detail": {"state": [{"anything-but": {"prefix": ["init", "run"]}}]}}"#, false),
        (r#"{"detail": {"state": [{"anything-but": {"suffix": "ing"}}]}}"#, false),
        (
            r#"{"detail": {"state": [{"anything-but": {"equals-ignore-case": ["STOPPED", "RUNNING"]}}]}}"#,
            false,
        ),
        (r#"{"detail": {"state": [{"anything-but": {"wildcard": "*unn*"}}]}}"#, false),
        (r#"{"detail": {"state": [{"anything-but": {"wildcard": ["*a*", "b*"]}}]}}"#, true),
        (r#"{"detail": {"c-count": [{"anything-but": "5"}]}}"#, true),
        (
            r#"{"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}], "d-count": [{"numeric": ["<", 10]}], "x-limit": [{"numeric": ["=", 3.018e2]}]}}"#,
            true,
        ),
        (r#"{"detail": {"c-count": [{"numeric": [">", 5]}]}}"#, false),
        (r#"{"detail": {"c-count": [5.0], "d-count": [3e0]}}"#, true),
        (r#"{"detail": {"c-count": ["5"]}}"#, false),
        (r#"{"detail": {"source-ip": [{"cidr": "10.0.0.0/24"}]}}"#, true),
        (r#"{"detail": {"source-ip": [{"cidr": "10.0.1.0/24"}]}}"#, false),
        (r#"{"detail": {"source-ip": ["10.0.0.33"]}}"#, true),
        (r#"{"detail": {"c-count": [{"exists": true}]}}"#, true),
        (r#"{"detail": {"c-count": [{"exists": false}]}}"#, false),
        (r#"{"detail": {"nothing": [{"exists": false}]}}"#, true),
        // `exists` only works on leaves: `detail` is not one.
        (r#"{"detail": [{"exists": true}]}"#, false),
        (r#"{"detail": [{"exists": false}]}"#, true),
        (
            r#"{"time": [{"prefix": "2017-10-02"}], "detail": {"state": [{"anything-but": "initializing"}], "c-count": [{"numeric": [">", 0, "<=", 5]}], "d-count": [{"numeric": ["<", 10]}], "x-limit": [{"anything-but": [100, 200, 300]}], "source-ip": [{"cidr": "10.0.0.0/8"}]}}"#,
            true,
        ),
        (r#"{"$or": [{"source": ["aws.s3"]}, {"detail": {"c-count": [5]}}]}"#, true),
        (
            r#"{"detail": {"$or": [{"c-count": [{"numeric": [">", 10]}]}, {"d-count": [{"numeric": ["<", 10]}]}, {"x-limit": [{"numeric": ["=", 3.018e2]}]}]}}"#,
            true,
        ),
        (
            r#"{"source": ["aws.cloudwatch"], "$or": [{"region": ["us-east-1"]}, {"region": ["eu-west-1"]}]}"#,
            false,
        ),
        (
            r#"{"$or": [{"source": ["a"]}, {"source": ["aws.ec2"], "$or": [{"region": ["us-east-1"]}, {"account": ["x"]}]}]}"#,
            true,
        ),
        (r#"{"detail.state": ["running"]}"#, true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(verdict(pattern, EC2), expected, "{pattern}");
    }
}

#[test]
fn null_and_the_empty_string_are_values() {
    let event = r#"{"eventVersion": "", "responseElements": null, "list": [], "flag": false}"#;
    let cases = [
        (r#"{"eventVersion": [""]}"#, true),
        (r#"{"responseElements": [null]}"#, true),
        (r#"{"responseElements": [""]}"#, false),
        (r#"{"eventVersion": [null]}"#, false),
        (r#"{"responseElements": [{"exists": true}]}"#, true),
        (r#"{"list": [{"exists": false}]}"#, true),
        (r#"{"flag": [false]}"#, true),
        (r#"{"flag": ["false"]}"#, false),
        (r#"{"missing": [null]}"#, false),
        (r#"{"missing": [{"anything-but": "x"}]}"#, false),
        (r#"{"missing": [{"exists": false}, "x"]}"#, true),
        (r#"{"eventVersion": [{"prefix": ""}]}"#, true),
        (r#"{"eventVersion": [{"wildcard": "*"}]}"#, true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(verdict(pattern, event), expected, "{pattern}");
    }
}

#[test]
fn arrays_are_consistent() {
    let event = r#"{"employees": [
        {"firstName": "John", "lastName": "Doe", "skills": [{"name": "go", "level": 3}, {"name": "rust", "level": 5}]},
        {"firstName": "Anna", "lastName": "Smith", "skills": []},
        [{"firstName": "Peter", "lastName": "Jones", "tags": ["a", "b"]}]
    ], "teams": [{"name": "red", "size": 2}, {"name": "blue", "size": 9}]}"#;
    let cases = [
        (r#"{"employees": {"firstName": ["Anna"]}}"#, true),
        (r#"{"employees": {"firstName": ["Anna"], "lastName": ["Smith"]}}"#, true),
        (r#"{"employees": {"firstName": ["Anna"], "lastName": ["Jones"]}}"#, false),
        (r#"{"employees": {"firstName": ["Peter"], "lastName": ["Jones"], "tags": ["b"]}}"#, true),
        (r#"{"employees": {"firstName": ["John"], "skills": {"name": ["rust"], "level": [5]}}}"#, true),
        (r#"{"employees": {"firstName": ["John"], "skills": {"name": ["rust"], "level": [3]}}}"#, false),
        (r#"{"employees": {"firstName": ["Anna"], "skills": {"name": ["rust"]}}}"#, false),
        (
            r#"{"employees": {"firstName": ["John"], "lastName": ["Doe"]}, "teams": {"name": ["blue"], "size": [{"numeric": [">", 5]}]}}"#,
            true,
        ),
        (r#"{"employees": {"firstName": ["John"]}, "teams": {"name": ["red"], "size": [9]}}"#, false),
        (r#"{"employees": {"firstName": ["Anna"], "middleName": [{"exists": false}]}}"#, true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(verdict(pattern, event), expected, "{pattern}");
    }
}

/// The sentences are Event Ruler's; places as AWS gave them in public reports, where there is one.
#[test]
fn errors_name_the_reason_and_the_place() {
    let cases = [
        (r#"{"source": ["aws.health"], "detail": {}}"#, "Empty objects are not allowed", 1, 40),
        (
            "{\n  \"detail-type\": [\n    \"Build Started\"\n  ], \"detail\": { \"pipeline\": {\n      \"slug\": \"some-pipeline\"\n}}}",
            r#""slug" must be an object or an array"#,
            5,
            16,
        ),
        (
            r#"{"detail-type":["CodeCommit Repository State Change"],"resources":"arn"}"#,
            r#""resources" must be an object or an array"#,
            1,
            68,
        ),
        ("[]", "Filter is not an object", 1, 2),
        (r#"{"a": []}"#, "Empty arrays are not allowed", 1, 9),
        (r#"{"a": [[]]}"#, "Match value must be String, number, true, false, or null", 1, 9),
        (r#"{"a": [{"like": "x"}]}"#, "Unrecognized match type like", 1, 18),
        (r#"{"a": [{"prefix": 1}]}"#, "prefix match pattern must be a string", 1, 20),
        (r#"{"a": [{"exists": "x"}]}"#, "exists match pattern must be either true or false.", 1, 20),
        (r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#, "Only one key allowed in match expression", 1, 35),
        (r#"{"a": [{"numeric": 5}]}"#, "Value of numeric must be an array.", 1, 21),
        (r#"{"a": [{"numeric": ["!", 5]}]}"#, "Unrecognized numeric range operator: !", 1, 27),
        (r#"{"a": [{"numeric": [">", "5"]}]}"#, "Value of > must be numeric", 1, 27),
        (r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#, "Bottom must be less than top", 1, 36),
        (r#"{"a": [{"numeric": ["<", 5, ">", 1]}]}"#, "Too many elements in numeric expression", 1, 30),
        (
            r#"{"a": [{"numeric": ["=", 5000000001]}]}"#,
            "Value must be between -5.0E9 and 5.0E9, inclusive",
            1,
            37,
        ),
        (
            r#"{"a": [{"anything-but": [1, "x"]}]}"#,
            "Inside anything but list, either all values are number or string, mixed type is not supported",
            1,
            33,
        ),
        (
            r#"{"a": [{"anything-but": [null]}]}"#,
            "Inside anything but list, start|null|boolean is not supported.",
            1,
            30,
        ),
        (r#"{"a": [{"anything-but": {"cidr": "x"}}]}"#, "Unsupported anything-but pattern: cidr", 1, 35),
        (r#"{"a": [{"anything-but": {"prefix": ""}}]}"#, "Null prefix/suffix not allowed", 1, 38),
        (r#"{"a": [{"wildcard": "a**"}]}"#, "Consecutive wildcard characters at pos 2", 1, 26),
        (r#"{"$or": {"a": [1]}}"#, "It must be an Array followed with $or.", 1, 10),
        (r#"{"$or": [{"a": [1]}]}"#, "There must have at least 2 Objects in $or relationship.", 1, 21),
        (r#"{"$or": [1, 2]}"#, "Only JSON object is allowed in array of $or relationship.", 1, 11),
        (
            r#"{"$or": [{"prefix": ["a"]}, {"b": [1]}]}"#,
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
            1,
            22,
        ),
        (
            r#"{"a": [1] "b": [2]}"#,
            "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries",
            1,
            12,
        ),
        (
            r#"{'a': [1]}"#,
            "Unexpected character ('\'' (code 39)): was expecting double-quote to start field name",
            1,
            2,
        ),
    ];
    for (pattern, reason, line, column) in cases {
        let error = Pattern::parse(pattern).expect_err(pattern).to_string();
        let place = format!("\n at [Source: (String)\"{pattern}\"; line: {line}, column: {column}]");
        assert_eq!(error, format!("Event pattern is not valid. Reason: {reason}{place}"));
    }
}

/// Reasons and places as AWS gave them in December 2024, in recordings of `TestEventPattern` that LocalStack's tests keep.
#[test]
fn errors_are_those_that_were_recorded() {
    const TYPES: &str =
        "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.";
    const ONE: &str = "Value of anything-but must be an array or single string/number value.";
    const TOKEN: &str =
        "was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    let cases = [
        (r#"{"n": 42}"#, r#""n" must be an object or an array"#, 9),
        (r#"{"a": "x"}"#, r#""a" must be an object or an array"#, 8),
        (r#"{"a": [{"NUMERIC": ["=", 5]}]}"#, "Unrecognized match type NUMERIC", 21),
        (r#"{"a": [{"EXISTS": true}]}"#, "Unrecognized match type EXISTS", 23),
        (r#"{"a": [{"numeric": [">", 0, ">", 0]}]}"#, "Bad numeric range operator: >", 32),
        (r#"{"a": [{"numeric": [">", 0, "<"]}]}"#, "Value of < must be numeric", 33),
        (
            r#"{"a": [{"equals-ignore-case": ["x"]}]}"#,
            "equals-ignore-case match pattern must be a string",
            32,
        ),
        (
            r#"{"a": [{"equals-ignore-case": {"prefix": "x"}}]}"#,
            "equals-ignore-case match pattern must be a string",
            32,
        ),
        (r#"{"a": [{"anything-but": {"equals-ignore-case": 7}}]}"#, TYPES, 49),
        (r#"{"a": [{"wildcard": 7}]}"#, "wildcard match pattern must be a string", 22),
        (r#"{"a": [{"wildcard": ["x**"]}]}"#, "wildcard match pattern must be a string", 22),
        (r#"{"a": [{"anything-but": {"wildcard": 7}}]}"#, "wildcard match pattern must be a string", 39),
        (r#"{"a": [{"anything-but": {"suffix": 7}}]}"#, "prefix/suffix match pattern must be a string", 37),
        (r#"{"a": [{"prefix": ["x"]}]}"#, "prefix match pattern must be a string", 20),
        (r#"{"a": [{"suffix": 7}]}"#, "suffix match pattern must be a string", 20),
        (r#"{"a": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}"#, ONE, 37),
        ("plain text", &*format!("Unrecognized token 'plain': {TOKEN}"), 6),
        (r#"{"a": open end"#, &*format!("Unrecognized token 'open': {TOKEN}"), 11),
    ];
    for (pattern, reason, column) in cases {
        let error = Pattern::parse(pattern).expect_err(pattern).to_string();
        let place = format!("\n at [Source: (String)\"{pattern}\"; line: 1, column: {column}]");
        assert_eq!(error, format!("Event pattern is not valid. Reason: {reason}{place}"));
    }
}

#[test]
fn errors_without_a_place() {
    for (pattern, reason) in [
        (r#"{"a": [{"cidr": "10.0.0.0"}]}"#, "Malformed CIDR, one '/' required"),
        (r#"{"a": [{"cidr": "host/8"}]}"#, "Nonstandard IP address: host"),
    ] {
        let error = Pattern::parse(pattern).expect_err(pattern).to_string();
        assert_eq!(error, format!("Event pattern is not valid. Reason: {reason}"));
    }
}

#[test]
fn or_has_a_thousand_combinations_at_most() {
    let or = |count: usize| {
        let branches: Vec<String> = (0..count).map(|n| format!(r#"{{"k{n}":[{n}]}}"#)).collect();
        format!("[{}]", branches.join(","))
    };
    let nested =
        |count: usize| format!(r#"{{"a":{{"$or":{0}}},"b":{{"$or":{0}}},"c":{{"$or":{0}}}}}"#, or(count));
    assert!(Pattern::parse(&nested(10)).is_ok());
    let error = Pattern::parse(&nested(11)).expect_err("more than a thousand").to_string();
    assert!(error.contains("The $or relationships have more than 1000 combinations."), "{error}");
}

#[test]
fn explanations_name_field_value_and_question() {
    let pattern = Pattern::parse(r#"{"source": ["aws.s3", {"prefix": "acme."}], "detail": {"c-count": [{"numeric": [">", 10]}], "gone": [{"exists": true}], "state": ["running"]}}"#).expect("a pattern");
    let event = serde_json::from_str(EC2).expect("JSON");
    let explanation = pattern.explain(&event);
    assert!(!explanation.matched);
    assert_eq!(
        explanation.to_string(),
        "detail.c-count: found 5, asked for [{\"numeric\":[\">\", 10]}]\n\
         detail.gone: found nothing, asked for [{\"exists\":true}]\n\
         source: found \"aws.ec2\", asked for [\"aws.s3\", {\"prefix\":\"acme.\"}]"
    );
    let arrays = Pattern::parse(r#"{"e": {"first": ["Anna"], "last": ["Jones"]}}"#).expect("a pattern");
    let event =
        serde_json::json!({"e": [{"first": "Anna", "last": "Smith"}, {"first": "Jo", "last": "Jones"}]});
    assert_eq!(
        arrays.explain(&event).to_string(),
        "e.first: found \"Anna\", \"Jo\" in another element of the array than the other fields, asked for [\"Anna\"]\n\
         e.last: found \"Smith\", \"Jones\" in another element of the array than the other fields, asked for [\"Jones\"]"
    );
}

#[test]
fn changes_appear_at_once_and_snapshots_stay() {
    let matcher = Matcher::new();
    let event = r#"{"a": "x"}"#;
    let pattern = Pattern::parse(r#"{"a": ["x"]}"#).expect("a pattern");
    matcher.add(1, &pattern);
    let before = matcher.snapshot();
    matcher.add(2, &pattern);
    matcher.add(1, &Pattern::parse(r#"{"a": ["y"]}"#).expect("a pattern"));
    assert_eq!(matcher.matches(event), Ok(vec![2]));
    assert_eq!(before.matches(event), Ok(vec![1]));
    assert!(matcher.remove(&2));
    assert!(!matcher.remove(&2));
    assert_eq!(matcher.matches(event), Ok(vec![]));
    assert_eq!(matcher.len(), 1);
}

#[test]
fn what_is_no_event_is_refused() {
    let matcher = Matcher::new();
    matcher.add(1, &Pattern::parse(r#"{"a": {"b": [1]}}"#).expect("a pattern"));
    for text in [
        "",
        "[]",
        "1",
        "{",
        r#"{"a""#,
        r#"{"a":}"#,
        r#"{"a":{"b":tru}}"#,
        r#"{"a":{"b":01}}"#,
        r#"{"a":1} x"#,
        r#"{"x":"\"#,
    ] {
        assert!(matcher.matches(text).is_err(), "{text}");
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matcher.matches(&deep).is_err());
}
