//! Bucket notifications: who hears of what, and the event they get. Source: "Amazon S3 Event Notifications".

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        EventBridgeConfiguration, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
        GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration,
        NotificationConfigurationFilter, PutBucketNotificationConfigurationInput,
        PutBucketNotificationConfigurationOutput, QueueConfiguration, S3KeyFilter, TopicConfiguration,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_delivery::{Event, Fate, Staged};
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_store::Batch;

use crate::{
    buckets::canonical_id,
    errors,
    state::{Bucket, S3},
};

/// Events S3 knows; those of features we lack never happen but may be subscribed to.
const EVENTS: [&str; 29] = [
    "s3:TestEvent",
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:ReducedRedundancyLostObject",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectAcl:Put",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:ObjectSynced:*",
];

/// One configuration of a bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub id: String,
    /// Empty for EventBridge, which hears of everything.
    pub target: String,
    pub kind: Kind,
    pub events: Vec<String>,
    pub prefix: Option<String>,
    pub suffix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Lambda,
    Queue,
    Topic,
    EventBridge,
}

/// What happened to an object.
pub struct Happened<'a> {
    /// `ObjectCreated:Put`
    pub event: &'static str,
    pub key: &'a str,
    pub size: Option<u64>,
    pub etag: Option<&'a str>,
}

impl Notification {
    /// Whether it wants to hear of this.
    fn wants(&self, happened: &Happened<'_>) -> bool {
        let subscribed = self.events.iter().any(|event| covers(event, happened.event));
        let prefixed = self.prefix.as_ref().is_none_or(|prefix| happened.key.starts_with(prefix.as_str()));
        let suffixed = self.suffix.as_ref().is_none_or(|suffix| happened.key.ends_with(suffix.as_str()));
        self.kind == Kind::EventBridge || (subscribed && prefixed && suffixed)
    }

    /// Whether some object's event would reach both, which S3 refuses.
    fn overlaps(&self, other: &Notification) -> bool {
        let shared = self.events.iter().any(|mine| {
            other.events.iter().any(|theirs| covers_pattern(mine, theirs) || covers_pattern(theirs, mine))
        });
        let (p, q) = (self.prefix.as_deref().unwrap_or(""), other.prefix.as_deref().unwrap_or(""));
        let (s, t) = (self.suffix.as_deref().unwrap_or(""), other.suffix.as_deref().unwrap_or(""));
        shared && (p.starts_with(q) || q.starts_with(p)) && (s.ends_with(t) || t.ends_with(s))
    }
}

/// `s3:ObjectCreated:*` covers `ObjectCreated:Put`.
fn covers(pattern: &str, event: &str) -> bool {
    let pattern = pattern.strip_prefix("s3:").unwrap_or(pattern);
    pattern.strip_suffix('*').map_or(pattern == event, |stem| event.starts_with(stem))
}

fn covers_pattern(pattern: &str, other: &str) -> bool {
    covers(pattern, other.strip_prefix("s3:").unwrap_or(other))
}

impl S3 {
    /// Hands an event over to everyone who wants it, in the batch of the fact itself.
    pub fn notify(
        &self,
        cx: &Cx,
        bucket: &Bucket,
        batch: &mut Batch,
        happened: &Happened<'_>,
    ) -> Vec<Staged> {
        let row = bucket.row.read();
        let mut staged = Vec::new();
        let wanted: Vec<&Notification> =
            row.notifications.iter().filter(|notification| notification.wants(happened)).collect();
        if wanted.is_empty() {
            return staged;
        }
        let source = format!("arn:aws:s3:::{}", row.name);
        let detail = format!("{} {}", happened.event, happened.key);
        let fate = Fate::happened(cx.now(), cx.trace(), cx.request_id(), source.clone(), detail);
        self.delivery.ledger().record(batch, &fate);
        let sequencer = self.next_sequencer();
        for notification in wanted {
            let Ok(target) = notification.target.parse::<Arn>() else { continue };
            let payload = match notification.kind {
                Kind::EventBridge => bridge_json(cx, &row.name, happened, &sequencer),
                _ => event_json(
                    cx,
                    &row.name,
                    &row.account,
                    &row.region,
                    &notification.id,
                    happened,
                    &sequencer,
                ),
            };
            let event = Event {
                id: cx.request_id().to_string(),
                source: source.clone(),
                via: notification.id.clone(),
                payload,
                attributes: subject(notification.kind),
                trace: cx.trace().clone(),
            };
            match self.delivery.deliver(cx, batch, &target, event) {
                Ok(row) => staged.push(row),
                // The target is gone since it was configured: S3 drops the event, the log tells.
                Err(fault) => {
                    tracing::warn!(bucket = row.name, target = notification.target, %fault, "a notification has nowhere to go")
                }
            }
        }
        staged
    }
}

