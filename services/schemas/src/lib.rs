//! Amazon EventBridge Schemas: registries of schemas, their versions, and discovery of schemas from a bus's events.
//!
//! `state` keeps the rows, of which only contents stay in the store. `shape` tells the structure of events and merges what it
//! saw, `openapi` prints it as AWS does, `export` turns OpenAPI into JSON Schema: these three are pure. `discovery` takes
//! events from the buses' door and writes a new version when their structure is new; `enforcement` holds events to them.
//! Code bindings and the schemas of AWS's own events (`aws.events`) are not there; policies are kept and shown.

pub mod api;
mod checks;
mod content;
mod discoverers;
mod discovery;
mod enforcement;
mod export;
mod faults;
mod openapi;
mod policies;
mod registries;
mod resources;
mod rows;
mod schemas;
mod search;
mod shape;
mod state;
mod tags;
mod versions;

use std::sync::Arc;

use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::Schemas;

/// Opens the service over the platform's store. Discoverers listen from here on.
pub fn service(platform: &Arc<Platform>) -> Result<Service, Damaged> {
    let schemas = Schemas::open(platform.clone())?;
    platform.doors.schemas.hang(Arc::new(discovery::Listener::start(&schemas)));
    platform.doors.provide(Arc::new(resources::Resources(schemas.clone())));
    Ok(table(schemas))
}

fn table(schemas: Arc<Schemas>) -> Service {
    Service::new(&api::SERVICE, schemas)
        .on::<op::CreateRegistry>(registries::create_registry)
        .on::<op::UpdateRegistry>(registries::update_registry)
        .on::<op::DescribeRegistry>(registries::describe_registry)
        .on::<op::ListRegistries>(registries::list_registries)
        .on::<op::DeleteRegistry>(registries::delete_registry)
        .on::<op::PutResourcePolicy>(policies::put_resource_policy)
        .on::<op::GetResourcePolicy>(policies::get_resource_policy)
        .on::<op::DeleteResourcePolicy>(policies::delete_resource_policy)
        .on::<op::CreateSchema>(schemas::create_schema)
        .on::<op::UpdateSchema>(schemas::update_schema)
        .on::<op::DescribeSchema>(schemas::describe_schema)
        .on::<op::ListSchemas>(schemas::list_schemas)
        .on::<op::DeleteSchema>(schemas::delete_schema)
        .on::<op::ListSchemaVersions>(versions::list_schema_versions)
        .on::<op::DeleteSchemaVersion>(versions::delete_schema_version)
        .on::<op::ExportSchema>(versions::export_schema)
        .on::<op::SearchSchemas>(search::search_schemas)
        .on::<op::CreateDiscoverer>(discoverers::create_discoverer)
        .on::<op::UpdateDiscoverer>(discoverers::update_discoverer)
        .on::<op::DescribeDiscoverer>(discoverers::describe_discoverer)
        .on::<op::ListDiscoverers>(discoverers::list_discoverers)
        .on::<op::StartDiscoverer>(discoverers::start_discoverer)
        .on::<op::StopDiscoverer>(discoverers::stop_discoverer)
        .on::<op::DeleteDiscoverer>(discoverers::delete_discoverer)
        .on::<op::GetDiscoveredSchema>(discovery::get_discovered_schema)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsForResource>(tags::list_tags_for_resource)
        .build()
}
