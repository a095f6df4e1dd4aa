//! Functions: create, read, update, delete.

use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Lambda, api,
    api::{
        CreateFunctionRequest, DeleteFunctionRequest, FunctionCodeLocation, FunctionConfiguration,
        GetFunctionConfigurationRequest, GetFunctionRequest, GetFunctionResponse,
        InvalidParameterValueException, LastUpdateStatus, ListFunctionsRequest, ListFunctionsResponse,
        PreconditionFailedException, ResourceConflictException, State, UpdateFunctionCodeRequest,
        UpdateFunctionConfigurationRequest,
    },
    code::{self, Source},
    configuration::{self, Wanted, apply, wire},
    layers,
    names::Named,
    snapstart,
    state::FunctionRow,
};

pub async fn create_function(
    lambda: &Lambda,
    cx: &Cx,
    input: CreateFunctionRequest,
) -> Result<FunctionConfiguration, Fault> {
    refuse(&[
        (
            "Code.ImageUri (container images)",
            input.code.image_uri.is_some() || input.package_type == Some(api::PackageType::Image),
        ),
        ("Code.SourceKMSKeyArn", input.code.source_kms_key_arn.is_some()),
        (
            "VpcConfig",
            input
                .vpc_config
                .as_ref()
                .is_some_and(|vpc| vpc.subnet_ids.as_ref().is_some_and(|ids| !ids.is_empty())),
        ),
        ("KMSKeyArn", input.kms_key_arn.as_ref().is_some_and(|arn| !arn.is_empty())),
        ("FileSystemConfigs", input.file_system_configs.as_ref().is_some_and(|list| !list.is_empty())),
        ("CodeSigningConfigArn", input.code_signing_config_arn.is_some()),
        ("CapacityProviderConfig", input.capacity_provider_config.is_some()),
        ("DurableConfig", input.durable_config.is_some()),
        ("TenancyConfig", input.tenancy_config.is_some()),
        ("ImageConfig", input.image_config.is_some()),
        ("PublishTo", input.publish_to.is_some()),
    ])?;
    let named = Named::read(cx, &input.function_name, None)?;
    let (Some(runtime), Some(handler)) = (input.runtime, input.handler) else {
        return Err(InvalidParameterValueException::new(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        )
        .into());
    };
    let zip = code::read(
        cx,
        Source {
            zip: input.code.zip_file,
            bucket: input.code.s3_bucket.as_deref(),
            key: input.code.s3_key.as_deref(),
            version: input.code.s3_object_version.as_deref(),
        },
    )
    .await?;
    let wanted = Wanted {
        description: input.description,
        runtime: Some(runtime.to_string()),
        handler: Some(handler),
        role: Some(input.role),
        timeout_s: input.timeout,
        memory_mb: input.memory_size,
        tmp_mb: input.ephemeral_storage.map(|storage| storage.size),
        environment: input.environment.and_then(|environment| environment.variables),
        dead_letter_arn: input.dead_letter_config.and_then(|config| config.target_arn),
        tracing: input.tracing_config.and_then(|config| config.mode).map(|mode| mode.to_string()),
        architecture: input
            .architectures
            .and_then(|list| list.into_iter().next())
            .map(|arch| arch.to_string()),
        logging: input.logging_config,
        layers: Some(layers::wanted(lambda, cx, &input.layers.unwrap_or_default())?),
        snap_start: snapstart::wanted(input.snap_start),
    };
    let tags = input.tags.unwrap_or_default();
    crate::tags::check(&tags)?;
    let row = new_function(cx, &named, wanted, &zip, tags)?;
    lambda.runner.accept(&row.latest, Some(&zip)).await?;
    let name = named.name.clone();
    let row = lambda
        .insert(row, Some(zip), || {
            ResourceConflictException::new(format!("Function already exist: {name}")).into()
        })
        .await?;
    if input.publish == Some(true) {
        return crate::versions::publish(lambda, cx, &named, None, None).await;
    }
    let mut answer = wire(&row, "$LATEST", &row.latest, row.arn.clone());
    answer.state = Some(State::Pending);
    answer.state_reason = Some("The function is being created.".into());
    answer.state_reason_code = Some("Creating".into());
    answer.last_update_status = None;
    Ok(answer)
}