/// What topics call a notification.
fn subject(kind: Kind) -> BTreeMap<String, String> {
    match kind {
        Kind::Topic => [("subject".to_string(), "Amazon S3 Notification".to_string())].into(),
        _ => BTreeMap::new(),
    }
}

/// The event as buses get it. Source: "EventBridge event message structure".
fn bridge_json(cx: &Cx, bucket: &str, happened: &Happened<'_>, sequencer: &str) -> Bytes {
    let (kind, reason) = match happened.event {
        "ObjectCreated:Put" => ("Object Created", "PutObject"),
        "ObjectCreated:Post" => ("Object Created", "POST Object"),
        "ObjectCreated:Copy" => ("Object Created", "CopyObject"),
        "ObjectCreated:CompleteMultipartUpload" => ("Object Created", "CompleteMultipartUpload"),
        _ => ("Object Deleted", "DeleteObject"),
    };
    let mut object = json!({ "key": happened.key });
    if let Some(size) = happened.size {
        object["size"] = size.into();
    }
    if let Some(etag) = happened.etag {
        object["etag"] = etag.into();
    }
    object["sequencer"] = sequencer.into();
    let mut detail = json!({
        "version": "0",
        "bucket": { "name": bucket },
        "object": object,
        "request-id": cx.request_id(),
        "requester": cx.account(),
        "source-ip-address": source_ip(cx),
        "reason": reason,
    });
    if kind == "Object Deleted" {
        detail["deletion-type"] = "Permanently Deleted".into();
    }
    let event = json!({
        "detail-type": kind,
        "source": "aws.s3",
        "resources": [format!("arn:aws:s3:::{bucket}")],
        "detail": detail,
    });
    Bytes::from(event.to_string())
}

/// What S3 sends a queue or topic when it becomes a target.
fn test_json(cx: &Cx, bucket: &str) -> Bytes {
    let at = jiff::Timestamp::from_millisecond(cx.now().millis()).unwrap_or_default();
    let event = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        "Bucket": bucket,
        "RequestId": cx.request_id(),
        "HostId": crate::http_service::extended_id(cx.request_id()),
    });
    Bytes::from(event.to_string())
}

fn source_ip(cx: &Cx) -> &str {
    if cx.request().source_ip.is_empty() { "127.0.0.1" } else { &cx.request().source_ip }
}

fn event_json(
    cx: &Cx,
    bucket: &str,
    account: &str,
    region: &str,
    id: &str,
    happened: &Happened<'_>,
    sequencer: &str,
) -> Bytes {
    let at = jiff::Timestamp::from_millisecond(cx.now().millis())
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string();
    let mut object = json!({ "key": url_encode(happened.key, false) });
    if let Some(size) = happened.size {
        object["size"] = size.into();
    }
    if let Some(etag) = happened.etag {
        object["eTag"] = etag.into();
    }
    object["sequencer"] = sequencer.into();
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": at,
        "eventName": happened.event,
        "userIdentity": { "principalId": format!("AWS:{}", cx.request().principal.user_id) },
        "requestParameters": { "sourceIPAddress": source_ip(cx) },
        "responseElements": { "x-amz-request-id": cx.request_id(), "x-amz-id-2": crate::http_service::extended_id(cx.request_id()) },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": id,
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": canonical_id(account)[..14].to_uppercase() },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": object,
        },
    });
    Bytes::from(json!({ "Records": [record] }).to_string())
}

/// Keys in events are encoded as form fields are: spaces become `+`. In listings slashes stay as they are.
pub fn url_encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out.push(char::from(byte)),
            b'/' if keep_slash || text.contains('/') => out.push('/'),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

