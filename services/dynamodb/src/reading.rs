//! Query and Scan, over tables and indexes, a page at a time.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use tidemill_dynamo_expression::{
    AttributeValue, Condition, Item, KeyCondition, Projection, RangeCondition, Scope, encoding,
    key::{after_prefix, bytes_of},
    value::item_size,
};
use tidemill_platform::{Cx, Fault};

use crate::{
    DynamoDb,
    api::{self, QueryInput, QueryOutput, ScanInput, ScanOutput, Select},
    capacity::{Used, read_units},
    items::projection,
    keys::{RowKey, in_index, in_table, space_end, space_from, spread},
    legacy::{self, attributes_to_get, one_kind},
    schema::{Index, Keys, TableRow},
    state::{ROWS, TableState},
    writing::invalid,
};

/// A page ends when this much was read, filtered or not.
const MOST_BYTES: usize = 1 << 20;

/// What is read: a table or one of its indexes.
struct Place<'a> {
    space: &'a str,
    keys: &'a Keys,
    index: Option<&'a Index>,
}

/// One page.
#[derive(Default)]
struct Page {
    items: Vec<Item>,
    scanned: i32,
    bytes: usize,
    last: Option<Item>,
}

struct Reading<'a> {
    place: Place<'a>,
    filter: Option<Condition>,
    limit: Option<i32>,
    /// Nothing but the number is wanted.
    count_only: bool,
}

pub async fn query(db: &DynamoDb, cx: &Cx, input: QueryInput) -> Result<QueryOutput, Fault> {
    one_kind(
        &[
            ("AttributesToGet", input.attributes_to_get.is_some()),
            ("QueryFilter", input.query_filter.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
            ("KeyConditions", input.key_conditions.is_some()),
        ],
        &[
            ("ProjectionExpression", input.projection_expression.is_some()),
            ("FilterExpression", input.filter_expression.is_some()),
            ("KeyConditionExpression", input.key_condition_expression.is_some()),
        ],
    )?;
    let table = db.table(cx, &input.table_name)?;
    let row = table.row();
    let place = place(&row, input.index_name.as_deref())?;
    let scope =
        Scope::new(input.expression_attribute_names.as_ref(), input.expression_attribute_values.as_ref())
            .map_err(invalid)?;
    let (text, list) = (input.key_condition_expression.as_deref(), input.key_conditions.as_ref());
    let condition = key_condition(text, list, &scope, place.keys)?;
    let filter = match filter(input.filter_expression.as_deref(), &scope, place.keys, true)? {
        None => {
            let operator = input.conditional_operator.as_ref();
            legacy::filter(input.query_filter.as_ref(), operator, Some(place.keys))?
        }
        filter => filter,
    };
    let projection = match projection(input.projection_expression.as_deref(), &scope)? {
        None => attributes_to_get(input.attributes_to_get)?,
        projection => projection,
    };
    scope.finish().map_err(invalid)?;
    check_types(&row, place.keys, &condition)?;
    let consistent = consistent(input.consistent_read, place.index)?;
    let count_only = check_select(input.select.as_ref(), projection.is_some(), place.index)?;
    let (low, high) = bounds(place.space, &condition);
    let forward = input.scan_index_forward != Some(false);
    let start = input.exclusive_start_key.map(|key| start_key(&row, &place, &key)).transpose()?;
    let reading = Reading { place, filter, limit: input.limit, count_only };
    let (page, used) = read_page(db, &table, &row, &reading, (low, high), start, forward, consistent).await?;
    Ok(QueryOutput {
        count: Some(i32::try_from(page.items.len()).unwrap_or(i32::MAX)),
        items: (!count_only).then(|| shown(page.items, projection.as_ref())),
        scanned_count: Some(page.scanned),
        last_evaluated_key: page.last,
        consumed_capacity: used.wire(&row.name, input.return_consumed_capacity.as_ref()),
    })
}

pub async fn scan(db: &DynamoDb, cx: &Cx, input: ScanInput) -> Result<ScanOutput, Fault> {
    one_kind(
        &[
            ("AttributesToGet", input.attributes_to_get.is_some()),
            ("ScanFilter", input.scan_filter.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
        ],
        &[
            ("ProjectionExpression", input.projection_expression.is_some()),
            ("FilterExpression", input.filter_expression.is_some()),
        ],
    )?;
    let table = db.table(cx, &input.table_name)?;
    let row = table.row();
    let place = place(&row, input.index_name.as_deref())?;
    let scope =
        Scope::new(input.expression_attribute_names.as_ref(), input.expression_attribute_values.as_ref())
            .map_err(invalid)?;
    let filter = match filter(input.filter_expression.as_deref(), &scope, place.keys, false)? {
        None => legacy::filter(input.scan_filter.as_ref(), input.conditional_operator.as_ref(), None)?,
        filter => filter,
    };
    let projection = match projection(input.projection_expression.as_deref(), &scope)? {
        None => attributes_to_get(input.attributes_to_get)?,
        projection => projection,
    };
    scope.finish().map_err(invalid)?;
    let consistent = consistent(input.consistent_read, place.index)?;
    let count_only = check_select(input.select.as_ref(), projection.is_some(), place.index)?;
    let range = segment(place.space, input.segment, input.total_segments)?;
    let start = input.exclusive_start_key.map(|key| start_key(&row, &place, &key)).transpose()?;
    let reading = Reading { place, filter, limit: input.limit, count_only };
    let (page, used) = read_page(db, &table, &row, &reading, range, start, true, consistent).await?;
    Ok(ScanOutput {
        count: Some(i32::try_from(page.items.len()).unwrap_or(i32::MAX)),
        items: (!count_only).then(|| shown(page.items, projection.as_ref())),
        scanned_count: Some(page.scanned),
        last_evaluated_key: page.last,
        consumed_capacity: used.wire(&row.name, input.return_consumed_capacity.as_ref()),
    })
}

fn shown(items: Vec<Item>, projection: Option<&Projection>) -> Vec<Item> {
    match projection {
        Some(projection) => items.iter().map(|item| projection.apply(item)).collect(),
        None => items,
    }
}

fn place<'a>(row: &'a TableRow, index: Option<&str>) -> Result<Place<'a>, Fault> {
    let Some(name) = index else { return Ok(Place { space: &row.id, keys: &row.keys, index: None }) };
    let found = row.indexes.iter().find(|index| index.name == name);
    let index = found
        .ok_or_else(|| Fault::validation(format!("The table does not have the specified index: {name}")))?;
    Ok(Place { space: &index.id, keys: &index.keys, index: Some(index) })
}