/// A function's row with Lambda's defaults for what is not wanted.
pub fn new_function(
    cx: &Cx,
    named: &Named,
    wanted: Wanted,
    zip: &[u8],
    tags: std::collections::BTreeMap<String, String>,
) -> Result<FunctionRow, Fault> {
    let mut latest = apply(cx, &configuration::fresh(), wanted)?;
    latest.code_sha256 = code::sha256(zip);
    latest.code_size = i64::try_from(zip.len()).unwrap_or(i64::MAX);
    latest.unpacked_size = code::unpacked_size(zip);
    code::check_together(latest.unpacked_size, &latest.layers)?;
    let mut parts = named.arn.split(':').skip(3);
    let (region, account) =
        (parts.next().unwrap_or_default().to_string(), parts.next().unwrap_or_default().to_string());
    Ok(FunctionRow {
        arn: named.arn.clone(),
        name: named.name.clone(),
        account,
        region,
        latest,
        versions: Default::default(),
        last_version: 0,
        aliases: Default::default(),
        reserved_concurrency: None,
        statements: Default::default(),
        invoke_configs: Default::default(),
        tags,
        urls: Default::default(),
        recursion_allowed: false,
        provisioned: Default::default(),
        runtime_kept: Default::default(),
        snapstarts: Default::default(),
    })
}

pub async fn get_function(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionRequest,
) -> Result<GetFunctionResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let row = lambda.get(&named)?;
    let (version, found) =
        row.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(|| named.not_found())?;
    let code = FunctionCodeLocation {
        repository_type: Some("S3".into()),
        location: Some(code::location(cx, &found.code_sha256)),
        ..FunctionCodeLocation::default()
    };
    Ok(GetFunctionResponse {
        configuration: Some(wire(&row, &version, found, named.qualified_arn())),
        code: Some(code),
        tags: (!row.tags.is_empty()).then(|| row.tags.clone()),
        concurrency: row
            .reserved_concurrency
            .map(|n| api::Concurrency { reserved_concurrent_executions: Some(n) }),
        ..GetFunctionResponse::default()
    })
}

pub async fn get_function_configuration(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionConfigurationRequest,
) -> Result<FunctionConfiguration, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    let row = lambda.get(&named)?;
    let (version, found) =
        row.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(|| named.not_found())?;
    Ok(wire(&row, &version, found, named.qualified_arn()))
}

pub async fn list_functions(
    lambda: &Lambda,
    cx: &Cx,
    input: ListFunctionsRequest,
) -> Result<ListFunctionsResponse, Fault> {
    if input.master_region.is_some() {
        return Err(Fault::not_implemented("ListFunctions with MasterRegion"));
    }
    let mut all = Vec::new();
    for row in lambda.list(cx.account(), cx.region()) {
        all.push((
            // Nothing in a name sorts before this separator, so `a` comes before `a-b`.
            format!("{}\0", row.name),
            strip(wire(&row, "$LATEST", &row.latest, format!("{}:$LATEST", row.arn))),
        ));
        if input.function_version == Some(api::FunctionVersion::All) {
            let versions = row.versions.iter().map(|(number, c)| {
                (
                    format!("{}\0{number:010}", row.name),
                    strip(wire(&row, &number.to_string(), c, format!("{}:{number}", row.arn))),
                )
            });
            all.extend(versions);
        } else if let Some((_, last)) = all.last_mut() {
            last.function_arn = Some(row.arn.clone());
        }
    }
    let limit = usize::try_from(input.max_items.unwrap_or(50).min(50)).unwrap_or(50);
    let page = page(all, |(key, _)| key.clone(), input.marker.as_deref(), limit);
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    Ok(ListFunctionsResponse {
        functions: Some(page.items.into_iter().map(|(_, f)| f).collect()),
        next_marker: page.next_token,
    })
}

/// Lists leave out the state of functions.
fn strip(configuration: FunctionConfiguration) -> FunctionConfiguration {
    FunctionConfiguration {
        state: None,
        last_update_status: None,
        runtime_version_config: None,
        ..configuration
    }
}

pub async fn update_function_code(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateFunctionCodeRequest,
) -> Result<FunctionConfiguration, Fault> {
    refuse(&[
        ("ImageUri (container images)", input.image_uri.is_some()),
        ("SourceKMSKeyArn", input.source_kms_key_arn.is_some()),
        ("PublishTo", input.publish_to.is_some()),
    ])?;
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    expect_revision(&row, input.revision_id.as_deref())?;
    let zip = code::read(
        cx,
        Source {
            zip: input.zip_file,
            bucket: input.s3_bucket.as_deref(),
            key: input.s3_key.as_deref(),
            version: input.s3_object_version.as_deref(),
        },
    )
    .await?;
    let wanted = Wanted {
        architecture: input
            .architectures
            .and_then(|list| list.into_iter().next())
            .map(|arch| arch.to_string()),
        ..Wanted::default()
    };
    let mut next = apply(cx, &row.latest, wanted)?;
    next.code_sha256 = code::sha256(&zip);
    next.code_size = i64::try_from(zip.len()).unwrap_or(i64::MAX);
    next.unpacked_size = code::unpacked_size(&zip);
    code::check_together(next.unpacked_size, &next.layers)?;
    lambda.runner.accept(&next, Some(&zip)).await?;
    if input.dry_run == Some(true) {
        return Ok(wire(&row, "$LATEST", &next, row.arn.clone()));
    }
    let answer = lambda
        .change(&named, Some(zip), |row| {
            expect_revision(row, input.revision_id.as_deref())?;
            row.latest = next;
            Ok(in_progress(wire(row, "$LATEST", &row.latest, row.arn.clone())))
        })
        .await?;
    lambda.runner.forget(&named.arn);
    if input.publish == Some(true) {
        return crate::versions::publish(lambda, cx, &named, None, None).await;
    }
    Ok(answer)
}

