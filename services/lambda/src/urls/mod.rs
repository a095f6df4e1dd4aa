//! Function URLs: an HTTP address of a function or alias. Here is the API; `serve` answers what comes in over the address,
//! with `event` (the request as the function sees it), `answer` (the function's answer as HTTP) and `cors`.
//!
//! `streamed` answers while the function still writes (`RESPONSE_STREAM`). Under `--auth dev` an address of type `NONE` is open to all; where signatures are enforced it is to those whom the
//! function's policy lets in, as on AWS.

mod answer;
mod cors;
mod event;
pub mod resources;
mod serve;
mod streamed;

use serde::{Deserialize, Serialize};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Lambda,
    api::{
        CreateFunctionUrlConfigRequest, CreateFunctionUrlConfigResponse, DeleteFunctionUrlConfigRequest,
        FunctionUrlAuthType, FunctionUrlConfig, GetFunctionUrlConfigRequest, GetFunctionUrlConfigResponse,
        InvalidParameterValueException, InvokeMode, ListFunctionUrlConfigsRequest,
        ListFunctionUrlConfigsResponse, ResourceConflictException, ResourceNotFoundException,
        UpdateFunctionUrlConfigRequest, UpdateFunctionUrlConfigResponse,
    },
    names::Named,
    state::FunctionRow,
};

pub use cors::CorsRow;
pub use serve::{Addresses, Http};

/// Letters and digits of an address's id, as AWS makes them.
const ID_LENGTH: usize = 32;

/// A function URL as it is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UrlRow {
    pub id: String,
    /// Callers must sign (`AWS_IAM`).
    pub signed: bool,
    pub cors: Option<CorsRow>,
    /// Answers go out while they come (`RESPONSE_STREAM`).
    #[serde(default)]
    pub streams: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub modified_at: i64,
}

pub async fn create_function_url_config(
    lambda: &Lambda,
    cx: &Cx,
    input: CreateFunctionUrlConfigRequest,
) -> Result<CreateFunctionUrlConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let now = cx.now().millis();
    let row = UrlRow {
        id: new_id(cx),
        signed: input.auth_type == FunctionUrlAuthType::AwsIam,
        cors: input.cors.map(CorsRow::from),
        streams: input.invoke_mode == Some(InvokeMode::ResponseStream),
        created_at: now,
        modified_at: now,
    };
    lambda.by_arn(&named.arn).ok_or_else(no_function)?;
    lambda
        .change(&named, None, |function| {
            expect_target(function, &named)?;
            let urls = &mut function.urls;
            if urls.contains_key(key(&named)) {
                let sentence = format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this Lambda function",
                    named.qualified_arn()
                );
                return Err(ResourceConflictException::new(sentence).into());
            }
            lambda.addresses.learn(&row.id, &function.arn);
            urls.insert(key(&named).to_string(), row.clone());
            Ok(())
        })
        .await?;
    let wire = wire(cx, &named.qualified_arn(), &row);
    Ok(CreateFunctionUrlConfigResponse {
        function_url: wire.function_url,
        function_arn: wire.function_arn,
        auth_type: wire.auth_type,
        cors: wire.cors,
        creation_time: wire.creation_time,
        invoke_mode: wire.invoke_mode,
    })
}

/// An address leads to the function or to an alias of it.
fn expect_target(function: &FunctionRow, named: &Named) -> Result<(), Fault> {
    match &named.qualifier {
        None => Ok(()),
        Some(alias) if function.aliases.contains_key(alias) => Ok(()),
        Some(_) => Err(no_function()),
    }
}

pub async fn get_function_url_config(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionUrlConfigRequest,
) -> Result<GetFunctionUrlConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let function = lambda.by_arn(&named.arn).ok_or_else(none)?;
    let row = function.urls.get(key(&named)).ok_or_else(none)?;
    let wire = wire(cx, &named.qualified_arn(), row);
    Ok(GetFunctionUrlConfigResponse {
        function_url: wire.function_url,
        function_arn: wire.function_arn,
        auth_type: wire.auth_type,
        cors: wire.cors,
        creation_time: wire.creation_time,
        last_modified_time: wire.last_modified_time,
        invoke_mode: wire.invoke_mode,
    })
}

