//! One task a stack: from status to status until none is in progress. Each phase can be begun again from what is kept,
//! so a restart goes on where the process ended.

use std::sync::Arc;

use tidemill_platform::{Cx, Fault, Trace};

use crate::{
    CloudFormation,
    state::{Definition, Draft, Stack},
};

/// The wait before a phase that could not be recorded (no space) is tried again, in milliseconds.
const AGAIN_MS: i64 = 1000;

impl CloudFormation {
    /// Goes on with stacks that an earlier process left in progress.
    pub fn start(&self) {
        for stack in self.stacks.read().values() {
            self.run(stack.clone());
        }
    }

    /// Brings a stack to its next resting status, in the background.
    pub fn run(&self, stack: Arc<Stack>) {
        if !is_going(&stack.look(|state| state.row.status.clone())) {
            return;
        }
        let Some(cf) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            let _alone = stack.driver.lock().await;
            let (account, region) = stack.look(|state| (state.row.account.clone(), state.row.region.clone()));
            let cx = cf.platform.cx(&account, &region, Trace::default());
            while let Some(done) = cf.phase(&cx, &stack).await {
                if let Err(fault) = done {
                    tracing::warn!(stack = stack.id, %fault, "a step of a stack could not be recorded");
                    cx.clock().sleep(AGAIN_MS).await;
                }
            }
        });
    }

    /// The phase of the stack's status; `None` when it rests.
    async fn phase(&self, cx: &Cx, stack: &Arc<Stack>) -> Option<Result<(), Fault>> {
        let status = stack.look(|state| state.row.status.clone());
        Some(match status.as_str() {
            "CREATE_IN_PROGRESS" => self.create(cx, stack).await,
            "ROLLBACK_IN_PROGRESS" => self.remove_all(cx, stack, "ROLLBACK").await,
            "DELETE_IN_PROGRESS" => self.remove_all(cx, stack, "DELETE").await,
            "UPDATE_IN_PROGRESS" => self.update(cx, stack).await,
            "UPDATE_ROLLBACK_IN_PROGRESS" => self.roll_back_update(cx, stack).await,
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => self.clean_up(cx, stack, "UPDATE_COMPLETE").await,
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS" => {
                self.clean_up(cx, stack, "UPDATE_ROLLBACK_COMPLETE").await
            }
            _ => return None,
        })
    }

    /// Makes what the stack is to have, then its outputs; or turns to what was asked for in case of failure.
    async fn create(&self, cx: &Cx, stack: &Arc<Stack>) -> Result<(), Fault> {
        let (row, current) = stack.look(|state| (state.row.clone(), state.current.clone()));
        let failure = match self.plan(&row, &current) {
            Ok(planned) => match self.apply(cx, stack, &planned, "CREATE_IN_PROGRESS").await? {
                None => match self.outputs(cx, stack, &planned) {
                    Ok((outputs, imports)) => {
                        return stack
                            .change(cx, |draft| {
                                if draft.state.row.status == "CREATE_IN_PROGRESS" {
                                    draft.state.row.outputs = outputs;
                                    draft.state.row.imports = imports;
                                    draft.status(cx, "CREATE_COMPLETE", None);
                                }
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
                if draft.state.row.status != "CREATE_IN_PROGRESS" {
                    return Ok(());
                }
                match draft.state.row.on_failure.as_str() {
                    "DO_NOTHING" => draft.status(cx, "CREATE_FAILED", Some(&failure)),
                    "DELETE" => draft.status(
                        cx,
                        "DELETE_IN_PROGRESS",
                        Some(&format!("{failure}Delete requested by user.")),
                    ),
                    _ => draft.status(
                        cx,
                        "ROLLBACK_IN_PROGRESS",
                        Some(&format!("{failure}Rollback requested by user.")),
                    ),
                }
                Ok(())
            })
            .await
    }
}

impl Draft {
    /// The stack begins to become what `next` says.
    pub fn begin_update(&mut self, cx: &Cx, next: Definition) {
        let state = self.redefined();
        state.previous = Some(std::mem::replace(&mut state.current, next));
        state.row.updated_at = Some(cx.now().millis());
        state.row.cancelled = false;
        self.status(cx, "UPDATE_IN_PROGRESS", Some("User Initiated"));
    }
}

fn is_going(status: &str) -> bool {
    status.ends_with("_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS"
}
