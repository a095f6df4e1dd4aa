//! AWS Lambda: functions, versions, aliases, layers, permissions, synchronous and asynchronous invocations, function URLs,
//! event source mappings.
//!
//! `state` keeps the functions; `functions`, `versions`, `aliases`, `permissions`, `concurrency`, `provisioned`, `recursion`,
//! `event_invoke`, `tags`, `layers`, `runtime_management`, `quotas`, `code_signing` are the API by noun; `places` says who may run, `run` executes (crate
//! `sandbox` does the work), `streaming` hands answers on in pieces; `asynchronous` is the function as a target of deliveries,
//! `destinations` are told how that went;
//! `urls` puts it behind an HTTP address; `mappings` read streams and queues. `snapstart` has versions begin from a snapshot.

mod aliases;
pub mod api;
mod asynchronous;
mod code;
mod code_signing;
mod concurrency;
mod configuration;
mod destinations;
mod downloads;
mod event_invoke;
mod functions;
mod invoke;
mod layers;
mod mappings;
mod names;
mod permissions;
mod places;
mod provisioned;
mod quotas;
mod recursion;
mod resources;
mod run;
mod runtime_management;
mod snapstart;
mod state;
mod streaming;
mod tags;
mod traces;
mod urls;
mod versions;

use std::sync::Arc;

use tidemill_delivery::{Delivery, stream::Streams};
use tidemill_platform::{Platform, Service};
use tidemill_sandbox::{ConnectionHandler, ExecutorConfig};
use tidemill_store::Damaged;

use api::op;
pub use downloads::PREFIX as DOWNLOADS;
pub use quotas::Quotas;
pub use state::Lambda;

/// What Lambda needs beside the platform.
pub struct Parts {
    pub delivery: Delivery,
    pub streams: Streams,
    pub executor: ExecutorConfig,
    pub quotas: Quotas,
    /// Serves connections that functions open to the AWS endpoint.
    pub connections: Option<Arc<dyn ConnectionHandler>>,
}

/// Opens the service: functions become targets of deliveries, their CloudFormation types are provided. Mappings begin
/// to read with [`Lambda::start`], once every source is registered.
pub fn service(platform: &Arc<Platform>, parts: Parts) -> Result<(Service, Arc<Lambda>), Damaged> {
    let delivery = parts.delivery.clone();
    let lambda = Lambda::open(platform.clone(), parts)?;
    let functions = Arc::new(asynchronous::Functions::new(&lambda));
    delivery.target("lambda", functions.clone());
    delivery.route(asynchronous::ROUTE, functions);
    delivery.route(destinations::ROUTE, Arc::new(destinations::Buckets(lambda.clone())));
    platform.doors.provide(Arc::new(resources::Resources(lambda.clone())));
    Ok((table(lambda.clone()), lambda))
}

/// Function URLs, for the gateway's `lambda-url`.
pub fn function_urls(lambda: &Arc<Lambda>) -> Arc<dyn tidemill_platform::HttpService> {
    Arc::new(urls::Http(lambda.clone()))
}

/// Uploaded code, for the gateway's internal path [`DOWNLOADS`].
pub fn downloads(lambda: &Arc<Lambda>) -> Arc<dyn tidemill_platform::HttpService> {
    Arc::new(downloads::Downloads(lambda.clone()))
}

