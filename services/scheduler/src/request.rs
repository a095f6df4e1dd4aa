//! What callers ask of a schedule, checked and made into settings; and the settings as callers see them.

use tidemill_platform::{Cx, Fault, Timestamp};
use tidemill_schedule::{Schedule, time_zone};

use crate::{
    Scheduler, api,
    rows::{Settings, TargetRow},
};

/// How far back a start date may lie, in milliseconds.
const START_GRACE_MS: i64 = 5 * 60_000;

impl Scheduler {
    /// The settings that a request to create or update a schedule asks for; `before` are those it has.
    pub fn settings(
        &self,
        cx: &Cx,
        input: api::CreateScheduleInput,
        before: Option<&Settings>,
    ) -> Result<Settings, Fault> {
        if input.kms_key_arn.is_some() {
            return Err(Fault::not_implemented("schedules with KmsKeyArn"));
        }
        let schedule = Schedule::parse(&input.schedule_expression)
            .map_err(|error| Fault::validation(error.in_scheduler()))?;
        let timezone = input.schedule_expression_timezone.unwrap_or_else(|| "UTC".into());
        if time_zone(&timezone).is_none() {
            return Err(Fault::validation(format!("Invalid Schedule Expression Timezone {timezone}.")));
        }
        let (start_at, end_at) =
            (input.start_date.map(Timestamp::millis), input.end_date.map(Timestamp::millis));
        if start_at.zip(end_at).is_some_and(|(start, end)| start >= end) {
            return Err(Fault::validation("The StartDate you specify must come before the EndDate."));
        }
        let is_new = before.is_none_or(|before| before.start_at != start_at);
        let earliest = cx.now().millis() - START_GRACE_MS;
        if is_new && !schedule.is_one_time() && start_at.is_some_and(|start| start < earliest) {
            return Err(Fault::validation("The StartDate you specify cannot be earlier than 5 minutes ago."));
        }
        Ok(Settings {
            expression: input.schedule_expression,
            timezone,
            start_at,
            end_at,
            window_minutes: window(&input.flexible_time_window)?,
            enabled: input.state.unwrap_or_default() == api::ScheduleState::Enabled,
            deletes_itself: input.action_after_completion == Some(api::ActionAfterCompletion::Delete),
            description: input.description,
            target: self.checked_target(cx, input.target)?,
        })
    }
}

fn window(given: &api::FlexibleTimeWindow) -> Result<Option<u16>, Fault> {
    let is_flexible = given.mode == api::FlexibleTimeWindowMode::Flexible;
    match (is_flexible, given.maximum_window_in_minutes) {
        (true, Some(minutes)) => Ok(u16::try_from(minutes).ok()),
        (false, None) => Ok(None),
        (true, None) => Err(Fault::validation(
            "MaximumWindowInMinutes must be provided when FlexibleTimeWindowMode is set to FLEXIBLE.",
        )),
        (false, Some(_)) => Err(Fault::validation(
            "MaximumWindowInMinutes must not be provided when FlexibleTimeWindowMode is set to OFF.",
        )),
    }
}

/// A request to update is one to create in other words.
pub fn as_creation(input: api::UpdateScheduleInput) -> api::CreateScheduleInput {
    api::CreateScheduleInput {
        name: input.name,
        group_name: input.group_name,
        schedule_expression: input.schedule_expression,
        start_date: input.start_date,
        end_date: input.end_date,
        description: input.description,
        schedule_expression_timezone: input.schedule_expression_timezone,
        state: input.state,
        kms_key_arn: input.kms_key_arn,
        target: input.target,
        flexible_time_window: input.flexible_time_window,
        client_token: input.client_token,
        action_after_completion: input.action_after_completion,
    }
}

/// The window as callers see it.
pub fn shown_window(minutes: Option<u16>) -> api::FlexibleTimeWindow {
    api::FlexibleTimeWindow {
        mode: if minutes.is_some() { "FLEXIBLE" } else { "OFF" }.into(),
        maximum_window_in_minutes: minutes.map(i32::from),
    }
}

/// The target as callers see it, with the retry policy it has by default.
pub fn shown_target(row: TargetRow) -> api::Target {
    let small = |number: i64| i32::try_from(number).ok();
    api::Target {
        arn: row.arn,
        role_arn: row.role_arn,
        input: row.input,
        dead_letter_config: row.dead_letter_arn.map(|arn| api::DeadLetterConfig { arn: Some(arn) }),
        retry_policy: Some(api::RetryPolicy {
            maximum_event_age_in_seconds: small(row.max_age_s.unwrap_or(86_400)),
            maximum_retry_attempts: small(row.retry_attempts.unwrap_or(185).into()),
        }),
        sqs_parameters: row.group_id.map(|group| api::SqsParameters { message_group_id: Some(group) }),
        event_bridge_parameters: row
            .event
            .map(|(detail_type, source)| api::EventBridgeParameters { detail_type, source }),
        ..api::Target::default()
    }
}
