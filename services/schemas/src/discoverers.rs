//! Discoverers: which buses' events schemas are learnt from. One a bus, named after it.

use serde_json::json;
use tidemill_api::Unit;
use tidemill_platform::{Arn, Cx, Fault, page::page};
use tidemill_wire::value::ValueReader;

use crate::{
    Schemas, api,
    api::{
        CreateDiscovererRequest, CreateDiscovererResponse, DeleteDiscovererRequest,
        DescribeDiscovererRequest, DescribeDiscovererResponse, DiscovererState, ListDiscoverersRequest,
        ListDiscoverersResponse, StartDiscovererRequest, StartDiscovererResponse, StopDiscovererRequest,
        StopDiscovererResponse, UpdateDiscovererRequest, UpdateDiscovererResponse,
    },
    checks,
    faults::{bad_request, bad_token, conflict},
    rows::{DISCOVERED, DiscovererRow, RegistryRow, Tags, discoverer_arn, registry_arn},
    state::{below, limit},
};

pub async fn create_discoverer(
    schemas: &Schemas,
    cx: &Cx,
    input: CreateDiscovererRequest,
) -> Result<CreateDiscovererResponse, Fault> {
    let (tags, cross_account) = (input.tags.unwrap_or_default(), input.cross_account.unwrap_or(true));
    let source_arn = checks::required(input.source_arn, "SourceArn")?;
    let row = schemas.create_discoverer(cx, &source_arn, input.description, cross_account, tags).await?;
    Ok(CreateDiscovererResponse {
        state: Some(state(row.started)),
        description: row.description,
        discoverer_arn: Some(row.arn),
        discoverer_id: Some(row.id),
        source_arn: Some(row.source_arn),
        cross_account: Some(row.cross_account),
        tags: Some(row.tags),
    })
}

impl Schemas {
    /// Makes a discoverer, which is on from the beginning, and the registry of what it finds.
    pub async fn create_discoverer(
        &self,
        cx: &Cx,
        source_arn: &str,
        description: Option<String>,
        cross_account: bool,
        tags: Tags,
    ) -> Result<DiscovererRow, Fault> {
        checks::description(description.as_deref())?;
        let id = discoverer_id(source_arn)?;
        check_bus(cx, source_arn).await?;
        self.decide(|kept, effects| {
            if kept.discoverer(cx, &id).is_ok() {
                return Err(conflict(format!("Discoverer with id {id} already exists.")));
            }
            if kept.registry(cx, DISCOVERED).is_err() {
                let arn = registry_arn(cx, DISCOVERED);
                let row = RegistryRow { name: DISCOVERED.into(), arn: arn.clone(), ..RegistryRow::default() };
                effects.registries.push((arn, Some(row)));
            }
            let row = DiscovererRow {
                arn: discoverer_arn(cx, &id),
                id,
                source_arn: source_arn.into(),
                description,
                started: true,
                cross_account,
                tags,
            };
            effects.discoverers.push((row.arn.clone(), Some(row.clone())));
            Ok(row)
        })
        .await
    }

    pub async fn change_discoverer(
        &self,
        cx: &Cx,
        id: &str,
        change: impl FnOnce(&mut DiscovererRow),
    ) -> Result<DiscovererRow, Fault> {
        self.decide(|kept, effects| {
            let mut row = kept.discoverer(cx, id)?.clone();
            change(&mut row);
            effects.discoverers.push((row.arn.clone(), Some(row.clone())));
            Ok(row)
        })
        .await
    }

    pub async fn delete_discoverer(&self, cx: &Cx, id: &str) -> Result<(), Fault> {
        self.decide(|kept, effects| {
            effects.discoverers.push((kept.discoverer(cx, id)?.arn.clone(), None));
            Ok(())
        })
        .await
    }
}

/// `events-event-bus-<name>` of a bus's ARN.
fn discoverer_id(source_arn: &str) -> Result<String, Fault> {
    let arn = source_arn.parse::<Arn>().ok().filter(|arn| arn.service == "events");
    let bus = arn.as_ref().and_then(|arn| arn.resource.strip_prefix("event-bus/"));
    bus.map(|bus| format!("events-event-bus-{}", bus.replace('/', "-")))
        .ok_or_else(|| bad_request(format!("SourceArn {source_arn} is not the ARN of an event bus.")))
}

