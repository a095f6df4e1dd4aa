//! Which protocols there are, and what their endpoints look like.

use tidemill_platform::{Arn, Cx, Fault};

use crate::{
    Sns,
    api::InvalidParameterException,
    phone,
    state::{TopicRow, invalid},
};

/// Checks the endpoint of a new subscription. That a queue or function exists is not asked, as SNS does not ask.
pub fn check(sns: &Sns, _: &Cx, topic: &TopicRow, protocol: &str, endpoint: &str) -> Result<(), Fault> {
    match protocol {
        "sqs" => check_queue(topic, endpoint),
        "lambda" => check_function(topic, endpoint),
        "http" | "https" => check_url(topic, protocol, endpoint),
        "firehose" if sns.delivery.takes("firehose") => Ok(()),
        "firehose" => Err(Fault::not_implemented("subscriptions of the protocol 'firehose'")),
        "email" | "email-json" => check_address(topic, protocol, endpoint),
        "sms" => check_phone(topic, endpoint),
        "application" => check_device(sns, topic, endpoint),
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

fn check_address(topic: &TopicRow, protocol: &str, endpoint: &str) -> Result<(), Fault> {
    let is_bad =
        |character: char| character.is_whitespace() || matches!(character, ',' | ';' | '<' | '>' | '"');
    let parts = endpoint.split_once('@').filter(|(name, host)| {
        !name.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && !host.starts_with('.')
            && !host.ends_with('.')
    });
    if parts.is_none()
        || endpoint.len() > 320
        || endpoint.contains(is_bad)
        || endpoint.contains(char::is_control)
    {
        return Err(invalid("Email address"));
    }
    fifo_takes_queues_only(topic, protocol)
}

/// Slashes, dots and hyphens may stand between digits, one at a time.
fn check_phone(topic: &TopicRow, endpoint: &str) -> Result<(), Fault> {
    let is_mark = |character: char| matches!(character, '.' | '/' | '-');
    let has_two =
        endpoint.as_bytes().windows(2).any(|pair| pair.iter().all(|byte| is_mark(char::from(*byte))));
    let plain = endpoint.replace(is_mark, "");
    if has_two || endpoint.starts_with(is_mark) || endpoint.ends_with(is_mark) || !phone::is_number(&plain) {
        return Err(InvalidParameterException::new(format!("Invalid SMS endpoint: {endpoint}")).into());
    }
    fifo_takes_queues_only(topic, "sms")
}

fn check_device(sns: &Sns, topic: &TopicRow, endpoint: &str) -> Result<(), Fault> {
    let arn: Option<Arn> = endpoint.parse().ok();
    if !arn.is_some_and(|arn| arn.service == "sns" && arn.resource.starts_with("endpoint/")) {
        return Err(invalid("Application endpoint arn invalid"));
    }
    if sns.device(endpoint)?.is_none() {
        return Err(invalid(format!("Endpoint Reason: Endpoint does not exist for endpoint arn {endpoint}")));
    }
    fifo_takes_queues_only(topic, "application")
}

fn fifo_takes_queues_only(topic: &TopicRow, protocol: &str) -> Result<(), Fault> {
    if topic.is_fifo {
        return Err(invalid(format!(
            "Invalid protocol type: {protocol}, FIFO topics support only SQS queues"
        )));
    }
    Ok(())
}
