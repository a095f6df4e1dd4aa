//! Delivery policies: how often and how long an HTTP endpoint is tried, and how fast. Source: the SNS developer guide,
//! "Creating an HTTP/S delivery policy".
//!
//! A policy has four phases: retries without a wait, at the least wait, backing off from the least to the longest wait,
//! and at the longest wait. AWS draws the back-off functions without giving their formulas; ours run from the least to
//! the longest wait and keep AWS's order of steepness.

use serde_json::{Map, Value, json};
use tidemill_delivery::{Policy, policy::Backoff};
use tidemill_platform::Fault;

use crate::state::invalid;

/// Seconds an event may take in all; AWS's own limit for a policy.
const MOST_TOTAL_S: i64 = 3600;
const CONTENT_TYPE: &str = "text/plain; charset=UTF-8";
const CONTENT_TYPES: &[&str] = &[
    "application/json",
    "text/plain",
    "text/css",
    "text/csv",
    "text/html",
    "text/xml",
    "application/atom+xml",
    "application/octet-stream",
    "application/soap+xml",
    "application/xml",
    "application/x-www-form-urlencoded",
];

#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryPolicy {
    pub min_delay_s: i64,
    pub max_delay_s: i64,
    pub retries: i64,
    pub no_delay_retries: i64,
    pub min_delay_retries: i64,
    pub max_delay_retries: i64,
    pub function: String,
    pub max_receives_per_second: Option<u32>,
    pub content_type: String,
    /// A topic's: subscriptions may not have their own.
    pub disables_overrides: bool,
}

impl Default for DeliveryPolicy {
    fn default() -> DeliveryPolicy {
        DeliveryPolicy {
            min_delay_s: 20,
            max_delay_s: 20,
            retries: 3,
            no_delay_retries: 0,
            min_delay_retries: 0,
            max_delay_retries: 0,
            function: "linear".into(),
            max_receives_per_second: None,
            content_type: CONTENT_TYPE.into(),
            disables_overrides: false,
        }
    }
}

impl DeliveryPolicy {
    /// A topic's policy: its parts are under `http`, with `default` before their names.
    pub fn of_topic(text: Option<&str>) -> Result<DeliveryPolicy, Fault> {
        let mut policy = DeliveryPolicy::default();
        let Some(text) = text else { return Ok(policy) };
        let given: Map<String, Value> = serde_json::from_str(text).map_err(|_| wrong("invalid JSON"))?;
        for (name, value) in &given {
            let http = value.as_object().filter(|_| name == "http");
            let http = http.ok_or_else(|| wrong(&format!("unexpected element {name}")))?;
            for (part, value) in http {
                match part.as_str() {
                    "defaultHealthyRetryPolicy" => policy.read_retries(value)?,
                    "defaultThrottlePolicy" => policy.read_throttle(value)?,
                    "defaultRequestPolicy" => policy.read_request(value)?,
                    "disableSubscriptionOverrides" => {
                        policy.disables_overrides =
                            value.as_bool().ok_or_else(|| wrong("disableSubscriptionOverrides"))?;
                    }
                    "defaultSicklyRetryPolicy" if value.is_null() => {}
                    other => return Err(wrong(&format!("unexpected element {other}"))),
                }
            }
        }
        Ok(policy)
    }

    /// A subscription's policy over its topic's.
    pub fn of_subscription(self, text: Option<&str>) -> Result<DeliveryPolicy, Fault> {
        let mut policy = self;
        let Some(text) = text else { return Ok(policy) };
        let given: Map<String, Value> = serde_json::from_str(text).map_err(|_| wrong("invalid JSON"))?;
        let overrides = !policy.disables_overrides;
        for (part, value) in &given {
            match part.as_str() {
                "healthyRetryPolicy" if overrides => policy.read_retries(value)?,
                "throttlePolicy" if overrides => policy.read_throttle(value)?,
                "requestPolicy" if overrides => policy.read_request(value)?,
                "healthyRetryPolicy" | "throttlePolicy" | "requestPolicy" => {}
                "guaranteed" if *value == Value::Bool(false) => {}
                "sicklyRetryPolicy" if value.is_null() => {}
                other => return Err(wrong(&format!("unexpected element {other}"))),
            }
        }
        Ok(policy)
    }

