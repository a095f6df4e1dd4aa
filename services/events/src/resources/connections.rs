//! `AWS::Events::Connection` and `AWS::Events::ApiDestination`. Their properties have the API's names and forms.

use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, boolean, number, text},
};

use super::{Resources, provided};
use crate::{
    api,
    api::{
        ConnectionHttpParameters, CreateApiDestinationRequest, CreateConnectionRequest,
        DeleteApiDestinationRequest, DeleteConnectionRequest, UpdateApiDestinationRequest,
        UpdateConnectionRequest,
    },
    connections,
    connections::ConnectionRow,
    destinations,
    destinations::DestinationRow,
};

pub const CONNECTION: &str = "AWS::Events::Connection";
pub const DESTINATION: &str = "AWS::Events::ApiDestination";

impl Resources {
    pub async fn create_connection(
        &self,
        cx: &Cx,
        name: &str,
        properties: &Value,
    ) -> Result<Provided, Fault> {
        refuse(properties, &["InvocationConnectivityParameters", "KmsKeyIdentifier"], CONNECTION)?;
        let input = CreateConnectionRequest {
            name: name.into(),
            description: text(properties, "Description"),
            authorization_type: needed(properties, "AuthorizationType")?.as_str().into(),
            auth_parameters: authorization(properties)?,
            ..CreateConnectionRequest::default()
        };
        connections::create_connection(&self.0, cx, input).await?;
        self.connection(cx, name)
    }

    pub async fn update_connection(
        &self,
        cx: &Cx,
        name: &str,
        properties: &Value,
    ) -> Result<Provided, Fault> {
        refuse(properties, &["InvocationConnectivityParameters", "KmsKeyIdentifier"], CONNECTION)?;
        let input = UpdateConnectionRequest {
            name: name.into(),
            description: text(properties, "Description"),
            authorization_type: text(properties, "AuthorizationType").map(|kind| kind.as_str().into()),
            auth_parameters: Some(changed(authorization(properties)?)),
            ..UpdateConnectionRequest::default()
        };
        connections::update_connection(&self.0, cx, input).await?;
        // An update keeps what it does not name; a template that no longer names it takes it away.
        let (bridge, key) = (&self.0, connections::key(cx, name));
        let exact = bridge.connections.change(&bridge.platform, &key, |row| {
            let description = text(properties, "Description");
            Ok((row.map(|row| ConnectionRow { description, ..row.clone() }), ()))
        });
        exact.await?;
        self.connection(cx, name)
    }

    fn connection(&self, cx: &Cx, name: &str) -> Result<Provided, Fault> {
        let key = connections::key(cx, name);
        let row = self.0.connections.get(&key).ok_or_else(|| Fault::internal("a connection is gone"))?;
        Ok(provided(
            name.into(),
            &[("Arn", &row.arn), ("ArnForPolicy", &key), ("SecretArn", &row.secret_arn)],
        ))
    }

    pub async fn delete_connection(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        let input = DeleteConnectionRequest { name: name.into() };
        gone(connections::delete_connection(&self.0, cx, input).await.map(drop))
    }

    pub async fn create_destination(
        &self,
        cx: &Cx,
        name: &str,
        properties: &Value,
    ) -> Result<Provided, Fault> {
        let input = CreateApiDestinationRequest {
            name: name.into(),
            description: text(properties, "Description"),
            connection_arn: needed(properties, "ConnectionArn")?,
            invocation_endpoint: needed(properties, "InvocationEndpoint")?,
            http_method: needed(properties, "HttpMethod")?.as_str().into(),
            invocation_rate_limit_per_second: rate(properties)?,
        };
        destinations::create_api_destination(&self.0, cx, input).await?;
        self.destination(cx, name)
    }

    pub async fn update_destination(
        &self,
        cx: &Cx,
        name: &str,
        properties: &Value,
    ) -> Result<Provided, Fault> {
        let input = UpdateApiDestinationRequest {
            name: name.into(),
            description: text(properties, "Description"),
            connection_arn: text(properties, "ConnectionArn"),
            invocation_endpoint: text(properties, "InvocationEndpoint"),
            http_method: text(properties, "HttpMethod").map(|method| method.as_str().into()),
            invocation_rate_limit_per_second: rate(properties)?,
        };
        destinations::update_api_destination(&self.0, cx, input).await?;
        let (bridge, rate) = (&self.0, rate(properties)?);
        let key = destinations::key(cx, name);
        let exact = bridge.destinations.change(&bridge.platform, &key, |row| {
            let description = text(properties, "Description");
            Ok((row.map(|row| DestinationRow { description, rate, ..row.clone() }), ()))
        });
        exact.await?;
        self.destination(cx, name)
    }

    fn destination(&self, cx: &Cx, name: &str) -> Result<Provided, Fault> {
        let key = destinations::key(cx, name);
        let row = self.0.destinations.get(&key).ok_or_else(|| Fault::internal("a destination is gone"))?;
        Ok(provided(name.into(), &[("Arn", &row.arn), ("ArnForPolicy", &key)]))
    }

    pub async fn delete_destination(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        let input = DeleteApiDestinationRequest { name: name.into() };
        gone(destinations::delete_api_destination(&self.0, cx, input).await.map(drop))
    }
}

/// Deleting what is already gone succeeds.
pub fn gone(deleted: Result<(), Fault>) -> Result<(), Fault> {
    match deleted {
        Err(fault) if fault.code() == "ResourceNotFoundException" => Ok(()),
        other => other,
    }
}

