//! The settings of mappings: from requests, with Lambda's defaults and refusals, and back to the caller.

use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Lambda,
    api::{
        CreateEventSourceMappingRequest, DestinationConfig, EventSourceMappingConfiguration,
        EventSourcePosition, Filter, FilterCriteria, FunctionResponseType, InvalidParameterValueException,
        OnFailure, ScalingConfig, UpdateEventSourceMappingRequest,
    },
    destinations,
    mappings::{
        MappingRow,
        filters::{self, Filters},
        sources::{self, Kind},
    },
    names::Named,
    tags,
};

/// Batches of queues and streams (Lambda's defaults), and the most that FIFO queues give.
const QUEUE_BATCH: i32 = 10;
const STREAM_BATCH: i32 = 100;
const FIFO_BATCH: i32 = 10;
/// Filters of a mapping (Lambda's default quota).
const MOST_FILTERS: usize = 5;

pub fn fresh(lambda: &Lambda, cx: &Cx, input: CreateEventSourceMappingRequest) -> Result<MappingRow, Fault> {
    let source_arn = match &input.event_source_arn {
        Some(arn) => arn.clone(),
        None if input.self_managed_event_source.is_some() => {
            return Err(Fault::not_implemented("event source mappings of self-managed Apache Kafka"));
        }
        None => return Err(sources::unrecognized()),
    };
    let kind = sources::kind(lambda, &source_arn)?;
    let start = match kind {
        Kind::Queue => no_start(&input)?,
        Kind::Stream => start(&source_arn, &input)?,
    };
    sources::check_new(kind, &input)?;
    let queue = kind == Kind::Queue;
    let named = Named::read(cx, &input.function_name, None)?;
    let row = MappingRow {
        uuid: cx.random().uuid(),
        account: cx.account().into(),
        region: cx.region().into(),
        source_arn,
        function_arn: named.qualified_arn(),
        enabled: input.enabled.unwrap_or(true),
        batch_size: input.batch_size.unwrap_or(if queue { QUEUE_BATCH } else { STREAM_BATCH }),
        window_s: input.maximum_batching_window_in_seconds.unwrap_or(0),
        lanes: input.parallelization_factor.unwrap_or(1),
        start,
        retries: input.maximum_retry_attempts.unwrap_or(-1),
        max_age_s: input.maximum_record_age_in_seconds.unwrap_or(-1),
        bisect: input.bisect_batch_on_function_error.unwrap_or(false),
        on_failure: failure_destination(input.destination_config),
        reports_failures: input
            .function_response_types
            .is_some_and(|types| types.contains(&FunctionResponseType::ReportBatchItemFailures)),
        filters: patterns(input.filter_criteria)?,
        modified_at: cx.now().millis(),
        max_concurrency: input.scaling_config.and_then(|scaling| scaling.maximum_concurrency),
        tags: input.tags.unwrap_or_default(),
        tumbling_s: input.tumbling_window_in_seconds.unwrap_or(0),
        last_result: String::new(),
    };
    tags::check(&row.tags)?;
    check(lambda, cx, &row)?;
    Ok(row)
}

/// Queues have no position.
fn no_start(input: &CreateEventSourceMappingRequest) -> Result<String, Fault> {
    if input.starting_position.is_some() {
        return Err(invalid("StartingPosition is not valid for SQS event sources.").into());
    }
    no_time(input)?;
    Ok(String::new())
}

fn start(source_arn: &str, input: &CreateEventSourceMappingRequest) -> Result<String, Fault> {
    match &input.starting_position {
        None => Err(invalid("1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.").into()),
        Some(EventSourcePosition::AtTimestamp) if sources::is_table(source_arn) => {
            Err(invalid(&format!("Unsupported starting position for arn type: {source_arn}")).into())
        }
        Some(EventSourcePosition::AtTimestamp) => {
            Err(Fault::not_implemented("event source mappings with StartingPosition AT_TIMESTAMP"))
        }
        Some(start) => no_time(input).map(|()| start.to_string()),
    }
}

