//! Resource policies: whether a document can be one. What it allows is IAM's to say.
//! Source: "IAM JSON policy elements reference" in the IAM user guide.

use serde_json::{Map, Value};

/// Why a document is no policy of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is no JSON object, or one of its elements is missing or has the wrong form.
    Form,
    /// A statement is about actions of another service.
    OtherService,
}

/// Versions of the policy language.
const VERSIONS: [&str; 2] = ["2008-10-17", "2012-10-17"];

/// Checks the policy of a resource of a service, `sqs` for instance.
///
/// # Errors
/// The first flaw.
pub fn check_resource_policy(text: &str, service: &str) -> Result<(), Flaw> {
    let policy: Map<String, Value> = serde_json::from_str(text).map_err(|_| Flaw::Form)?;
    let known = ["Version", "Id", "Statement"];
    let is_version = |version: &Value| version.as_str().is_some_and(|one| VERSIONS.contains(&one));
    if !policy.keys().all(|name| known.contains(&name.as_str()))
        || !policy.get("Version").is_none_or(is_version)
        || !policy.get("Id").is_none_or(Value::is_string)
    {
        return Err(Flaw::Form);
    }
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement) => vec![statement],
        None => return Err(Flaw::Form),
    };
    statements.into_iter().try_for_each(|statement| check_statement(statement, service))
}

fn check_statement(statement: &Value, service: &str) -> Result<(), Flaw> {
    let one_of = |names: [&str; 2]| {
        let mut given = names.iter().filter_map(|name| statement.get(name));
        given.next().filter(|_| given.next().is_none())
    };
    let (Some(principal), Some(action), Some(resource)) = (
        one_of(["Principal", "NotPrincipal"]),
        one_of(["Action", "NotAction"]),
        one_of(["Resource", "NotResource"]),
    ) else {
        return Err(Flaw::Form);
    };
    let known = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let is_good =
        statement.as_object().is_some_and(|all| all.keys().all(|name| known.contains(&name.as_str())))
            && matches!(statement["Effect"].as_str(), Some("Allow" | "Deny"))
            && statement.get("Sid").is_none_or(Value::is_string)
            && statement.get("Condition").is_none_or(is_condition)
            && is_principal(principal)
            && texts(resource).is_some();
    let actions = texts(action).filter(|_| is_good).ok_or(Flaw::Form)?;
    let is_ours = |action: &&str| {
        *action == "*"
            || action
                .split_once(':')
                .is_some_and(|(of, name)| of.eq_ignore_ascii_case(service) && !name.is_empty())
    };
    if actions.iter().all(is_ours) { Ok(()) } else { Err(Flaw::OtherService) }
}

/// `"*"`, or lists of them by their kind.
fn is_principal(principal: &Value) -> bool {
    let is_kind = |(kind, all): (&String, &Value)| {
        matches!(kind.as_str(), "AWS" | "Service" | "Federated" | "CanonicalUser") && texts(all).is_some()
    };
    match principal {
        Value::String(text) => text == "*",
        Value::Object(kinds) => !kinds.is_empty() && kinds.iter().all(is_kind),
        _ => false,
    }
}

/// Operators with keys with values.
fn is_condition(condition: &Value) -> bool {
    let is_value = |value: &Value| !matches!(value, Value::Object(_) | Value::Null);
    let is_operator = |keys: &Value| keys.as_object().is_some_and(|keys| keys.values().all(is_value));
    condition.as_object().is_some_and(|operators| operators.values().all(is_operator))
}

/// A text, or a list of some.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(all) if !all.is_empty() => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_are_told_from_what_is_none() {
        let statement = json!({
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com", "AWS": ["123456789012"]},
            "Action": "SQS:SendMessage", "Resource": "*", "Condition": {"ArnEquals": {"aws:SourceArn": "arn:x"}},
        });
        let checked = |policy: &Value| check_resource_policy(&policy.to_string(), "sqs");
        let with = |name: &str, value: Value| {
            let mut changed = statement.clone();
            changed[name] = value;
            json!({"Version": "2012-10-17", "Statement": [changed]})
        };
        assert_eq!(checked(&json!({"Statement": statement})), Ok(()));
        assert_eq!(checked(&json!({"Statement": []})), Ok(()));
        assert_eq!(checked(&with("Action", json!(["sqs:*", "*"]))), Ok(()));
        assert_eq!(checked(&with("Principal", json!("*"))), Ok(()));
        assert_eq!(checked(&with("Action", json!(["sqs:*", "sns:Publish"]))), Err(Flaw::OtherService));
        for wrong in [
            json!([]),
            json!({}),
            json!({"Version": "2021-01-01", "Statement": statement}),
            json!({"Statement": statement, "Else": 1}),
            with("Effect", json!("Maybe")),
            with("Principal", json!("123456789012")),
            with("Principal", json!({"User": "x"})),
            with("NotAction", json!("sqs:*")),
            with("Action", json!([])),
            with("Resource", json!(null)),
            with("Condition", json!({"ArnEquals": "arn:x"})),
            with("Else", json!(1)),
        ] {
            assert_eq!(checked(&wrong), Err(Flaw::Form), "{wrong}");
        }
        assert_eq!(check_resource_policy("{", "sqs"), Err(Flaw::Form));
    }
}
