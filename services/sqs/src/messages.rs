//! Messages that were received: deleted, or made visible at another time.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};
use tidemill_store::{Batch, Ticket};

use crate::{
    Sqs,
    api::{ChangeMessageVisibilityRequest, DeleteMessageRequest, MessageNotInflight, ReceiptHandleIsInvalid},
    receiving::read_receipt,
    state::{MESSAGES, Queue, RECEIVES, ReceiveRow, invalid},
};

pub async fn delete_message(sqs: &Sqs, cx: &Cx, input: DeleteMessageRequest) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    let mut outcomes = sqs.delete_received(cx, &queue, &[input.receipt_handle.as_str()])?;
    if let Some(ticket) = outcomes.1 {
        ticket.await;
    }
    outcomes.0.remove(0).map(|()| Unit)
}

pub async fn change_message_visibility(
    sqs: &Sqs,
    cx: &Cx,
    input: ChangeMessageVisibilityRequest,
) -> Result<Unit, Fault> {
    let queue = sqs.by_url(cx, &input.queue_url)?;
    sqs.change_visibility(cx, &queue, &input.receipt_handle, input.visibility_timeout)?.await;
    Ok(Unit)
}

/// What became of each entry.
pub type Outcomes = Vec<Result<(), Fault>>;

impl Sqs {
    /// Deletes messages by their receipts in one batch; what became of each, in order.
    pub fn delete_received(
        &self,
        cx: &Cx,
        queue: &Queue,
        receipts: &[&str],
    ) -> Result<(Outcomes, Option<Ticket>), Fault> {
        let mut batch = Batch::new(queue.partition);
        let mut hot = self.hot(queue, cx.now().millis())?;
        let mut outcomes = Vec::with_capacity(receipts.len());
        for handle in receipts {
            outcomes.push(own_receipt(queue, handle).and_then(|(number, count)| {
                if hot.machine.delete(number, count) {
                    let key = (queue.id, number);
                    batch.delete(&MESSAGES, &key).delete(&RECEIVES, &key);
                } else if queue.is_fifo && self.is_there(queue, number) {
                    return Err(invalid(format!(
                        "Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
                    )));
                }
                Ok(())
            }));
        }
        // Should the batch be refused, the messages are back when the queue is next loaded: they were received at
        // least once, as promised.
        let ticket = if batch.is_empty() { None } else { Some(self.platform.submit(batch)?) };
        drop(hot);
        if queue.is_fifo {
            // A group may have been waiting for these.
            queue.arrived.notify_one();
        }
        Ok((outcomes, ticket))
    }

    fn is_there(&self, queue: &Queue, number: u64) -> bool {
        matches!(self.platform.store.get(&MESSAGES, queue.partition, &(queue.id, number)), Ok(Some(_)))
    }

    pub fn change_visibility(
        &self,
        cx: &Cx,
        queue: &Queue,
        handle: &str,
        timeout_s: i32,
    ) -> Result<Ticket, Fault> {
        if !(0..=43_200).contains(&timeout_s) {
            return Err(invalid(format!(
                "Value {timeout_s} for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer between 0 and 43200"
            )));
        }
        let (number, count) = own_receipt(queue, handle)?;
        let now = cx.now().millis();
        let until = now + i64::from(timeout_s) * 1000;
        let mut hot = self.hot(queue, now)?;
        if !hot.machine.is_in_flight(number, count) {
            return Err(if self.is_there(queue, number) {
                MessageNotInflight::new(format!(
                    "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
                ))
                .into()
            } else {
                invalid(format!(
                    "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."
                ))
            });
        }
        let receives = hot.machine.change_visibility(number, count, until, now).unwrap_or_default();
        let mut batch = Batch::new(queue.partition);
        let row = ReceiveRow { count: receives.count, first_at: receives.first_at, until };
        batch.put(&RECEIVES, &(queue.id, number), &row);
        let ticket = self.platform.submit(batch)?;
        self.plan(queue, &mut hot);
        drop(hot);
        if timeout_s == 0 {
            queue.arrived.notify_one();
        }
        Ok(ticket)
    }
}

/// Number and receive of a handle that this queue gave out.
fn own_receipt(queue: &Queue, handle: &str) -> Result<(u64, u32), Fault> {
    match read_receipt(handle) {
        Some((id, number, count)) if id == queue.id => Ok((number, count)),
        _ => Err(ReceiptHandleIsInvalid::new(format!(
            "The input receipt handle \"{handle}\" is not a valid receipt handle."
        ))
        .into()),
    }
}
