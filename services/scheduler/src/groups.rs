//! Groups of schedules. The default group is always there; deleting another one deletes its schedules.

use std::collections::BTreeMap;

use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Scheduler, api,
    api::{
        ConflictException, CreateScheduleGroupInput, CreateScheduleGroupOutput, DeleteScheduleGroupInput,
        DeleteScheduleGroupOutput, GetScheduleGroupInput, GetScheduleGroupOutput, ListScheduleGroupsInput,
        ListScheduleGroupsOutput,
    },
    rows::{DEFAULT_GROUP, GroupRow, group_arn, schedule_arn},
};

/// Groups on a page by default.
const PAGE: usize = 100;

pub async fn create_schedule_group(
    scheduler: &Scheduler,
    cx: &Cx,
    input: CreateScheduleGroupInput,
) -> Result<CreateScheduleGroupOutput, Fault> {
    let tags = input.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
    let schedule_group_arn = scheduler.create_group(cx, &input.name, tags, input.client_token).await?;
    Ok(CreateScheduleGroupOutput { schedule_group_arn })
}

impl Scheduler {
    /// Makes a group; its ARN.
    pub async fn create_group(
        &self,
        cx: &Cx,
        name: &str,
        tags: BTreeMap<String, String>,
        token: Option<String>,
    ) -> Result<String, Fault> {
        let (arn, now) = (group_arn(cx, name), cx.now().millis());
        self.decide(|kept, effects| {
            if let Ok(there) = kept.group(cx, name) {
                let is_repeated = token.is_some() && token == there.client_token && tags == there.tags;
                let taken = || ConflictException::new(format!("Schedule group {name} already exists."));
                return if is_repeated { Ok(arn) } else { Err(taken().into()) };
            }
            let row = GroupRow {
                name: name.into(),
                arn: arn.clone(),
                tags,
                created_at: now,
                changed_at: now,
                client_token: token,
            };
            effects.groups.push((arn.clone(), Some(row)));
            Ok(arn)
        })
        .await
    }

    /// Takes a group away with its schedules.
    pub async fn delete_group(&self, cx: &Cx, name: &str, token: Option<String>) -> Result<(), Fault> {
        if name == DEFAULT_GROUP {
            return Err(Fault::validation("The default schedule group cannot be deleted."));
        }
        let arn = group_arn(cx, name);
        self.decide(|kept, effects| {
            if kept.was_deleted(&arn, token.as_deref()) && kept.group(cx, name).is_err() {
                return Ok(());
            }
            kept.group(cx, name)?;
            let prefix = schedule_arn(cx, name, "");
            effects.schedules.extend(kept.schedules_below(&prefix).map(|row| (row.arn.clone(), None)));
            effects.groups.push((arn.clone(), None));
            kept.note_deletion(&arn, token);
            Ok(())
        })
        .await
    }
}

pub async fn delete_schedule_group(
    scheduler: &Scheduler,
    cx: &Cx,
    input: DeleteScheduleGroupInput,
) -> Result<DeleteScheduleGroupOutput, Fault> {
    scheduler.delete_group(cx, &input.name, input.client_token).await?;
    Ok(DeleteScheduleGroupOutput {})
}

pub async fn get_schedule_group(
    scheduler: &Scheduler,
    cx: &Cx,
    input: GetScheduleGroupInput,
) -> Result<GetScheduleGroupOutput, Fault> {
    let row = scheduler.show(|kept| kept.group(cx, &input.name)).await?;
    Ok(GetScheduleGroupOutput {
        arn: Some(row.arn),
        name: Some(row.name),
        state: Some(api::ScheduleGroupState::Active),
        creation_date: Some(Timestamp::from_millis(row.created_at)),
        last_modification_date: Some(Timestamp::from_millis(row.changed_at)),
    })
}

pub async fn list_schedule_groups(
    scheduler: &Scheduler,
    cx: &Cx,
    input: ListScheduleGroupsInput,
) -> Result<ListScheduleGroupsOutput, Fault> {
    let prefix = group_arn(cx, input.name_prefix.as_deref().unwrap_or_default());
    let mut rows: BTreeMap<String, GroupRow> = [(group_arn(cx, DEFAULT_GROUP), GroupRow::default_of(cx))]
        .into_iter()
        .filter(|(arn, _)| arn.starts_with(&prefix))
        .collect();
    let shown = scheduler.show(|kept| {
        let below = kept.groups.range(prefix.clone()..).take_while(|(arn, _)| arn.starts_with(&prefix));
        rows.extend(below.map(|(arn, row)| (arn.clone(), row.clone())));
    });
    shown.await;
    let limit = input.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE);
    let page = page(rows.into_values(), |row| row.arn.clone(), input.next_token.as_deref(), limit);
    let page = page.ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|row| api::ScheduleGroupSummary {
        arn: Some(row.arn),
        name: Some(row.name),
        state: Some(api::ScheduleGroupState::Active),
        creation_date: Some(Timestamp::from_millis(row.created_at)),
        last_modification_date: Some(Timestamp::from_millis(row.changed_at)),
    });
    Ok(ListScheduleGroupsOutput { schedule_groups: shown.collect(), next_token: page.next_token })
}

pub fn bad_token() -> Fault {
    Fault::validation("Invalid NextToken.")
}
