//! The provider that is there by default: everything for people and devices ends in a folder of the store, where tests
//! and developers read it (`outbox_path`). It is bounded: the oldest parcels give way to new ones.
//!
//! It also stands for what the outside does: recipients can be made unreachable, so that failed deliveries can be tried.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
    sync::Arc,
};

use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_delivery::Removal;
use tidemill_platform::{Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Seq, Table};

use crate::{
    notification,
    provider::{Parcel, Provider, Receipt, Refusal},
};

/// Number → parcel, in the first partition.
const OUTBOX: Table<u64, KeptRow> = Table::new("sns.outbox");
/// Recipient → nothing, in the first partition.
const UNREACHABLE: Table<String, bool> = Table::new("sns.unreachable");

const MOST_PARCELS: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;
const MOST_UNREACHABLE: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptRow {
    /// Milliseconds since 1970.
    at: i64,
    parcel: Parcel,
}

pub struct Outbox {
    platform: Arc<Platform>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next: u64,
    bytes: usize,
    /// Numbers and sizes, the oldest first.
    parcels: VecDeque<(u64, usize)>,
    unreachable: BTreeSet<String>,
}

/// Which parcels somebody wants to see.
#[derive(Debug, Default)]
pub struct Wanted {
    pub to: Option<String>,
    pub protocol: Option<String>,
    /// The newest so many.
    pub limit: usize,
}

impl Outbox {
    pub fn open(platform: &Arc<Platform>) -> Result<Outbox, Damaged> {
        let mut held = Held::default();
        platform.store.scan(&OUTBOX, Partition::FIRST, .., |number, row| {
            held.hold(number, row.parcel.weight());
            ControlFlow::Continue(())
        })?;
        let unreachable = platform.store.all(&UNREACHABLE, Partition::FIRST)?;
        held.unreachable = unreachable.into_iter().map(|(to, _)| to).collect();
        Ok(Outbox { platform: platform.clone(), held: Mutex::new(held) })
    }

    fn keep(&self, cx: &Cx, parcel: Parcel, removal: &Removal) -> Result<Seq, Refusal> {
        let mut held = self.held.lock();
        if held.unreachable.contains(&parcel.to) {
            return Err(Refusal::Never("The recipient cannot be reached.".into()));
        }
        let weight = parcel.weight();
        let over = held.over(weight);
        let mut batch = Batch::new(Partition::FIRST);
        held.parcels.iter().take(over).for_each(|(number, _)| {
            batch.delete(&OUTBOX, number);
        });
        let number = held.next;
        batch.put(&OUTBOX, &number, &KeptRow { at: cx.now().millis(), parcel });
        removal.add_to(&mut batch);
        let ticket = self.platform.submit(batch).map_err(|fault| Refusal::Later(fault.to_string()))?;
        held.forget(over);
        held.hold(number, weight);
        Ok(ticket.seq())
    }

    /// The newest parcels that are wanted, the oldest of them first.
    pub async fn read(&self, wanted: &Wanted) -> Result<Value, Fault> {
        let mut found = VecDeque::new();
        let is = |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
        let store = &self.platform.store;
        let seen = store.scan_back_seen(&OUTBOX, Partition::FIRST, .., |number, row| {
            if is(&wanted.to, &row.parcel.to) && is(&wanted.protocol, &row.parcel.protocol) {
                found.push_front(shown(number, &row));
            }
            if found.len() < wanted.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        store.durable(seen.map_err(Fault::internal)?).await;
        Ok(json!({ "messages": found }))
    }

    pub async fn empty(&self) -> Result<(), Fault> {
        let ticket = {
            let mut held = self.held.lock();
            let mut batch = Batch::new(Partition::FIRST);
            held.parcels.iter().for_each(|(number, _)| {
                batch.delete(&OUTBOX, number);
            });
            let ticket = self.platform.submit(batch)?;
            let all = held.parcels.len();
            held.forget(all);
            ticket
        };
        ticket.await;
        Ok(())
    }

    /// Says whether parcels to somebody arrive.
    pub async fn set_reachable(&self, to: &str, is_reachable: bool) -> Result<(), Fault> {
        let ticket = {
            let mut held = self.held.lock();
            let mut batch = Batch::new(Partition::FIRST);
            if is_reachable {
                batch.delete(&UNREACHABLE, &to.to_string());
            } else if held.unreachable.len() < MOST_UNREACHABLE {
                batch.put(&UNREACHABLE, &to.to_string(), &true);
            } else {
                return Err(Fault::validation("there are too many unreachable recipients"));
            }
            let ticket = self.platform.submit(batch)?;
            if is_reachable {
                held.unreachable.remove(to)
            } else {
                held.unreachable.insert(to.into())
            };
            ticket
        };
        ticket.await;
        Ok(())
    }
}

impl Provider for Outbox {
    fn send<'a>(
        &'a self,
        cx: &'a Cx,
        parcel: Parcel,
        removal: Removal,
    ) -> BoxFuture<'a, Result<Receipt, Refusal>> {
        async move { self.keep(cx, parcel, &removal).map(Receipt::Kept) }.boxed()
    }
}

impl Held {
    fn hold(&mut self, number: u64, weight: usize) {
        self.next = number + 1;
        self.bytes += weight;
        self.parcels.push_back((number, weight));
    }

    /// How many of the oldest have to go for one of this weight.
    fn over(&self, weight: usize) -> usize {
        let (mut bytes, mut over) = (self.bytes + weight, 0);
        for (_, oldest) in &self.parcels {
            if bytes <= MOST_BYTES && self.parcels.len() - over < MOST_PARCELS {
                break;
            }
            bytes -= oldest;
            over += 1;
        }
        over
    }

    fn forget(&mut self, count: usize) {
        for (_, weight) in self.parcels.drain(..count) {
            self.bytes -= weight;
        }
    }
}

impl Parcel {
    fn weight(&self) -> usize {
        let details: usize = self.details.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.to.len() + self.subject.len() + self.text.len() + details + 128
    }
}

fn shown(number: u64, row: &KeptRow) -> Value {
    let parcel = &row.parcel;
    json!({
        "id": number,
        "at": notification::printed(tidemill_platform::Timestamp::from_millis(row.at)),
        "protocol": parcel.protocol,
        "to": parcel.to,
        "subject": parcel.subject,
        "text": parcel.text,
        "details": parcel.details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way() {
        let mut held = Held::default();
        (0..MOST_PARCELS as u64).for_each(|number| held.hold(number, 1));
        assert_eq!(held.over(1), 1);
        assert_eq!(held.over(MOST_BYTES - MOST_PARCELS + 5), 5);
        held.forget(5);
        assert_eq!((held.bytes, held.parcels.len(), held.over(1)), (MOST_PARCELS - 5, MOST_PARCELS - 5, 0));
    }
}
