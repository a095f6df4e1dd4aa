//! Parameters: their declarations, and the values given for them.

use fancy_regex::Regex;
use indexmap::IndexMap;
use serde_json::Value;

use crate::TemplateError;

/// The longest value, in bytes.
const LONGEST: usize = 4096;

/// A declared parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub parameter_type: String,
    pub default: Option<String>,
    pub no_echo: bool,
    pub description: Option<String>,
    pub allowed_values: Vec<String>,
    pub allowed_pattern: Option<String>,
    pub constraint: Option<String>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_value: Option<f64>,
    pub max_value: Option<f64>,
}

/// What a caller gave for a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    Value(String),
    /// `UsePreviousValue`, with what that was; `None` when there was none.
    Previous(Option<String>),
}

impl Parameter {
    pub(crate) fn parse(name: &str, value: &Value) -> Result<Parameter, TemplateError> {
        let bad = |what: &str| TemplateError::format(format_args!("Parameter {name} {what}"));
        if !value.is_object() {
            return Err(bad("must be an object."));
        }
        let parameter_type = text(value, "Type")
            .ok_or_else(|| TemplateError::format("Every Parameters object must contain a Type member."))?;
        check_type(&parameter_type)?;
        let allowed_values = match value.get("AllowedValues") {
            None => Vec::new(),
            Some(Value::Array(values)) => values.iter().filter_map(printed).collect(),
            Some(_) => return Err(bad("AllowedValues must be a list.")),
        };
        Ok(Parameter {
            default: text(value, "Default"),
            no_echo: matches!(text(value, "NoEcho").as_deref(), Some("true" | "True")),
            description: text(value, "Description"),
            allowed_values,
            allowed_pattern: text(value, "AllowedPattern"),
            constraint: text(value, "ConstraintDescription"),
            min_length: number(value, "MinLength"),
            max_length: number(value, "MaxLength"),
            min_value: number(value, "MinValue"),
            max_value: number(value, "MaxValue"),
            parameter_type,
        })
    }

    fn is_list(&self) -> bool {
        self.parameter_type == "CommaDelimitedList" || self.parameter_type.starts_with("List<")
    }

    fn is_numeric(&self) -> bool {
        matches!(self.parameter_type.as_str(), "Number" | "List<Number>")
    }

    /// What `Ref` answers.
    fn value(&self, text: &str) -> Value {
        if self.is_list() {
            return text.split(',').map(|item| Value::from(item.trim())).collect();
        }
        Value::from(text)
    }

    fn check(&self, name: &str, text: &str) -> Result<(), TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::new(format!("Parameter '{name}' must not exceed 4096 bytes")));
        }
        let items: Vec<&str> =
            if self.is_list() { text.split(',').map(str::trim).collect() } else { vec![text] };
        items.into_iter().try_for_each(|item| self.check_item(name, item))
    }

    fn check_item(&self, name: &str, item: &str) -> Result<(), TemplateError> {
        if self.is_numeric() && item.trim().parse::<f64>().is_err() {
            return Err(TemplateError::new(format!("Parameter '{name}' must be a number")));
        }
        if !self.allowed_values.is_empty() && !self.allowed_values.iter().any(|one| one == item) {
            return Err(self.violated(name, "must be one of AllowedValues".to_string()));
        }
        if let Some(pattern) = &self.allowed_pattern {
            self.check_pattern(name, item, pattern)?;
        }
        let length = item.chars().count() as u64;
        if self.min_length.is_some_and(|min| length < min) {
            let min = self.min_length.unwrap_or_default();
            return Err(self.violated(name, format!("must contain at least {min} characters")));
        }
        if self.max_length.is_some_and(|max| length > max) {
            let max = self.max_length.unwrap_or_default();
            return Err(self.violated(name, format!("must contain at most {max} characters")));
        }
        let number = item.trim().parse::<f64>().unwrap_or_default();
        if self.min_value.is_some_and(|min| number < min) {
            let min = self.min_value.unwrap_or_default();
            return Err(self.violated(name, format!("must be a number not less than {min}")));
        }
        if self.max_value.is_some_and(|max| number > max) {
            let max = self.max_value.unwrap_or_default();
            return Err(self.violated(name, format!("must be a number not greater than {max}")));
        }
        Ok(())
    }

    fn check_pattern(&self, name: &str, item: &str, pattern: &str) -> Result<(), TemplateError> {
        let matcher = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
            TemplateError::format(format_args!(
                "Parameter {name} AllowedPattern is not a valid regular expression."
            ))
        })?;
        // A pattern that takes too long to decide does not match.
        if matcher.is_match(item).unwrap_or(false) {
            return Ok(());
        }
        Err(self.violated(name, format!("must match pattern {pattern}")))
    }

    fn violated(&self, name: &str, rule: String) -> TemplateError {
        match &self.constraint {
            Some(said) => {
                TemplateError::new(format!("Parameter {name} failed to satisfy constraint: {said}"))
            }
            None => TemplateError::new(format!("Parameter '{name}' {rule}")),
        }
    }
}

