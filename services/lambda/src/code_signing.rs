//! Code signing. No function's code is signed here: configurations cannot be made, and that there are none can be asked,
//! as infrastructure tools do for every function.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{
        DeleteFunctionCodeSigningConfigRequest, GetFunctionCodeSigningConfigRequest,
        GetFunctionCodeSigningConfigResponse, ListCodeSigningConfigsRequest, ListCodeSigningConfigsResponse,
    },
    names::Named,
};

pub async fn get_function_code_signing_config(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionCodeSigningConfigRequest,
) -> Result<GetFunctionCodeSigningConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let function_name = lambda.get(&named)?.name.clone();
    Ok(GetFunctionCodeSigningConfigResponse { code_signing_config_arn: String::new(), function_name })
}

pub async fn delete_function_code_signing_config(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteFunctionCodeSigningConfigRequest,
) -> Result<Unit, Fault> {
    lambda.get(&Named::read(cx, &input.function_name, None)?)?;
    Ok(Unit)
}

pub async fn list_code_signing_configs(
    _: &Lambda,
    _: &Cx,
    _: ListCodeSigningConfigsRequest,
) -> Result<ListCodeSigningConfigsResponse, Fault> {
    Ok(ListCodeSigningConfigsResponse { code_signing_configs: Some(Vec::new()), next_marker: None })
}
