//! A queue's attributes, typed and checked. Source: the SQS API reference, "SetQueueAttributes".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_platform::{Arn, Fault, policy::check_resource_policy};

use crate::api::{InvalidAttributeName, InvalidAttributeValue, QueueAttributeName as Name};

/// What a policy may have, in bytes.
const MOST_POLICY: usize = 8192;
/// Values of `DeduplicationScope` and `FifoThroughputLimit` that make a queue one of high throughput.
const BY_GROUP: &str = "messageGroup";
const PER_GROUP: &str = "perMessageGroupId";

/// Settings with AWS's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub delay_s: i64,
    pub max_message_bytes: usize,
    pub retention_s: i64,
    pub wait_s: i64,
    pub visibility_s: i64,
    pub policy: Option<String>,
    pub redrive: Option<Redrive>,
    /// As it was given.
    pub redrive_allow: Option<String>,
    pub managed_sse: bool,
    pub content_dedup: bool,
    /// `queue` or `messageGroup`.
    pub dedup_scope: String,
    /// `perQueue` or `perMessageGroupId`.
    pub throughput_limit: String,
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redrive {
    pub target_arn: String,
    pub max_receives: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            delay_s: 0,
            max_message_bytes: 1_048_576,
            retention_s: 345_600,
            wait_s: 0,
            visibility_s: 30,
            policy: None,
            redrive: None,
            redrive_allow: None,
            managed_sse: true,
            content_dedup: false,
            dedup_scope: "queue".into(),
            throughput_limit: "perQueue".into(),
        }
    }
}

impl Settings {
    /// The settings with some attributes changed.
    pub fn with(&self, is_fifo: bool, attributes: &BTreeMap<Name, String>) -> Result<Settings, Fault> {
        let mut next = self.clone();
        for (name, value) in attributes {
            next.set(is_fifo, name, value)?;
        }
        if next.throughput_limit == PER_GROUP && next.dedup_scope != BY_GROUP {
            return Err(InvalidAttributeValue::new(format!(
                "Invalid value for the parameter {}. Reason: {PER_GROUP} is allowed only when {} is {BY_GROUP}.",
                Name::FifoThroughputLimit.as_str(),
                Name::DeduplicationScope.as_str(),
            ))
            .into());
        }
        Ok(next)
    }

    fn set(&mut self, is_fifo: bool, name: &Name, value: &str) -> Result<(), Fault> {
        match name {
            Name::DelaySeconds => self.delay_s = number(name, value, 0, 900)?,
            Name::MaximumMessageSize => {
                self.max_message_bytes =
                    usize::try_from(number(name, value, 1024, 1_048_576)?).unwrap_or(1024);
            }
            Name::MessageRetentionPeriod => self.retention_s = number(name, value, 60, 1_209_600)?,
            Name::ReceiveMessageWaitTimeSeconds => self.wait_s = number(name, value, 0, 20)?,
            Name::VisibilityTimeout => self.visibility_s = number(name, value, 0, 43_200)?,
            Name::Policy => self.policy = policy(name, value)?,
            Name::RedrivePolicy => self.redrive = redrive(name, value)?,
            Name::RedriveAllowPolicy => self.redrive_allow = redrive_allow(name, value)?,
            Name::SqsManagedSseEnabled => self.managed_sse = boolean(name, value)?,
            Name::KmsMasterKeyId if value.is_empty() => {}
            Name::KmsMasterKeyId | Name::KmsDataKeyReusePeriodSeconds => {
                return Err(Fault::not_implemented("queues encrypted with KMS keys"));
            }
            Name::FifoQueue => {
                if !boolean(name, value)? || !is_fifo {
                    return Err(unknown(name));
                }
            }
            Name::ContentBasedDeduplication if is_fifo => self.content_dedup = boolean(name, value)?,
            Name::DeduplicationScope if is_fifo => {
                self.dedup_scope = one_of(name, value, &["queue", BY_GROUP])?;
            }
            Name::FifoThroughputLimit if is_fifo => {
                self.throughput_limit = one_of(name, value, &["perQueue", PER_GROUP])?;
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// The settings as `GetQueueAttributes` shows them.
    pub fn shown(&self, is_fifo: bool) -> Vec<(Name, String)> {
        let mut shown = vec![
            (Name::DelaySeconds, self.delay_s.to_string()),
            (Name::MaximumMessageSize, self.max_message_bytes.to_string()),
            (Name::MessageRetentionPeriod, self.retention_s.to_string()),
            (Name::ReceiveMessageWaitTimeSeconds, self.wait_s.to_string()),
            (Name::VisibilityTimeout, self.visibility_s.to_string()),
            (Name::SqsManagedSseEnabled, self.managed_sse.to_string()),
        ];
        shown.extend(self.policy.clone().map(|policy| (Name::Policy, policy)));
        shown.extend(self.redrive.as_ref().map(|redrive| (Name::RedrivePolicy, redrive.document())));
        shown.extend(self.redrive_allow.clone().map(|policy| (Name::RedriveAllowPolicy, policy)));
        if is_fifo {
            shown.extend([
                (Name::FifoQueue, "true".to_string()),
                (Name::ContentBasedDeduplication, self.content_dedup.to_string()),
                (Name::DeduplicationScope, self.dedup_scope.clone()),
                (Name::FifoThroughputLimit, self.throughput_limit.clone()),
            ]);
        }
        shown
    }

    /// Whether a queue may use this one for its dead letters.
    pub fn allows(&self, source_arn: &str) -> bool {
        let Some(policy) =
            self.redrive_allow.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok())
        else {
            return true;
        };
        match policy["redrivePermission"].as_str() {
            Some("denyAll") => false,
            Some("byQueue") => policy["sourceQueueArns"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one == source_arn)),
            _ => true,
        }
    }
}

impl Redrive {
    pub fn document(&self) -> String {
        let (arn, max) = (&self.target_arn, self.max_receives);
        format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{max}}}"#)
    }
}

