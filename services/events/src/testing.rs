//! What the crate's own tests stand on: a service over a store in memory, whose tasks run when a test waits.

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{Cx, Platform, Trace};

use crate::{EventBridge, api, archives, events};

pub fn bridge() -> (Arc<EventBridge>, Cx) {
    let platform = Platform::for_tests();
    let delivery = Delivery::open(&platform).unwrap();
    let (_, bridge) = crate::service(&platform, &delivery, crate::Quotas::default()).unwrap();
    let trace = Trace::begin(platform.clock.now(), &platform.random);
    let cx = platform.cx("000000000000", "us-east-1", trace);
    (bridge, cx)
}

/// ARN of the default bus.
pub fn bus(bridge: &EventBridge, cx: &Cx) -> String {
    bridge.bus(cx, None).unwrap().arn.to_string()
}

/// An archive `all` of the default bus; gives its ARN.
pub async fn archive(bridge: &EventBridge, cx: &Cx) -> String {
    let input = api::CreateArchiveRequest {
        archive_name: "all".into(),
        event_source_arn: bus(bridge, cx),
        ..api::CreateArchiveRequest::default()
    };
    archives::create_archive(bridge, cx, input).await.unwrap().archive_arn.unwrap()
}

/// Puts an event on the default bus; gives its id.
pub async fn put(bridge: &EventBridge, cx: &Cx, detail: &str) -> String {
    let entry = api::PutEventsRequestEntry {
        source: Some("shop".into()),
        detail_type: Some("Order".into()),
        detail: Some(detail.into()),
        ..api::PutEventsRequestEntry::default()
    };
    let input = api::PutEventsRequest { entries: vec![entry], ..api::PutEventsRequest::default() };
    events::put_events(bridge, cx, input).await.unwrap().entries.unwrap().remove(0).event_id.unwrap()
}
