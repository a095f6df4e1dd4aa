//! Tokens of OAuth connections: fetched with the client credentials grant (RFC 6749, section 4.4), kept in memory until
//! shortly before they expire, fetched again when an endpoint refuses them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tidemill_outbound::Request;

use crate::{
    EventBridge,
    connections::{AUTHORIZED, AUTHORIZING, ConnectionRow, DEAUTHORIZED},
    credentials::{Credentials, OAuth},
    http_request::{encoded, replaced},
};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an authorization server's answer that are read.
const MOST_ANSWER: usize = 64 << 10;
/// Seconds a token is used where the server does not say.
const LIFE_S: i64 = 300;
/// Milliseconds before its end at which a token is no longer used.
const MARGIN_MS: i64 = 10_000;
/// Tries of a new connection's first token, one second apart.
const FIRST_TRIES: u32 = 3;
/// Characters of reasons that are kept.
const MOST_REASON: usize = 512;

#[derive(Clone)]
struct Token {
    text: String,
    expires_at: i64,
}

type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Connection ARN → its token. Who needs one that is being fetched waits for that.
#[derive(Default)]
pub struct Tokens(Mutex<BTreeMap<String, Slot>>);

impl Tokens {
    pub fn forget(&self, arn: &str) {
        self.0.lock().remove(arn);
    }

    fn slot(&self, arn: &str) -> Slot {
        self.0.lock().entry(arn.into()).or_default().clone()
    }
}

impl EventBridge {
    /// A token for a connection; `refused` is one that an endpoint did not take.
    pub async fn token(
        &self,
        connection: &ConnectionRow,
        oauth: &OAuth,
        refused: Option<&str>,
    ) -> Result<String, String> {
        let slot = self.tokens.slot(&connection.arn);
        let mut kept = slot.lock().await;
        let now = self.platform.clock.now().millis();
        if let Some(token) = kept.as_ref()
            && token.expires_at > now
            && refused != Some(token.text.as_str())
        {
            return Ok(token.text.clone());
        }
        *kept = None;
        let token = self.fetch(oauth).await?;
        self.note_authorized(connection, now).await;
        *kept = Some(token.clone());
        Ok(token.text)
    }

    async fn fetch(&self, oauth: &OAuth) -> Result<Token, String> {
        let asked_at = self.platform.clock.now().millis();
        let answer = self.outbound.send(token_request(oauth)).await.map_err(|failure| failure.to_string())?;
        if !answer.is_success() {
            return Err(format!("the authorization endpoint answered HTTP {}", answer.status));
        }
        let said: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| "the authorization endpoint's answer is no JSON".to_string())?;
        let text = said["access_token"]
            .as_str()
            .ok_or("the authorization endpoint's answer has no access_token")?
            .to_string();
        let life_s = match &said["expires_in"] {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let life_ms = life_s.unwrap_or(LIFE_S).clamp(0, 86_400 * 365) * 1000;
        // A token that lives shorter than the margin is still good for the request it was fetched for.
        let expires_at = asked_at + (life_ms - MARGIN_MS).max(life_ms / 2);
        Ok(Token { text, expires_at })
    }

    async fn note_authorized(&self, connection: &ConnectionRow, now: i64) {
        self.set_state(connection, |row| {
            row.state = AUTHORIZED.into();
            row.state_reason = None;
            row.authorized_at = Some(now);
        })
        .await;
    }

    /// Changes a connection unless it became another one meanwhile.
    async fn set_state(&self, connection: &ConnectionRow, change: impl FnOnce(&mut ConnectionRow)) {
        let Some((key, _)) = connection.arn.rsplit_once('/') else { return };
        let changed = self.connections.change(&self.platform, key, |now| {
            let same =
                now.filter(|row| row.arn == connection.arn && row.credentials == connection.credentials);
            let mut next = now.cloned();
            if let (Some(_), Some(row)) = (same, next.as_mut()) {
                change(row);
            }
            Ok((next, ()))
        });
        if let Err(fault) = changed.await {
            tracing::warn!(%fault, connection = connection.name, "a connection's state was not kept");
        }
    }

