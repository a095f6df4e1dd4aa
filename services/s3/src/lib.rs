//! Amazon S3. Crate `s3s` speaks the protocol; this one keeps buckets and objects and tells others what happened to them.
//!
//! `adapter` is the table: one line an operation. `state` keeps buckets, `objects`, `copies`, `listing` and `multipart`
//! are the API by noun, `bodies` stores what objects hold, `notifications` decides who hears of what. Versioning,
//! lifecycle and policies are not built yet and answer `NotImplemented`.

mod adapter;
mod bodies;
mod buckets;
mod checksums;
mod conditions;
mod copies;
mod door;
mod errors;
mod http_service;
mod listing;
mod multipart;
mod notifications;
mod objects;
mod resources;
mod state;

use std::sync::Arc;

use tidemill_delivery::Delivery;
use tidemill_platform::{HttpService, Platform};
use tidemill_store::Damaged;

pub use state::S3;

/// Opens the service, hangs in the objects door and provides `AWS::S3::Bucket`.
pub fn service(platform: &Arc<Platform>, delivery: &Delivery) -> Result<Arc<dyn HttpService>, Damaged> {
    let s3 = Arc::new(S3::open(platform.clone(), delivery.clone())?);
    platform.doors.objects.hang(s3.clone());
    platform.doors.provide(Arc::new(resources::Resources(s3.clone())));
    Ok(Arc::new(http_service::Http::new(s3)))
}
