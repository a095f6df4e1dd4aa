//! Exports: outputs that other stacks of the account and region import.

use tidemill_platform::{Cx, Fault};

use crate::{
    CloudFormation,
    api::{Export, ListExportsInput, ListExportsOutput, ListImportsInput, ListImportsOutput},
    stacks::bad_token,
    state::{StackRow, validation},
};

const PAGE: usize = 100;

pub async fn list_exports(
    cf: &CloudFormation,
    cx: &Cx,
    input: ListExportsInput,
) -> Result<ListExportsOutput, Fault> {
    let mut all = exports(cf, cx);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let key = |export: &Export| export.name.clone().unwrap_or_default();
    let page =
        tidemill_platform::page::page(all, key, input.next_token.as_deref(), PAGE).ok_or_else(bad_token)?;
    Ok(ListExportsOutput { exports: Some(page.items), next_token: page.next_token })
}

pub async fn list_imports(
    cf: &CloudFormation,
    cx: &Cx,
    input: ListImportsInput,
) -> Result<ListImportsOutput, Fault> {
    let users = importers(cf, cx, &input.export_name);
    if users.is_empty() {
        return Err(validation(format!("Export '{}' is not imported by any stack.", input.export_name)));
    }
    let page = tidemill_platform::page::page(users, Clone::clone, input.next_token.as_deref(), PAGE)
        .ok_or_else(bad_token)?;
    Ok(ListImportsOutput { imports: Some(page.items), next_token: page.next_token })
}

/// Every export of an account and region.
pub fn exports(cf: &CloudFormation, cx: &Cx) -> Vec<Export> {
    let mut found = Vec::new();
    for stack in cf.of_caller(cx) {
        stack.look(|state| {
            for output in &state.row.outputs {
                if let Some(name) = &output.export {
                    found.push(Export {
                        exporting_stack_id: Some(stack.id.clone()),
                        name: Some(name.clone()),
                        value: Some(output.value.clone()),
                    });
                }
            }
        });
    }
    found
}

/// Names of the stacks that import an export.
pub fn importers(cf: &CloudFormation, cx: &Cx, name: &str) -> Vec<String> {
    let stacks = cf.of_caller(cx);
    let users = stacks.iter().filter_map(|stack| {
        stack.look(|state| state.row.imports.contains(name).then(|| state.row.name.clone()))
    });
    users.collect()
}

pub fn names(row: &StackRow) -> Vec<String> {
    row.outputs.iter().filter_map(|output| output.export.clone()).collect()
}
