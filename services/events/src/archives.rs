//! Archives: what a bus had, kept for replays. An archive has a rule of its own on its bus, made from its row and
//! managed by the service; `vault` keeps the events that the rule matches.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_event_pattern::Pattern;
use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    EventBridge, api,
    api::{
        CreateArchiveRequest, CreateArchiveResponse, DeleteArchiveRequest, DeleteArchiveResponse,
        DescribeArchiveRequest, DescribeArchiveResponse, InvalidEventPatternException, ListArchivesRequest,
        ListArchivesResponse, ResourceAlreadyExistsException, ResourceNotFoundException,
        UpdateArchiveRequest, UpdateArchiveResponse,
    },
    buses::bad_token,
    rules::rule_arn,
    state::{Bus, Rule, RuleRow, TargetRow},
};

const ENABLED: &str = "ENABLED";
/// Who AWS says manages the rules of archives.
const MANAGER: &str = "prod.vhs.events.aws.internal";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchiveRow {
    pub name: String,
    pub arn: String,
    /// Under which its events are kept: another archive of the same name has others.
    pub id: String,
    /// The bus.
    pub source_arn: String,
    pub description: Option<String>,
    pub pattern: Option<String>,
    /// 0 keeps events for ever.
    pub retention_days: i32,
    pub created_at: i64,
}

