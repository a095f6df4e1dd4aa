//! Managed policies attached to roles and users. AWS's own (`arn:aws:iam::aws:policy/…`) can be attached by name.

use std::collections::BTreeMap;

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Iam,
    api::{
        AttachRolePolicyRequest, AttachUserPolicyRequest, AttachedPolicy, DetachRolePolicyRequest,
        DetachUserPolicyRequest, ListAttachedRolePoliciesRequest, ListAttachedRolePoliciesResponse,
        ListAttachedUserPoliciesRequest, ListAttachedUserPoliciesResponse, NoSuchEntityException,
    },
    documents::no_policy,
    roles::{self, page},
    state::{Account, Change},
    users,
};

pub async fn attach_role_policy(iam: &Iam, cx: &Cx, input: AttachRolePolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut role = roles::find(account, &input.role_name)?.clone();
        let name = name_of(account, &input.policy_arn)?;
        role.policies.attached.insert(input.policy_arn, name);
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn detach_role_policy(iam: &Iam, cx: &Cx, input: DetachRolePolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut role = roles::find(account, &input.role_name)?.clone();
        detach(&mut role.policies.attached, &input.policy_arn)?;
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn list_attached_role_policies(
    iam: &Iam,
    cx: &Cx,
    input: ListAttachedRolePoliciesRequest,
) -> Result<ListAttachedRolePoliciesResponse, Fault> {
    let page = iam.read(cx.account(), |account| {
        let attached = &roles::find(account, &input.role_name)?.policies.attached;
        page(list(attached, input.path_prefix.as_deref()), input.marker.as_deref(), input.max_items)
    })?;
    let attached_policies = Some(page.items.into_iter().map(|(_, policy)| policy).collect());
    Ok(ListAttachedRolePoliciesResponse {
        attached_policies,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub async fn attach_user_policy(iam: &Iam, cx: &Cx, input: AttachUserPolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut user = users::find(account, &input.user_name)?.clone();
        let name = name_of(account, &input.policy_arn)?;
        user.policies.attached.insert(input.policy_arn, name);
        Ok((vec![Change::User(user)], Unit))
    })
    .await
}

pub async fn detach_user_policy(iam: &Iam, cx: &Cx, input: DetachUserPolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut user = users::find(account, &input.user_name)?.clone();
        detach(&mut user.policies.attached, &input.policy_arn)?;
        Ok((vec![Change::User(user)], Unit))
    })
    .await
}

pub async fn list_attached_user_policies(
    iam: &Iam,
    cx: &Cx,
    input: ListAttachedUserPoliciesRequest,
) -> Result<ListAttachedUserPoliciesResponse, Fault> {
    let page = iam.read(cx.account(), |account| {
        let attached = &users::find(account, &input.user_name)?.policies.attached;
        page(list(attached, input.path_prefix.as_deref()), input.marker.as_deref(), input.max_items)
    })?;
    let attached_policies = Some(page.items.into_iter().map(|(_, policy)| policy).collect());
    Ok(ListAttachedUserPoliciesResponse {
        attached_policies,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

/// The policy's name, if there is such a policy.
pub fn name_of(account: &Account, arn: &str) -> Result<String, Fault> {
    if let Some(policy) = account.policies.get(arn) {
        return Ok(policy.name.clone());
    }
    let of_aws = arn.strip_prefix("arn:aws:iam::aws:policy/").and_then(|path| path.rsplit('/').next());
    let not_attachable =
        || NoSuchEntityException::new(format!("Policy {arn} does not exist or is not attachable.")).into();
    of_aws.filter(|name| !name.is_empty()).map(str::to_string).ok_or_else(not_attachable)
}

fn detach(attached: &mut BTreeMap<String, String>, arn: &str) -> Result<(), Fault> {
    attached.remove(arn).map(drop).ok_or_else(|| no_policy(arn))
}

fn list<'a>(
    attached: &'a BTreeMap<String, String>,
    prefix: Option<&'a str>,
) -> impl Iterator<Item = (String, AttachedPolicy)> + 'a {
    let path = |arn: &str| arn.split_once(":policy").map(|(_, path)| path.to_string()).unwrap_or_default();
    attached.iter().filter(move |(arn, _)| path(arn).starts_with(prefix.unwrap_or("/"))).map(|(arn, name)| {
        (arn.clone(), AttachedPolicy { policy_name: Some(name.clone()), policy_arn: Some(arn.clone()) })
    })
}
