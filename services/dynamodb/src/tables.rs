//! Tables: create, describe, list, update, delete.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tidemill_dynamo_expression::encoding;
use tidemill_platform::{Cx, Fault};
use tidemill_store::Batch;

use crate::{
    DynamoDb,
    api::{
        BillingMode, CreateTableInput, CreateTableOutput, DeleteTableInput, DeleteTableOutput,
        DescribeLimitsInput, DescribeLimitsOutput, DescribeTableInput, DescribeTableOutput, ListTablesInput,
        ListTablesOutput, ProvisionedThroughput, ResourceInUseException, SSESpecification,
        StreamSpecification, TableStatus, UpdateTableInput, UpdateTableOutput,
    },
    keys::{in_index, space_end, space_from},
    schema::{self, Index, StreamRow, TableRow},
    state::{ROWS, TABLES, TableState, abandon, table_arn},
    stream_records::{StreamInfo, StreamState},
};

pub async fn create_table(
    db: &DynamoDb,
    cx: &Cx,
    input: CreateTableInput,
) -> Result<CreateTableOutput, Fault> {
    refuse(&[
        ("ResourcePolicy", input.resource_policy.is_some()),
        ("encryption with a KMS key", sse_asked(input.sse_specification.as_ref())),
        ("GlobalTableSourceArn", input.global_table_source_arn.is_some()),
    ])?;
    check_name(&input.table_name)?;
    let on_demand = input.billing_mode == Some(BillingMode::PayPerRequest);
    let row = TableRow {
        id: cx.random().uuid(),
        arn: table_arn(cx, &input.table_name),
        name: input.table_name,
        account: cx.account().into(),
        region: cx.region().into(),
        created_at: cx.now().millis(),
        types: schema::types(&input.attribute_definitions.unwrap_or_default())?,
        keys: schema::keys(&input.key_schema.unwrap_or_default())?,
        indexes: Vec::new(),
        on_demand,
        capacity: capacity(on_demand, input.provisioned_throughput.as_ref())?,
        stream: None,
        deletion_protected: input.deletion_protection_enabled.unwrap_or(false),
        table_class: input.table_class.map(|class| class.to_string()),
        tags: input.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect(),
        time_to_live: None,
    };
    let mut indexes = Vec::new();
    for local in input.local_secondary_indexes.unwrap_or_default() {
        let index = schema::index(
            cx.random().uuid(),
            local.index_name,
            false,
            &local.key_schema,
            Some(local.projection),
            (0, 0),
        )?;
        if index.keys.hash != row.keys.hash {
            return Err(Fault::validation(format!(
                "One or more parameter values were invalid: Index KeySchema does not have the same leading hash key as table KeySchema for index: {}. index hash key: {}, table hash key: {}",
                index.name, index.keys.hash, row.keys.hash
            )));
        }
        if row.keys.range.is_none() {
            return Err(Fault::validation(
                "One or more parameter values were invalid: Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
            ));
        }
        indexes.push(index);
    }
    for global in input.global_secondary_indexes.unwrap_or_default() {
        let throughput = capacity(on_demand, global.provisioned_throughput.as_ref())?;
        indexes.push(schema::index(
            cx.random().uuid(),
            global.index_name,
            true,
            &global.key_schema,
            Some(global.projection),
            throughput,
        )?);
    }
    check_indexes(&indexes)?;
    schema::check_definitions(&row.types, &row.keys, &indexes)?;
    let row = TableRow { indexes, ..row };
    let row = db.create(cx, row, input.stream_specification).await?;
    Ok(CreateTableOutput { table_description: Some(row.describe(TableStatus::Creating, 0, 0)) })
}