/// The value of every declared parameter, as text and as `Ref` answers it.
///
/// # Errors
/// When one is missing, not declared, or violates its constraints.
pub fn values(
    declared: &IndexMap<String, Parameter>,
    given: &IndexMap<String, Given>,
) -> Result<IndexMap<String, (String, Value)>, TemplateError> {
    let unknown: Vec<&str> =
        given.keys().map(String::as_str).filter(|name| !declared.contains_key(*name)).collect();
    if !unknown.is_empty() {
        return Err(TemplateError::new(format!(
            "Parameters: [{}] do not exist in the template",
            unknown.join(", ")
        )));
    }
    let (mut values, mut missing) = (IndexMap::new(), Vec::new());
    for (name, parameter) in declared {
        let text = match given.get(name) {
            Some(Given::Value(text)) => Some(text.clone()),
            Some(Given::Previous(previous)) => previous.clone(),
            None => parameter.default.clone(),
        };
        match text {
            None => missing.push(name.as_str()),
            Some(text) => {
                parameter.check(name, &text)?;
                let value = parameter.value(&text);
                values.insert(name.clone(), (text, value));
            }
        }
    }
    if !missing.is_empty() {
        return Err(TemplateError::new(format!("Parameters: [{}] must have values", missing.join(", "))));
    }
    Ok(values)
}

fn check_type(name: &str) -> Result<(), TemplateError> {
    let inner = name.strip_prefix("List<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(name);
    let is_aws = inner.starts_with("AWS::EC2::") || inner.starts_with("AWS::Route53::");
    if matches!(inner, "String" | "Number" | "CommaDelimitedList") || is_aws {
        return Ok(());
    }
    if inner.starts_with("AWS::SSM::Parameter::") {
        return Err(TemplateError::template(format_args!("parameter type {name} is not implemented")));
    }
    Err(TemplateError::format(format_args!("Unrecognized parameter type: {name}")))
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(printed)
}

fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(value: &Value, key: &str) -> Option<T> {
    text(value, key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(declaration: Value, given: Option<&str>) -> Result<Value, String> {
        let parameter = Parameter::parse("P", &declaration).map_err(|error| error.to_string())?;
        let declared = IndexMap::from([("P".to_string(), parameter)]);
        let given = given.map(|text| ("P".to_string(), Given::Value(text.into()))).into_iter().collect();
        values(&declared, &given).map(|values| values["P"].1.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_typed() {
        assert_eq!(one(json!({"Type": "String"}), Some("x")), Ok(json!("x")));
        assert_eq!(one(json!({"Type": "Number", "Default": 5}), None), Ok(json!("5")));
        assert_eq!(one(json!({"Type": "CommaDelimitedList"}), Some("a, b")), Ok(json!(["a", "b"])));
    }

    #[test]
    fn violations_are_told_as_cloudformation_tells_them() {
        let cases = [
            (json!({"Type": "String"}), None, "Parameters: [P] must have values"),
            (json!({"Type": "Number"}), Some("x"), "Parameter 'P' must be a number"),
            (
                json!({"Type": "String", "AllowedValues": ["a"]}),
                Some("b"),
                "Parameter 'P' must be one of AllowedValues",
            ),
            (
                json!({"Type": "String", "AllowedPattern": "[a-z]+"}),
                Some("B"),
                "Parameter 'P' must match pattern [a-z]+",
            ),
            (
                json!({"Type": "String", "AllowedPattern": "[a-z]+", "ConstraintDescription": "small letters"}),
                Some("B"),
                "Parameter P failed to satisfy constraint: small letters",
            ),
            (
                json!({"Type": "String", "MinLength": 3}),
                Some("ab"),
                "Parameter 'P' must contain at least 3 characters",
            ),
            (
                json!({"Type": "Number", "MaxValue": "5"}),
                Some("6"),
                "Parameter 'P' must be a number not greater than 5",
            ),
            (
                json!({"Type": "Strange"}),
                Some("6"),
                "Template format error: Unrecognized parameter type: Strange",
            ),
        ];
        for (declaration, given, expected) in cases {
            assert_eq!(one(declaration, given), Err(expected.to_string()));
        }
        let unknown = IndexMap::from([("Q".to_string(), Given::Value("x".into()))]);
        assert_eq!(
            values(&IndexMap::new(), &unknown).expect_err("unknown").to_string(),
            "Parameters: [Q] do not exist in the template"
        );
    }
}
