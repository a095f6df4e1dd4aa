//! Buses; their policies are in `permissions`.
//!
//! On AWS a bus's own dead-letter queue gets what its customer managed key fails on. Such keys are refused here, so that
//! queue gets what breaks the schemas that a bus enforces, and nothing else. Records of bus logs go through CloudWatch's
//! log deliveries, which are not there: every level but `OFF` is refused.

use std::collections::BTreeMap;

use tidemill_api::Unit;
use tidemill_platform::{Arn, Cx, Fault, Timestamp, page::page};

use crate::{
    EventBridge, api,
    api::{
        CreateEventBusRequest, CreateEventBusResponse, DeleteEventBusRequest, DescribeEventBusRequest,
        DescribeEventBusResponse, LimitExceededException, ListEventBusesRequest, ListEventBusesResponse,
        ResourceAlreadyExistsException, UpdateEventBusRequest, UpdateEventBusResponse,
    },
    enforcement::check_tags,
    state::{Bus, BusRow},
};

/// Buses of an account in a Region. Source: "Amazon EventBridge quotas".
const MOST_BUSES: usize = 100;

pub async fn create_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: CreateEventBusRequest,
) -> Result<CreateEventBusResponse, Fault> {
    if input.event_source_name.is_some() {
        return Err(Fault::not_implemented("partner event buses"));
    }
    if input.name.contains('/') {
        return Err(Fault::validation("Event bus name must not contain '/'."));
    }
    let settings = Settings::checked(
        "CreateEventBus",
        input.kms_key_identifier,
        input.log_config,
        input.dead_letter_config,
    )?;
    let row = bridge.make(cx, &input.name, input.description, settings, tags(input.tags)).await?;
    Ok(CreateEventBusResponse {
        dead_letter_config: dead_letter_config(&row),
        log_config: log_config(&row),
        event_bus_arn: Some(row.arn),
        description: row.description,
        ..CreateEventBusResponse::default()
    })
}

/// Changes a bus. A description that is not given stays (an empty one takes it away); the other settings are replaced.
pub async fn update_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: UpdateEventBusRequest,
) -> Result<UpdateEventBusResponse, Fault> {
    let bus = bridge.bus(cx, input.name.as_deref())?;
    let settings = Settings::checked(
        "UpdateEventBus",
        input.kms_key_identifier,
        input.log_config,
        input.dead_letter_config,
    )?;
    let row = bridge.change_settings(cx, &bus, input.description, settings, None).await?;
    Ok(UpdateEventBusResponse {
        dead_letter_config: dead_letter_config(&row),
        log_config: log_config(&row),
        arn: Some(row.arn),
        name: Some(row.name),
        description: row.description,
        ..UpdateEventBusResponse::default()
    })
}

/// What a bus can be set to beside its description.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    dead_letter_arn: Option<String>,
    log_detail: Option<String>,
}

impl Settings {
    /// Refuses what is not honoured, and dead-letter queues that are none.
    pub fn checked(
        operation: &str,
        key: Option<String>,
        log: Option<api::LogConfig>,
        dead_letter: Option<api::DeadLetterConfig>,
    ) -> Result<Settings, Fault> {
        if key.is_some_and(|key| !key.is_empty()) {
            return Err(Fault::not_implemented(format!("{operation} with KmsKeyIdentifier")));
        }
        if let Some(level) =
            log.as_ref().and_then(|log| log.level.as_ref()).filter(|level| level.as_str() != "OFF")
        {
            return Err(Fault::not_implemented(format!(
                "{operation} with LogConfig at level {}",
                level.as_str()
            )));
        }
        let dead_letter_arn = dead_letter.and_then(|config| config.arn);
        dead_letter_arn.as_deref().map_or(Ok(()), check_queue)?;
        let detail = log.map(|log| log.include_detail.map_or("NONE".into(), |one| one.as_str().to_string()));
        Ok(Settings { dead_letter_arn, log_detail: detail })
    }
}

/// A dead-letter queue is a standard queue of SQS.
pub fn check_queue(arn: &str) -> Result<(), Fault> {
    let invalid = |reason: &str| Fault::validation(format!("Parameter {arn} is not valid. Reason: {reason}"));
    let parsed: Arn = arn.parse().map_err(|_| invalid("Provided Arn is not in correct format."))?;
    match parsed.service.as_str() {
        "sqs" if parsed.resource.ends_with(".fifo") => {
            Err(invalid("A FIFO queue cannot be a dead-letter queue of EventBridge."))
        }
        "sqs" => Ok(()),
        _ => Err(invalid("A dead-letter queue must be a queue of Amazon SQS.")),
    }
}

