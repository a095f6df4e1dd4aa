//! The archive of a FIFO topic: its messages of the last days, in the order of their numbers, to be replayed. Source: the
//! SNS developer guide, "Amazon SNS message archiving for FIFO topic owners".

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidemill_platform::Fault;
use tidemill_store::{Batch, Damaged, Store, Table};

use crate::{
    Sns,
    message::Message,
    order,
    state::{Topic, TopicRow, invalid},
};

/// (topic ARN, sequence number) → message, in the topic's partition.
const ARCHIVE: Table<(String, u64), ArchivedRow> = Table::new("sns.archive");

const DAY_MS: i64 = 86_400_000;
/// Messages that are forgotten with one publish.
const FORGOTTEN: usize = 32;
/// When nothing was left to be forgotten, how long until it is looked at again.
const LOOK_AGAIN_MS: i64 = 60_000;
/// Messages that are deleted together.
const CHUNK: usize = 500;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchivedRow {
    pub id: String,
    /// When it was published, in milliseconds since 1970.
    pub at: i64,
    pub message: Message,
}

/// The retention of an `ArchivePolicy` in days; `None` for the empty one, which ends the archive.
pub fn retention_days(value: &str) -> Result<Option<u32>, Fault> {
    let wrong = |why: &str| invalid(format!("ArchivePolicy: {why}"));
    if value.trim().is_empty() {
        return Ok(None);
    }
    let given: Map<String, Value> =
        serde_json::from_str(value).map_err(|_| wrong("failed to parse JSON."))?;
    if given.is_empty() {
        return Ok(None);
    }
    if let Some(other) = given.keys().find(|name| *name != "MessageRetentionPeriod") {
        return Err(wrong(&format!("invalid JSON. Attribute {other} is unknown.")));
    }
    let days = match given.get("MessageRetentionPeriod") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    let days = days.and_then(|days| u32::try_from(days).ok()).filter(|days| (1..=365).contains(days));
    days.map(Some).ok_or_else(|| wrong("MessageRetentionPeriod must be an integer between 1 and 365"))
}

impl TopicRow {
    /// The moment from which on messages can be replayed; `None` without an archive.
    pub fn archive_begins(&self, now: i64) -> Option<i64> {
        let policy = self.settings.archive_policy.as_deref()?;
        let days = retention_days(policy).ok()??;
        Some(self.archive_since.max(now - i64::from(days) * DAY_MS))
    }

    /// Notes since when there is an archive, if there was none before.
    pub fn begin_archive(&mut self, had_one: bool, now: i64) {
        if !had_one && self.settings.archive_policy.is_some() {
            self.archive_since = now;
        }
    }
}

impl Topic {
    /// Keeps a message, in the batch that acknowledges it.
    pub fn archive(&self, number: u64, id: &str, message: &Message, now: i64, batch: &mut Batch) {
        let row = ArchivedRow { id: id.into(), at: now, message: message.clone() };
        batch.put(&ARCHIVE, &(self.arn.to_string(), number), &row);
    }

    /// Deletes some of what is too old. To be called while the order is held, whose `look_at` it moves.
    pub fn forget_archived(
        &self,
        store: &Store,
        look_at: &mut i64,
        begins: i64,
        now: i64,
        batch: &mut Batch,
    ) {
        if *look_at > now {
            return;
        }
        let to = order::first_number(begins);
        match self.numbers(store, 0, to, FORGOTTEN) {
            Ok(old) => {
                if old.len() < FORGOTTEN {
                    *look_at = now + LOOK_AGAIN_MS;
                }
                for number in old {
                    batch.delete(&ARCHIVE, &(self.arn.to_string(), number));
                }
            }
            Err(damaged) => tracing::error!(%damaged, "an archive cannot be read"),
        }
    }

    fn numbers(&self, store: &Store, from: u64, to: u64, most: usize) -> Result<Vec<u64>, Damaged> {
        let mut numbers = Vec::new();
        self.archived(store, from, Some(to), |number, _| {
            numbers.push(number);
            numbers.len() < most
        })?;
        Ok(numbers)
    }

    /// Calls `each` with the messages from a number on until it wants no more.
    pub fn archived(
        &self,
        store: &Store,
        from: u64,
        to: Option<u64>,
        mut each: impl FnMut(u64, ArchivedRow) -> bool,
    ) -> Result<(), Damaged> {
        let topic = self.arn.to_string();
        let (low, high) = ((topic.clone(), from), (topic, to.unwrap_or(u64::MAX)));
        store.scan(&ARCHIVE, self.partition, low..high, |(_, number), row| {
            if each(number, row) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }
}

impl Sns {
    /// Empties a topic's archive.
    pub async fn empty_archive(&self, topic: &Topic) -> Result<(), Fault> {
        loop {
            let numbers = topic.numbers(&self.platform.store, 0, u64::MAX, CHUNK).map_err(Fault::internal)?;
            if numbers.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new(topic.partition);
            for number in numbers {
                batch.delete(&ARCHIVE, &(topic.arn.to_string(), number));
            }
            self.platform.submit(batch)?.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_keep_a_day_to_a_year() {
        let of = |policy: &str| retention_days(policy).map_err(|fault| fault.code().to_string());
        assert_eq!(of(r#"{"MessageRetentionPeriod": 30}"#), Ok(Some(30)));
        assert_eq!(of(r#"{"MessageRetentionPeriod": "365"}"#), Ok(Some(365)));
        assert_eq!((of("{}"), of("")), (Ok(None), Ok(None)));
        for wrong in
            ["[]", r#"{"MessageRetentionPeriod": 0}"#, r#"{"MessageRetentionPeriod": 366}"#, r#"{"Days": 1}"#]
        {
            assert_eq!(of(wrong), Err("InvalidParameter".into()), "{wrong}");
        }
    }
}
