//! AWS CloudFormation: stacks, change sets, events, rollback; durable, and going on after a restart where it was.
//!
//! `definition` makes of a request what a stack is to be, `state` keeps it, `engine` brings it about: one task a stack
//! walks through its statuses, `apply` makes and changes resources in the order of their dependencies, `removal` takes
//! them away. Resource types are provided by their services (`platform::provider`). Nested stacks, stack sets, drift,
//! imports of existing resources, hooks and stack policies are not there and say so.

pub mod api;
mod apply;
mod change_sets;
mod changes;
mod definition;
mod engine;
mod exports;
mod known;
mod metadata;
mod outputs;
mod removal;
mod stack_resources;
mod stacks;
mod state;
mod templates;
mod update;

use std::sync::Arc;

use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::CloudFormation;

/// Opens the service over the platform's store. Unfinished work goes on after [`CloudFormation::start`].
pub fn service(platform: &Arc<Platform>) -> Result<(Service, Arc<CloudFormation>), Damaged> {
    let cf = CloudFormation::open(platform.clone())?;
    platform.doors.provide(Arc::new(metadata::Metadata));
    Ok((table(cf.clone()), cf))
}

fn table(cf: Arc<CloudFormation>) -> Service {
    let store = cf.platform.store.clone();
    Service::new(&api::SERVICE, cf)
        .settled_in(&store)
        .on::<op::CreateStack>(stacks::create_stack)
        .on::<op::UpdateStack>(stacks::update_stack)
        .on::<op::DeleteStack>(stacks::delete_stack)
        .on::<op::DescribeStacks>(stacks::describe_stacks)
        .on::<op::ListStacks>(stacks::list_stacks)
        .on::<op::UpdateTerminationProtection>(stacks::update_termination_protection)
        .on::<op::CancelUpdateStack>(stacks::cancel_update_stack)
        .on::<op::ContinueUpdateRollback>(stacks::continue_update_rollback)
        .on::<op::DescribeStackEvents>(stack_resources::describe_stack_events)
        .on::<op::DescribeStackResource>(stack_resources::describe_stack_resource)
        .on::<op::DescribeStackResources>(stack_resources::describe_stack_resources)
        .on::<op::ListStackResources>(stack_resources::list_stack_resources)
        .on::<op::GetTemplate>(templates::get_template)
        .on::<op::GetTemplateSummary>(templates::get_template_summary)
        .on::<op::ValidateTemplate>(templates::validate_template)
        .on::<op::CreateChangeSet>(change_sets::create_change_set)
        .on::<op::DescribeChangeSet>(change_sets::describe_change_set)
        .on::<op::ExecuteChangeSet>(change_sets::execute_change_set)
        .on::<op::DeleteChangeSet>(change_sets::delete_change_set)
        .on::<op::ListChangeSets>(change_sets::list_change_sets)
        .on::<op::ListExports>(exports::list_exports)
        .on::<op::ListImports>(exports::list_imports)
        .build()
}
