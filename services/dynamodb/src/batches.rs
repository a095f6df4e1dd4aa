//! Batches: up to 25 writes or 100 reads in one request, each on its own.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_dynamo_expression::{Item, Scope, value::item_size};
use tidemill_platform::{Cx, Fault};

use crate::{
    DynamoDb,
    api::{
        BatchGetItemInput, BatchGetItemOutput, BatchWriteItemInput, BatchWriteItemOutput, KeysAndAttributes,
        WriteRequest,
    },
    capacity::{Used, read_units},
    items::{check_item, projection, refuse_metrics},
    keys::in_table,
    legacy::{attributes_to_get, one_kind},
    writing::{Action, Write, invalid},
};

const MOST_WRITES: usize = 25;
const MOST_READS: usize = 100;
/// An answer holds no more than this.
const MOST_BYTES: usize = 16 << 20;

pub async fn batch_write_item(
    db: &DynamoDb,
    cx: &Cx,
    input: BatchWriteItemInput,
) -> Result<BatchWriteItemOutput, Fault> {
    refuse_metrics(input.return_item_collection_metrics.as_ref())?;
    let count: usize = input.request_items.values().map(Vec::len).sum();
    if count == 0 {
        return Err(Fault::validation(
            "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    if count > MOST_WRITES {
        return Err(Fault::validation("Too many items requested for the BatchWriteItem call"));
    }
    let mut writes = Vec::new();
    for (name, requests) in input.request_items {
        let table = db.table(cx, &name)?;
        let row = table.row();
        let mut seen = BTreeSet::new();
        for request in requests {
            let (key, action) = match request {
                WriteRequest { put_request: Some(put), delete_request: None } => {
                    (check_item(&row, &put.item)?, Action::Put(put.item))
                }
                WriteRequest { put_request: None, delete_request: Some(delete) } => {
                    row.check_key_argument(&delete.key)?;
                    (delete.key, Action::Delete)
                }
                _ => {
                    return Err(Fault::validation(
                        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
                    ));
                }
            };
            if !seen.insert(in_table(&row.id, &row.keys, &key)) {
                return Err(Fault::validation("Provided list of item keys contains duplicates"));
            }
            writes.push((
                name.clone(),
                Write { table: table.clone(), key, action, condition: None, show_on_failure: false },
            ));
        }
    }
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    // All are submitted before any is waited for, so that one sync serves them.
    let done = futures::future::try_join_all(
        writes
            .into_iter()
            .map(|(name, write)| async move { Ok::<_, Fault>((name, db.write(cx, write).await?.used)) }),
    )
    .await?;
    for (name, one) in done {
        used.entry(name).or_default().add(&one);
    }
    let asked = input.return_consumed_capacity.as_ref();
    Ok(BatchWriteItemOutput {
        unprocessed_items: Some(BTreeMap::new()),
        consumed_capacity: asked
            .map(|_| used.iter().filter_map(|(name, used)| used.wire(name, asked)).collect()),
        ..BatchWriteItemOutput::default()
    })
}

pub async fn batch_get_item(
    db: &DynamoDb,
    cx: &Cx,
    input: BatchGetItemInput,
) -> Result<BatchGetItemOutput, Fault> {
    let count: usize = input.request_items.values().map(|wanted| wanted.keys.len()).sum();
    if count > MOST_READS {
        return Err(Fault::validation("Too many items requested for the BatchGetItem call"));
    }
    let asked = input.return_consumed_capacity.as_ref();
    let (mut responses, mut unprocessed, mut capacity) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut bytes = 0;
    for (name, wanted) in input.request_items {
        one_kind(
            &[("AttributesToGet", wanted.attributes_to_get.is_some())],
            &[("ProjectionExpression", wanted.projection_expression.is_some())],
        )?;
        let scope = Scope::new(wanted.expression_attribute_names.as_ref(), None).map_err(invalid)?;
        let projection = match projection(wanted.projection_expression.as_deref(), &scope)? {
            None => attributes_to_get(wanted.attributes_to_get.clone())?,
            projection => projection,
        };
        scope.finish().map_err(invalid)?;
        let table = db.table(cx, &name)?;
        let row = table.row();
        let mut seen = BTreeSet::new();
        for key in &wanted.keys {
            row.check_key_argument(key)?;
            if !seen.insert(in_table(&row.id, &row.keys, key)) {
                return Err(Fault::validation("Provided list of item keys contains duplicates"));
            }
        }
        let (mut found, mut left, mut used): (Vec<Item>, Vec<Item>, Used) = Default::default();
        for key in &wanted.keys {
            if bytes > MOST_BYTES {
                left.push(key.clone());
                continue;
            }
            let item = db.read(&table, key).await?;
            let size = item.as_ref().map_or(0, item_size);
            bytes += size;
            used.table += read_units(size, wanted.consistent_read == Some(true));
            found.extend(item.map(|item| {
                projection.as_ref().map_or_else(|| item.clone(), |projection| projection.apply(&item))
            }));
        }
        if !left.is_empty() {
            unprocessed.insert(name.clone(), KeysAndAttributes { keys: left, ..wanted.clone() });
        }
        capacity.extend(used.wire(&name, asked));
        responses.insert(name, found);
    }
    Ok(BatchGetItemOutput {
        responses: Some(responses),
        unprocessed_keys: Some(unprocessed),
        consumed_capacity: asked.map(|_| capacity),
    })
}