fn no_time(input: &CreateEventSourceMappingRequest) -> Result<(), Fault> {
    match input.starting_position_timestamp {
        Some(_) => Err(invalid("Timestamp only valid with StartingPosition AT_TIMESTAMP").into()),
        None => Ok(()),
    }
}

pub fn changed(
    lambda: &Lambda,
    cx: &Cx,
    there: &MappingRow,
    input: UpdateEventSourceMappingRequest,
) -> Result<MappingRow, Fault> {
    sources::check_change(if there.is_queue() { Kind::Queue } else { Kind::Stream }, &input)?;
    let function_arn = match input.function_name {
        Some(name) => Named::read(cx, &name, None)?.qualified_arn(),
        None => there.function_arn.clone(),
    };
    let row = MappingRow {
        function_arn,
        enabled: input.enabled.unwrap_or(there.enabled),
        batch_size: input.batch_size.unwrap_or(there.batch_size),
        window_s: input.maximum_batching_window_in_seconds.unwrap_or(there.window_s),
        lanes: input.parallelization_factor.unwrap_or(there.lanes),
        retries: input.maximum_retry_attempts.unwrap_or(there.retries),
        max_age_s: input.maximum_record_age_in_seconds.unwrap_or(there.max_age_s),
        bisect: input.bisect_batch_on_function_error.unwrap_or(there.bisect),
        on_failure: if input.destination_config.is_some() {
            failure_destination(input.destination_config)
        } else {
            there.on_failure.clone()
        },
        reports_failures: input.function_response_types.map_or(there.reports_failures, |types| {
            types.contains(&FunctionResponseType::ReportBatchItemFailures)
        }),
        filters: if input.filter_criteria.is_some() {
            patterns(input.filter_criteria)?
        } else {
            there.filters.clone()
        },
        modified_at: cx.now().millis(),
        tumbling_s: input.tumbling_window_in_seconds.unwrap_or(there.tumbling_s),
        // An empty scaling configuration takes the limit away.
        max_concurrency: input
            .scaling_config
            .map_or(there.max_concurrency, |scaling| scaling.maximum_concurrency),
        ..there.clone()
    };
    check(lambda, cx, &row)?;
    Ok(row)
}

fn check(lambda: &Lambda, cx: &Cx, row: &MappingRow) -> Result<(), Fault> {
    let none = || Fault::from(invalid("Function does not exist"));
    let named = Named::read(cx, &row.function_arn, None)?;
    let function = lambda.get(&named).map_err(|_| none())?;
    let (_, configuration) = function.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(none)?;
    Filters::parse(&row.filters)?;
    if row.filters.len() > MOST_FILTERS {
        let sentence = format!("A mapping has {MOST_FILTERS} filters at most.");
        return Err(invalid(&sentence).into());
    }
    if row.is_queue() {
        check_queue(lambda, row, configuration.timeout_s)?;
    } else {
        check_stream(lambda, row)?;
    }
    check_destination(lambda, row.on_failure.as_deref())
}

/// Streams tell queues, topics and buckets what they gave up.
fn check_destination(lambda: &Lambda, arn: Option<&str>) -> Result<(), Fault> {
    let Some(arn) = arn else { return Ok(()) };
    if arn.starts_with("kafka:") {
        return Err(Fault::not_implemented("Kafka topics as failure destinations"));
    }
    let service = arn.split(':').nth(2).unwrap_or_default();
    if !matches!(service, "sqs" | "sns" | "s3") {
        let sentence = format!(
            "The provided destination config DestinationConfig(onSuccess=null, onFailure=OnFailure(destination={arn})) is invalid."
        );
        return Err(invalid(&sentence).into());
    }
    destinations::expect(lambda, arn)
}

fn check_stream(lambda: &Lambda, row: &MappingRow) -> Result<(), Fault> {
    if let Some(source) = lambda.streams.source_of(&row.source_arn) {
        source
            .shards(&row.source_arn)
            .map_err(|_| Fault::from(invalid(&format!("Stream not found: {}", row.source_arn))))?;
    }
    if row.max_age_s != -1 && row.max_age_s < 60 {
        return Err(invalid("MaximumRecordAgeInSeconds must be either -1 or between 60 and 604800.").into());
    }
    Ok(())
}

