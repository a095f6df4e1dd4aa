//! Which web pages may use a function URL. Source: "Cross-origin resource sharing (CORS)" of function URLs in the Lambda
//! developer guide: what is configured here wins over the headers that the function answers.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};

use crate::api::Cors;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CorsRow {
    pub credentials: Option<bool>,
    pub headers: Vec<String>,
    pub methods: Vec<String>,
    pub origins: Vec<String>,
    pub exposed: Vec<String>,
    pub max_age_s: Option<i32>,
}

impl From<Cors> for CorsRow {
    fn from(cors: Cors) -> CorsRow {
        CorsRow {
            credentials: cors.allow_credentials,
            headers: cors.allow_headers.unwrap_or_default(),
            methods: cors.allow_methods.unwrap_or_default(),
            origins: cors.allow_origins.unwrap_or_default(),
            exposed: cors.expose_headers.unwrap_or_default(),
            max_age_s: cors.max_age,
        }
    }
}

impl From<CorsRow> for Cors {
    fn from(row: CorsRow) -> Cors {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        Cors {
            allow_credentials: row.credentials,
            allow_headers: some(row.headers),
            allow_methods: some(row.methods),
            allow_origins: some(row.origins),
            expose_headers: some(row.exposed),
            max_age: row.max_age_s,
        }
    }
}

impl CorsRow {
    /// An empty configuration takes it away.
    pub fn unless_empty(cors: Cors) -> Option<CorsRow> {
        let row = CorsRow::from(cors);
        (row != CorsRow::default()).then_some(row)
    }

    /// Adds what a page of this origin needs to see, in place of what the function said.
    pub fn allow(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        let Some(origin) = asked.get(header::ORIGIN) else { return };
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            answer.remove(name);
        }
        let Some(allowed) = self.allowed(origin) else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        if self.credentials == Some(true) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        list(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed);
    }

    /// What a browser asks before the request itself; the function is not run for it.
    pub fn allow_preflight(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        self.allow(asked, answer);
        if !answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        list(answer, header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods);
        list(answer, header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers);
        if let Some(seconds) = self.max_age_s {
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
    }

    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let text = origin.to_str().ok()?;
        if self.origins.iter().any(|allowed| allowed == text) {
            return Some(origin.clone());
        }
        if !self.origins.iter().any(|allowed| allowed == "*" || matches(allowed, text)) {
            return None;
        }
        // With credentials a browser does not take the star.
        let star = self.credentials != Some(true) && self.origins.iter().any(|allowed| allowed == "*");
        Some(if star { HeaderValue::from_static("*") } else { origin.clone() })
    }
}

pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// `https://*` and `http://*` stand for every origin of the scheme.
fn matches(allowed: &str, origin: &str) -> bool {
    allowed.strip_suffix('*').is_some_and(|start| start.contains("://") && origin.starts_with(start))
}

fn list(answer: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if values.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(values.join(",")) {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_allowed_as_configured() {
        let of = |origins: &[&str], credentials: bool, origin: &'static str| {
            let row = CorsRow {
                origins: origins.iter().map(|origin| origin.to_string()).collect(),
                credentials: Some(credentials),
                ..CorsRow::default()
            };
            let asked = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            let mut answer = HeaderMap::new();
            row.allow(&asked, &mut answer);
            answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_string())
        };
        assert_eq!(of(&["*"], false, "https://a.com").as_deref(), Some("*"));
        assert_eq!(of(&["*"], true, "https://a.com").as_deref(), Some("https://a.com"));
        assert_eq!(of(&["https://a.com"], false, "https://a.com").as_deref(), Some("https://a.com"));
        assert_eq!(of(&["https://a.com"], false, "https://b.com"), None);
        assert_eq!(of(&["https://*"], false, "https://b.com").as_deref(), Some("https://b.com"));
        assert_eq!(of(&["https://*"], false, "http://b.com"), None);
    }
}
