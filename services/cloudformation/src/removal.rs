//! Taking resources away: all of a stack, each when nothing that needs it is left.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use tidemill_platform::{Cx, Fault};

use crate::{
    CloudFormation,
    apply::{handler_message, sentence},
    state::{ResourceRow, Stack},
};

const AT_ONCE: usize = 16;

impl CloudFormation {
    /// Deletes every resource; `verb` (`DELETE`, `ROLLBACK`) names the statuses that follow.
    pub async fn remove_all(&self, cx: &Cx, stack: &Arc<Stack>, verb: &str) -> Result<(), Fault> {
        if verb == "DELETE"
            && let Some(reason) = self.exports_in_use(cx, stack)
        {
            return stack
                .change(cx, |draft| {
                    draft.status(cx, "DELETE_FAILED", Some(&reason));
                    Ok(())
                })
                .await;
        }
        let failed = self.remove_resources(cx, stack).await?;
        let failed: Vec<&String> = failed.iter().collect();
        stack
            .change(cx, |draft| {
                if !failed.is_empty() {
                    draft.status(cx, &format!("{verb}_FAILED"), Some(&sentence("delete", &failed)));
                    return Ok(());
                }
                draft.state.row.outputs.clear();
                draft.state.row.imports.clear();
                if verb == "DELETE" {
                    draft.state.row.deleted_at = Some(cx.now().millis());
                }
                draft.status(cx, &format!("{verb}_COMPLETE"), None);
                Ok(())
            })
            .await
    }

    async fn remove_resources(&self, cx: &Cx, stack: &Arc<Stack>) -> Result<BTreeSet<String>, Fault> {
        let (mut left, retained): (Vec<ResourceRow>, _) = stack.look(|state| {
            let left = state
                .resources
                .values()
                .filter(|row| !matches!(row.status.as_str(), "DELETE_COMPLETE" | "DELETE_SKIPPED"));
            (left.cloned().collect(), state.row.retained.clone())
        });
        let cleanup = stack.look(|state| state.row.cleanup.clone());
        let (mut going, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let mut running = FuturesUnordered::new();
        loop {
            let is_needed =
                |name: &String| left.iter().any(|row| row.needs.contains(name)) || failed.contains(name);
            let ready: Vec<ResourceRow> = left
                .iter()
                .filter(|row| !going.contains(&row.logical_id) && !is_needed(&row.logical_id))
                .take(AT_ONCE.saturating_sub(running.len()))
                .cloned()
                .collect();
            for row in ready {
                going.insert(row.logical_id.clone());
                let keep = row.retain || retained.contains(&row.logical_id);
                running.push(async move {
                    let done = self.remove_one(cx, stack, &row, keep).await;
                    (row.logical_id, done)
                });
            }
            match running.next().await {
                None => break,
                Some((_, Err(fault))) => return Err(fault),
                Some((name, Ok(true))) => left.retain(|row| row.logical_id != name),
                Some((name, Ok(false))) => drop(failed.insert(name)),
            }
        }
        for old in cleanup {
            self.remove_old(cx, stack, &old).await?;
        }
        Ok(failed)
    }

    /// Whether the resource is gone, or left alone as the template asks.
    async fn remove_one(&self, cx: &Cx, stack: &Stack, row: &ResourceRow, keep: bool) -> Result<bool, Fault> {
        let name = &row.logical_id;
        let status = |status: &'static str, reason: Option<String>| {
            stack.change(cx, move |draft| {
                draft.resource_status(cx, name, status, reason.as_deref());
                Ok(())
            })
        };
        if keep {
            status("DELETE_SKIPPED", None).await?;
            return Ok(true);
        }
        status("DELETE_IN_PROGRESS", None).await?;
        let gone = match &row.physical_id {
            Some(id) => self.take_away(cx, &row.resource_type, id, &row.properties).await,
            None if stack.was_made(&self.platform, name) => {
                self.take_away_likely(cx, row).await;
                Ok(())
            }
            None => Ok(()),
        };
        match gone {
            Ok(()) => status("DELETE_COMPLETE", None).await.map(|()| true),
            Err(fault) => status("DELETE_FAILED", Some(handler_message(cx, &fault))).await.map(|()| false),
        }
    }

    /// Deletes what an update left behind, then rests in `then`.
    pub async fn clean_up(&self, cx: &Cx, stack: &Arc<Stack>, then: &str) -> Result<(), Fault> {
        for old in stack.look(|state| state.row.cleanup.clone()) {
            self.remove_old(cx, stack, &old).await?;
        }
        stack
            .change(cx, |draft| {
                draft.redefined().previous = None;
                draft.status(cx, then, None);
                Ok(())
            })
            .await
    }

    /// Deletes one resource that is no longer part of its stack. What cannot be deleted is told and left behind.
    async fn remove_old(&self, cx: &Cx, stack: &Stack, old: &ResourceRow) -> Result<(), Fault> {
        let tell = |status: &str, reason: Option<String>, is_last: bool| {
            let mut row = old.clone();
            (row.status, row.reason, row.changed_at) = (status.into(), reason, cx.now().millis());
            stack.change(cx, move |draft| {
                let event = row.event(cx, draft.state.row.token.clone());
                draft.event(event);
                if is_last {
                    draft.state.row.cleanup.retain(|other| {
                        (&other.logical_id, &other.physical_id) != (&row.logical_id, &row.physical_id)
                    });
                }
                Ok(())
            })
        };
        if old.retain {
            return tell("DELETE_SKIPPED", None, true).await;
        }
        tell("DELETE_IN_PROGRESS", None, false).await?;
        let id = old.physical_id.as_deref().unwrap_or(&old.generated_name);
        match self.take_away(cx, &old.resource_type, id, &old.properties).await {
            Ok(()) => tell("DELETE_COMPLETE", None, true).await,
            Err(fault) => tell("DELETE_FAILED", Some(handler_message(cx, &fault)), true).await,
        }
    }
}
