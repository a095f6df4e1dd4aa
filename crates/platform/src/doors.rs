//! Doors between services: a typed question one service asks of another without knowing it. The binary hangs each door
//! in at start; a door nobody hung in answers that the service is missing.
//!
//! What is handed over rather than asked (events, messages, records) goes through crate `delivery`.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use tidemill_api::{Fault, Timestamp};

use crate::{Cx, Service, provider::ResourceProvider};

/// All doors of the platform.
#[derive(Default)]
pub struct Doors {
    /// CloudWatch Logs: where functions and services write their lines.
    pub logs: Door<dyn Logs>,
    /// S3: objects that other services read (function code, templates) and write.
    pub objects: Door<dyn Objects>,
    /// IAM and STS: who holds a key, and credentials for a role.
    pub identity: Door<dyn Identity>,
    /// SQS: queues that mappings and pipes read.
    pub queues: Door<dyn Queues>,
    /// SNS: completes notifications with their signatures when a queue gives them out.
    pub notary: Door<dyn Notary>,
    /// EventBridge Schemas: sees the events of buses in passing, and holds them to schemas.
    pub schemas: Door<dyn SchemaDiscovery>,
    /// EventBridge: API destinations that pipes call and wait for.
    pub destinations: Door<dyn Destinations>,
    providers: RwLock<HashMap<&'static str, Arc<dyn ResourceProvider>>>,
    services: RwLock<HashMap<&'static str, Arc<Service>>>,
}

/// A place for one implementation of a trait.
pub struct Door<T: ?Sized>(OnceLock<Arc<T>>);

impl<T: ?Sized> Default for Door<T> {
    fn default() -> Door<T> {
        Door(OnceLock::new())
    }
}

impl<T: ?Sized> Door<T> {
    /// Hangs the implementation in. Panics when there is one: the binary wires each door once.
    pub fn hang(&self, implementation: Arc<T>) {
        assert!(self.0.set(implementation).is_ok(), "a door was hung in twice");
    }

    pub fn get(&self) -> Option<&Arc<T>> {
        self.0.get()
    }

    /// The implementation, or a fault that names what is missing.
    pub fn ask(&self, what: &str) -> Result<&Arc<T>, Fault> {
        self.0.get().ok_or_else(|| Fault::not_implemented(what))
    }
}

impl Doors {
    /// Makes a CloudFormation resource type available, such as `AWS::SQS::Queue`.
    pub fn provide(&self, provider: Arc<dyn ResourceProvider>) {
        for name in provider.types() {
            self.providers.write().insert(name, provider.clone());
        }
    }

    pub fn provider(&self, resource_type: &str) -> Option<Arc<dyn ResourceProvider>> {
        self.providers.read().get(resource_type).cloned()
    }

    /// Makes a service's operations callable by name from inside the platform.
    pub fn publish(&self, service: Arc<Service>) {
        self.services.write().insert(service.meta.name, service);
    }

    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.read().get(name).cloned()
    }
}

/// One line of a log, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Timestamp,
    pub message: String,
}

/// Writing to CloudWatch Logs from inside. Groups and streams are made when first written to, as Lambda does.
pub trait Logs: Send + Sync {
    /// Takes lines for a stream. It must not block; lines are kept in order and become durable soon after.
    fn write(&self, account: &str, region: &str, group: &str, stream: &str, lines: Vec<LogLine>);
}

/// An object as read from S3.
#[derive(Debug, Clone)]
pub struct Object {
    pub body: Bytes,
    pub etag: String,
    pub version_id: Option<String>,
}

/// Reading and writing objects from inside.
pub trait Objects: Send + Sync {
    /// Answers S3's own faults: `NoSuchBucket`, `NoSuchKey`, `NoSuchVersion`.
    fn get<'a>(
        &'a self,
        cx: &'a Cx,
        bucket: &'a str,
        key: &'a str,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Object, Fault>>;

    fn put<'a>(
        &'a self,
        cx: &'a Cx,
        bucket: &'a str,
        key: &'a str,
        body: Bytes,
        content_type: &'a str,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Makes a bucket in the caller's region unless the caller has it.
    fn make_bucket<'a>(&'a self, cx: &'a Cx, bucket: &'a str) -> BoxFuture<'a, Result<(), Fault>>;
}

/// What a reader has to know of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDescription {
    pub is_fifo: bool,
    /// How long a received message is nobody else's, in seconds.
    pub visibility_s: i64,
}

