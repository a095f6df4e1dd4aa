//! How lines get here from inside the platform: functions' output, delivery status logs.

use std::collections::BTreeMap;

use tidemill_platform::{
    Arn, Fault,
    doors::{self, LogLine},
};

use crate::{
    Logs,
    state::{Group, GroupRow, Hurry, Line, StreamRow},
};

impl doors::Logs for Logs {
    fn write(&self, account: &str, region: &str, group: &str, stream: &str, lines: Vec<LogLine>) {
        if let Err(fault) = self.write_lines(account, region, group, stream, lines) {
            tracing::warn!(group, stream, %fault, "log lines were lost");
        }
    }
}

impl Logs {
    fn write_lines(
        &self,
        account: &str,
        region: &str,
        group: &str,
        stream: &str,
        lines: Vec<LogLine>,
    ) -> Result<(), Fault> {
        let arn = Arn::new("logs", region, account, format!("log-group:{group}")).to_string();
        let now = self.platform.clock.now().millis();
        let mut groups = self.groups.lock();
        if !groups.contains_key(&arn) {
            // Durable no later than its first lines, which nobody waits for either.
            drop(self.create(&mut groups, fresh_group(self.platform.random.hex::<8>(), group, &arn, now))?);
        }
        let Some(group) = groups.get_mut(&arn) else { return Ok(()) };
        if !group.streams.contains_key(stream) {
            group.streams.insert(stream.to_string(), StreamRow { created_at: now, ..StreamRow::default() });
        }
        let lines = lines
            .into_iter()
            .map(|line| Line { at: line.at.millis(), ingested_at: now, message: line.message })
            .collect();
        self.append_dropping_empty(group, stream, lines)
    }

    fn append_dropping_empty(
        &self,
        group: &mut Group,
        stream: &str,
        mut lines: Vec<Line>,
    ) -> Result<(), Fault> {
        // CloudWatch Logs knows no empty events.
        lines.retain(|line| !line.message.is_empty());
        self.append(group, stream, lines, Hurry::No).map(drop)
    }
}

fn fresh_group(id: String, name: &str, arn: &str, now: i64) -> GroupRow {
    GroupRow {
        id,
        name: name.into(),
        arn: arn.into(),
        created_at: now,
        retention_days: None,
        class: None,
        deletion_protected: false,
        tags: BTreeMap::new(),
    }
}
