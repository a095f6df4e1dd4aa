//! Stacks: made, changed, deleted and described.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    CloudFormation, api,
    api::{
        CreateStackInput, CreateStackOutput, DeleteStackInput, DescribeStacksInput, DescribeStacksOutput,
        ListStacksInput, ListStacksOutput, Parameter, StackDriftInformation, StackDriftInformationSummary,
        StackDriftStatus, StackStatus, StackSummary, Tag, UpdateStackInput, UpdateStackOutput,
        UpdateTerminationProtectionInput, UpdateTerminationProtectionOutput,
    },
    definition::Asked,
    exports,
    state::{EventRow, Stack, StackRow, State, validation},
};

const PAGE: usize = 100;

pub async fn create_stack(
    cf: &CloudFormation,
    cx: &Cx,
    input: CreateStackInput,
) -> Result<CreateStackOutput, Fault> {
    refuse(&[
        ("CreateStack with RollbackConfiguration", input.rollback_configuration.is_some()),
        ("CreateStack with NotificationARNs", input.notification_ar_ns.is_some_and(|all| !all.is_empty())),
        (
            "CreateStack with a stack policy",
            input.stack_policy_body.is_some() || input.stack_policy_url.is_some(),
        ),
        ("CreateStack with ResourceTypes", input.resource_types.is_some()),
        ("CreateStack with TimeoutInMinutes", input.timeout_in_minutes.is_some()),
        ("CreateStack with RetainExceptOnCreate", input.retain_except_on_create == Some(true)),
    ])?;
    if input.disable_rollback.is_some() && input.on_failure.is_some() {
        return Err(validation("You may only specify one of DisableRollback and OnFailure"));
    }
    check_name(&input.stack_name)?;
    if let Some(found) = cf.by_name(cx, &input.stack_name) {
        let is_same = input.client_request_token.is_some()
            && found.look(|state| state.row.token == input.client_request_token);
        if is_same {
            return Ok(CreateStackOutput { stack_id: Some(found.id.clone()), operation_id: None });
        }
        let sentence = format!("Stack [{}] already exists", input.stack_name);
        return Err(api::AlreadyExistsException::new(sentence).into());
    }
    let on_failure = match (input.on_failure, input.disable_rollback) {
        (Some(what), _) => what.as_str().to_string(),
        (None, Some(true)) => "DO_NOTHING".into(),
        (None, _) => "ROLLBACK".into(),
    };
    let mut row = new_row(cx, &input.stack_name);
    row.status = "CREATE_IN_PROGRESS".into();
    row.disable_rollback = on_failure == "DO_NOTHING";
    row.on_failure = on_failure;
    row.protected = input.enable_termination_protection == Some(true);
    row.role_arn = input.role_arn;
    row.token = input.client_request_token;
    let asked = Asked {
        body: input.template_body,
        url: input.template_url,
        use_previous: false,
        parameters: input.parameters.unwrap_or_default(),
        tags: input.tags,
        capabilities: input.capabilities.unwrap_or_default(),
        is_change_set: false,
    };
    let current = cf.define(cx, &row, None, asked).await?;
    let event = begun(cx, &row, "CREATE_IN_PROGRESS", Some("User Initiated"));
    let stack = cf.insert(cx, State { row, current, ..State::default() }, vec![event]).await?;
    cf.run(stack.clone());
    Ok(CreateStackOutput { stack_id: Some(stack.id.clone()), operation_id: None })
}

