//! The user guide's examples, and what is refused.

use proptest::prelude::*;

use super::*;

fn check(cases: &[(&str, &str, bool)]) {
    for (pattern, message, matches) in cases {
        let filter = Filter::parse(pattern).unwrap_or_else(|invalid| panic!("{pattern}: {invalid}"));
        assert_eq!(filter.matches(message), *matches, "{pattern} on {message}");
    }
}

#[test]
fn words_match_as_the_guide_says() {
    check(&[
        ("", "anything", true),
        ("\" \"", "anything", true),
        ("ERROR", "[ERROR] 419 failed", true),
        ("ERROR", "[error] 419 failed", false),
        ("ERROR ARGUMENTS", "ERROR 401 MISSING ARGUMENTS", true),
        ("ERROR ARGUMENTS", "ERROR 401 UNAUTHORIZED", false),
        ("?ERROR ?ARGUMENTS", "INVALID ARGUMENTS", true),
        ("?ERROR ?ARGUMENTS", "all well", false),
        ("?ERROR ?ARGUMENTS REQUEST", "[INFO] REQUEST FAILED", true),
        ("ERROR -ARGUMENTS", "ERROR 400 BAD REQUEST", true),
        ("ERROR -ARGUMENTS", "ERROR 401 MISSING ARGUMENTS", false),
        ("-ARGUMENTS", "ERROR 400", true),
        ("\"INTERNAL SERVER\"", "[ERROR 500] INTERNAL SERVER ERROR", true),
        ("\"say \\\"hi\\\"\"", "they say \"hi\"", true),
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", true),
        ("%^[hc]at%", "hat", true),
        ("%^[hc]at%", "the hat", false),
        (r"%\d{3,4}%", "code 12", false),
        (r"%\x28%", "with (", true),
    ]);
}

const TRAIL: &str = r#"{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"], "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": null, "cluster.name": "c", "number": [1000, 0.001], "flag": true, "latency": 50}"#;

