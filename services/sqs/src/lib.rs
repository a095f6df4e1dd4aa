//! Amazon SQS: standard and FIFO queues over both of its protocols, durable, woken and never polled.
//!
//! `queue` is the state machine of one queue: pure, told the time, holding eight bytes a waiting message; bodies stay in
//! the store. `state` opens queues and wakes them, `sending` and `receiving` are the two sides, `settings` types the
//! attributes, `moves` brings dead letters back, `target` takes events from the rest of the platform.
//! KMS keys are refused; a deleted queue's name can be used again at once.

pub mod api;
mod batches;
mod digest;
mod door;
mod messages;
mod moves;
mod permissions;
mod queue;
mod queues;
mod receiving;
mod resources;
mod sending;
mod settings;
mod state;
mod tags;
mod target;

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::Sqs;

/// Opens the service over the platform's store, takes events sent to queues and provides the CloudFormation types.
pub fn service(platform: &Arc<Platform>, delivery: &Delivery) -> Result<(Service, Arc<Sqs>), Damaged> {
    let sqs = Sqs::open(platform.clone(), delivery.clone())?;
    delivery.target("sqs", Arc::new(target::Queues(sqs.clone())));
    delivery.route(target::ROUTE, Arc::new(target::Queues(sqs.clone())));
    platform.doors.queues.hang(sqs.clone());
    platform.doors.provide(Arc::new(resources::Resources(sqs.clone())));
    Ok((table(sqs.clone()), sqs))
}

fn table(sqs: Arc<Sqs>) -> Service {
    let store = sqs.platform.store.clone();
    Service::new(&api::SERVICE, sqs)
        .settled_in(&store)
        .on::<op::CreateQueue>(queues::create_queue)
        .on::<op::GetQueueUrl>(queues::get_queue_url)
        .on::<op::ListQueues>(queues::list_queues)
        .on::<op::DeleteQueue>(queues::delete_queue)
        .on::<op::PurgeQueue>(queues::purge_queue)
        .on::<op::GetQueueAttributes>(queues::get_queue_attributes)
        .on::<op::SetQueueAttributes>(queues::set_queue_attributes)
        .on::<op::ListDeadLetterSourceQueues>(queues::list_dead_letter_source_queues)
        .on::<op::TagQueue>(tags::tag_queue)
        .on::<op::UntagQueue>(tags::untag_queue)
        .on::<op::ListQueueTags>(tags::list_queue_tags)
        .on::<op::AddPermission>(permissions::add_permission)
        .on::<op::RemovePermission>(permissions::remove_permission)
        .on::<op::SendMessage>(sending::send_message)
        .on::<op::SendMessageBatch>(batches::send_message_batch)
        .on::<op::ReceiveMessage>(receiving::receive_message)
        .on::<op::DeleteMessage>(messages::delete_message)
        .on::<op::DeleteMessageBatch>(batches::delete_message_batch)
        .on::<op::ChangeMessageVisibility>(messages::change_message_visibility)
        .on::<op::ChangeMessageVisibilityBatch>(batches::change_message_visibility_batch)
        .on::<op::StartMessageMoveTask>(moves::start_message_move_task)
        .on::<op::CancelMessageMoveTask>(moves::cancel_message_move_task)
        .on::<op::ListMessageMoveTasks>(moves::list_message_move_tasks)
        .build()
}
