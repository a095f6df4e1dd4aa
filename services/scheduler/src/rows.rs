//! What is stored of groups and schedules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_platform::Cx;
use tidemill_store::Table;

/// ARN → group; in the partition of its ARN. The default groups have rows only once they were tagged.
pub const GROUPS: Table<String, GroupRow> = Table::new("scheduler.group");
/// ARN → schedule; in the partition of its ARN.
pub const SCHEDULES: Table<String, ScheduleRow> = Table::new("scheduler.schedule");

pub const DEFAULT_GROUP: &str = "default";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupRow {
    pub name: String,
    pub arn: String,
    pub tags: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub changed_at: i64,
    pub client_token: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRow {
    pub name: String,
    pub group: String,
    pub arn: String,
    pub settings: Settings,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub changed_at: i64,
    /// From when a rate without a start date is counted, in milliseconds since 1970.
    pub anchor_at: i64,
    pub next: Option<Run>,
    /// Of the request that made it.
    pub client_token: Option<String>,
}

/// What a caller says of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub expression: String,
    pub timezone: String,
    /// Milliseconds since 1970, as are all moments here.
    pub start_at: Option<i64>,
    pub end_at: Option<i64>,
    /// `None` without a flexible window.
    pub window_minutes: Option<u16>,
    pub enabled: bool,
    pub deletes_itself: bool,
    pub description: Option<String>,
    pub target: TargetRow,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetRow {
    pub arn: String,
    pub role_arn: String,
    pub input: Option<String>,
    pub retry_attempts: Option<u32>,
    pub max_age_s: Option<i64>,
    pub dead_letter_arn: Option<String>,
    pub group_id: Option<String>,
    /// Detail type and source of the event.
    pub event: Option<(String, String)>,
}

/// A run to come: when it is scheduled, and when it happens within its window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub scheduled_at: i64,
    pub due_at: i64,
}

impl GroupRow {
    /// The default group as it is before anybody changes it.
    pub fn default_of(cx: &Cx) -> GroupRow {
        GroupRow { name: DEFAULT_GROUP.into(), arn: group_arn(cx, DEFAULT_GROUP), ..GroupRow::default() }
    }
}

pub fn group_arn(cx: &Cx, name: &str) -> String {
    cx.arn("scheduler", format!("schedule-group/{name}")).to_string()
}

pub fn schedule_arn(cx: &Cx, group: &str, name: &str) -> String {
    cx.arn("scheduler", format!("schedule/{group}/{name}")).to_string()
}
