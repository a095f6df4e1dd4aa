//! The identity door: who holds a key, and temporary credentials.
//!
//! Temporary credentials are kept nowhere. The session token says whose they are and until when, and its seal, made
//! with a secret of this data folder, says that we wrote it; the secret key is derived from both.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tidemill_platform::{
    Arn, Cx, Fault, Principal, Timestamp,
    doors::{Credentials, Identity, KeyHolder},
};

use crate::{
    Iam,
    state::{Key, Role},
};

/// What a session token says.
#[derive(Serialize, Deserialize)]
struct Session {
    key: String,
    account: String,
    arn: String,
    user_id: String,
    /// Seconds since 1970.
    expires: i64,
}

impl Identity for Iam {
    fn key(&self, access_key: &str, session_token: Option<&str>) -> Option<KeyHolder> {
        match session_token {
            Some(token) => self.open_session(access_key, token),
            None => self.long_lived(access_key),
        }
    }

    fn assume(&self, cx: &Cx, role_arn: &str, session: &str, seconds: i64) -> Result<Credentials, Fault> {
        let role: Arn =
            role_arn.parse().map_err(|_| Fault::new("ValidationError", format!("{role_arn} is invalid")))?;
        let role_id = self.role_id(role_arn).ok_or_else(|| crate::documents::no_role(role_arn))?;
        let name = role.resource.rsplit('/').next().unwrap_or_default();
        let principal = Principal {
            access_key: String::new(),
            arn: format!("arn:aws:sts::{}:assumed-role/{name}/{session}", role.account),
            user_id: format!("{role_id}:{session}"),
        };
        Ok(self.issue(cx, &role.account, principal, seconds))
    }

    fn session(&self, cx: &Cx, principal: Principal, seconds: i64) -> Credentials {
        self.issue(cx, cx.account(), principal, seconds)
    }

    fn role_id(&self, role_arn: &str) -> Option<String> {
        self.of_role(role_arn, |role| role.id.clone())
    }

    fn longest_session_s(&self, role_arn: &str) -> Option<i64> {
        self.of_role(role_arn, |role| i64::from(role.max_session_s))
    }
}

impl Iam {
    fn of_role<T>(&self, role_arn: &str, look: impl FnOnce(&Role) -> T) -> Option<T> {
        let role: Arn = role_arn.parse().ok()?;
        let name = role.resource.strip_prefix("role/")?.rsplit('/').next()?.to_string();
        self.read(&role.account, |account| {
            account.roles.get(&name).filter(|known| known.arn == role_arn).map(look)
        })
    }

    fn long_lived(&self, access_key: &str) -> Option<KeyHolder> {
        let accounts = self.accounts.read();
        let (account, held) =
            accounts.iter().find_map(|(account, held)| Some((account, held.keys.get(access_key)?)))?;
        let Key { secret, user, active, .. } = held;
        let user = accounts.get(account)?.users.get(user).filter(|_| *active)?;
        let principal =
            Principal { access_key: access_key.into(), arn: user.arn.clone(), user_id: user.id.clone() };
        Some(KeyHolder { secret_key: secret.clone(), expires: None, account: account.clone(), principal })
    }

    fn issue(&self, cx: &Cx, account: &str, principal: Principal, seconds: i64) -> Credentials {
        let expires = Timestamp::from_secs(cx.now().secs().saturating_add(seconds));
        let access_key = format!("ASIA{}", cx.random().base32(16));
        let session = Session {
            key: access_key.clone(),
            account: account.into(),
            arn: principal.arn,
            user_id: principal.user_id,
            expires: expires.secs(),
        };
        let text = serde_json::to_vec(&session).unwrap_or_default();
        let seal = self.seal(b"token", &text);
        let session_token =
            format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(seal));
        Credentials { secret_key: self.secret_of(&access_key), access_key, session_token, expires }
    }

    fn open_session(&self, access_key: &str, token: &str) -> Option<KeyHolder> {
        let (text, seal) = token.split_once('.')?;
        let text = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let seal = BASE64_URL_SAFE_NO_PAD.decode(seal).ok()?;
        self.mac(b"token", &text)?.verify_slice(&seal).ok()?;
        let session: Session = serde_json::from_slice(&text).ok()?;
        if session.key != access_key {
            return None;
        }
        let principal =
            Principal { access_key: access_key.into(), arn: session.arn, user_id: session.user_id };
        let expires = Some(Timestamp::from_secs(session.expires));
        Some(KeyHolder {
            secret_key: self.secret_of(access_key),
            expires,
            account: session.account,
            principal,
        })
    }

    fn secret_of(&self, access_key: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.seal(b"secret", access_key.as_bytes())).chars().take(40).collect()
    }

    fn seal(&self, purpose: &[u8], text: &[u8]) -> Vec<u8> {
        self.mac(purpose, text).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
    }

    fn mac(&self, purpose: &[u8], text: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.sealing_secret).ok()?;
        mac.update(purpose);
        mac.update(&[0]);
        mac.update(text);
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tidemill_platform::{Platform, Trace};

    use super::*;
    use crate::{api::CreateRoleRequest, roles};

    async fn with_role() -> (Arc<Platform>, Iam, Cx) {
        let platform = Platform::for_tests();
        let iam = Iam::open(platform.clone()).unwrap();
        let cx = platform.cx("000000000000", "us-east-1", Trace::default());
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let input = CreateRoleRequest {
            role_name: "loader".into(),
            assume_role_policy_document: trust.into(),
            ..Default::default()
        };
        roles::create_role(&iam, &cx, input).await.unwrap();
        (platform, iam, cx)
    }

    #[tokio::test]
    async fn a_session_token_opens_for_its_own_key_only() {
        let (_platform, iam, cx) = with_role().await;
        let given = iam.assume(&cx, "arn:aws:iam::000000000000:role/loader", "loader-1", 900).unwrap();
        let held = iam.key(&given.access_key, Some(&given.session_token)).unwrap();
        assert_eq!(held.secret_key, given.secret_key);
        assert_eq!(held.principal.arn, "arn:aws:sts::000000000000:assumed-role/loader/loader-1");
        assert_eq!(held.expires, Some(given.expires));
        assert!(iam.key("ASIAAAAAAAAAAAAAAAAA", Some(&given.session_token)).is_none());
        assert!(iam.key(&given.access_key, None).is_none());
        let forged = format!("{}A", given.session_token);
        assert!(iam.key(&given.access_key, Some(&forged)).is_none());
    }

    #[tokio::test]
    async fn credentials_outlive_the_service() {
        let (platform, iam, cx) = with_role().await;
        let given = iam.assume(&cx, "arn:aws:iam::000000000000:role/loader", "s", 900).unwrap();
        drop(iam);
        platform.clock.advance(Duration::from_secs(60));
        let again = Iam::open(platform).unwrap();
        assert!(again.key(&given.access_key, Some(&given.session_token)).is_some());
    }

    #[tokio::test]
    async fn an_unknown_role_cannot_be_assumed() {
        let (_platform, iam, cx) = with_role().await;
        assert!(iam.assume(&cx, "arn:aws:iam::000000000000:role/nobody", "s", 900).is_err());
        assert!(iam.assume(&cx, "nonsense", "s", 900).is_err());
    }
}