    /// Fetches the first token of a connection that waits for it, in the background.
    pub fn authorize_later(&self, row: &ConnectionRow) {
        let (Some(bridge), true) = (self.me.upgrade(), row.state == AUTHORIZING) else { return };
        let row = row.clone();
        tokio::spawn(async move { bridge.authorize(&row).await });
    }

    async fn authorize(&self, row: &ConnectionRow) {
        let Credentials::OAuth(oauth) = &row.credentials else { return };
        let mut reason = String::new();
        for attempt in 1..=FIRST_TRIES {
            match self.token(row, oauth, None).await {
                Ok(_) => return,
                Err(why) => reason = why,
            }
            if attempt < FIRST_TRIES {
                self.platform.clock.sleep(1000).await;
            }
        }
        self.set_state(row, |row| {
            row.state = DEAUTHORIZED.into();
            row.state_reason = Some(reason.chars().take(MOST_REASON).collect());
        })
        .await;
    }

    /// Goes on with connections that an earlier run left without their first token.
    pub fn authorize_all(&self) {
        self.connections.all().iter().for_each(|row| self.authorize_later(row));
    }
}

/// The grant's parameters go into the body as a form, into a JSON object where the connection's own Content-Type says
/// so, and into the query of a GET.
fn token_request(oauth: &OAuth) -> Request {
    let mut fields: BTreeMap<&str, &str> = [
        ("grant_type", "client_credentials"),
        ("client_id", &*oauth.client_id),
        ("client_secret", &*oauth.client_secret),
    ]
    .into();
    fields.extend(oauth.extra.body.iter().map(|one| (one.key.as_str(), one.value.as_str())));
    let mut headers = vec![("Accept".to_string(), "application/json".to_string())];
    for one in &oauth.extra.headers {
        replaced(&mut headers, &one.key, &one.value);
    }
    let kind = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let is_json = kind.is_some_and(|(_, value)| value.starts_with("application/json"));
    let mut query: Vec<(&str, &str)> =
        oauth.extra.query.iter().map(|one| (one.key.as_str(), one.value.as_str())).collect();
    let mut body = Bytes::new();
    if oauth.method == "GET" {
        query.extend(fields);
    } else if is_json {
        body = Bytes::from(serde_json::to_vec(&fields).unwrap_or_default());
    } else {
        if kind.is_none() {
            replaced(&mut headers, "Content-Type", "application/x-www-form-urlencoded");
        }
        body = Bytes::from(form(fields));
    }
    let mut url = oauth.endpoint.clone();
    if !query.is_empty() {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&form(query));
    }
    Request { method: oauth.method.clone(), url, headers, body, timeout: TIMEOUT, max_answer: MOST_ANSWER }
}

fn form<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = fields.into_iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Parameter, Parameters};

    fn oauth(method: &str) -> OAuth {
        let one =
            |key: &str, value: &str| Parameter { key: key.into(), value: value.into(), is_secret: false };
        OAuth {
            client_id: "me".into(),
            client_secret: "s&t".into(),
            endpoint: "http://127.0.0.1/token".into(),
            method: method.into(),
            extra: Parameters { body: vec![one("scope", "a b")], ..Parameters::default() },
        }
    }

    #[test]
    fn the_grant_is_a_form_or_a_query() {
        let fields = "client_id=me&client_secret=s%26t&grant_type=client_credentials&scope=a%20b";
        let request = token_request(&oauth("POST"));
        assert_eq!((&*request.url, &request.body[..]), ("http://127.0.0.1/token", fields.as_bytes()));
        let request = token_request(&oauth("GET"));
        assert_eq!((&*request.url, request.body.len()), (&*format!("http://127.0.0.1/token?{fields}"), 0));
    }
}
