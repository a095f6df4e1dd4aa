//! Talking to a running platform.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// A platform reached over HTTP.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    endpoint: String,
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
    pub fn new(endpoint: &str) -> Client {
        Client {
            http: Http::builder(TokioExecutor::new()).build_http(),
            endpoint: endpoint.trim_end_matches('/').to_string(),
        }
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
        let (status, body) = self.raw(method, path, &headers, body).await?;
        let value: Value = serde_json::from_slice(&body)
            .with_context(|| format!("{} answered what is no JSON ({status})", self.endpoint))?;
        if status == StatusCode::OK {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_string();
        bail!(Refused { code: text("code"), message: text("message") })
    }

    /// A request as it is, and the answer's status and body.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.endpoint));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(body))
            .with_context(|| format!("{} is no address of a platform", self.endpoint))?;
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
}
