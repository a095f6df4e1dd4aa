//! API destinations: HTTP endpoints with a connection, as targets of rules. `invocation` calls them.

use serde::{Deserialize, Serialize};
use tidemill_platform::{Arn, Cx, Fault, Timestamp, page::page};

use crate::{
    EventBridge, api,
    api::{
        CreateApiDestinationRequest, CreateApiDestinationResponse, DeleteApiDestinationRequest,
        DeleteApiDestinationResponse, DescribeApiDestinationRequest, DescribeApiDestinationResponse,
        ListApiDestinationsRequest, ListApiDestinationsResponse, ResourceAlreadyExistsException,
        ResourceNotFoundException, UpdateApiDestinationRequest, UpdateApiDestinationResponse,
    },
    buses::bad_token,
    connections::AUTHORIZED,
    credentials::check_endpoint,
};

/// Invocations a second where nothing is said.
const RATE: i32 = 300;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DestinationRow {
    pub name: String,
    pub arn: String,
    pub description: Option<String>,
    pub connection_arn: String,
    /// May hold `*` for path parameters.
    pub endpoint: String,
    pub method: String,
    /// As it was given; see [`DestinationRow::rate`].
    pub rate: Option<i32>,
    pub created_at: i64,
    pub changed_at: i64,
}

impl DestinationRow {
    /// Invocations a second.
    pub fn rate(&self) -> u32 {
        self.rate.unwrap_or(RATE).max(1).unsigned_abs()
    }
}

pub async fn create_api_destination(
    bridge: &EventBridge,
    cx: &Cx,
    input: CreateApiDestinationRequest,
) -> Result<CreateApiDestinationResponse, Fault> {
    check_endpoint("InvocationEndpoint", &input.invocation_endpoint)?;
    bridge.check_connection(&input.connection_arn)?;
    let (now, id, name) = (cx.now().millis(), cx.random().uuid(), input.name);
    let row = DestinationRow {
        arn: cx.arn("events", format!("api-destination/{name}/{id}")).to_string(),
        name,
        description: input.description,
        connection_arn: input.connection_arn,
        endpoint: input.invocation_endpoint,
        method: input.http_method.as_str().into(),
        rate: input.invocation_rate_limit_per_second,
        created_at: now,
        changed_at: now,
    };
    let row = bridge
        .destinations
        .change(&bridge.platform, &key(cx, &row.name), |before| match before {
            Some(_) => Err(ResourceAlreadyExistsException::new(format!(
                "An api-destination '{}' already exists.",
                row.name
            ))
            .into()),
            None => Ok((Some(row.clone()), row)),
        })
        .await?;
    Ok(CreateApiDestinationResponse {
        api_destination_state: Some(bridge.state_of(&row).into()),
        api_destination_arn: Some(row.arn),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

/// Under which a destination is kept: its ARN without the id.
pub fn key(cx: &Cx, name: &str) -> String {
    cx.arn("events", format!("api-destination/{name}")).to_string()
}

fn not_found(name: &str) -> Fault {
    ResourceNotFoundException::new(format!("Api destination '{name}' does not exist.")).into()
}

impl EventBridge {
    fn check_connection(&self, arn: &str) -> Result<(), Fault> {
        match self.connection(arn) {
            Some(_) => Ok(()),
            None => Err(ResourceNotFoundException::new(format!("Connection '{arn}' does not exist.")).into()),
        }
    }

    /// The destination of an ARN, unless it was deleted since.
    pub fn destination(&self, arn: &Arn) -> Option<DestinationRow> {
        let arn = arn.to_string();
        let (key, _) = arn.rsplit_once('/')?;
        self.destinations.get(key).filter(|row| row.arn == arn)
    }

    /// A destination is as good as its connection.
    fn state_of(&self, row: &DestinationRow) -> &'static str {
        let connection = self.connection(&row.connection_arn);
        if connection.is_some_and(|connection| connection.state == AUTHORIZED) {
            "ACTIVE"
        } else {
            "INACTIVE"
        }
    }
}

pub async fn update_api_destination(
    bridge: &EventBridge,
    cx: &Cx,
    input: UpdateApiDestinationRequest,
) -> Result<UpdateApiDestinationResponse, Fault> {
    if let Some(endpoint) = &input.invocation_endpoint {
        check_endpoint("InvocationEndpoint", endpoint)?;
    }
    if let Some(arn) = &input.connection_arn {
        bridge.check_connection(arn)?;
    }
    let now = cx.now().millis();
    let row = bridge
        .destinations
        .change(&bridge.platform, &key(cx, &input.name), |before| {
            let before = before.cloned().ok_or_else(|| not_found(&input.name))?;
            let row = DestinationRow {
                description: input.description.or(before.description),
                connection_arn: input.connection_arn.unwrap_or(before.connection_arn),
                endpoint: input.invocation_endpoint.unwrap_or(before.endpoint),
                method: input.http_method.map_or(before.method, |method| method.as_str().into()),
                rate: input.invocation_rate_limit_per_second.or(before.rate),
                changed_at: now,
                ..before
            };
            Ok((Some(row.clone()), row))
        })
        .await?;
    Ok(UpdateApiDestinationResponse {
        api_destination_state: Some(bridge.state_of(&row).into()),
        api_destination_arn: Some(row.arn),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

pub async fn describe_api_destination(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeApiDestinationRequest,
) -> Result<DescribeApiDestinationResponse, Fault> {
    let row = bridge.destinations.get(&key(cx, &input.name)).ok_or_else(|| not_found(&input.name))?;
    Ok(DescribeApiDestinationResponse {
        api_destination_state: Some(bridge.state_of(&row).into()),
        api_destination_arn: Some(row.arn),
        name: Some(row.name),
        description: row.description,
        connection_arn: Some(row.connection_arn),
        invocation_endpoint: Some(row.endpoint),
        http_method: Some(row.method.as_str().into()),
        invocation_rate_limit_per_second: Some(row.rate.unwrap_or(RATE)),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    })
}

pub async fn delete_api_destination(
    bridge: &EventBridge,
    cx: &Cx,
    input: DeleteApiDestinationRequest,
) -> Result<DeleteApiDestinationResponse, Fault> {
    bridge
        .destinations
        .change(&bridge.platform, &key(cx, &input.name), |before| match before {
            Some(_) => Ok((None, DeleteApiDestinationResponse {})),
            None => Err(not_found(&input.name)),
        })
        .await
}

pub async fn list_api_destinations(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListApiDestinationsRequest,
) -> Result<ListApiDestinationsResponse, Fault> {
    let mut rows = bridge.destinations.under(&key(cx, &input.name_prefix.unwrap_or_default()));
    rows.retain(|row| input.connection_arn.as_ref().is_none_or(|arn| *arn == row.connection_arn));
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page =
        page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::ApiDestination {
        api_destination_state: Some(bridge.state_of(&row).into()),
        api_destination_arn: Some(row.arn),
        name: Some(row.name),
        connection_arn: Some(row.connection_arn),
        invocation_endpoint: Some(row.endpoint),
        http_method: Some(row.method.as_str().into()),
        invocation_rate_limit_per_second: Some(row.rate.unwrap_or(RATE)),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    });
    Ok(ListApiDestinationsResponse { api_destinations: Some(shown.collect()), next_token: page.next_token })
}
