//! The gateway put together: which services it reaches, how strictly it looks at callers, how much it lets in.
//! What happens to a request is in `pipeline.rs`; sockets are in `server.rs`.

use std::{sync::Arc, time::Duration};

use hyper_util::{rt::TokioExecutor, server::conn::auto};
use tidemill_api::{Fault, OperationMeta, ServiceMeta, WriteShape};
use tidemill_platform::{Cx, HttpService, Platform, Principal, Service};
use tidemill_sigv4::Verifier;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{directory::Directory, server};

/// Whether callers must prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Any key and secret is believed; for listeners on loopback only.
    Dev,
    /// Signatures are verified against the keys that IAM holds.
    Enforce,
}

/// Who may call an internal path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: health checks.
    Open,
    /// Under [`Auth::Enforce`] only requests signed with a known key, for whatever service.
    Signed,
}

/// Limits and manners of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    pub auth: Auth,
    /// What `/_localstack/health` answers as version.
    pub version: String,
    /// Origins of web pages that may call under [`Auth::Dev`] besides those of this machine, such as
    /// `https://console.example.com`; `*` lets all in.
    pub cors_origins: Vec<String>,
    /// The largest body of a request to an operation, in bytes, where [`Gateway::body_limit`] sets no other. Bodies of
    /// HTTP services pass unbounded, piece by piece.
    pub max_body: usize,
    /// The largest head of a request (request line and headers), in bytes; at least 8192.
    pub max_head: usize,
    pub max_headers: usize,
    /// Connections beyond this number wait until others end.
    pub max_connections: usize,
    /// A connection on which nothing moved for a whole span of this length is closed, whether it waits between
    /// requests, in the middle of one's headers or for its client to read.
    pub idle_timeout: Duration,
    /// A request body of which nothing came for this long is given up.
    pub body_timeout: Duration,
    /// How long a shutdown waits for what is running.
    pub drain_timeout: Duration,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            auth: Auth::Dev,
            version: env!("CARGO_PKG_VERSION").into(),
            cors_origins: Vec::new(),
            max_body: 16 << 20,
            max_head: 64 << 10,
            max_headers: 100,
            max_connections: 8192,
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Whose requests these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    pub region: String,
    pub principal: Principal,
}

/// Asked before every operation whether the caller may do it.
pub trait Authorizer: Send + Sync + 'static {
    /// # Errors
    /// The service's access-denied error.
    fn authorize(
        &self,
        cx: &Cx,
        service: &ServiceMeta,
        operation: &OperationMeta,
        input: &dyn WriteShape,
    ) -> Result<(), Fault>;
}

/// The door through which all requests come.
pub struct Gateway {
    pub(crate) platform: Arc<Platform>,
    pub(crate) config: GatewayConfig,
    pub(crate) directory: Directory,
    pub(crate) verifier: Verifier,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    /// Runs whose callers hung up.
    pub(crate) detached: TaskTracker,
    pub(crate) http: auto::Builder<TokioExecutor>,
    pub(crate) connections: Arc<Semaphore>,
}

impl Gateway {
    pub fn new(platform: Arc<Platform>, config: GatewayConfig) -> Gateway {
        Gateway {
            platform,
            directory: Directory::default(),
            verifier: Verifier::new(),
            authorizer: None,
            detached: TaskTracker::new(),
            http: server::http_builder(&config),
            connections: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            config,
        }
    }

    /// Adds a service of typed operations.
    pub fn service(mut self, service: impl Into<Arc<Service>>) -> Gateway {
        self.directory.add_service(service.into());
        self
    }

    /// Adds a service that speaks HTTP itself, under its signing name: `s3`. The names `execute-api` and `lambda-url`
    /// get the requests whose host is `<id>.<name>.…` (see [`crate::HostId`]).
    pub fn http_service(mut self, name: &'static str, service: Arc<dyn HttpService>) -> Gateway {
        self.directory.add_http(name, service);
        self
    }

    /// Adds a handler of the paths below `prefix`, such as `/_tidemill/`; the longest prefix wins. Only paths that
    /// begin with `/_` are looked up here.
    pub fn internal(
        mut self,
        prefix: &'static str,
        access: Access,
        handler: Arc<dyn HttpService>,
    ) -> Gateway {
        self.directory.add_internal(prefix, access, handler);
        self
    }

    /// Sets the largest body of a service's requests, in bytes.
    ///
    /// Panics when the service is not there yet: a mistake of ours that shows at the first start.
    pub fn body_limit(mut self, service: &str, bytes: usize) -> Gateway {
        self.directory.set_body_limit(service, bytes);
        self
    }

    /// Has every operation authorised.
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Gateway {
        self.authorizer = Some(authorizer);
        self
    }

    pub fn build(self) -> Arc<Gateway> {
        Arc::new(self)
    }
}
