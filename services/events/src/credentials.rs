//! What a connection authorizes itself with, as the API says it, as it is stored, and as it is shown: secrets go in and
//! never come out.

use serde::{Deserialize, Serialize};
use tidemill_platform::Fault;

use crate::api;

/// How requests over a connection are authorized.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Credentials {
    /// Taken away by `DeauthorizeConnection`.
    #[default]
    Removed,
    ApiKey {
        name: String,
        value: String,
    },
    Basic {
        username: String,
        password: String,
    },
    OAuth(OAuth),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OAuth {
    pub client_id: String,
    pub client_secret: String,
    pub endpoint: String,
    pub method: String,
    pub extra: Parameters,
}

/// What is added to requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    pub headers: Vec<Parameter>,
    pub query: Vec<Parameter>,
    pub body: Vec<Parameter>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    pub key: String,
    pub value: String,
    pub is_secret: bool,
}

/// Those of a new connection, which has to give them whole.
pub fn created(
    kind: &str,
    given: api::CreateConnectionAuthRequestParameters,
) -> Result<(Credentials, Parameters), Fault> {
    if given.connectivity_parameters.is_some() {
        return Err(Fault::not_implemented("connections to private endpoints"));
    }
    let api::CreateConnectionAuthRequestParameters {
        basic_auth_parameters: basic,
        o_auth_parameters: oauth,
        api_key_auth_parameters: key,
        invocation_http_parameters: http,
        ..
    } = given;
    let credentials = match (kind, key, basic, oauth) {
        ("API_KEY", Some(key), None, None) => {
            Credentials::ApiKey { name: key.api_key_name, value: key.api_key_value }
        }
        ("BASIC", None, Some(basic), None) => {
            Credentials::Basic { username: basic.username, password: basic.password }
        }
        ("OAUTH_CLIENT_CREDENTIALS", None, None, Some(oauth)) => Credentials::OAuth(OAuth {
            client_id: oauth.client_parameters.client_id,
            client_secret: oauth.client_parameters.client_secret,
            endpoint: oauth.authorization_endpoint,
            method: oauth.http_method.as_str().into(),
            extra: parameters(oauth.o_auth_http_parameters)?,
        }),
        _ => return Err(mismatch(kind)),
    };
    check(&credentials)?;
    Ok((credentials, parameters(http)?))
}

/// What an update makes of the credentials that were: what it does not name stays, if the kind stays.
pub fn updated(
    kind: &str,
    before: (&Credentials, &Parameters),
    given: api::UpdateConnectionAuthRequestParameters,
) -> Result<(Credentials, Parameters), Fault> {
    if given.connectivity_parameters.is_some() {
        return Err(Fault::not_implemented("connections to private endpoints"));
    }
    let api::UpdateConnectionAuthRequestParameters {
        basic_auth_parameters: basic,
        o_auth_parameters: oauth,
        api_key_auth_parameters: key,
        invocation_http_parameters: http,
        ..
    } = given;
    let missing = || mismatch(kind);
    let credentials = match (kind, key, basic, oauth) {
        (_, None, None, None) if before.0.kind().is_none_or(|of| of == kind) => before.0.clone(),
        ("API_KEY", Some(key), None, None) => {
            let (name, value) = match before.0.clone() {
                Credentials::ApiKey { name, value } => (Some(name), Some(value)),
                _ => (None, None),
            };
            Credentials::ApiKey {
                name: key.api_key_name.or(name).ok_or_else(missing)?,
                value: key.api_key_value.or(value).ok_or_else(missing)?,
            }
        }
        ("BASIC", None, Some(basic), None) => {
            let (username, password) = match before.0.clone() {
                Credentials::Basic { username, password } => (Some(username), Some(password)),
                _ => (None, None),
            };
            Credentials::Basic {
                username: basic.username.or(username).ok_or_else(missing)?,
                password: basic.password.or(password).ok_or_else(missing)?,
            }
        }
        ("OAUTH_CLIENT_CREDENTIALS", None, None, Some(oauth)) => {
            let was = match before.0.clone() {
                Credentials::OAuth(was) => was,
                _ => OAuth::default(),
            };
            let client = oauth.client_parameters.unwrap_or_default();
            let next = OAuth {
                client_id: client.client_id.unwrap_or(was.client_id),
                client_secret: client.client_secret.unwrap_or(was.client_secret),
                endpoint: oauth.authorization_endpoint.unwrap_or(was.endpoint),
                method: oauth.http_method.map_or(was.method, |method| method.as_str().into()),
                extra: match oauth.o_auth_http_parameters {
                    Some(given) => parameters(Some(given))?,
                    None => was.extra,
                },
            };
            if [&next.client_id, &next.client_secret, &next.endpoint, &next.method]
                .iter()
                .any(|text| text.is_empty())
            {
                return Err(mismatch(kind));
            }
            Credentials::OAuth(next)
        }
        _ => return Err(mismatch(kind)),
    };
    check(&credentials)?;
    let http = match http {
        Some(given) => parameters(Some(given))?,
        None => before.1.clone(),
    };
    Ok((credentials, http))
}

fn mismatch(kind: &str) -> Fault {
    Fault::validation(format!(
        "Parameter(s) AuthParameters are not valid. Reason: they must hold what AuthorizationType {kind} needs, and nothing of other types."
    ))
}

fn check(credentials: &Credentials) -> Result<(), Fault> {
    if let Credentials::OAuth(oauth) = credentials {
        check_endpoint("AuthorizationEndpoint", &oauth.endpoint)?;
    }
    Ok(())
}