pub async fn update_stack(
    cf: &CloudFormation,
    cx: &Cx,
    input: UpdateStackInput,
) -> Result<UpdateStackOutput, Fault> {
    refuse(&[
        ("UpdateStack with RollbackConfiguration", input.rollback_configuration.is_some()),
        ("UpdateStack with NotificationARNs", input.notification_ar_ns.is_some_and(|all| !all.is_empty())),
        (
            "UpdateStack with a stack policy",
            input.stack_policy_body.is_some() || input.stack_policy_url.is_some(),
        ),
        ("UpdateStack with a stack policy", input.stack_policy_during_update_body.is_some()),
        ("UpdateStack with a stack policy", input.stack_policy_during_update_url.is_some()),
        ("UpdateStack with ResourceTypes", input.resource_types.is_some()),
        ("UpdateStack with RetainExceptOnCreate", input.retain_except_on_create == Some(true)),
    ])?;
    let stack = cf.find(cx, &input.stack_name)?;
    let (row, previous) = stack.look(|state| (state.row.clone(), state.current.clone()));
    check_updatable(&row)?;
    let asked = Asked {
        body: input.template_body,
        url: input.template_url,
        use_previous: input.use_previous_template == Some(true),
        parameters: input.parameters.unwrap_or_default(),
        tags: input.tags,
        capabilities: input.capabilities.unwrap_or_default(),
        is_change_set: false,
    };
    let next = cf.define(cx, &row, Some(&previous), asked).await?;
    if cf.changes(&stack, &next)?.is_empty() && !cf.differs_otherwise(&previous, &next) {
        return Err(validation("No updates are to be performed."));
    }
    stack
        .change(cx, |draft| {
            check_updatable(&draft.state.row)?;
            let row = &mut draft.state.row;
            row.token = input.client_request_token;
            row.disable_rollback = input.disable_rollback == Some(true);
            row.role_arn = input.role_arn.or(row.role_arn.take());
            draft.begin_update(cx, next);
            Ok(())
        })
        .await?;
    cf.run(stack.clone());
    Ok(UpdateStackOutput { stack_id: Some(stack.id.clone()), operation_id: None })
}

pub async fn delete_stack(cf: &CloudFormation, cx: &Cx, input: DeleteStackInput) -> Result<Unit, Fault> {
    if input.deletion_mode.is_some_and(|mode| mode.as_str() != "STANDARD") {
        return Err(Fault::not_implemented("DeleteStack with DeletionMode FORCE_DELETE_STACK"));
    }
    // What is not there is deleted already.
    let Ok(stack) = cf.find(cx, &input.stack_name) else { return Ok(Unit) };
    let retained: std::collections::BTreeSet<String> =
        input.retain_resources.unwrap_or_default().into_iter().collect();
    let begins = stack
        .change(cx, |draft| {
            let row = &mut draft.state.row;
            if row.protected {
                return Err(validation(format!(
                    "Stack [{}] cannot be deleted while TerminationProtection is enabled",
                    row.name
                )));
            }
            if row.status == "DELETE_COMPLETE" || row.status == "DELETE_IN_PROGRESS" {
                return Ok(false);
            }
            if row.status.ends_with("_IN_PROGRESS") && row.status != "REVIEW_IN_PROGRESS" && row.status != "CREATE_IN_PROGRESS" {
                return Err(validation(format!(
                    "Stack [{}] cannot be deleted while in status {}",
                    row.id, row.status
                )));
            }
            if !retained.is_empty() && row.status != "DELETE_FAILED" {
                return Err(validation(format!(
                    "Invalid operation on stack [{}]. Specify --retain-resources only when the stack is in the DELETE_FAILED state.",
                    row.id
                )));
            }
            row.token = input.client_request_token;
            row.retained = retained;
            draft.status(cx, "DELETE_IN_PROGRESS", Some("User Initiated"));
            Ok(true)
        })
        .await?;
    if begins {
        cf.run(stack);
    }
    Ok(Unit)
}

pub async fn describe_stacks(
    cf: &CloudFormation,
    cx: &Cx,
    input: DescribeStacksInput,
) -> Result<DescribeStacksOutput, Fault> {
    if let Some(name) = input.stack_name.filter(|name| !name.is_empty()) {
        let stack = cf.find(cx, &name)?;
        return Ok(DescribeStacksOutput { stacks: Some(vec![stack.look(described)]), next_token: None });
    }
    let mut stacks: Vec<api::Stack> = cf
        .of_caller(cx)
        .iter()
        .filter(|stack| stack.look(|state| state.row.status != "DELETE_COMPLETE"))
        .map(|stack| stack.look(described))
        .collect();
    stacks.sort_by(|a, b| a.stack_id.cmp(&b.stack_id));
    let key = |stack: &api::Stack| stack.stack_id.clone().unwrap_or_default();
    let page = tidemill_platform::page::page(stacks, key, input.next_token.as_deref(), PAGE)
        .ok_or_else(bad_token)?;
    Ok(DescribeStacksOutput { stacks: Some(page.items), next_token: page.next_token })
}

