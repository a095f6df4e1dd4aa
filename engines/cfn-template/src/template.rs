//! The sections of a template, typed and checked. What is not honoured is refused by name.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::{
    Parameter, TemplateError,
    graph::{Reference, collect},
};

const SECTIONS: &[&str] = &[
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Mappings",
    "Conditions",
    "Transform",
    "Resources",
    "Outputs",
    "Rules",
    "Hooks",
];
const RESOURCE_KEYS: &[&str] = &[
    "Type",
    "Properties",
    "DependsOn",
    "Condition",
    "DeletionPolicy",
    "UpdateReplacePolicy",
    "Metadata",
    "CreationPolicy",
    "UpdatePolicy",
];
const MOST_RESOURCES: usize = 500;
const MOST_PARAMETERS: usize = 200;
const MOST_OUTPUTS: usize = 200;

/// A template without transforms left to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub description: Option<String>,
    pub metadata: Option<Value>,
    pub transforms: Vec<String>,
    pub parameters: IndexMap<String, Parameter>,
    pub mappings: Map<String, Value>,
    pub conditions: IndexMap<String, Value>,
    pub resources: IndexMap<String, Resource>,
    pub outputs: IndexMap<String, Output>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub resource_type: String,
    /// An object; empty when there is none.
    pub properties: Value,
    pub depends_on: Vec<String>,
    pub condition: Option<String>,
    pub deletion_policy: Policy,
    pub update_replace_policy: Policy,
    pub metadata: Option<Value>,
}

/// What becomes of a resource when the stack lets go of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    #[default]
    Delete,
    Retain,
    /// Kept, except when its own creation is rolled back.
    RetainExceptOnCreate,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub value: Value,
    pub description: Option<String>,
    pub condition: Option<String>,
    /// The name under which other stacks import it; may hold functions.
    pub export: Option<Value>,
}

impl Template {
    /// Types and checks a template that [`crate::read`] gave.
    ///
    /// # Errors
    /// The first thing that is wrong, in CloudFormation's words.
    pub fn parse(value: &Value) -> Result<Template, TemplateError> {
        let sections = value.as_object().ok_or_else(|| TemplateError::format("unsupported structure."))?;
        check_sections(sections)?;
        let template = Template {
            description: description(sections)?,
            metadata: sections.get("Metadata").cloned(),
            transforms: Template::transforms(value)?,
            parameters: section(sections, "Parameters")?
                .map(|(name, value)| Ok((name.clone(), Parameter::parse(name, value)?)))
                .collect::<Result<_, TemplateError>>()?,
            mappings: section(sections, "Mappings")?
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            conditions: section(sections, "Conditions")?
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            resources: section(sections, "Resources")?
                .map(|(name, value)| Ok((name.clone(), resource(name, value)?)))
                .collect::<Result<_, TemplateError>>()?,
            outputs: section(sections, "Outputs")?
                .map(|(name, value)| Ok((name.clone(), output(name, value)?)))
                .collect::<Result<_, TemplateError>>()?,
        };
        template.check()?;
        Ok(template)
    }

    /// The transforms a template names, in order.
    pub fn transforms(value: &Value) -> Result<Vec<String>, TemplateError> {
        let bad =
            || TemplateError::new("Template format error: Transform must be a string or a list of strings");
        match value.get("Transform") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(name)) => Ok(vec![name.clone()]),
            Some(Value::Array(names)) => {
                names.iter().map(|name| name.as_str().map(String::from).ok_or_else(bad)).collect()
            }
            Some(_) => Err(bad()),
        }
    }

    fn check(&self) -> Result<(), TemplateError> {
        if self.resources.is_empty() {
            return Err(TemplateError::format("At least one Resources member must be defined."));
        }
        limit("resources", self.resources.len(), MOST_RESOURCES)?;
        limit("parameters", self.parameters.len(), MOST_PARAMETERS)?;
        limit("outputs", self.outputs.len(), MOST_OUTPUTS)?;
        self.check_conditions()?;
        self.check_references("Resources", self.resources.values().map(|resource| &resource.properties))?;
        self.check_dependencies()?;
        let exports = self.outputs.values().filter_map(|output| output.export.as_ref());
        self.check_references("Outputs", self.outputs.values().map(|output| &output.value).chain(exports))
    }

    fn check_conditions(&self) -> Result<(), TemplateError> {
        for value in self.conditions.values() {
            for reference in collect(value) {
                let known = match &reference {
                    Reference::Ref(name) => self.parameters.contains_key(name) || name.starts_with("AWS::"),
                    Reference::Condition(name) => self.conditions.contains_key(name),
                    Reference::Attribute(..) => false,
                };
                if !known {
                    return Err(TemplateError::format(format_args!(
                        "Unresolved dependencies [{}]. Cannot reference resources in the Conditions block of the template",
                        reference.name()
                    )));
                }
            }
        }
        let of_resources = self.resources.values().filter_map(|resource| resource.condition.as_ref());
        let of_outputs = self.outputs.values().filter_map(|output| output.condition.as_ref());
        for name in of_resources.chain(of_outputs) {
            self.check_condition(name)?;
        }
        Ok(())
    }

    fn check_condition(&self, name: &str) -> Result<(), TemplateError> {
        if self.conditions.contains_key(name) {
            return Ok(());
        }
        Err(TemplateError::format(format_args!(
            "Unresolved condition dependency {name} in the Resources block of the template"
        )))
    }

    fn check_references<'a>(
        &self,
        block: &str,
        values: impl Iterator<Item = &'a Value>,
    ) -> Result<(), TemplateError> {
        let mut unresolved = Vec::new();
        for reference in values.flat_map(collect) {
            match &reference {
                Reference::Condition(name) => self.check_condition(name)?,
                Reference::Attribute(name, _) if !self.resources.contains_key(name) => {
                    return Err(TemplateError::template(format_args!(
                        "instance of Fn::GetAtt references undefined resource {name}"
                    )));
                }
                Reference::Ref(name) if !self.is_known(name) && !unresolved.contains(name) => {
                    unresolved.push(name.clone());
                }
                _ => {}
            }
        }
        no_unresolved(block, &unresolved)
    }

    fn is_known(&self, name: &str) -> bool {
        self.parameters.contains_key(name) || self.resources.contains_key(name) || name.starts_with("AWS::")
    }

    fn check_dependencies(&self) -> Result<(), TemplateError> {
        let named = self.resources.values().flat_map(|resource| &resource.depends_on);
        let unresolved: Vec<String> =
            named.filter(|name| !self.resources.contains_key(*name)).cloned().collect();
        no_unresolved("Resources", &unresolved)
    }
}

