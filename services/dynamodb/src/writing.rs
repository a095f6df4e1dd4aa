//! Every change of an item: decided under the table's lock, written with its index entries and stream record in one
//! batch.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tidemill_dynamo_expression::{
    Condition, Invalid, Item, Update, encoding,
    value::{MOST_ITEM, item_size},
};
use tidemill_platform::{Cx, Fault};
use tidemill_store::{Batch, Seq};

use crate::{
    api::{ConditionalCheckFailedException, ResourceNotFoundException},
    capacity::{Used, write_units},
    keys::{in_index, in_table},
    schema::TableRow,
    state::{DynamoDb, ROWS, TableState},
    stream_records::{Change, StreamState},
};

/// What happens to an item.
pub enum Action {
    Put(Item),
    Update(Option<Update>),
    Delete,
    /// As deleting, because the item's time has come.
    Expire,
    /// Only the condition is checked (in transactions).
    Check,
}

/// One write as a request asks for it.
pub struct Write {
    pub table: Arc<TableState>,
    pub key: Item,
    pub action: Action,
    pub condition: Option<Condition>,
    /// A failing condition answers the item as it is.
    pub show_on_failure: bool,
}

/// What a write did.
pub struct Written {
    pub old: Option<Item>,
    pub new: Option<Item>,
    pub used: Used,
}

/// Why a write was refused.
pub enum Refusal {
    Condition(Option<Item>),
    Other(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Other(fault)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Condition(item) => {
                let mut error = ConditionalCheckFailedException::new("The conditional request failed");
                error.item = item;
                error.into()
            }
            Refusal::Other(fault) => fault,
        }
    }
}

pub fn invalid(refused: Invalid) -> Fault {
    Fault::validation(refused.0)
}

impl DynamoDb {
    /// Decides and writes one change; answers when it is durable.
    pub async fn write(&self, cx: &Cx, write: Write) -> Result<Written, Fault> {
        let (seq, written) = {
            let gone = write.table.writes.lock();
            if gone.0 {
                return Err(ResourceNotFoundException::new("Requested resource not found").into());
            }
            let mut batch = Batch::new(write.table.partition);
            let (written, stream) = self.decide(cx, &write, &mut batch)?;
            let ticket = self.platform.submit(batch)?;
            let seq = ticket.seq();
            self.written(stream.into_iter().collect(), seq);
            count(&write.table, &written);
            (ticket, written)
        };
        seq.await;
        Ok(written)
    }

    /// Decides one change and puts it into a batch. The caller holds the table's lock.
    pub fn decide(
        &self,
        cx: &Cx,
        write: &Write,
        batch: &mut Batch,
    ) -> Result<(Written, Option<Arc<StreamState>>), Refusal> {
        let table = write.table.row();
        let place = in_table(&table.id, &table.keys, &write.key);
        let old = self.find(&write.table, &place)?.map(|(item, _)| item);
        if let Some(condition) = &write.condition {
            let nothing = Item::new();
            if !condition.holds(old.as_ref().unwrap_or(&nothing)) {
                return Err(Refusal::Condition(old.filter(|_| write.show_on_failure)));
            }
        }
        let new = self.changed(&table, write, old.as_ref())?;
        if matches!(write.action, Action::Check) {
            return Ok((Written { old, new: None, used: Used::default() }, None));
        }
        if let Some(new) = &new {
            check_size(new, matches!(write.action, Action::Update(_)))?;
            table.check_index_keys(new)?;
        }
        match &new {
            Some(item) => {
                batch.put_in(write.table.partition, &ROWS, &place, &Bytes::from(encoding::encode(item)));
            }
            None if old.is_some() => {
                batch.delete_in(write.table.partition, &ROWS, &place);
            }
            None => {}
        }
        let mut used = Used {
            table: write_units(old.as_ref().map_or(0, item_size).max(new.as_ref().map_or(0, item_size))),
            ..Used::default()
        };
        self.index(&table, write, old.as_ref(), new.as_ref(), batch, &mut used);
        self.keep_moment(cx, &table, write, (old.as_ref(), new.as_ref()), batch);
        let expired = matches!(write.action, Action::Expire);
        let change = Change { key: &write.key, old: old.as_ref(), new: new.as_ref(), expired };
        let stream = self.record(cx, &table, batch, &change);
        Ok((Written { old, new, used }, stream))
    }

    fn changed(&self, table: &TableRow, write: &Write, old: Option<&Item>) -> Result<Option<Item>, Fault> {
        match &write.action {
            Action::Put(item) => Ok(Some(item.clone())),
            Action::Delete | Action::Expire => Ok(None),
            Action::Check => Ok(old.cloned()),
            Action::Update(update) => {
                let base = old.cloned().unwrap_or_else(|| write.key.clone());
                let Some(update) = update else { return Ok(Some(base)) };
                if let Some(path) =
                    update.paths().find(|path| table.keys.names().any(|name| *name == path.root))
                {
                    return Err(Fault::validation(format!(
                        "One or more parameter values were invalid: Cannot update attribute {}. This attribute is part of the key",
                        path.root
                    )));
                }
                let next = update.apply(&base).map_err(invalid)?;
                for value in next.values() {
                    value.check().map_err(invalid)?;
                }
                Ok(Some(next))
            }
        }
    }

    fn index(
        &self,
        table: &TableRow,
        write: &Write,
        old: Option<&Item>,
        new: Option<&Item>,
        batch: &mut Batch,
        used: &mut Used,
    ) {
        for index in &table.indexes {
            let before = old.and_then(|item| index.project(item, &table.keys));
            let after = new.and_then(|item| index.project(item, &table.keys));
            if before == after {
                continue;
            }
            let place = |item: &Item| in_index(&index.id, &index.keys, &table.keys, item);
            let (from, to) = (before.as_ref().map(place), after.as_ref().map(place));
            if let Some(from) = from.as_ref().filter(|from| Some(*from) != to.as_ref()) {
                batch.delete_in(write.table.partition, &ROWS, from);
            }
            if let (Some(to), Some(item)) = (&to, &after) {
                batch.put_in(write.table.partition, &ROWS, to, &Bytes::from(encoding::encode(item)));
            }
            let units =
                write_units(before.as_ref().map_or(0, item_size).max(after.as_ref().map_or(0, item_size)));
            used.indexes.insert(index.name.clone(), (index.global, units));
        }
    }

    /// An item to be shown: read, and waited for until it is durable.
    pub async fn read(&self, table: &TableState, key: &Item) -> Result<Option<Item>, Fault> {
        let row = table.row();
        let found = self.find(table, &in_table(&row.id, &row.keys, key))?;
        let Some((item, seq)) = found else { return Ok(None) };
        if seq > Seq::ZERO {
            self.platform.store.durable(seq).await;
        }
        Ok(Some(item))
    }
}

pub fn count(table: &TableState, written: &Written) {
    let size =
        |item: &Option<Item>| item.as_ref().map_or(0, |item| i64::try_from(item_size(item)).unwrap_or(0));
    table
        .items
        .fetch_add(i64::from(written.new.is_some()) - i64::from(written.old.is_some()), Ordering::Relaxed);
    table.bytes.fetch_add(size(&written.new) - size(&written.old), Ordering::Relaxed);
}

pub fn check_size(item: &Item, update: bool) -> Result<(), Fault> {
    match item_size(item) > MOST_ITEM {
        true if update => Err(Fault::validation("Item size to update has exceeded the maximum allowed size")),
        true => Err(Fault::validation("Item size has exceeded the maximum allowed size")),
        false => Ok(()),
    }
}
