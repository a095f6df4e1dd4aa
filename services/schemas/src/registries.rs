//! Registries.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Schemas, api,
    api::{
        CreateRegistryRequest, CreateRegistryResponse, DeleteRegistryRequest, DescribeRegistryRequest,
        DescribeRegistryResponse, ListRegistriesRequest, ListRegistriesResponse, UpdateRegistryRequest,
        UpdateRegistryResponse,
    },
    checks,
    faults::{bad_request, bad_token, conflict},
    rows::{RegistryRow, Tags, registry_arn},
    state::{below, limit},
};

pub async fn create_registry(
    schemas: &Schemas,
    cx: &Cx,
    input: CreateRegistryRequest,
) -> Result<CreateRegistryResponse, Fault> {
    let tags = input.tags.unwrap_or_default();
    let row = schemas.create_registry(cx, &input.registry_name, input.description, tags).await?;
    Ok(CreateRegistryResponse {
        description: row.description,
        registry_arn: Some(row.arn),
        registry_name: Some(row.name),
        tags: Some(row.tags),
    })
}

impl Schemas {
    pub async fn create_registry(
        &self,
        cx: &Cx,
        name: &str,
        description: Option<String>,
        tags: Tags,
    ) -> Result<RegistryRow, Fault> {
        checks::name("Registry", name, 64)?;
        checks::description(description.as_deref())?;
        let row =
            RegistryRow { name: name.into(), arn: registry_arn(cx, name), description, tags, policy: None };
        self.decide(|kept, effects| {
            if kept.registry(cx, name).is_ok() {
                return Err(conflict(format!("Registry with name {name} already exists.")));
            }
            effects.registries.push((row.arn.clone(), Some(row.clone())));
            Ok(row)
        })
        .await
    }

    pub async fn change_registry<T>(
        &self,
        cx: &Cx,
        name: &str,
        change: impl FnOnce(&mut RegistryRow) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.decide(|kept, effects| {
            let mut row = kept.registry(cx, name)?.clone();
            let answer = change(&mut row)?;
            effects.registries.push((row.arn.clone(), Some(row)));
            Ok(answer)
        })
        .await
    }

    /// Takes an empty registry away.
    pub async fn delete_registry(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        self.decide(|kept, effects| {
            let row = kept.registry(cx, name)?;
            if kept.schemas_of(cx, name).next().is_some() {
                return Err(bad_request(format!("Registry with name {name} is not empty.")));
            }
            effects.registries.push((row.arn.clone(), None));
            Ok(())
        })
        .await
    }
}

pub async fn update_registry(
    schemas: &Schemas,
    cx: &Cx,
    input: UpdateRegistryRequest,
) -> Result<UpdateRegistryResponse, Fault> {
    checks::description(input.description.as_deref())?;
    let row = schemas
        .change_registry(cx, &input.registry_name, |row| {
            row.description = input.description.or(row.description.take());
            Ok(row.clone())
        })
        .await?;
    Ok(UpdateRegistryResponse {
        description: row.description,
        registry_arn: Some(row.arn),
        registry_name: Some(row.name),
        tags: Some(row.tags),
    })
}

pub async fn describe_registry(
    schemas: &Schemas,
    cx: &Cx,
    input: DescribeRegistryRequest,
) -> Result<DescribeRegistryResponse, Fault> {
    let row = schemas.show(|kept| kept.registry(cx, &input.registry_name).cloned()).await?;
    Ok(DescribeRegistryResponse {
        description: row.description,
        registry_arn: Some(row.arn),
        registry_name: Some(row.name),
        tags: Some(row.tags),
    })
}

pub async fn list_registries(
    schemas: &Schemas,
    cx: &Cx,
    input: ListRegistriesRequest,
) -> Result<ListRegistriesResponse, Fault> {
    match input.scope.as_deref() {
        None | Some("LOCAL") => {}
        // There are none of AWS's own.
        Some("AWS") => return Ok(ListRegistriesResponse { registries: Some(Vec::new()), next_token: None }),
        Some(other) => return Err(bad_request(format!("Scope {other} is not valid."))),
    }
    let prefix = registry_arn(cx, input.registry_name_prefix.as_deref().unwrap_or_default());
    let limit = limit(input.limit)?;
    let page = schemas.show(|kept| {
        let rows = below(&kept.registries, prefix).cloned();
        page(rows, |row| row.arn.clone(), input.next_token.as_deref(), limit)
    });
    let page = page.await.ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::RegistrySummary {
        registry_arn: Some(row.arn),
        registry_name: Some(row.name),
        tags: Some(row.tags),
    });
    Ok(ListRegistriesResponse { registries: Some(shown.collect()), next_token: page.next_token })
}

pub async fn delete_registry(
    schemas: &Schemas,
    cx: &Cx,
    input: DeleteRegistryRequest,
) -> Result<Unit, Fault> {
    schemas.delete_registry(cx, &input.registry_name).await?;
    Ok(Unit)
}
