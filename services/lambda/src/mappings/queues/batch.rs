//! Batches of messages: gathered until they are full, large enough or old enough, and as the event a function gets.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tidemill_platform::{
    Cx, Fault, Timestamp,
    doors::{QueueMessage, Queues},
};

use super::FOR_EVER;
use crate::{api::ResourceNotFoundException, mappings::MappingRow};

/// What a batch may hold in bytes: Lambda's payload limit, with room for the wrapping.
const MOST_BYTES: usize = 6_000_000;
/// Messages asked for at once.
const AT_ONCE: usize = 10;

/// A message as its function gets it.
pub struct Item {
    pub message_id: String,
    pub receipt: String,
    pub json: Vec<u8>,
    /// The header of the trace in which it was sent.
    pub trace: String,
    /// How often it was received, this time included.
    pub receives: u32,
}

#[derive(Default)]
pub struct Batch {
    pub items: Vec<Item>,
    pub bytes: usize,
}

impl Batch {
    pub fn receipts(&self) -> Vec<String> {
        self.items.iter().map(|item| item.receipt.clone()).collect()
    }

    /// Those that are wanted and those that are not.
    pub fn split(self, wanted: impl Fn(&[u8]) -> bool) -> (Batch, Batch) {
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            self.items.into_iter().partition(|item| wanted(&item.json));
        (Batch { items: wanted, bytes: self.bytes }, Batch { items: unwanted, bytes: 0 })
    }

    /// `{"Records": [...]}`
    pub fn event(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes + self.items.len() + 16);
        out.extend_from_slice(b"{\"Records\":[");
        for (at, item) in self.items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&item.json);
        }
        out.extend_from_slice(b"]}");
        Bytes::from(out)
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.json.len();
        self.items.push(item);
    }
}

/// Gathers the batches of a mapping.
pub struct Gather {
    source_arn: String,
    most: usize,
    window: Duration,
    /// Received, but too large for the batch before.
    left: Vec<Item>,
}

impl Gather {
    pub fn new(row: &MappingRow) -> Gather {
        Gather {
            source_arn: row.source_arn.clone(),
            most: usize::try_from(row.batch_size).unwrap_or(1).max(1),
            window: Duration::from_secs(u64::try_from(row.window_s).unwrap_or(0)),
            left: Vec::new(),
        }
    }

    /// The next batch: waits for its first message as long as it takes, for more until the window ends. `None`: look
    /// again; a fault when there is no such queue.
    pub async fn next(&mut self, cx: &Cx, queues: &dyn Queues) -> Result<Option<Batch>, Fault> {
        let mut batch = Batch::default();
        let mut left = std::mem::take(&mut self.left).into_iter();
        for item in left.by_ref() {
            if !self.fits(&batch, &item) {
                self.left.push(item);
                break;
            }
            batch.push(item);
        }
        self.left.extend(left);
        let mut ends: Option<Timestamp> = (!batch.items.is_empty()).then(|| self.end(cx));
        while self.left.is_empty() && batch.items.len() < self.most {
            let wait = match ends {
                None => FOR_EVER,
                Some(ends) => {
                    Duration::from_millis(u64::try_from(ends.millis() - cx.now().millis()).unwrap_or(0))
                }
            };
            let most = (self.most - batch.items.len()).min(AT_ONCE);
            let received = queues.receive(cx, &self.source_arn, most, wait).await?;
            if received.is_empty() {
                break;
            }
            ends.get_or_insert_with(|| self.end(cx));
            for message in received {
                let item = item(&self.source_arn, message);
                if self.left.is_empty() && self.fits(&batch, &item) {
                    batch.push(item)
                } else {
                    self.left.push(item)
                }
            }
        }
        if batch.items.is_empty() && queues.describe(&self.source_arn).is_none() {
            return Err(ResourceNotFoundException::new("The specified queue does not exist.").into());
        }
        Ok((!batch.items.is_empty()).then_some(batch))
    }

    fn end(&self, cx: &Cx) -> Timestamp {
        let window_ms = i64::try_from(self.window.as_millis()).unwrap_or(0);
        Timestamp::from_millis(cx.now().millis() + window_ms)
    }

    fn fits(&self, batch: &Batch, item: &Item) -> bool {
        batch.items.is_empty()
            || (batch.items.len() < self.most && batch.bytes + item.json.len() <= MOST_BYTES)
    }
}

/// A message as Lambda hands it to functions.
fn item(source_arn: &str, message: QueueMessage) -> Item {
    let mut attributes = Map::new();
    for (name, value) in message.message_attributes {
        let mut shown = Map::new();
        if let Some(text) = value.string_value {
            shown.insert("stringValue".into(), text.into());
        }
        if let Some(binary) = value.binary_value {
            shown.insert("binaryValue".into(), binary.into());
        }
        shown.insert("stringListValues".into(), json!([]));
        shown.insert("binaryListValues".into(), json!([]));
        shown.insert("dataType".into(), value.data_type.into());
        attributes.insert(name, Value::Object(shown));
    }
    let receives = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
    let mut record = Map::new();
    record.insert("messageId".into(), message.message_id.as_str().into());
    record.insert("receiptHandle".into(), message.receipt_handle.as_str().into());
    record.insert("body".into(), message.body.into());
    record.insert("attributes".into(), json!(message.attributes));
    record.insert("messageAttributes".into(), Value::Object(attributes));
    if let Some(digest) = message.md5_of_message_attributes {
        record.insert("md5OfMessageAttributes".into(), digest.into());
    }
    record.insert("md5OfBody".into(), message.md5_of_body.into());
    record.insert("eventSource".into(), "aws:sqs".into());
    record.insert("eventSourceARN".into(), source_arn.into());
    record.insert("awsRegion".into(), source_arn.split(':').nth(3).into());
    let json = Value::Object(record).to_string().into_bytes();
    Item {
        message_id: message.message_id,
        receipt: message.receipt_handle,
        json,
        trace: message.trace,
        receives: receives.unwrap_or(1),
    }
}