pub async fn put_bucket_notification_configuration(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    let wanted = input.notification_configuration;
    let mut all = Vec::new();
    for c in wanted.lambda_function_configurations.unwrap_or_default() {
        all.push(notification(cx, c.id, c.lambda_function_arn, Kind::Lambda, c.events, c.filter)?);
    }
    for c in wanted.queue_configurations.unwrap_or_default() {
        all.push(notification(cx, c.id, c.queue_arn, Kind::Queue, c.events, c.filter)?);
    }
    for c in wanted.topic_configurations.unwrap_or_default() {
        all.push(notification(cx, c.id, c.topic_arn, Kind::Topic, c.events, c.filter)?);
    }
    if wanted.event_bridge_configuration.is_some() {
        all.push(s3.to_bus(&bucket));
    }
    s3.set_notifications(cx, &bucket, all, input.skip_destination_validation == Some(true)).await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}

impl S3 {
    /// Checks and keeps a bucket's notifications.
    pub async fn set_notifications(
        &self,
        cx: &Cx,
        bucket: &Bucket,
        all: Vec<Notification>,
        skip_validation: bool,
    ) -> S3Result<()> {
        for (at, one) in all.iter().enumerate() {
            if all[..at].iter().any(|other| other.id == one.id) {
                return Err(errors::invalid_argument(
                    "Same ID used for multiple configurations. IDs must be unique",
                ));
            }
            if all[..at].iter().any(|other| one.overlaps(other)) {
                return Err(errors::invalid_argument(
                    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type.",
                ));
            }
            self.check_target(cx, one, skip_validation)?;
        }
        let tests = all.clone();
        self.change_bucket(bucket, |row| row.notifications = all).await?;
        if !skip_validation {
            self.send_tests(cx, bucket, &tests).await.map_err(|fault| errors::of_fault(&fault))?;
        }
        Ok(())
    }

    /// Queues and topics get a first event that says they are heard of.
    async fn send_tests(&self, cx: &Cx, bucket: &Bucket, all: &[Notification]) -> Result<(), Fault> {
        let (name, mut staged) = (bucket.row.read().name.clone(), Vec::new());
        let source = format!("arn:aws:s3:::{name}");
        let mut batch = Batch::new(tidemill_store::Partition::of(&source));
        for one in all.iter().filter(|one| matches!(one.kind, Kind::Queue | Kind::Topic)) {
            let Ok(target) = one.target.parse::<Arn>() else { continue };
            let event = Event {
                id: cx.request_id().to_string(),
                source: source.clone(),
                via: one.id.clone(),
                payload: test_json(cx, &name),
                attributes: subject(one.kind),
                trace: cx.trace().clone(),
            };
            staged.push(self.delivery.deliver(cx, &mut batch, &target, event)?);
        }
        if staged.is_empty() {
            return Ok(());
        }
        let ticket = self.platform.submit(batch)?;
        let seq = ticket.seq();
        staged.into_iter().for_each(|staged| staged.release(seq));
        ticket.await;
        Ok(())
    }

    /// The notification that tells the default bus of everything.
    pub fn to_bus(&self, bucket: &Bucket) -> Notification {
        let row = bucket.row.read();
        Notification {
            id: "EventBridge".into(),
            target: format!("arn:aws:events:{}:{}:event-bus/default", row.region, row.account),
            kind: Kind::EventBridge,
            events: Vec::new(),
            prefix: None,
            suffix: None,
        }
    }

    fn check_target(&self, cx: &Cx, notification: &Notification, skip_validation: bool) -> S3Result<()> {
        let service = match notification.kind {
            Kind::Lambda => "lambda",
            Kind::Queue => "sqs",
            Kind::Topic => "sns",
            Kind::EventBridge => "events",
        };
        if !self.delivery.takes(service) {
            return Err(errors::not_implemented(&format!("notifications to {service}")));
        }
        let refused =
            || errors::invalid_argument("Unable to validate the following destination configurations");
        let target = notification.target.parse::<Arn>().ok().filter(|arn| arn.service == service);
        let target = target.ok_or_else(|| errors::invalid_argument("The ARN could not be parsed"))?;
        if skip_validation {
            return Ok(());
        }
        let event = Event { payload: Bytes::from_static(b"{}"), ..Event::default() };
        self.delivery.accept(cx, &target, event).map(drop).map_err(|_| refused())
    }
}

