//! Change sets: a definition kept beside a stack until somebody executes it.

use std::sync::Arc;

use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    CloudFormation, api,
    api::{
        Change, ChangeSetNotFoundException, ChangeSetSummary, CreateChangeSetInput, CreateChangeSetOutput,
        DeleteChangeSetInput, DeleteChangeSetOutput, DescribeChangeSetInput, DescribeChangeSetOutput,
        ExecuteChangeSetInput, ExecuteChangeSetOutput, InvalidChangeSetStatusException, ListChangeSetsInput,
        ListChangeSetsOutput, ResourceChange, ResourceChangeDetail, ResourceTargetDefinition,
    },
    definition::Asked,
    stacks::{bad_token, begun, check_name, check_updatable, new_row, parameters, refuse, tags},
    state::{ChangeRow, ChangeSetRow, Stack, State, validation},
};

const PAGE: usize = 100;
const NO_CHANGES: &str =
    "The submitted information didn't contain changes. Submit different information to create a change set.";

pub async fn create_change_set(
    cf: &CloudFormation,
    cx: &Cx,
    input: CreateChangeSetInput,
) -> Result<CreateChangeSetOutput, Fault> {
    let kind = input.change_set_type.as_ref().map_or("UPDATE", |kind| kind.as_str()).to_string();
    refuse(&[
        ("CreateChangeSet of type IMPORT", kind == "IMPORT" || input.resources_to_import.is_some()),
        (
            "CreateChangeSet with RollbackConfiguration",
            input
                .rollback_configuration
                .is_some_and(|one| one.rollback_triggers.is_some_and(|all| !all.is_empty())),
        ),
        (
            "CreateChangeSet with NotificationARNs",
            input.notification_ar_ns.is_some_and(|all| !all.is_empty()),
        ),
        ("CreateChangeSet with ResourceTypes", input.resource_types.is_some()),
        ("CreateChangeSet with ImportExistingResources", input.import_existing_resources == Some(true)),
        ("CreateChangeSet with DeploymentMode", input.deployment_mode.is_some()),
    ])?;
    let (stack, is_new) = cf.reviewed(cx, &input.stack_name, kind == "CREATE").await?;
    let (row, previous) = stack.look(|state| (state.row.clone(), state.current.clone()));
    let asked = Asked {
        body: input.template_body,
        url: input.template_url,
        use_previous: input.use_previous_template == Some(true),
        parameters: input.parameters.unwrap_or_default(),
        tags: input.tags,
        capabilities: input.capabilities.unwrap_or_default(),
        is_change_set: true,
    };
    let creates = row.status == "REVIEW_IN_PROGRESS";
    let defined = cf.define(cx, &row, (!creates).then_some(&previous), asked).await;
    let definition = match defined {
        Ok(definition) => definition,
        Err(fault) => {
            if is_new {
                cf.forget(cx, &stack).await?;
            }
            return Err(fault);
        }
    };
    let changes = cf.changes(&stack, &definition)?;
    let is_empty = changes.is_empty() && (creates || !cf.differs_otherwise(&previous, &definition));
    let arn = cx
        .arn("cloudformation", format!("changeSet/{}/{}", input.change_set_name, cx.random().uuid()))
        .to_string();
    let made = ChangeSetRow {
        id: arn.clone(),
        name: input.change_set_name,
        creates,
        status: if is_empty { "FAILED" } else { "CREATE_COMPLETE" }.into(),
        reason: is_empty.then(|| NO_CHANGES.to_string()),
        execution: if is_empty { "UNAVAILABLE" } else { "AVAILABLE" }.into(),
        created_at: cx.now().millis(),
        description: input.description,
        definition,
        changes,
        role_arn: input.role_arn,
        on_failure: input.on_stack_failure.map(|what| what.as_str().to_string()),
    };
    stack
        .change(cx, |draft| {
            if draft.state.change_sets.values().any(|other| other.name == made.name) {
                let sentence = format!("ChangeSet {} already exists", made.name);
                return Err(api::AlreadyExistsException::new(sentence).into());
            }
            draft.change_set(&made.id).insert(made.id.clone(), made.clone());
            Ok(())
        })
        .await?;
    Ok(CreateChangeSetOutput { id: Some(arn), stack_id: Some(stack.id.clone()) })
}