fn dead_letter_config(row: &BusRow) -> Option<api::DeadLetterConfig> {
    row.dead_letter_arn.clone().map(|arn| api::DeadLetterConfig { arn: Some(arn) })
}

fn log_config(row: &BusRow) -> Option<api::LogConfig> {
    let detail = row.log_detail.as_deref()?;
    Some(api::LogConfig { include_detail: Some(detail.into()), level: Some("OFF".into()) })
}

impl EventBridge {
    pub async fn make(
        &self,
        cx: &Cx,
        name: &str,
        description: Option<String>,
        settings: Settings,
        tags: BTreeMap<String, String>,
    ) -> Result<BusRow, Fault> {
        check_tags(&tags)?;
        if self.of_caller(cx).len() >= MOST_BUSES {
            return Err(over_quota());
        }
        let now = cx.now().millis();
        let row = BusRow {
            name: name.into(),
            arn: cx.arn("events", format!("event-bus/{name}")).to_string(),
            account: cx.account().into(),
            region: cx.region().into(),
            description,
            policy: None,
            dead_letter_arn: settings.dead_letter_arn,
            log_detail: settings.log_detail,
            tags,
            created_at: now,
            changed_at: now,
        };
        if !self.insert(row.clone()).await? {
            return Err(
                ResourceAlreadyExistsException::new(format!("Event bus {name} already exists.")).into()
            );
        }
        Ok(row)
    }

    /// Gives the row as it is then.
    pub async fn change_settings(
        &self,
        cx: &Cx,
        bus: &Bus,
        description: Option<String>,
        settings: Settings,
        tags: Option<BTreeMap<String, String>>,
    ) -> Result<BusRow, Fault> {
        let now = cx.now().millis();
        tags.as_ref().map_or(Ok(()), check_tags)?;
        self.change_bus(bus, |row| {
            if let Some(tags) = tags {
                row.tags = tags;
            }
            if let Some(text) = description {
                row.description = Some(text).filter(|text| !text.is_empty());
            }
            row.dead_letter_arn = settings.dead_letter_arn;
            row.log_detail = settings.log_detail;
            row.changed_at = now;
            Ok(())
        })
        .await?;
        Ok(bus.row.read().clone())
    }

    /// Takes a bus away; one with rules stays.
    pub async fn unmake(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        // What is not there is deleted already.
        let Ok(bus) = self.bus(cx, Some(name)) else { return Ok(()) };
        if bus.row.read().name == "default" {
            return Err(Fault::validation("Cannot delete event bus default."));
        }
        if !bus.rules.read().is_empty() {
            return Err(Fault::validation("Event bus can't be deleted since it has rules."));
        }
        self.remove(&bus.arn.to_string()).await
    }
}

pub fn tags(given: Option<Vec<api::Tag>>) -> BTreeMap<String, String> {
    given.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

pub async fn delete_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: DeleteEventBusRequest,
) -> Result<Unit, Fault> {
    bridge.unmake(cx, &input.name).await?;
    Ok(Unit)
}

pub async fn describe_event_bus(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeEventBusRequest,
) -> Result<DescribeEventBusResponse, Fault> {
    let bus = bridge.bus(cx, input.name.as_deref())?;
    let row = bus.row.read().clone();
    Ok(DescribeEventBusResponse {
        dead_letter_config: dead_letter_config(&row),
        log_config: log_config(&row),
        name: Some(row.name),
        arn: Some(row.arn),
        description: row.description,
        policy: row.policy,
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
        ..DescribeEventBusResponse::default()
    })
}

pub async fn list_event_buses(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListEventBusesRequest,
) -> Result<ListEventBusesResponse, Fault> {
    let prefix = input.name_prefix.unwrap_or_default();
    let rows = bridge.of_caller(cx).into_iter().map(|bus| bus.row.read().clone());
    let rows: Vec<BusRow> = rows.filter(|row| row.name.starts_with(&prefix)).collect();
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page =
        page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::EventBus {
        name: Some(row.name),
        arn: Some(row.arn),
        description: row.description,
        policy: row.policy,
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        last_modified_time: Some(Timestamp::from_millis(row.changed_at)),
    });
    Ok(ListEventBusesResponse { event_buses: Some(shown.collect()), next_token: page.next_token })
}

/// What a quota stands against.
pub fn over_quota() -> Fault {
    LimitExceededException::new("The requested resource exceeds the maximum number allowed.").into()
}

pub fn bad_token() -> Fault {
    Fault::validation("Invalid nextToken.")
}
