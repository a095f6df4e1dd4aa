//! Provisioned concurrency: its API, and having the executor keep what is configured.
//!
//! A configuration belongs to a version or an alias. What an alias asks for goes to the versions it leads to, by their weights.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Trace, page::page};
use tidemill_sandbox::{FunctionSpec, Initialization, WASM_RUNTIME};

use crate::{
    Lambda,
    api::{
        DeleteProvisionedConcurrencyConfigRequest, GetProvisionedConcurrencyConfigRequest,
        GetProvisionedConcurrencyConfigResponse, InvalidParameterValueException,
        ListProvisionedConcurrencyConfigsRequest, ListProvisionedConcurrencyConfigsResponse,
        ProvisionedConcurrencyConfigListItem, ProvisionedConcurrencyConfigNotFoundException,
        ProvisionedConcurrencyStatusEnum as Status, PutProvisionedConcurrencyConfigRequest,
        PutProvisionedConcurrencyConfigResponse, ResourceConflictException, ResourceNotFoundException,
    },
    concurrency::UNRESERVED,
    configuration,
    names::Named,
    state::FunctionRow,
};

/// What is kept ready for a version or an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvisionedRow {
    pub wanted: i32,
    /// Milliseconds since 1970.
    pub modified_at: i64,
}

/// Has one change after the other carried out, and remembers what could not be.
#[derive(Default)]
pub struct Provisioning {
    turn: tokio::sync::Mutex<()>,
    /// Function ARN → why nothing could be begun.
    failed: Mutex<HashMap<String, String>>,
}

impl FunctionRow {
    /// How much each version is to have ready.
    pub fn provisioned_by_version(&self) -> BTreeMap<String, i32> {
        let mut versions = BTreeMap::new();
        for (qualifier, row) in &self.provisioned {
            for (version, wanted) in self.shares(qualifier, row.wanted) {
                *versions.entry(version).or_default() += wanted;
            }
        }
        versions
    }

    pub fn provisioned_total(&self) -> i32 {
        self.provisioned.values().map(|row| row.wanted).sum()
    }

    /// What of the account's concurrency other functions cannot have.
    pub fn kept_concurrency(&self) -> i32 {
        self.reserved_concurrency.unwrap_or_else(|| self.provisioned_total())
    }

    fn shares(&self, qualifier: &str, wanted: i32) -> Vec<(String, i32)> {
        let Some(alias) = self.aliases.get(qualifier) else { return vec![(qualifier.to_string(), wanted)] };
        let mut left = wanted;
        let mut shares = Vec::new();
        for (version, weight) in &alias.weights {
            let share = ((f64::from(wanted) * weight).round() as i32).clamp(0, left);
            left -= share;
            shares.push((version.clone(), share));
        }
        shares.push((alias.version.clone(), left));
        shares
    }
}

pub async fn put_provisioned_concurrency_config(
    lambda: &Lambda,
    cx: &Cx,
    input: PutProvisionedConcurrencyConfigRequest,
) -> Result<PutProvisionedConcurrencyConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, Some(&input.qualifier))?;
    let fresh =
        ProvisionedRow { wanted: input.provisioned_concurrent_executions, modified_at: cx.now().millis() };
    let kept_by_others: i32 = lambda
        .list(cx.account(), cx.region())
        .iter()
        .filter(|f| f.arn != named.arn)
        .map(|f| f.kept_concurrency())
        .sum();
    let unreserved = lambda.quotas.concurrency - kept_by_others;
    lambda
        .change(&named, None, |row| {
            check_qualifier(row, &named, &input.qualifier)?;
            check_room(row, &input.qualifier, fresh.wanted, unreserved)?;
            check_runtime(row)?;
            let shares = row.shares(&input.qualifier, 0);
            crate::snapstart::check_provisioned(row, shares.iter().map(|(version, _)| version.as_str()))?;
            row.provisioned.insert(input.qualifier.clone(), fresh.clone());
            Ok(())
        })
        .await?;
    // Asked for again as it was, what failed is tried again.
    lambda.provision_soon(&named.arn);
    Ok(PutProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(fresh.wanted),
        available_provisioned_concurrent_executions: Some(0),
        allocated_provisioned_concurrent_executions: Some(0),
        status: Some(Status::InProgress),
        last_modified: Some(configuration::modified(fresh.modified_at)),
        ..Default::default()
    })
}