pub async fn describe_change_set(
    cf: &CloudFormation,
    cx: &Cx,
    input: DescribeChangeSetInput,
) -> Result<DescribeChangeSetOutput, Fault> {
    if input.include_property_values == Some(true) {
        return Err(Fault::not_implemented("DescribeChangeSet with IncludePropertyValues"));
    }
    let (stack, found) = cf.change_set(cx, input.stack_name.as_deref(), &input.change_set_name)?;
    let key = |(at, _): &(usize, &ChangeRow)| format!("{at:06}");
    let page = tidemill_platform::page::page(
        found.changes.iter().enumerate(),
        key,
        input.next_token.as_deref(),
        PAGE,
    )
    .ok_or_else(bad_token)?;
    let shown = parameters(&found.definition);
    Ok(DescribeChangeSetOutput {
        change_set_name: Some(found.name.clone()),
        change_set_id: Some(found.id.clone()),
        stack_id: Some(stack.id.clone()),
        stack_name: Some(stack.look(|state| state.row.name.clone())),
        description: found.description.clone(),
        parameters: (!shown.is_empty()).then_some(shown),
        creation_time: Some(Timestamp::from_millis(found.created_at)),
        execution_status: Some(found.execution.as_str().into()),
        status: Some(found.status.as_str().into()),
        status_reason: found.reason.clone(),
        notification_ar_ns: Some(Vec::new()),
        rollback_configuration: Some(api::RollbackConfiguration::default()),
        capabilities: Some(found.definition.capabilities.iter().map(|one| one.as_str().into()).collect()),
        tags: Some(tags(&found.definition)),
        changes: Some(page.items.into_iter().map(|(_, change)| wire(change)).collect()),
        next_token: page.next_token,
        include_nested_stacks: Some(false),
        on_stack_failure: found.on_failure.as_deref().map(Into::into),
        ..DescribeChangeSetOutput::default()
    })
}

pub async fn execute_change_set(
    cf: &CloudFormation,
    cx: &Cx,
    input: ExecuteChangeSetInput,
) -> Result<ExecuteChangeSetOutput, Fault> {
    refuse(&[("ExecuteChangeSet with RetainExceptOnCreate", input.retain_except_on_create == Some(true))])?;
    let (stack, found) = cf.change_set(cx, input.stack_name.as_deref(), &input.change_set_name)?;
    stack
        .change(cx, |draft| {
            let now = draft.state.change_sets.get(&found.id);
            let execution = now.map_or("OBSOLETE", |one| one.execution.as_str());
            if execution != "AVAILABLE" {
                return Err(InvalidChangeSetStatusException::new(format!(
                    "ChangeSet [{}] cannot be executed in its current status of [{}]",
                    found.id, found.status
                ))
                .into());
            }
            // The others were made for a stack that will not be any more.
            for id in draft.state.change_sets.keys().cloned().collect::<Vec<_>>() {
                if id != found.id {
                    draft.change_set(&id).shift_remove(&id);
                }
            }
            if let Some(one) = draft.change_set(&found.id).get_mut(&found.id) {
                one.execution = "EXECUTE_COMPLETE".into();
            }
            let row = &mut draft.state.row;
            row.token = input.client_request_token;
            row.change_set_id = Some(found.id.clone());
            row.role_arn = found.role_arn.clone().or(row.role_arn.take());
            row.disable_rollback = input.disable_rollback == Some(true);
            if found.creates {
                row.on_failure = match (&found.on_failure, input.disable_rollback) {
                    (Some(what), _) => what.clone(),
                    (None, Some(true)) => "DO_NOTHING".into(),
                    (None, _) => "ROLLBACK".into(),
                };
                row.updated_at = Some(cx.now().millis());
                draft.redefined().current = found.definition.clone();
                draft.status(cx, "CREATE_IN_PROGRESS", Some("User Initiated"));
            } else {
                check_updatable(row)?;
                draft.begin_update(cx, found.definition.clone());
            }
            Ok(())
        })
        .await?;
    cf.run(stack);
    Ok(ExecuteChangeSetOutput {})
}

pub async fn delete_change_set(
    cf: &CloudFormation,
    cx: &Cx,
    input: DeleteChangeSetInput,
) -> Result<DeleteChangeSetOutput, Fault> {
    let named_stack = input.stack_name.as_deref();
    let (stack, found) = match cf.change_set(cx, named_stack, &input.change_set_name) {
        Ok(found) => found,
        // What is not there is deleted already; but the stack has to be.
        Err(fault) if fault.code() == "ChangeSetNotFound" => return Ok(DeleteChangeSetOutput {}),
        Err(fault) => return Err(fault),
    };
    stack
        .change(cx, |draft| {
            draft.change_set(&found.id).shift_remove(&found.id);
            Ok(())
        })
        .await?;
    Ok(DeleteChangeSetOutput {})
}

pub async fn list_change_sets(
    cf: &CloudFormation,
    cx: &Cx,
    input: ListChangeSetsInput,
) -> Result<ListChangeSetsOutput, Fault> {
    let stack = cf.find(cx, &input.stack_name)?;
    let mut summaries: Vec<ChangeSetSummary> =
        stack.look(|state| state.change_sets.values().map(|one| summary(state, one)).collect());
    summaries.sort_by(|a, b| a.change_set_id.cmp(&b.change_set_id));
    let key = |one: &ChangeSetSummary| one.change_set_id.clone().unwrap_or_default();
    let page = tidemill_platform::page::page(summaries, key, input.next_token.as_deref(), PAGE)
        .ok_or_else(bad_token)?;
    Ok(ListChangeSetsOutput { summaries: Some(page.items), next_token: page.next_token })
}

