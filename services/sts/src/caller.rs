//! Who the caller is, and temporary credentials for the caller itself.

use tidemill_platform::{Cx, Fault};

use crate::{
    Sts,
    api::{
        Credentials, GetAccessKeyInfoRequest, GetAccessKeyInfoResponse, GetCallerIdentityRequest,
        GetCallerIdentityResponse, GetSessionTokenRequest, GetSessionTokenResponse,
    },
};

/// A session of a caller lasts twelve hours unless asked otherwise.
const DEFAULT_SESSION_S: i32 = 43_200;

pub async fn get_caller_identity(
    _: &Sts,
    cx: &Cx,
    _: GetCallerIdentityRequest,
) -> Result<GetCallerIdentityResponse, Fault> {
    let principal = &cx.request().principal;
    Ok(GetCallerIdentityResponse {
        user_id: Some(principal.user_id.clone()),
        account: Some(cx.account().to_string()),
        arn: Some(principal.arn.clone()),
    })
}

/// A twelve-digit key is its own account; a key somebody holds is that holder's.
pub async fn get_access_key_info(
    _: &Sts,
    cx: &Cx,
    input: GetAccessKeyInfoRequest,
) -> Result<GetAccessKeyInfoResponse, Fault> {
    let key = input.access_key_id;
    let held = cx.platform().doors.identity.get().and_then(|identity| identity.key(&key, None));
    let account = match held {
        Some(holder) => holder.account,
        None if key.len() == 12 && key.bytes().all(|b| b.is_ascii_digit()) => key,
        None => cx.account().to_string(),
    };
    Ok(GetAccessKeyInfoResponse { account: Some(account) })
}

pub async fn get_session_token(
    _: &Sts,
    cx: &Cx,
    input: GetSessionTokenRequest,
) -> Result<GetSessionTokenResponse, Fault> {
    if input.serial_number.is_some() || input.token_code.is_some() {
        return Err(Fault::not_implemented("GetSessionToken with a multi-factor device"));
    }
    let seconds = i64::from(input.duration_seconds.unwrap_or(DEFAULT_SESSION_S));
    let principal = cx.request().principal.clone();
    let credentials = cx.platform().doors.identity.ask("IAM")?.session(cx, principal, seconds);
    Ok(GetSessionTokenResponse { credentials: Some(wire_credentials(credentials)) })
}

/// Credentials as STS prints them.
pub fn wire_credentials(credentials: tidemill_platform::doors::Credentials) -> Credentials {
    Credentials {
        access_key_id: credentials.access_key,
        secret_access_key: credentials.secret_key,
        session_token: credentials.session_token,
        expiration: credentials.expires,
    }
}