fn key_condition(
    text: Option<&str>,
    list: Option<&BTreeMap<String, api::Condition>>,
    scope: &Scope<'_>,
    keys: &Keys,
) -> Result<KeyCondition, Fault> {
    match (text, list) {
        (Some(text), _) => {
            KeyCondition::parse(text, scope, &keys.hash, keys.range.as_deref()).map_err(invalid)
        }
        (None, Some(list)) => legacy::key_conditions(list, keys),
        (None, None) => Err(Fault::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        )),
    }
}

fn filter(
    text: Option<&str>,
    scope: &Scope<'_>,
    keys: &Keys,
    query: bool,
) -> Result<Option<Condition>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let filter = Condition::parse("FilterExpression", text, scope).map_err(invalid)?;
    if query && let Some(name) = filter.roots().into_iter().find(|root| keys.names().any(|name| name == root))
    {
        return Err(Fault::validation(format!(
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
        )));
    }
    Ok(Some(filter))
}

fn consistent(asked: Option<bool>, index: Option<&Index>) -> Result<bool, Fault> {
    match (asked, index) {
        (Some(true), Some(index)) if index.global => {
            Err(Fault::validation("Consistent reads are not supported on global secondary indexes"))
        }
        (asked, _) => Ok(asked == Some(true)),
    }
}

