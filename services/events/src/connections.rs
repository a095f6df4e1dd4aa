//! Connections: what API destinations authorize themselves with. Those with OAuth get their first token in the
//! background, as AWS does; `authorization` fetches it.

use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    EventBridge, api,
    api::{
        CreateConnectionRequest, CreateConnectionResponse, DeauthorizeConnectionRequest,
        DeauthorizeConnectionResponse, DeleteConnectionRequest, DeleteConnectionResponse,
        DescribeConnectionRequest, DescribeConnectionResponse, ListConnectionsRequest,
        ListConnectionsResponse, ResourceAlreadyExistsException, ResourceNotFoundException,
        UpdateConnectionRequest, UpdateConnectionResponse,
    },
    buses::bad_token,
    credentials,
    credentials::{Credentials, Parameters},
};

pub const AUTHORIZED: &str = "AUTHORIZED";
pub const AUTHORIZING: &str = "AUTHORIZING";
pub const DEAUTHORIZED: &str = "DEAUTHORIZED";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow {
    pub name: String,
    pub arn: String,
    pub description: Option<String>,
    /// `AuthorizationType`.
    pub kind: String,
    pub credentials: Credentials,
    /// Added to every request over the connection.
    pub invocation: Parameters,
    pub state: String,
    pub state_reason: Option<String>,
    pub secret_arn: String,
    pub created_at: i64,
    pub changed_at: i64,
    pub authorized_at: Option<i64>,
}

