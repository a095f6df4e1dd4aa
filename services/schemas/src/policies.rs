//! Policies of registries: checked for their form, kept and shown; enforced with IAM's, later.

use tidemill_api::Unit;
use tidemill_platform::{
    Cx, Fault,
    policy::{Flaw, check_resource_policy},
};

use crate::{
    Schemas,
    api::{
        DeleteResourcePolicyRequest, GetResourcePolicyRequest, GetResourcePolicyResponse,
        PutResourcePolicyRequest, PutResourcePolicyResponse,
    },
    checks,
    faults::{bad_request, not_found, precondition_failed},
};

pub async fn put_resource_policy(
    schemas: &Schemas,
    cx: &Cx,
    input: PutResourcePolicyRequest,
) -> Result<PutResourcePolicyResponse, Fault> {
    let name = named(input.registry_name)?;
    let policy = checks::required(input.policy, "Policy")?;
    let (revision, policy) = schemas.put_policy(cx, &name, policy, input.revision_id.as_deref()).await?;
    Ok(PutResourcePolicyResponse { policy: Some(policy), revision_id: Some(revision) })
}

impl Schemas {
    /// Sets a registry's policy; its revision and text. `revision` is the one it must have so far.
    pub async fn put_policy(
        &self,
        cx: &Cx,
        registry: &str,
        policy: String,
        revision: Option<&str>,
    ) -> Result<(String, String), Fault> {
        check_resource_policy(&policy, "schemas").map_err(|flaw| {
            bad_request(match flaw {
                Flaw::Form => "The policy does not have the form of a resource policy.",
                Flaw::OtherService => "The policy allows actions that are not those of EventBridge Schemas.",
            })
        })?;
        self.change_registry(cx, registry, |row| {
            let current = row.policy.as_ref().map(|(revision, _)| revision.as_str());
            if revision.is_some() && revision != current {
                return Err(precondition_failed("The RevisionId is not that of the current policy."));
            }
            let next = (cx.random().uuid(), policy);
            row.policy = Some(next.clone());
            Ok(next)
        })
        .await
    }

    pub async fn delete_policy(&self, cx: &Cx, registry: &str) -> Result<(), Fault> {
        self.change_registry(cx, registry, |row| match row.policy.take() {
            Some(_) => Ok(()),
            None => Err(no_policy(registry)),
        })
        .await
    }
}

pub async fn get_resource_policy(
    schemas: &Schemas,
    cx: &Cx,
    input: GetResourcePolicyRequest,
) -> Result<GetResourcePolicyResponse, Fault> {
    let name = named(input.registry_name)?;
    let policy = schemas.show(|kept| Ok::<_, Fault>(kept.registry(cx, &name)?.policy.clone())).await?;
    let (revision, policy) = policy.ok_or_else(|| no_policy(&name))?;
    Ok(GetResourcePolicyResponse { policy: Some(policy), revision_id: Some(revision) })
}

pub async fn delete_resource_policy(
    schemas: &Schemas,
    cx: &Cx,
    input: DeleteResourcePolicyRequest,
) -> Result<Unit, Fault> {
    schemas.delete_policy(cx, &named(input.registry_name)?).await?;
    Ok(Unit)
}

fn named(registry: Option<String>) -> Result<String, Fault> {
    checks::required(registry, "RegistryName")
}

fn no_policy(registry: &str) -> Fault {
    not_found(format!("Registry with name {registry} has no policy."))
}