/// Whether only the count is wanted.
fn check_select(select: Option<&Select>, projected: bool, index: Option<&Index>) -> Result<bool, Fault> {
    match select {
        Some(Select::AllProjectedAttributes) if index.is_none() => Err(Fault::validation(
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        )),
        Some(Select::SpecificAttributes) if !projected => Err(Fault::validation(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        )),
        Some(select) if projected && *select != Select::SpecificAttributes => {
            Err(Fault::validation(format!(
                "Cannot specify the ProjectionExpression when choosing to get {}",
                if *select == Select::Count { "only the Count" } else { select.as_str() }
            )))
        }
        Some(Select::AllAttributes)
            if index.is_some_and(|index| index.global && index.projection != "ALL") =>
        {
            let name = index.map(|index| index.name.as_str()).unwrap_or_default();
            Err(Fault::validation(format!(
                "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index {name} because its projection type is not ALL"
            )))
        }
        Some(Select::AllAttributes) if index.is_some_and(|index| index.projection != "ALL") => {
            Err(Fault::not_implemented("Select ALL_ATTRIBUTES on a local index that does not project them"))
        }
        Some(Select::Count) => Ok(true),
        _ => Ok(false),
    }
}

fn check_types(row: &TableRow, keys: &Keys, condition: &KeyCondition) -> Result<(), Fault> {
    let check = |name: &str, value: &AttributeValue| {
        let expected = row.types.get(name).map_or("S", String::as_str);
        if value.type_name() == expected {
            return Ok(());
        }
        Err(Fault::validation(
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ))
    };
    check(&keys.hash, &condition.hash)?;
    if let (Some(range), Some(name)) = (&condition.range, &keys.range) {
        if matches!(range, RangeCondition::BeginsWith(AttributeValue::N(_))) {
            return Err(Fault::validation(
                "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
            ));
        }
        for value in range.values() {
            check(name, value)?;
        }
    }
    Ok(())
}

/// The rows a key condition can reach.
fn bounds(space: &str, condition: &KeyCondition) -> (Bound<RowKey>, Bound<RowKey>) {
    let hash = bytes_of(&condition.hash).to_vec();
    let at =
        |range: Vec<u8>, own: Vec<u8>| ((space.to_string(), spread(&hash)), (hash.clone(), (range, own)));
    let from = |value: &AttributeValue| at(bytes_of(value).to_vec(), Vec::new());
    // A range key followed by a zero byte comes right after every row of that range key.
    let beyond = |value: &AttributeValue| {
        let mut bytes = bytes_of(value).to_vec();
        bytes.push(0);
        at(bytes, Vec::new())
    };
    let mut next = hash.clone();
    next.push(0);
    let first = Bound::Included(at(Vec::new(), Vec::new()));
    let end = Bound::Excluded(((space.to_string(), spread(&hash)), (next, (Vec::new(), Vec::new()))));
    match &condition.range {
        None => (first, end),
        Some(RangeCondition::Equal(value)) => (Bound::Included(from(value)), Bound::Excluded(beyond(value))),
        Some(RangeCondition::Less(value)) => (first, Bound::Excluded(from(value))),
        Some(RangeCondition::LessOrEqual(value)) => (first, Bound::Excluded(beyond(value))),
        Some(RangeCondition::Greater(value)) => (Bound::Included(beyond(value)), end),
        Some(RangeCondition::GreaterOrEqual(value)) => (Bound::Included(from(value)), end),
        Some(RangeCondition::Between(low, high)) => {
            (Bound::Included(from(low)), Bound::Excluded(beyond(high)))
        }
        Some(RangeCondition::BeginsWith(prefix)) => {
            let last = after_prefix(&bytes_of(prefix)).map(|bytes| Bound::Excluded(at(bytes, Vec::new())));
            (Bound::Included(from(prefix)), last.unwrap_or(end))
        }
    }
}

