//! Intrinsic functions and conditions. Source: the CloudFormation template reference, "Intrinsic function reference".

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, prelude::BASE64_STANDARD};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::{Template, TemplateError, cidr};

const SUPPORTED: &str = "[Fn::Base64, Fn::GetAtt, Fn::GetAZs, Fn::ImportValue, Fn::Join, Fn::Split, Fn::FindInMap, Fn::Select, Ref, Fn::Equals, Fn::If, Fn::Not, Condition, Fn::And, Fn::Or, Fn::Contains, Fn::EachMemberEquals, Fn::EachMemberIn, Fn::ValueOf, Fn::ValueOfAll, Fn::RefAll, Fn::Sub, Fn::Cidr]";

/// What resolved values of one stack may hold in all, in bytes.
const MOST_RESOLVED: usize = 32 << 20;

/// The pseudo parameters of a stack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pseudo {
    pub account: String,
    pub region: String,
    pub stack_name: String,
    pub stack_id: String,
    pub notification_arns: Vec<String>,
}

/// What is known of resources and other stacks while properties are resolved.
pub trait Known {
    /// What `Ref` answers for a resource.
    fn reference(&self, resource: &str) -> Result<Value, TemplateError>;
    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, TemplateError>;
    /// The value another stack exported.
    fn import(&self, name: &str) -> Result<Value, TemplateError>;
}

/// Everything an expression may refer to besides resources.
#[derive(Debug, Clone)]
pub struct Scope {
    parameters: IndexMap<String, Value>,
    mappings: Map<String, Value>,
    conditions: BTreeMap<String, bool>,
    pseudo: Pseudo,
    resolved: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

type Resolved = Result<Option<Value>, TemplateError>;

impl Scope {
    /// A scope with the template's conditions decided.
    pub fn new(
        template: &Template,
        parameters: IndexMap<String, Value>,
        pseudo: Pseudo,
    ) -> Result<Scope, TemplateError> {
        let mut scope = Scope {
            parameters,
            mappings: template.mappings.clone(),
            conditions: BTreeMap::new(),
            pseudo,
            resolved: Default::default(),
        };
        for name in template.conditions.keys() {
            scope.decide(template, name, &mut Vec::new())?;
        }
        Ok(scope)
    }

    fn decide(
        &mut self,
        template: &Template,
        name: &str,
        path: &mut Vec<String>,
    ) -> Result<(), TemplateError> {
        if self.conditions.contains_key(name) {
            return Ok(());
        }
        if path.iter().any(|other| other == name) {
            return Err(TemplateError::new(format!(
                "Circular dependency between conditions: [{}]",
                path.join(", ")
            )));
        }
        let Some(expression) = template.conditions.get(name) else {
            return Err(TemplateError::template(format_args!("unresolved condition {name}")));
        };
        path.push(name.into());
        for other in crate::graph::collect(expression) {
            if let crate::graph::Reference::Condition(other) = other {
                self.decide(template, &other, path)?;
            }
        }
        if let Some(other) = expression.get("Condition").and_then(Value::as_str) {
            self.decide(template, other, path)?;
        }
        path.pop();
        let value = self.truth(expression, &Nothing)?;
        self.conditions.insert(name.into(), value);
        Ok(())
    }

    /// Whether what carries this condition exists; what carries none does.
    pub fn exists(&self, condition: Option<&str>) -> bool {
        condition.is_none_or(|name| self.conditions.get(name) == Some(&true))
    }

