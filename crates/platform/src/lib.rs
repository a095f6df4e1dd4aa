//! What a service stands on. A handler gets a [`Cx`] (who asks, when, under which ids and trace) and the service's own
//! state; it answers a typed output or a [`tidemill_api::Fault`]. A service is a table of such handlers ([`Service`]).
//!
//! Services do not know each other. What one asks of another goes through a door in [`doors`]; what one hands to
//! another goes through crate `delivery`. Time, ids and randomness come from here and nowhere else.

pub mod arn;
pub mod clock;
pub mod cx;
pub mod doors;
pub mod page;
pub mod policy;
pub mod provider;
pub mod random;
pub mod rider;
pub mod service;
pub mod timers;
pub mod trace;

use std::sync::Arc;

pub use arn::Arn;
pub use clock::Clock;
pub use cx::{Cx, Principal, Request};
pub use doors::Doors;
pub use random::Random;
pub use service::{Call, HttpBody, HttpService, Service};
pub use tidemill_api::{Fault, Timestamp};
pub use timers::Timers;
pub use trace::Trace;

/// What the whole process shares: created once by the binary, held by every service.
pub struct Platform {
    pub config: Config,
    pub clock: Clock,
    pub random: Random,
    pub store: tidemill_store::Store,
    pub doors: Doors,
}

/// Settings that services see. Everything else is the business of the binary or the gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// The account of callers whose access key names none: twelve digits.
    pub account: String,
    /// The region of callers whose signature names none, and of everything the platform makes by itself.
    pub region: String,
    /// `host:port` under which clients on this machine reach the platform, such as `127.0.0.1:4566`.
    pub endpoint: String,
    /// Signatures and keys are checked (`--auth enforce`); otherwise any key on loopback is taken at its word.
    pub enforce: bool,
    /// A folder for what can be made again from the store: extracted function code, sandboxes.
    pub scratch: std::path::PathBuf,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            account: "000000000000".into(),
            region: "us-east-1".into(),
            endpoint: "127.0.0.1:4566".into(),
            enforce: false,
            scratch: std::env::temp_dir().join("tidemill"),
        }
    }
}

impl Platform {
    pub fn new(config: Config, clock: Clock, random: Random, store: tidemill_store::Store) -> Arc<Platform> {
        Arc::new(Platform { config, clock, random, store, doors: Doors::default() })
    }

    /// A platform in memory with a clock that only moves when told and ids from a seed; for tests.
    pub fn for_tests() -> Arc<Platform> {
        let store =
            tidemill_store::Store::open(tidemill_store::Options::memory()).expect("a store in memory opens");
        Platform::new(
            Config::default(),
            Clock::manual(Timestamp::from_secs(1_700_000_000)),
            Random::seeded(1),
            store,
        )
    }

    /// Submits a batch; a refusal (no space left, shutting down) becomes the fault that the caller gets.
    ///
    /// The ticket is to be awaited outside of any lock; everything between deciding and submitting happens inside one.
    pub fn submit(&self, mut batch: tidemill_store::Batch) -> Result<tidemill_store::Ticket, Fault> {
        rider::board(&mut batch);
        self.store.submit(batch).map_err(|refused| {
            Fault::new("ServiceUnavailable", format!("The write was refused and nothing changed: {refused}"))
                .with_status(503)
        })
    }

    /// A context for what the platform does by itself (a delivery, a timer), on behalf of an account and region.
    pub fn cx(self: &Arc<Self>, account: &str, region: &str, trace: Trace) -> Cx {
        Cx::internal(self.clone(), account, region, trace)
    }
}
