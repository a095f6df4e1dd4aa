//! SQS's CloudFormation types: queues and their policies.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, boolean, text},
};

use crate::{
    Sqs,
    api::QueueAttributeName as Name,
    state::{Queue, no_queue},
};

const QUEUE: &str = "AWS::SQS::Queue";
const POLICY: &str = "AWS::SQS::QueuePolicy";
/// Properties that are attributes under the same name.
const ATTRIBUTES: &[Name] = &[
    Name::DelaySeconds,
    Name::MaximumMessageSize,
    Name::MessageRetentionPeriod,
    Name::ReceiveMessageWaitTimeSeconds,
    Name::VisibilityTimeout,
    Name::RedrivePolicy,
    Name::RedriveAllowPolicy,
    Name::ContentBasedDeduplication,
    Name::DeduplicationScope,
    Name::FifoThroughputLimit,
    Name::SqsManagedSseEnabled,
    Name::KmsMasterKeyId,
];

pub struct Resources(pub Arc<Sqs>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[QUEUE, POLICY]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            match wanted.resource_type {
                QUEUE => self.create_queue(cx, &wanted).await,
                _ => {
                    self.set_policy(cx, wanted.properties, true).await?;
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
            if wanted.resource_type == POLICY {
                self.set_policy(cx, wanted.properties, true).await?;
                let provided = Provided { physical_id: physical_id.into(), ..Provided::default() };
                return Ok(Updated::InPlace(provided));
            }
            if !same("QueueName") || !same("FifoQueue") {
                return Ok(Updated::Replace);
            }
            let queue = self.0.by_url(cx, physical_id)?;
            let mut attributes = attributes(wanted.properties)?;
            // What the template no longer says goes back to its default.
            let defaults = crate::settings::Settings::default().shown(queue.is_fifo);
            for (name, value) in defaults {
                attributes.entry(name).or_insert(value);
            }
            for name in [Name::RedrivePolicy, Name::RedriveAllowPolicy] {
                attributes.entry(name).or_default();
            }
            self.0.set_attributes(cx, &queue, &attributes).await?;
            let tags = tags(wanted.properties, wanted.tags);
            self.0
                .change(&queue, |row| {
                    row.tags = tags;
                    Ok(())
                })
                .await?;
            Ok(Updated::InPlace(provided(cx, &queue)))
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
            if resource_type == POLICY {
                return self.set_policy(cx, properties, false).await;
            }
            match self.0.by_url(cx, physical_id) {
                Ok(queue) => self.0.remove(&queue).await,
                Err(_) => Ok(()),
            }
        }
        .boxed()
    }
}

impl Resources {
    async fn create_queue(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        if properties.get("KmsDataKeyReusePeriodSeconds").is_some() {
            return Err(Fault::not_implemented("queues encrypted with KMS keys"));
        }
        let is_fifo = boolean(properties, "FifoQueue") == Some(true);
        let suffix = if is_fifo { ".fifo" } else { "" };
        let name =
            text(properties, "QueueName").unwrap_or_else(|| format!("{}{suffix}", wanted.generated_name));
        let is_there = self.0.by_arn(&cx.arn("sqs", name.as_str()).to_string()).is_some();
        if is_there {
            return Err(Fault::new("AlreadyExists", format!("{name} already exists")));
        }
        let mut attributes = attributes(properties)?;
        if is_fifo {
            attributes.insert(Name::FifoQueue, "true".into());
        }
        let queue = self.0.create(cx, &name, &attributes, tags(properties, wanted.tags)).await?;
        Ok(provided(cx, &queue))
    }

    async fn set_policy(&self, cx: &Cx, properties: &Value, keep: bool) -> Result<(), Fault> {
        let document =
            properties.get("PolicyDocument").filter(|_| keep).map_or_else(String::new, Value::to_string);
        for url in properties.get("Queues").and_then(Value::as_array).into_iter().flatten() {
            let Some(queue) = url.as_str().and_then(|url| self.0.by_url(cx, url).ok()) else {
                if keep {
                    return Err(no_queue());
                }
                continue;
            };
            let attributes = BTreeMap::from([(Name::Policy, document.clone())]);
            self.0.set_attributes(cx, &queue, &attributes).await?;
        }
        Ok(())
    }
}

fn attributes(properties: &Value) -> Result<BTreeMap<Name, String>, Fault> {
    let mut found = BTreeMap::new();
    for name in ATTRIBUTES {
        let value = match properties.get(name.as_str()) {
            Some(document @ Value::Object(_)) => Some(document.to_string()),
            _ => text(properties, name.as_str()),
        };
        found.extend(value.map(|value| (name.clone(), value)));
    }
    Ok(found)
}

fn tags(properties: &Value, of_stack: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = of_stack.clone();
    for tag in properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        tags.extend(text(tag, "Key").zip(text(tag, "Value")));
    }
    tags
}

fn provided(cx: &Cx, queue: &Queue) -> Provided {
    let url = queue.url(cx);
    Provided {
        physical_id: url.clone(),
        attributes: [
            ("Arn", queue.arn.to_string()),
            ("QueueName", queue.arn.resource.clone()),
            ("QueueUrl", url),
        ]
        .map(|(name, value)| (name.to_string(), Value::from(value)))
        .into(),
    }
}