    fn read_retries(&mut self, value: &Value) -> Result<(), Fault> {
        if value.is_null() {
            return Ok(());
        }
        let given = value.as_object().ok_or_else(|| wrong("healthyRetryPolicy must be an object"))?;
        let mut fresh = DeliveryPolicy::default();
        for (name, value) in given {
            let whole = |low: i64, high: i64| {
                value.as_i64().filter(|number| (low..=high).contains(number)).ok_or_else(|| {
                    wrong(&format!("{name} must be an integer between {low} and {high}, inclusive"))
                })
            };
            match name.as_str() {
                "minDelayTarget" => fresh.min_delay_s = whole(1, 3600)?,
                "maxDelayTarget" => fresh.max_delay_s = whole(1, 3600)?,
                "numRetries" => fresh.retries = whole(0, 100)?,
                "numNoDelayRetries" => fresh.no_delay_retries = whole(0, 100)?,
                "numMinDelayRetries" => fresh.min_delay_retries = whole(0, 100)?,
                "numMaxDelayRetries" => fresh.max_delay_retries = whole(0, 100)?,
                "backoffFunction" => fresh.function = function(value)?,
                other => return Err(wrong(&format!("unexpected element {other}"))),
            }
        }
        if fresh.min_delay_s > fresh.max_delay_s {
            return Err(wrong("minDelayTarget must not be greater than maxDelayTarget"));
        }
        if fresh.no_delay_retries + fresh.min_delay_retries + fresh.max_delay_retries > fresh.retries {
            return Err(wrong("numRetries must be the sum of the retries of all phases or more"));
        }
        if fresh.waits().iter().sum::<i64>() > MOST_TOTAL_S {
            return Err(wrong("the total of all waits must not be longer than 3600 seconds"));
        }
        *self = DeliveryPolicy {
            max_receives_per_second: self.max_receives_per_second,
            content_type: std::mem::take(&mut self.content_type),
            disables_overrides: self.disables_overrides,
            ..fresh
        };
        Ok(())
    }

    fn read_throttle(&mut self, value: &Value) -> Result<(), Fault> {
        match value.get("maxReceivesPerSecond") {
            _ if value.is_null() => Ok(()),
            None | Some(Value::Null) => Ok(()),
            Some(rate) => {
                let rate = rate.as_u64().filter(|rate| *rate >= 1).and_then(|rate| u32::try_from(rate).ok());
                let rate =
                    rate.ok_or_else(|| wrong("maxReceivesPerSecond must be an integer of 1 or more"))?;
                self.max_receives_per_second = Some(rate);
                Ok(())
            }
        }
    }

    fn read_request(&mut self, value: &Value) -> Result<(), Fault> {
        let Some(given) = value.get("headerContentType").and_then(Value::as_str) else { return Ok(()) };
        let base = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !CONTENT_TYPES.contains(&base.as_str()) || given.chars().any(char::is_control) {
            return Err(wrong("headerContentType is not a supported content type"));
        }
        self.content_type = given.into();
        Ok(())
    }

    /// Seconds before each retry.
    pub fn waits(&self) -> Vec<i64> {
        let backing_off =
            self.retries - self.no_delay_retries - self.min_delay_retries - self.max_delay_retries;
        let mut waits = Vec::new();
        waits.extend((0..self.no_delay_retries).map(|_| 0));
        waits.extend((0..self.min_delay_retries).map(|_| self.min_delay_s));
        waits.extend((0..backing_off).map(|step| self.backed_off(step, backing_off)));
        waits.extend((0..self.max_delay_retries).map(|_| self.max_delay_s));
        waits
    }

    fn backed_off(&self, step: i64, steps: i64) -> i64 {
        let (low, high) = (self.min_delay_s as f64, self.max_delay_s as f64);
        if steps < 2 {
            return self.min_delay_s;
        }
        let way = step as f64 / (steps - 1) as f64;
        let wait = match self.function.as_str() {
            "arithmetic" => low + (high - low) * way * (way + 1.0) / 2.0,
            "geometric" => low * (high / low).powf(way),
            "exponential" => low + (high - low) * (8_f64.powf(way) - 1.0) / 7.0,
            _ => low + (high - low) * way,
        };
        wait.round() as i64
    }

    /// For the delivery engine.
    pub fn policy(&self) -> Policy {
        let waits = self.waits();
        Policy {
            max_attempts: u32::try_from(waits.len()).unwrap_or(100) + 1,
            max_age_s: 86_400,
            backoff: Backoff::Fixed(waits),
        }
    }