/// A message as it was received.
#[derive(Debug, Clone)]
pub struct QueueMessage {
    pub message_id: String,
    pub receipt_handle: String,
    pub body: String,
    /// `SentTimestamp`, `ApproximateReceiveCount` and so on.
    pub attributes: std::collections::BTreeMap<String, String>,
    pub message_attributes: std::collections::BTreeMap<String, QueueAttribute>,
    pub md5_of_body: String,
    pub md5_of_message_attributes: Option<String>,
    /// The trace in which it was sent, as a header.
    pub trace: String,
}

#[derive(Debug, Clone)]
pub struct QueueAttribute {
    pub data_type: String,
    pub string_value: Option<String>,
    /// In base64.
    pub binary_value: Option<String>,
}

/// Reading queues from inside.
pub trait Queues: Send + Sync {
    /// `None` when there is no such queue.
    fn describe(&self, arn: &str) -> Option<QueueDescription>;

    /// Up to `most` messages; waits for the first until `wait` has passed. Nothing also when the queue goes away.
    fn receive<'a>(
        &'a self,
        cx: &'a Cx,
        arn: &'a str,
        most: usize,
        wait: std::time::Duration,
    ) -> BoxFuture<'a, Result<Vec<QueueMessage>, Fault>>;

    /// Deletes what is done with; durable when it answers.
    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        arn: &'a str,
        receipts: &'a [String],
    ) -> BoxFuture<'a, Result<(), Fault>>;
}

/// Signing what queues keep unsigned.
pub trait Notary: Send + Sync {
    /// The notification with its signature; `None` when the text is none.
    fn complete(&self, notification: &str) -> Option<String>;
}

/// Learning the structure of events, and holding them to it.
pub trait SchemaDiscovery: Send + Sync {
    /// A bus took this event, printed as JSON. It must not block, and costs nothing for buses nobody learns from.
    fn observe(&self, bus_arn: &str, event: &str);

    /// Holds an event, printed as JSON, to the latest version of its schema in a registry of the bus's account and
    /// region. One without a schema there passes; otherwise the error says what is wrong.
    fn check(&self, bus: &crate::Arn, registry: &str, event: &str) -> Result<(), String>;
}

/// A call of an API destination.
#[derive(Debug, Clone, Default)]
pub struct DestinationCall {
    /// ARN of the destination.
    pub arn: String,
    pub payload: Bytes,
    /// For the `*` in its endpoint, in their order.
    pub path: Vec<String>,
    pub headers: std::collections::BTreeMap<String, String>,
    pub query: std::collections::BTreeMap<String, String>,
}

/// Calling API destinations from inside.
pub trait Destinations: Send + Sync {
    fn exists(&self, arn: &str) -> bool;

    /// Calls once, with the connection's authorization and no faster than the destination's rate; gives the body of an
    /// answer of 2xx. A destination that is busy is a `TooManyRequestsException`.
    fn call<'a>(&'a self, cx: &'a Cx, call: DestinationCall) -> BoxFuture<'a, Result<Bytes, Fault>>;
}

/// Short-lived credentials of a role.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: String,
    pub expires: Timestamp,
}

/// The holder of an access key.
#[derive(Clone)]
pub struct KeyHolder {
    pub secret_key: String,
    /// Temporary credentials end; the caller's are checked by the gateway.
    pub expires: Option<Timestamp>,
    pub account: String,
    pub principal: crate::Principal,
}

/// Keys and roles.
pub trait Identity: Send + Sync {
    /// Who holds this access key; `None` when nobody does (or it is inactive). Temporary keys (`ASIA…`) are known only
    /// together with the session token they were given out with; without it, or with another, nobody holds them.
    fn key(&self, access_key: &str, session_token: Option<&str>) -> Option<KeyHolder>;

    /// Credentials of a role for a session, valid for `seconds`. The role's existence is checked, its trust policy is
    /// not: the caller is the platform.
    fn assume(&self, cx: &Cx, role_arn: &str, session: &str, seconds: i64) -> Result<Credentials, Fault>;

    /// Credentials of the caller itself for a session.
    fn session(&self, cx: &Cx, principal: crate::Principal, seconds: i64) -> Credentials;

    /// The unique id (`AROA…`) of the role with this ARN; `None` when there is no such role.
    fn role_id(&self, role_arn: &str) -> Option<String>;

    /// `MaxSessionDuration` of the role with this ARN, in seconds (3,600–43,200); `None` when there is no such role.
    fn longest_session_s(&self, role_arn: &str) -> Option<i64>;
}
