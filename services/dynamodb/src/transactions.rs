//! Transactions: up to 100 writes or reads that happen together or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemill_dynamo_expression::{Item, Scope, Update, value::item_size};
use tidemill_platform::{Cx, Fault};
use tidemill_store::{Batch, Partition, Seq};

use crate::{
    DynamoDb,
    api::{
        CancellationReason, ItemResponse, ReturnValuesOnConditionCheckFailure, TransactGetItemsInput,
        TransactGetItemsOutput, TransactWriteItem, TransactWriteItemsInput, TransactWriteItemsOutput,
        TransactionCanceledException,
    },
    capacity::{Used, read_units},
    items::{check_item, condition, projection, refuse_metrics},
    keys::in_table,
    state::TableState,
    tokens::Token,
    writing::{Action, Refusal, Write, Written, count, invalid},
};

const MOST: usize = 100;
const MOST_BYTES: usize = 4 << 20;

pub async fn transact_write_items(
    db: &DynamoDb,
    cx: &Cx,
    input: TransactWriteItemsInput,
) -> Result<TransactWriteItemsOutput, Fault> {
    refuse_metrics(input.return_item_collection_metrics.as_ref())?;
    if input.transact_items.len() > MOST {
        return Err(Fault::validation(format!(
            "1 validation error detected: Value '[...]' at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to {MOST}"
        )));
    }
    let token = input.client_request_token.map(|token| Token::new(cx, token, &input.transact_items));
    let mut writes = Vec::new();
    for item in input.transact_items {
        writes.push(read_write(db, cx, item)?);
    }
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for write in &writes {
        let row = write.table.row();
        if !seen.insert((row.arn.clone(), in_table(&row.id, &row.keys, &write.key))) {
            return Err(Fault::validation(
                "Transaction request cannot include multiple operations on one item",
            ));
        }
        bytes += if let Action::Put(item) = &write.action { item_size(item) } else { 0 };
    }
    if bytes > MOST_BYTES {
        return Err(Fault::validation(
            "Collection size of items in transaction exceeded the maximum allowed size",
        ));
    }
    let (seq, used) = commit(db, cx, &writes, token)?;
    db.platform.store.durable(seq).await;
    let asked = input.return_consumed_capacity.as_ref();
    Ok(TransactWriteItemsOutput {
        consumed_capacity: asked
            .map(|_| used.iter().filter_map(|(name, used)| used.wire(name, asked)).collect()),
        ..TransactWriteItemsOutput::default()
    })
}

/// Decides all writes under the locks of all their tables, taken in one order so that transactions never wait in a
/// circle, and submits them as one batch. A transaction that happened already under its token does not happen again.
fn commit(
    db: &DynamoDb,
    cx: &Cx,
    writes: &[Write],
    token: Option<Token>,
) -> Result<(Seq, BTreeMap<String, Used>), Fault> {
    let mut tokens = token.as_ref().map(|_| db.tokens.lock());
    if let (Some(tokens), Some(token)) = (&tokens, &token)
        && let Some(seq) = tokens.happened(cx, token)?
    {
        return Ok((seq, read_again(writes)));
    }
    let tables: BTreeMap<String, Arc<TableState>> =
        writes.iter().map(|write| (write.table.row().arn.clone(), write.table.clone())).collect();
    let _locks: Vec<_> = tables.values().map(|table| table.writes.lock()).collect();
    let partition = writes.first().map_or(Partition::FIRST, |write| write.table.partition);
    let mut batch = Batch::new(partition);
    let (mut decided, mut streams, mut reasons, mut failed) =
        (Vec::<Written>::new(), Vec::new(), Vec::new(), false);
    for write in writes {
        match db.decide(cx, write, &mut batch) {
            Ok((written, stream)) => {
                decided.push(written);
                streams.extend(stream);
                reasons
                    .push(CancellationReason { code: Some("None".into()), ..CancellationReason::default() });
            }
            Err(refusal) => {
                failed = true;
                reasons.push(reason(refusal)?);
            }
        }
    }
    if failed {
        return Err(cancelled(reasons));
    }
    if let (Some(tokens), Some(token)) = (&tokens, &token) {
        tokens.put(cx, token, &mut batch, partition);
    }
    let seq = db.platform.submit(batch)?.seq();
    if let (Some(tokens), Some(token)) = (&mut tokens, token) {
        tokens.submitted(cx, token, partition, seq);
    }
    db.written(streams, seq);
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    for (write, written) in writes.iter().zip(&decided) {
        if !matches!(write.action, Action::Check) {
            count(&write.table, written);
        }
        let one = used.entry(write.table.row().name.clone()).or_default();
        // A transaction reads and writes each item once more to prepare.
        one.add(&written.used);
        one.add(&written.used);
    }
    Ok((seq, used))
}

