//! Amazon DynamoDB and DynamoDB Streams.
//!
//! `state` keeps tables and all rows, `schema` what a table looks like, `keys` its keys as bytes. `writing` decides and
//! commits every change of an item, with its indexes and stream record in the same batch; `items`, `batches` and
//! `transactions` are the operations on top, `reading` are Query and Scan. `stream_records` are what streams hold,
//! `streams` their API and their door for mappings, `expiry` is time to live, `legacy` are the parameters of before
//! expressions. PartiQL, backups and global tables are not built yet.

pub mod api;
mod batches;
mod capacity;
mod expiry;
mod items;
mod keys;
mod legacy;
mod reading;
mod resources;
mod schema;
mod state;
mod stream_records;
mod streams;
pub mod streams_api;
mod tables;
mod tags;
mod tokens;
mod transactions;
pub mod values;
mod writing;

use std::sync::Arc;

use tidemill_delivery::{Delivery, stream::Streams};
use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::DynamoDb;

/// Opens both services: tables' streams become sources of mappings, `AWS::DynamoDB::Table` is provided.
pub fn services(
    platform: &Arc<Platform>,
    delivery: &Delivery,
    sources: &Streams,
) -> Result<(Service, Service), Damaged> {
    let db = DynamoDb::open(platform.clone(), delivery.clone())?;
    sources.source("dynamodb", db.clone());
    platform.doors.provide(Arc::new(resources::Resources(db.clone())));
    Ok((table(db.clone()), streams_table(db)))
}

fn table(db: Arc<DynamoDb>) -> Service {
    Service::new(&api::SERVICE, db)
        .on::<op::CreateTable>(tables::create_table)
        .on::<op::DescribeTable>(tables::describe_table)
        .on::<op::ListTables>(tables::list_tables)
        .on::<op::UpdateTable>(tables::update_table)
        .on::<op::DeleteTable>(tables::delete_table)
        .on::<op::DescribeTimeToLive>(expiry::describe_time_to_live)
        .on::<op::UpdateTimeToLive>(expiry::update_time_to_live)
        .on::<op::DescribeLimits>(tables::describe_limits)
        .on::<op::PutItem>(items::put_item)
        .on::<op::GetItem>(items::get_item)
        .on::<op::UpdateItem>(items::update_item)
        .on::<op::DeleteItem>(items::delete_item)
        .on::<op::Query>(reading::query)
        .on::<op::Scan>(reading::scan)
        .on::<op::BatchGetItem>(batches::batch_get_item)
        .on::<op::BatchWriteItem>(batches::batch_write_item)
        .on::<op::TransactGetItems>(transactions::transact_get_items)
        .on::<op::TransactWriteItems>(transactions::transact_write_items)
        .on::<op::TagResource>(tags::tag_resource)
        .on::<op::UntagResource>(tags::untag_resource)
        .on::<op::ListTagsOfResource>(tags::list_tags_of_resource)
        .build()
}

fn streams_table(db: Arc<DynamoDb>) -> Service {
    use streams_api::op;
    Service::new(&streams_api::SERVICE, db)
        .on::<op::ListStreams>(streams::list_streams)
        .on::<op::DescribeStream>(streams::describe_stream)
        .on::<op::GetShardIterator>(streams::get_shard_iterator)
        .on::<op::GetRecords>(streams::get_records)
        .build()
}
