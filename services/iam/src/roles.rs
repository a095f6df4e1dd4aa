//! Roles.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Iam, api,
    api::{
        CreateRoleRequest, CreateRoleResponse, DeleteConflictException, DeleteRoleRequest, GetRoleRequest,
        GetRoleResponse, InvalidInputException, ListRoleTagsRequest, ListRoleTagsResponse, ListRolesRequest,
        ListRolesResponse, Tag, TagRoleRequest, UntagRoleRequest, UpdateAssumeRolePolicyRequest,
        UpdateRoleRequest, UpdateRoleResponse,
    },
    documents::{check, encode, exists, no_role},
    state::{Account, Change, Policies, Role},
};

const DEFAULT_SESSION_S: i32 = 3600;

pub async fn create_role(iam: &Iam, cx: &Cx, input: CreateRoleRequest) -> Result<CreateRoleResponse, Fault> {
    if input.permissions_boundary.is_some() {
        return Err(Fault::not_implemented("CreateRole with PermissionsBoundary"));
    }
    check(&input.assume_role_policy_document)?;
    let path = input.path.unwrap_or_else(|| "/".into());
    let role = Role {
        arn: format!("arn:aws:iam::{}:role{path}{}", cx.account(), input.role_name),
        id: format!("AROA{}", cx.random().base32(17)),
        name: input.role_name,
        path,
        created_at: cx.now().secs(),
        trust_policy: input.assume_role_policy_document,
        description: input.description,
        max_session_s: input.max_session_duration.unwrap_or(DEFAULT_SESSION_S),
        tags: tags(input.tags.unwrap_or_default()),
        policies: Policies::default(),
    };
    let answer = CreateRoleResponse { role: wire(&role) };
    iam.change(cx, |account| {
        if account.roles.contains_key(&role.name) {
            return Err(exists("Role", &role.name));
        }
        Ok((vec![Change::Role(role)], answer))
    })
    .await
}

pub async fn get_role(iam: &Iam, cx: &Cx, input: GetRoleRequest) -> Result<GetRoleResponse, Fault> {
    iam.read(cx.account(), |account| Ok(GetRoleResponse { role: wire(find(account, &input.role_name)?) }))
}

pub async fn list_roles(iam: &Iam, cx: &Cx, input: ListRolesRequest) -> Result<ListRolesResponse, Fault> {
    let prefix = input.path_prefix.unwrap_or_default();
    let page = iam.read(cx.account(), |account| {
        let roles = account.roles.values().filter(|role| role.path.starts_with(&prefix));
        page(roles.map(|role| (role.name.clone(), wire(role))), input.marker.as_deref(), input.max_items)
    })?;
    // Lists leave tags out; GetRole has them.
    let roles = page.items.into_iter().map(|(_, role)| api::Role { tags: None, ..role }).collect();
    Ok(ListRolesResponse { roles, is_truncated: Some(page.next_token.is_some()), marker: page.next_token })
}

pub async fn delete_role(iam: &Iam, cx: &Cx, input: DeleteRoleRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let role = find(account, &input.role_name)?;
        if !role.policies.attached.is_empty() {
            return Err(DeleteConflictException::new(
                "Cannot delete entity, must detach all policies first.",
            )
            .into());
        }
        if !role.policies.inline.is_empty() {
            return Err(
                DeleteConflictException::new("Cannot delete entity, must delete policies first.").into()
            );
        }
        Ok((vec![Change::NoRole(input.role_name.clone())], Unit))
    })
    .await
}

pub async fn update_role(iam: &Iam, cx: &Cx, input: UpdateRoleRequest) -> Result<UpdateRoleResponse, Fault> {
    iam.change(cx, |account| {
        let mut role = find(account, &input.role_name)?.clone();
        role.description = input.description.or(role.description);
        role.max_session_s = input.max_session_duration.unwrap_or(role.max_session_s);
        Ok((vec![Change::Role(role)], UpdateRoleResponse::default()))
    })
    .await
}

pub async fn update_assume_role_policy(
    iam: &Iam,
    cx: &Cx,
    input: UpdateAssumeRolePolicyRequest,
) -> Result<Unit, Fault> {
    check(&input.policy_document)?;
    iam.change(cx, |account| {
        let role = Role { trust_policy: input.policy_document, ..find(account, &input.role_name)?.clone() };
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn tag_role(iam: &Iam, cx: &Cx, input: TagRoleRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut role = find(account, &input.role_name)?.clone();
        role.tags.extend(tags(input.tags));
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn untag_role(iam: &Iam, cx: &Cx, input: UntagRoleRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut role = find(account, &input.role_name)?.clone();
        role.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok((vec![Change::Role(role)], Unit))
    })
    .await
}

pub async fn list_role_tags(
    iam: &Iam,
    cx: &Cx,
    input: ListRoleTagsRequest,
) -> Result<ListRoleTagsResponse, Fault> {
    iam.read(cx.account(), |account| {
        let role = find(account, &input.role_name)?;
        Ok(ListRoleTagsResponse {
            tags: wire_tags(&role.tags),
            is_truncated: Some(false),
            ..ListRoleTagsResponse::default()
        })
    })
}

pub fn find<'a>(account: &'a Account, name: &str) -> Result<&'a Role, Fault> {
    account.roles.get(name).ok_or_else(|| no_role(name))
}

fn wire(role: &Role) -> api::Role {
    api::Role {
        path: role.path.clone(),
        role_name: role.name.clone(),
        role_id: role.id.clone(),
        arn: role.arn.clone(),
        create_date: Timestamp::from_secs(role.created_at),
        assume_role_policy_document: Some(encode(&role.trust_policy)),
        description: role.description.clone(),
        max_session_duration: Some(role.max_session_s),
        tags: (!role.tags.is_empty()).then(|| wire_tags(&role.tags)),
        role_last_used: Some(api::RoleLastUsed::default()),
        ..api::Role::default()
    }
}

pub fn tags(tags: Vec<Tag>) -> std::collections::BTreeMap<String, String> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

pub fn wire_tags(tags: &std::collections::BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// IAM's lists hold a hundred items unless asked otherwise.
pub fn page<T>(
    items: impl Iterator<Item = (String, T)>,
    marker: Option<&str>,
    limit: Option<i32>,
) -> Result<tidemill_platform::page::Page<(String, T)>, Fault> {
    let limit = usize::try_from(limit.unwrap_or(100)).unwrap_or(100);
    tidemill_platform::page::page(items, |(key, _)| key.clone(), marker, limit)
        .ok_or_else(|| InvalidInputException::new("Invalid Marker.").into())
}