fn check_indexes(indexes: &[Index]) -> Result<(), Fault> {
    for (at, index) in indexes.iter().enumerate() {
        if indexes[..at].iter().any(|other| other.name == index.name) {
            return Err(Fault::validation(format!(
                "One or more parameter values were invalid: Duplicate index name: {}",
                index.name
            )));
        }
    }
    let over = |global, most| indexes.iter().filter(|index| index.global == global).count() > most;
    if over(false, 5) {
        return Err(Fault::validation(
            "One or more parameter values were invalid: Number of LocalSecondaryIndexes exceeds per-table limit of 5",
        ));
    }
    if over(true, 20) {
        return Err(Fault::validation(
            "One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of 20",
        ));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Fault> {
    let known = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if known && (3..=255).contains(&name.len()) {
        return Ok(());
    }
    if known {
        return Err(Fault::validation(
            "TableName must be at least 3 characters long and at most 255 characters long",
        ));
    }
    Err(Fault::validation(format!(
        "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    )))
}

fn capacity(on_demand: bool, asked: Option<&ProvisionedThroughput>) -> Result<(i64, i64), Fault> {
    match (on_demand, asked) {
        (true, Some(_)) => Err(Fault::validation(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (true, None) => Ok((0, 0)),
        (false, Some(throughput)) => Ok((throughput.read_capacity_units, throughput.write_capacity_units)),
        (false, None) => Err(Fault::validation(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
    }
}

fn sse_asked(sse: Option<&SSESpecification>) -> bool {
    sse.is_some_and(|sse| sse.enabled == Some(true) || sse.kms_master_key_id.is_some())
}

impl DynamoDb {
    /// Keeps a checked table, with its stream if one is asked for.
    pub async fn create(
        &self,
        cx: &Cx,
        mut row: TableRow,
        stream: Option<StreamSpecification>,
    ) -> Result<Arc<TableRow>, Fault> {
        let ticket = {
            let mut tables = self.tables.write();
            if tables.contains_key(&row.arn) {
                return Err(ResourceInUseException::new(format!("Table already exists: {}", row.name)).into());
            }
            let mut batch = Batch::new(tidemill_store::Partition::of(&row.arn));
            let opened = self.open_stream(cx, &mut row, stream, &mut batch)?;
            batch.put(&TABLES, &row.arn, &row);
            let ticket = self.platform.submit(batch)?;
            self.streams.write().extend(opened.map(|stream| (stream.info.arn.clone(), stream)));
            tables.insert(row.arn.clone(), Arc::new(TableState::new(row.clone())));
            ticket
        };
        ticket.await;
        Ok(Arc::new(row))
    }

    /// Gives a table a new stream, if one is asked for.
    fn open_stream(
        &self,
        cx: &Cx,
        row: &mut TableRow,
        asked: Option<StreamSpecification>,
        batch: &mut Batch,
    ) -> Result<Option<Arc<StreamState>>, Fault> {
        let Some(asked) = asked.filter(|asked| asked.stream_enabled) else { return Ok(None) };
        let view = asked.stream_view_type.ok_or_else(|| Fault::validation("One or more parameter values were invalid: StreamViewType is required when StreamEnabled is true"))?;
        let label = jiff::Timestamp::from_millisecond(cx.now().millis())
            .unwrap_or_default()
            .strftime("%Y-%m-%dT%H:%M:%S.%3f")
            .to_string();
        let arn = format!("{}/stream/{label}", row.arn);
        row.stream = Some(StreamRow { arn: arn.clone(), label: label.clone(), view: view.to_string() });
        let info = StreamInfo {
            arn,
            label,
            table_arn: row.arn.clone(),
            table_name: row.name.clone(),
            view: view.to_string(),
            keys: row.keys.clone(),
            created_at: cx.now().millis(),
            disabled_at: None,
        };
        Self::keep_stream(batch, &info);
        Ok(Some(Arc::new(StreamState::new(info, 0))))
    }

    /// Ends a table's stream; what it holds can be read for another day.
    fn close_stream(&self, cx: &Cx, stream: &StreamRow, batch: &mut Batch) {
        if let Some(state) = self.streams.read().get(&stream.arn) {
            state.disabled.store(true, Ordering::Release);
            let info = StreamInfo { disabled_at: Some(cx.now().millis()), ..state.info.clone() };
            Self::keep_stream(batch, &info);
            state.changed.send_modify(|count| *count += 1);
        }
    }

    pub async fn delete(&self, cx: &Cx, name: &str) -> Result<Arc<TableRow>, Fault> {
        let (ticket, row) = {
            let table = self.table_itself(cx, name)?;
            let mut gone = table.writes.lock();
            let row = table.row();
            if row.deletion_protected {
                return Err(Fault::validation(
                    "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.",
                ));
            }
            let mut batch = Batch::new(table.partition);
            batch.delete(&TABLES, &row.arn);
            let spaces: Vec<String> = std::iter::once(&row.id)
                .chain(row.indexes.iter().map(|index| &index.id))
                .chain(row.time_to_live.iter().map(|ttl| &ttl.space))
                .cloned()
                .collect();
            spaces.iter().for_each(|space| abandon(&mut batch, space));
            if let Some(stream) = &row.stream {
                self.close_stream(cx, stream, &mut batch);
            }
            let ticket = self.platform.submit(batch)?;
            gone.0 = true;
            self.tables.write().remove(&row.arn);
            spaces.into_iter().for_each(|space| self.clear(table.partition, space));
            (ticket, row)
        };
        ticket.await;
        Ok(row)
    }

    /// Changes a table's row under its lock.
    pub async fn change(
        &self,
        table: &TableState,
        change: impl FnOnce(&mut TableRow, &mut Batch) -> Result<(), Fault>,
    ) -> Result<Arc<TableRow>, Fault> {
        let (ticket, row) = {
            let _turn = table.writes.lock();
            let mut row = TableRow::clone(&table.row());
            let mut batch = Batch::new(table.partition);
            change(&mut row, &mut batch)?;
            batch.put(&TABLES, &row.arn, &row);
            let ticket = self.platform.submit(batch)?;
            let row = Arc::new(row);
            *table.row.write() = row.clone();
            (ticket, row)
        };
        ticket.await;
        Ok(row)
    }

    /// Fills a new index from the items that are there.
    fn backfill(
        &self,
        table: &TableState,
        row: &TableRow,
        index: &Index,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let scanned = self.platform.store.scan(
            &ROWS,
            table.partition,
            space_from(&row.id, 0)..space_end(&row.id),
            |_, bytes: Bytes| {
                if let Some(item) = encoding::decode(&bytes).and_then(|item| index.project(&item, &row.keys))
                {
                    let place = in_index(&index.id, &index.keys, &row.keys, &item);
                    batch.put(&ROWS, &place, &Bytes::from(encoding::encode(&item)));
                }
                std::ops::ControlFlow::Continue(())
            },
        );
        scanned.map_err(Fault::internal)
    }
}

pub async fn describe_table(
    db: &DynamoDb,
    cx: &Cx,
    input: DescribeTableInput,
) -> Result<DescribeTableOutput, Fault> {
    let table = db.table_itself(cx, &input.table_name)?;
    Ok(DescribeTableOutput { table: Some(described(&table)) })
}

pub fn described(table: &TableState) -> crate::api::TableDescription {
    table.row().describe(
        TableStatus::Active,
        table.items.load(Ordering::Relaxed),
        table.bytes.load(Ordering::Relaxed),
    )
}

pub async fn list_tables(db: &DynamoDb, cx: &Cx, input: ListTablesInput) -> Result<ListTablesOutput, Fault> {
    let prefix = cx.arn("dynamodb", "table/").to_string();
    let mut names: Vec<String> =
        db.tables.read().keys().filter_map(|arn| arn.strip_prefix(&prefix).map(str::to_string)).collect();
    names.sort();
    let after = input.exclusive_start_table_name;
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let mut rest = names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after));
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    Ok(ListTablesOutput {
        last_evaluated_table_name: page.last().filter(|_| more).cloned(),
        table_names: Some(page),
    })
}

pub async fn update_table(
    db: &DynamoDb,
    cx: &Cx,
    input: UpdateTableInput,
) -> Result<UpdateTableOutput, Fault> {
    refuse(&[
        ("replicas", input.replica_updates.is_some()),
        ("encryption with a KMS key", sse_asked(input.sse_specification.as_ref())),
    ])?;
    let table = db.table_itself(cx, &input.table_name)?;
    let mut opened = None;
    let mut cleared = Vec::new();
    let row = db
        .change(&table, |row, batch| {
            if let Some(definitions) = &input.attribute_definitions {
                row.types.extend(schema::types(definitions)?);
            }
            if let Some(mode) = &input.billing_mode {
                row.on_demand = *mode == BillingMode::PayPerRequest;
            }
            if input.billing_mode.is_some() || input.provisioned_throughput.is_some() {
                row.capacity = capacity(row.on_demand, input.provisioned_throughput.as_ref())?;
            }
            row.deletion_protected = input.deletion_protection_enabled.unwrap_or(row.deletion_protected);
            row.table_class = input.table_class.as_ref().map(|class| class.to_string()).or(row.table_class.take());
            for update in input.global_secondary_index_updates.unwrap_or_default() {
                if let Some(create) = update.create {
                    let throughput = capacity(row.on_demand, create.provisioned_throughput.as_ref())?;
                    let index = schema::index(cx.random().uuid(), create.index_name, true, &create.key_schema, Some(create.projection), throughput)?;
                    row.indexes.push(index);
                    check_indexes(&row.indexes)?;
                    if let Some(index) = row.indexes.last() {
                        db.backfill(&table, row, index, batch)?;
                    }
                }
                if let Some(delete) = update.delete {
                    let at = row.indexes.iter().position(|index| index.global && index.name == delete.index_name);
                    let at = at.ok_or_else(|| Fault::from(crate::api::ResourceNotFoundException::new("Requested resource not found")))?;
                    let index = row.indexes.remove(at);
                    abandon(batch, &index.id);
                    cleared.push(index.id);
                }
                if let Some(change) = update.update {
                    let index = row.indexes.iter_mut().find(|index| index.global && index.name == change.index_name);
                    let index = index.ok_or_else(|| Fault::from(crate::api::ResourceNotFoundException::new("Requested resource not found")))?;
                    if let Some(throughput) = change.provisioned_throughput {
                        index.capacity = (throughput.read_capacity_units, throughput.write_capacity_units);
                    }
                }
            }
            let used: Vec<String> = row.keys.names().chain(row.indexes.iter().flat_map(|index| index.keys.names())).cloned().collect();
            if let Some(missing) = used.iter().find(|name| !row.types.contains_key(*name)) {
                return Err(Fault::validation(format!("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [{missing}], AttributeDefinitions: [{}]", row.types.keys().cloned().collect::<Vec<_>>().join(", "))));
            }
            row.types.retain(|name, _| used.contains(name));
            match (input.stream_specification, row.stream.clone()) {
                (Some(asked), Some(_)) if asked.stream_enabled => return Err(Fault::validation("Table already has an enabled stream: TableName: ".to_string() + &row.name)),
                (Some(asked), None) if !asked.stream_enabled => return Err(Fault::validation("Table does not have a stream to disable: TableName: ".to_string() + &row.name)),
                (Some(asked), None) => opened = db.open_stream(cx, row, Some(asked), batch)?,
                (Some(_), Some(stream)) => {
                    db.close_stream(cx, &stream, batch);
                    row.stream = None;
                }
                (None, _) => {}
            }
            Ok(())
        })
        .await?;
    db.streams.write().extend(opened.map(|stream| (stream.info.arn.clone(), stream)));
    cleared.into_iter().for_each(|space| db.clear(table.partition, space));
    Ok(UpdateTableOutput {
        table_description: Some(row.describe(
            TableStatus::Updating,
            table.items.load(Ordering::Relaxed),
            table.bytes.load(Ordering::Relaxed),
        )),
    })
}

pub async fn delete_table(
    db: &DynamoDb,
    cx: &Cx,
    input: DeleteTableInput,
) -> Result<DeleteTableOutput, Fault> {
    let row = db.delete(cx, &input.table_name).await?;
    Ok(DeleteTableOutput { table_description: Some(row.describe(TableStatus::Deleting, 0, 0)) })
}

pub async fn describe_limits(
    _: &DynamoDb,
    _: &Cx,
    _: DescribeLimitsInput,
) -> Result<DescribeLimitsOutput, Fault> {
    Ok(DescribeLimitsOutput {
        account_max_read_capacity_units: Some(80_000),
        account_max_write_capacity_units: Some(80_000),
        table_max_read_capacity_units: Some(40_000),
        table_max_write_capacity_units: Some(40_000),
    })
}

fn refuse(asked: &[(&str, bool)]) -> Result<(), Fault> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(Fault::not_implemented(format!("DynamoDB tables with {what}"))),
        None => Ok(()),
    }
}
