//! The platform put together: one line a service. What is here is what `tidemill` can do.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::future::{BoxFuture, FutureExt};
use tidemill_delivery::{Delivery, stream::Streams};
use tidemill_gateway::{Access, Auth, Caller, Gateway, GatewayConfig, Peer};
use tidemill_lambda::Lambda;
use tidemill_platform::{Clock, Config, Platform, Principal, Random};
use tidemill_sandbox::{ConnectionHandler, ExecutorConfig, FunctionSpec};
use tidemill_store::{Batch, Partition, Store, Table};
use tokio::net::TcpStream;

use crate::{cli, internal};

/// `offset` → milliseconds the clock is ahead of the system's. In the first partition.
const CLOCK: Table<String, i64> = Table::new("platform.clock");

/// Everything that runs.
pub struct Running {
    pub platform: Arc<Platform>,
    pub gateway: Arc<Gateway>,
    lambda: Arc<Lambda>,
}

/// Opens the store and every service over it. Functions are run and mappings read once this returns.
pub fn open(options: &cli::Serve, address: SocketAddr, store: Store, scratch: &Path) -> Result<Running> {
    let offset = store.get(&CLOCK, Partition::FIRST, &"offset".to_string())?.map_or(0, |found| found.value);
    let enforce = options.auth == cli::Auth::Enforce;
    let config = Config {
        account: options.account.clone(),
        region: options.region.clone(),
        endpoint: address.to_string(),
        enforce,
        scratch: scratch.to_path_buf(),
    };
    let platform = Platform::new(config, Clock::real(offset), Random::system(), store);
    let delivery = Delivery::open(&platform)?;
    let streams = Streams::new(&platform, &delivery);
    let connections = Arc::new(FromFunctions::default());
    let parts = tidemill_lambda::Parts {
        delivery: delivery.clone(),
        streams: streams.clone(),
        executor: executor(options, address, scratch),
        quotas: tidemill_lambda::Quotas {
            concurrency: options.lambda_concurrency,
            code_storage: options.lambda_code_storage_mb << 20,
        },
        connections: Some(connections.clone()),
    };
    let event_quotas = tidemill_events::Quotas { rules: options.events_rules_per_bus as usize };
    let iam = tidemill_iam::service(&platform)?;
    let (lambda_service, lambda) = tidemill_lambda::service(&platform, parts)?;
    let (dynamodb, dynamodb_streams) = tidemill_dynamodb::services(&platform, &delivery, &streams)?;
    let (queues, sqs) = tidemill_sqs::service(&platform, &delivery)?;
    let (topics, sns) = tidemill_sns::service(&platform, &delivery)?;
    let (buses, bridge) = tidemill_events::service(&platform, &delivery, event_quotas)?;
    let (schedules, scheduler) = tidemill_scheduler::service(&platform, &delivery)?;
    let (pipe_table, pipes) = tidemill_pipes::service(&platform, &delivery, &streams)?;
    let (stacks, cloudformation) = tidemill_cloudformation::service(&platform)?;
    let tables = [
        stacks,
        queues,
        topics,
        buses,
        pipe_table,
        schedules,
        tidemill_schemas::service(&platform)?,
        tidemill_sts::service(),
        iam,
        tidemill_logs::service(&platform, &delivery)?,
        lambda_service,
        dynamodb,
        dynamodb_streams,
    ];
    let s3 = tidemill_s3::service(&platform, &delivery)?;

    let auth = if enforce { Auth::Enforce } else { Auth::Dev };
    let mut gateway = Gateway::new(platform.clone(), GatewayConfig { auth, ..GatewayConfig::default() });
    for service in tables {
        let service = Arc::new(service);
        platform.doors.publish(service.clone());
        gateway = gateway.service(service);
    }
    let gateway = gateway
        .http_service("s3", s3)
        .http_service("lambda-url", tidemill_lambda::function_urls(&lambda))
        .internal(tidemill_lambda::DOWNLOADS, Access::Open, tidemill_lambda::downloads(&lambda))
        .internal(tidemill_sns::CERTIFICATES, Access::Open, tidemill_sns::certificates(&sns))
        .internal(tidemill_sns::OUTBOX, Access::Signed, tidemill_sns::outbox(&sns))
        .body_limit("lambda", 70 << 20)
        .internal(
            "/_tidemill/",
            Access::Signed,
            Arc::new(internal::Internal::new(platform.clone(), bridge.clone())),
        )
        .build();
    connections.serve_with(&gateway);

    delivery.start()?;
    lambda.start();
    sqs.start();
    bridge.start();
    pipes.start();
    scheduler.start();
    cloudformation.start();
    Ok(Running { platform, gateway, lambda })
}

impl Running {
    /// Stops functions and lets the store fold what it has; to be called when the gateway has drained.
    pub async fn stop(self) {
        self.lambda.stop(Duration::from_secs(5)).await;
        self.platform.store.close();
    }
}

/// Remembers how far ahead the clock is, so that time never goes back across a restart.
pub fn keep_clock(platform: &Platform) -> Result<tidemill_store::Ticket> {
    let mut batch = Batch::new(Partition::FIRST);
    batch.put(&CLOCK, &"offset".to_string(), &platform.clock.offset_ms());
    platform.store.submit(batch).context("the clock's offset was not kept")
}

fn executor(options: &cli::Serve, address: SocketAddr, scratch: &Path) -> ExecutorConfig {
    let mut config = ExecutorConfig::new(scratch.join("sandboxes"), address);
    config.region = options.region.clone();
    config.account = options.account.clone();
    config.runtimes_dir = runtimes_dir();
    config.outbound_network = options.lambda_network == cli::LambdaNetwork::Outbound;
    config
}

/// Where prepared SDKs are kept: `$XDG_CACHE_HOME/tidemill/runtimes`, shared by all data folders of a user.
pub fn runtimes_dir() -> Option<std::path::PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let cache = cache.or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("tidemill").join("runtimes"))
}

/// Connections that functions open to their AWS endpoint are served by the gateway directly.
#[derive(Default)]
struct FromFunctions(std::sync::OnceLock<Arc<Gateway>>);

impl FromFunctions {
    fn serve_with(&self, gateway: &Arc<Gateway>) {
        let _ = self.0.set(gateway.clone());
    }
}

impl ConnectionHandler for FromFunctions {
    fn connected(&self, function: Arc<FunctionSpec>, stream: TcpStream) -> BoxFuture<'static, ()> {
        let Some(gateway) = self.0.get().cloned() else { return std::future::ready(()).boxed() };
        let mut parts = function.arn.split(':').skip(3);
        let (region, account) =
            (parts.next().unwrap_or_default().to_string(), parts.next().unwrap_or_default().to_string());
        let principal = Principal::root(&account, "");
        let peer = Peer { caller: Some(Caller { account, region, principal }), ..Peer::default() };
        async move {
            gateway.serve_connection(stream, peer).await;
        }
        .boxed()
    }
}
