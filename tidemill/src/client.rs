//! Talking to a running platform. Requests are signed where there are keys to sign with; a platform with `--auth dev`
//! takes them unsigned as well.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tidemill_sigv4::PayloadToSign;

use crate::credentials::Found;

/// The name under which requests to `/_tidemill/` are signed; any would do.
pub const OWN_SERVICE: &str = "tidemill";
/// Signed for where nobody names a region.
const USUAL_REGION: &str = "us-east-1";
/// Codes of answers to requests whose keys are missing or wrong.
const ABOUT_KEYS: &[&str] = &[
    "MissingAuthenticationToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
];

/// A platform reached over HTTP.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    endpoint: String,
    found: Found,
}

/// An answer that is an error of the platform's.
#[derive(Debug)]
pub struct Refused {
    pub code: String,
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Refused {}

impl Client {
    pub fn new(endpoint: &str, found: Found) -> Client {
        Client {
            http: Http::builder(TokioExecutor::new()).build_http(),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            found,
        }
    }

    /// The same platform in another region, where one is named.
    pub fn in_region(self, region: Option<&str>) -> Client {
        Client { found: self.found.in_region(region), ..self }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What requests are signed with.
    pub fn keys(&self) -> &Found {
        &self.found
    }

    /// Runs an operation of a service: `call("lambda", "Invoke", …)`.
    pub async fn call(&self, service: &str, operation: &str, input: &Value) -> Result<Value> {
        self.send(
            Method::POST,
            &format!("/_tidemill/call/{service}/{operation}"),
            Bytes::from(input.to_string()),
        )
        .await
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Value> {
        let headers = [("content-type", "application/json".to_string())];
        let (status, body) = self.raw(method, path, OWN_SERVICE, &headers, body).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .with_context(|| format!("{} answered what is no JSON", self.endpoint));
        }
        let refused = Refused::read(status, &body);
        let unsigned = self.found.credentials.is_none();
        let is_about_keys = unsigned || ABOUT_KEYS.iter().any(|code| refused.code.contains(code));
        if status == StatusCode::FORBIDDEN && is_about_keys {
            let advice = match &self.found.credentials {
                None => "the platform wants signed requests; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE".to_string(),
                Some(keys) => format!("the platform does not take the key {}", keys.access_key),
            };
            return Err(anyhow!(refused).context(advice));
        }
        bail!(refused)
    }

    /// A request to a service as it is, and the answer's status and body.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        service: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let uri: Uri = format!("{}{path}", self.endpoint)
            .parse()
            .with_context(|| format!("{} is no address of a platform", self.endpoint))?;
        let host = uri.authority().with_context(|| format!("{} names no host", self.endpoint))?;
        let mut signed = HeaderMap::new();
        signed.insert(header::HOST, HeaderValue::from_str(host.as_str())?);
        for (name, value) in headers {
            signed.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        }
        self.sign(&method, &uri, service, &mut signed, &body)?;
        let mut request = Request::builder().method(method).uri(uri).body(Full::new(body))?;
        *request.headers_mut() = signed;
        let sent = self.http.request(request).await;
        let response = sent.map_err(|error| anyhow!(error)).with_context(|| {
            format!(
                "no platform answers at {}; start one with `tidemill serve` (or say --endpoint)",
                self.endpoint
            )
        })?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    fn sign(
        &self,
        method: &Method,
        uri: &Uri,
        service: &str,
        headers: &mut HeaderMap,
        body: &[u8],
    ) -> Result<()> {
        let Some(credentials) = &self.found.credentials else { return Ok(()) };
        let region = self.found.region.as_deref().unwrap_or(USUAL_REGION);
        let now_s = jiff::Timestamp::now().as_second();
        let query = uri.query().unwrap_or_default();
        let payload = PayloadToSign::Bytes(body);
        credentials
            .signer(region, service)
            .sign_headers(method.as_str(), uri.path(), query, headers, payload, now_s)
            .map(drop)
            .context("the request cannot be signed with these keys")
    }
}

impl Refused {
    /// Reads an error in the platform's own form or in those of AWS's protocols.
    fn read(status: StatusCode, body: &[u8]) -> Refused {
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |names: &[&str]| {
            names.iter().find_map(|name| value[*name].as_str()).unwrap_or_default().to_string()
        };
        let (mut code, mut message) = (text(&["code", "__type"]), text(&["message", "Message"]));
        if code.is_empty() {
            let xml = String::from_utf8_lossy(body);
            code = element(&xml, "Code").unwrap_or_else(|| status.as_str().to_string());
            message = element(&xml, "Message").unwrap_or_else(|| xml.chars().take(500).collect());
        }
        Refused { code, message }
    }
}

/// The text of an element of a flat document.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.to_string())
}