/// What a transaction said again costs: reading its items.
fn read_again(writes: &[Write]) -> BTreeMap<String, Used> {
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    for write in writes {
        let bytes = if let Action::Put(item) = &write.action { item_size(item) } else { 0 };
        used.entry(write.table.row().name.clone()).or_default().table += 2.0 * read_units(bytes, true);
    }
    used
}

fn reason(refusal: Refusal) -> Result<CancellationReason, Fault> {
    match refusal {
        Refusal::Condition(item) => Ok(CancellationReason {
            code: Some("ConditionalCheckFailed".into()),
            message: Some("The conditional request failed".into()),
            item,
        }),
        Refusal::Other(fault) if fault.code() == "ValidationException" => Ok(CancellationReason {
            code: Some("ValidationError".into()),
            message: Some(fault.message().to_string()),
            item: None,
        }),
        Refusal::Other(fault) => Err(fault),
    }
}

fn cancelled(reasons: Vec<CancellationReason>) -> Fault {
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_deref().unwrap_or("None")).collect();
    let sentence = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        codes.join(", ")
    );
    let mut error = TransactionCanceledException::new(sentence);
    error.cancellation_reasons = Some(reasons);
    error.into()
}

type Names = Option<BTreeMap<String, String>>;
type Values = Option<BTreeMap<String, tidemill_dynamo_expression::AttributeValue>>;

/// The parts that all kinds of writes share.
struct Parts {
    table_name: String,
    condition: Option<String>,
    names: Names,
    values: Values,
    show: Option<ReturnValuesOnConditionCheckFailure>,
}

fn read_write(db: &DynamoDb, cx: &Cx, item: TransactWriteItem) -> Result<Write, Fault> {
    let one_only = || Fault::validation("TransactItems can only contain one of Check, Put, Update or Delete");
    match item {
        TransactWriteItem { put: Some(put), update: None, delete: None, condition_check: None } => {
            let parts = Parts {
                table_name: put.table_name,
                condition: put.condition_expression,
                names: put.expression_attribute_names,
                values: put.expression_attribute_values,
                show: put.return_values_on_condition_check_failure,
            };
            let table = db.table(cx, &parts.table_name)?;
            let key = check_item(&table.row(), &put.item)?;
            assemble(table, key, parts, |_| Ok(Action::Put(put.item)))
        }
        TransactWriteItem { put: None, update: Some(update), delete: None, condition_check: None } => {
            let parts = Parts {
                table_name: update.table_name,
                condition: update.condition_expression,
                names: update.expression_attribute_names,
                values: update.expression_attribute_values,
                show: update.return_values_on_condition_check_failure,
            };
            let table = keyed(db, cx, &parts, &update.key)?;
            assemble(table, update.key, parts, |scope| {
                Ok(Action::Update(Some(Update::parse(&update.update_expression, scope).map_err(invalid)?)))
            })
        }
        TransactWriteItem { put: None, update: None, delete: Some(delete), condition_check: None } => {
            let parts = Parts {
                table_name: delete.table_name,
                condition: delete.condition_expression,
                names: delete.expression_attribute_names,
                values: delete.expression_attribute_values,
                show: delete.return_values_on_condition_check_failure,
            };
            let table = keyed(db, cx, &parts, &delete.key)?;
            assemble(table, delete.key, parts, |_| Ok(Action::Delete))
        }
        TransactWriteItem { put: None, update: None, delete: None, condition_check: Some(check) } => {
            let parts = Parts {
                table_name: check.table_name,
                condition: Some(check.condition_expression),
                names: check.expression_attribute_names,
                values: check.expression_attribute_values,
                show: check.return_values_on_condition_check_failure,
            };
            let table = keyed(db, cx, &parts, &check.key)?;
            assemble(table, check.key, parts, |_| Ok(Action::Check))
        }
        _ => Err(one_only()),
    }
}

