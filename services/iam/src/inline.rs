//! Policies written into a role or user itself.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Iam,
    api::{
        DeleteRolePolicyRequest, DeleteUserPolicyRequest, GetRolePolicyRequest, GetRolePolicyResponse,
        GetUserPolicyRequest, GetUserPolicyResponse, ListRolePoliciesRequest, ListRolePoliciesResponse,
        ListUserPoliciesRequest, ListUserPoliciesResponse, NoSuchEntityException, PutRolePolicyRequest,
        PutUserPolicyRequest,
    },
    documents::{check, encode},
    roles::{self, page},
    state::{Change, Policies},
    users,
};

pub async fn put_role_policy(iam: &Iam, cx: &Cx, input: PutRolePolicyRequest) -> Result<Unit, Fault> {
    check(&input.policy_document)?;
    iam.change(cx, |account| {
        let mut role = roles::find(account, &input.role_name)?.clone();
        role.policies.inline.insert(input.policy_name, input.policy_document);
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn get_role_policy(
    iam: &Iam,
    cx: &Cx,
    input: GetRolePolicyRequest,
) -> Result<GetRolePolicyResponse, Fault> {
    iam.read(cx.account(), |account| {
        let role = roles::find(account, &input.role_name)?;
        let policy_document = encode(find(&role.policies, &input.policy_name, "role")?);
        Ok(GetRolePolicyResponse {
            role_name: role.name.clone(),
            policy_name: input.policy_name.clone(),
            policy_document,
        })
    })
}

pub async fn list_role_policies(
    iam: &Iam,
    cx: &Cx,
    input: ListRolePoliciesRequest,
) -> Result<ListRolePoliciesResponse, Fault> {
    let page = iam.read(cx.account(), |account| {
        let names = roles::find(account, &input.role_name)?.policies.inline.keys().cloned();
        page(names.map(|name| (name, ())), input.marker.as_deref(), input.max_items)
    })?;
    let policy_names = page.items.into_iter().map(|(name, ())| name).collect();
    Ok(ListRolePoliciesResponse {
        policy_names,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub async fn delete_role_policy(iam: &Iam, cx: &Cx, input: DeleteRolePolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut role = roles::find(account, &input.role_name)?.clone();
        find(&role.policies, &input.policy_name, "role")?;
        role.policies.inline.remove(&input.policy_name);
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn put_user_policy(iam: &Iam, cx: &Cx, input: PutUserPolicyRequest) -> Result<Unit, Fault> {
    check(&input.policy_document)?;
    iam.change(cx, |account| {
        let mut user = users::find(account, &input.user_name)?.clone();
        user.policies.inline.insert(input.policy_name, input.policy_document);
        Ok((vec![Change::User(user)], Unit))
    })
    .await
}

pub async fn get_user_policy(
    iam: &Iam,
    cx: &Cx,
    input: GetUserPolicyRequest,
) -> Result<GetUserPolicyResponse, Fault> {
    iam.read(cx.account(), |account| {
        let user = users::find(account, &input.user_name)?;
        let policy_document = encode(find(&user.policies, &input.policy_name, "user")?);
        Ok(GetUserPolicyResponse {
            user_name: user.name.clone(),
            policy_name: input.policy_name.clone(),
            policy_document,
        })
    })
}

pub async fn list_user_policies(
    iam: &Iam,
    cx: &Cx,
    input: ListUserPoliciesRequest,
) -> Result<ListUserPoliciesResponse, Fault> {
    let page = iam.read(cx.account(), |account| {
        let names = users::find(account, &input.user_name)?.policies.inline.keys().cloned();
        page(names.map(|name| (name, ())), input.marker.as_deref(), input.max_items)
    })?;
    let policy_names = page.items.into_iter().map(|(name, ())| name).collect();
    Ok(ListUserPoliciesResponse {
        policy_names,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub async fn delete_user_policy(iam: &Iam, cx: &Cx, input: DeleteUserPolicyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut user = users::find(account, &input.user_name)?.clone();
        find(&user.policies, &input.policy_name, "user")?;
        user.policies.inline.remove(&input.policy_name);
        Ok((vec![Change::User(user)], Unit))
    })
    .await
}

fn find<'a>(policies: &'a Policies, name: &str, kind: &str) -> Result<&'a str, Fault> {
    let found = policies.inline.get(name).map(String::as_str);
    found.ok_or_else(|| {
        NoSuchEntityException::new(format!("The {kind} policy with name {name} cannot be found.")).into()
    })
}