fn number(name: &Name, value: &str, low: i64, high: i64) -> Result<i64, Fault> {
    value.trim().parse().ok().filter(|number| (low..=high).contains(number)).ok_or_else(|| bad(name))
}

fn boolean(name: &Name, value: &str) -> Result<bool, Fault> {
    value.to_ascii_lowercase().parse().map_err(|_| bad(name))
}

fn one_of(name: &Name, value: &str, known: &[&str]) -> Result<String, Fault> {
    known.iter().find(|one| **one == value).map(|one| one.to_string()).ok_or_else(|| bad(name))
}

fn document(name: &Name, value: &str) -> Result<Option<String>, Fault> {
    if value.is_empty() {
        return Ok(None);
    }
    let parsed: Result<Value, _> = serde_json::from_str(value);
    parsed.ok().filter(Value::is_object).map(|_| Some(value.to_string())).ok_or_else(|| bad(name))
}

fn policy(name: &Name, value: &str) -> Result<Option<String>, Fault> {
    if value.is_empty() {
        return Ok(None);
    }
    let is_good = value.len() <= MOST_POLICY && check_resource_policy(value, "sqs").is_ok();
    if is_good { Ok(Some(value.to_string())) } else { Err(bad(name)) }
}

fn redrive(name: &Name, value: &str) -> Result<Option<Redrive>, Fault> {
    let Some(text) = document(name, value)? else { return Ok(None) };
    let policy: Value = serde_json::from_str(&text).unwrap_or_default();
    let wrong = |why: &str| {
        InvalidAttributeValue::new(format!(
            "Value {value} for parameter RedrivePolicy is invalid. Reason: {why}"
        ))
    };
    let max = match &policy["maxReceiveCount"] {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null => {
            return Err(wrong("Redrive policy does not contain mandatory attribute: maxReceiveCount.").into());
        }
        _ => None,
    };
    let Some(target) = policy["deadLetterTargetArn"].as_str() else {
        return Err(wrong("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.").into());
    };
    let arn = target.parse::<Arn>().ok().filter(|arn| arn.service == "sqs");
    let max = max.and_then(|max| u32::try_from(max).ok()).filter(|max| (1..=1000).contains(max));
    match (arn, max) {
        (Some(_), Some(max_receives)) => Ok(Some(Redrive { target_arn: target.into(), max_receives })),
        (None, _) => Err(wrong("Dead-letter target owner should be same as the source.").into()),
        (_, None) => Err(wrong("Invalid value for maxReceiveCount: must be between 1 and 1000.").into()),
    }
}

fn redrive_allow(name: &Name, value: &str) -> Result<Option<String>, Fault> {
    let Some(text) = document(name, value)? else { return Ok(None) };
    let policy: Value = serde_json::from_str(&text).unwrap_or_default();
    let sources = policy["sourceQueueArns"].as_array();
    let is_good = match policy["redrivePermission"].as_str() {
        Some("allowAll" | "denyAll") => sources.is_none(),
        Some("byQueue") => sources.is_some_and(|all| (1..=10).contains(&all.len())),
        _ => false,
    };
    if is_good { Ok(Some(text)) } else { Err(bad(name)) }
}

fn bad(name: &Name) -> Fault {
    InvalidAttributeValue::new(format!("Invalid value for the parameter {}.", name.as_str())).into()
}

fn unknown(name: &Name) -> Fault {
    InvalidAttributeName::new(format!("Unknown Attribute {}.", name.as_str())).into()
}
