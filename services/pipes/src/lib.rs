//! Amazon EventBridge Pipes: events of one source, filtered, enriched and brought to one target.
//!
//! `request` turns what a caller asks into a row, `plan` a row into what runs. `queue_source` and `stream_source` read
//! batches, `execution` brings one batch through its stages: `enrichment`, then `sending` to the `target`; `log` tells of it.
//! Sources are SQS queues and DynamoDB streams; enrichments are functions and API destinations (`http`); targets are these,
//! queues, topics, event buses and log groups.
//! Everything else that AWS offers is refused by name.

mod answers;
pub mod api;
mod calls;
mod enrichment;
mod envelope;
mod execution;
mod filters;
mod gather;
mod http;
mod journey;
mod log;
mod log_events;
mod pipes;
mod plan;
mod queue_source;
mod request;
mod resources;
mod rows;
mod sending;
mod settings;
mod state;
mod stream_source;
mod tags;
mod target;
mod template;

use std::sync::Arc;

use tidemill_delivery::{Delivery, stream::Streams};
use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::Pipes;

/// Opens the service over the platform's store. Pipes run after [`Pipes::start`].
pub fn service(
    platform: &Arc<Platform>,
    delivery: &Delivery,
    streams: &Streams,
) -> Result<(Service, Arc<Pipes>), Damaged> {
    let pipes = Pipes::open(platform.clone(), delivery.clone(), streams.clone())?;
    platform.doors.provide(Arc::new(resources::Resources(pipes.clone())));
    Ok((table(pipes.clone()), pipes))
}

fn table(pipes: Arc<Pipes>) -> Service {
    let store = pipes.platform.store.clone();
    Service::new(&api::SERVICE, pipes)
        .settled_in(&store)
        .on::<op::CreatePipe>(pipes::create_pipe)
        .on::<op::DescribePipe>(pipes::describe_pipe)
        .on::<op::UpdatePipe>(pipes::update_pipe)
        .on::<op::DeletePipe>(pipes::delete_pipe)
        .on::<op::ListPipes>(pipes::list_pipes)
        .on::<op::StartPipe>(pipes::start_pipe)
        .on::<op::StopPipe>(pipes::stop_pipe)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsForResource>(tags::list_tags_for_resource)
        .build()
}