pub async fn update_function_url_config(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateFunctionUrlConfigRequest,
) -> Result<UpdateFunctionUrlConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    lambda.by_arn(&named.arn).ok_or_else(none)?;
    let row = lambda
        .change(&named, None, |function| {
            let row = function.urls.get_mut(key(&named)).ok_or_else(none)?;
            if let Some(kind) = input.auth_type {
                row.signed = kind == FunctionUrlAuthType::AwsIam;
            }
            if let Some(cors) = input.cors {
                row.cors = CorsRow::unless_empty(cors);
            }
            if let Some(mode) = input.invoke_mode {
                row.streams = mode == InvokeMode::ResponseStream;
            }
            row.modified_at = cx.now().millis();
            Ok(row.clone())
        })
        .await?;
    let wire = wire(cx, &named.qualified_arn(), &row);
    Ok(UpdateFunctionUrlConfigResponse {
        function_url: wire.function_url,
        function_arn: wire.function_arn,
        auth_type: wire.auth_type,
        cors: wire.cors,
        creation_time: wire.creation_time,
        last_modified_time: wire.last_modified_time,
        invoke_mode: wire.invoke_mode,
    })
}

pub async fn delete_function_url_config(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteFunctionUrlConfigRequest,
) -> Result<Unit, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    lambda.by_arn(&named.arn).ok_or_else(none)?;
    let id = lambda
        .change(&named, None, |function| Ok(function.urls.remove(key(&named)).ok_or_else(none)?.id))
        .await?;
    lambda.addresses.forget(&id);
    Ok(Unit)
}

pub async fn list_function_url_configs(
    lambda: &Lambda,
    cx: &Cx,
    input: ListFunctionUrlConfigsRequest,
) -> Result<ListFunctionUrlConfigsResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let function = lambda.by_arn(&named.arn).ok_or_else(no_function)?;
    let limit = usize::try_from(input.max_items.unwrap_or(50).clamp(1, 50)).unwrap_or(50);
    let page = page(&function.urls, |(alias, _)| alias.to_string(), input.marker.as_deref(), limit);
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    let configs = page.items.into_iter().map(|(alias, row)| {
        let arn = if alias.is_empty() { function.arn.clone() } else { format!("{}:{alias}", function.arn) };
        wire(cx, &arn, row)
    });
    Ok(ListFunctionUrlConfigsResponse {
        function_url_configs: configs.collect(),
        next_marker: page.next_token,
    })
}

/// Empty for the function itself, else the alias.
fn key(named: &Named) -> &str {
    named.qualifier.as_deref().unwrap_or_default()
}

fn wire(cx: &Cx, arn: &str, row: &UrlRow) -> FunctionUrlConfig {
    FunctionUrlConfig {
        function_url: url(cx, arn, &row.id),
        function_arn: arn.to_string(),
        creation_time: time(row.created_at),
        last_modified_time: time(row.modified_at),
        cors: row.cors.clone().map(Into::into),
        auth_type: if row.signed { FunctionUrlAuthType::AwsIam } else { FunctionUrlAuthType::None },
        invoke_mode: Some(if row.streams { InvokeMode::ResponseStream } else { InvokeMode::Buffered }),
    }
}

/// A name that leads to this machine, on the port by which the caller reached us.
fn url(cx: &Cx, arn: &str, id: &str) -> String {
    let region = arn.split(':').nth(3).unwrap_or_default();
    let base = cx.base_url();
    let (scheme, host) = base.split_once("://").unwrap_or(("http", &base));
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{id}.lambda-url.{region}.localhost.localstack.cloud{port}/")
}

fn new_id(cx: &Cx) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letter = |_| {
        let at = usize::try_from(cx.random().below(LETTERS.len() as u64)).unwrap_or(0);
        char::from(LETTERS.get(at).copied().unwrap_or(b'a'))
    };
    (0..ID_LENGTH).map(letter).collect()
}

fn time(millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn no_function() -> Fault {
    ResourceNotFoundException::new("Function does not exist").into()
}

fn none() -> Fault {
    ResourceNotFoundException::new("The resource you requested does not exist.").into()
}