pub async fn create_archive(
    bridge: &EventBridge,
    cx: &Cx,
    input: CreateArchiveRequest,
) -> Result<CreateArchiveResponse, Fault> {
    if input.kms_key_identifier.is_some() {
        return Err(Fault::not_implemented("archives with KmsKeyIdentifier"));
    }
    let bus = bridge.bus(cx, Some(&input.event_source_arn))?;
    check(input.event_pattern.as_deref())?;
    let row = ArchiveRow {
        arn: key(cx, &input.archive_name),
        name: input.archive_name,
        id: cx.random().uuid(),
        source_arn: bus.arn.to_string(),
        description: input.description,
        pattern: input.event_pattern,
        retention_days: input.retention_days.unwrap_or(0),
        created_at: cx.now().millis(),
    };
    let arn = row.arn.clone();
    let row = bridge
        .archives
        .change(&bridge.platform, &arn, |before| match before {
            Some(_) => {
                Err(ResourceAlreadyExistsException::new(format!("Archive {} already exists.", row.name))
                    .into())
            }
            None => Ok((Some(row.clone()), row)),
        })
        .await?;
    bridge.use_archive(&arn)?;
    Ok(CreateArchiveResponse {
        archive_arn: Some(arn),
        state: Some(ENABLED.into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        ..CreateArchiveResponse::default()
    })
}

fn check(pattern: Option<&str>) -> Result<(), Fault> {
    if let Some(pattern) = pattern {
        Pattern::parse(pattern).map_err(|error| InvalidEventPatternException::new(error.to_string()))?;
    }
    Ok(())
}

/// An archive's ARN, under which it is kept.
pub fn key(cx: &Cx, name: &str) -> String {
    cx.arn("events", format!("archive/{name}")).to_string()
}

fn not_found(name: &str) -> Fault {
    ResourceNotFoundException::new(format!("Archive {name} does not exist.")).into()
}

impl EventBridge {
    /// Makes an archive's rule what the archive is now, and its vault with it.
    pub fn use_archive(&self, arn: &str) -> Result<(), Fault> {
        let _one_at_a_time = self.using_archives.lock();
        let Some(row) = self.archives.get(arn) else {
            let Some(vault) = self.vaults.close(arn) else { return Ok(()) };
            if let Some(bus) = self.by_arn(&vault.bus_arn) {
                bus.use_rule(&vault.rule, None);
            }
            return Ok(());
        };
        let Some(bus) = self.by_arn(&row.source_arn) else { return Ok(()) };
        let name = format!("Events-Archive-{}", row.name);
        self.vaults.open(&self.platform.store, &row, &name).map_err(Fault::internal)?;
        bus.use_rule(&name, Some(Rule::of(rule(&bus, &name, &row))?));
        self.plan_retention(arn);
        Ok(())
    }
}

/// The rule that feeds an archive. Replayed events are not archived again.
fn rule(bus: &Bus, name: &str, row: &ArchiveRow) -> RuleRow {
    let asked = row.pattern.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let mut pattern = asked.filter(Value::is_object).unwrap_or_else(|| json!({}));
    pattern["replay-name"] = json!([{"exists": false}]);
    let template = format!(
        r#"{{"archive-arn": "{}:{}", "event": <aws.events.event.json>, "ingestion-time": <aws.events.event.ingestion-time>}}"#,
        row.arn, row.id
    );
    let target = TargetRow {
        id: name.into(),
        arn: format!("arn:aws:events:{}:::", bus.arn.region),
        transformer: Some((Default::default(), template)),
        ..TargetRow::default()
    };
    RuleRow {
        name: name.into(),
        arn: rule_arn(bus, name),
        pattern: Some(pattern.to_string()),
        schedule: None,
        state: ENABLED.into(),
        description: None,
        role_arn: None,
        created_by: bus.arn.account.clone(),
        created_at: row.created_at,
        tags: Default::default(),
        targets: vec![target],
        managed_by: Some(MANAGER.into()),
        archive: Some(row.arn.clone()),
    }
}

pub async fn update_archive(
    bridge: &EventBridge,
    cx: &Cx,
    input: UpdateArchiveRequest,
) -> Result<UpdateArchiveResponse, Fault> {
    if input.kms_key_identifier.is_some() {
        return Err(Fault::not_implemented("archives with KmsKeyIdentifier"));
    }
    check(input.event_pattern.as_deref())?;
    let arn = key(cx, &input.archive_name);
    let row = bridge
        .archives
        .change(&bridge.platform, &arn, |before| {
            let before = before.cloned().ok_or_else(|| not_found(&input.archive_name))?;
            let row = ArchiveRow {
                description: input.description.or(before.description),
                pattern: input.event_pattern.or(before.pattern),
                retention_days: input.retention_days.unwrap_or(before.retention_days),
                ..before
            };
            Ok((Some(row.clone()), row))
        })
        .await?;
    bridge.use_archive(&arn)?;
    Ok(UpdateArchiveResponse {
        archive_arn: Some(arn),
        state: Some(ENABLED.into()),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        ..UpdateArchiveResponse::default()
    })
}

pub async fn describe_archive(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeArchiveRequest,
) -> Result<DescribeArchiveResponse, Fault> {
    let arn = key(cx, &input.archive_name);
    let row = bridge.archives.get(&arn).ok_or_else(|| not_found(&input.archive_name))?;
    let (count, bytes) = bridge.vaults.size(&arn);
    Ok(DescribeArchiveResponse {
        archive_arn: Some(row.arn),
        archive_name: Some(row.name),
        event_source_arn: Some(row.source_arn),
        description: row.description,
        event_pattern: row.pattern,
        state: Some(ENABLED.into()),
        retention_days: Some(row.retention_days),
        size_bytes: Some(bytes),
        event_count: Some(count),
        creation_time: Some(Timestamp::from_millis(row.created_at)),
        ..DescribeArchiveResponse::default()
    })
}

pub async fn delete_archive(
    bridge: &EventBridge,
    cx: &Cx,
    input: DeleteArchiveRequest,
) -> Result<DeleteArchiveResponse, Fault> {
    bridge.remove_archive(&key(cx, &input.archive_name), &input.archive_name).await?;
    Ok(DeleteArchiveResponse {})
}

impl EventBridge {
    /// Takes an archive away; its events follow in the background.
    pub async fn remove_archive(&self, arn: &str, name: &str) -> Result<(), Fault> {
        let (ticket, id) = {
            let mut batch = tidemill_store::Batch::new(tidemill_store::Partition::of(arn));
            let decided = self.archives.get(arn).ok_or_else(|| not_found(name))?;
            crate::vault::doom(&mut batch, &decided.id);
            self.archives.submit(
                arn,
                |before| match before {
                    Some(row) if row.id == decided.id => Ok((None, row.id.clone())),
                    _ => Err(not_found(name)),
                },
                |write| {
                    write(&mut batch);
                    self.platform.submit(batch)
                },
            )?
        };
        ticket.await;
        self.use_archive(arn)?;
        self.sweep_later(id);
        Ok(())
    }
}

pub async fn list_archives(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListArchivesRequest,
) -> Result<ListArchivesResponse, Fault> {
    let filters = [input.name_prefix.is_some(), input.event_source_arn.is_some(), input.state.is_some()];
    if filters.iter().filter(|given| **given).count() > 1 {
        return Err(Fault::validation(
            "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.",
        ));
    }
    let mut rows = bridge.archives.under(&key(cx, &input.name_prefix.unwrap_or_default()));
    rows.retain(|row| {
        input.event_source_arn.as_ref().is_none_or(|arn| *arn == row.source_arn)
            && input.state.as_ref().is_none_or(|state| state.as_str() == ENABLED)
    });
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page =
        page(rows, |row| row.name.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| {
        let (count, bytes) = bridge.vaults.size(&row.arn);
        api::Archive {
            archive_name: Some(row.name),
            event_source_arn: Some(row.source_arn),
            state: Some(ENABLED.into()),
            retention_days: Some(row.retention_days),
            size_bytes: Some(bytes),
            event_count: Some(count),
            creation_time: Some(Timestamp::from_millis(row.created_at)),
            ..api::Archive::default()
        }
    });
    Ok(ListArchivesResponse { archives: Some(shown.collect()), next_token: page.next_token })
}
