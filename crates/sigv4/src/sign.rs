//! The signing side, for clients of ours: the load generator, the command line, calls to the outside.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    AmzDate, Credential,
    canonical::{Canonical, PathStyle, string_to_sign},
    chunk::ChunkSigning,
    chunk_sign::ChunkSigner,
    claim::RequestParts,
    key::{KeyCache, sha256_hex},
    payload::empty_sha256,
    verify::S3_SERVICES,
};

/// Headers that connections and proxies change on the way; they are never signed.
const NEVER_SIGNED: [&str; 8] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "te",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];

/// Signs requests with one access key for one region and service. Share one: it remembers its signing keys.
pub struct Signer {
    access_key: String,
    secret: String,
    session_token: Option<String>,
    region: String,
    service: String,
    keys: KeyCache,
}

/// What is signed of the body.
#[derive(Debug, Clone, Copy)]
pub enum PayloadToSign<'a> {
    Bytes(&'a [u8]),
    Sha256([u8; 32]),
    Unsigned,
    /// The body follows from the [`ChunkSigner`] of the answer.
    SignedChunks {
        trailer: bool,
    },
    /// The body follows from [`ChunkSigner::unsigned`].
    UnsignedChunks,
}

/// A signature, and the chain of chunk signatures that begins with it.
#[derive(Debug)]
pub struct Signed {
    /// 64 hexadecimal digits.
    pub signature: String,
    pub chunks: ChunkSigner,
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// There is no Host header.
    MissingHost,
    /// A value to be put into a header is not fit for one; says which.
    NotAHeaderValue(&'static str),
}

impl Signer {
    /// A signer for `service` (its signing name) in `region`. S3's own names get S3's rules.
    pub fn new(access_key: &str, secret: &str, region: &str, service: &str) -> Signer {
        Signer {
            access_key: access_key.to_owned(),
            secret: secret.to_owned(),
            session_token: None,
            region: region.to_owned(),
            service: service.to_owned(),
            keys: KeyCache::new(),
        }
    }

    /// The same with the session token of temporary credentials.
    pub fn with_session_token(self, token: &str) -> Signer {
        Signer { session_token: Some(token.to_owned()), ..self }
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256`, the session token and `authorization` to `headers`, which must hold
    /// `host`. All headers given are signed, except those that change on the way.
    ///
    /// `path` and `query` are percent-encoded as they will be sent; `now_s` is seconds since 1970.
    ///
    /// # Errors
    /// No Host header, or a key or token that cannot stand in a header.
    pub fn sign_headers(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &mut HeaderMap,
        payload: PayloadToSign<'_>,
        now_s: i64,
    ) -> Result<Signed, SignError> {
        if !headers.contains_key("host") {
            return Err(SignError::MissingHost);
        }
        let now = AmzDate::from_secs(now_s);
        let payload_line = payload.line();
        insert(headers, "x-amz-date", &now.to_string())?;
        if self.is_s3() || !matches!(payload, PayloadToSign::Bytes(_)) {
            insert(headers, "x-amz-content-sha256", &payload_line)?;
        }
        if let Some(token) = &self.session_token {
            insert(headers, "x-amz-security-token", token)?;
        }
        let signed_headers = names_to_sign(headers);
        let request = RequestParts { method, path, query, authority: None, headers };
        let (signature, chunks) = self.sign(&request, &signed_headers, &payload_line, now);
        let (key, scope) = (&self.access_key, self.credential(now).scope());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
        );
        insert(headers, "authorization", &authorization)?;
        Ok(Signed { signature, chunks: ChunkSigner::new(chunks) })
    }

    /// The query string of a URL that lives `life_s` seconds (1 to 604800) and signs only the Host header. `query` is
    /// what the URL carries already, percent-encoded; the body stays unsigned on S3 and must be empty elsewhere.
    pub fn presign(
        &self,
        method: &str,
        host: &str,
        path: &str,
        query: &str,
        life_s: u32,
        now_s: i64,
    ) -> String {
        let now = AmzDate::from_secs(now_s);
        let credential = format!("{}/{}", self.access_key, self.credential(now).scope());
        let mut query = query.to_owned();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(&format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        };
        add("X-Amz-Algorithm", "AWS4-HMAC-SHA256");
        add("X-Amz-Credential", &credential);
        add("X-Amz-Date", &now.to_string());
        add("X-Amz-Expires", &life_s.to_string());
        if let Some(token) = &self.session_token {
            add("X-Amz-Security-Token", token);
        }
        add("X-Amz-SignedHeaders", "host");
        let payload = if self.is_s3() { "UNSIGNED-PAYLOAD".to_owned() } else { empty_sha256() };
        let headers = HeaderMap::new();
        let request = RequestParts { method, path, query: &query, authority: Some(host), headers: &headers };
        let (signature, _) = self.sign(&request, "host", &payload, now);
        format!("{query}&X-Amz-Signature={signature}")
    }

    fn sign(
        &self,
        request: &RequestParts<'_>,
        signed_headers: &str,
        payload: &str,
        now: AmzDate,
    ) -> (String, ChunkSigning) {
        let style = if self.is_s3() { PathStyle::Once } else { PathStyle::NormalisedTwice };
        let canonical = Canonical { request, style, signed_headers, payload, omit: &[] }.build();
        let credential = self.credential(now);
        let key = self.keys.get(&self.secret, &credential.date, &self.region, &self.service);
        let signature = key.sign(string_to_sign(now, &credential.scope(), &canonical).as_bytes());
        let chunks = ChunkSigning::new(&credential, key, now, signature.clone());
        (signature, chunks)
    }

    fn credential(&self, now: AmzDate) -> Credential {
        Credential {
            access_key: self.access_key.clone(),
            date: now.day(),
            region: self.region.clone(),
            service: self.service.clone(),
        }
    }

    fn is_s3(&self) -> bool {
        S3_SERVICES.contains(&self.service.as_str())
    }
}

impl PayloadToSign<'_> {
    fn line(&self) -> String {
        match self {
            PayloadToSign::Bytes(bytes) => sha256_hex(bytes),
            PayloadToSign::Sha256(hash) => hex::encode(hash),
            PayloadToSign::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            PayloadToSign::SignedChunks { trailer: false } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            PayloadToSign::SignedChunks { trailer: true } => {
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned()
            }
            PayloadToSign::UnsignedChunks => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }
}

/// The names of the headers to sign, sorted and joined by semicolons.
fn names_to_sign(headers: &HeaderMap) -> String {
    let names = headers.keys().map(HeaderName::as_str);
    let mut names: Vec<&str> = names.filter(|name| !NEVER_SIGNED.contains(name)).collect();
    names.sort_unstable();
    names.join(";")
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), SignError> {
    let value = HeaderValue::from_str(value).map_err(|_| SignError::NotAHeaderValue(name))?;
    headers.insert(name, value);
    Ok(())
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({} for {} in {})", self.access_key, self.service, self.region)
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignError::MissingHost => out.write_str("a request needs a Host header before it can be signed"),
            SignError::NotAHeaderValue(name) => write!(out, "the value for {name} cannot stand in a header"),
        }
    }
}

impl std::error::Error for SignError {}
