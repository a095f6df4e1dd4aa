//! Which protocols there are, and what their endpoints look like.

use tidemill_platform::{Arn, Cx, Fault};

use crate::{
    Sns,
    state::{TopicRow, invalid},
};

/// Checks the endpoint of a new subscription. That it exists is not asked, as SNS does not ask.
pub fn check(sns: &Sns, _: &Cx, topic: &TopicRow, protocol: &str, endpoint: &str) -> Result<(), Fault> {
    match protocol {
        "sqs" => check_queue(topic, endpoint),
        "lambda" => check_function(topic, endpoint),
        "http" | "https" => check_url(topic, protocol, endpoint),
        "firehose" if sns.delivery.takes("firehose") => Ok(()),
        "email" | "email-json" | "sms" | "application" | "firehose" => {
            Err(Fault::not_implemented(format!("subscriptions of the protocol '{protocol}'")))
        }
        _ => Err(invalid(format!("Amazon SNS does not support this protocol string: {protocol}"))),
    }
}

fn check_queue(topic: &TopicRow, endpoint: &str) -> Result<(), Fault> {
    let arn: Arn = endpoint.parse().map_err(|_| invalid("SQS endpoint ARN"))?;
    if arn.service != "sqs" || arn.resource.contains([':', '/']) {
        return Err(invalid("SQS endpoint ARN"));
    }
    if arn.resource.ends_with(".fifo") && !topic.is_fifo {
        return Err(invalid(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        ));
    }
    Ok(())
}

fn check_function(topic: &TopicRow, endpoint: &str) -> Result<(), Fault> {
    let arn: Arn = endpoint.parse().map_err(|_| invalid("Lambda endpoint ARN"))?;
    if arn.service != "lambda" || !arn.resource.starts_with("function:") {
        return Err(invalid("Lambda endpoint ARN"));
    }
    fifo_takes_queues_only(topic, "lambda")
}

fn check_url(topic: &TopicRow, protocol: &str, endpoint: &str) -> Result<(), Fault> {
    let is_url = endpoint
        .strip_prefix(protocol)
        .and_then(|rest| rest.strip_prefix("://"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if !is_url || endpoint.parse::<http::Uri>().is_err() {
        return Err(invalid("Endpoint must match the specified protocol"));
    }
    fifo_takes_queues_only(topic, protocol)
}

fn fifo_takes_queues_only(topic: &TopicRow, protocol: &str) -> Result<(), Fault> {
    if topic.is_fifo {
        return Err(invalid(format!(
            "Invalid protocol type: {protocol}, FIFO topics support only SQS queues"
        )));
    }
    Ok(())
}
