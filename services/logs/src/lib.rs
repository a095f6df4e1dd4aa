//! CloudWatch Logs: groups, streams, events, filters and live tail.
//!
//! `state` keeps groups and streams in memory and all rows in the store; `events` reads them back; `tail` follows what
//! is written; `filter` reads patterns (`engines/log-filter` is their language).
//! `door` is how functions' output gets here from inside the platform, `target` how events do.

pub mod api;
mod door;
mod events;
mod filter;
mod groups;
mod resources;
mod state;
mod streams;
mod tags;
mod tail;
mod target;

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::Logs;

/// Opens the service, hangs in the logs door, takes events and provides `AWS::Logs::LogGroup`.
pub fn service(platform: &Arc<Platform>, delivery: &Delivery) -> Result<Service, Damaged> {
    let logs = Arc::new(Logs::open(platform.clone())?);
    platform.doors.logs.hang(logs.clone());
    delivery.target("logs", Arc::new(target::Groups(logs.clone())));
    platform.doors.provide(Arc::new(resources::Resources(logs.clone())));
    let service = Service::new(&api::SERVICE, logs)
        .settled_in(&platform.store)
        .on::<op::CreateLogGroup>(groups::create_log_group)
        .on::<op::DeleteLogGroup>(groups::delete_log_group)
        .on::<op::DescribeLogGroups>(groups::describe_log_groups)
        .on::<op::PutRetentionPolicy>(groups::put_retention_policy)
        .on::<op::DeleteRetentionPolicy>(groups::delete_retention_policy)
        .on::<op::CreateLogStream>(streams::create_log_stream)
        .on::<op::DeleteLogStream>(streams::delete_log_stream)
        .on::<op::DescribeLogStreams>(streams::describe_log_streams)
        .on::<op::PutLogEvents>(events::put_log_events)
        .on::<op::GetLogEvents>(events::get_log_events)
        .on::<op::FilterLogEvents>(events::filter_log_events)
        .on::<op::TestMetricFilter>(filter::test_metric_filter)
        .on::<op::StartLiveTail>(tail::start_live_tail)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsForResource>(tags::list_tags_for_resource)
        .on::<op::TagLogGroup>(tags::tag_log_group)
        .on::<op::UntagLogGroup>(tags::untag_log_group)
        .on::<op::ListTagsLogGroup>(tags::list_tags_log_group);
    Ok(service.build())
}
