//! What a FIFO topic remembers: the last sequence number, and the deduplication ids of the last five minutes.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use tidemill_platform::Arn;
use tidemill_store::{Batch, Damaged, Partition, Store, Table};

/// (topic ARN, deduplication id) → the message it stands for, in the topic's partition.
const DEDUP: Table<(String, String), SaidRow> = Table::new("sns.dedup");

const REMEMBERED_MS: i64 = 300_000;
/// Sequence numbers have twenty digits.
const FIRST_NUMBER: u64 = 10_000_000_000_000_000_000;
const NUMBERS_A_MS: u64 = 1_000_000;

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaidRow {
    pub message_id: String,
    pub number: u64,
    /// Milliseconds since 1970.
    pub until: i64,
}

#[derive(Default)]
pub struct Order {
    topic: String,
    last: u64,
    said: HashMap<String, SaidRow>,
    /// In order of time.
    ends: VecDeque<(i64, String)>,
    /// When the archive is next looked at for what is too old, in milliseconds since 1970.
    pub look_at: i64,
}

impl Order {
    pub fn open(store: &Store, topic: &Arn, partition: Partition) -> Result<Order, Damaged> {
        let topic = topic.to_string();
        let (from, to) = ((topic.clone(), String::new()), (format!("{topic}\u{1}"), String::new()));
        let mut order = Order { topic, ..Order::default() };
        store.scan(&DEDUP, partition, from..to, |(_, id), row| {
            order.last = order.last.max(row.number);
            order.ends.push_back((row.until, id.clone()));
            order.said.insert(id, row);
            std::ops::ControlFlow::Continue(())
        })?;
        order.ends.make_contiguous().sort_unstable();
        Ok(order)
    }

    /// The message that this id stands for at this moment.
    pub fn said(&self, id: &str, now: i64) -> Option<&SaidRow> {
        self.said.get(id).filter(|row| row.until > now)
    }

    /// A sequence number above all before it.
    pub fn number(&mut self, now: i64) -> u64 {
        let by_time = first_number(now);
        self.last = by_time.max(self.last + 1);
        self.last
    }

    /// Remembers a message under its deduplication id, and forgets those whose time is over.
    pub fn say(
        &mut self,
        topic: &str,
        id: String,
        message_id: &str,
        number: u64,
        now: i64,
        batch: &mut Batch,
    ) {
        while let Some((_, ended)) = self.ends.pop_front_if(|(until, _)| *until <= now) {
            if self.said.get(&ended).is_some_and(|row| row.until <= now) {
                self.said.remove(&ended);
                batch.delete(&DEDUP, &(topic.to_string(), ended));
            }
        }
        let row = SaidRow { message_id: message_id.into(), number, until: now + REMEMBERED_MS };
        batch.put(&DEDUP, &(topic.to_string(), id.clone()), &row);
        self.topic = topic.into();
        self.ends.push_back((row.until, id.clone()));
        self.said.insert(id, row);
    }

    /// The batch was refused: nothing was said.
    pub fn unsay(&mut self, ids: &[String]) {
        for id in ids {
            self.said.remove(id);
        }
    }

    /// The topic goes away: its rows go too.
    pub fn forget(&mut self, batch: &mut Batch) {
        for id in self.said.keys() {
            batch.delete(&DEDUP, &(self.topic.clone(), id.clone()));
        }
        self.said.clear();
        self.ends.clear();
    }
}

/// Messages of this moment or later have this number or a later one.
pub fn first_number(at: i64) -> u64 {
    FIRST_NUMBER + at.unsigned_abs() * NUMBERS_A_MS
}

/// As answers print it.
pub fn printed(number: u64) -> String {
    format!("{number:020}")
}