pub(crate) fn no_unresolved(block: &str, names: &[String]) -> Result<(), TemplateError> {
    if names.is_empty() {
        return Ok(());
    }
    Err(TemplateError::format(format_args!(
        "Unresolved resource dependencies [{}] in the {block} block of the template",
        names.join(", ")
    )))
}

fn check_sections(sections: &Map<String, Value>) -> Result<(), TemplateError> {
    let unknown: Vec<&str> =
        sections.keys().map(String::as_str).filter(|name| !SECTIONS.contains(name)).collect();
    if !unknown.is_empty() {
        return Err(TemplateError::new(format!(
            "Invalid template property or properties [{}]",
            unknown.join(", ")
        )));
    }
    for refused in ["Rules", "Hooks"] {
        if sections.contains_key(refused) {
            return Err(not_implemented(&format!("the {refused} section")));
        }
    }
    match sections.get("AWSTemplateFormatVersion") {
        None => Ok(()),
        Some(Value::String(version)) if version == "2010-09-09" => Ok(()),
        Some(other) => {
            let version = other.as_str().map_or_else(|| other.to_string(), String::from);
            Err(TemplateError::format(format_args!("Unrecognized template format version: {version}")))
        }
    }
}

fn not_implemented(what: &str) -> TemplateError {
    TemplateError::template(format_args!("{what} is not implemented"))
}

fn description(sections: &Map<String, Value>) -> Result<Option<String>, TemplateError> {
    match sections.get("Description") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= 1024 => Ok(Some(text.clone())),
        Some(Value::String(_)) => {
            Err(TemplateError::format("Template description may not exceed 1024 bytes in size."))
        }
        Some(_) => Err(TemplateError::format("Description must be a string.")),
    }
}

fn section<'a>(
    sections: &'a Map<String, Value>,
    name: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, TemplateError> {
    let members = match sections.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::Object(members)) => Some(members),
        Some(_) => return Err(TemplateError::format(format_args!("{name} must be an object."))),
    };
    Ok(members.into_iter().flatten())
}

fn limit(what: &str, count: usize, most: usize) -> Result<(), TemplateError> {
    if count <= most {
        return Ok(());
    }
    Err(TemplateError::format(format_args!(
        "Number of {what}, {count}, is greater than maximum allowed, {most}"
    )))
}

fn resource(name: &str, value: &Value) -> Result<Resource, TemplateError> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(TemplateError::format(format_args!("Resource name {name} is non alphanumeric.")));
    }
    let keys = value.as_object().ok_or_else(|| {
        TemplateError::format(format_args!("[/Resources/{name}] resource definition is malformed"))
    })?;
    let unknown: Vec<&str> =
        keys.keys().map(String::as_str).filter(|key| !RESOURCE_KEYS.contains(key)).collect();
    if !unknown.is_empty() {
        return Err(TemplateError::new(format!(
            "Invalid template resource property '{}'",
            unknown.join(", ")
        )));
    }
    for refused in ["CreationPolicy", "UpdatePolicy"] {
        if keys.contains_key(refused) {
            return Err(not_implemented(&format!("{refused} (of resource {name})")));
        }
    }
    let resource_type = keys.get("Type").and_then(Value::as_str).ok_or_else(|| {
        TemplateError::format(format_args!(
            "[/Resources/{name}] Every Resources object must contain a Type member."
        ))
    })?;
    Ok(Resource {
        resource_type: resource_type.into(),
        properties: properties(name, keys.get("Properties"))?,
        depends_on: depends_on(name, keys.get("DependsOn"))?,
        condition: condition(keys),
        deletion_policy: policy(name, "DeletionPolicy", keys)?,
        update_replace_policy: policy(name, "UpdateReplacePolicy", keys)?,
        metadata: keys.get("Metadata").cloned(),
    })
}

