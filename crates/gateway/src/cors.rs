//! Browsers. Under `--auth dev` any key is believed, so a page from elsewhere must not be able to command the
//! platform: pages of this machine (and origins the configuration names) are let in with permissive CORS headers, all
//! others are refused. Under `--auth enforce` signatures protect, and no CORS headers are given.

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use crate::host;

/// What the Origin header means for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Not from a page, or not our business.
    None,
    /// From a page that may use the platform.
    Allowed(HeaderValue),
    /// From a page that may not.
    Foreign,
}

/// Finds out, in `dev` mode, which page a request comes from. Images and links of a page carry no Origin, but say that
/// they cross sites; `may_be_linked` lets links through where looking changes nothing.
pub(crate) fn origin(headers: &HeaderMap, also_allowed: &[String], may_be_linked: bool) -> Origin {
    let Some(value) = headers.get(header::ORIGIN) else {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
        let is_foreign =
            is("sec-fetch-site", "cross-site") && !(may_be_linked && is("sec-fetch-mode", "navigate"));
        return if is_foreign { Origin::Foreign } else { Origin::None };
    };
    let text = value.to_str().unwrap_or_default();
    let named = also_allowed.iter().any(|allowed| allowed == text || allowed == "*");
    if named || is_of_this_machine(text) { Origin::Allowed(value.clone()) } else { Origin::Foreign }
}

/// A browser asks before it sends the request itself.
pub(crate) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a browser needs to see in an answer to let its page read it.
pub(crate) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers
        .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*, etag, x-amzn-requestid"));
}

/// What a browser needs to see in the answer to its question.
pub(crate) fn allow_preflight(headers: &mut HeaderMap, asked: &HeaderMap) {
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key("access-control-request-private-network") {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
}

fn is_of_this_machine(origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| host::is_loopback(&host::without_port(authority)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_are_let_in() {
        let of = |text: &str| {
            let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_str(text).unwrap())]);
            origin(&headers, &["https://console.example.com".into()], true)
        };
        for allowed in [
            "http://localhost:3000",
            "https://127.0.0.1",
            "http://app.localhost:80",
            "http://[::1]:8080",
            "https://console.example.com",
        ] {
            assert_eq!(of(allowed), Origin::Allowed(HeaderValue::from_str(allowed).unwrap()));
        }
        for foreign in ["https://example.com", "null", "", "http://localhost.example.com", "file://"] {
            assert_eq!(of(foreign), Origin::Foreign, "{foreign}");
        }
        assert_eq!(origin(&HeaderMap::new(), &[], false), Origin::None);
    }

    #[test]
    fn links_from_elsewhere_may_look_and_nothing_more() {
        let of = |mode: &'static str, may_be_linked| {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
            headers.insert("sec-fetch-mode", HeaderValue::from_static(mode));
            origin(&headers, &[], may_be_linked)
        };
        assert_eq!(of("navigate", true), Origin::None);
        assert_eq!(of("navigate", false), Origin::Foreign);
        assert_eq!(of("no-cors", true), Origin::Foreign);
    }
}
