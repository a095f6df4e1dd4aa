//! Users.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Iam, api,
    api::{
        CreateUserRequest, CreateUserResponse, DeleteConflictException, DeleteUserRequest, GetUserRequest,
        GetUserResponse, ListUsersRequest, ListUsersResponse,
    },
    documents::{exists, no_user},
    roles::{page, tags, wire_tags},
    state::{Account, Change, Policies, User},
};

pub async fn create_user(iam: &Iam, cx: &Cx, input: CreateUserRequest) -> Result<CreateUserResponse, Fault> {
    if input.permissions_boundary.is_some() {
        return Err(Fault::not_implemented("CreateUser with PermissionsBoundary"));
    }
    let path = input.path.unwrap_or_else(|| "/".into());
    let user = User {
        arn: format!("arn:aws:iam::{}:user{path}{}", cx.account(), input.user_name),
        id: format!("AIDA{}", cx.random().base32(17)),
        name: input.user_name,
        path,
        created_at: cx.now().secs(),
        tags: tags(input.tags.unwrap_or_default()),
        policies: Policies::default(),
    };
    iam.change(cx, |account| {
        if account.users.contains_key(&user.name) {
            return Err(exists("User", &user.name));
        }
        let answer = CreateUserResponse { user: Some(wire(&user)) };
        Ok((vec![Change::User(user)], answer))
    })
    .await
}

/// Without a name it is the caller: the user who holds the key, or the account's root.
pub async fn get_user(iam: &Iam, cx: &Cx, input: GetUserRequest) -> Result<GetUserResponse, Fault> {
    let name = input.user_name.or_else(|| caller(iam, cx));
    let Some(name) = name else { return Ok(GetUserResponse { user: root(cx) }) };
    iam.read(cx.account(), |account| Ok(GetUserResponse { user: wire(find(account, &name)?) }))
}

/// The user whose key signed the request.
pub fn caller(iam: &Iam, cx: &Cx) -> Option<String> {
    let key = &cx.request().principal.access_key;
    iam.read(cx.account(), |account| account.keys.get(key).map(|key| key.user.clone()))
}

fn root(cx: &Cx) -> api::User {
    api::User {
        path: "/".into(),
        user_name: cx.account().to_string(),
        user_id: cx.account().to_string(),
        arn: format!("arn:aws:iam::{}:root", cx.account()),
        ..api::User::default()
    }
}

pub async fn list_users(iam: &Iam, cx: &Cx, input: ListUsersRequest) -> Result<ListUsersResponse, Fault> {
    let prefix = input.path_prefix.unwrap_or_default();
    let page = iam.read(cx.account(), |account| {
        let users = account.users.values().filter(|user| user.path.starts_with(&prefix));
        page(
            users.map(|user| (user.name.clone(), api::User { tags: None, ..wire(user) })),
            input.marker.as_deref(),
            input.max_items,
        )
    })?;
    let users = page.items.into_iter().map(|(_, user)| user).collect();
    Ok(ListUsersResponse { users, is_truncated: Some(page.next_token.is_some()), marker: page.next_token })
}

pub async fn delete_user(iam: &Iam, cx: &Cx, input: DeleteUserRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let user = find(account, &input.user_name)?;
        let conflict = |what: &str| {
            Err(DeleteConflictException::new(format!("Cannot delete entity, must {what} first.")).into())
        };
        if !user.policies.attached.is_empty() {
            return conflict("detach all policies");
        }
        if !user.policies.inline.is_empty() {
            return conflict("delete policies");
        }
        if account.keys.values().any(|key| key.user == user.name) {
            return conflict("delete access keys");
        }
        Ok((vec![Change::NoUser(input.user_name.clone())], Unit))
    })
    .await
}

pub fn find<'a>(account: &'a Account, name: &str) -> Result<&'a User, Fault> {
    account.users.get(name).ok_or_else(|| no_user(name))
}

fn wire(user: &User) -> api::User {
    api::User {
        path: user.path.clone(),
        user_name: user.name.clone(),
        user_id: user.id.clone(),
        arn: user.arn.clone(),
        create_date: Timestamp::from_secs(user.created_at),
        tags: (!user.tags.is_empty()).then(|| wire_tags(&user.tags)),
        ..api::User::default()
    }
}
