//! A topic's attributes, typed and checked. Source: the SNS API reference, "SetTopicAttributes".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_platform::{
    Fault,
    policy::{Flaw, check_resource_policy},
};

use crate::{archive, delivery_policy::DeliveryPolicy, protection, state::invalid};

/// Settings with AWS's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicSettings {
    pub display_name: String,
    pub policy: Option<String>,
    /// As it was given.
    pub delivery_policy: Option<String>,
    /// 1 signs over SHA-1, 2 over SHA-256.
    pub signature_version: u8,
    /// `PassThrough` or `Active`.
    pub tracing: Option<String>,
    pub content_dedup: bool,
    /// `Topic` or `MessageGroup`.
    pub throughput_scope: Option<String>,
    /// Delivery status logging, by attribute name.
    pub feedback: BTreeMap<String, String>,
    /// As it was given; `None` without an archive.
    #[serde(default)]
    pub archive_policy: Option<String>,
    /// As it was given.
    #[serde(default)]
    pub data_protection: Option<String>,
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        TopicSettings {
            display_name: String::new(),
            policy: None,
            delivery_policy: None,
            signature_version: 1,
            tracing: None,
            content_dedup: false,
            throughput_scope: None,
            feedback: BTreeMap::new(),
            archive_policy: None,
            data_protection: None,
        }
    }
}

/// Protocols whose deliveries can be logged.
const LOGGED: &[&str] = &["Application", "HTTP", "Lambda", "SQS"];
/// Protocols that are not there, whose logging would be for nothing.
const UNLOGGED: &[&str] = &["Firehose"];

impl TopicSettings {
    /// Sets one attribute. `FifoTopic` is settled when the topic is made and not known here.
    pub fn set(&mut self, is_fifo: bool, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "DisplayName" => self.display_name = display_name(value)?,
            "Policy" => self.policy = policy(value)?,
            "DeliveryPolicy" => {
                self.delivery_policy = document(name, value)?;
                DeliveryPolicy::of_topic(self.delivery_policy.as_deref())?;
            }
            "SignatureVersion" => self.signature_version = signature_version(value)?,
            "TracingConfig" => self.tracing = Some(one_of(name, value, &["PassThrough", "Active"])?),
            "ContentBasedDeduplication" if is_fifo => self.content_dedup = boolean(name, value)?,
            "FifoThroughputScope" if is_fifo => {
                self.throughput_scope = Some(one_of(name, value, &["Topic", "MessageGroup"])?);
            }
            "KmsMasterKeyId" if value.is_empty() => {}
            "ArchivePolicy" if is_fifo => {
                self.archive_policy = archive::retention_days(value)?.map(|_| value.to_string());
            }
            "DataProtectionPolicy" => self.data_protection = protection::checked(value)?,
            "KmsMasterKeyId" => {
                return Err(Fault::not_implemented(format!("{name} of a topic")));
            }
            _ => self.set_feedback(name, value)?,
        }
        Ok(())
    }

    fn set_feedback(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let protocol = ["SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate", "FailureFeedbackRoleArn"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .ok_or_else(|| invalid("AttributeName"))?;
        if UNLOGGED.contains(&protocol) {
            return Err(Fault::not_implemented(format!("{name} of a topic")));
        }
        if !LOGGED.contains(&protocol) {
            return Err(invalid("AttributeName"));
        }
        if value.is_empty() {
            self.feedback.remove(name);
            return Ok(());
        }
        let is_good = if name.ends_with("SampleRate") {
            value.parse::<u8>().is_ok_and(|rate| rate <= 100)
        } else {
            value.starts_with("arn:")
        };
        if !is_good {
            return Err(invalid(format!("Attributes Reason: {name}: invalid value {value}")));
        }
        self.feedback.insert(name.into(), value.into());
        Ok(())
    }

    /// Whether deliveries over a protocol are logged: failures, and the share of successes in percent.
    pub fn logs(&self, protocol: &str) -> (bool, u8) {
        let prefix = match protocol {
            "sqs" => "SQS",
            "lambda" => "Lambda",
            "application" => "Application",
            "http" | "https" => "HTTP",
            _ => return (false, 0),
        };
        let known = |suffix: &str| self.feedback.get(&format!("{prefix}{suffix}"));
        let rate = known("SuccessFeedbackSampleRate").and_then(|rate| rate.parse().ok()).unwrap_or(0);
        let successes = if known("SuccessFeedbackRoleArn").is_some() { rate } else { 0 };
        (known("FailureFeedbackRoleArn").is_some(), successes)
    }

    /// The attributes as `GetTopicAttributes` prints them, but for the counts.
    pub fn shown(&self, arn: &str, account: &str, is_fifo: bool) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([
            ("TopicArn".to_string(), arn.to_string()),
            ("Owner".into(), account.into()),
            ("DisplayName".into(), self.display_name.clone()),
            ("Policy".into(), self.policy.clone().unwrap_or_else(|| default_policy(arn, account))),
        ]);
        if is_fifo {
            all.insert("FifoTopic".into(), "true".into());
            all.insert("ContentBasedDeduplication".into(), self.content_dedup.to_string());
            all.insert(
                "FifoThroughputScope".into(),
                self.throughput_scope.clone().unwrap_or_else(|| "Topic".into()),
            );
        }
        if let Ok(policy) = DeliveryPolicy::of_topic(self.delivery_policy.as_deref()) {
            all.insert("EffectiveDeliveryPolicy".into(), policy.effective_of_topic().to_string());
        }
        if self.signature_version != 1 {
            all.insert("SignatureVersion".into(), self.signature_version.to_string());
        }
        let given = [
            ("ArchivePolicy", self.archive_policy.clone()),
            ("DeliveryPolicy", self.delivery_policy.clone()),
            ("TracingConfig", self.tracing.clone()),
        ];
        all.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
        all.extend(self.feedback.clone());
        all
    }
}

