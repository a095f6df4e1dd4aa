//! A subscription's attributes, typed and checked. Source: the SNS API reference, "SetSubscriptionAttributes".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_event_pattern::{FilterPolicy, Scope};
use tidemill_platform::Fault;

use crate::{
    api::InvalidParameterException,
    delivery_policy::DeliveryPolicy,
    state::{TopicRow, invalid},
    topic_settings::document,
};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionSettings {
    pub raw: bool,
    /// As it was given.
    pub filter_policy: Option<String>,
    /// `FilterPolicyScope` is `MessageBody`.
    pub filters_body: bool,
    pub dead_letter_arn: Option<String>,
    /// As it was given.
    pub redrive_policy: Option<String>,
    pub delivery_policy: Option<String>,
}

impl SubscriptionSettings {
    /// The settings that a request's attributes make. A policy is checked under the scope that comes with it.
    pub fn with(
        &self,
        topic: &TopicRow,
        protocol: &str,
        endpoint: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<SubscriptionSettings, Fault> {
        let mut next = self.clone();
        for (name, value) in attributes {
            next.set(protocol, name, value)?;
        }
        if let Some(policy) = &next.filter_policy {
            FilterPolicy::parse(policy, next.scope())
                .map_err(|error| Fault::from(InvalidParameterException::new(error.to_string())))?;
        }
        let takes_plain_letters = next.dead_letter_arn.as_ref().is_none_or(|arn| arn.ends_with(".fifo"));
        if topic.is_fifo && endpoint.ends_with(".fifo") && !takes_plain_letters {
            return Err(invalid(
                "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.",
            ));
        }
        Ok(next)
    }

    fn set(&mut self, protocol: &str, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "RawMessageDelivery" => {
                let is_true = value.eq_ignore_ascii_case("true");
                if !is_true && !value.eq_ignore_ascii_case("false") {
                    return Err(invalid(format!(
                        "RawMessageDelivery: Invalid value [{value}]. Must be true or false."
                    )));
                }
                self.raw = is_true;
                if self.raw && !matches!(protocol, "sqs" | "http" | "https" | "firehose") {
                    return Err(invalid(format!(
                        "Attributes Reason: Delivery protocol [{protocol}] does not support raw message delivery."
                    )));
                }
            }
            "FilterPolicy" => self.filter_policy = (!value.trim().is_empty()).then(|| value.to_string()),
            "FilterPolicyScope" => {
                self.filters_body = match value {
                    "MessageAttributes" => false,
                    "MessageBody" => true,
                    _ => {
                        return Err(invalid(format!(
                            "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
                        )));
                    }
                }
            }
            "RedrivePolicy" => {
                self.dead_letter_arn = dead_letter_arn(value)?;
                self.redrive_policy = self.dead_letter_arn.as_ref().map(|_| value.to_string());
            }
            "DeliveryPolicy" => {
                if !protocol.starts_with("http") {
                    return Err(invalid(format!(
                        "Attributes Reason: Delivery protocol [{protocol}] does not support delivery policies."
                    )));
                }
                self.delivery_policy = document(name, value)?;
                DeliveryPolicy::default().of_subscription(self.delivery_policy.as_deref())?;
            }
            "SubscriptionRoleArn" => {
                return Err(Fault::not_implemented("SubscriptionRoleArn of a subscription"));
            }
            _ => return Err(invalid("AttributeName")),
        }
        Ok(())
    }

    pub fn scope(&self) -> Scope {
        if self.filters_body { Scope::MessageBody } else { Scope::MessageAttributes }
    }

    /// The filter policy; `None` when every message passes.
    pub fn policy(&self) -> Option<FilterPolicy> {
        FilterPolicy::parse(self.filter_policy.as_deref()?, self.scope()).ok()
    }
}

fn dead_letter_arn(value: &str) -> Result<Option<String>, Fault> {
    if value.trim().is_empty() {
        return Ok(None);
    }
    let given: Value =
        serde_json::from_str(value).map_err(|_| invalid("RedrivePolicy: failed to parse JSON."))?;
    let other = given.as_object().and_then(|given| given.keys().find(|name| *name != "deadLetterTargetArn"));
    if let Some(other) = other {
        return Err(invalid(format!("RedrivePolicy: invalid JSON. Attribute {other} is unknown.")));
    }
    let arn = match given.get("deadLetterTargetArn") {
        None | Some(Value::Null) => return Ok(None),
        Some(arn) => arn.as_str().unwrap_or_default(),
    };
    let is_queue =
        arn.split(':').count() == 6 && arn.starts_with("arn:") && arn.split(':').nth(2) == Some("sqs");
    if !is_queue {
        return Err(invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn"));
    }
    Ok(Some(arn.into()))
}
