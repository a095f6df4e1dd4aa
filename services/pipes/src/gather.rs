//! Batches of messages: gathered until they are full, large enough or old enough. Source: "Amazon SQS as a source" of
//! pipes in the EventBridge user guide, for what an event looks like.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tidemill_platform::{
    Cx, Fault, Timestamp, Trace,
    doors::{QueueMessage, Queues},
};

use crate::{
    execution::Item,
    plan::{Plan, QueueSource},
};

/// What a batch may hold in bytes: a function's payload limit, with room for the wrapping.
const MOST_BYTES: usize = 5_500_000;
/// Messages asked for at once.
const AT_ONCE: usize = 10;
/// Longer than any reader lives: it is woken by a message, not by time.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A message as the pipe's event.
pub struct Message {
    pub item: Item,
    pub receipt: String,
    pub bytes: usize,
}

/// Gathers the batches of a pipe. What was received stays here until it is taken, so a reader that is stopped meanwhile
/// can still bring it on its way.
pub struct Gather {
    source_arn: String,
    most: usize,
    window_ms: i64,
    waiting: Vec<Message>,
    ends: Option<Timestamp>,
}

impl Gather {
    pub fn new(plan: &Plan, queue: &QueueSource) -> Gather {
        Gather {
            source_arn: plan.source_arn.clone(),
            most: queue.batch_size,
            window_ms: i64::from(queue.window_s) * 1000,
            waiting: Vec::new(),
            ends: None,
        }
    }

    /// Waits for a batch: for its first message as long as it takes, for more until the window ends.
    pub async fn wait(&mut self, cx: &Cx, queues: &dyn Queues) -> Result<(), Fault> {
        while self.waiting.len() < self.most && self.bytes() < MOST_BYTES {
            let wait = match self.ends {
                None => FOR_EVER,
                Some(ends) => {
                    Duration::from_millis(u64::try_from(ends.millis() - cx.now().millis()).unwrap_or(0))
                }
            };
            let most = (self.most - self.waiting.len()).min(AT_ONCE);
            let received = queues.receive(cx, &self.source_arn, most, wait).await?;
            if received.is_empty() {
                return Ok(());
            }
            self.begin_window(cx);
            self.waiting.extend(received.into_iter().map(|one| message(&self.source_arn, one)));
        }
        Ok(())
    }

    /// The next batch; empty when nothing was received.
    pub fn take(&mut self, cx: &Cx) -> Vec<Message> {
        let mut bytes = 0;
        let fits = |message: &&Message| {
            bytes += message.bytes;
            bytes <= MOST_BYTES || bytes == message.bytes
        };
        let count = self.waiting.iter().take(self.most).take_while(fits).count();
        let left = self.waiting.split_off(count);
        self.ends = None;
        let batch = std::mem::replace(&mut self.waiting, left);
        if !self.waiting.is_empty() {
            self.begin_window(cx);
        }
        batch
    }

    fn begin_window(&mut self, cx: &Cx) {
        let ends = Timestamp::from_millis(cx.now().millis() + self.window_ms);
        self.ends.get_or_insert(ends);
    }

    fn bytes(&self) -> usize {
        self.waiting.iter().map(|message| message.bytes).sum()
    }
}

fn message(source_arn: &str, message: QueueMessage) -> Message {
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
    let trace = Trace::parse(&message.trace);
    // The body is by far the largest part; the rest has bounds of its own.
    let bytes = message.body.len() + 2048;
    let mut event = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": message.attributes,
        "messageAttributes": attributes,
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": source_arn,
        "awsRegion": source_arn.split(':').nth(3),
    });
    if let Some(digest) = message.md5_of_message_attributes {
        event["md5OfMessageAttributes"] = digest.into();
    }
    let item = Item { id: message.message_id, event, trace: trace.unwrap_or_default() };
    Message { item, receipt: message.receipt_handle, bytes }
}
