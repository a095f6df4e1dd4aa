//! Amazon SNS: topics, their subscriptions, and messages from one to the other.
//!
//! `publishing` takes a message (`message` checks it) and `fan_out` puts what every subscription gets into the batch that
//! acknowledges it: queues take theirs right there, functions and HTTP endpoints (`endpoint`) get a hand-over.
//! `notification` writes what they get, `notary` signs it. `state` keeps topics and subscriptions with their filter
//! policies in matchers, `order` what FIFO topics remember. `target` makes topics targets of other services.
//! E-mail, SMS, application endpoints, data protection policies and archives of FIFO topics are not there yet and say so.

pub mod api;
mod certificates;
mod delivery_policy;
mod endpoint;
mod fan_out;
mod message;
mod notary;
mod notification;
mod order;
mod pace;
mod permissions;
mod protocols;
mod publishing;
mod resources;
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
pub use state::Sns;

/// Opens the service over the platform's store. Topics become targets of deliveries, their CloudFormation types are
/// provided, and queues can have notifications completed with their signatures.
pub fn service(platform: &Arc<Platform>, delivery: &Delivery) -> Result<(Service, Arc<Sns>), Damaged> {
    let sns = Sns::open(platform.clone(), delivery.clone())?;
    delivery.target("sns", Arc::new(target::Topics(sns.clone())));
    delivery.route(target::ROUTE, Arc::new(target::Topics(sns.clone())));
    delivery.route(endpoint::ROUTE, Arc::new(endpoint::Endpoints(sns.clone())));
    platform.doors.provide(Arc::new(resources::Resources(sns.clone())));
    platform.doors.notary.hang(sns.notary.clone());
    Ok((table(sns.clone()), sns))
}

/// Certificates, for the gateway's open path [`CERTIFICATES`].
pub fn certificates(sns: &Sns) -> Arc<dyn HttpService> {
    Arc::new(certificates::Certificates(sns.notary.clone()))
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
        .build()
}
