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
    destinations,
    names::Named,
    state::{FunctionRow, InvokeConfigRow},
};

pub async fn put_function_event_invoke_config(
    lambda: &Lambda,
    cx: &Cx,
    input: PutFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    if input.maximum_event_age_in_seconds.or(input.maximum_retry_attempts).is_none()
        && input.destination_config.is_none()
    {
        return Err(invalid("You must specify at least one of error handling or destination setting."));
    }
    let wanted =
        wanted(input.maximum_event_age_in_seconds, input.maximum_retry_attempts, input.destination_config);
    check(lambda, cx, &named, &wanted)?;
    store(lambda, cx, &named, |_| Ok(wanted)).await
}

pub async fn update_function_event_invoke_config(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateFunctionEventInvokeConfigRequest,
) -> Result<FunctionEventInvokeConfig, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    if input.maximum_event_age_in_seconds.or(input.maximum_retry_attempts).is_none()
        && input.destination_config.is_none()
    {
        return Err(invalid("You must specify at least one of error handling or destination setting."));
    }
    let keeps = input.destination_config.is_none();
    let wanted =
        wanted(input.maximum_event_age_in_seconds, input.maximum_retry_attempts, input.destination_config);
    check(lambda, cx, &named, &wanted)?;
    store(lambda, cx, &named, |there| {
        let there = there.ok_or_else(|| none(&named))?;
        Ok(InvokeConfigRow {
            max_age_s: wanted.max_age_s.or(there.max_age_s),
            retries: wanted.retries.or(there.retries),
            on_success: if keeps { there.on_success } else { wanted.on_success },
            on_failure: if keeps { there.on_failure } else { wanted.on_failure },
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
    expect_function(lambda, named)?;
    lambda
        .change(named, None, |row| {
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
    let row = lambda.get(&named).map_err(|_| none(&named))?;
    let key = key(&named);
    row.invoke_configs.get(&key).map(|config| wire(&row, &key, config)).ok_or_else(|| none(&named))
}

pub async fn list_function_event_invoke_configs(
    lambda: &Lambda,
    cx: &Cx,
    input: ListFunctionEventInvokeConfigsRequest,
) -> Result<ListFunctionEventInvokeConfigsResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named).map_err(|_| no_function())?;
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
    lambda.get(&named).map_err(|_| none(&named))?;
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

/// Destinations that can be none are refused now rather than at the first failure.
fn check(lambda: &Lambda, cx: &Cx, named: &Named, config: &InvokeConfigRow) -> Result<(), Fault> {
    expect_function(lambda, named)?;
    let service = |arn: &String| arn.split(':').nth(2).unwrap_or_default().to_string();
    let known = |arn: &String| matches!(service(arn).as_str(), "sqs" | "sns" | "lambda" | "events");
    let bad_success = config.on_success.as_ref().is_some_and(|arn| !known(arn));
    let bad_failure = config.on_failure.as_ref().is_some_and(|arn| !known(arn) && service(arn) != "s3");
    if bad_success || bad_failure {
        let side = |kind: &str, arn: &Option<String>| {
            arn.as_ref().map_or_else(|| "null".to_string(), |arn| format!("{kind}(destination={arn})"))
        };
        return Err(invalid(format!(
            "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
            side("OnSuccess", &config.on_success),
            side("OnFailure", &config.on_failure)
        )));
    }
    for arn in config.on_success.iter().chain(&config.on_failure) {
        if service(arn) == "lambda" {
            check_function(lambda, cx, named, arn)?;
        }
        destinations::expect(lambda, arn)?;
    }
    Ok(())
}

/// A function as a destination is there, and another one.
fn check_function(lambda: &Lambda, cx: &Cx, named: &Named, arn: &str) -> Result<(), Fault> {
    let to = Named::read(cx, arn, None)?;
    if to.arn == named.arn {
        return Err(invalid("You can't specify the function as a destination for itself."));
    }
    match lambda.get(&to) {
        Ok(row) if row.has(to.qualifier.as_deref()) => Ok(()),
        _ => Err(invalid(format!("The destination ARN {arn} is invalid."))),
    }
}

fn expect_function(lambda: &Lambda, named: &Named) -> Result<(), Fault> {
    match lambda.get(named) {
        Ok(row) if row.has(named.qualifier.as_deref()) => Ok(()),
        _ => Err(no_function()),
    }
}

fn no_function() -> Fault {
    ResourceNotFoundException::new("The function doesn't exist.").into()
}

fn invalid(sentence: impl Into<String>) -> Fault {
    InvalidParameterValueException::new(sentence.into()).into()
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
        "The function {}:{} doesn't have an EventInvokeConfig",
        named.arn,
        key(named)
    ))
    .into()
}
