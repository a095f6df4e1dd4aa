//! Kinds of event sources, and which options each of them knows.
//!
//! What AWS has and this platform does not is refused by its name; what AWS itself does not take for a kind of source is
//! refused as AWS does. Source: "Lambda parameters" of each event source in the Lambda developer guide.

use tidemill_platform::Fault;

use crate::{
    Lambda,
    api::{CreateEventSourceMappingRequest, InvalidParameterValueException, UpdateEventSourceMappingRequest},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Queue,
    Stream,
}

pub fn is_queue(source_arn: &str) -> bool {
    service(source_arn) == "sqs"
}

/// Streams of tables know no times to begin at.
pub fn is_table(source_arn: &str) -> bool {
    service(source_arn) == "dynamodb"
}

fn service(arn: &str) -> &str {
    arn.split(':').nth(2).unwrap_or_default()
}

pub fn kind(lambda: &Lambda, source_arn: &str) -> Result<Kind, Fault> {
    if is_queue(source_arn) {
        return Ok(Kind::Queue);
    }
    if lambda.streams.source_of(source_arn).is_some() {
        return Ok(Kind::Stream);
    }
    let missing = match service(source_arn) {
        "kinesis" => "Amazon Kinesis",
        "kafka" => "Amazon MSK (Kafka)",
        "mq" => "Amazon MQ",
        "rds" => "Amazon DocumentDB",
        _ => return Err(unrecognized()),
    };
    Err(Fault::not_implemented(format!("event source mappings of {missing}")))
}

pub fn unrecognized() -> Fault {
    InvalidParameterValueException::new("Unrecognized event source.").into()
}

/// An option that a request carries.
struct Asked {
    name: &'static str,
    /// The kinds of sources that know it, on AWS.
    known_to: &'static [Kind],
    /// Whether it does anything here.
    honoured: bool,
}

const QUEUES: &[Kind] = &[Kind::Queue];
const STREAMS: &[Kind] = &[Kind::Stream];
const BOTH: &[Kind] = &[Kind::Queue, Kind::Stream];
const OTHERS: &[Kind] = &[];

/// The options that a request to create or to update carries, as far as not every source knows them.
macro_rules! asked {
    ($input:expr) => {
        [
            (STREAMS, true, "ParallelizationFactor", $input.parallelization_factor.is_some()),
            (STREAMS, true, "MaximumRetryAttempts", $input.maximum_retry_attempts.is_some()),
            (STREAMS, true, "MaximumRecordAgeInSeconds", $input.maximum_record_age_in_seconds.is_some()),
            (STREAMS, true, "BisectBatchOnFunctionError", $input.bisect_batch_on_function_error.is_some()),
            (
                STREAMS,
                true,
                "TumblingWindowInSeconds",
                $input.tumbling_window_in_seconds.is_some_and(|seconds| seconds > 0),
            ),
            (STREAMS, true, "DestinationConfig", $input.destination_config.is_some()),
            (
                OTHERS,
                true,
                "DestinationConfig",
                $input.destination_config.as_ref().is_some_and(|to| to.on_success.is_some()),
            ),
            (
                QUEUES,
                true,
                "ScalingConfig",
                $input.scaling_config.as_ref().is_some_and(|scaling| scaling.maximum_concurrency.is_some()),
            ),
            (
                QUEUES,
                false,
                "ProvisionedPollerConfig",
                $input.provisioned_poller_config.as_ref().is_some_and(|pollers| {
                    pollers.minimum_pollers.or(pollers.maximum_pollers).is_some()
                        || pollers.poller_group_name.is_some()
                }),
            ),
            (
                BOTH,
                false,
                "MetricsConfig",
                $input
                    .metrics_config
                    .as_ref()
                    .and_then(|c| c.metrics.as_ref())
                    .is_some_and(|m| !m.is_empty()),
            ),
            (BOTH, false, "KMSKeyArn", $input.kms_key_arn.as_ref().is_some_and(|arn| !arn.is_empty())),
            (
                OTHERS,
                true,
                "LoggingConfig",
                $input.logging_config.as_ref().is_some_and(|logging| logging.system_log_level.is_some()),
            ),
            (
                OTHERS,
                true,
                "SourceAccessConfigurations",
                $input.source_access_configurations.as_ref().is_some_and(|list| !list.is_empty()),
            ),
            (
                OTHERS,
                true,
                "AmazonManagedKafkaEventSourceConfig",
                $input.amazon_managed_kafka_event_source_config.is_some(),
            ),
            (
                OTHERS,
                true,
                "SelfManagedKafkaEventSourceConfig",
                $input.self_managed_kafka_event_source_config.is_some(),
            ),
            (OTHERS, true, "DocumentDBEventSourceConfig", $input.document_db_event_source_config.is_some()),
        ]
    };
}

/// Refuses what a source of this kind does not know, and what this platform does not honour.
pub fn check_new(kind: Kind, input: &CreateEventSourceMappingRequest) -> Result<(), Fault> {
    check(kind, asked!(input))?;
    check(
        kind,
        [
            (OTHERS, true, "Topics", input.topics.is_some()),
            (OTHERS, true, "Queues", input.queues.is_some()),
            (OTHERS, true, "SelfManagedEventSource", input.self_managed_event_source.is_some()),
        ],
    )
}

pub fn check_change(kind: Kind, input: &UpdateEventSourceMappingRequest) -> Result<(), Fault> {
    check(kind, asked!(input))
}

type Carried = (&'static [Kind], bool, &'static str, bool);

fn check(kind: Kind, all: impl IntoIterator<Item = Carried>) -> Result<(), Fault> {
    let asked = all.into_iter().filter(|(.., carried)| *carried);
    asked
        .map(|(known_to, honoured, name, _)| Asked { name, known_to, honoured })
        .try_for_each(|option| option.check(kind))
}

impl Asked {
    fn check(&self, kind: Kind) -> Result<(), Fault> {
        if !self.known_to.contains(&kind) {
            let sentence =
                format!("Unsupported {} parameter for given event source mapping type.", self.name);
            return Err(InvalidParameterValueException::new(sentence).into());
        }
        if !self.honoured {
            return Err(Fault::not_implemented(format!("event source mappings with {}", self.name)));
        }
        Ok(())
    }
}
