//! AWS Security Token Service. It keeps no state: temporary credentials carry their own proof (see `services/iam`,
//! which seals and opens them behind the identity door).

pub mod api;
mod caller;
mod roles;

use std::sync::Arc;

use tidemill_platform::Service;

use api::op;

/// The service's functions share nothing; everything they ask goes through the context's doors.
pub struct Sts;

pub fn service() -> Service {
    Service::new(&api::SERVICE, Arc::new(Sts))
        .on::<op::GetCallerIdentity>(caller::get_caller_identity)
        .on::<op::GetAccessKeyInfo>(caller::get_access_key_info)
        .on::<op::GetSessionToken>(caller::get_session_token)
        .on::<op::AssumeRole>(roles::assume_role)
        .build()
}
