//! Amazon EventBridge: buses, rules by pattern and by schedule, targets, and the events between them.
//!
//! `events` is the way of an event: `envelope`, match (the automaton of `engines/event-pattern`), input per target, hand-over,
//! all in the batch that acknowledges it. `state` keeps buses and rules, `schedules` fires rules that have a time,
//! `target_checks` says what can be a target of a rule; `target` makes buses targets of other services. In-platform targets take an event or refuse it for good, so retry
//! policies have nothing to do for them; refused events go to the target's dead-letter queue.
//! `destinations` are HTTP endpoints with `connections`; `invocation` calls them, with attempts and retries.
//! `archives` keep what their own rules match (`vault`, `retention`), `replays` bring it back (`replaying`).
//! `enforcement` holds the events of buses that ask for it to the schemas of a registry.
//! Partner sources, global endpoints and bus logs are not there and say so.

pub mod api;
mod archives;
mod authorization;
mod buses;
mod connections;
mod credentials;
mod dead_letters;
mod destinations;
mod enforcement;
mod envelope;
mod events;
mod explain;
mod http_request;
mod invocation;
mod pace;
mod patterns;
mod permissions;
mod replaying;
mod replays;
mod resources;
mod retention;
mod rules;
mod schedules;
mod shelf;
mod state;
mod tags;
mod target;
mod target_checks;
mod targets;
#[cfg(test)]
mod testing;
mod vault;

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::EventBridge;

/// What AWS raises on request. Source: "Amazon EventBridge quotas".
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Rules a bus, those that archives have on it included.
    pub rules: usize,
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas { rules: 300 }
    }
}

/// Opens the service over the platform's store. Scheduled rules fire after [`EventBridge::start`].
pub fn service(
    platform: &Arc<Platform>,
    delivery: &Delivery,
    quotas: Quotas,
) -> Result<(Service, Arc<EventBridge>), Damaged> {
    let bridge = EventBridge::open(platform.clone(), delivery.clone(), quotas)?;
    delivery.target("events", Arc::new(target::Buses(bridge.clone())));
    delivery.route(target::ROUTE, Arc::new(target::Buses(bridge.clone())));
    delivery.route(invocation::ROUTE, Arc::new(invocation::Invocations(bridge.clone())));
    platform.doors.destinations.hang(Arc::new(invocation::Invocations(bridge.clone())));
    platform.doors.provide(Arc::new(resources::Resources(bridge.clone())));
    Ok((table(bridge.clone()), bridge))
}

fn table(bridge: Arc<EventBridge>) -> Service {
    let store = bridge.platform.store.clone();
    Service::new(&api::SERVICE, bridge)
        .settled_in(&store)
        .on::<op::PutEvents>(events::put_events)
        .on::<op::CreateEventBus>(buses::create_event_bus)
        .on::<op::UpdateEventBus>(buses::update_event_bus)
        .on::<op::DeleteEventBus>(buses::delete_event_bus)
        .on::<op::DescribeEventBus>(buses::describe_event_bus)
        .on::<op::ListEventBuses>(buses::list_event_buses)
        .on::<op::PutPermission>(permissions::put_permission)
        .on::<op::RemovePermission>(permissions::remove_permission)
        .on::<op::PutRule>(rules::put_rule)
        .on::<op::DeleteRule>(rules::delete_rule)
        .on::<op::DescribeRule>(rules::describe_rule)
        .on::<op::EnableRule>(rules::enable_rule)
        .on::<op::DisableRule>(rules::disable_rule)
        .on::<op::ListRules>(rules::list_rules)
        .on::<op::ListRuleNamesByTarget>(targets::list_rule_names_by_target)
        .on::<op::PutTargets>(targets::put_targets)
        .on::<op::RemoveTargets>(targets::remove_targets)
        .on::<op::ListTargetsByRule>(targets::list_targets_by_rule)
        .on::<op::CreateConnection>(connections::create_connection)
        .on::<op::UpdateConnection>(connections::update_connection)
        .on::<op::DescribeConnection>(connections::describe_connection)
        .on::<op::DeleteConnection>(connections::delete_connection)
        .on::<op::DeauthorizeConnection>(connections::deauthorize_connection)
        .on::<op::ListConnections>(connections::list_connections)
        .on::<op::CreateApiDestination>(destinations::create_api_destination)
        .on::<op::UpdateApiDestination>(destinations::update_api_destination)
        .on::<op::DescribeApiDestination>(destinations::describe_api_destination)
        .on::<op::DeleteApiDestination>(destinations::delete_api_destination)
        .on::<op::ListApiDestinations>(destinations::list_api_destinations)
        .on::<op::CreateArchive>(archives::create_archive)
        .on::<op::UpdateArchive>(archives::update_archive)
        .on::<op::DescribeArchive>(archives::describe_archive)
        .on::<op::DeleteArchive>(archives::delete_archive)
        .on::<op::ListArchives>(archives::list_archives)
        .on::<op::StartReplay>(replays::start_replay)
        .on::<op::DescribeReplay>(replays::describe_replay)
        .on::<op::CancelReplay>(replays::cancel_replay)
        .on::<op::ListReplays>(replays::list_replays)
        .on::<op::TestEventPattern>(patterns::test_event_pattern)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsForResource>(tags::list_tags_for_resource)
        .build()
}
