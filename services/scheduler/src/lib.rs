//! Amazon EventBridge Scheduler: schedules by rate, cron expression or moment, in groups, each with one target.
//!
//! `request` turns what a caller asks into a row, `runs` says when a row is due, `firing` makes a run: its hand-over and the
//! next run's time in one batch. `route` brings the hand-over to its target: `templated` targets through crate `delivery`,
//! `universal` ones by calling the operation; both try again and dead-letter as the schedule says.
//! Recurring runs that a stopped platform missed by more than a minute are left out; a one-time run is made up for while
//! its `MaximumEventAgeInSeconds` lasts. Keys of KMS and targets outside the platform's services are refused.

pub mod api;
mod dead_letter;
mod firing;
mod groups;
mod payload;
mod request;
mod resources;
mod route;
mod rows;
mod runs;
mod schedules;
mod state;
mod tags;
mod target;
mod universal;

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::Scheduler;

/// Opens the service over the platform's store. Schedules run after [`Scheduler::start`].
pub fn service(platform: &Arc<Platform>, delivery: &Delivery) -> Result<(Service, Arc<Scheduler>), Damaged> {
    let scheduler = Scheduler::open(platform.clone(), delivery.clone())?;
    delivery.route(route::ROUTE, Arc::new(route::Runs(scheduler.clone())));
    platform.doors.provide(Arc::new(resources::Resources(scheduler.clone())));
    Ok((table(scheduler.clone()), scheduler))
}

fn table(scheduler: Arc<Scheduler>) -> Service {
    Service::new(&api::SERVICE, scheduler)
        .on::<op::CreateSchedule>(schedules::create_schedule)
        .on::<op::UpdateSchedule>(schedules::update_schedule)
        .on::<op::DeleteSchedule>(schedules::delete_schedule)
        .on::<op::GetSchedule>(schedules::get_schedule)
        .on::<op::ListSchedules>(schedules::list_schedules)
        .on::<op::CreateScheduleGroup>(groups::create_schedule_group)
        .on::<op::DeleteScheduleGroup>(groups::delete_schedule_group)
        .on::<op::GetScheduleGroup>(groups::get_schedule_group)
        .on::<op::ListScheduleGroups>(groups::list_schedule_groups)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsForResource>(tags::list_tags_for_resource)
        .build()
}