fn check_queue(lambda: &Lambda, row: &MappingRow, timeout_s: i32) -> Result<(), Fault> {
    let queues = lambda.platform.doors.queues.ask("SQS")?;
    let queue = queues.describe(&row.source_arn).ok_or_else(|| invalid("Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist."))?;
    if queue.is_fifo && row.batch_size > FIFO_BATCH {
        let sentence = format!("Batch size for FIFO queues cannot be greater than {FIFO_BATCH}.");
        return Err(invalid(&sentence).into());
    }
    if queue.is_fifo && row.window_s > 0 {
        return Err(invalid("Batching window is not supported for FIFO queues").into());
    }
    if row.batch_size > 10 && row.window_s == 0 {
        return Err(invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        )
        .into());
    }
    if queue.visibility_s < i64::from(timeout_s) {
        let sentence = format!(
            "Queue visibility timeout: {} seconds is less than Function timeout: {timeout_s} seconds",
            queue.visibility_s
        );
        return Err(invalid(&sentence).into());
    }
    Ok(())
}

fn failure_destination(config: Option<DestinationConfig>) -> Option<String> {
    config?.on_failure?.destination.filter(|arn| !arn.is_empty())
}

fn patterns(criteria: Option<FilterCriteria>) -> Result<Vec<String>, Fault> {
    let filters = criteria.and_then(|criteria| criteria.filters).unwrap_or_default();
    filters.into_iter().map(|filter| filter.pattern.ok_or_else(filters::invalid)).collect()
}

pub fn wire(row: &MappingRow, state: &str) -> EventSourceMappingConfiguration {
    let filters = row.filters.iter().map(|pattern| Filter { pattern: Some(pattern.clone()) }).collect();
    let common = EventSourceMappingConfiguration {
        uuid: Some(row.uuid.clone()),
        batch_size: Some(row.batch_size),
        maximum_batching_window_in_seconds: Some(row.window_s),
        event_source_arn: Some(row.source_arn.clone()),
        filter_criteria: (!row.filters.is_empty()).then_some(FilterCriteria { filters: Some(filters) }),
        function_arn: Some(row.function_arn.clone()),
        last_modified: Some(Timestamp::from_millis(row.modified_at)),
        state: Some(state.into()),
        function_response_types: Some(if row.reports_failures {
            vec![FunctionResponseType::ReportBatchItemFailures]
        } else {
            Vec::new()
        }),
        event_source_mapping_arn: Some(format!(
            "arn:aws:lambda:{}:{}:event-source-mapping:{}",
            row.region, row.account, row.uuid
        )),
        ..EventSourceMappingConfiguration::default()
    };
    if row.is_queue() { wire_queue(row, common) } else { wire_stream(row, common) }
}

fn wire_queue(row: &MappingRow, common: EventSourceMappingConfiguration) -> EventSourceMappingConfiguration {
    EventSourceMappingConfiguration {
        state_transition_reason: Some("USER_INITIATED".into()),
        scaling_config: row.max_concurrency.map(|most| ScalingConfig { maximum_concurrency: Some(most) }),
        ..common
    }
}

fn wire_stream(row: &MappingRow, common: EventSourceMappingConfiguration) -> EventSourceMappingConfiguration {
    let on_failure = OnFailure { destination: row.on_failure.clone() };
    EventSourceMappingConfiguration {
        starting_position: Some(row.start.as_str().into()),
        parallelization_factor: Some(row.lanes),
        last_processing_result: Some(match row.last_result.as_str() {
            "" => "No records processed".into(),
            result => result.into(),
        }),
        state_transition_reason: Some("User action".into()),
        destination_config: Some(DestinationConfig { on_success: None, on_failure: Some(on_failure) }),
        maximum_record_age_in_seconds: Some(row.max_age_s),
        bisect_batch_on_function_error: Some(row.bisect),
        maximum_retry_attempts: Some(row.retries),
        tumbling_window_in_seconds: Some(row.tumbling_s),
        ..common
    }
}

fn invalid(sentence: &str) -> InvalidParameterValueException {
    InvalidParameterValueException::new(sentence)
}