#[test]
fn json_conditions_match_as_the_guide_says() {
    let cases = [
        (r#"{ $.eventType = "UpdateTrail" }"#, true),
        (r#"{ $.eventType = "Update*" }"#, true),
        (r#"{ $.eventType != "UpdateTrail" }"#, false),
        ("{ $.sourceIPAddress != 123.123.* }", true),
        ("{ $.sourceIPAddress = 111.111.* }", true),
        (r#"{ $.arrayKey[0] = "value" }"#, true),
        (r#"{ $.arrayKey[1] = "value" }"#, false),
        ("{ $.eventType = %Trail% }", true),
        ("{ $.arrayKey[*] = %val.{2}% }", true),
        (r"{ $.* = %111\.111\.111\.1[0-9]{1,2}% }", true),
        ("{ $.['cluster.name'] = \"c\" }", true),
        ("{ $.SomeObject IS NULL }", true),
        ("{ $.SomeOtherObject IS NULL }", false),
        ("{ $.SomeOtherObject NOT EXISTS }", true),
        ("{ $.SomeObject NOT EXISTS }", false),
        ("{ $.flag IS TRUE }", true),
        ("{ $.flag IS FALSE }", false),
        ("{ $.objectList[1].id = 2 }", true),
        ("{ $.objectList[*].id = 2 }", true),
        ("{ $.objectList = * }", false),
        ("{ $.eventType = * }", true),
        ("{ $.missing = * }", false),
        ("{ $.missing != \"x\" }", false),
        ("{ $.number[0] = 1e+3 }", true),
        ("{ $.number[1] != 1e-3 }", false),
        ("{$.latency>=50&&$.latency<51}", true),
        ("{ $.latency > 50 }", false),
        ("{ $.latency = 5* }", true),
    ];
    for (pattern, matches) in cases {
        check(&[(pattern, TRAIL, matches), (pattern, "no JSON at all", false)]);
    }
}

#[test]
fn conditions_are_joined_in_the_guides_order() {
    let event = r#"{"user": {"id": 1, "email": "John.Stiles@example.com"},
        "users": [{"id": 2, "email": "John.Doe@example.com"}], "actions": ["GET", "PUT", "DELETE"],
        "coordinates": [[0, 1, 2], [4, 5, 6]]}"#;
    check(&[
        (r#"{ ($.user.id = 1) && ($.users[0].email = "John.Doe@example.com") }"#, event, true),
        (
            r#"{ $.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch" && $.actions[2] = "nonmatch" }"#,
            event,
            true,
        ),
        (
            r#"{ ($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = "nonmatch") && $.actions[2] = "nonmatch" }"#,
            event,
            false,
        ),
    ]);
}

const APACHE: &str =
    r#"127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;

#[test]
fn columns_match_as_the_guide_says() {
    check(&[
        ("[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", APACHE, true),
        ("[ip, user, username, timestamp, request, status_code = 4*, bytes > 1000]", APACHE, true),
        ("[..., request =*.html*, status_code = 4*, bytes]", APACHE, true),
        ("[..., status_code = 404 || status_code = 410, bytes]", APACHE, true),
        ("[..., status_code = 4*]", APACHE, false),
        (r"[ip=%127\.0\.0\.[1-9]%, ..., bytes <= 1534]", APACHE, true),
        ("[w1=ERROR, w2]", "ERROR 09/25/2014 12:00:02 Failed to process request", true),
        ("[w1=ERROR, w2]", "WARNING 09/25/2014 12:00:02 Invalid user request", false),
        ("[w1=ERROR || w1=WARNING, w2]", "WARNING 09/25/2014 12:00:02 Invalid user request", true),
        ("[w1!=ERROR && w1!=WARNING, w2]", "INFO 09/25/2014 12:00:00 GET /service", true),
        ("[w1=ERROR]", "ERROR 09/25/2014", false),
        ("[a, b, c]", "only two", false),
    ]);
}

#[test]
fn what_a_pattern_names_is_extracted() {
    let columns = Filter::parse("[ip, ..., request, status, bytes]").expect("a pattern");
    let found = columns.extract(APACHE);
    assert_eq!(found["$ip"], "127.0.0.1");
    assert_eq!(found["$request"], "GET /index.html HTTP/1.0");
    assert_eq!(found["$bytes"], "1534");
    let json = Filter::parse("{ $.latency > 1 && $.objectList[*].name = b }").expect("a pattern");
    assert_eq!(json.extract(TRAIL)["$.latency"], "50");
}

#[test]
fn what_is_no_pattern_is_refused() {
    for pattern in [
        "\"open",
        "{ $.v EXISTS }",
        "{ $.v IS NOT NULL }",
        "{ $.v == 1 }",
        "{ !($.v = 1) }",
        "{ $.v > 0 AND $.v < 2 }",
        "{ \"v\": [1] }",
        "{ $.v > \"Alpha\" }",
        "{ $.v = %(Alpha|Beta)% }",
        "{ $.v = %a% && $.v = %b% && $.v = %c% }",
        "{ $.*[*] = 1 }",
        "{ $.v = 1 } tail",
        "{ $.v = 1",
        "{ $ = 1 }",
        "[]",
        "[..., a, ...]",
        "[a = 1 || b = 2]",
        "%open",
        "%a!%",
    ] {
        assert!(Filter::parse(pattern).is_err(), "{pattern}");
    }
    assert!(Filter::parse(&"a".repeat(MOST_CHARACTERS + 1)).is_err());
    assert!(Filter::parse(&format!("{{{}", "(".repeat(1000))).is_err());
}

proptest! {
    #[test]
    fn no_pattern_and_no_message_ends_the_process(
        pattern in r#"[\[{%"]?[-?$.*a-b0-1 ='"%&|()\[\]{},<>!\\]{0,40}"#,
        message in r#"[a-b0-1 "\[\]{}:,é]{0,40}"#,
    ) {
        if let Ok(filter) = Filter::parse(&pattern) {
            filter.matches(&message);
            filter.extract(&message);
        }
    }

    #[test]
    fn stars_stand_for_anything(parts in prop::collection::vec("[ab]{0,3}", 1..5), filling in "[ab]{0,3}") {
        let pattern = format!("{{ $.v = \"{}\" }}", parts.join("*"));
        let text = parts.join(&filling);
        let filter = Filter::parse(&pattern).expect("a pattern");
        let event = format!("{{\"v\": \"{text}\"}}");
        prop_assert!(filter.matches(&event));
    }
}