pub async fn list_stacks(
    cf: &CloudFormation,
    cx: &Cx,
    input: ListStacksInput,
) -> Result<ListStacksOutput, Fault> {
    let wanted = input.stack_status_filter.unwrap_or_default();
    let all = cf.of_caller(cx);
    let stacks = all.iter().map(|stack| stack.look(|state| summary(&state.row, &state.current)));
    let stacks: Vec<StackSummary> =
        stacks.filter(|stack| wanted.is_empty() || wanted.contains(&stack.stack_status)).collect();
    let key = |stack: &StackSummary| stack.stack_id.clone().unwrap_or_default();
    let page = tidemill_platform::page::page(stacks, key, input.next_token.as_deref(), PAGE)
        .ok_or_else(bad_token)?;
    Ok(ListStacksOutput { stack_summaries: Some(page.items), next_token: page.next_token })
}

pub async fn update_termination_protection(
    cf: &CloudFormation,
    cx: &Cx,
    input: UpdateTerminationProtectionInput,
) -> Result<UpdateTerminationProtectionOutput, Fault> {
    let stack = cf.find(cx, &input.stack_name)?;
    stack
        .change(cx, |draft| {
            draft.state.row.protected = input.enable_termination_protection;
            Ok(())
        })
        .await?;
    Ok(UpdateTerminationProtectionOutput { stack_id: Some(stack.id.clone()) })
}

pub async fn cancel_update_stack(
    cf: &CloudFormation,
    cx: &Cx,
    input: api::CancelUpdateStackInput,
) -> Result<Unit, Fault> {
    let stack = cf.find(cx, &input.stack_name)?;
    stack
        .change(cx, |draft| {
            if draft.state.row.status != "UPDATE_IN_PROGRESS" {
                return Err(validation("CancelUpdateStack cannot be called from current stack status"));
            }
            draft.state.row.cancelled = true;
            Ok(())
        })
        .await?;
    Ok(Unit)
}

pub async fn continue_update_rollback(
    cf: &CloudFormation,
    cx: &Cx,
    input: api::ContinueUpdateRollbackInput,
) -> Result<api::ContinueUpdateRollbackOutput, Fault> {
    refuse(&[(
        "ContinueUpdateRollback with ResourcesToSkip",
        input.resources_to_skip.is_some_and(|all| !all.is_empty()),
    )])?;
    let stack = cf.find(cx, &input.stack_name)?;
    stack
        .change(cx, |draft| {
            let row = &draft.state.row;
            if row.status != "UPDATE_ROLLBACK_FAILED" {
                return Err(validation(format!(
                    "Stack [{}] is in {} state and can not be continue-update-rollbacked",
                    row.id, row.status
                )));
            }
            draft.status(cx, "UPDATE_ROLLBACK_IN_PROGRESS", Some("User Initiated"));
            Ok(())
        })
        .await?;
    cf.run(stack);
    Ok(api::ContinueUpdateRollbackOutput {})
}

/// Refuses options that are not honoured.
pub fn refuse(options: &[(&str, bool)]) -> Result<(), Fault> {
    match options.iter().find(|(_, given)| *given) {
        Some((what, _)) => Err(Fault::not_implemented(what)),
        None => Ok(()),
    }
}

