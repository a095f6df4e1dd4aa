//! Schedules.

use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Scheduler, api,
    api::{
        ConflictException, CreateScheduleInput, CreateScheduleOutput, DeleteScheduleInput,
        DeleteScheduleOutput, GetScheduleInput, GetScheduleOutput, ListSchedulesInput, ListSchedulesOutput,
        UpdateScheduleInput, UpdateScheduleOutput,
    },
    groups::bad_token,
    request::{as_creation, shown_target, shown_window},
    rows::{DEFAULT_GROUP, ScheduleRow, Settings, schedule_arn},
    runs,
};

/// Schedules on a page by default.
const PAGE: usize = 100;

pub async fn create_schedule(
    scheduler: &Scheduler,
    cx: &Cx,
    input: CreateScheduleInput,
) -> Result<CreateScheduleOutput, Fault> {
    let schedule_arn = scheduler.create(cx, input).await?;
    Ok(CreateScheduleOutput { schedule_arn })
}

impl Scheduler {
    /// Makes a schedule; its ARN. The same request with the same token is answered again.
    pub async fn create(&self, cx: &Cx, input: CreateScheduleInput) -> Result<String, Fault> {
        let group = input.group_name.clone().unwrap_or_else(|| DEFAULT_GROUP.into());
        let (name, token) = (input.name.clone(), input.client_token.clone());
        let arn = schedule_arn(cx, &group, &name);
        let settings = self.settings(cx, input, None)?;
        let now = cx.now().millis();
        self.decide(|kept, effects| {
            kept.group(cx, &group)?;
            if let Ok(there) = kept.schedule(&arn) {
                let is_repeated = token.is_some() && token == there.client_token;
                return if is_repeated && settings == there.settings {
                    Ok(arn)
                } else {
                    Err(ConflictException::new(format!("Schedule {name} already exists.")).into())
                };
            }
            let mut row = ScheduleRow {
                name,
                group,
                arn: arn.clone(),
                settings,
                created_at: now,
                changed_at: now,
                anchor_at: now,
                next: None,
                client_token: token,
            };
            row.next = runs::from(&row, now, cx.random());
            effects.schedules.push((arn.clone(), Some(row)));
            Ok(arn)
        })
        .await
    }

    /// Replaces what a schedule says; its ARN.
    pub async fn update(&self, cx: &Cx, input: CreateScheduleInput) -> Result<String, Fault> {
        let group = input.group_name.clone().unwrap_or_else(|| DEFAULT_GROUP.into());
        let arn = schedule_arn(cx, &group, &input.name);
        let before = self.read(|kept| kept.schedule(&arn).cloned())?;
        let settings = self.settings(cx, input, Some(&before.settings))?;
        let now = cx.now().millis();
        self.decide(|kept, effects| {
            let row = changed(kept.schedule(&arn)?, settings, now, cx);
            effects.schedules.push((arn.clone(), Some(row)));
            Ok(arn)
        })
        .await
    }

    /// Takes a schedule away. Runs already made go on to their target.
    pub async fn delete(&self, arn: &str, token: Option<String>) -> Result<(), Fault> {
        self.decide(|kept, effects| {
            if kept.was_deleted(arn, token.as_deref()) && kept.schedule(arn).is_err() {
                return Ok(());
            }
            kept.schedule(arn)?;
            effects.schedules.push((arn.to_string(), None));
            kept.note_deletion(arn, token);
            Ok(())
        })
        .await
    }
}

/// A schedule with other settings. As long as its times are the same, its next run is too.
fn changed(before: &ScheduleRow, settings: Settings, now: i64, cx: &Cx) -> ScheduleRow {
    let mut row = ScheduleRow { settings, changed_at: now, ..before.clone() };
    let (old, new) = (&before.settings, &row.settings);
    let keeps_rhythm =
        old.expression == new.expression && old.start_at == new.start_at && old.enabled == new.enabled;
    let keeps_run = keeps_rhythm
        && old.timezone == new.timezone
        && old.end_at == new.end_at
        && old.window_minutes == new.window_minutes;
    if !keeps_rhythm {
        row.anchor_at = now;
    }
    if !keeps_run {
        row.next = runs::from(&row, now, cx.random());
    }
    row
}