fn properties(name: &str, value: Option<&Value>) -> Result<Value, TemplateError> {
    match value {
        None | Some(Value::Null) => Ok(Value::Object(Map::new())),
        Some(Value::Object(members)) => Ok(Value::Object(members.clone())),
        Some(_) => Err(TemplateError::format(format_args!(
            "[/Resources/{name}/Properties] 'Properties' should be of type object"
        ))),
    }
}

fn depends_on(name: &str, value: Option<&Value>) -> Result<Vec<String>, TemplateError> {
    let bad =
        || TemplateError::format(format_args!("[/Resources/{name}] Every DependsOn value must be a string."));
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(all)) => {
            all.iter().map(|one| one.as_str().map(String::from).ok_or_else(bad)).collect()
        }
        Some(_) => Err(bad()),
    }
}

fn condition(keys: &Map<String, Value>) -> Option<String> {
    keys.get("Condition").and_then(Value::as_str).map(String::from)
}

fn policy(name: &str, key: &str, keys: &Map<String, Value>) -> Result<Policy, TemplateError> {
    match keys.get(key).map(|value| value.as_str().unwrap_or_default()) {
        None | Some("Delete") => Ok(Policy::Delete),
        Some("Retain") => Ok(Policy::Retain),
        Some("RetainExceptOnCreate") if key == "DeletionPolicy" => Ok(Policy::RetainExceptOnCreate),
        Some("Snapshot") => Err(not_implemented(&format!("{key} Snapshot (of resource {name})"))),
        Some(other) => {
            Err(TemplateError::template(format_args!("Unrecognized {key} {other} for resource {name}")))
        }
    }
}

fn output(name: &str, value: &Value) -> Result<Output, TemplateError> {
    let malformed = || TemplateError::format(format_args!("Output {name} is malformed."));
    let keys = value.as_object().ok_or_else(malformed)?;
    let value = keys.get("Value").filter(|value| !value.is_null()).ok_or_else(|| {
        TemplateError::format(format_args!(
            "Output {name} is malformed. Every Outputs member must contain a Value object"
        ))
    })?;
    let export = match keys.get("Export") {
        None => None,
        Some(export) => Some(export.get("Name").cloned().ok_or_else(malformed)?),
    };
    let description = keys.get("Description").and_then(Value::as_str).map(String::from);
    Ok(Output { value: value.clone(), description, condition: condition(keys), export })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sentence(template: Value) -> String {
        Template::parse(&template).expect_err("it is refused").to_string()
    }

    #[test]
    fn mistakes_are_named_as_cloudformation_names_them() {
        let queue = json!({"Type": "AWS::SQS::Queue"});
        let cases = [
            (json!({}), "Template format error: At least one Resources member must be defined."),
            (
                json!({"Resources": {"A": {}}}),
                "Template format error: [/Resources/A] Every Resources object must contain a Type member.",
            ),
            (json!({"Foo": 1, "Resources": {"A": queue}}), "Invalid template property or properties [Foo]"),
            (
                json!({"Resources": {"A-B": queue}}),
                "Template format error: Resource name A-B is non alphanumeric.",
            ),
            (
                json!({"Resources": {"A": {"Type": "T", "Properties": {"X": {"Ref": "Nope"}}}}}),
                "Template format error: Unresolved resource dependencies [Nope] in the Resources block of the template",
            ),
            (
                json!({"Resources": {"A": {"Type": "T", "Properties": {"X": {"Fn::GetAtt": ["Nope", "Arn"]}}}}}),
                "Template error: instance of Fn::GetAtt references undefined resource Nope",
            ),
            (
                json!({"Resources": {"A": {"Type": "T", "DependsOn": "Nope"}}}),
                "Template format error: Unresolved resource dependencies [Nope] in the Resources block of the template",
            ),
            (
                json!({"Resources": {"A": queue}, "Outputs": {"O": {"Value": {"Fn::Sub": "${Nope}"}}}}),
                "Template format error: Unresolved resource dependencies [Nope] in the Outputs block of the template",
            ),
            (
                json!({"AWSTemplateFormatVersion": "2011-01-01", "Resources": {"A": queue}}),
                "Template format error: Unrecognized template format version: 2011-01-01",
            ),
            (
                json!({"Rules": {}, "Resources": {"A": queue}}),
                "Template error: the Rules section is not implemented",
            ),
        ];
        for (template, expected) in cases {
            assert_eq!(sentence(template), expected);
        }
    }
}