fn table(lambda: Arc<Lambda>) -> Service {
    let store = lambda.platform.store.clone();
    Service::new(&api::SERVICE, lambda)
        .settled_in(&store)
        .on::<op::CreateFunction>(functions::create_function)
        .on::<op::GetFunction>(functions::get_function)
        .on::<op::GetFunctionConfiguration>(functions::get_function_configuration)
        .on::<op::ListFunctions>(functions::list_functions)
        .on::<op::UpdateFunctionCode>(functions::update_function_code)
        .on::<op::UpdateFunctionConfiguration>(functions::update_function_configuration)
        .on::<op::DeleteFunction>(functions::delete_function)
        .on::<op::GetAccountSettings>(quotas::get_account_settings)
        .on::<op::GetFunctionCodeSigningConfig>(code_signing::get_function_code_signing_config)
        .on::<op::DeleteFunctionCodeSigningConfig>(code_signing::delete_function_code_signing_config)
        .on::<op::ListCodeSigningConfigs>(code_signing::list_code_signing_configs)
        .on::<op::PublishVersion>(versions::publish_version)
        .on::<op::ListVersionsByFunction>(versions::list_versions_by_function)
        .on::<op::CreateAlias>(aliases::create_alias)
        .on::<op::GetAlias>(aliases::get_alias)
        .on::<op::ListAliases>(aliases::list_aliases)
        .on::<op::UpdateAlias>(aliases::update_alias)
        .on::<op::DeleteAlias>(aliases::delete_alias)
        .on::<op::Invoke>(invoke::invoke)
        .on::<op::InvokeAsync>(invoke::invoke_async)
        .on::<op::InvokeWithResponseStream>(streaming::invoke_with_response_stream)
        .on::<op::AddPermission>(permissions::add_permission)
        .on::<op::RemovePermission>(permissions::remove_permission)
        .on::<op::GetPolicy>(permissions::get_policy)
        .on::<op::PublishLayerVersion>(layers::publish_layer_version)
        .on::<op::GetLayerVersion>(layers::get_layer_version)
        .on::<op::GetLayerVersionByArn>(layers::get_layer_version_by_arn)
        .on::<op::ListLayers>(layers::list_layers)
        .on::<op::ListLayerVersions>(layers::list_layer_versions)
        .on::<op::DeleteLayerVersion>(layers::delete_layer_version)
        .on::<op::AddLayerVersionPermission>(layers::add_layer_version_permission)
        .on::<op::RemoveLayerVersionPermission>(layers::remove_layer_version_permission)
        .on::<op::GetLayerVersionPolicy>(layers::get_layer_version_policy)
        .on::<op::CreateFunctionUrlConfig>(urls::create_function_url_config)
        .on::<op::GetFunctionUrlConfig>(urls::get_function_url_config)
        .on::<op::UpdateFunctionUrlConfig>(urls::update_function_url_config)
        .on::<op::DeleteFunctionUrlConfig>(urls::delete_function_url_config)
        .on::<op::ListFunctionUrlConfigs>(urls::list_function_url_configs)
        .on::<op::GetRuntimeManagementConfig>(runtime_management::get_runtime_management_config)
        .on::<op::PutRuntimeManagementConfig>(runtime_management::put_runtime_management_config)
        .on::<op::PutFunctionConcurrency>(concurrency::put_function_concurrency)
        .on::<op::GetFunctionConcurrency>(concurrency::get_function_concurrency)
        .on::<op::DeleteFunctionConcurrency>(concurrency::delete_function_concurrency)
        .on::<op::PutFunctionRecursionConfig>(recursion::put_function_recursion_config)
        .on::<op::GetFunctionRecursionConfig>(recursion::get_function_recursion_config)
        .on::<op::PutProvisionedConcurrencyConfig>(provisioned::put_provisioned_concurrency_config)
        .on::<op::GetProvisionedConcurrencyConfig>(provisioned::get_provisioned_concurrency_config)
        .on::<op::ListProvisionedConcurrencyConfigs>(provisioned::list_provisioned_concurrency_configs)
        .on::<op::DeleteProvisionedConcurrencyConfig>(provisioned::delete_provisioned_concurrency_config)
        .on::<op::PutFunctionEventInvokeConfig>(event_invoke::put_function_event_invoke_config)
        .on::<op::UpdateFunctionEventInvokeConfig>(event_invoke::update_function_event_invoke_config)
        .on::<op::GetFunctionEventInvokeConfig>(event_invoke::get_function_event_invoke_config)
        .on::<op::ListFunctionEventInvokeConfigs>(event_invoke::list_function_event_invoke_configs)
        .on::<op::DeleteFunctionEventInvokeConfig>(event_invoke::delete_function_event_invoke_config)
        .on::<op::CreateEventSourceMapping>(mappings::create_event_source_mapping)
        .on::<op::GetEventSourceMapping>(mappings::get_event_source_mapping)
        .on::<op::ListEventSourceMappings>(mappings::list_event_source_mappings)
        .on::<op::UpdateEventSourceMapping>(mappings::update_event_source_mapping)
        .on::<op::DeleteEventSourceMapping>(mappings::delete_event_source_mapping)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTags>(tags::list_tags)
        .build()
}