    fn retry_part(&self) -> Value {
        json!({
            "minDelayTarget": self.min_delay_s,
            "maxDelayTarget": self.max_delay_s,
            "numRetries": self.retries,
            "numMaxDelayRetries": self.max_delay_retries,
            "numNoDelayRetries": self.no_delay_retries,
            "numMinDelayRetries": self.min_delay_retries,
            "backoffFunction": self.function,
        })
    }

    /// `EffectiveDeliveryPolicy` of a topic.
    pub fn effective_of_topic(&self) -> Value {
        let mut http = json!({
            "defaultHealthyRetryPolicy": self.retry_part(),
            "disableSubscriptionOverrides": self.disables_overrides,
        });
        if let Some(rate) = self.max_receives_per_second {
            http["defaultThrottlePolicy"] = json!({"maxReceivesPerSecond": rate});
        }
        http["defaultRequestPolicy"] = json!({"headerContentType": self.content_type});
        json!({"http": http})
    }

    /// `EffectiveDeliveryPolicy` of a subscription.
    pub fn effective_of_subscription(&self) -> Value {
        let throttle = self.max_receives_per_second.map(|rate| json!({"maxReceivesPerSecond": rate}));
        json!({
            "healthyRetryPolicy": self.retry_part(),
            "sicklyRetryPolicy": null,
            "throttlePolicy": throttle,
            "requestPolicy": {"headerContentType": self.content_type},
            "guaranteed": false,
        })
    }
}

fn function(value: &Value) -> Result<String, Fault> {
    match value.as_str() {
        Some(name @ ("linear" | "arithmetic" | "geometric" | "exponential")) => Ok(name.into()),
        _ => Err(wrong("backoffFunction must be one of linear, arithmetic, geometric, exponential")),
    }
}

fn wrong(why: &str) -> Fault {
    invalid(format!("DeliveryPolicy: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(retries: &str) -> Result<DeliveryPolicy, Fault> {
        DeliveryPolicy::default().of_subscription(Some(&format!(r#"{{"healthyRetryPolicy":{retries}}}"#)))
    }

    #[test]
    fn three_retries_twenty_seconds_apart_by_default() {
        assert_eq!(DeliveryPolicy::default().waits(), [20, 20, 20]);
        assert_eq!(DeliveryPolicy::default().policy().max_attempts, 4);
    }

    #[test]
    fn phases_follow_each_other() {
        let policy = of(
            r#"{"minDelayTarget":1,"maxDelayTarget":10,"numRetries":8,"numNoDelayRetries":2,"numMinDelayRetries":1,"numMaxDelayRetries":1,"backoffFunction":"linear"}"#,
        );
        assert_eq!(policy.unwrap().waits(), [0, 0, 1, 1, 4, 7, 10, 10]);
    }

    #[test]
    fn functions_run_from_the_least_to_the_longest_wait() {
        for function in ["linear", "arithmetic", "geometric", "exponential"] {
            let text = format!(
                r#"{{"minDelayTarget":2,"maxDelayTarget":100,"numRetries":10,"backoffFunction":"{function}"}}"#
            );
            let waits = of(&text).unwrap().waits();
            assert_eq!((waits[0], waits[9]), (2, 100), "{function}");
            assert!(waits.is_sorted(), "{function}: {waits:?}");
        }
    }

    #[test]
    fn what_aws_refuses_is_refused() {
        for wrong in [
            r#"{"minDelayTarget":0}"#,
            r#"{"minDelayTarget":30,"maxDelayTarget":20}"#,
            r#"{"numRetries":101}"#,
            r#"{"numRetries":1,"numNoDelayRetries":2}"#,
            r#"{"backoffFunction":"cubic"}"#,
            r#"{"minDelayTarget":3600,"maxDelayTarget":3600,"numRetries":50}"#,
            r#"{"retries":1}"#,
        ] {
            assert_eq!(of(wrong).unwrap_err().code(), "InvalidParameter", "{wrong}");
        }
    }

    #[test]
    fn a_topic_may_rule_for_its_subscriptions() {
        let topic =
            r#"{"http":{"defaultHealthyRetryPolicy":{"numRetries":1},"disableSubscriptionOverrides":true}}"#;
        let policy = DeliveryPolicy::of_topic(Some(topic)).unwrap();
        let own = policy.of_subscription(Some(r#"{"healthyRetryPolicy":{"numRetries":9}}"#)).unwrap();
        assert_eq!(own.retries, 1);
    }
}
