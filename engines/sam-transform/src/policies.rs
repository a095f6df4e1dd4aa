//! What a function's role may do: managed policies, inline statements and SAM's policy templates.
//! `policy_templates.json` holds the templates' parameters and statements as AWS publishes them (aws-sam-translator 1.110).

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value, json};

use crate::SamError;

static TEMPLATES: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("policy_templates.json")).unwrap_or_default());

/// Managed policies that live under a path.
const SERVICE_ROLES: &[&str] = &[
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaDynamoDBExecutionRole",
    "AWSLambdaENIManagementAccess",
    "AWSLambdaKinesisExecutionRole",
    "AWSLambdaMSKExecutionRole",
    "AWSLambdaRole",
    "AWSLambdaSQSQueueExecutionRole",
    "AWSLambdaVPCAccessExecutionRole",
    "AmazonSNSRole",
];

/// The policies of one role.
#[derive(Default)]
pub(crate) struct Policies {
    pub managed: Vec<Value>,
    pub inline: Vec<Value>,
}

impl Policies {
    /// Reads a function's `Policies`.
    pub fn read(function: &str, role: &str, value: Option<&Value>) -> Result<Policies, SamError> {
        let one;
        let all: &[Value] = match value {
            None | Some(Value::Null) => &[],
            Some(Value::Array(all)) => all,
            Some(single) => {
                one = [single.clone()];
                &one
            }
        };
        let mut policies = Policies::default();
        for (at, policy) in all.iter().enumerate() {
            policies.add(function, &format!("{role}Policy{at}"), policy)?;
        }
        Ok(policies)
    }

    fn add(&mut self, function: &str, name: &str, policy: &Value) -> Result<(), SamError> {
        match policy {
            Value::String(managed) => self.manage(json!(arn(managed))),
            Value::Object(members) if members.contains_key("Statement") => {
                self.inline.push(json!({"PolicyName": name, "PolicyDocument": policy}));
            }
            Value::Object(members) if members.len() == 1 => {
                let (first, argument) =
                    members.iter().next().map_or(("", &Value::Null), |(k, v)| (k.as_str(), v));
                if first == "Ref" || first.starts_with("Fn::") {
                    self.manage(policy.clone());
                } else {
                    let document = json!({"Statement": template(function, first, argument)?});
                    self.inline.push(json!({"PolicyName": name, "PolicyDocument": document}));
                }
            }
            _ => return Err(SamError::new(function, "'Policies' contains an entry that is no policy.")),
        }
        Ok(())
    }

    /// Adds a managed policy, once.
    pub fn manage(&mut self, policy: Value) {
        if !self.managed.contains(&policy) {
            self.managed.push(policy);
        }
    }

    /// Adds a policy that allows one action.
    pub fn allow(&mut self, name: String, action: &str, resource: &Value) {
        let statement = json!([{"Action": action, "Effect": "Allow", "Resource": resource}]);
        self.inline.push(json!({"PolicyName": name, "PolicyDocument": {"Statement": statement}}));
    }
}

/// The ARN of a managed policy given by name.
pub(crate) fn arn(name: &str) -> String {
    match name {
        arn if arn.contains(':') => arn.into(),
        role if SERVICE_ROLES.contains(&role) => format!("arn:aws:iam::aws:policy/service-role/{role}"),
        name => format!("arn:aws:iam::aws:policy/{name}"),
    }
}

fn template(function: &str, name: &str, arguments: &Value) -> Result<Value, SamError> {
    let found = TEMPLATES.get(name).ok_or_else(|| {
        SamError::new(function, format!("Specified policy template '{name}' does not exist."))
    })?;
    let wanted: Vec<&str> =
        found["parameters"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let given: BTreeMap<&str, &Value> =
        arguments.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect();
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !given.contains_key(name)).collect();
    if !missing.is_empty() {
        let sentence = format!(
            "Following required parameters of policy template '{name}' are missing: {}",
            missing.join(",")
        );
        return Err(SamError::new(function, sentence));
    }
    Ok(filled(&found["statement"], &given))
}

fn filled(value: &Value, given: &BTreeMap<&str, &Value>) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| filled(item, given)).collect(),
        Value::Object(members) => {
            let parameter = members.get("Ref").and_then(Value::as_str).and_then(|name| given.get(name));
            match parameter {
                Some(argument) => (*argument).clone(),
                None => members.iter().map(|(name, member)| (name.clone(), filled(member, given))).collect(),
            }
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let policies = Policies::read(
            "F",
            "FRole",
            Some(&json!([{"SQSSendMessagePolicy": {"QueueName": {"Ref": "Q"}}}])),
        );
        let policies = policies.map_err(|error| error.to_string()).expect("it is good");
        let resource = &policies.inline[0]["PolicyDocument"]["Statement"][0]["Resource"]["Fn::Sub"];
        assert_eq!(resource[1], json!({"queueName": {"Ref": "Q"}}));
    }

    #[test]
    fn unknown_templates_and_missing_parameters_are_refused() {
        for (policy, sentence) in [
            (json!({"NoSuchPolicy": {}}), "Specified policy template 'NoSuchPolicy' does not exist."),
            (
                json!({"S3ReadPolicy": {}}),
                "Following required parameters of policy template 'S3ReadPolicy' are missing: BucketName",
            ),
        ] {
            let error = Policies::read("F", "FRole", Some(&policy)).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains(sentence)), "{sentence}");
        }
    }
}
