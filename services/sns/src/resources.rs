//! SNS's CloudFormation types: topics, subscriptions, topic policies.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, boolean, text},
};

use crate::{Sns, state::Topic, topic_settings::TopicSettings};

const TOPIC: &str = "AWS::SNS::Topic";
const SUBSCRIPTION: &str = "AWS::SNS::Subscription";
const POLICY: &str = "AWS::SNS::TopicPolicy";
const INLINE_POLICY: &str = "AWS::SNS::TopicInlinePolicy";

/// Properties of a topic that are attributes under the same name.
const TOPIC_ATTRIBUTES: &[&str] = &[
    "DisplayName",
    "SignatureVersion",
    "TracingConfig",
    "ContentBasedDeduplication",
    "FifoThroughputScope",
    "KmsMasterKeyId",
    "ArchivePolicy",
    "DataProtectionPolicy",
];
const SUBSCRIPTION_ATTRIBUTES: &[&str] = &[
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "ReplayPolicy",
    "SubscriptionRoleArn",
];

pub struct Resources(pub Arc<Sns>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[TOPIC, SUBSCRIPTION, POLICY, INLINE_POLICY]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            match wanted.resource_type {
                TOPIC => self.create_topic(cx, &wanted).await,
                SUBSCRIPTION => self.create_subscription(cx, wanted.properties).await,
                _ => {
                    self.set_policy(wanted.properties, true).await?;
                    Ok(Provided { physical_id: wanted.generated_name.into(), ..Provided::default() })
                }
            }
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        cx: &'a Cx,
        physical_id: &'a str,
        old: &'a Value,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>> {
        async move {
            let same = |name: &str| old.get(name) == wanted.properties.get(name);
            match wanted.resource_type {
                TOPIC if !same("TopicName") || !same("FifoTopic") => Ok(Updated::Replace),
                TOPIC => self.update_topic(cx, physical_id, old, &wanted).await.map(Updated::InPlace),
                SUBSCRIPTION if !same("TopicArn") || !same("Protocol") || !same("Endpoint") => {
                    Ok(Updated::Replace)
                }
                SUBSCRIPTION => {
                    self.update_subscription(cx, physical_id, wanted.properties).await.map(Updated::InPlace)
                }
                _ => {
                    self.set_policy(wanted.properties, true).await?;
                    Ok(Updated::InPlace(Provided { physical_id: physical_id.into(), ..Provided::default() }))
                }
            }
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        resource_type: &'a str,
        physical_id: &'a str,
        properties: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match resource_type {
                TOPIC => match self.0.by_arn(physical_id) {
                    Some(topic) => self.0.remove(&topic).await,
                    None => Ok(()),
                },
                SUBSCRIPTION => match self.0.subscription(physical_id) {
                    Ok((topic, one)) => self.0.take_off(cx, &topic, &one).await,
                    Err(_) => Ok(()),
                },
                _ => self.set_policy(properties, false).await,
            }
        }
        .boxed()
    }
}

impl Resources {
    async fn create_topic(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        let is_fifo = boolean(properties, "FifoTopic") == Some(true);
        let suffix = if is_fifo { ".fifo" } else { "" };
        let name =
            text(properties, "TopicName").unwrap_or_else(|| format!("{}{suffix}", wanted.generated_name));
        if self.0.by_arn(&cx.arn("sns", name.as_str()).to_string()).is_some() {
            return Err(Fault::new("AlreadyExists", format!("{name} already exists")));
        }
        let mut attributes = topic_attributes(properties);
        if is_fifo {
            attributes.insert("FifoTopic".into(), "true".into());
        }
        let topic = self.0.create(cx, &name, &attributes, tags(properties, wanted.tags)).await?;
        for (protocol, endpoint) in inline(properties) {
            self.0.subscribe(cx, &topic, &protocol, &endpoint, &BTreeMap::new()).await?;
        }
        Ok(provided(&topic))
    }

    async fn update_topic(
        &self,
        cx: &Cx,
        arn: &str,
        old: &Value,
        wanted: &Wanted<'_>,
    ) -> Result<Provided, Fault> {
        let topic = self.0.topic(arn)?;
        let attributes = topic_attributes(wanted.properties);
        let tags = tags(wanted.properties, wanted.tags);
        self.0
            .change(&topic, |row| {
                // What the template no longer says goes back to its default; policies are other resources.
                let before = std::mem::take(&mut row.settings);
                row.settings = TopicSettings { policy: before.policy, ..TopicSettings::default() };
                for (name, value) in &attributes {
                    row.settings.set(row.is_fifo, name, value)?;
                }
                row.begin_archive(before.archive_policy.is_some(), cx.now().millis());
                row.tags = tags;
                Ok(())
            })
            .await?;
        let (before, after) = (inline(old), inline(wanted.properties));
        for (protocol, endpoint) in after.iter().filter(|one| !before.contains(one)) {
            self.0.subscribe(cx, &topic, protocol, endpoint, &BTreeMap::new()).await?;
        }
        for (protocol, endpoint) in before.iter().filter(|one| !after.contains(one)) {
            let found = topic
                .subscriptions
                .read()
                .values()
                .find(|one| one.row.protocol == *protocol && one.row.endpoint == *endpoint)
                .cloned();
            if let Some(one) = found {
                self.0.take_off(cx, &topic, &one).await?;
            }
        }
        Ok(provided(&topic))
    }

