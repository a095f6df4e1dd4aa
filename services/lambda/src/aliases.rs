//! Aliases: names for versions, with a share of the traffic for a second one.

use std::collections::BTreeMap;

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Lambda,
    api::{
        AliasConfiguration, AliasRoutingConfiguration, CreateAliasRequest, DeleteAliasRequest,
        GetAliasRequest, InvalidParameterValueException, ListAliasesRequest, ListAliasesResponse,
        PreconditionFailedException, ResourceConflictException, ResourceNotFoundException,
        UpdateAliasRequest,
    },
    names::Named,
    state::{AliasRow, FunctionRow},
};

pub async fn create_alias(
    lambda: &Lambda,
    cx: &Cx,
    input: CreateAliasRequest,
) -> Result<AliasConfiguration, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    lambda
        .change(&named, None, |row| {
            if row.aliases.contains_key(&input.name) {
                return Err(ResourceConflictException::new(format!(
                    "Alias already exists: {}:{}",
                    row.arn, input.name
                ))
                .into());
            }
            let alias = AliasRow {
                version: input.function_version,
                description: input.description.unwrap_or_default(),
                weights: weights(input.routing_config),
                revision_id: cx.random().uuid(),
            };
            check(row, &alias)?;
            let answer = wire(row, &input.name, &alias);
            row.aliases.insert(input.name, alias);
            Ok(answer)
        })
        .await
}

pub async fn get_alias(
    lambda: &Lambda,
    cx: &Cx,
    input: GetAliasRequest,
) -> Result<AliasConfiguration, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    let alias = row.aliases.get(&input.name).ok_or_else(|| no_alias(&row, &input.name))?;
    Ok(wire(&row, &input.name, alias))
}

pub async fn list_aliases(
    lambda: &Lambda,
    cx: &Cx,
    input: ListAliasesRequest,
) -> Result<ListAliasesResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    let of_version = input.function_version;
    let chosen = row.aliases.iter().filter(|(_, alias)| {
        of_version.as_ref().is_none_or(|v| *v == alias.version || alias.weights.contains_key(v))
    });
    let limit = usize::try_from(input.max_items.unwrap_or(50).min(50)).unwrap_or(50);
    let page = page(chosen, |(name, _)| name.to_string(), input.marker.as_deref(), limit);
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    let aliases = page.items.into_iter().map(|(name, alias)| wire(&row, name, alias)).collect();
    Ok(ListAliasesResponse { aliases: Some(aliases), next_marker: page.next_token })
}

pub async fn update_alias(
    lambda: &Lambda,
    cx: &Cx,
    input: UpdateAliasRequest,
) -> Result<AliasConfiguration, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    lambda
        .change(&named, None, |row| {
            let mut alias = row.aliases.get(&input.name).cloned().ok_or_else(|| no_alias(row, &input.name))?;
            if input.revision_id.is_some_and(|revision| revision != alias.revision_id) {
                return Err(PreconditionFailedException::new("The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id").into());
            }
            alias.version = input.function_version.unwrap_or(alias.version);
            alias.description = input.description.unwrap_or(alias.description);
            if input.routing_config.is_some() {
                alias.weights = weights(input.routing_config);
            }
            alias.revision_id = cx.random().uuid();
            check(row, &alias)?;
            let answer = wire(row, &input.name, &alias);
            row.aliases.insert(input.name, alias);
            Ok(answer)
        })
        .await
}

pub async fn delete_alias(lambda: &Lambda, cx: &Cx, input: DeleteAliasRequest) -> Result<Unit, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    lambda
        .change(&named, None, |row| {
            row.aliases.remove(&input.name);
            row.provisioned.remove(&input.name);
            Ok(Unit)
        })
        .await
}

fn check(row: &FunctionRow, alias: &AliasRow) -> Result<(), Fault> {
    for version in std::iter::once(&alias.version).chain(alias.weights.keys()) {
        let known = version == "$LATEST"
            || version.parse().is_ok_and(|number: u64| row.versions.contains_key(&number));
        if !known {
            return Err(
                ResourceNotFoundException::new(format!("Function not found: {}:{version}", row.arn)).into()
            );
        }
    }
    let invalid = |sentence: &str| Err(InvalidParameterValueException::new(sentence).into());
    if alias.weights.len() > 1 {
        return invalid("Number of items in AdditionalVersionWeights cannot be greater than 1");
    }
    if !alias.weights.is_empty() && (alias.version == "$LATEST" || alias.weights.contains_key("$LATEST")) {
        return invalid("$LATEST is not supported for an alias pointing to more than 1 version");
    }
    if alias.weights.contains_key(&alias.version) {
        let version = &alias.version;
        return invalid(&format!(
            "Invalid function version {version}. Function version {version} is already included in routing configuration."
        ));
    }
    if alias.weights.values().any(|weight| !(0.0..=1.0).contains(weight)) {
        return invalid("Weights must be between 0.0 and 1.0");
    }
    Ok(())
}

fn weights(config: Option<AliasRoutingConfiguration>) -> BTreeMap<String, f64> {
    config.and_then(|config| config.additional_version_weights).unwrap_or_default()
}

fn wire(row: &FunctionRow, name: &str, alias: &AliasRow) -> AliasConfiguration {
    AliasConfiguration {
        alias_arn: Some(format!("{}:{name}", row.arn)),
        name: Some(name.to_string()),
        function_version: Some(alias.version.clone()),
        description: Some(alias.description.clone()),
        routing_config: (!alias.weights.is_empty())
            .then(|| AliasRoutingConfiguration { additional_version_weights: Some(alias.weights.clone()) }),
        revision_id: Some(alias.revision_id.clone()),
    }
}

fn no_alias(row: &FunctionRow, name: &str) -> Fault {
    ResourceNotFoundException::new(format!("Cannot find alias arn: {}:{name}", row.arn)).into()
}