fn notification(
    cx: &Cx,
    id: Option<String>,
    target: String,
    kind: Kind,
    events: Vec<s3s::dto::Event>,
    filter: Option<NotificationConfigurationFilter>,
) -> S3Result<Notification> {
    let events: Vec<String> = events.into_iter().map(String::from).collect();
    check_events(&events)?;
    let mut made = Notification {
        id: id.unwrap_or_else(|| cx.random().uuid()),
        target,
        kind,
        events,
        prefix: None,
        suffix: None,
    };
    for rule in filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules).unwrap_or_default() {
        let name = rule.name.map(|name| name.as_str().to_lowercase()).unwrap_or_default();
        let place = match name.as_str() {
            "prefix" => &mut made.prefix,
            "suffix" => &mut made.suffix,
            _ => return Err(errors::invalid_argument("filter rule name must be either prefix or suffix")),
        };
        if place.is_some() {
            return Err(errors::invalid_argument(format!(
                "Cannot specify more than one {name} rule in a filter."
            )));
        }
        *place = rule.value;
    }
    Ok(made)
}

/// Only events that S3 knows can be subscribed to.
pub fn check_events(events: &[String]) -> S3Result<()> {
    if events.is_empty() || events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
        return Err(errors::invalid_argument("The event is not supported for notifications"));
    }
    Ok(())
}

pub async fn get_bucket_notification_configuration(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let bucket = s3.bucket(&request.input.bucket)?;
    let row = bucket.row.read();
    let mut output = GetBucketNotificationConfigurationOutput::default();
    for one in &row.notifications {
        let (id, events, filter) =
            (Some(one.id.clone()), one.events.iter().cloned().map(Into::into).collect(), wire_filter(one));
        match one.kind {
            Kind::Lambda => output.lambda_function_configurations.get_or_insert_default().push(
                LambdaFunctionConfiguration { id, events, filter, lambda_function_arn: one.target.clone() },
            ),
            Kind::Queue => output.queue_configurations.get_or_insert_default().push(QueueConfiguration {
                id,
                events,
                filter,
                queue_arn: one.target.clone(),
            }),
            Kind::Topic => output.topic_configurations.get_or_insert_default().push(TopicConfiguration {
                id,
                events,
                filter,
                topic_arn: one.target.clone(),
            }),
            Kind::EventBridge => output.event_bridge_configuration = Some(EventBridgeConfiguration {}),
        }
    }
    Ok(S3Response::new(output))
}

fn wire_filter(one: &Notification) -> Option<NotificationConfigurationFilter> {
    let rule = |name: &'static str, value: &Option<String>| {
        value
            .clone()
            .map(|value| FilterRule { name: Some(FilterRuleName::from_static(name)), value: Some(value) })
    };
    let rules: Vec<FilterRule> =
        [rule("Prefix", &one.prefix), rule("Suffix", &one.suffix)].into_iter().flatten().collect();
    (!rules.is_empty())
        .then_some(NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: Some(rules) }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(events: &[&str], prefix: &str, suffix: &str) -> Notification {
        Notification {
            id: "n".into(),
            target: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            kind: Kind::Lambda,
            events: events.iter().map(|e| e.to_string()).collect(),
            prefix: Some(prefix.into()),
            suffix: Some(suffix.into()),
        }
    }

    #[test]
    fn filters_choose_events() {
        let created = one(&["s3:ObjectCreated:*"], "in/", ".json");
        let happened = |event, key| Happened { event, key, size: None, etag: None };
        assert!(created.wants(&happened("ObjectCreated:Put", "in/a.json")));
        assert!(!created.wants(&happened("ObjectCreated:Put", "out/a.json")));
        assert!(!created.wants(&happened("ObjectCreated:Put", "in/a.csv")));
        assert!(!created.wants(&happened("ObjectRemoved:Delete", "in/a.json")));
    }

    #[test]
    fn overlapping_rules_are_found() {
        let all = one(&["s3:ObjectCreated:*"], "in/", "");
        assert!(all.overlaps(&one(&["s3:ObjectCreated:Put"], "in/deeper/", ".json")));
        assert!(!all.overlaps(&one(&["s3:ObjectCreated:Put"], "out/", "")));
        assert!(!all.overlaps(&one(&["s3:ObjectRemoved:*"], "in/", "")));
    }

    #[test]
    fn keys_are_form_encoded() {
        assert_eq!(url_encode("in/a b+c.json", false), "in/a+b%2Bc.json");
    }
}