/// Asks EventBridge whether the bus is there.
async fn check_bus(cx: &Cx, source_arn: &str) -> Result<(), Fault> {
    let events = cx.platform().doors.service("events");
    let events = events.ok_or_else(|| Fault::not_implemented("discovery without EventBridge"))?;
    let at = events.meta.operations.iter().position(|one| one.name == "DescribeEventBus");
    let request = json!({"Name": source_arn});
    let call = at.and_then(|at| events.read(at, &mut ValueReader::new(&request)));
    let call = call.ok_or_else(|| Fault::not_implemented("discovery without DescribeEventBus"))?;
    let call = call.map_err(|error| bad_request(error.message))?;
    call.run(cx.clone()).await.map(drop).map_err(|fault| bad_request(fault.message()))
}

pub async fn update_discoverer(
    schemas: &Schemas,
    cx: &Cx,
    input: UpdateDiscovererRequest,
) -> Result<UpdateDiscovererResponse, Fault> {
    checks::description(input.description.as_deref())?;
    let row = schemas
        .change_discoverer(cx, &input.discoverer_id, |row| {
            row.description = input.description.or(row.description.take());
            row.cross_account = input.cross_account.unwrap_or(row.cross_account);
        })
        .await?;
    Ok(UpdateDiscovererResponse {
        state: Some(state(row.started)),
        description: row.description,
        discoverer_arn: Some(row.arn),
        discoverer_id: Some(row.id),
        source_arn: Some(row.source_arn),
        cross_account: Some(row.cross_account),
        tags: Some(row.tags),
    })
}

pub async fn describe_discoverer(
    schemas: &Schemas,
    cx: &Cx,
    input: DescribeDiscovererRequest,
) -> Result<DescribeDiscovererResponse, Fault> {
    let row = schemas.show(|kept| kept.discoverer(cx, &input.discoverer_id).cloned()).await?;
    Ok(DescribeDiscovererResponse {
        state: Some(state(row.started)),
        description: row.description,
        discoverer_arn: Some(row.arn),
        discoverer_id: Some(row.id),
        source_arn: Some(row.source_arn),
        cross_account: Some(row.cross_account),
        tags: Some(row.tags),
    })
}

pub async fn list_discoverers(
    schemas: &Schemas,
    cx: &Cx,
    input: ListDiscoverersRequest,
) -> Result<ListDiscoverersResponse, Fault> {
    let prefix = discoverer_arn(cx, input.discoverer_id_prefix.as_deref().unwrap_or_default());
    let (source, limit) = (input.source_arn_prefix.unwrap_or_default(), limit(input.limit)?);
    let page = schemas.show(|kept| {
        let rows = below(&kept.discoverers, prefix).filter(|row| row.source_arn.starts_with(&source));
        page(rows.cloned(), |row| row.arn.clone(), input.next_token.as_deref(), limit)
    });
    let page = page.await.ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::DiscovererSummary {
        state: Some(state(row.started)),
        discoverer_arn: Some(row.arn),
        discoverer_id: Some(row.id),
        source_arn: Some(row.source_arn),
        cross_account: Some(row.cross_account),
        tags: Some(row.tags),
    });
    Ok(ListDiscoverersResponse { discoverers: Some(shown.collect()), next_token: page.next_token })
}

pub async fn start_discoverer(
    schemas: &Schemas,
    cx: &Cx,
    input: StartDiscovererRequest,
) -> Result<StartDiscovererResponse, Fault> {
    let row = schemas.change_discoverer(cx, &input.discoverer_id, |row| row.started = true).await?;
    Ok(StartDiscovererResponse { discoverer_id: Some(row.id), state: Some(DiscovererState::Started) })
}

pub async fn stop_discoverer(
    schemas: &Schemas,
    cx: &Cx,
    input: StopDiscovererRequest,
) -> Result<StopDiscovererResponse, Fault> {
    let row = schemas.change_discoverer(cx, &input.discoverer_id, |row| row.started = false).await?;
    Ok(StopDiscovererResponse { discoverer_id: Some(row.id), state: Some(DiscovererState::Stopped) })
}

pub async fn delete_discoverer(
    schemas: &Schemas,
    cx: &Cx,
    input: DeleteDiscovererRequest,
) -> Result<Unit, Fault> {
    schemas.delete_discoverer(cx, &input.discoverer_id).await?;
    Ok(Unit)
}

fn state(started: bool) -> DiscovererState {
    if started { DiscovererState::Started } else { DiscovererState::Stopped }
}
