//! Long-lived access keys of users: at most two each.

use base64::{Engine, prelude::BASE64_STANDARD};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Iam, api,
    api::{
        AccessKeyMetadata, CreateAccessKeyRequest, CreateAccessKeyResponse, DeleteAccessKeyRequest,
        LimitExceededException, ListAccessKeysRequest, ListAccessKeysResponse, NoSuchEntityException,
        StatusType, UpdateAccessKeyRequest,
    },
    roles::page,
    state::{Account, Change, Key},
    users,
};

const MOST_KEYS: usize = 2;

pub async fn create_access_key(
    iam: &Iam,
    cx: &Cx,
    input: CreateAccessKeyRequest,
) -> Result<CreateAccessKeyResponse, Fault> {
    let user = user_of(iam, cx, input.user_name)?;
    let key = Key {
        id: format!("AKIA{}", cx.random().base32(16)),
        secret: BASE64_STANDARD.encode(cx.random().bytes::<30>()),
        user,
        active: true,
        created_at: cx.now().secs(),
    };
    iam.change(cx, |account| {
        users::find(account, &key.user)?;
        if account.keys.values().filter(|known| known.user == key.user).count() >= MOST_KEYS {
            return Err(LimitExceededException::new(format!(
                "Cannot exceed quota for AccessKeysPerUser: {MOST_KEYS}"
            ))
            .into());
        }
        let access_key = api::AccessKey {
            user_name: key.user.clone(),
            access_key_id: key.id.clone(),
            status: StatusType::Active,
            secret_access_key: key.secret.clone(),
            create_date: Some(Timestamp::from_secs(key.created_at)),
        };
        Ok((vec![Change::Key(key)], CreateAccessKeyResponse { access_key }))
    })
    .await
}

pub async fn list_access_keys(
    iam: &Iam,
    cx: &Cx,
    input: ListAccessKeysRequest,
) -> Result<ListAccessKeysResponse, Fault> {
    let user = user_of(iam, cx, input.user_name)?;
    let page = iam.read(cx.account(), |account| {
        users::find(account, &user)?;
        let keys = account.keys.values().filter(|key| key.user == user);
        page(keys.map(|key| (key.id.clone(), wire(key))), input.marker.as_deref(), input.max_items)
    })?;
    let access_key_metadata = page.items.into_iter().map(|(_, key)| key).collect();
    Ok(ListAccessKeysResponse {
        access_key_metadata,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub async fn update_access_key(iam: &Iam, cx: &Cx, input: UpdateAccessKeyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let key = find(account, &input.access_key_id)?.clone();
        Ok((vec![Change::Key(Key { active: input.status == StatusType::Active, ..key })], Unit))
    })
    .await
}

pub async fn delete_access_key(iam: &Iam, cx: &Cx, input: DeleteAccessKeyRequest) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        find(account, &input.access_key_id)?;
        Ok((vec![Change::NoKey(input.access_key_id.clone())], Unit))
    })
    .await
}

fn user_of(iam: &Iam, cx: &Cx, named: Option<String>) -> Result<String, Fault> {
    named.or_else(|| users::caller(iam, cx)).ok_or_else(|| {
        Fault::new("ValidationError", "Must specify userName when calling with non-User credentials")
    })
}

fn find<'a>(account: &'a Account, id: &str) -> Result<&'a Key, Fault> {
    let missing =
        || NoSuchEntityException::new(format!("The Access Key with id {id} cannot be found.")).into();
    account.keys.get(id).ok_or_else(missing)
}

fn wire(key: &Key) -> AccessKeyMetadata {
    AccessKeyMetadata {
        user_name: Some(key.user.clone()),
        access_key_id: Some(key.id.clone()),
        status: Some(if key.active { StatusType::Active } else { StatusType::Inactive }),
        create_date: Some(Timestamp::from_secs(key.created_at)),
    }
}
