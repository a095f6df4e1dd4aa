//! The context of a request, or of what the platform does by itself: who, where, when, under which ids and trace.

use std::sync::Arc;

use tidemill_api::Timestamp;

use crate::{Arn, Clock, Platform, Random, Trace};

/// Given to every handler. Cheap to clone.
#[derive(Clone)]
pub struct Cx {
    platform: Arc<Platform>,
    request: Arc<Request>,
}

/// What the gateway found out about a request before the handler runs.
#[derive(Debug, Clone)]
pub struct Request {
    /// The id the answer carries (`x-amzn-RequestId`).
    pub id: String,
    pub account: String,
    pub region: String,
    pub principal: Principal,
    pub trace: Trace,
    /// The caller's address; empty for what the platform does by itself.
    pub source_ip: String,
    pub user_agent: String,
    /// `host[:port]` by which the caller reached us, for URLs in answers; empty when unknown.
    pub host: String,
    /// The caller came over TLS.
    pub secure: bool,
}

/// Who signed the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Empty for anonymous callers and for the platform itself.
    pub access_key: String,
    /// `arn:aws:iam::000000000000:root`, a user's, a role session's.
    pub arn: String,
    /// IAM's unique id (`AIDA…`, `AROA…:session`, the account for root).
    pub user_id: String,
}

impl Principal {
    /// The account's root user.
    pub fn root(account: &str, access_key: &str) -> Principal {
        Principal {
            access_key: access_key.into(),
            arn: format!("arn:aws:iam::{account}:root"),
            user_id: account.into(),
        }
    }
}

impl Cx {
    pub fn new(platform: Arc<Platform>, request: Request) -> Cx {
        Cx { platform, request: Arc::new(request) }
    }

    /// A context for what nobody asked for just now: a delivery, a timer, a fold.
    pub fn internal(platform: Arc<Platform>, account: &str, region: &str, trace: Trace) -> Cx {
        let request = Request {
            id: platform.random.uuid(),
            account: account.into(),
            region: region.into(),
            principal: Principal::root(account, ""),
            trace,
            source_ip: String::new(),
            user_agent: String::new(),
            host: String::new(),
            secure: false,
        };
        Cx::new(platform, request)
    }

    pub fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    pub fn request(&self) -> &Request {
        &self.request
    }

    pub fn account(&self) -> &str {
        &self.request.account
    }

    pub fn region(&self) -> &str {
        &self.request.region
    }

    pub fn request_id(&self) -> &str {
        &self.request.id
    }

    pub fn trace(&self) -> &Trace {
        &self.request.trace
    }

    pub fn clock(&self) -> &Clock {
        &self.platform.clock
    }

    pub fn now(&self) -> Timestamp {
        self.platform.clock.now()
    }

    pub fn random(&self) -> &Random {
        &self.platform.random
    }

    /// The ARN of a resource of the caller's account and region.
    pub fn arn(&self, service: &str, resource: impl Into<String>) -> Arn {
        Arn::new(service, self.region(), self.account(), resource)
    }

    /// `http://host:port` as the caller reached us, else as the configuration says.
    pub fn base_url(&self) -> String {
        let scheme = if self.request.secure { "https" } else { "http" };
        let host =
            if self.request.host.is_empty() { &self.platform.config.endpoint } else { &self.request.host };
        format!("{scheme}://{host}")
    }
}