/// Endpoints are HTTPS on AWS; plain HTTP goes to this machine only, where tests have their servers.
pub fn check_endpoint(what: &str, url: &str) -> Result<(), Fault> {
    let host_of = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_string();
        authority.rsplit_once(':').map_or(authority.clone(), |(host, _)| host.to_string())
    };
    let allowed = match url.split_once("://") {
        Some(("https", rest)) => !host_of(rest).is_empty(),
        Some(("http", rest)) => {
            let host = host_of(rest);
            host == "localhost"
                || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    };
    if allowed && !url.contains('@') {
        return Ok(());
    }
    Err(Fault::validation(format!(
        "Parameter {what} is not valid. Reason: it must be an https:// address (http:// is taken for loopback hosts)."
    )))
}

fn parameters(given: Option<api::ConnectionHttpParameters>) -> Result<Parameters, Fault> {
    let given = given.unwrap_or_default();
    let one = |key: Option<String>, value: Option<String>, is_secret: Option<bool>| Parameter {
        key: key.unwrap_or_default(),
        value: value.unwrap_or_default(),
        is_secret: is_secret.unwrap_or(false),
    };
    let all = Parameters {
        headers: given
            .header_parameters
            .into_iter()
            .flatten()
            .map(|parameter| one(parameter.key, parameter.value, parameter.is_value_secret))
            .collect(),
        query: given
            .query_string_parameters
            .into_iter()
            .flatten()
            .map(|parameter| one(parameter.key, parameter.value, parameter.is_value_secret))
            .collect(),
        body: given
            .body_parameters
            .into_iter()
            .flatten()
            .map(|parameter| one(parameter.key, parameter.value, parameter.is_value_secret))
            .collect(),
    };
    let named = all.headers.iter().chain(&all.query).chain(&all.body).all(|one| !one.key.is_empty());
    if !named {
        return Err(Fault::validation(
            "Parameter InvocationHttpParameters is not valid. Reason: Key is required.",
        ));
    }
    Ok(all)
}

impl Credentials {
    fn kind(&self) -> Option<&'static str> {
        match self {
            Credentials::Removed => None,
            Credentials::ApiKey { .. } => Some("API_KEY"),
            Credentials::Basic { .. } => Some("BASIC"),
            Credentials::OAuth(_) => Some("OAUTH_CLIENT_CREDENTIALS"),
        }
    }

    /// As `DescribeConnection` shows them, without secrets.
    pub fn shown(&self, http: &Parameters) -> api::ConnectionAuthResponseParameters {
        let mut shown = api::ConnectionAuthResponseParameters {
            invocation_http_parameters: http.shown(),
            ..api::ConnectionAuthResponseParameters::default()
        };
        match self {
            Credentials::Removed => {}
            Credentials::ApiKey { name, .. } => {
                shown.api_key_auth_parameters =
                    Some(api::ConnectionApiKeyAuthResponseParameters { api_key_name: Some(name.clone()) });
            }
            Credentials::Basic { username, .. } => {
                shown.basic_auth_parameters =
                    Some(api::ConnectionBasicAuthResponseParameters { username: Some(username.clone()) });
            }
            Credentials::OAuth(oauth) => {
                shown.o_auth_parameters = Some(api::ConnectionOAuthResponseParameters {
                    client_parameters: Some(api::ConnectionOAuthClientResponseParameters {
                        client_id: Some(oauth.client_id.clone()),
                    }),
                    authorization_endpoint: Some(oauth.endpoint.clone()),
                    http_method: Some(oauth.method.as_str().into()),
                    o_auth_http_parameters: oauth.extra.shown(),
                });
            }
        }
        shown
    }
}

impl Parameters {
    fn shown(&self) -> Option<api::ConnectionHttpParameters> {
        let value = |one: &Parameter| (!one.is_secret).then(|| one.value.clone());
        let (headers, query, body) = (&self.headers, &self.query, &self.body);
        if headers.is_empty() && query.is_empty() && body.is_empty() {
            return None;
        }
        let headers = headers.iter().map(|one| api::ConnectionHeaderParameter {
            key: Some(one.key.clone()),
            value: value(one),
            is_value_secret: Some(one.is_secret),
        });
        let query = query.iter().map(|one| api::ConnectionQueryStringParameter {
            key: Some(one.key.clone()),
            value: value(one),
            is_value_secret: Some(one.is_secret),
        });
        let body = body.iter().map(|one| api::ConnectionBodyParameter {
            key: Some(one.key.clone()),
            value: value(one),
            is_value_secret: Some(one.is_secret),
        });
        Some(api::ConnectionHttpParameters {
            header_parameters: (!self.headers.is_empty()).then(|| headers.collect()),
            query_string_parameters: (!self.query.is_empty()).then(|| query.collect()),
            body_parameters: (!self.body.is_empty()).then(|| body.collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_or_on_this_machine() {
        for (url, taken) in [
            ("https://example.com/a/*", true),
            ("http://127.0.0.1:8080/", true),
            ("http://localhost/x", true),
            ("http://example.com/", false),
            ("http://127.0.0.1@example.com/", false),
            ("ftp://127.0.0.1/", false),
            ("https://", false),
            ("nothing", false),
        ] {
            assert_eq!(check_endpoint("InvocationEndpoint", url).is_ok(), taken, "{url}");
        }
    }
}