pub fn refuse(properties: &Value, names: &[&str], of: &str) -> Result<(), Fault> {
    match names.iter().find(|name| properties.get(**name).is_some()) {
        Some(name) => Err(Fault::not_implemented(format!("{name} of {of}"))),
        None => Ok(()),
    }
}

pub fn needed(properties: &Value, name: &str) -> Result<String, Fault> {
    text(properties, name).ok_or_else(|| Fault::validation(format!("Property {name} cannot be empty.")))
}

fn rate(properties: &Value) -> Result<Option<i32>, Fault> {
    const NAME: &str = "InvocationRateLimitPerSecond";
    if properties.get(NAME).is_none() {
        return Ok(None);
    }
    match number(properties, NAME).and_then(|rate| i32::try_from(rate).ok()).filter(|rate| *rate > 0) {
        Some(rate) => Ok(Some(rate)),
        None => Err(Fault::validation(format!("{NAME} must be a whole number of at least 1."))),
    }
}

fn authorization(properties: &Value) -> Result<api::CreateConnectionAuthRequestParameters, Fault> {
    let part = |of: &Value, name: &str| of.get(name).filter(|part| part.is_object()).cloned();
    let all = part(properties, "AuthParameters").unwrap_or_default();
    refuse(&all, &["ConnectivityParameters"], CONNECTION)?;
    let basic = part(&all, "BasicAuthParameters").map(|basic| {
        Ok::<_, Fault>(api::CreateConnectionBasicAuthRequestParameters {
            username: needed(&basic, "Username")?,
            password: needed(&basic, "Password")?,
        })
    });
    let key = part(&all, "ApiKeyAuthParameters").map(|key| {
        Ok::<_, Fault>(api::CreateConnectionApiKeyAuthRequestParameters {
            api_key_name: needed(&key, "ApiKeyName")?,
            api_key_value: needed(&key, "ApiKeyValue")?,
        })
    });
    let oauth = part(&all, "OAuthParameters").map(|oauth| {
        let client = part(&oauth, "ClientParameters").unwrap_or_default();
        Ok::<_, Fault>(api::CreateConnectionOAuthRequestParameters {
            client_parameters: api::CreateConnectionOAuthClientRequestParameters {
                client_id: needed(&client, "ClientID")?,
                client_secret: needed(&client, "ClientSecret")?,
            },
            authorization_endpoint: needed(&oauth, "AuthorizationEndpoint")?,
            http_method: needed(&oauth, "HttpMethod")?.as_str().into(),
            o_auth_http_parameters: part(&oauth, "OAuthHttpParameters").map(|http| http_parameters(&http)),
        })
    });
    Ok(api::CreateConnectionAuthRequestParameters {
        basic_auth_parameters: basic.transpose()?,
        api_key_auth_parameters: key.transpose()?,
        o_auth_parameters: oauth.transpose()?,
        invocation_http_parameters: part(&all, "InvocationHttpParameters").map(|http| http_parameters(&http)),
        connectivity_parameters: None,
    })
}

/// The whole of a template's authorization, said as an update.
fn changed(whole: api::CreateConnectionAuthRequestParameters) -> api::UpdateConnectionAuthRequestParameters {
    api::UpdateConnectionAuthRequestParameters {
        basic_auth_parameters: whole.basic_auth_parameters.map(|basic| {
            api::UpdateConnectionBasicAuthRequestParameters {
                username: Some(basic.username),
                password: Some(basic.password),
            }
        }),
        api_key_auth_parameters: whole.api_key_auth_parameters.map(|key| {
            api::UpdateConnectionApiKeyAuthRequestParameters {
                api_key_name: Some(key.api_key_name),
                api_key_value: Some(key.api_key_value),
            }
        }),
        o_auth_parameters: whole.o_auth_parameters.map(|oauth| api::UpdateConnectionOAuthRequestParameters {
            client_parameters: Some(api::UpdateConnectionOAuthClientRequestParameters {
                client_id: Some(oauth.client_parameters.client_id),
                client_secret: Some(oauth.client_parameters.client_secret),
            }),
            authorization_endpoint: Some(oauth.authorization_endpoint),
            http_method: Some(oauth.http_method),
            o_auth_http_parameters: Some(oauth.o_auth_http_parameters.unwrap_or_default()),
        }),
        invocation_http_parameters: Some(whole.invocation_http_parameters.unwrap_or_default()),
        connectivity_parameters: None,
    }
}

fn http_parameters(given: &Value) -> ConnectionHttpParameters {
    let list = |name: &str| given.get(name).and_then(Value::as_array).cloned();
    let parts = |one: &Value| (text(one, "Key"), text(one, "Value"), boolean(one, "IsValueSecret"));
    ConnectionHttpParameters {
        header_parameters: list("HeaderParameters").map(|all| {
            let named = all.iter().map(parts);
            named
                .map(|(key, value, is_value_secret)| api::ConnectionHeaderParameter {
                    key,
                    value,
                    is_value_secret,
                })
                .collect()
        }),
        query_string_parameters: list("QueryStringParameters").map(|all| {
            let named = all.iter().map(parts);
            named
                .map(|(key, value, is_value_secret)| api::ConnectionQueryStringParameter {
                    key,
                    value,
                    is_value_secret,
                })
                .collect()
        }),
        body_parameters: list("BodyParameters").map(|all| {
            let named = all.iter().map(parts);
            named
                .map(|(key, value, is_value_secret)| api::ConnectionBodyParameter {
                    key,
                    value,
                    is_value_secret,
                })
                .collect()
        }),
    }
}
