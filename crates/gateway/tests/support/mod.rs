//! A gateway with small services of every protocol on a loopback port, and clients to talk to it with raw bytes.
#![allow(dead_code)]

pub mod client;
pub mod services;

use std::{net::SocketAddr, sync::Arc};

use futures::future::BoxFuture;
use tidemill_gateway::{Access, Auth, Gateway, GatewayConfig, listen};
use tidemill_platform::{
    Clock, Config, Cx, Fault, Platform, Principal, Random, Timestamp,
    doors::{Credentials, Identity, KeyHolder},
};
use tokio::{sync::oneshot, task::JoinHandle};

use services::Shared;

pub const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub const NOW_S: i64 = 1_700_000_000;

/// A gateway at work.
pub struct Running {
    pub address: SocketAddr,
    pub gateway: Arc<Gateway>,
    pub shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    pub async fn dev() -> Running {
        Running::with(GatewayConfig::default()).await
    }

    pub async fn enforcing() -> Running {
        Running::with(GatewayConfig { auth: Auth::Enforce, ..GatewayConfig::default() }).await
    }

    pub async fn with(config: GatewayConfig) -> Running {
        let platform = platform();
        let shared = Arc::new(Shared::default());
        let gateway = Gateway::new(platform, config)
            .service(services::dynamodb(&shared))
            .service(services::dynamodbstreams(&shared))
            .service(services::sqs(&shared))
            .service(services::sts(&shared))
            .service(services::lambda(&shared))
            .service(services::cloudwatch(&shared))
            .http_service("s3", Arc::new(services::Mirror))
            .http_service("lambda-url", Arc::new(services::Mirror))
            .internal("/_tidemill/", Access::Signed, Arc::new(services::Mirror))
            .internal("/_aws/", Access::Open, Arc::new(services::Mirror))
            .build();
        let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn({
            let gateway = gateway.clone();
            async move {
                gateway.serve([listener], async move { drop(stopped.await) }).await;
            }
        });
        Running { address, gateway, shared, stop, serving }
    }

    /// Begins the shutdown; the answer is ready when it is over.
    pub fn shut_down(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.serving
    }
}

fn platform() -> Arc<Platform> {
    let store = tidemill_store::Store::open(tidemill_store::Options::memory()).unwrap();
    let clock = Clock::manual(Timestamp::from_secs(NOW_S));
    let platform = Platform::new(Config::default(), clock, Random::system(), store);
    platform.doors.identity.hang(Arc::new(Keys));
    platform
}

/// One user with a key, and one session.
struct Keys;

impl Identity for Keys {
    fn key(&self, access_key: &str, session_token: Option<&str>) -> Option<KeyHolder> {
        let holder = |arn: &str, expires| KeyHolder {
            secret_key: SECRET.into(),
            expires,
            account: "123456789012".into(),
            principal: Principal { access_key: access_key.into(), arn: arn.into(), user_id: "AIDA".into() },
        };
        match (access_key, session_token) {
            (KEY, None) => Some(holder("arn:aws:iam::123456789012:user/ada", None)),
            ("ASIASESSION", Some("fresh")) => {
                let expires = Timestamp::from_secs(NOW_S + 60);
                Some(holder("arn:aws:sts::123456789012:assumed-role/loader/f", Some(expires)))
            }
            ("ASIASESSION", Some("stale")) => Some(holder("", Some(Timestamp::from_secs(NOW_S - 1)))),
            _ => None,
        }
    }

    fn assume(&self, _: &Cx, _: &str, _: &str, _: i64) -> Result<Credentials, Fault> {
        Err(Fault::not_implemented("roles"))
    }

    fn session(&self, _: &Cx, _: Principal, _: i64) -> Credentials {
        unreachable!("the gateway asks for no sessions")
    }

    fn longest_session_s(&self, _: &str) -> Option<i64> {
        None
    }

    fn role_id(&self, _: &str) -> Option<String> {
        None
    }
}

pub fn boxed<T>(value: T) -> BoxFuture<'static, T>
where
    T: Send + 'static,
{
    Box::pin(std::future::ready(value))
}