/// WebAssembly functions begin anew with each invocation: nothing could be kept ready.
fn check_runtime(row: &FunctionRow) -> Result<(), Fault> {
    let mut runtimes = std::iter::once(&row.latest).chain(row.versions.values()).map(|c| &c.runtime);
    match runtimes.any(|runtime| runtime == WASM_RUNTIME) {
        true => Err(Fault::not_implemented("provisioned concurrency of the runtime provided.wasm")),
        false => Ok(()),
    }
}

/// A version is provisioned by one configuration, its own or that of one alias.
fn check_qualifier(row: &FunctionRow, named: &Named, qualifier: &str) -> Result<(), Fault> {
    let unpublished = || {
        Fault::from(InvalidParameterValueException::new(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ))
    };
    if qualifier == "$LATEST" {
        return Err(unpublished());
    }
    let is_version = qualifier.bytes().all(|byte| byte.is_ascii_digit());
    if !row.has(Some(qualifier)) {
        let sentence = if is_version {
            format!("Function not found: {}", named.qualified_arn())
        } else {
            format!("Cannot find alias arn: {}", named.qualified_arn())
        };
        return Err(ResourceNotFoundException::new(sentence).into());
    }
    let mine = row.shares(qualifier, 0);
    if mine.iter().any(|(version, _)| version == "$LATEST") {
        return Err(unpublished());
    }
    let others = row.provisioned.keys().filter(|other| *other != qualifier);
    for other in others {
        let shared =
            row.shares(other, 0).iter().any(|(version, _)| mine.iter().any(|(own, _)| own == version));
        if shared {
            let sentence = if is_version {
                "Version is pointed by a Provisioned Concurrency alias"
            } else {
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            };
            return Err(ResourceConflictException::new(sentence).into());
        }
    }
    Ok(())
}

/// `unreserved` is what other functions leave of the account's concurrency.
fn check_room(row: &FunctionRow, qualifier: &str, wanted: i32, unreserved: i32) -> Result<(), Fault> {
    let invalid = |sentence: String| Err(InvalidParameterValueException::new(sentence).into());
    let there = row.provisioned.get(qualifier).map_or(0, |row| row.wanted);
    let in_all = (row.provisioned_total() - there).saturating_add(wanted);
    if let Some(reserved) = row.reserved_concurrency {
        return if in_all <= reserved {
            Ok(())
        } else {
            invalid("Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function".into())
        };
    }
    if in_all > unreserved {
        return invalid(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}]."
        ));
    }
    if unreserved - in_all < UNRESERVED {
        return invalid(format!(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
        ));
    }
    Ok(())
}

pub async fn get_provisioned_concurrency_config(
    lambda: &Lambda,
    cx: &Cx,
    input: GetProvisionedConcurrencyConfigRequest,
) -> Result<GetProvisionedConcurrencyConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, Some(&input.qualifier))?;
    let row = lambda.get(&named)?;
    let config = row.provisioned.get(&input.qualifier).ok_or_else(none)?;
    let how = lambda.how_far(&row, &input.qualifier, config);
    Ok(GetProvisionedConcurrencyConfigResponse {
        requested_provisioned_concurrent_executions: Some(config.wanted),
        available_provisioned_concurrent_executions: Some(how.ready),
        allocated_provisioned_concurrent_executions: Some(how.ready),
        status: Some(how.status),
        status_reason: how.reason,
        last_modified: Some(configuration::modified(config.modified_at)),
    })
}