    async fn create_subscription(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        if text(properties, "Region").is_some_and(|region| region != cx.region()) {
            return Err(Fault::not_implemented("subscriptions to topics of other regions"));
        }
        let of = |name: &str| text(properties, name).unwrap_or_default();
        let topic = self.0.topic(&of("TopicArn"))?;
        let attributes = attributes(properties, SUBSCRIPTION_ATTRIBUTES);
        let row = self.0.subscribe(cx, &topic, &of("Protocol"), &of("Endpoint"), &attributes).await?;
        Ok(subscribed(row.arn))
    }

    async fn update_subscription(&self, cx: &Cx, arn: &str, properties: &Value) -> Result<Provided, Fault> {
        let (topic, one) = self.0.subscription(arn)?;
        let mut wanted = attributes(properties, SUBSCRIPTION_ATTRIBUTES);
        for (name, default) in [
            ("FilterPolicy", ""),
            ("FilterPolicyScope", "MessageAttributes"),
            ("RawMessageDelivery", "false"),
            ("RedrivePolicy", ""),
        ] {
            wanted.entry(name.into()).or_insert_with(|| default.into());
        }
        // The same replay is not begun again.
        if one.row.replay.as_ref().map(|replay| &replay.policy) == wanted.get("ReplayPolicy") {
            wanted.remove("ReplayPolicy");
        }
        self.0.set_attributes(cx, &topic, &one.row.id, &wanted).await?;
        Ok(subscribed(arn.into()))
    }

    async fn set_policy(&self, properties: &Value, keep: bool) -> Result<(), Fault> {
        let document = properties.get("PolicyDocument").filter(|_| keep).map(Value::to_string);
        let listed = properties.get("Topics").and_then(Value::as_array).into_iter().flatten();
        let arns = listed.chain(properties.get("TopicArn")).filter_map(Value::as_str);
        for arn in arns {
            let topic = match self.0.topic(arn) {
                Ok(topic) => topic,
                Err(_) if !keep => continue,
                Err(fault) => return Err(fault),
            };
            self.0
                .change(&topic, |row| {
                    row.settings.policy = document.clone();
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }
}

/// A topic's attributes, with its list of delivery status loggings as the attributes it stands for.
fn topic_attributes(properties: &Value) -> BTreeMap<String, String> {
    let mut found = attributes(properties, TOPIC_ATTRIBUTES);
    for one in properties.get("DeliveryStatusLogging").and_then(Value::as_array).into_iter().flatten() {
        let protocol = match text(one, "Protocol").unwrap_or_default().as_str() {
            "http/s" | "http" | "https" => "HTTP".to_string(),
            "sqs" => "SQS".into(),
            "lambda" => "Lambda".into(),
            "firehose" => "Firehose".into(),
            "application" => "Application".into(),
            other => other.into(),
        };
        for name in ["SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn"] {
            found.extend(text(one, name).map(|value| (format!("{protocol}{name}"), value)));
        }
    }
    found
}

fn attributes(properties: &Value, names: &[&str]) -> BTreeMap<String, String> {
    let value = |name: &str| match properties.get(name) {
        Some(document @ Value::Object(_)) => Some(document.to_string()),
        _ => text(properties, name),
    };
    names.iter().filter_map(|name| Some((name.to_string(), value(name)?))).collect()
}

/// Subscriptions that a topic's own property lists.
fn inline(properties: &Value) -> Vec<(String, String)> {
    let listed = properties.get("Subscription").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|one| text(one, "Protocol").zip(text(one, "Endpoint"))).collect()
}

fn tags(properties: &Value, of_stack: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = of_stack.clone();
    for tag in properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        tags.extend(text(tag, "Key").zip(text(tag, "Value")));
    }
    tags
}

fn provided(topic: &Topic) -> Provided {
    let row = topic.row();
    Provided {
        physical_id: row.arn.clone(),
        attributes: [("TopicArn", row.arn.clone()), ("TopicName", row.name.clone())]
            .map(|(name, value)| (name.to_string(), Value::from(value)))
            .into(),
    }
}

fn subscribed(arn: String) -> Provided {
    Provided { attributes: [("Arn".to_string(), Value::from(arn.clone()))].into(), physical_id: arn }
}
