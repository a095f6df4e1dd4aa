//! What depends on what: references found in values, and the order that follows.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::Value;

use crate::{Scope, Template, TemplateError, template::no_unresolved};

/// Something a value refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A parameter, pseudo parameter or resource.
    Ref(String),
    /// A resource and its attribute.
    Attribute(String, String),
    /// A condition, in `Fn::If` or as `{"Condition": …}`.
    Condition(String),
}

impl Reference {
    pub fn name(&self) -> &str {
        match self {
            Reference::Ref(name) | Reference::Attribute(name, _) | Reference::Condition(name) => name,
        }
    }
}

/// Everything a value refers to, conditions left out.
pub fn references(value: &Value) -> Vec<Reference> {
    let mut found = collect(value);
    found.retain(|reference| !matches!(reference, Reference::Condition(_)));
    found
}

pub(crate) fn collect(value: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(value, &mut found);
    found
}

fn walk(value: &Value, found: &mut Vec<Reference>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Object(members) => {
            let single = members.iter().next().filter(|_| members.len() == 1);
            let is_reference = single.is_some_and(|(name, argument)| function(name, argument, found));
            if !is_reference {
                members.values().for_each(|member| walk(member, found));
            }
        }
        _ => {}
    }
}

/// Notes what a function refers to; `true` when nothing is left to look into.
fn function(name: &str, argument: &Value, found: &mut Vec<Reference>) -> bool {
    match (name, argument) {
        ("Ref", Value::String(target)) => found.push(Reference::Ref(target.clone())),
        ("Fn::GetAtt", Value::String(path)) => {
            if let Some((resource, attribute)) = path.split_once('.') {
                found.push(Reference::Attribute(resource.into(), attribute.into()));
            }
        }
        ("Fn::GetAtt", Value::Array(parts)) => {
            if let Some(resource) = parts.first().and_then(Value::as_str) {
                let attribute = parts.get(1).and_then(Value::as_str).unwrap_or_default();
                found.push(Reference::Attribute(resource.into(), attribute.into()));
            }
            parts.iter().skip(1).for_each(|part| walk(part, found));
        }
        ("Fn::Sub", Value::String(text)) => substituted(text, None, found),
        ("Fn::Sub", Value::Array(parts)) => {
            let variables = parts.get(1);
            if let Some(text) = parts.first().and_then(Value::as_str) {
                substituted(text, variables, found);
            }
            parts.iter().skip(1).for_each(|part| walk(part, found));
        }
        ("Fn::If", Value::Array(parts)) => {
            if let Some(condition) = parts.first().and_then(Value::as_str) {
                found.push(Reference::Condition(condition.into()));
            }
            parts.iter().skip(1).for_each(|part| walk(part, found));
        }
        ("Fn::And" | "Fn::Or" | "Fn::Not", Value::Array(parts)) => {
            for part in parts {
                match part.get("Condition").and_then(Value::as_str) {
                    Some(condition) => found.push(Reference::Condition(condition.into())),
                    None => walk(part, found),
                }
            }
        }
        _ => return false,
    }
    true
}

fn substituted(text: &str, variables: Option<&Value>, found: &mut Vec<Reference>) {
    for name in names(text) {
        if variables.is_some_and(|variables| variables.get(name).is_some()) {
            continue;
        }
        found.push(match name.split_once('.') {
            Some((resource, attribute)) => Reference::Attribute(resource.into(), attribute.into()),
            None => Reference::Ref(name.into()),
        });
    }
}

/// The names in `${…}` of a text; `${!…}` is none.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name.trim())
        .filter(|name| !name.starts_with('!'))
}

/// The resources that exist under the scope's conditions, and what each waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    needs: IndexMap<String, BTreeSet<String>>,
}

