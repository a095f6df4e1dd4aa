//! A batch's messages in the ledger of what became of events: which function had them, and how that went.

use std::{collections::HashSet, time::Instant};

use tidemill_delivery::{Fate, Step};
use tidemill_platform::{Cx, Trace};
use tidemill_store::Partition;

use super::batch::{Batch, Item};
use crate::{Lambda, mappings::MappingRow};

/// How a batch ended.
pub struct Ended {
    /// Receipts of the messages that are done with.
    pub done: Vec<String>,
    /// For people: how the run went, or why the others failed.
    pub detail: Result<String, String>,
    pub began: Instant,
}

/// Notes what became of each message that is part of a trace.
pub fn note(lambda: &Lambda, cx: &Cx, row: &MappingRow, batch: &Batch, ended: &Ended) {
    let done: HashSet<&str> = ended.done.iter().map(String::as_str).collect();
    let fates = batch.items.iter().filter_map(|item| {
        let (step, detail) = match &ended.detail {
            Ok(ran) if done.contains(item.receipt.as_str()) => (Step::Delivered, ran.as_str()),
            Ok(_) => (Step::Failed, "the function reported it as failed"),
            Err(reason) => (Step::Failed, reason.as_str()),
        };
        fate(cx, row, item, step, detail, ended.began)
    });
    write(lambda, row, fates.collect());
}

/// Notes which messages the filters of the mapping kept out.
pub fn note_filtered(lambda: &Lambda, cx: &Cx, row: &MappingRow, unwanted: &Batch) {
    let began = Instant::now();
    let detail = "the mapping's filters want none like it";
    let fates = unwanted.items.iter().filter_map(|item| fate(cx, row, item, Step::Filtered, detail, began));
    write(lambda, row, fates.collect());
}

fn fate(cx: &Cx, row: &MappingRow, item: &Item, step: Step, detail: &str, began: Instant) -> Option<Fate> {
    Some(Fate {
        at: cx.now().millis(),
        event: item.message_id.clone(),
        trace: Trace::parse(&item.trace)?.root,
        source: row.source_arn.clone(),
        target: row.function_arn.clone(),
        via: row.uuid.clone(),
        step,
        detail: detail.into(),
        attempt: item.receives,
        took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
    })
}

/// The ledger tells of what happened; it does not decide. A full disk costs its lines, not the messages.
fn write(lambda: &Lambda, row: &MappingRow, fates: Vec<Fate>) {
    if fates.is_empty() {
        return;
    }
    let mut batch = tidemill_store::Batch::new(Partition::of(&row.uuid));
    lambda.delivery.ledger().record_all(&mut batch, fates);
    drop(lambda.platform.submit(batch));
}