fn summary(state: &State, one: &ChangeSetRow) -> ChangeSetSummary {
    ChangeSetSummary {
        stack_id: Some(state.row.id.clone()),
        stack_name: Some(state.row.name.clone()),
        change_set_id: Some(one.id.clone()),
        change_set_name: Some(one.name.clone()),
        execution_status: Some(one.execution.as_str().into()),
        status: Some(one.status.as_str().into()),
        status_reason: one.reason.clone(),
        creation_time: Some(Timestamp::from_millis(one.created_at)),
        description: one.description.clone(),
        include_nested_stacks: Some(false),
        ..ChangeSetSummary::default()
    }
}

fn wire(change: &ChangeRow) -> Change {
    let is_change = change.action == "Modify";
    let detail = |name: &String| ResourceChangeDetail {
        target: Some(ResourceTargetDefinition {
            attribute: Some("Properties".into()),
            name: Some(name.clone()),
            requires_recreation: Some("Conditionally".into()),
            ..ResourceTargetDefinition::default()
        }),
        evaluation: Some("Static".into()),
        change_source: Some("DirectModification".into()),
        ..ResourceChangeDetail::default()
    };
    let scope = if change.properties.is_empty() { "Tags" } else { "Properties" };
    Change {
        r#type: Some("Resource".into()),
        resource_change: Some(ResourceChange {
            action: Some(change.action.as_str().into()),
            logical_resource_id: Some(change.logical_id.clone()),
            physical_resource_id: change.physical_id.clone(),
            resource_type: Some(change.resource_type.clone()),
            // Whether a change replaces is the service's to say, when it is made.
            replacement: is_change.then(|| "Conditional".into()),
            scope: Some(if is_change { vec![scope.into()] } else { Vec::new() }),
            details: Some(change.properties.iter().map(detail).collect()),
            ..ResourceChange::default()
        }),
        ..Change::default()
    }
}

impl CloudFormation {
    /// The stack a change set is for. A new one is only there to be reviewed.
    async fn reviewed(&self, cx: &Cx, name: &str, creates: bool) -> Result<(Arc<Stack>, bool), Fault> {
        if !creates {
            let stack = self.find(cx, name)?;
            let row = stack.look(|state| state.row.clone());
            if row.status != "REVIEW_IN_PROGRESS" {
                check_updatable(&row)?;
            } else {
                return Err(validation(format!("Stack '{name}' does not exist")));
            }
            return Ok((stack, false));
        }
        if let Some(stack) = self.by_name(cx, name) {
            if stack.look(|state| state.row.status == "REVIEW_IN_PROGRESS") {
                return Ok((stack, false));
            }
            let id = stack.id.clone();
            let status = stack.look(|state| state.row.status.clone());
            return Err(validation(format!(
                "Stack [{name}] already exists and cannot be created again with the changeSet [{id}] in status {status}"
            )));
        }
        check_name(name)?;
        let mut row = new_row(cx, name);
        row.status = "REVIEW_IN_PROGRESS".into();
        row.reason = Some("User Initiated".into());
        let event = begun(cx, &row, "REVIEW_IN_PROGRESS", Some("User Initiated"));
        let stack = self.insert(cx, State { row, ..State::default() }, vec![event]).await?;
        Ok((stack, true))
    }

    /// Takes back a stack that was only there to be reviewed.
    async fn forget(&self, cx: &Cx, stack: &Stack) -> Result<(), Fault> {
        stack
            .change(cx, |draft| {
                draft.state.row.deleted_at = Some(cx.now().millis());
                draft.status(cx, "DELETE_COMPLETE", None);
                Ok(())
            })
            .await
    }

    /// A change set by ARN, or by its stack and name.
    pub fn change_set(
        &self,
        cx: &Cx,
        stack: Option<&str>,
        named: &str,
    ) -> Result<(Arc<Stack>, ChangeSetRow), Fault> {
        let missing =
            || ChangeSetNotFoundException::new(format!("ChangeSet [{named}] does not exist")).into();
        let stacks = match stack {
            Some(stack) => vec![self.find(cx, stack)?],
            None if named.starts_with("arn:") => self.of_caller(cx),
            None => {
                return Err(validation(
                    "StackName must be specified if ChangeSetName is not specified as an ARN.",
                ));
            }
        };
        let found = stacks.into_iter().find_map(|stack| {
            let set = stack.look(|state| {
                let mut sets = state.change_sets.values();
                sets.find(|one| one.id == named || one.name == named).cloned()
            })?;
            Some((stack, set))
        });
        found.ok_or_else(missing)
    }
}
