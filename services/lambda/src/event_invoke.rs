//! Settings of asynchronous invocation: retries, age, destinations.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Lambda,
    api::{
        DeleteFunctionEventInvokeConfigRequest, DestinationConfig, FunctionEventInvokeConfig,
        GetFunctionEventInvokeConfigRequest, InvalidParameterValueException,
        ListFunctionEventInvokeConfigsRequest, ListFunctionEventInvokeConfigsResponse, OnFailure, OnSuccess,
        PutFunctionEventInvokeConfigRequest, ResourceNotFoundException,
        UpdateFunctionEventInvokeConfigRequest,
    },
    names::Named,
    state::{FunctionRow, InvokeConfigRow},
};

pub async fn put_function_event_invoke_config(
    lambda: &Lambda,
    cx: &Cx,
    input: PutFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let wanted =
        wanted(input.maximum_event_age_in_seconds, input.maximum_retry_attempts, input.destination_config);
    check(lambda, &wanted)?;
    store(lambda, cx, &named, |_| Ok(wanted)).await
}

pub async fn update_function_event_invoke_config(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let wanted =
        wanted(input.maximum_event_age_in_seconds, input.maximum_retry_attempts, input.destination_config);
    check(lambda, &wanted)?;
    store(lambda, cx, &named, |there| {
        let there = there.ok_or_else(|| none(&named))?;
        Ok(InvokeConfigRow {
            max_age_s: wanted.max_age_s.or(there.max_age_s),
            retries: wanted.retries.or(there.retries),
            on_success: wanted.on_success.or(there.on_success),
            on_failure: wanted.on_failure.or(there.on_failure),
            modified_at: 0,
        })
    })
    .await
}

async fn store(
    lambda: &Lambda,
    cx: &Cx,
    named: &Named,
    make: impl FnOnce(Option<InvokeConfigRow>) -> Result<InvokeConfigRow, Fault>,
) -> Result<FunctionEventInvokeConfig, Fault> {
    lambda
        .change(named, None, |row| {
            if !row.has(named.qualifier.as_deref()) {
                return Err(named.not_found());
            }
            let key = key(named);
            let config = InvokeConfigRow {
                modified_at: cx.now().millis(),
                ..make(row.invoke_configs.get(&key).cloned())?
            };
            let answer = wire(row, &key, &config);
            row.invoke_configs.insert(key, config);
            Ok(answer)
        })
        .await
}

pub async fn get_function_event_invoke_config(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let row = lambda.get(&named)?;
    let key = key(&named);
    row.invoke_configs.get(&key).map(|config| wire(&row, &key, config)).ok_or_else(|| none(&named))
}

pub async fn list_function_event_invoke_configs(
    lambda: &Lambda,
    cx: &Cx,
    input: ListFunctionEventInvokeConfigsRequest,
) -> Result<ListFunctionEventInvokeConfigsResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    let limit = usize::try_from(input.max_items.unwrap_or(50)).unwrap_or(50);
    let page = page(&row.invoke_configs, |(key, _)| key.to_string(), input.marker.as_deref(), limit);
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    let configs = page.items.into_iter().map(|(key, config)| wire(&row, key, config)).collect();
    Ok(ListFunctionEventInvokeConfigsResponse {
        function_event_invoke_configs: Some(configs),
        next_marker: page.next_token,
    })
}

pub async fn delete_function_event_invoke_config(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteFunctionEventInvokeConfigRequest,
) -> Result<Unit, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    lambda
        .change(&named, None, |row| {
            row.invoke_configs.remove(&key(&named)).map(|_| Unit).ok_or_else(|| none(&named))
        })
        .await
}

fn key(named: &Named) -> String {
    named.qualifier.clone().unwrap_or_else(|| "$LATEST".into())
}

pub fn wanted(
    max_age_s: Option<i32>,
    retries: Option<i32>,
    destinations: Option<DestinationConfig>,
) -> InvokeConfigRow {
    let destinations = destinations.unwrap_or_default();
    let some = |arn: Option<String>| arn.filter(|arn| !arn.is_empty());
    InvokeConfigRow {
        max_age_s,
        retries,
        on_success: some(destinations.on_success.and_then(|to| to.destination)),
        on_failure: some(destinations.on_failure.and_then(|to| to.destination)),
        modified_at: 0,
    }
}

/// A destination whose service cannot take events is refused now rather than at the first failure.
pub fn check(lambda: &Lambda, config: &InvokeConfigRow) -> Result<(), Fault> {
    for arn in config.on_success.iter().chain(&config.on_failure) {
        let service = arn.split(':').nth(2).unwrap_or_default();
        if !lambda.delivery.takes(service) {
            return Err(Fault::not_implemented(format!("delivery to {service} as a destination")));
        }
    }
    Ok(())
}

fn wire(row: &FunctionRow, qualifier: &str, config: &InvokeConfigRow) -> FunctionEventInvokeConfig {
    let destinations = DestinationConfig {
        on_success: Some(OnSuccess { destination: config.on_success.clone() }),
        on_failure: Some(OnFailure { destination: config.on_failure.clone() }),
    };
    FunctionEventInvokeConfig {
        last_modified: Some(Timestamp::from_millis(config.modified_at)),
        function_arn: Some(format!("{}:{qualifier}", row.arn)),
        maximum_retry_attempts: config.retries,
        maximum_event_age_in_seconds: config.max_age_s,
        destination_config: Some(destinations),
    }
}

fn none(named: &Named) -> Fault {
    ResourceNotFoundException::new(format!(
        "The function {} doesn't have an EventInvokeConfig",
        named.qualified_arn()
    ))
    .into()
}
