//! Targets and their parameters. Those that take one event at a time, and those that take a batch as a JSON array; how
//! many events a batch may have is the target's. Source: "Amazon EventBridge Pipes targets" and "batching and concurrency".

use tidemill_platform::{Arn, Fault};

use crate::{
    api,
    api::{PipeTargetInvocationType, PipeTargetParameters},
    http::{Http, is_destination},
    settings::Setting,
};

pub enum Target {
    /// Gets the batch as one JSON array.
    Function {
        waits: bool,
    },
    Queue {
        is_fifo: bool,
        group: Option<Setting>,
        dedup: Option<Setting>,
    },
    Topic,
    Bus(Bus),
    /// Gets one event at a time, and is waited for.
    Destination(Http),
    LogGroup {
        group: String,
        stream: Setting,
        at: Option<Setting>,
    },
}

/// What becomes the envelope of an event.
pub struct Bus {
    pub detail_type: Setting,
    pub source: Setting,
    pub resources: Vec<Setting>,
    pub at: Option<Setting>,
}

/// What AWS names an event after when the pipe does not say.
pub struct Names<'a> {
    pub pipe: &'a str,
    pub source_service: &'a str,
}

/// Services that are targets on AWS and not here.
const ELSEWHERE: &[&str] = &[
    "batch",
    "ecs",
    "execute-api",
    "firehose",
    "inspector",
    "kinesis",
    "redshift",
    "sagemaker",
    "states",
    "timestream",
];

impl Target {
    pub fn parse(names: &Names<'_>, arn: &Arn, given: &PipeTargetParameters) -> Result<Target, Fault> {
        check_blocks(arn, given)?;
        match arn.service.as_str() {
            "lambda" => Ok(function(given)),
            "sqs" => queue(arn, given.sqs_queue_parameters.as_ref()),
            "sns" if arn.resource.ends_with(".fifo") => {
                Err(Fault::validation("FIFO topics are not supported as targets of pipes."))
            }
            "sns" => Ok(Target::Topic),
            "events" if arn.resource.starts_with("api-destination/") => {
                http(given.http_parameters.as_ref()).map(Target::Destination)
            }
            "events" => bus(names, given.event_bridge_event_bus_parameters.as_ref()).map(Target::Bus),
            "logs" => log_group(arn, given.cloud_watch_logs_parameters.as_ref()),
            other if ELSEWHERE.contains(&other) => Err(Fault::not_implemented(format!("pipes to {other}"))),
            other => Err(Fault::validation(format!("{other} is not a supported target of pipes."))),
        }
    }
}

/// How many events a target or an enrichment takes at once. Source: "Supported batchable targets" in "Amazon EventBridge
/// Pipes batching and concurrency".
pub fn most_events(arn: &str) -> usize {
    match arn.split(':').nth(2).unwrap_or_default() {
        "events" if arn.contains(":api-destination/") => 1,
        "sqs" | "sns" | "events" => 10,
        _ => 10_000,
    }
}

/// Each block of parameters belongs to targets of one service.
fn check_blocks(arn: &Arn, given: &PipeTargetParameters) -> Result<(), Fault> {
    let kind = if is_destination(arn) { "api-destination" } else { arn.service.as_str() };
    for (what, is_given, of) in [
        ("LambdaFunctionParameters", given.lambda_function_parameters.is_some(), "lambda"),
        ("SqsQueueParameters", given.sqs_queue_parameters.is_some(), "sqs"),
        ("EventBridgeEventBusParameters", given.event_bridge_event_bus_parameters.is_some(), "events"),
        ("CloudWatchLogsParameters", given.cloud_watch_logs_parameters.is_some(), "logs"),
        ("HttpParameters", given.http_parameters.is_some(), "api-destination"),
        (
            "StepFunctionStateMachineParameters",
            given.step_function_state_machine_parameters.is_some(),
            "states",
        ),
        ("KinesisStreamParameters", given.kinesis_stream_parameters.is_some(), "kinesis"),
        ("EcsTaskParameters", given.ecs_task_parameters.is_some(), "ecs"),
        ("BatchJobParameters", given.batch_job_parameters.is_some(), "batch"),
        ("RedshiftDataParameters", given.redshift_data_parameters.is_some(), "redshift"),
        ("SageMakerPipelineParameters", given.sage_maker_pipeline_parameters.is_some(), "sagemaker"),
        ("TimestreamParameters", given.timestream_parameters.is_some(), "timestream"),
    ] {
        let is_gateway = what == "HttpParameters" && kind == "execute-api";
        if is_given && kind != of && !is_gateway {
            return Err(Fault::validation(format!("{what} are not supported for a target of {kind}.")));
        }
    }
    Ok(())
}