fn keyed(db: &DynamoDb, cx: &Cx, parts: &Parts, key: &Item) -> Result<Arc<TableState>, Fault> {
    let table = db.table(cx, &parts.table_name)?;
    table.row().check_key_argument(key)?;
    Ok(table)
}

fn assemble(
    table: Arc<TableState>,
    key: Item,
    parts: Parts,
    action: impl FnOnce(&Scope<'_>) -> Result<Action, Fault>,
) -> Result<Write, Fault> {
    let scope = Scope::new(parts.names.as_ref(), parts.values.as_ref()).map_err(invalid)?;
    let action = action(&scope)?;
    let condition = condition(parts.condition.as_deref(), &scope)?;
    scope.finish().map_err(invalid)?;
    let show_on_failure = parts.show == Some(ReturnValuesOnConditionCheckFailure::AllOld);
    Ok(Write { table, key, action, condition, show_on_failure })
}

pub async fn transact_get_items(
    db: &DynamoDb,
    cx: &Cx,
    input: TransactGetItemsInput,
) -> Result<TransactGetItemsOutput, Fault> {
    let mut wanted = Vec::new();
    for item in &input.transact_items {
        let get = &item.get;
        let scope = Scope::new(get.expression_attribute_names.as_ref(), None).map_err(invalid)?;
        let projection = projection(get.projection_expression.as_deref(), &scope)?;
        scope.finish().map_err(invalid)?;
        let table = db.table(cx, &get.table_name)?;
        table.row().check_key_argument(&get.key)?;
        wanted.push((table, &get.key, projection));
    }
    // All reads happen while no write does.
    let (found, seq) = {
        let tables: BTreeMap<String, Arc<TableState>> =
            wanted.iter().map(|(table, ..)| (table.row().arn.clone(), table.clone())).collect();
        let _locks: Vec<_> = tables.values().map(|table| table.writes.lock()).collect();
        let mut last = Seq::ZERO;
        let mut found = Vec::new();
        for (table, key, _) in &wanted {
            let row = table.row();
            let item = db.find(table, &in_table(&row.id, &row.keys, key))?;
            last = item.as_ref().map_or(last, |(_, seq)| last.max(*seq));
            found.push(item.map(|(item, _)| item));
        }
        (found, last)
    };
    db.platform.store.durable(seq).await;
    let mut used: BTreeMap<String, Used> = BTreeMap::new();
    let mut responses = Vec::new();
    for ((table, _, projection), item) in wanted.into_iter().zip(found) {
        used.entry(table.row().name.clone()).or_default().table +=
            2.0 * read_units(item.as_ref().map_or(0, item_size), true);
        responses.push(ItemResponse {
            item: item
                .map(|item| projection.map_or_else(|| item.clone(), |projection| projection.apply(&item))),
        });
    }
    let asked = input.return_consumed_capacity.as_ref();
    Ok(TransactGetItemsOutput {
        consumed_capacity: asked
            .map(|_| used.iter().filter_map(|(name, used)| used.wire(name, asked)).collect()),
        responses: Some(responses),
    })
}