pub async fn update_schedule(
    scheduler: &Scheduler,
    cx: &Cx,
    input: UpdateScheduleInput,
) -> Result<UpdateScheduleOutput, Fault> {
    let schedule_arn = scheduler.update(cx, as_creation(input)).await?;
    Ok(UpdateScheduleOutput { schedule_arn })
}

pub async fn delete_schedule(
    scheduler: &Scheduler,
    cx: &Cx,
    input: DeleteScheduleInput,
) -> Result<DeleteScheduleOutput, Fault> {
    let group = input.group_name.as_deref().unwrap_or(DEFAULT_GROUP);
    scheduler.delete(&schedule_arn(cx, group, &input.name), input.client_token).await?;
    Ok(DeleteScheduleOutput {})
}

pub async fn get_schedule(
    scheduler: &Scheduler,
    cx: &Cx,
    input: GetScheduleInput,
) -> Result<GetScheduleOutput, Fault> {
    let arn = schedule_arn(cx, input.group_name.as_deref().unwrap_or(DEFAULT_GROUP), &input.name);
    let row = scheduler.show(|kept| kept.schedule(&arn).cloned()).await?;
    let state = state(&row);
    let settings = row.settings;
    Ok(GetScheduleOutput {
        arn: Some(row.arn),
        group_name: Some(row.group),
        name: Some(row.name),
        schedule_expression: Some(settings.expression),
        start_date: settings.start_at.map(Timestamp::from_millis),
        end_date: settings.end_at.map(Timestamp::from_millis),
        description: settings.description,
        schedule_expression_timezone: Some(settings.timezone),
        state: Some(state),
        creation_date: Some(Timestamp::from_millis(row.created_at)),
        last_modification_date: Some(Timestamp::from_millis(row.changed_at)),
        kms_key_arn: None,
        target: Some(shown_target(settings.target)),
        flexible_time_window: Some(shown_window(settings.window_minutes)),
        action_after_completion: Some(if settings.deletes_itself { "DELETE" } else { "NONE" }.into()),
    })
}

pub async fn list_schedules(
    scheduler: &Scheduler,
    cx: &Cx,
    input: ListSchedulesInput,
) -> Result<ListSchedulesOutput, Fault> {
    let prefix = match &input.group_name {
        Some(group) => schedule_arn(cx, group, ""),
        None => cx.arn("scheduler", "schedule/").to_string(),
    };
    let limit = input.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE);
    let page = scheduler.show(|kept| {
        if let Some(group) = &input.group_name {
            kept.group(cx, group)?;
        }
        let wanted = kept.schedules_below(&prefix).filter(|row| {
            input.name_prefix.as_deref().is_none_or(|prefix| row.name.starts_with(prefix))
                && input.state.as_ref().is_none_or(|wanted| *wanted == state(row))
        });
        let page = page(wanted, |row| row.arn.clone(), input.next_token.as_deref(), limit);
        let page = page.ok_or_else(bad_token)?;
        let shown = page.items.into_iter().map(summary).collect();
        Ok::<_, Fault>((shown, page.next_token))
    });
    let (schedules, next_token) = page.await?;
    Ok(ListSchedulesOutput { schedules, next_token })
}

fn summary(row: &ScheduleRow) -> api::ScheduleSummary {
    api::ScheduleSummary {
        arn: Some(row.arn.clone()),
        name: Some(row.name.clone()),
        group_name: Some(row.group.clone()),
        state: Some(state(row)),
        creation_date: Some(Timestamp::from_millis(row.created_at)),
        last_modification_date: Some(Timestamp::from_millis(row.changed_at)),
        target: Some(api::TargetSummary { arn: row.settings.target.arn.clone() }),
    }
}

fn state(row: &ScheduleRow) -> api::ScheduleState {
    if row.settings.enabled { api::ScheduleState::Enabled } else { api::ScheduleState::Disabled }
}