impl Graph {
    /// # Errors
    /// When resources wait for each other, or for one that its condition leaves out.
    pub fn of(template: &Template, scope: &Scope) -> Result<Graph, TemplateError> {
        let exists = |name: &str| {
            template.resources.get(name).is_some_and(|found| scope.exists(found.condition.as_deref()))
        };
        let mut needs = IndexMap::new();
        for (name, resource) in template.resources.iter().filter(|(name, _)| exists(name)) {
            let mut mine: BTreeSet<String> =
                resource.depends_on.iter().filter(|other| exists(other)).cloned().collect();
            let pruned = scope.prune(&resource.properties);
            for reference in references(&pruned) {
                let other = reference.name();
                if template.resources.contains_key(other) {
                    if !exists(other) {
                        no_unresolved("Resources", &[other.to_string()])?;
                    }
                    mine.insert(other.into());
                }
            }
            needs.insert(name.clone(), mine);
        }
        let graph = Graph { needs };
        graph.no_circles()?;
        Ok(graph)
    }

    /// A graph of known needs: resources that are there already.
    pub fn from_needs(needs: IndexMap<String, BTreeSet<String>>) -> Graph {
        Graph { needs }
    }

    /// Resources in the template's order.
    pub fn resources(&self) -> impl Iterator<Item = &String> {
        self.needs.keys()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.needs.contains_key(name)
    }

    /// What a resource waits for.
    pub fn needs(&self, name: &str) -> impl Iterator<Item = &String> {
        self.needs.get(name).into_iter().flatten()
    }

    /// Who waits for a resource.
    pub fn needed_by<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a String> {
        self.needs.iter().filter(move |(_, needs)| needs.contains(name)).map(|(other, _)| other)
    }

    /// Takes away what waits for nothing and what nobody waits for, until only circles are left.
    fn no_circles(&self) -> Result<(), TemplateError> {
        let mut left: BTreeSet<&String> = self.needs.keys().collect();
        loop {
            let kept: BTreeSet<&String> = left
                .iter()
                .copied()
                .filter(|name| self.needs(name).any(|other| left.contains(other)))
                .filter(|name| self.needed_by(name).any(|other| left.contains(other)))
                .collect();
            if kept.is_empty() {
                return Ok(());
            }
            if kept.len() == left.len() {
                let names: Vec<&str> = kept.iter().map(|name| name.as_str()).collect();
                return Err(TemplateError::new(format!(
                    "Circular dependency between resources: [{}]",
                    names.join(", ")
                )));
            }
            left = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Pseudo;

    fn graph(template: Value) -> Result<Graph, TemplateError> {
        let template = Template::parse(&template)?;
        let scope = Scope::new(&template, IndexMap::new(), Pseudo::default())?;
        Graph::of(&template, &scope)
    }

    #[test]
    fn needs_come_from_every_kind_of_reference() {
        let graph = graph(json!({"Resources": {
            "A": {"Type": "T"}, "B": {"Type": "T"}, "C": {"Type": "T"}, "D": {"Type": "T"},
            "E": {"Type": "T", "DependsOn": ["A"], "Properties": {
                "X": {"Ref": "B"}, "Y": [{"Fn::GetAtt": ["C", "Arn"]}], "Z": {"Fn::Sub": "${D.Arn}/${!No}/${AWS::Region}"}}},
        }}))
        .expect("it is good");
        assert_eq!(graph.needs("E").collect::<Vec<_>>(), ["A", "B", "C", "D"]);
        assert_eq!(graph.needed_by("A").collect::<Vec<_>>(), ["E"]);
    }

    #[test]
    fn only_the_branch_that_is_taken_counts() {
        let graph = graph(json!({
            "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
            "Resources": {
                "A": {"Type": "T", "Condition": "Never"}, "B": {"Type": "T"},
                "C": {"Type": "T", "DependsOn": "A", "Properties": {"X": {"Fn::If": ["Never", {"Ref": "A"}, {"Ref": "B"}]}}},
            }
        }))
        .expect("it is good");
        assert!(!graph.contains("A"));
        assert_eq!(graph.needs("C").collect::<Vec<_>>(), ["B"]);
    }

    #[test]
    fn circles_are_refused_and_named() {
        let circle = graph(json!({"Resources": {
            "A": {"Type": "T", "Properties": {"X": {"Ref": "B"}}},
            "B": {"Type": "T", "DependsOn": "A"},
            "C": {"Type": "T", "DependsOn": "A"},
            "D": {"Type": "T"},
        }}));
        assert_eq!(
            circle.expect_err("a circle").to_string(),
            "Circular dependency between resources: [A, B]"
        );
    }
}