pub fn check_name(name: &str) -> Result<(), Fault> {
    let mut characters = name.chars();
    let is_good = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !is_good {
        return Err(validation(format!(
            "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )));
    }
    if name.len() > 128 {
        return Err(validation(format!(
            "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must have length less than or equal to 128"
        )));
    }
    Ok(())
}

pub fn check_updatable(row: &StackRow) -> Result<(), Fault> {
    match row.status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE" | "UPDATE_FAILED" => Ok(()),
        status => Err(validation(format!("Stack:{} is in {status} state and can not be updated.", row.id))),
    }
}

pub fn new_row(cx: &Cx, name: &str) -> StackRow {
    StackRow {
        id: cx.arn("cloudformation", format!("stack/{name}/{}", cx.random().uuid())).to_string(),
        name: name.into(),
        account: cx.account().into(),
        region: cx.region().into(),
        created_at: cx.now().millis(),
        on_failure: "ROLLBACK".into(),
        ..StackRow::default()
    }
}

/// The first event of a stack that is about to be inserted.
pub fn begun(cx: &Cx, row: &StackRow, status: &str, reason: Option<&str>) -> EventRow {
    EventRow {
        id: cx.random().uuid(),
        logical_id: row.name.clone(),
        physical_id: Some(row.id.clone()),
        resource_type: "AWS::CloudFormation::Stack".into(),
        at: cx.now().millis(),
        status: status.into(),
        reason: reason.map(String::from),
        properties: None,
        token: row.token.clone(),
    }
}

pub fn bad_token() -> Fault {
    validation("Invalid NextToken")
}

fn described(state: &State) -> api::Stack {
    let (row, definition) = (&state.row, &state.current);
    let outputs: Vec<api::Output> = row
        .outputs
        .iter()
        .map(|output| api::Output {
            output_key: Some(output.key.clone()),
            output_value: Some(output.value.clone()),
            description: output.description.clone(),
            export_name: output.export.clone(),
        })
        .collect();
    let parameters = parameters(definition);
    api::Stack {
        stack_id: Some(row.id.clone()),
        stack_name: row.name.clone(),
        change_set_id: row.change_set_id.clone(),
        description: definition.description.clone(),
        parameters: (!parameters.is_empty()).then_some(parameters),
        creation_time: Timestamp::from_millis(row.created_at),
        deletion_time: row.deleted_at.map(Timestamp::from_millis),
        last_updated_time: row.updated_at.map(Timestamp::from_millis),
        rollback_configuration: Some(api::RollbackConfiguration::default()),
        stack_status: StackStatus::from(row.status.as_str()),
        stack_status_reason: row.reason.clone(),
        disable_rollback: Some(row.disable_rollback),
        notification_ar_ns: Some(Vec::new()),
        capabilities: (!definition.capabilities.is_empty())
            .then(|| definition.capabilities.iter().map(|one| one.as_str().into()).collect()),
        outputs: (!outputs.is_empty()).then_some(outputs),
        role_arn: row.role_arn.clone(),
        tags: Some(tags(definition)),
        enable_termination_protection: Some(row.protected),
        drift_information: Some(StackDriftInformation {
            stack_drift_status: StackDriftStatus::NotChecked,
            last_check_timestamp: None,
        }),
        ..api::Stack::default()
    }
}

pub fn parameters(definition: &crate::state::Definition) -> Vec<Parameter> {
    let shown = |(name, (value, hidden)): (&String, &(String, bool))| Parameter {
        parameter_key: Some(name.clone()),
        parameter_value: Some(if *hidden { "****".into() } else { value.clone() }),
        ..Parameter::default()
    };
    definition.parameters.iter().map(shown).collect()
}

pub fn tags(definition: &crate::state::Definition) -> Vec<Tag> {
    definition.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

fn summary(row: &StackRow, definition: &crate::state::Definition) -> StackSummary {
    StackSummary {
        stack_id: Some(row.id.clone()),
        stack_name: row.name.clone(),
        template_description: definition.description.clone(),
        creation_time: Timestamp::from_millis(row.created_at),
        last_updated_time: row.updated_at.map(Timestamp::from_millis),
        deletion_time: row.deleted_at.map(Timestamp::from_millis),
        stack_status: StackStatus::from(row.status.as_str()),
        stack_status_reason: row.reason.clone(),
        drift_information: Some(StackDriftInformationSummary {
            stack_drift_status: StackDriftStatus::NotChecked,
            last_check_timestamp: None,
        }),
        ..StackSummary::default()
    }
}

impl CloudFormation {
    /// Exports a stack would take away or change while others import them.
    pub fn exports_in_use(&self, cx: &Cx, stack: &Stack) -> Option<String> {
        let mine = stack.look(|state| exports::names(&state.row));
        mine.into_iter().find_map(|name| {
            let users = exports::importers(self, cx, &name);
            (!users.is_empty()).then(|| {
                format!("Export {name} cannot be deleted as it is in use by {}", users.join(" and "))
            })
        })
    }
}