fn function(given: &PipeTargetParameters) -> Target {
    let invocation = given.lambda_function_parameters.as_ref().and_then(|one| one.invocation_type.as_ref());
    Target::Function { waits: invocation != Some(&PipeTargetInvocationType::FireAndForget) }
}

fn http(given: Option<&api::PipeTargetHttpParameters>) -> Result<Http, Fault> {
    let given = given.cloned().unwrap_or_default();
    Http::parse(
        given.path_parameter_values.unwrap_or_default(),
        given.header_parameters.unwrap_or_default(),
        given.query_string_parameters.unwrap_or_default(),
    )
}

fn queue(arn: &Arn, given: Option<&api::PipeTargetSqsQueueParameters>) -> Result<Target, Fault> {
    let is_fifo = arn.resource.ends_with(".fifo");
    let group = Setting::parse_some("MessageGroupId", given.and_then(|one| one.message_group_id.as_ref()))?;
    let dedup = given.and_then(|one| one.message_deduplication_id.as_ref());
    let dedup = Setting::parse_some("MessageDeduplicationId", dedup)?;
    if is_fifo && group.is_none() {
        return Err(Fault::validation("MessageGroupId is required for a FIFO queue as the target."));
    }
    if !is_fifo && dedup.is_some() {
        return Err(Fault::validation("MessageDeduplicationId is only supported for FIFO queues."));
    }
    Ok(Target::Queue { is_fifo, group, dedup })
}

fn bus(
    names: &Names<'_>,
    given: Option<&api::PipeTargetEventBridgeEventBusParameters>,
) -> Result<Bus, Fault> {
    let given = given.cloned().unwrap_or_default();
    if given.endpoint_id.is_some() {
        return Err(Fault::not_implemented("pipes to a global endpoint (EndpointId)"));
    }
    let resources = given.resources.unwrap_or_default();
    Ok(Bus {
        detail_type: default_to(
            "DetailType",
            given.detail_type,
            &format!("Event from aws:{}", names.source_service),
        )?,
        source: default_to("Source", given.source, &format!("Pipe {}", names.pipe))?,
        resources: resources.iter().map(|one| Setting::parse("Resources", one)).collect::<Result<_, _>>()?,
        at: Setting::parse_some("Time", given.time.as_ref())?,
    })
}

fn default_to(name: &str, given: Option<String>, default: &str) -> Result<Setting, Fault> {
    Setting::parse(name, given.as_deref().filter(|text| !text.is_empty()).unwrap_or(default))
}

fn log_group(arn: &Arn, given: Option<&api::PipeTargetCloudWatchLogsParameters>) -> Result<Target, Fault> {
    let stream = given.and_then(|one| one.log_stream_name.as_ref());
    let stream = Setting::parse_some("LogStreamName", stream)?
        .ok_or_else(|| Fault::validation("LogStreamName is required for a log group as the target."))?;
    let group = arn.resource.trim_start_matches("log-group:").trim_end_matches(":*").to_string();
    let at = Setting::parse_some("Timestamp", given.and_then(|one| one.timestamp.as_ref()))?;
    Ok(Target::LogGroup { group, stream, at })
}
