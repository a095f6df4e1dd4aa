//! The JSONPath that EventBridge evaluates: `$`, names after dots, array indices and the wildcard; names may also stand
//! in brackets. Filters, slices and recursive descent are refused.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// The longest path, in bytes (`TargetInputPath`).
const LONGEST: usize = 256;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    All,
}

/// A path that is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    path: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid JSONPath: {}", self.path)
    }
}

impl std::error::Error for PathError {}

impl InputPath {
    /// Parses a path such as `$.detail.items[0].name`.
    ///
    /// # Errors
    /// When it is no path, is longer than 256 bytes or uses what EventBridge does not support.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let invalid = || PathError { path: path.chars().take(LONGEST).collect() };
        let mut rest = path.strip_prefix('$').filter(|_| path.len() <= LONGEST).ok_or_else(invalid)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = read_step(rest).ok_or_else(invalid)?;
            steps.push(step);
            rest = after;
        }
        Ok(Self { steps })
    }

    /// The part of the event the path leads to; `None` when there is none. With a wildcard, all parts as an array.
    pub fn select(&self, event: &Value) -> Option<Value> {
        self.walk(event, |value, _| Some(Cow::Borrowed(value)))
    }

    /// As `select`; `enter` sees each value before the path goes on into it, with the name it stands under, and may
    /// replace it.
    pub(crate) fn walk<'e>(
        &self,
        event: &'e Value,
        enter: impl Fn(&'e Value, Option<&str>) -> Option<Cow<'e, Value>>,
    ) -> Option<Value> {
        let mut found: Vec<Cow<'e, Value>> = vec![Cow::Borrowed(event)];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| go(step, value, &enter)).collect();
        }
        let found: Vec<Value> = found.into_iter().map(Cow::into_owned).collect();
        if self.steps.contains(&Step::All) {
            return (!found.is_empty()).then_some(Value::Array(found));
        }
        found.into_iter().next()
    }
}

fn go<'e>(
    step: &Step,
    value: Cow<'e, Value>,
    enter: &impl Fn(&'e Value, Option<&str>) -> Option<Cow<'e, Value>>,
) -> Vec<Cow<'e, Value>> {
    let Cow::Borrowed(value) = value else {
        // Inside a replaced value nothing is replaced again.
        return children(step, &value).into_iter().map(|(child, _)| Cow::Owned(child.clone())).collect();
    };
    children(step, value).into_iter().filter_map(|(child, name)| enter(child, name)).collect()
}

fn children<'v>(step: &Step, value: &'v Value) -> Vec<(&'v Value, Option<&'v str>)> {
    match (step, value) {
        (Step::Name(name), Value::Object(fields)) => {
            fields.get_key_value(name).map(|(name, child)| (child, Some(name.as_str()))).into_iter().collect()
        }
        (Step::Index(index), Value::Array(items)) => {
            items.get(*index).map(|child| (child, None)).into_iter().collect()
        }
        (Step::All, Value::Array(items)) => items.iter().map(|child| (child, None)).collect(),
        (Step::All, Value::Object(fields)) => {
            fields.iter().map(|(name, child)| (child, Some(name.as_str()))).collect()
        }
        _ => Vec::new(),
    }
}

/// The first step of `rest`, and what follows it.
fn read_step(rest: &str) -> Option<(Step, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        return match name {
            "" => None,
            "*" => Some((Step::All, after)),
            name if name.chars().all(is_name_char) => Some((Step::Name(name.to_owned()), after)),
            _ => None,
        };
    }
    let inside = rest.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(quoted) = inside.strip_prefix(quote) {
            let (name, after) = quoted.split_once(quote)?;
            return Some((Step::Name(name.to_owned()), after.strip_prefix(']')?));
        }
    }
    let (inside, after) = inside.split_once(']')?;
    if inside == "*" {
        return Some((Step::All, after));
    }
    let digits = !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| inside.parse().ok()).flatten().map(|index| (Step::Index(index), after))
}

fn is_name_char(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '_' | '/' | ':' | '$' | '@')
}

#[cfg(test)]
mod tests {
    use super::InputPath;
    use serde_json::json;

    #[test]
    fn paths_select() {
        let event = json!({
            "source": "aws.ec2", "detail-type": "T", "resources": ["a", "b"],
            "detail": {"items": [{"id": 1, "tags": ["x"]}, {"id": 2}], "a/b": 3, "": 4, "none": null},
        });
        let cases = [
            ("$", Some(event.clone())),
            ("$.source", Some(json!("aws.ec2"))),
            ("$.detail-type", Some(json!("T"))),
            ("$.resources[1]", Some(json!("b"))),
            ("$.resources[2]", None),
            ("$.detail.items[0].tags[0]", Some(json!("x"))),
            ("$.detail.items[*].id", Some(json!([1, 2]))),
            ("$.resources[*]", Some(json!(["a", "b"]))),
            ("$.detail.items[1].*", Some(json!([2]))),
            ("$.missing[*]", None),
            ("$.detail.a/b", Some(json!(3))),
            ("$['detail']['a/b']", Some(json!(3))),
            ("$.detail.none", Some(json!(null))),
            ("$.detail.none.deeper", None),
            ("$.source.deeper", None),
        ];
        for (path, expected) in cases {
            assert_eq!(InputPath::parse(path).expect(path).select(&event), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = format!("$.{}", "a".repeat(255));
        for path in [
            "",
            "detail",
            "$.",
            "$..a",
            "$.a[",
            "$.a[]",
            "$.a[-1]",
            "$.a[1:2]",
            "$.a[?(@.b)]",
            "$.a b",
            "$a",
            &long,
        ] {
            assert!(InputPath::parse(path).is_err(), "{path}");
        }
    }
}
