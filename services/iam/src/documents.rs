//! Policy documents: what IAM checks when one is stored, how one is printed, and the errors about names.

use serde_json::Value;
use tidemill_platform::Fault;

use crate::api::{EntityAlreadyExistsException, MalformedPolicyDocumentException, NoSuchEntityException};

/// IAM stores a document only if it is JSON with statements that have an effect and actions.
pub fn check(document: &str) -> Result<(), Fault> {
    let malformed = |why: &str| Err(MalformedPolicyDocumentException::new(why).into());
    let Ok(Value::Object(policy)) = serde_json::from_str::<Value>(document) else {
        return malformed("This policy contains invalid Json");
    };
    if !matches!(policy.get("Version").and_then(Value::as_str), None | Some("2012-10-17" | "2008-10-17")) {
        return malformed("The policy failed legacy parsing");
    }
    let statements: Vec<&Value> = match policy.get("Statement") {
        Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return malformed("Syntax errors in policy."),
    };
    for statement in statements {
        let effect = statement.get("Effect").and_then(Value::as_str);
        let acts = statement.get("Action").or_else(|| statement.get("NotAction")).is_some();
        if !matches!(effect, Some("Allow" | "Deny")) || !acts {
            return malformed("Syntax errors in policy.");
        }
    }
    Ok(())
}

/// IAM answers documents URL-encoded (RFC 3986).
pub fn encode(document: &str) -> String {
    let mut out = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

pub fn no_role(name: &str) -> Fault {
    NoSuchEntityException::new(format!("The role with name {name} cannot be found.")).into()
}

pub fn no_user(name: &str) -> Fault {
    NoSuchEntityException::new(format!("The user with name {name} cannot be found.")).into()
}

pub fn no_policy(arn: &str) -> Fault {
    NoSuchEntityException::new(format!("Policy {arn} was not found.")).into()
}

pub fn exists(kind: &str, name: &str) -> Fault {
    EntityAlreadyExistsException::new(format!("{kind} with name {name} already exists.")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_checked() {
        let good =
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        assert!(check(good).is_ok());
        for bad in [
            "",
            "{",
            "[]",
            r#"{"Version":"2012-10-17"}"#,
            r#"{"Statement":[{"Effect":"Maybe","Action":"*"}]}"#,
        ] {
            assert_eq!(check(bad).unwrap_err().code(), "MalformedPolicyDocument", "{bad}");
        }
    }

    #[test]
    fn documents_are_url_encoded() {
        assert_eq!(encode(r#"{"a": 1}"#), "%7B%22a%22%3A%201%7D");
    }
}