pub async fn list_provisioned_concurrency_configs(
    lambda: &Lambda,
    cx: &Cx,
    input: ListProvisionedConcurrencyConfigsRequest,
) -> Result<ListProvisionedConcurrencyConfigsResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    let limit = usize::try_from(input.max_items.unwrap_or(50).clamp(1, 50)).unwrap_or(50);
    let page = page(&row.provisioned, |(qualifier, _)| qualifier.to_string(), input.marker.as_deref(), limit);
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    let items = page.items.into_iter().map(|(qualifier, config)| {
        let how = lambda.how_far(&row, qualifier, config);
        ProvisionedConcurrencyConfigListItem {
            function_arn: Some(format!("{}:{qualifier}", row.arn)),
            requested_provisioned_concurrent_executions: Some(config.wanted),
            available_provisioned_concurrent_executions: Some(how.ready),
            allocated_provisioned_concurrent_executions: Some(how.ready),
            status: Some(how.status),
            status_reason: how.reason,
            last_modified: Some(configuration::modified(config.modified_at)),
        }
    });
    Ok(ListProvisionedConcurrencyConfigsResponse {
        provisioned_concurrency_configs: Some(items.collect()),
        next_marker: page.next_token,
    })
}

pub async fn delete_provisioned_concurrency_config(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteProvisionedConcurrencyConfigRequest,
) -> Result<Unit, Fault> {
    let named = Named::read(cx, &input.function_name, Some(&input.qualifier))?;
    lambda
        .change(&named, None, |row| {
            row.provisioned.remove(&input.qualifier).ok_or_else(none)?;
            Ok(Unit)
        })
        .await
}

fn none() -> Fault {
    ProvisionedConcurrencyConfigNotFoundException::new(
        "No Provisioned Concurrency Config found for this function",
    )
    .into()
}

struct HowFar {
    ready: i32,
    status: Status,
    reason: Option<String>,
}

impl Lambda {
    fn how_far(&self, row: &FunctionRow, qualifier: &str, config: &ProvisionedRow) -> HowFar {
        let (mut ready, mut reason) = (0, self.provisioning.failed.lock().get(&row.arn).cloned());
        for (version, share) in row.shares(qualifier, config.wanted) {
            let there = self.runner.provisioned(&row.arn, &version);
            ready += share.min(i32::try_from(there.ready).unwrap_or(share));
            reason = reason.or(there.failed);
        }
        let status = match () {
            () if ready >= config.wanted => Status::Ready,
            () if reason.is_some() => Status::Failed,
            () => Status::InProgress,
        };
        HowFar { ready, reason: reason.filter(|_| status == Status::Failed), status }
    }

    /// Has what a function's configurations ask for made ready, or let go, in the background.
    pub fn provision_soon(&self, arn: &str) {
        let Some(lambda) = self.this.upgrade() else { return };
        let arn = arn.to_string();
        tokio::spawn(async move {
            let _turn = lambda.provisioning.turn.lock().await;
            match lambda.provision(&arn).await {
                Ok(()) => drop(lambda.provisioning.failed.lock().remove(&arn)),
                Err(fault) => drop(lambda.provisioning.failed.lock().insert(arn, fault.to_string())),
            }
        });
    }

    async fn provision(&self, arn: &str) -> Result<(), Fault> {
        let row = self.by_arn(arn);
        let versions = row.as_ref().map(|row| row.provisioned_by_version()).unwrap_or_default();
        self.runner.provision_only(arn, &|version| versions.contains_key(version));
        let Some(row) = row else { return Ok(()) };
        let platform = &self.platform;
        let trace = Trace::begin(platform.clock.now(), &platform.random);
        let cx = platform.cx(&row.account, &row.region, trace);
        for (version, wanted) in &versions {
            let Some((_, configuration)) = row.resolve(Some(version), cx.random()) else { continue };
            let spec = self.runner.spec(&cx, &row, version, configuration).await?;
            let spec = FunctionSpec { initialization: Initialization::Provisioned, ..(*spec).clone() };
            self.runner.provision(spec, usize::try_from(*wanted).unwrap_or(0)).await?;
        }
        Ok(())
    }
}
