//! Updates: forward to the new definition, or back to the one before.

use std::sync::Arc;

use tidemill_platform::{Cx, Fault, provider::Updated};

use crate::{
    CloudFormation,
    apply::{handler_message, sentence},
    definition::Planned,
    state::{Draft, ResourceRow, Stack},
};

impl CloudFormation {
    pub async fn update(&self, cx: &Cx, stack: &Arc<Stack>) -> Result<(), Fault> {
        let (row, current) = stack.look(|state| (state.row.clone(), state.current.clone()));
        let failure = match self.plan(&row, &current) {
            Ok(planned) => match self.apply(cx, stack, &planned, "UPDATE_IN_PROGRESS").await? {
                None => match self.outputs(cx, stack, &planned) {
                    Ok((outputs, imports)) => {
                        return stack
                            .change(cx, |draft| {
                                draft.state.row.outputs = outputs;
                                draft.state.row.imports = imports;
                                draft.settle(&planned);
                                draft.status(cx, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", None);
                                Ok(())
                            })
                            .await;
                    }
                    Err(reason) => reason,
                },
                Some(reason) => reason,
            },
            Err(fault) => fault.message().to_string(),
        };
        stack
            .change(cx, |draft| {
                let row = &draft.state.row;
                match (row.disable_rollback, row.cancelled) {
                    (_, true) => draft.status(cx, "UPDATE_ROLLBACK_IN_PROGRESS", Some("User Initiated")),
                    (true, false) => draft.status(cx, "UPDATE_FAILED", Some(&failure)),
                    (false, false) => draft.status(cx, "UPDATE_ROLLBACK_IN_PROGRESS", Some(&failure)),
                }
                Ok(())
            })
            .await
    }

    /// Gives every resource that the update touched what it had before.
    pub async fn roll_back_update(&self, cx: &Cx, stack: &Arc<Stack>) -> Result<(), Fault> {
        let (row, touched) = stack.look(|state| {
            let touched = state.resources.values().filter(|one| one.before.is_some());
            (state.row.clone(), touched.cloned().collect::<Vec<ResourceRow>>())
        });
        let mut failed = Vec::new();
        for now in touched {
            if !self.restore(cx, stack, &row, &now).await? {
                failed.push(now.logical_id);
            }
        }
        let failed: Vec<&String> = failed.iter().collect();
        stack
            .change(cx, |draft| {
                if !failed.is_empty() {
                    draft.status(cx, "UPDATE_ROLLBACK_FAILED", Some(&sentence("update", &failed)));
                    return Ok(());
                }
                draft.forget_new();
                let state = draft.redefined();
                if let Some(previous) = state.previous.take() {
                    state.current = previous;
                }
                draft.status(cx, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", None);
                Ok(())
            })
            .await
    }

    /// Whether the resource is again what it was.
    async fn restore(
        &self,
        cx: &Cx,
        stack: &Arc<Stack>,
        row: &crate::state::StackRow,
        now: &ResourceRow,
    ) -> Result<bool, Fault> {
        let Some(before) = now.before.as_deref() else { return Ok(true) };
        let name = &now.logical_id;
        if now.physical_id != before.physical_id {
            stack
                .change(cx, |draft| {
                    draft.state.row.cleanup.push(left_behind(now, false));
                    *draft.resource(name) = before.clone();
                    draft.resource_status(cx, name, "UPDATE_COMPLETE", None);
                    Ok(())
                })
                .await?;
            return Ok(true);
        }
        let said = |status: &'static str, reason: Option<String>, next: Option<ResourceRow>| {
            stack.change(cx, move |draft| {
                if let Some(next) = next {
                    *draft.resource(name) = next;
                }
                draft.resource_status(cx, name, status, reason.as_deref());
                Ok(())
            })
        };
        said("UPDATE_IN_PROGRESS", None, None).await?;
        let physical = now.physical_id.clone().unwrap_or_default();
        match self.revise(cx, stack, row, &physical, &now.properties, before).await {
            Ok(Updated::InPlace(provided)) => {
                let next = ResourceRow { attributes: provided.attributes, ..before.clone() };
                said("UPDATE_COMPLETE", None, Some(next)).await?;
                Ok(true)
            }
            // The change that failed would have replaced it, so it was never begun here.
            Ok(Updated::Replace) => {
                said("UPDATE_COMPLETE", None, Some(before.clone())).await?;
                Ok(true)
            }
            Err(fault) => {
                said("UPDATE_FAILED", Some(handler_message(cx, &fault)), None).await?;
                Ok(false)
            }
        }
    }
}

impl Draft {
    /// The update succeeded: what it replaced and what the template no longer has is left to be cleaned up.
    fn settle(&mut self, planned: &Planned) {
        let names: Vec<String> = self.state.resources.keys().cloned().collect();
        let mut gone = Vec::new();
        for name in names {
            if !planned.graph.contains(&name) {
                gone.extend(self.remove_resource(&name));
                continue;
            }
            let row = self.resource(&name);
            row.is_new = false;
            let replaced = row.before.take().filter(|before| before.physical_id != row.physical_id);
            let keep = row.retain_replaced;
            if let Some(before) = replaced {
                self.state.row.cleanup.push(left_behind(&before, keep));
            }
        }
        for row in dependents_first(gone) {
            let keep = row.retain;
            self.state.row.cleanup.push(left_behind(&row, keep));
        }
    }

    /// What the update made is left to be cleaned up.
    fn forget_new(&mut self) {
        let new: Vec<String> = self
            .state
            .resources
            .values()
            .filter(|row| row.is_new)
            .map(|row| row.logical_id.clone())
            .collect();
        let made: Vec<ResourceRow> = new.iter().filter_map(|name| self.remove_resource(name)).collect();
        let made = made.into_iter().filter(|row| row.physical_id.is_some()).collect();
        let rows: Vec<ResourceRow> =
            dependents_first(made).iter().map(|row| left_behind(row, false)).collect();
        self.state.row.cleanup.extend(rows);
    }
}

fn left_behind(row: &ResourceRow, keep: bool) -> ResourceRow {
    ResourceRow { retain: keep, before: None, ..row.clone() }
}

fn dependents_first(mut rows: Vec<ResourceRow>) -> Vec<ResourceRow> {
    let mut ordered = Vec::with_capacity(rows.len());
    while !rows.is_empty() {
        let at = rows
            .iter()
            .position(|row| !rows.iter().any(|other| other.needs.contains(&row.logical_id)))
            .unwrap_or(0);
        ordered.push(rows.remove(at));
    }
    ordered
}
