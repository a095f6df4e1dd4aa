//! `AWS::S3::Bucket` for CloudFormation.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use s3s::S3Error;
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, boolean, text},
};

use crate::{
    S3, errors,
    notifications::{Kind, Notification, check_events},
};

pub struct Resources(pub Arc<S3>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &["AWS::S3::Bucket"]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            refuse(wanted.properties)?;
            let name = text(wanted.properties, "BucketName")
                .unwrap_or_else(|| wanted.generated_name.to_lowercase().chars().take(63).collect());
            let named = wanted.properties.get("BucketName").is_some();
            if named && self.0.bucket(&name).is_ok() {
                return Err(Fault::new("AlreadyExists", format!("{name} already exists")));
            }
            let tags = tags(wanted.properties, wanted.tags);
            self.0.create_bucket(cx, &name, cx.region().to_string(), tags).await.map_err(fault)?;
            if let Err(error) = self.configure(cx, &name, wanted.properties).await {
                // A bucket that could not be made whole is not left behind.
                let _ = self.0.delete_bucket(&name).await;
                return Err(error);
            }
            Ok(provided(cx, &name))
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
            refuse(wanted.properties)?;
            if old.get("BucketName") != wanted.properties.get("BucketName") {
                return Ok(Updated::Replace);
            }
            let tags = tags(wanted.properties, wanted.tags);
            let bucket = self.0.bucket(physical_id).map_err(fault)?;
            self.0.change_bucket(&bucket, |row| row.tags = tags).await.map_err(fault)?;
            self.configure(cx, physical_id, wanted.properties).await?;
            Ok(Updated::InPlace(provided(cx, physical_id)))
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        _: &'a Cx,
        _: &'a str,
        physical_id: &'a str,
        _: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match self.0.delete_bucket(physical_id).await {
                Err(error) if error.code().as_str() == "NoSuchBucket" => Ok(()),
                other => other.map_err(fault),
            }
        }
        .boxed()
    }
}

impl Resources {
    async fn configure(&self, cx: &Cx, name: &str, properties: &Value) -> Result<(), Fault> {
        let bucket = self.0.bucket(name).map_err(fault)?;
        let wanted = properties.get("NotificationConfiguration").unwrap_or(&Value::Null);
        let mut all = Vec::new();
        for (list, arn, kind) in [
            ("LambdaConfigurations", "Function", Kind::Lambda),
            ("QueueConfigurations", "Queue", Kind::Queue),
            ("TopicConfigurations", "Topic", Kind::Topic),
        ] {
            for one in wanted.get(list).and_then(Value::as_array).into_iter().flatten() {
                all.push(notification(cx, one, arn, kind)?);
            }
        }
        // Enabled unless it says otherwise.
        if let Some(bridge) = wanted.get("EventBridgeConfiguration")
            && boolean(bridge, "EventBridgeEnabled") != Some(false)
        {
            all.push(self.0.to_bus(&bucket));
        }
        self.0.set_notifications(cx, &bucket, all, false).await.map_err(fault)
    }
}

fn notification(cx: &Cx, one: &Value, arn: &str, kind: Kind) -> Result<Notification, Fault> {
    let events = vec![text(one, "Event").unwrap_or_default()];
    check_events(&events).map_err(fault)?;
    let rules = one.pointer("/Filter/S3Key/Rules").and_then(Value::as_array).into_iter().flatten();
    let mut made = Notification {
        id: cx.random().uuid(),
        target: text(one, arn).unwrap_or_default(),
        kind,
        events,
        prefix: None,
        suffix: None,
    };
    for rule in rules {
        match text(rule, "Name").unwrap_or_default().to_lowercase().as_str() {
            "prefix" => made.prefix = text(rule, "Value"),
            "suffix" => made.suffix = text(rule, "Value"),
            _ => {
                return Err(fault(errors::invalid_argument(
                    "filter rule name must be either prefix or suffix",
                )));
            }
        }
    }
    Ok(made)
}

fn refuse(properties: &Value) -> Result<(), Fault> {
    let known = ["BucketName", "NotificationConfiguration", "Tags"];
    // Harmless defaults that templates often spell out: S3 encrypts with AES256 and blocks public access by itself.
    let default = |name: &str, value: &Value| match name {
        "PublicAccessBlockConfiguration" => true,
        "OwnershipControls" => {
            value.pointer("/Rules/0/ObjectOwnership").is_some_and(|o| o == "BucketOwnerEnforced")
        }
        "BucketEncryption" => value
            .pointer("/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault/SSEAlgorithm")
            .is_some_and(|a| a == "AES256"),
        "VersioningConfiguration" => value.get("Status").is_some_and(|s| s == "Suspended"),
        _ => false,
    };
    let asked = properties
        .as_object()
        .into_iter()
        .flatten()
        .find(|(name, value)| !known.contains(&name.as_str()) && !default(name, value));
    asked.map_or(Ok(()), |(name, _)| {
        Err(Fault::not_implemented(format!("the property {name} of AWS::S3::Bucket")))
    })
}

fn provided(cx: &Cx, name: &str) -> Provided {
    let region = cx.region();
    let attributes = [
        ("Arn", format!("arn:aws:s3:::{name}")),
        ("DomainName", format!("{name}.s3.amazonaws.com")),
        ("RegionalDomainName", format!("{name}.s3.{region}.amazonaws.com")),
        ("DualStackDomainName", format!("{name}.s3.dualstack.{region}.amazonaws.com")),
        ("WebsiteURL", format!("http://{name}.s3-website-{region}.amazonaws.com")),
    ];
    Provided {
        physical_id: name.to_string(),
        attributes: attributes.map(|(k, v)| (k.to_string(), v.into())).into(),
    }
}

fn tags(properties: &Value, of_stack: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = of_stack.clone();
    for tag in properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (text(tag, "Key"), text(tag, "Value")) {
            tags.insert(key, value);
        }
    }
    tags
}

fn fault(error: S3Error) -> Fault {
    errors::to_fault(&error)
}
