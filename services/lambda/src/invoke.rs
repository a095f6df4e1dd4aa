//! Invoke: synchronous, asynchronous and dry runs.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tidemill_delivery::Event;
use tidemill_platform::{Arn, Cx, Fault};
use tidemill_store::{Batch, Partition};

use crate::{
    Lambda,
    api::{
        InvalidRequestContentException, InvocationRequest, InvocationResponse, InvocationType,
        InvokeAsyncRequest, InvokeAsyncResponse, LogType, RequestTooLargeException,
    },
    names::Named,
    run::Call,
};

/// What a synchronous invocation may carry, in bytes.
pub const MOST_SYNC: usize = 6_291_456;
/// What an asynchronous one may carry.
const MOST_ASYNC: usize = 1_048_576;

pub async fn invoke(lambda: &Lambda, cx: &Cx, input: InvocationRequest) -> Result<InvocationResponse, Fault> {
    if input.durable_execution_name.is_some() || input.tenant_id.is_some() {
        return Err(Fault::not_implemented("Invoke with DurableExecutionName or TenantId"));
    }
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let row = lambda.get(&named)?;
    if !row.has(named.qualifier.as_deref()) {
        return Err(named.not_found());
    }
    let payload = input.payload.filter(|payload| !payload.is_empty());
    match input.invocation_type.unwrap_or(InvocationType::RequestResponse) {
        InvocationType::DryRun => {
            Ok(InvocationResponse { status_code: Some(204), ..InvocationResponse::default() })
        }
        InvocationType::Event => {
            let payload = checked(payload, MOST_ASYNC, "Event")?;
            let client_context = input.client_context.map(|text| decode_context(&text)).transpose()?;
            enqueue(lambda, cx, &named, payload, client_context).await?;
            Ok(InvocationResponse { status_code: Some(202), ..answer(cx) })
        }
        _ => {
            let payload = checked(payload, MOST_SYNC, "RequestResponse")?;
            let client_context = input.client_context.map(|text| decode_context(&text)).transpose()?;
            let (version, outcome) = lambda
                .run(cx, &named, Call { payload, client_context, ..Call::new(cx.request_id()) })
                .await?;
            Ok(InvocationResponse {
                status_code: Some(200),
                function_error: outcome.function_error.map(|kind| kind.as_str().to_string()),
                log_result: (input.log_type == Some(LogType::Tail))
                    .then(|| BASE64_STANDARD.encode(&outcome.log_tail)),
                payload: Some(outcome.payload),
                executed_version: Some(version),
                content_type: Some("application/json".into()),
                ..answer(cx)
            })
        }
    }
}

/// What answers carry whatever came of the invocation.
fn answer(cx: &Cx) -> InvocationResponse {
    let trace = cx.trace();
    let sampled = u8::from(trace.sampled == Some(true));
    InvocationResponse {
        remapped_content_length: Some("0".into()),
        trace_id: Some(format!("root={};sampled={sampled}", trace.root)),
        ..InvocationResponse::default()
    }
}

/// The older asynchronous call.
pub async fn invoke_async(
    lambda: &Lambda,
    cx: &Cx,
    input: InvokeAsyncRequest,
) -> Result<InvokeAsyncResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    lambda.get(&named)?;
    let payload = checked(Some(input.invoke_args), MOST_ASYNC, "Event")?;
    enqueue(lambda, cx, &named, payload, None).await?;
    Ok(InvokeAsyncResponse { status: Some(202) })
}

/// Answers when the event is durable in the function's queue.
async fn enqueue(
    lambda: &Lambda,
    cx: &Cx,
    named: &Named,
    payload: Bytes,
    client_context: Option<String>,
) -> Result<(), Fault> {
    let arn = named.qualified_arn();
    let target: Arn = arn.parse().map_err(|_| named.not_found())?;
    let event = Event {
        id: cx.request_id().to_string(),
        source: cx.request().principal.arn.clone(),
        via: "Invoke".into(),
        payload,
        attributes: client_context
            .into_iter()
            .map(|context| ("client-context".to_string(), context))
            .collect(),
        trace: cx.trace().clone(),
    };
    let ticket = {
        let mut batch = Batch::new(Partition::of(&arn));
        let staged = lambda.delivery.deliver(cx, &mut batch, &target, event)?;
        let ticket = lambda.platform.submit(batch)?;
        staged.release(ticket.seq());
        ticket
    };
    ticket.await;
    Ok(())
}

/// The event as JSON text; none is `{}`, as Lambda hands it to functions.
pub fn checked(payload: Option<Bytes>, most: usize, kind: &str) -> Result<Bytes, Fault> {
    let Some(payload) = payload else { return Ok(Bytes::from_static(b"{}")) };
    if payload.len() > most {
        let sentence = format!(
            "{} byte payload is too large for the {kind} invocation type (limit {most} bytes)",
            payload.len()
        );
        return Err(RequestTooLargeException::new(sentence).into());
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        Ok(_) => Ok(payload),
        Err(error) => {
            let sentence =
                format!("Could not parse request body into json: Could not parse payload into json: {error}");
            Err(InvalidRequestContentException::new(sentence).into())
        }
    }
}

pub fn decode_context(text: &str) -> Result<String, Fault> {
    let bytes = BASE64_STANDARD.decode(text).ok();
    let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let object = |text: &String| {
        serde_json::from_str::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(text).is_ok()
    };
    decoded.filter(object).ok_or_else(|| {
        InvalidRequestContentException::new("Client context must be a valid Base64-encoded JSON object.")
            .into()
    })
}