fn display_name(value: &str) -> Result<String, Fault> {
    if value.chars().count() > 100 || value.chars().any(char::is_control) {
        return Err(invalid("DisplayName"));
    }
    Ok(value.into())
}

fn signature_version(value: &str) -> Result<u8, Fault> {
    match value {
        "1" => Ok(1),
        "2" => Ok(2),
        _ => Err(invalid(format!(
            "Attributes Reason: SignatureVersion: Invalid value [{value}]. Must be one of these values: [1, 2]"
        ))),
    }
}

pub fn boolean(name: &str, value: &str) -> Result<bool, Fault> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid(format!("{name} Reason: Invalid value [{value}]. Must be true or false."))),
    }
}

fn one_of(name: &str, value: &str, known: &[&str]) -> Result<String, Fault> {
    if !known.contains(&value) {
        return Err(invalid(format!("{name}: Invalid value [{value}]. Must be one of {known:?}")));
    }
    Ok(value.into())
}

/// A JSON object; nothing for the empty text.
pub fn document(name: &str, value: &str) -> Result<Option<String>, Fault> {
    match serde_json::from_str::<Value>(value) {
        _ if value.trim().is_empty() => Ok(None),
        Ok(Value::Object(_)) => Ok(Some(value.into())),
        _ => Err(invalid(format!("{name}: failed to parse JSON."))),
    }
}

fn policy(value: &str) -> Result<Option<String>, Fault> {
    if value.is_empty() {
        return Ok(None);
    }
    match check_resource_policy(value, "sns") {
        Ok(()) => Ok(Some(value.to_string())),
        Err(Flaw::Form) => Err(invalid("Policy Error: null")),
        Err(Flaw::OtherService) => Err(invalid("Policy statement action out of service scope!")),
    }
}

/// The policy of a topic that was given none: its owner may do everything.
pub fn default_policy(arn: &str, account: &str) -> String {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [
                "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
                "SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
            ],
            "Resource": arn,
            "Condition": {"StringEquals": {"AWS:SourceOwner": account}},
        }],
    })
    .to_string()
}
