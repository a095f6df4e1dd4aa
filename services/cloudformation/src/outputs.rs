//! Outputs: evaluated when all resources are there.

use std::collections::BTreeSet;

use serde_json::Value;
use tidemill_platform::Cx;

use crate::{
    CloudFormation,
    definition::Planned,
    exports,
    known::Resources,
    state::{OutputRow, Stack},
};

impl CloudFormation {
    /// The outputs and the names the stack imports, or why they cannot be had.
    pub fn outputs(
        &self,
        cx: &Cx,
        stack: &Stack,
        planned: &Planned,
    ) -> Result<(Vec<OutputRow>, BTreeSet<String>), String> {
        let known = Resources::new(self, cx, stack);
        let mut outputs = Vec::new();
        for (name, output) in &planned.template.outputs {
            if !planned.scope.exists(output.condition.as_deref()) {
                continue;
            }
            let text = |value: &Value| {
                let value = planned.scope.resolve(value, &known).map_err(|error| format!("{error} "))?;
                printed(&value).ok_or_else(|| {
                    format!("Template format error: The Value field of every Outputs member must evaluate to a String: {name}. ")
                })
            };
            let export = output.export.as_ref().map(text).transpose()?;
            if let Some(export) = &export {
                self.check_export(cx, stack, export)?;
            }
            let value = text(&output.value)?;
            outputs.push(OutputRow {
                key: name.clone(),
                value,
                description: output.description.clone(),
                export,
            });
        }
        // The imports of resources are found again: their properties are resolved but the functions are in the template.
        for (name, resource) in &planned.template.resources {
            if planned.graph.contains(name) {
                planned.scope.resolve(&resource.properties, &known).map_err(|error| format!("{error} "))?;
            }
        }
        Ok((outputs, known.imported.into_inner()))
    }

    fn check_export(&self, cx: &Cx, stack: &Stack, name: &str) -> Result<(), String> {
        let all = exports::exports(self, cx);
        let other = all.iter().find(|export| {
            export.name.as_deref() == Some(name) && export.exporting_stack_id.as_deref() != Some(&stack.id)
        });
        match other.and_then(|export| export.exporting_stack_id.as_deref()) {
            Some(id) => {
                let owner = id.split('/').nth(1).unwrap_or_default();
                Err(format!("Export with name {name} is already exported by stack {owner}. "))
            }
            None => Ok(()),
        }
    }
}

fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
