//! Queues for readers inside the platform: event source mappings and pipes.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::{BoxFuture, FutureExt};
use tidemill_platform::{
    Cx, Fault,
    doors::{QueueAttribute, QueueDescription, QueueMessage, Queues},
};

use crate::{
    Sqs, digest,
    receiving::{Received, all_system_attributes},
    state::{Queue, no_queue},
};

impl Queues for Sqs {
    fn describe(&self, arn: &str) -> Option<QueueDescription> {
        let queue = self.by_arn(arn)?;
        Some(QueueDescription { is_fifo: queue.is_fifo, visibility_s: queue.settings().visibility_s })
    }

    fn receive<'a>(
        &'a self,
        cx: &'a Cx,
        arn: &'a str,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<QueueMessage>, Fault>> {
        async move {
            let queue = self.by_arn(arn).ok_or_else(no_queue)?;
            let visibility_s = queue.settings().visibility_s;
            let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            let received = self.receive_within(cx, &queue, most, visibility_s, wait_ms, None).await?;
            Ok(received.into_iter().map(|one| message(&queue, one)).collect())
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        arn: &'a str,
        receipts: &'a [String],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let queue = self.by_arn(arn).ok_or_else(no_queue)?;
            let receipts: Vec<&str> = receipts.iter().map(String::as_str).collect();
            let (_, ticket) = self.delete_received(cx, &queue, &receipts)?;
            if let Some(ticket) = ticket {
                ticket.await;
            }
            Ok(())
        }
        .boxed()
    }
}

fn message(queue: &Queue, one: Received) -> QueueMessage {
    let system = all_system_attributes(queue, &one);
    let message_attributes = one.row.attributes.iter().map(|(name, value)| {
        let shown = QueueAttribute {
            data_type: value.data_type.clone(),
            string_value: value.text.clone(),
            binary_value: value.binary.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes)),
        };
        (name.clone(), shown)
    });
    let message_attributes: BTreeMap<String, QueueAttribute> = message_attributes.collect();
    let trace = one.row.trace().map(|trace| trace.to_string()).unwrap_or_default();
    QueueMessage {
        attributes: system.into_iter().map(|(name, value)| (name.as_str().to_string(), value)).collect(),
        message_attributes,
        md5_of_body: digest::of_text(&one.row.body),
        md5_of_message_attributes: digest::of_attributes(&one.row.attributes),
        message_id: one.row.id,
        trace,
        receipt_handle: one.receipt,
        body: one.row.body,
    }
}
