//! When a function takes a new version of its runtime. Runtimes are the machine's and change under nobody's hands, so
//! `Auto` and `FunctionUpdate` come to the same; `Manual` can name only the version there is.

use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{
        GetRuntimeManagementConfigRequest, GetRuntimeManagementConfigResponse,
        InvalidParameterValueException, PutRuntimeManagementConfigRequest,
        PutRuntimeManagementConfigResponse, UpdateRuntimeOn,
    },
    names::Named,
};

pub async fn put_runtime_management_config(
    lambda: &Lambda,
    cx: &Cx,
    input: PutRuntimeManagementConfigRequest,
) -> Result<PutRuntimeManagementConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let mode = input.update_runtime_on;
    match (&mode, &input.runtime_version_arn) {
        (UpdateRuntimeOn::Manual, None) => {
            return Err(InvalidParameterValueException::new(
                "You must provide a runtime version ARN when you use Manual runtime update mode.",
            )
            .into());
        }
        (UpdateRuntimeOn::Manual, Some(_)) => {
            return Err(Fault::not_implemented("PutRuntimeManagementConfig with UpdateRuntimeOn Manual"));
        }
        (_, Some(_)) => {
            return Err(InvalidParameterValueException::new(
                "You can only provide a runtime version ARN when you use Manual runtime update mode.",
            )
            .into());
        }
        (_, None) => {}
    }
    let version = named.qualifier.clone().unwrap_or_else(|| "$LATEST".into());
    let keeps = mode == UpdateRuntimeOn::FunctionUpdate;
    let function_arn = named.qualified_arn();
    lambda
        .change(&named, None, |row| {
            if version != "$LATEST" && !row.versions.keys().any(|number| number.to_string() == version) {
                return Err(named.not_found());
            }
            if keeps {
                row.runtime_kept.insert(version);
            } else {
                row.runtime_kept.remove(&version);
            }
            Ok(())
        })
        .await?;
    Ok(PutRuntimeManagementConfigResponse {
        update_runtime_on: mode,
        function_arn,
        runtime_version_arn: None,
    })
}

pub async fn get_runtime_management_config(
    lambda: &Lambda,
    cx: &Cx,
    input: GetRuntimeManagementConfigRequest,
) -> Result<GetRuntimeManagementConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let row = lambda.get(&named)?;
    let (version, _) =
        row.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(|| named.not_found())?;
    let keeps = row.runtime_kept.contains(&version);
    Ok(GetRuntimeManagementConfigResponse {
        update_runtime_on: Some(if keeps { UpdateRuntimeOn::FunctionUpdate } else { UpdateRuntimeOn::Auto }),
        // Only `Manual` has one.
        runtime_version_arn: None,
        function_arn: Some(named.qualified_arn()),
    })
}
