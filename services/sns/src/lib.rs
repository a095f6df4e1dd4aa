//! Amazon SNS: topics, their subscriptions, and messages from one to the other.
//!
//! `publishing` takes a message (`message` checks it) and `fan_out` puts what every subscription gets into the batch that
//! acknowledges it: queues take theirs right there, functions and HTTP endpoints (`endpoint`) get a hand-over.
//! `notification` writes what they get, `notary` signs it. `state` keeps topics and subscriptions with their filter
//! policies in matchers, `order` what FIFO topics remember. `target` makes topics targets of other services.
//! What leaves for people and devices (`mail`, `phone`, `devices`) is a parcel (`parcels`) for a `provider`, which is the
//! `outbox` by default. FIFO topics keep an `archive`, from which `replay` sends again. `protection` looks for what must
//! not pass (`identifiers`). Firehose is not there yet and says so.

pub mod api;
mod applications;
mod archive;
mod certificates;
mod delivery_policy;
mod devices;
mod endpoint;
mod fan_out;
mod identifiers;
mod mail;
mod message;
mod notary;
mod notification;
mod order;
mod outbox;
mod outbox_path;
mod pace;
mod parcels;
mod permissions;
mod phone;
mod protection;
mod protocols;
mod provider;
mod publishing;
mod replay;
mod resources;
mod sandbox;
mod state;
mod status;
mod subscription_settings;
mod subscriptions;
mod tags;
mod target;
mod topic_settings;
mod topics;

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{HttpService, Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use certificates::PREFIX as CERTIFICATES;
pub use outbox_path::PREFIX as OUTBOX;
pub use state::Sns;

/// Opens the service over the platform's store. Topics become targets of deliveries, their CloudFormation types are
/// provided, and queues can have notifications completed with their signatures.
pub fn service(platform: &Arc<Platform>, delivery: &Delivery) -> Result<(Service, Arc<Sns>), Damaged> {
    let sns = Sns::open(platform.clone(), delivery.clone())?;
    delivery.target("sns", Arc::new(target::Topics(sns.clone())));
    delivery.route(target::ROUTE, Arc::new(target::Topics(sns.clone())));
    delivery.route(endpoint::ROUTE, Arc::new(endpoint::Endpoints(sns.clone())));
    delivery.route(parcels::ROUTE, Arc::new(parcels::Parcels(sns.clone())));
    delivery.route(replay::ROUTE, Arc::new(replay::Replays(sns.clone())));
    platform.doors.provide(Arc::new(resources::Resources(sns.clone())));
    platform.doors.notary.hang(sns.notary.clone());
    Ok((table(sns.clone()), sns))
}

/// Certificates, for the gateway's open path [`CERTIFICATES`].
pub fn certificates(sns: &Sns) -> Arc<dyn HttpService> {
    Arc::new(certificates::Certificates(sns.notary.clone()))
}

/// The outbox, for the gateway's path [`OUTBOX`].
pub fn outbox(sns: &Arc<Sns>) -> Arc<dyn HttpService> {
    Arc::new(outbox_path::OutboxPath(sns.clone()))
}

fn table(sns: Arc<Sns>) -> Service {
    Service::new(&api::SERVICE, sns)
        .on::<op::Publish>(publishing::publish)
        .on::<op::PublishBatch>(publishing::publish_batch)
        .on::<op::CreateTopic>(topics::create_topic)
        .on::<op::DeleteTopic>(topics::delete_topic)
        .on::<op::ListTopics>(topics::list_topics)
        .on::<op::GetTopicAttributes>(topics::get_topic_attributes)
        .on::<op::SetTopicAttributes>(topics::set_topic_attributes)
        .on::<op::Subscribe>(subscriptions::subscribe)
        .on::<op::ConfirmSubscription>(subscriptions::confirm_subscription)
        .on::<op::Unsubscribe>(subscriptions::unsubscribe)
        .on::<op::GetSubscriptionAttributes>(subscriptions::get_subscription_attributes)
        .on::<op::SetSubscriptionAttributes>(subscriptions::set_subscription_attributes)
        .on::<op::ListSubscriptions>(subscriptions::list_subscriptions)
        .on::<op::ListSubscriptionsByTopic>(subscriptions::list_subscriptions_by_topic)
        .on::<op::AddPermission>(permissions::add_permission)
        .on::<op::RemovePermission>(permissions::remove_permission)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsForResource>(tags::list_tags_for_resource)
        .on::<op::CreatePlatformApplication>(applications::create_platform_application)
        .on::<op::DeletePlatformApplication>(applications::delete_platform_application)
        .on::<op::GetPlatformApplicationAttributes>(applications::get_platform_application_attributes)
        .on::<op::SetPlatformApplicationAttributes>(applications::set_platform_application_attributes)
        .on::<op::ListPlatformApplications>(applications::list_platform_applications)
        .on::<op::CreatePlatformEndpoint>(devices::create_platform_endpoint)
        .on::<op::DeleteEndpoint>(devices::delete_endpoint)
        .on::<op::GetEndpointAttributes>(devices::get_endpoint_attributes)
        .on::<op::SetEndpointAttributes>(devices::set_endpoint_attributes)
        .on::<op::ListEndpointsByPlatformApplication>(devices::list_endpoints_by_platform_application)
        .on::<op::PutDataProtectionPolicy>(protection::put_data_protection_policy)
        .on::<op::GetDataProtectionPolicy>(protection::get_data_protection_policy)
        .on::<op::SetSMSAttributes>(phone::set_sms_attributes)
        .on::<op::GetSMSAttributes>(phone::get_sms_attributes)
        .on::<op::CheckIfPhoneNumberIsOptedOut>(phone::check_if_phone_number_is_opted_out)
        .on::<op::ListPhoneNumbersOptedOut>(phone::list_phone_numbers_opted_out)
        .on::<op::OptInPhoneNumber>(phone::opt_in_phone_number)
        .on::<op::ListOriginationNumbers>(phone::list_origination_numbers)
        .on::<op::GetSMSSandboxAccountStatus>(sandbox::get_sms_sandbox_account_status)
        .on::<op::CreateSMSSandboxPhoneNumber>(sandbox::create_sms_sandbox_phone_number)
        .on::<op::VerifySMSSandboxPhoneNumber>(sandbox::verify_sms_sandbox_phone_number)
        .on::<op::ListSMSSandboxPhoneNumbers>(sandbox::list_sms_sandbox_phone_numbers)
        .on::<op::DeleteSMSSandboxPhoneNumber>(sandbox::delete_sms_sandbox_phone_number)
        .build()
}
