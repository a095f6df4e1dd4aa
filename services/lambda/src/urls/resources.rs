//! `AWS::Lambda::Url`.

use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, boolean, number, text},
};

use super::{create_function_url_config, delete_function_url_config, update_function_url_config};
use crate::{
    Lambda,
    api::{
        Cors, CreateFunctionUrlConfigRequest, DeleteFunctionUrlConfigRequest, UpdateFunctionUrlConfigRequest,
    },
    names::Named,
    resources::{provided, strings},
};

pub async fn create(lambda: &Lambda, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
    let input = CreateFunctionUrlConfigRequest {
        function_name: text(properties, "TargetFunctionArn").unwrap_or_default(),
        qualifier: text(properties, "Qualifier"),
        auth_type: text(properties, "AuthType").unwrap_or_default().as_str().into(),
        cors: properties.get("Cors").map(cors),
        invoke_mode: text(properties, "InvokeMode").as_deref().map(Into::into),
    };
    let made = create_function_url_config(lambda, cx, input).await?;
    Ok(provided(
        &made.function_arn,
        [("FunctionArn", made.function_arn.clone()), ("FunctionUrl", made.function_url)],
    ))
}

/// The address stays the same.
pub async fn update(lambda: &Lambda, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
    let input = UpdateFunctionUrlConfigRequest {
        function_name: text(properties, "TargetFunctionArn").unwrap_or_default(),
        qualifier: text(properties, "Qualifier"),
        auth_type: Some(text(properties, "AuthType").unwrap_or_default().as_str().into()),
        cors: Some(properties.get("Cors").map(cors).unwrap_or_default()),
        invoke_mode: Some(text(properties, "InvokeMode").as_deref().unwrap_or("BUFFERED").into()),
    };
    let made = update_function_url_config(lambda, cx, input).await?;
    Ok(provided(
        &made.function_arn,
        [("FunctionArn", made.function_arn.clone()), ("FunctionUrl", made.function_url)],
    ))
}

pub async fn delete(lambda: &Lambda, cx: &Cx, function_arn: &str) -> Result<(), Fault> {
    let named = Named::read(cx, function_arn, None)?;
    let input = DeleteFunctionUrlConfigRequest { function_name: named.arn, qualifier: named.qualifier };
    delete_function_url_config(lambda, cx, input).await.map(drop)
}

fn cors(properties: &Value) -> Cors {
    let list = |name: &str| properties.get(name).map(|_| strings(properties, name));
    Cors {
        allow_credentials: boolean(properties, "AllowCredentials"),
        allow_headers: list("AllowHeaders"),
        allow_methods: list("AllowMethods"),
        allow_origins: list("AllowOrigins"),
        expose_headers: list("ExposeHeaders"),
        max_age: number(properties, "MaxAge").and_then(|seconds| i32::try_from(seconds).ok()),
    }
}