pub async fn create_connection(
    bridge: &EventBridge,
    cx: &Cx,
    input: CreateConnectionRequest,
) -> Result<CreateConnectionResponse, Fault> {
    refuse(input.invocation_connectivity_parameters.is_some(), input.kms_key_identifier.is_some())?;
    let kind = input.authorization_type.as_str().to_string();
    let (credentials, invocation) = credentials::created(&kind, input.auth_parameters)?;
    let (now, id, name) = (cx.now().millis(), cx.random().uuid(), input.name);
    let state = first_state(&kind);
    let secret =
        format!("secret:events!connection/{name}/{}-{}", cx.random().uuid(), &cx.random().hex::<3>());
    let row = ConnectionRow {
        arn: cx.arn("events", format!("connection/{name}/{id}")).to_string(),
        description: input.description,
        kind,
        credentials,
        invocation,
        state: state.into(),
        state_reason: None,
        secret_arn: cx.arn("secretsmanager", secret).to_string(),
        created_at: now,
        changed_at: now,
        authorized_at: (state == AUTHORIZED).then_some(now),
        name,
    };
    let row = bridge
        .connections
        .change(&bridge.platform, &key(cx, &row.name), |before| match before {
            Some(_) => {
                Err(ResourceAlreadyExistsException::new(format!("Connection {} already exists.", row.name))
                    .into())
            }
            None => Ok((Some(row.clone()), row)),
        })
        .await?;
    bridge.authorize_later(&row);
    Ok(CreateConnectionResponse {
        connection_arn: Some(row.arn),
        connection_state: Some(row.state.as_str().into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

fn refuse(private: bool, kms: bool) -> Result<(), Fault> {
    if private {
        return Err(Fault::not_implemented("connections to private endpoints"));
    }
    if kms {
        return Err(Fault::not_implemented("connections with KmsKeyIdentifier"));
    }
    Ok(())
}

/// A token has to be fetched first where there is one; everything else is authorized at once.
fn first_state(kind: &str) -> &'static str {
    if kind == "OAUTH_CLIENT_CREDENTIALS" { AUTHORIZING } else { AUTHORIZED }
}

/// Under which a connection is kept: its ARN without the id.
pub fn key(cx: &Cx, name: &str) -> String {
    cx.arn("events", format!("connection/{name}")).to_string()
}

fn not_found(name: &str) -> Fault {
    ResourceNotFoundException::new(format!("Connection '{name}' does not exist.")).into()
}

impl EventBridge {
    /// The connection of an ARN, unless it was deleted since.
    pub fn connection(&self, arn: &str) -> Option<ConnectionRow> {
        let (key, _) = arn.rsplit_once('/')?;
        self.connections.get(key).filter(|row| row.arn == arn)
    }
}

pub async fn update_connection(
    bridge: &EventBridge,
    cx: &Cx,
    input: UpdateConnectionRequest,
) -> Result<UpdateConnectionResponse, Fault> {
    refuse(input.invocation_connectivity_parameters.is_some(), input.kms_key_identifier.is_some())?;
    let now = cx.now().millis();
    let row = bridge
        .connections
        .change(&bridge.platform, &key(cx, &input.name), |before| {
            let mut row = before.cloned().ok_or_else(|| not_found(&input.name))?;
            if let Some(kind) = &input.authorization_type {
                row.kind = kind.as_str().into();
            }
            let given = input.auth_parameters.unwrap_or_default();
            let before = (&row.credentials, &row.invocation);
            let (credentials, invocation) = credentials::updated(&row.kind, before, given)?;
            let is_same = row.credentials == credentials;
            if !is_same {
                bridge.tokens.forget(&row.arn);
            }
            (row.credentials, row.invocation) = (credentials, invocation);
            if !is_same {
                row.state = first_state(&row.kind).into();
                row.state_reason = None;
                row.authorized_at = if row.state == AUTHORIZED { Some(now) } else { row.authorized_at };
            }
            row.description = input.description.or(row.description);
            row.changed_at = now;
            Ok((Some(row.clone()), row))
        })
        .await?;
    bridge.authorize_later(&row);
    Ok(UpdateConnectionResponse {
        connection_arn: Some(row.arn),
        connection_state: Some(row.state.as_str().into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        last_authorized_time: row.authorized_at.map(Timestamp::from_millis),
    })
}

pub async fn describe_connection(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeConnectionRequest,
) -> Result<DescribeConnectionResponse, Fault> {
    let row = bridge.connections.get(&key(cx, &input.name)).ok_or_else(|| not_found(&input.name))?;
    Ok(DescribeConnectionResponse {
        auth_parameters: Some(row.credentials.shown(&row.invocation)),
        connection_arn: Some(row.arn),
        name: Some(row.name),
        description: row.description,
        connection_state: Some(row.state.as_str().into()),
        state_reason: row.state_reason,
        authorization_type: Some(row.kind.as_str().into()),
        secret_arn: Some(row.secret_arn),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        last_authorized_time: row.authorized_at.map(Timestamp::from_millis),
        ..DescribeConnectionResponse::default()
    })
}

pub async fn delete_connection(
    bridge: &EventBridge,
    cx: &Cx,
    input: DeleteConnectionRequest,
) -> Result<DeleteConnectionResponse, Fault> {
    let row = bridge
        .connections
        .change(&bridge.platform, &key(cx, &input.name), |before| {
            Ok((None, before.cloned().ok_or_else(|| not_found(&input.name))?))
        })
        .await?;
    bridge.tokens.forget(&row.arn);
    Ok(DeleteConnectionResponse {
        connection_arn: Some(row.arn),
        connection_state: Some("DELETING".into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        last_authorized_time: row.authorized_at.map(Timestamp::from_millis),
    })
}

pub async fn deauthorize_connection(
    bridge: &EventBridge,
    cx: &Cx,
    input: DeauthorizeConnectionRequest,
) -> Result<DeauthorizeConnectionResponse, Fault> {
    let now = cx.now().millis();
    let row = bridge
        .connections
        .change(&bridge.platform, &key(cx, &input.name), |before| {
            let mut row = before.cloned().ok_or_else(|| not_found(&input.name))?;
            row.credentials = Credentials::Removed;
            row.invocation = Parameters::default();
            row.state = DEAUTHORIZED.into();
            row.changed_at = now;
            Ok((Some(row.clone()), row))
        })
        .await?;
    bridge.tokens.forget(&row.arn);
    Ok(DeauthorizeConnectionResponse {
        connection_arn: Some(row.arn),
        connection_state: Some("DEAUTHORIZING".into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        last_authorized_time: row.authorized_at.map(Timestamp::from_millis),
    })
}

pub async fn list_connections(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListConnectionsRequest,
) -> Result<ListConnectionsResponse, Fault> {
    let mut rows = bridge.connections.under(&key(cx, &input.name_prefix.unwrap_or_default()));
    rows.retain(|row| input.connection_state.as_ref().is_none_or(|state| state.as_str() == row.state));
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page =
        page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::Connection {
        connection_arn: Some(row.arn),
        name: Some(row.name),
        connection_state: Some(row.state.as_str().into()),
        state_reason: row.state_reason,
        authorization_type: Some(row.kind.as_str().into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        last_authorized_time: row.authorized_at.map(Timestamp::from_millis),
    });
    Ok(ListConnectionsResponse { connections: Some(shown.collect()), next_token: page.next_token })
}