/// A segment of a parallel scan, or the whole.
fn segment(
    space: &str,
    segment: Option<i32>,
    total: Option<i32>,
) -> Result<(Bound<RowKey>, Bound<RowKey>), Fault> {
    let whole = (Bound::Included(space_from(space, 0)), Bound::Excluded(space_end(space)));
    match (segment, total) {
        (None, None) => Ok(whole),
        (Some(_), None) => Err(Fault::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(Fault::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(at), Some(of)) if at < 0 || of < 1 || at >= of => Err(Fault::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {at} is not less than TotalSegments: {of}"
        ))),
        (Some(at), Some(of)) => {
            let (at, of) = (u128::from(at.unsigned_abs()), u128::from(of.unsigned_abs()));
            let edge = |n: u128| u64::try_from((n << 64) / of).ok();
            let end = edge(at + 1).map_or_else(|| space_end(space), |edge| space_from(space, edge));
            Ok((Bound::Included(space_from(space, edge(at).unwrap_or(u64::MAX))), Bound::Excluded(end)))
        }
    }
}

fn start_key(row: &TableRow, place: &Place<'_>, key: &Item) -> Result<RowKey, Fault> {
    let mismatch = || Fault::validation("The provided starting key is invalid");
    let mut wanted: Vec<&String> = row.keys.names().collect();
    wanted.extend(place.index.iter().flat_map(|index| index.keys.names()));
    wanted.sort();
    wanted.dedup();
    if key.len() != wanted.len()
        || !wanted.iter().all(|name| {
            key.get(*name)
                .is_some_and(|value| row.types.get(*name).is_some_and(|kind| kind == value.type_name()))
        })
    {
        return Err(mismatch());
    }
    Ok(match place.index {
        Some(index) => in_index(&index.id, &index.keys, &row.keys, key),
        None => in_table(&row.id, &row.keys, key),
    })
}

#[allow(clippy::too_many_arguments)]
async fn read_page(
    db: &DynamoDb,
    table: &TableState,
    row: &TableRow,
    reading: &Reading<'_>,
    (low, high): (Bound<RowKey>, Bound<RowKey>),
    start: Option<RowKey>,
    forward: bool,
    consistent: bool,
) -> Result<(Page, Used), Fault> {
    let (low, high) = match (start, forward) {
        (Some(start), true) => (Bound::Excluded(start), high),
        (Some(start), false) => (low, Bound::Excluded(start)),
        (None, _) => (low, high),
    };
    let mut page = Page::default();
    if !is_empty(&low, &high) {
        let mut damaged = false;
        let mut take = |_: RowKey, bytes: bytes::Bytes| {
            let Some(item) = encoding::decode(&bytes) else {
                damaged = true;
                return ControlFlow::Break(());
            };
            page.take(row, reading, item)
        };
        let (store, range) = (&db.platform.store, (low, high));
        let seen = if forward {
            store.scan_seen(&ROWS, table.partition, range, &mut take)
        } else {
            store.scan_back_seen(&ROWS, table.partition, range, &mut take)
        };
        let seq = seen.map_err(Fault::internal)?;
        if damaged {
            return Err(Fault::internal("an item cannot be read back"));
        }
        // What is shown must outlive a crash.
        store.durable(seq).await;
    }
    let units = read_units(page.bytes, consistent);
    let used = match reading.place.index {
        Some(index) => Used { table: 0.0, indexes: [(index.name.clone(), (index.global, units))].into() },
        None => Used { table: units, ..Used::default() },
    };
    Ok((page, used))
}

impl Page {
    fn take(&mut self, row: &TableRow, reading: &Reading<'_>, item: Item) -> ControlFlow<()> {
        self.scanned += 1;
        self.bytes += item_size(&item);
        let full = reading.limit.is_some_and(|limit| self.scanned >= limit) || self.bytes >= MOST_BYTES;
        if full {
            let mut last = row.keys.of(&item);
            if let Some(index) = reading.place.index {
                last.extend(index.keys.of(&item));
            }
            self.last = Some(last);
        }
        if reading.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
            self.items.push(if reading.count_only { Item::new() } else { item });
        }
        if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_empty(low: &Bound<RowKey>, high: &Bound<RowKey>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Excluded(high)) | (Bound::Excluded(low), Bound::Included(high)) => {
            low >= high
        }
        (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        _ => false,
    }
}
