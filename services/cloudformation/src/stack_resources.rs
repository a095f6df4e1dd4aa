//! What is in a stack and what happened to it.

use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    CloudFormation, api,
    api::{
        DescribeStackEventsInput, DescribeStackEventsOutput, DescribeStackResourceInput,
        DescribeStackResourceOutput, DescribeStackResourcesInput, DescribeStackResourcesOutput,
        ListStackResourcesInput, ListStackResourcesOutput, StackEvent, StackResource, StackResourceDetail,
        StackResourceDriftInformation, StackResourceDriftInformationSummary, StackResourceDriftStatus,
        StackResourceSummary,
    },
    stacks::bad_token,
    state::{EventRow, ResourceRow, State, validation},
};

const PAGE: usize = 100;

pub async fn describe_stack_events(
    cf: &CloudFormation,
    cx: &Cx,
    input: DescribeStackEventsInput,
) -> Result<DescribeStackEventsOutput, Fault> {
    let stack = cf
        .find(cx, &input.stack_name)
        .map_err(|_| validation(format!("Stack [{}] does not exist", input.stack_name)))?;
    stack.look(|state| {
        // The newest come first; counting down keeps pages stable while events are added.
        let newest_first = state.events.iter().enumerate().rev();
        let key = |(at, _): &(usize, &EventRow)| format!("{:08}", usize::MAX.wrapping_sub(*at) % 100_000_000);
        let page = tidemill_platform::page::page(newest_first, key, input.next_token.as_deref(), PAGE)
            .ok_or_else(bad_token)?;
        let events = page.items.into_iter().map(|(_, event)| wire(state, event)).collect();
        Ok(DescribeStackEventsOutput { stack_events: Some(events), next_token: page.next_token })
    })
}

pub async fn describe_stack_resource(
    cf: &CloudFormation,
    cx: &Cx,
    input: DescribeStackResourceInput,
) -> Result<DescribeStackResourceOutput, Fault> {
    let stack = cf.find(cx, &input.stack_name).map_err(|_| no_stack(&input.stack_name))?;
    stack.look(|state| {
        let row = state.resources.get(&input.logical_resource_id).ok_or_else(|| {
            let (name, id) = (&input.logical_resource_id, &input.stack_name);
            validation(format!("Resource {name} does not exist for stack {id}"))
        })?;
        let detail = StackResourceDetail {
            stack_name: Some(state.row.name.clone()),
            stack_id: Some(state.row.id.clone()),
            logical_resource_id: row.logical_id.clone(),
            physical_resource_id: row.physical_id.clone(),
            resource_type: row.resource_type.clone(),
            last_updated_timestamp: Timestamp::from_millis(row.changed_at),
            resource_status: row.status.as_str().into(),
            resource_status_reason: row.reason.clone(),
            metadata: Some(row.metadata.as_ref().map_or_else(|| "{}".into(), ToString::to_string)),
            drift_information: Some(not_checked()),
            ..StackResourceDetail::default()
        };
        Ok(DescribeStackResourceOutput { stack_resource_detail: Some(detail) })
    })
}

pub async fn describe_stack_resources(
    cf: &CloudFormation,
    cx: &Cx,
    input: DescribeStackResourcesInput,
) -> Result<DescribeStackResourcesOutput, Fault> {
    let stack = match (&input.stack_name, &input.physical_resource_id) {
        (Some(name), None) => cf.find(cx, name)?,
        (None, Some(id)) => {
            let owns = |state: &State| {
                state.row.status != "DELETE_COMPLETE"
                    && state.resources.values().any(|row| row.physical_id.as_ref() == Some(id))
            };
            let owner = cf.of_caller(cx).into_iter().find(|stack| stack.look(owns));
            owner.ok_or_else(|| validation(format!("Stack for {id} does not exist")))?
        }
        _ => {
            return Err(validation("Exactly one of StackName and PhysicalResourceId must be specified."));
        }
    };
    stack.look(|state| {
        let wanted = |row: &&ResourceRow| {
            input.logical_resource_id.as_ref().is_none_or(|name| *name == row.logical_id)
        };
        let resources: Vec<StackResource> =
            sorted(state).into_iter().filter(wanted).map(|row| resource(state, row)).collect();
        if let Some(name) = input.logical_resource_id.as_ref().filter(|_| resources.is_empty()) {
            return Err(validation(format!("Resource {name} does not exist for stack {}", state.row.name)));
        }
        Ok(DescribeStackResourcesOutput { stack_resources: Some(resources) })
    })
}

pub async fn list_stack_resources(
    cf: &CloudFormation,
    cx: &Cx,
    input: ListStackResourcesInput,
) -> Result<ListStackResourcesOutput, Fault> {
    let stack = cf.find(cx, &input.stack_name)?;
    stack.look(|state| {
        let key = |row: &&ResourceRow| row.logical_id.clone();
        let page = tidemill_platform::page::page(sorted(state), key, input.next_token.as_deref(), PAGE)
            .ok_or_else(bad_token)?;
        let summaries = page.items.into_iter().map(|row| StackResourceSummary {
            logical_resource_id: row.logical_id.clone(),
            physical_resource_id: row.physical_id.clone(),
            resource_type: row.resource_type.clone(),
            last_updated_timestamp: Timestamp::from_millis(row.changed_at),
            resource_status: row.status.as_str().into(),
            resource_status_reason: row.reason.clone(),
            drift_information: Some(StackResourceDriftInformationSummary {
                stack_resource_drift_status: StackResourceDriftStatus::NotChecked,
                last_check_timestamp: None,
            }),
            ..StackResourceSummary::default()
        });
        Ok(ListStackResourcesOutput {
            stack_resource_summaries: Some(summaries.collect()),
            next_token: page.next_token,
        })
    })
}

fn no_stack(name: &str) -> Fault {
    validation(format!("Stack '{name}' does not exist"))
}

fn sorted(state: &State) -> Vec<&ResourceRow> {
    let mut rows: Vec<&ResourceRow> = state.resources.values().collect();
    rows.sort_by(|a, b| a.logical_id.cmp(&b.logical_id));
    rows
}

fn not_checked() -> StackResourceDriftInformation {
    StackResourceDriftInformation {
        stack_resource_drift_status: StackResourceDriftStatus::NotChecked,
        last_check_timestamp: None,
    }
}

fn resource(state: &State, row: &ResourceRow) -> StackResource {
    StackResource {
        stack_name: Some(state.row.name.clone()),
        stack_id: Some(state.row.id.clone()),
        logical_resource_id: row.logical_id.clone(),
        physical_resource_id: row.physical_id.clone(),
        resource_type: row.resource_type.clone(),
        timestamp: Timestamp::from_millis(row.changed_at),
        resource_status: row.status.as_str().into(),
        resource_status_reason: row.reason.clone(),
        drift_information: Some(not_checked()),
        ..StackResource::default()
    }
}

fn wire(state: &State, event: &EventRow) -> StackEvent {
    StackEvent {
        stack_id: state.row.id.clone(),
        event_id: event.id.clone(),
        stack_name: state.row.name.clone(),
        logical_resource_id: Some(event.logical_id.clone()),
        physical_resource_id: Some(event.physical_id.clone().unwrap_or_default()),
        resource_type: Some(event.resource_type.clone()),
        timestamp: Timestamp::from_millis(event.at),
        resource_status: Some(api::ResourceStatus::from(event.status.as_str())),
        resource_status_reason: event.reason.clone(),
        resource_properties: event.properties.clone(),
        client_request_token: event.token.clone(),
        ..StackEvent::default()
    }
}