pub async fn update_function_configuration(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateFunctionConfigurationRequest,
) -> Result<FunctionConfiguration, Fault> {
    refuse(&[
        (
            "VpcConfig",
            input
                .vpc_config
                .as_ref()
                .is_some_and(|vpc| vpc.subnet_ids.as_ref().is_some_and(|ids| !ids.is_empty())),
        ),
        ("KMSKeyArn", input.kms_key_arn.as_ref().is_some_and(|arn| !arn.is_empty())),
        ("FileSystemConfigs", input.file_system_configs.as_ref().is_some_and(|list| !list.is_empty())),
        ("ImageConfig", input.image_config.is_some()),
        ("CapacityProviderConfig", input.capacity_provider_config.is_some()),
        ("DurableConfig", input.durable_config.is_some()),
    ])?;
    let named = Named::read(cx, &input.function_name, None)?;
    let wanted = Wanted {
        description: input.description,
        runtime: input.runtime.map(|runtime| runtime.to_string()),
        handler: input.handler,
        role: input.role,
        timeout_s: input.timeout,
        memory_mb: input.memory_size,
        tmp_mb: input.ephemeral_storage.map(|storage| storage.size),
        environment: input.environment.map(|environment| environment.variables.unwrap_or_default()),
        dead_letter_arn: input.dead_letter_config.map(|config| config.target_arn.unwrap_or_default()),
        tracing: input.tracing_config.and_then(|config| config.mode).map(|mode| mode.to_string()),
        architecture: None,
        logging: input.logging_config,
        layers: input.layers.map(|arns| layers::wanted(lambda, cx, &arns)).transpose()?,
        snap_start: snapstart::wanted(input.snap_start),
    };
    let row = lambda.get(&named)?;
    if wanted.runtime.is_some() || wanted.handler.is_some() || wanted.layers.is_some() {
        lambda.runner.accept(&apply(cx, &row.latest, wanted.clone())?, None).await?;
    }
    let answer = lambda
        .change(&named, None, |row| {
            expect_revision(row, input.revision_id.as_deref())?;
            row.latest = apply(cx, &row.latest, wanted)?;
            Ok(in_progress(wire(row, "$LATEST", &row.latest, row.arn.clone())))
        })
        .await?;
    lambda.runner.forget(&named.arn);
    Ok(answer)
}

/// Answers of updates say that the update is under way; the next question finds it done.
fn in_progress(mut answer: FunctionConfiguration) -> FunctionConfiguration {
    answer.last_update_status = Some(LastUpdateStatus::InProgress);
    answer.last_update_status_reason = Some("The function is being created.".into());
    answer.last_update_status_reason_code = Some("Creating".into());
    answer
}

pub fn expect_revision(row: &FunctionRow, revision: Option<&str>) -> Result<(), Fault> {
    match revision {
        Some(revision) if revision != row.latest.revision_id => Err(PreconditionFailedException::new("The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id").into()),
        _ => Ok(()),
    }
}

pub async fn delete_function(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteFunctionRequest,
) -> Result<api::DeleteFunctionResponse, Fault> {
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    match named.qualifier.as_deref() {
        None => lambda.remove(&named).await?,
        Some("$LATEST") => {
            return Err(InvalidParameterValueException::new(
                "$LATEST version cannot be deleted without deleting the function.",
            )
            .into());
        }
        Some(qualifier) => {
            let version: Option<u64> = qualifier.parse().ok();
            lambda
                .change(&named, None, |row| {
                    let version = version
                        .filter(|version| row.versions.contains_key(version))
                        .ok_or_else(|| named.not_found())?;
                    let text = version.to_string();
                    if let Some((alias, _)) = row
                        .aliases
                        .iter()
                        .find(|(_, alias)| alias.version == text || alias.weights.contains_key(&text))
                    {
                        return Err(ResourceConflictException::new(format!(
                            "Version {version} is referenced by alias {alias}."
                        ))
                        .into());
                    }
                    row.versions.remove(&version);
                    row.snapstarts.remove(&version);
                    row.provisioned.remove(&text);
                    Ok(())
                })
                .await?;
            lambda.forget_snapshots(&named.arn);
        }
    }
    Ok(api::DeleteFunctionResponse { status_code: Some(204) })
}

fn refuse(asked: &[(&str, bool)]) -> Result<(), Fault> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(Fault::not_implemented(format!("Lambda's {what}"))),
        None => Ok(()),
    }
}
