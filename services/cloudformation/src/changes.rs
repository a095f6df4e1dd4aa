//! What a new definition would change, resource by resource.

use serde_json::{Map, Value};
use tidemill_platform::{Cx, Fault, Trace};

use crate::{
    CloudFormation,
    definition::{Planned, wrong},
    known::Resources,
    state::{ChangeRow, Definition, Stack, validation},
};

impl CloudFormation {
    /// The changes between a stack as it is and as `next` wants it.
    pub fn changes(&self, stack: &Stack, next: &Definition) -> Result<Vec<ChangeRow>, Fault> {
        let (row, resources) = stack.look(|state| (state.row.clone(), state.resources.clone()));
        let planned = self.plan(&row, next)?;
        let cx = self.platform.cx(&row.account, &row.region, Trace::default());
        check_kinds(&planned, stack)?;
        let tags_differ = stack.look(|state| state.current.tags != next.tags);
        let mut changes = Vec::new();
        for name in planned.graph.resources() {
            let Some(wanted) = planned.template.resources.get(name) else { continue };
            let change = |action: &str, physical_id: Option<String>, properties| ChangeRow {
                action: action.into(),
                logical_id: name.clone(),
                physical_id,
                resource_type: wanted.resource_type.clone(),
                properties,
            };
            match resources.get(name).filter(|found| found.physical_id.is_some()) {
                None => changes.push(change("Add", None, Vec::new())),
                Some(found) => {
                    let properties = self.compared(&cx, stack, &planned, &wanted.properties)?;
                    let differing = differing(&found.properties, &properties);
                    if !differing.is_empty() || tags_differ {
                        changes.push(change("Modify", found.physical_id.clone(), differing));
                    }
                }
            }
        }
        for (name, found) in resources.iter().filter(|(name, _)| !planned.graph.contains(name)) {
            changes.push(ChangeRow {
                action: "Remove".into(),
                logical_id: name.clone(),
                physical_id: found.physical_id.clone(),
                resource_type: found.resource_type.clone(),
                properties: Vec::new(),
            });
        }
        Ok(changes)
    }

    /// Properties with a mark for what only the deployment will tell.
    fn compared(
        &self,
        cx: &Cx,
        stack: &Stack,
        planned: &Planned,
        properties: &Value,
    ) -> Result<Value, Fault> {
        let known = Resources {
            unknown: Some(Value::from("{{changeSet:KNOWN_AFTER_APPLY}}")),
            ..Resources::new(self, cx, stack)
        };
        planned.scope.resolve(properties, &known).map_err(wrong)
    }

    /// Whether anything besides resources differs: outputs, tags.
    pub fn differs_otherwise(&self, previous: &Definition, next: &Definition) -> bool {
        let outputs = |definition: &Definition| {
            let whole: Value = serde_json::from_str(&definition.processed).unwrap_or_default();
            (whole.get("Outputs").cloned(), whole.get("Conditions").cloned(), whole.get("Mappings").cloned())
        };
        previous.tags != next.tags
            || outputs(previous) != outputs(next)
            || previous.parameters != next.parameters
    }
}

fn check_kinds(planned: &Planned, stack: &Stack) -> Result<(), Fault> {
    let changed: Vec<String> = stack.look(|state| {
        let differs = |name: &&String| {
            let kind = planned.template.resources.get(*name).map(|one| &one.resource_type);
            kind.is_some_and(|kind| {
                state.resources.get(*name).is_some_and(|found| found.resource_type != *kind)
            })
        };
        planned.graph.resources().filter(differs).cloned().collect()
    });
    if changed.is_empty() {
        return Ok(());
    }
    Err(validation(format!(
        "Update of resource type is not permitted. The new template modifies resource type of the following resources: [{}]",
        changed.join(", ")
    )))
}

fn differing(old: &Value, new: &Value) -> Vec<String> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut names: Vec<String> = new
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    names.extend(old.keys().filter(|name| !new.contains_key(*name)).cloned());
    names
}
