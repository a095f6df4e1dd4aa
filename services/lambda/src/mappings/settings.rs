//! The settings of mappings: from requests, with Lambda's defaults and refusals, and back to the caller.

use tidemill_event_pattern::Pattern;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Lambda,
    api::{
        CreateEventSourceMappingRequest, DestinationConfig, EventSourceMappingConfiguration,
        EventSourcePosition, Filter, FilterCriteria, FunctionResponseType, InvalidParameterValueException,
        OnFailure, UpdateEventSourceMappingRequest,
    },
    mappings::MappingRow,
    names::Named,
};

pub fn fresh(lambda: &Lambda, cx: &Cx, input: CreateEventSourceMappingRequest) -> Result<MappingRow, Fault> {
    refuse(&[
        (
            "self-managed and Kafka sources",
            input.self_managed_event_source.is_some()
                || input.topics.is_some()
                || input.amazon_managed_kafka_event_source_config.is_some(),
        ),
        ("Queues (Amazon MQ)", input.queues.is_some()),
        ("DocumentDBEventSourceConfig", input.document_db_event_source_config.is_some()),
        ("TumblingWindowInSeconds", input.tumbling_window_in_seconds.is_some_and(|s| s > 0)),
        ("KMSKeyArn", input.kms_key_arn.is_some()),
        ("ProvisionedPollerConfig", input.provisioned_poller_config.is_some()),
        ("Tags of mappings", input.tags.as_ref().is_some_and(|tags| !tags.is_empty())),
        ("ScalingConfig for this source", input.scaling_config.is_some()),
        (
            "DestinationConfig.OnSuccess of mappings",
            input.destination_config.as_ref().is_some_and(|d| d.on_success.is_some()),
        ),
        ("StartingPosition AT_TIMESTAMP", input.starting_position == Some(EventSourcePosition::AtTimestamp)),
    ])?;
    let named = Named::read(cx, &input.function_name, None)?;
    let source_arn = input.event_source_arn.ok_or_else(|| invalid("Event source ARN is required."))?;
    if lambda.streams.source_of(&source_arn).is_none() {
        let service = source_arn.split(':').nth(2).unwrap_or_default();
        return Err(Fault::not_implemented(format!("event source mappings for {service}")));
    }
    let start = input.starting_position.ok_or_else(|| invalid("1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."))?;
    let row = MappingRow {
        uuid: cx.random().uuid(),
        account: cx.account().into(),
        region: cx.region().into(),
        source_arn,
        function_arn: named.qualified_arn(),
        enabled: input.enabled.unwrap_or(true),
        batch_size: input.batch_size.unwrap_or(100),
        window_s: input.maximum_batching_window_in_seconds.unwrap_or(0),
        lanes: input.parallelization_factor.unwrap_or(1),
        start: start.to_string(),
        retries: input.maximum_retry_attempts.unwrap_or(-1),
        max_age_s: input.maximum_record_age_in_seconds.unwrap_or(-1),
        bisect: input.bisect_batch_on_function_error.unwrap_or(false),
        on_failure: failure_destination(input.destination_config),
        reports_failures: input
            .function_response_types
            .is_some_and(|types| types.contains(&FunctionResponseType::ReportBatchItemFailures)),
        filters: patterns(input.filter_criteria),
        modified_at: cx.now().millis(),
    };
    check(lambda, cx, &row)?;
    Ok(row)
}

pub fn changed(
    lambda: &Lambda,
    cx: &Cx,
    there: &MappingRow,
    input: UpdateEventSourceMappingRequest,
) -> Result<MappingRow, Fault> {
    refuse(&[
        ("TumblingWindowInSeconds", input.tumbling_window_in_seconds.is_some_and(|s| s > 0)),
        ("KMSKeyArn", input.kms_key_arn.is_some()),
        ("ScalingConfig for this source", input.scaling_config.is_some()),
        (
            "DestinationConfig.OnSuccess of mappings",
            input.destination_config.as_ref().is_some_and(|d| d.on_success.is_some()),
        ),
    ])?;
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
            patterns(input.filter_criteria)
        } else {
            there.filters.clone()
        },
        modified_at: cx.now().millis(),
        ..there.clone()
    };
    check(lambda, cx, &row)?;
    Ok(row)
}

fn check(lambda: &Lambda, cx: &Cx, row: &MappingRow) -> Result<(), Fault> {
    let named = Named::read(cx, &row.function_arn, None)?;
    if !lambda.get(&named)?.has(named.qualifier.as_deref()) {
        return Err(named.not_found());
    }
    if let Some(source) = lambda.streams.source_of(&row.source_arn) {
        source
            .shards(&row.source_arn)
            .map_err(|_| Fault::from(invalid(&format!("Stream not found: {}", row.source_arn))))?;
    }
    if row.batch_size > 10 && row.window_s == 0 && row.source_arn.contains(":sqs:") {
        return Err(invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        )
        .into());
    }
    if row.max_age_s != -1 && row.max_age_s < 60 {
        return Err(invalid("MaximumRecordAgeInSeconds must be either -1 or between 60 and 604800.").into());
    }
    for pattern in &row.filters {
        Pattern::parse(pattern).map_err(|_| Fault::from(invalid("Invalid filter pattern definition.")))?;
    }
    if let Some(arn) = &row.on_failure {
        let service = arn.split(':').nth(2).unwrap_or_default();
        if !lambda.delivery.takes(service) {
            return Err(Fault::not_implemented(format!("delivery to {service} as a failure destination")));
        }
    }
    Ok(())
}

fn failure_destination(config: Option<DestinationConfig>) -> Option<String> {
    config?.on_failure?.destination.filter(|arn| !arn.is_empty())
}

fn patterns(criteria: Option<FilterCriteria>) -> Vec<String> {
    criteria
        .and_then(|criteria| criteria.filters)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|filter| filter.pattern)
        .collect()
}

pub fn wire(row: &MappingRow, state: &str) -> EventSourceMappingConfiguration {
    let filters = row.filters.iter().map(|pattern| Filter { pattern: Some(pattern.clone()) }).collect();
    let on_failure = OnFailure { destination: row.on_failure.clone() };
    EventSourceMappingConfiguration {
        uuid: Some(row.uuid.clone()),
        starting_position: Some(row.start.as_str().into()),
        batch_size: Some(row.batch_size),
        maximum_batching_window_in_seconds: Some(row.window_s),
        parallelization_factor: Some(row.lanes),
        event_source_arn: Some(row.source_arn.clone()),
        filter_criteria: (!row.filters.is_empty()).then_some(FilterCriteria { filters: Some(filters) }),
        function_arn: Some(row.function_arn.clone()),
        last_modified: Some(Timestamp::from_millis(row.modified_at)),
        last_processing_result: Some("No records processed".into()),
        state: Some(state.into()),
        state_transition_reason: Some("User action".into()),
        destination_config: Some(DestinationConfig { on_success: None, on_failure: Some(on_failure) }),
        maximum_record_age_in_seconds: Some(row.max_age_s),
        bisect_batch_on_function_error: Some(row.bisect),
        maximum_retry_attempts: Some(row.retries),
        tumbling_window_in_seconds: Some(0),
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
    }
}

fn invalid(sentence: &str) -> InvalidParameterValueException {
    InvalidParameterValueException::new(sentence)
}

fn refuse(asked: &[(&str, bool)]) -> Result<(), Fault> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(Fault::not_implemented(format!("event source mappings with {what}"))),
        None => Ok(()),
    }
}
