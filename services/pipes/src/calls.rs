//! Calls of other services' operations where their answer counts: a function's, a FIFO queue's, a log group's.

use serde_json::Value;
use tidemill_platform::{Cx, Fault};
use tidemill_wire::value::{ValueReader, to_value};

/// Calls an operation with an input in the model's names; blobs are base64 both ways. Unlike at the gateway, the input's
/// constraints are not checked again: what gets here was made by the platform.
pub async fn call(cx: &Cx, service: &str, operation: &str, input: &Value) -> Result<Value, Fault> {
    let lacking = || Fault::not_implemented(format!("{service}:{operation}"));
    let service = cx.platform().doors.service(service).ok_or_else(lacking)?;
    let at = service.meta.operations.iter().position(|known| known.name == operation).ok_or_else(lacking)?;
    let call = service.read(at, &mut ValueReader::new(input)).ok_or_else(lacking)?;
    let call = call.map_err(|error| Fault::validation(error.message))?;
    call.run(cx.clone()).await.map(|answer| to_value(&*answer))
}

/// What a function answered.
pub struct Answer {
    pub payload: Vec<u8>,
    /// It failed; the payload tells of it.
    pub failed: bool,
}

/// Runs a function and waits for it.
pub async fn invoke(cx: &Cx, function_arn: &str, payload: &str) -> Result<Answer, Fault> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let input = serde_json::json!({
        "FunctionName": function_arn,
        "InvocationType": "RequestResponse",
        "Payload": BASE64_STANDARD.encode(payload),
    });
    let answer = call(cx, "lambda", "Invoke", &input).await?;
    let text = answer["Payload"].as_str().unwrap_or_default();
    let payload = BASE64_STANDARD.decode(text).map_err(Fault::internal)?;
    Ok(Answer { payload, failed: answer.get("FunctionError").is_some_and(|error| !error.is_null()) })
}
