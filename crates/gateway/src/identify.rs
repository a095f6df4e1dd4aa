//! Who calls. Under `--auth dev` a request is believed; under `--auth enforce` its signature is verified, in two
//! steps: whose key it is before the body is read, whether the signature holds when the body is there.

use http::{header, request::Parts};
use tidemill_platform::{Principal, doors::KeyHolder};
use tidemill_sigv4::{AuthError, Body, BodyCheck, Claim, Credential, RequestParts, VerifyOptions};

use crate::{
    exchange::Origin,
    gateway::{Auth, Caller, Gateway},
    ids,
};

/// How a request was authenticated; an extension of requests to HTTP services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authenticated {
    /// The key and scope it was signed with; `None` for anonymous requests.
    pub credential: Option<Credential>,
    /// The signature stood in the URL.
    pub presigned: bool,
    /// The signature was verified and not just believed.
    pub verified: bool,
}

/// A caller whose signature may still have to be proved.
pub(crate) struct Identified {
    pub(crate) caller: Caller,
    pub(crate) authenticated: Authenticated,
    /// What is to be proved, and with which secret.
    claim: Option<(Claim, String)>,
}

impl Identified {
    /// Somebody who need not be known.
    pub(crate) fn nobody(gateway: &Gateway) -> Identified {
        let caller = root(gateway, &Credential::default());
        Identified { caller, authenticated: Authenticated::default(), claim: None }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.authenticated.credential.is_none()
    }

    /// Signed with version 4, which names a scope.
    pub(crate) fn is_version_4(&self) -> bool {
        self.authenticated.credential.as_ref().is_some_and(|credential| !credential.service.is_empty())
    }
}

/// A request as signatures see it.
pub(crate) fn parts<'a>(head: &'a Parts) -> RequestParts<'a> {
    RequestParts {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        authority: head.uri.authority().map(http::uri::Authority::as_str),
        headers: &head.headers,
    }
}

/// Finds the caller out. `credential` is what the request names, unproved.
///
/// # Errors
/// Under `--auth enforce`: a malformed authorization, a key nobody holds, a token that does not fit or has expired.
pub(crate) fn identify(
    gateway: &Gateway,
    head: &Parts,
    credential: Option<Credential>,
    origin: &Origin,
) -> Result<Identified, AuthError> {
    match gateway.config.auth {
        Auth::Dev => Ok(believe(gateway, head, credential, origin)),
        Auth::Enforce => look_up(gateway, head),
    }
}

fn believe(gateway: &Gateway, head: &Parts, credential: Option<Credential>, origin: &Origin) -> Identified {
    let Some(credential) = credential else {
        let caller = origin.caller.clone().unwrap_or_else(|| root(gateway, &Credential::default()));
        return Identified { caller, authenticated: Authenticated::default(), claim: None };
    };
    let presigned = !head.headers.contains_key(header::AUTHORIZATION);
    let caller = match holder(gateway, &credential.access_key, token(head, presigned).as_deref()) {
        Some(holder) => held(gateway, holder, &credential),
        None => stranger(gateway, &credential, origin),
    };
    let authenticated = Authenticated { credential: Some(credential), presigned, verified: false };
    Identified { caller, authenticated, claim: None }
}

fn token(head: &Parts, presigned: bool) -> Option<String> {
    if presigned {
        return Claim::read(&parts(head)).ok()??.session_token;
    }
    head.headers.get("x-amz-security-token")?.to_str().ok().map(str::to_owned)
}

/// The holder of a key that IAM does not know: whoever the connection belongs to, unless the key names an account.
fn stranger(gateway: &Gateway, credential: &Credential, origin: &Origin) -> Caller {
    match &origin.caller {
        Some(caller) if !is_account(&credential.access_key) => {
            Caller { region: region(gateway, credential), ..caller.clone() }
        }
        _ => root(gateway, credential),
    }
}

fn look_up(gateway: &Gateway, head: &Parts) -> Result<Identified, AuthError> {
    let Some(claim) = Claim::read(&parts(head))? else {
        return Ok(Identified::nobody(gateway));
    };
    let (key, token) = (&claim.credential.access_key, claim.session_token.as_deref());
    let holder = holder(gateway, key, token).ok_or_else(|| match token {
        Some(_) => AuthError::InvalidToken,
        None => AuthError::UnknownAccessKey { access_key: key.clone() },
    })?;
    if holder.expires.is_some_and(|expires| expires <= gateway.platform.clock.now()) {
        return Err(AuthError::ExpiredToken);
    }
    let secret = holder.secret_key.clone();
    let authenticated = Authenticated {
        credential: Some(claim.credential.clone()),
        presigned: claim.is_presigned(),
        verified: true,
    };
    Ok(Identified {
        caller: held(gateway, holder, &claim.credential),
        authenticated,
        claim: Some((claim, secret)),
    })
}

/// Proves the signature of what [`identify`] found; nothing is asked of believed and anonymous requests.
///
/// # Errors
/// Whatever is wrong with the signature, its scope, its time or the body.
pub(crate) fn prove(
    gateway: &Gateway,
    head: &Parts,
    identified: &Identified,
    body: Body<'_>,
    options: &VerifyOptions<'_>,
) -> Result<BodyCheck, AuthError> {
    let Some((claim, secret)) = &identified.claim else { return Ok(BodyCheck::Unsigned) };
    let now_s = ids::wall_s(&gateway.platform.clock);
    gateway.verifier.verify(&parts(head), claim, secret, body, now_s, options).map(|verified| verified.body)
}

fn holder(gateway: &Gateway, key: &str, token: Option<&str>) -> Option<KeyHolder> {
    gateway.platform.doors.identity.get()?.key(key, token)
}

fn held(gateway: &Gateway, holder: KeyHolder, credential: &Credential) -> Caller {
    Caller { account: holder.account, region: region(gateway, credential), principal: holder.principal }
}

/// An unknown key is an account's root user: of its own account if it is twelve digits, else of the configured one.
fn root(gateway: &Gateway, credential: &Credential) -> Caller {
    let key = &credential.access_key;
    let account = if is_account(key) { key } else { &gateway.platform.config.account };
    let principal = Principal::root(account, key);
    Caller { account: account.clone(), region: region(gateway, credential), principal }
}

fn is_account(key: &str) -> bool {
    key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// The signed region, if it can be one: it becomes part of names and ARNs.
fn region(gateway: &Gateway, credential: &Credential) -> String {
    let region = &credential.region;
    let is_name = (1..=32).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_name { region.clone() } else { gateway.platform.config.region.clone() }
}