    /// A value with every `Fn::If` replaced by the branch that is taken.
    pub fn prune(&self, value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.prune(item)).collect(),
            Value::Object(members) => match self.branch(members) {
                Some(taken) => self.prune(taken),
                None => members.iter().map(|(name, member)| (name.clone(), self.prune(member))).collect(),
            },
            other => other.clone(),
        }
    }

    fn branch<'a>(&self, members: &'a Map<String, Value>) -> Option<&'a Value> {
        let parts = members.get("Fn::If").filter(|_| members.len() == 1)?.as_array()?;
        let holds = *self.conditions.get(parts.first()?.as_str()?)?;
        parts.get(if holds { 1 } else { 2 })
    }

    /// The value with all functions evaluated; `Null` when it is `AWS::NoValue`.
    pub fn resolve(&self, value: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        Ok(self.value(value, known)?.unwrap_or(Value::Null))
    }

    fn value(&self, value: &Value, known: &dyn Known) -> Resolved {
        match value {
            Value::Object(members) => {
                if let Some((name, argument)) = single(members)
                    && (name == "Ref" || name.starts_with("Fn::"))
                {
                    return self.call(name, argument, known);
                }
                let mut resolved = Map::new();
                for (name, member) in members {
                    if let Some(member) = self.value(member, known)? {
                        resolved.insert(name.clone(), member);
                    }
                }
                Ok(Some(Value::Object(resolved)))
            }
            Value::Array(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.value(item, known)).collect();
                Ok(Some(Value::Array(items?.into_iter().flatten().collect())))
            }
            Value::String(text) => self.counted(Value::String(plain(text)?.to_string())),
            other => Ok(Some(other.clone())),
        }
    }

    /// Counts what texts hold, so that a small template cannot grow without bound.
    fn counted(&self, value: Value) -> Resolved {
        let size = value.as_str().map_or(16, str::len);
        let before = self.resolved.fetch_add(size, std::sync::atomic::Ordering::Relaxed);
        if before > MOST_RESOLVED {
            return Err(TemplateError::template("the resolved template is too large"));
        }
        Ok(Some(value))
    }

    fn call(&self, name: &str, argument: &Value, known: &dyn Known) -> Resolved {
        let value = match name {
            "Ref" => return self.reference(argument, known),
            "Fn::GetAtt" => self.attribute(argument, known)?,
            "Fn::Sub" => self.substitute(argument, known)?,
            "Fn::Join" => self.join(argument, known)?,
            "Fn::Select" => self.select(argument, known)?,
            "Fn::Split" => self.split(argument, known)?,
            "Fn::FindInMap" => self.find_in_map(argument, known)?,
            "Fn::Base64" => Value::from(BASE64_STANDARD.encode(self.text(argument, known, "Fn::Base64")?)),
            "Fn::ImportValue" => known.import(&self.text(argument, known, "Fn::ImportValue")?)?,
            "Fn::GetAZs" => self.zones(argument, known)?,
            "Fn::Cidr" => self.cidr(argument, known)?,
            "Fn::If" => return self.choose(argument, known),
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" => {
                let expression = Value::Object(Map::from_iter([(name.to_string(), argument.clone())]));
                Value::Bool(self.truth(&expression, known)?)
            }
            other => {
                return Err(TemplateError::format(format_args!(
                    "Encountered unsupported function: {other} Supported functions are: {SUPPORTED}"
                )));
            }
        };
        self.counted(value)
    }

    fn reference(&self, argument: &Value, known: &dyn Known) -> Resolved {
        let name = argument
            .as_str()
            .ok_or_else(|| TemplateError::format("Every Ref object must have a single String value."))?;
        if name == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(value) = self.pseudo.value(name) {
            return Ok(Some(value));
        }
        match self.parameters.get(name) {
            Some(value) => self.counted(value.clone()),
            None => known.reference(name).map(Some),
        }
    }

    fn attribute(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let bad = || {
            TemplateError::template(
                "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute",
            )
        };
        let (resource, attribute) = match argument {
            Value::String(path) => {
                let (resource, attribute) = path.split_once('.').ok_or_else(bad)?;
                (resource.to_string(), attribute.to_string())
            }
            Value::Array(parts) if parts.len() == 2 => {
                let resource = parts[0].as_str().ok_or_else(bad)?.to_string();
                (resource, self.text(&parts[1], known, "Fn::GetAtt")?)
            }
            _ => return Err(bad()),
        };
        known.attribute(&resource, &attribute)
    }

    fn substitute(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let bad = || {
            TemplateError::template(
                "One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string",
            )
        };
        let (text, variables) = match argument {
            Value::String(text) => (text, None),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(text), Value::Object(variables)] => (text, Some(variables)),
                [Value::String(text)] => (text, None),
                _ => return Err(bad()),
            },
            _ => return Err(bad()),
        };
        let mut made = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            made.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(TemplateError::template(format_args!(
                    "variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons"
                )));
            };
            match name.strip_prefix('!') {
                Some(literal) => made.push_str(&format!("${{{literal}}}")),
                None => made.push_str(&self.variable(name.trim(), variables, known)?),
            }
            rest = after;
        }
        made.push_str(rest);
        Ok(Value::String(plain(&made)?.into_owned()))
    }

    fn variable(
        &self,
        name: &str,
        variables: Option<&Map<String, Value>>,
        known: &dyn Known,
    ) -> Result<String, TemplateError> {
        if let Some(value) = variables.and_then(|variables| variables.get(name)) {
            return self.text(value, known, "Fn::Sub");
        }
        let value = match name.split_once('.') {
            Some((resource, attribute)) => known.attribute(resource, attribute)?,
            None => self.reference(&Value::from(name), known)?.unwrap_or(Value::String(String::new())),
        };
        printed(&value).ok_or_else(|| {
            TemplateError::template(format_args!("Fn::Sub cannot substitute {name}: it is not a string"))
        })
    }

    fn join(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let bad = || {
            TemplateError::template(
                "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined.",
            )
        };
        let Some([delimiter, list]) = argument.as_array().map(Vec::as_slice) else { return Err(bad()) };
        let delimiter = delimiter.as_str().ok_or_else(bad)?;
        let Value::Array(items) = self.resolve(list, known)? else { return Err(bad()) };
        let items: Option<Vec<String>> = items.iter().map(printed).collect();
        Ok(Value::String(plain(&items.ok_or_else(bad)?.join(delimiter))?.into_owned()))
    }

    fn select(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let bad = || {
            TemplateError::template(
                "Fn::Select requires a list argument with two elements: an integer index and a list",
            )
        };
        let Some([index, list]) = argument.as_array().map(Vec::as_slice) else { return Err(bad()) };
        let index = self.text(index, known, "Fn::Select")?;
        let at: usize = index.trim().parse().map_err(|_| bad())?;
        let Value::Array(mut items) = self.resolve(list, known)? else { return Err(bad()) };
        if at >= items.len() {
            return Err(TemplateError::template(format_args!(
                "Fn::Select cannot select nonexistent value at index {at}"
            )));
        }
        Ok(items.swap_remove(at))
    }

    fn split(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let bad = || {
            TemplateError::template(
                "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.",
            )
        };
        let Some([Value::String(delimiter), text]) = argument.as_array().map(Vec::as_slice) else {
            return Err(bad());
        };
        if delimiter.is_empty() {
            return Err(bad());
        }
        let text = self.text(text, known, "Fn::Split")?;
        Ok(text.split(delimiter.as_str()).map(Value::from).collect())
    }

    fn find_in_map(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let Some([map, top, second]) = argument.as_array().map(Vec::as_slice) else {
            return Err(TemplateError::template(
                "every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value",
            ));
        };
        let map = self.text(map, known, "Fn::FindInMap")?;
        let top = self.text(top, known, "Fn::FindInMap")?;
        let second = self.text(second, known, "Fn::FindInMap")?;
        let mapping = self.mappings.get(&map).ok_or_else(|| {
            TemplateError::template(format_args!(
                "Mapping named '{map}' is not present in the 'Mappings' section of template."
            ))
        })?;
        let found = mapping.get(&top).and_then(|entries| entries.get(&second)).cloned();
        found.ok_or_else(|| {
            TemplateError::template(format_args!("Unable to get mapping for {map}::{top}::{second}"))
        })
    }

    fn zones(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let named = self.text(argument, known, "Fn::GetAZs")?;
        let region = if named.is_empty() { &self.pseudo.region } else { &named };
        Ok(["a", "b", "c"].iter().map(|zone| Value::from(format!("{region}{zone}"))).collect())
    }

    fn cidr(&self, argument: &Value, known: &dyn Known) -> Result<Value, TemplateError> {
        let bad = || {
            TemplateError::template(
                "every Fn::Cidr object requires two or three parameters: an IP block, a count and the number of subnet bits that fit into it",
            )
        };
        let parts = argument.as_array().filter(|parts| (2..=3).contains(&parts.len())).ok_or_else(bad)?;
        let block = self.text(&parts[0], known, "Fn::Cidr")?;
        let number = |part: &Value| self.text(part, known, "Fn::Cidr")?.trim().parse().map_err(|_| bad());
        let count = number(&parts[1])?;
        let bits = parts.get(2).map(number).transpose()?.unwrap_or(8);
        Ok(Value::from(cidr::blocks(&block, count, bits).ok_or_else(bad)?))
    }

    fn choose(&self, argument: &Value, known: &dyn Known) -> Resolved {
        let bad = || {
            TemplateError::template(
                "Fn::If requires a list argument with three elements: a condition name, a value if it is true and a value if it is false",
            )
        };
        let Some([Value::String(name), yes, no]) = argument.as_array().map(Vec::as_slice) else {
            return Err(bad());
        };
        let holds = self
            .conditions
            .get(name)
            .ok_or_else(|| TemplateError::template(format_args!("unresolved condition {name}")))?;
        self.value(if *holds { yes } else { no }, known)
    }

    /// The value of a condition.
    fn truth(&self, expression: &Value, known: &dyn Known) -> Result<bool, TemplateError> {
        let bad = || {
            TemplateError::format(format_args!(
                "Conditions can only be boolean operations on parameters and other conditions"
            ))
        };
        let (name, argument) = expression.as_object().and_then(single).ok_or_else(bad)?;
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (name, parts) {
            ("Condition", _) => {
                let name = argument.as_str().ok_or_else(bad)?;
                self.conditions.get(name).copied().ok_or_else(bad)
            }
            ("Fn::Equals", [one, other]) => {
                let (one, other) = (self.resolve(one, known)?, self.resolve(other, known)?);
                Ok(printed(&one).map_or_else(|| one == other, |text| Some(text) == printed(&other)))
            }
            ("Fn::Not", [one]) => Ok(!self.truth(one, known)?),
            ("Fn::And", all @ [_, _, ..]) if all.len() <= 10 => {
                all.iter().try_fold(true, |so_far, one| Ok(self.truth(one, known)? && so_far))
            }
            ("Fn::Or", any @ [_, _, ..]) if any.len() <= 10 => {
                any.iter().try_fold(false, |so_far, one| Ok(self.truth(one, known)? || so_far))
            }
            _ => Err(bad()),
        }
    }

    fn text(&self, value: &Value, known: &dyn Known, function: &str) -> Result<String, TemplateError> {
        let resolved = self.resolve(value, known)?;
        printed(&resolved).ok_or_else(|| {
            TemplateError::template(format_args!("every {function} object must have a String value."))
        })
    }
}

