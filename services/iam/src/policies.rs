//! Customer-managed policies.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Iam, api,
    api::{
        CreatePolicyRequest, CreatePolicyResponse, DeleteConflictException, DeletePolicyRequest,
        EntityAlreadyExistsException, GetPolicyRequest, GetPolicyResponse, ListPoliciesRequest,
        ListPoliciesResponse, PolicyScopeType,
    },
    documents::{check, no_policy},
    roles::{page, tags, wire_tags},
    state::{Account, Change, Policy, Version},
};

pub async fn create_policy(
    iam: &Iam,
    cx: &Cx,
    input: CreatePolicyRequest,
) -> Result<CreatePolicyResponse, Fault> {
    check(&input.policy_document)?;
    let path = input.path.unwrap_or_else(|| "/".into());
    let now = cx.now().secs();
    let policy = Policy {
        arn: format!("arn:aws:iam::{}:policy{path}{}", cx.account(), input.policy_name),
        id: format!("ANPA{}", cx.random().base32(17)),
        name: input.policy_name,
        path,
        description: input.description,
        created_at: now,
        updated_at: now,
        tags: tags(input.tags.unwrap_or_default()),
        versions: [(1, Version { document: input.policy_document, created_at: now })].into(),
        default_version: 1,
        last_version: 1,
    };
    iam.change(cx, |account| {
        if account.policies.values().any(|known| known.name == policy.name) {
            let sentence =
                format!("A policy called {} already exists. Duplicate names are not allowed.", policy.name);
            return Err(EntityAlreadyExistsException::new(sentence).into());
        }
        let answer = CreatePolicyResponse { policy: Some(wire(&policy, 0)) };
        Ok((vec![Change::Policy(policy)], answer))
    })
    .await
}

pub async fn get_policy(iam: &Iam, cx: &Cx, input: GetPolicyRequest) -> Result<GetPolicyResponse, Fault> {
    iam.read(cx.account(), |account| {
        let policy = find(account, &input.policy_arn)?;
        Ok(GetPolicyResponse { policy: Some(wire(policy, account.attachment_count(&policy.arn))) })
    })
}

/// Customer-managed policies only: the documents of AWS's own are not part of the platform.
pub async fn list_policies(
    iam: &Iam,
    cx: &Cx,
    input: ListPoliciesRequest,
) -> Result<ListPoliciesResponse, Fault> {
    if input.scope == Some(PolicyScopeType::Aws) {
        return Err(Fault::not_implemented("ListPolicies of AWS managed policies"));
    }
    if input.policy_usage_filter.is_some() {
        return Err(Fault::not_implemented("ListPolicies with PolicyUsageFilter"));
    }
    let prefix = input.path_prefix.unwrap_or_default();
    let attached_only = input.only_attached == Some(true);
    let page = iam.read(cx.account(), |account| {
        let policies = account.policies.values().filter(|policy| policy.path.starts_with(&prefix));
        let counted = policies.map(|policy| (policy, account.attachment_count(&policy.arn)));
        let chosen = counted.filter(|(_, count)| !attached_only || *count > 0);
        let listed = chosen.map(|(policy, count)| {
            (policy.arn.clone(), api::Policy { tags: None, description: None, ..wire(policy, count) })
        });
        page(listed, input.marker.as_deref(), input.max_items)
    })?;
    let policies = Some(page.items.into_iter().map(|(_, policy)| policy).collect());
    Ok(ListPoliciesResponse {
        policies,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub async fn delete_policy(iam: &Iam, cx: &Cx, input: DeletePolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let policy = find(account, &input.policy_arn)?;
        if account.attachment_count(&policy.arn) > 0 {
            return Err(DeleteConflictException::new("Cannot delete a policy attached to entities.").into());
        }
        if policy.versions.len() > 1 {
            return Err(DeleteConflictException::new("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.").into());
        }
        Ok((vec![Change::NoPolicy(input.policy_arn.clone())], Unit))
    })
    .await
}

pub fn find<'a>(account: &'a Account, arn: &str) -> Result<&'a Policy, Fault> {
    if arn.starts_with("arn:aws:iam::aws:policy/") {
        return Err(Fault::not_implemented(format!("reading the AWS managed policy {arn}")));
    }
    account.policies.get(arn).ok_or_else(|| no_policy(arn))
}

fn wire(policy: &Policy, attachments: usize) -> api::Policy {
    api::Policy {
        policy_name: Some(policy.name.clone()),
        policy_id: Some(policy.id.clone()),
        arn: Some(policy.arn.clone()),
        path: Some(policy.path.clone()),
        default_version_id: Some(format!("v{}", policy.default_version)),
        attachment_count: Some(i32::try_from(attachments).unwrap_or(i32::MAX)),
        permissions_boundary_usage_count: Some(0),
        is_attachable: Some(true),
        description: policy.description.clone(),
        create_date: Some(Timestamp::from_secs(policy.created_at)),
        update_date: Some(Timestamp::from_secs(policy.updated_at)),
        tags: (!policy.tags.is_empty()).then(|| wire_tags(&policy.tags)),
    }
}
