//! Single items: put, get, update, delete.

use tidemill_dynamo_expression::{Condition, Item, Projection, Scope, Update, value::item_size};
use tidemill_platform::{Cx, Fault};

use crate::{
    DynamoDb,
    api::{
        DeleteItemInput, DeleteItemOutput, GetItemInput, GetItemOutput, PutItemInput, PutItemOutput,
        ReturnItemCollectionMetrics, ReturnValue, ReturnValuesOnConditionCheckFailure, UpdateItemInput,
        UpdateItemOutput,
    },
    capacity::{Used, read_units},
    legacy::{attributes_to_get, expected, one_kind, updates},
    schema::TableRow,
    writing::{Action, Write, invalid},
};

pub async fn put_item(db: &DynamoDb, cx: &Cx, input: PutItemInput) -> Result<PutItemOutput, Fault> {
    one_kind(
        &[
            ("Expected", input.expected.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
        ],
        &[("ConditionExpression", input.condition_expression.is_some())],
    )?;
    refuse_metrics(input.return_item_collection_metrics.as_ref())?;
    if !matches!(input.return_values, None | Some(ReturnValue::None | ReturnValue::AllOld)) {
        return Err(Fault::validation("ReturnValues can only be ALL_OLD or NONE"));
    }
    let scope =
        Scope::new(input.expression_attribute_names.as_ref(), input.expression_attribute_values.as_ref())
            .map_err(invalid)?;
    if input.condition_expression.is_none() {
        no_placeholders(
            input.expression_attribute_names.is_some(),
            input.expression_attribute_values.is_some(),
        )?;
    }
    let condition = match condition(input.condition_expression.as_deref(), &scope)? {
        None => expected(input.expected.as_ref(), input.conditional_operator.as_ref())?,
        condition => condition,
    };
    scope.finish().map_err(invalid)?;
    let table = db.table(cx, &input.table_name)?;
    let row = table.row();
    let key = check_item(&row, &input.item)?;
    let show_on_failure =
        input.return_values_on_condition_check_failure == Some(ReturnValuesOnConditionCheckFailure::AllOld);
    let written = db
        .write(cx, Write { table, key, action: Action::Put(input.item), condition, show_on_failure })
        .await?;
    Ok(PutItemOutput {
        attributes: written.old.filter(|_| input.return_values == Some(ReturnValue::AllOld)),
        consumed_capacity: written.used.wire(&row.name, input.return_consumed_capacity.as_ref()),
        ..PutItemOutput::default()
    })
}

pub async fn get_item(db: &DynamoDb, cx: &Cx, input: GetItemInput) -> Result<GetItemOutput, Fault> {
    one_kind(
        &[("AttributesToGet", input.attributes_to_get.is_some())],
        &[("ProjectionExpression", input.projection_expression.is_some())],
    )?;
    let scope = Scope::new(input.expression_attribute_names.as_ref(), None).map_err(invalid)?;
    let projection = match projection(input.projection_expression.as_deref(), &scope)? {
        None => attributes_to_get(input.attributes_to_get)?,
        projection => projection,
    };
    scope.finish().map_err(invalid)?;
    let table = db.table(cx, &input.table_name)?;
    let row = table.row();
    row.check_key_argument(&input.key)?;
    let item = db.read(&table, &input.key).await?;
    let units = read_units(item.as_ref().map_or(0, item_size), input.consistent_read == Some(true));
    Ok(GetItemOutput {
        item: item.map(|item| {
            projection.as_ref().map_or_else(|| item.clone(), |projection| projection.apply(&item))
        }),
        consumed_capacity: Used { table: units, ..Used::default() }
            .wire(&row.name, input.return_consumed_capacity.as_ref()),
    })
}

pub async fn update_item(db: &DynamoDb, cx: &Cx, input: UpdateItemInput) -> Result<UpdateItemOutput, Fault> {
    one_kind(
        &[
            ("AttributeUpdates", input.attribute_updates.is_some()),
            ("Expected", input.expected.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
        ],
        &[
            ("UpdateExpression", input.update_expression.is_some()),
            ("ConditionExpression", input.condition_expression.is_some()),
        ],
    )?;
    refuse_metrics(input.return_item_collection_metrics.as_ref())?;
    let scope =
        Scope::new(input.expression_attribute_names.as_ref(), input.expression_attribute_values.as_ref())
            .map_err(invalid)?;
    let update = input
        .update_expression
        .as_deref()
        .map(|text| Update::parse(text, &scope))
        .transpose()
        .map_err(invalid)?;
    let update = match input.attribute_updates {
        Some(list) => Some(updates(list)?),
        None => update,
    };
    let condition = match condition(input.condition_expression.as_deref(), &scope)? {
        None => expected(input.expected.as_ref(), input.conditional_operator.as_ref())?,
        condition => condition,
    };
    scope.finish().map_err(invalid)?;
    let table = db.table(cx, &input.table_name)?;
    let row = table.row();
    row.check_key_argument(&input.key)?;
    let show_on_failure =
        input.return_values_on_condition_check_failure == Some(ReturnValuesOnConditionCheckFailure::AllOld);
    let changed = update.clone();
    let written = db
        .write(
            cx,
            Write { table, key: input.key, action: Action::Update(update), condition, show_on_failure },
        )
        .await?;
    let touched = |item: &Option<Item>| -> Option<Item> {
        let paths = changed.as_ref()?.paths().cloned().collect();
        Some(Projection(paths).apply(item.as_ref()?)).filter(|item| !item.is_empty())
    };
    let attributes = match input.return_values.unwrap_or(ReturnValue::None) {
        ReturnValue::AllOld => written.old.clone(),
        ReturnValue::AllNew => written.new.clone(),
        ReturnValue::UpdatedOld => touched(&written.old),
        ReturnValue::UpdatedNew => touched(&written.new),
        _ => None,
    };
    Ok(UpdateItemOutput {
        attributes,
        consumed_capacity: written.used.wire(&row.name, input.return_consumed_capacity.as_ref()),
        ..UpdateItemOutput::default()
    })
}

pub async fn delete_item(db: &DynamoDb, cx: &Cx, input: DeleteItemInput) -> Result<DeleteItemOutput, Fault> {
    one_kind(
        &[
            ("Expected", input.expected.is_some()),
            ("ConditionalOperator", input.conditional_operator.is_some()),
        ],
        &[("ConditionExpression", input.condition_expression.is_some())],
    )?;
    refuse_metrics(input.return_item_collection_metrics.as_ref())?;
    if !matches!(input.return_values, None | Some(ReturnValue::None | ReturnValue::AllOld)) {
        return Err(Fault::validation("ReturnValues can only be ALL_OLD or NONE"));
    }
    let scope =
        Scope::new(input.expression_attribute_names.as_ref(), input.expression_attribute_values.as_ref())
            .map_err(invalid)?;
    if input.condition_expression.is_none() {
        no_placeholders(
            input.expression_attribute_names.is_some(),
            input.expression_attribute_values.is_some(),
        )?;
    }
    let condition = match condition(input.condition_expression.as_deref(), &scope)? {
        None => expected(input.expected.as_ref(), input.conditional_operator.as_ref())?,
        condition => condition,
    };
    scope.finish().map_err(invalid)?;
    let table = db.table(cx, &input.table_name)?;
    let row = table.row();
    row.check_key_argument(&input.key)?;
    let show_on_failure =
        input.return_values_on_condition_check_failure == Some(ReturnValuesOnConditionCheckFailure::AllOld);
    let written = db
        .write(cx, Write { table, key: input.key, action: Action::Delete, condition, show_on_failure })
        .await?;
    Ok(DeleteItemOutput {
        attributes: written.old.filter(|_| input.return_values == Some(ReturnValue::AllOld)),
        consumed_capacity: written.used.wire(&row.name, input.return_consumed_capacity.as_ref()),
        ..DeleteItemOutput::default()
    })
}

pub fn condition(text: Option<&str>, scope: &Scope<'_>) -> Result<Option<Condition>, Fault> {
    text.map(|text| Condition::parse("ConditionExpression", text, scope)).transpose().map_err(invalid)
}

pub fn projection(text: Option<&str>, scope: &Scope<'_>) -> Result<Option<Projection>, Fault> {
    text.map(|text| Projection::parse(text, scope)).transpose().map_err(invalid)
}

/// Checks an item to be put and gives its key.
pub fn check_item(table: &TableRow, item: &Item) -> Result<Item, Fault> {
    let key = table.key_of_item(item)?;
    for value in item.values() {
        value.check().map_err(invalid)?;
    }
    crate::writing::check_size(item, false)?;
    Ok(key)
}

pub fn refuse_metrics(asked: Option<&ReturnItemCollectionMetrics>) -> Result<(), Fault> {
    match asked {
        Some(ReturnItemCollectionMetrics::Size) => {
            Err(Fault::not_implemented("ReturnItemCollectionMetrics SIZE"))
        }
        _ => Ok(()),
    }
}

/// Names and values of expressions where there is no expression.
fn no_placeholders(names: bool, values: bool) -> Result<(), Fault> {
    let what = match (names, values) {
        (true, _) => "ExpressionAttributeNames",
        (_, true) => "ExpressionAttributeValues",
        _ => return Ok(()),
    };
    Err(Fault::validation(format!(
        "{what} can only be specified when using expressions: ConditionExpression is null"
    )))
}