impl Pseudo {
    fn value(&self, name: &str) -> Option<Value> {
        Some(match name {
            "AWS::AccountId" => Value::from(self.account.as_str()),
            "AWS::Region" => Value::from(self.region.as_str()),
            "AWS::Partition" => Value::from("aws"),
            "AWS::URLSuffix" => Value::from("amazonaws.com"),
            "AWS::StackName" => Value::from(self.stack_name.as_str()),
            "AWS::StackId" => Value::from(self.stack_id.as_str()),
            "AWS::NotificationARNs" => Value::from(self.notification_arns.clone()),
            _ => return None,
        })
    }
}

/// Conditions may refer to nothing that has to be made first.
struct Nothing;

impl Known for Nothing {
    fn reference(&self, resource: &str) -> Result<Value, TemplateError> {
        Err(TemplateError::format(format_args!(
            "Unresolved dependencies [{resource}]. Cannot reference resources in the Conditions block of the template"
        )))
    }

    fn attribute(&self, resource: &str, _: &str) -> Result<Value, TemplateError> {
        self.reference(resource)
    }

    fn import(&self, _: &str) -> Result<Value, TemplateError> {
        Err(TemplateError::format("Cannot use Fn::ImportValue in Conditions."))
    }
}

fn single(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    members.iter().next().filter(|_| members.len() == 1).map(|(name, argument)| (name.as_str(), argument))
}

fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A text without dynamic references; those name services that are not asked yet.
fn plain(text: &str) -> Result<Cow<'_, str>, TemplateError> {
    if !text.contains("{{resolve:") {
        return Ok(Cow::Borrowed(text));
    }
    let named = text.split("{{resolve:").nth(1).and_then(|rest| rest.split("}}").next()).unwrap_or_default();
    Err(TemplateError::template(format_args!("dynamic reference {{{{resolve:{named}}}}} is not implemented")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Made;

    impl Known for Made {
        fn reference(&self, resource: &str) -> Result<Value, TemplateError> {
            Ok(json!(format!("{resource}-id")))
        }

        fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, TemplateError> {
            Ok(json!(format!("{resource}/{attribute}")))
        }

        fn import(&self, name: &str) -> Result<Value, TemplateError> {
            Ok(json!(format!("imported {name}")))
        }
    }

    fn evaluate(expression: Value) -> Result<Value, String> {
        let template = json!({
            "Mappings": {"M": {"us-east-1": {"size": "big"}}},
            "Conditions": {
                "Yes": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
                "No": {"Fn::Not": [{"Condition": "Yes"}]},
                "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
            },
            "Parameters": {"Stage": {"Type": "String"}, "List": {"Type": "CommaDelimitedList"}},
            "Resources": {"A": {"Type": "T"}},
        });
        let template = Template::parse(&template).map_err(|error| error.to_string())?;
        let parameters =
            IndexMap::from([("Stage".to_string(), json!("prod")), ("List".to_string(), json!(["a", "b"]))]);
        let pseudo = Pseudo { account: "1".into(), region: "us-east-1".into(), ..Pseudo::default() };
        let scope = Scope::new(&template, parameters, pseudo).map_err(|error| error.to_string())?;
        scope.resolve(&expression, &Made).map_err(|error| error.to_string())
    }

    #[test]
    fn functions_answer() {
        let cases = [
            (json!({"Ref": "Stage"}), json!("prod")),
            (json!({"Ref": "A"}), json!("A-id")),
            (json!({"Ref": "AWS::Region"}), json!("us-east-1")),
            (json!({"Fn::GetAtt": ["A", "Arn"]}), json!("A/Arn")),
            (json!({"Fn::GetAtt": "A.Arn"}), json!("A/Arn")),
            (
                json!({"Fn::Sub": "${Stage}-${A}-${A.Arn}-${!x}-${AWS::AccountId}"}),
                json!("prod-A-id-A/Arn-${x}-1"),
            ),
            (json!({"Fn::Sub": ["${X}/${Stage}", {"X": {"Ref": "A"}}]}), json!("A-id/prod")),
            (json!({"Fn::Join": ["-", ["a", {"Ref": "Stage"}, 5]]}), json!("a-prod-5")),
            (json!({"Fn::Join": [",", {"Ref": "List"}]}), json!("a,b")),
            (json!({"Fn::Select": ["1", {"Ref": "List"}]}), json!("b")),
            (json!({"Fn::Select": [0, {"Fn::GetAZs": ""}]}), json!("us-east-1a")),
            (json!({"Fn::Split": ["|", "a|b"]}), json!(["a", "b"])),
            (json!({"Fn::FindInMap": ["M", {"Ref": "AWS::Region"}, "size"]}), json!("big")),
            (json!({"Fn::Base64": "x"}), json!("eA==")),
            (json!({"Fn::ImportValue": {"Fn::Sub": "${Stage}-out"}}), json!("imported prod-out")),
            (json!({"Fn::If": ["Yes", 1, 2]}), json!(1)),
            (json!({"Fn::If": ["Both", 1, 2]}), json!(2)),
            (
                json!({"X": {"Fn::If": ["No", 1, {"Ref": "AWS::NoValue"}]}, "Y": [{"Ref": "AWS::NoValue"}]}),
                json!({"Y": []}),
            ),
            (json!({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}), json!(["10.0.0.0/24", "10.0.1.0/24"])),
            (
                json!({"Condition": {"StringEquals": {"a": "b"}}}),
                json!({"Condition": {"StringEquals": {"a": "b"}}}),
            ),
        ];
        for (expression, expected) in cases {
            assert_eq!(evaluate(expression.clone()), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn wrong_arguments_are_told() {
        let cases = [
            (
                json!({"Fn::Select": ["7", ["a"]]}),
                "Template error: Fn::Select cannot select nonexistent value at index 7",
            ),
            (
                json!({"Fn::FindInMap": ["N", "a", "b"]}),
                "Template error: Mapping named 'N' is not present in the 'Mappings' section of template.",
            ),
            (json!({"Fn::FindInMap": ["M", "a", "b"]}), "Template error: Unable to get mapping for M::a::b"),
            (
                json!("{{resolve:ssm:x}}"),
                "Template error: dynamic reference {{resolve:ssm:x}} is not implemented",
            ),
        ];
        for (expression, expected) in cases {
            assert_eq!(evaluate(expression), Err(expected.to_string()));
        }
        assert!(
            evaluate(json!({"Fn::Nope": 1}))
                .expect_err("unknown")
                .starts_with("Template format error: Encountered unsupported function: Fn::Nope")
        );
    }
}
