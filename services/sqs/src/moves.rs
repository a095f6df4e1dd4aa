//! Move tasks: dead letters go back to where they came from, or to another queue, at a rate. Each message moves in one
//! batch, so none is lost or doubled by a crash; a task goes on after one.

use std::{ops::ControlFlow, sync::Arc};

use serde::{Deserialize, Serialize};
use tidemill_delivery::Step;
use tidemill_platform::{Cx, Fault, Trace};
use tidemill_store::{Batch, Partition};

use crate::{
    Sqs,
    api::{
        CancelMessageMoveTaskRequest, CancelMessageMoveTaskResult, ListMessageMoveTasksRequest,
        ListMessageMoveTasksResult, ListMessageMoveTasksResultEntry, ResourceNotFoundException,
        StartMessageMoveTaskRequest, StartMessageMoveTaskResult, UnsupportedOperation,
    },
    receiving::Moved,
    state::{Queue, TASKS, invalid},
};

/// Messages moved before the task is looked at again.
const AT_ONCE: usize = 100;
/// Tasks shown of one queue.
const MOST_SHOWN: i32 = 10;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    pub handle: String,
    pub source: String,
    pub destination: Option<String>,
    pub per_second: Option<i32>,
    pub status: String,
    pub moved: i64,
    pub to_move: i64,
    pub started_at: i64,
    pub failure: Option<String>,
}

pub async fn start_message_move_task(
    sqs: &Sqs,
    cx: &Cx,
    input: StartMessageMoveTaskRequest,
) -> Result<StartMessageMoveTaskResult, Fault> {
    let source = existing(sqs, &input.source_arn)?;
    let arn = source.arn.to_string();
    let is_dead_letter_queue = sqs
        .all()
        .iter()
        .any(|queue| queue.row.read().settings.redrive.as_ref().is_some_and(|one| one.target_arn == arn));
    if !is_dead_letter_queue {
        return Err(invalid("Source queue must be configured as a Dead Letter Queue."));
    }
    if let Some(destination) = &input.destination_arn {
        existing(sqs, destination)?;
    }
    if input.max_number_of_messages_per_second.is_some_and(|rate| !(1..=500).contains(&rate)) {
        return Err(invalid(
            "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a value from 1 to 500.",
        ));
    }
    let to_move = i64::try_from(sqs.hot(&source, cx.now().millis())?.machine.visible()).unwrap_or(i64::MAX);
    let task = TaskRow {
        handle: cx.random().hex::<32>(),
        source: arn.clone(),
        destination: input.destination_arn,
        per_second: input.max_number_of_messages_per_second,
        status: "RUNNING".into(),
        moved: 0,
        to_move,
        started_at: cx.now().millis(),
        failure: None,
    };
    let ticket = {
        let mut tasks = sqs.tasks.lock();
        if tasks.values().any(|one| one.source == arn && one.status == "RUNNING") {
            return Err(UnsupportedOperation::new("There is already a task running. Only one active task is allowed for a source queue arn at a given time.").into());
        }
        let ticket = sqs.platform.submit(written(&task))?;
        tasks.insert(task.handle.clone(), task.clone());
        ticket
    };
    ticket.await;
    sqs.run_task(task.handle.clone());
    Ok(StartMessageMoveTaskResult { task_handle: Some(task.handle) })
}

pub async fn cancel_message_move_task(
    sqs: &Sqs,
    _: &Cx,
    input: CancelMessageMoveTaskRequest,
) -> Result<CancelMessageMoveTaskResult, Fault> {
    let (ticket, moved) = {
        let mut tasks = sqs.tasks.lock();
        let task = tasks
            .get_mut(&input.task_handle)
            .filter(|task| task.status == "RUNNING")
            .ok_or_else(|| Fault::from(ResourceNotFoundException::new("Task does not exist.")))?;
        task.status = "CANCELLED".into();
        (sqs.platform.submit(written(task))?, task.moved)
    };
    ticket.await;
    Ok(CancelMessageMoveTaskResult { approximate_number_of_messages_moved: Some(moved) })
}

pub async fn list_message_move_tasks(
    sqs: &Sqs,
    _: &Cx,
    input: ListMessageMoveTasksRequest,
) -> Result<ListMessageMoveTasksResult, Fault> {
    let source = existing(sqs, &input.source_arn)?.arn.to_string();
    let most = input.max_results.unwrap_or(1);
    if !(1..=MOST_SHOWN).contains(&most) {
        return Err(invalid(format!(
            "Value {most} for parameter MaxResults is invalid. Reason: Must be between 1 and 10."
        )));
    }
    let mut tasks: Vec<TaskRow> =
        sqs.tasks.lock().values().filter(|task| task.source == source).cloned().collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task.started_at));
    tasks.truncate(usize::try_from(most).unwrap_or(1));
    let shown = tasks.into_iter().map(|task| ListMessageMoveTasksResultEntry {
        task_handle: (task.status == "RUNNING").then_some(task.handle),
        status: Some(task.status),
        source_arn: Some(task.source),
        destination_arn: task.destination,
        max_number_of_messages_per_second: task.per_second,
        approximate_number_of_messages_moved: Some(task.moved),
        approximate_number_of_messages_to_move: Some(task.to_move),
        failure_reason: task.failure,
        started_timestamp: Some(task.started_at),
    });
    Ok(ListMessageMoveTasksResult { results: Some(shown.collect()) })
}

fn existing(sqs: &Sqs, arn: &str) -> Result<Arc<Queue>, Fault> {
    let missing = || {
        ResourceNotFoundException::new(
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        )
        .into()
    };
    sqs.by_arn(arn).ok_or_else(missing)
}

fn written(task: &TaskRow) -> Batch {
    let mut batch = Batch::new(Partition::of(&task.source));
    batch.put(&TASKS, &task.handle, task);
    batch
}

impl Sqs {
    /// Goes on with the tasks an earlier process left.
    pub fn start(&self) {
        let running: Vec<String> = self
            .tasks
            .lock()
            .values()
            .filter(|task| task.status == "RUNNING")
            .map(|task| task.handle.clone())
            .collect();
        running.into_iter().for_each(|handle| self.run_task(handle));
    }

    fn run_task(&self, handle: String) {
        let Some(sqs) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            let cx =
                sqs.platform.cx(&sqs.platform.config.account, &sqs.platform.config.region, Trace::default());
            loop {
                match sqs.task_step(&cx, &handle).await {
                    Ok(ControlFlow::Continue(wait_ms)) => cx.clock().sleep(wait_ms).await,
                    Ok(ControlFlow::Break(())) => return,
                    Err(fault) => {
                        tracing::warn!(%fault, "a move task waits");
                        cx.clock().sleep(1000).await;
                    }
                }
            }
        });
    }

    /// Moves some messages; how long to wait before the next, or that the task is over.
    async fn task_step(&self, cx: &Cx, handle: &str) -> Result<ControlFlow<(), i64>, Fault> {
        let task = self.tasks.lock().get(handle).cloned();
        let Some(task) = task.filter(|task| task.status == "RUNNING") else {
            return Ok(ControlFlow::Break(()));
        };
        let Some(source) = self.by_arn(&task.source) else {
            return self.end_task(handle, "FAILED", Some("AWS.SimpleQueueService.NonExistentQueue")).await;
        };
        // At a rate, a tenth of a second's worth at a time.
        let some = task.per_second.map_or(AT_ONCE, |rate| usize::try_from((rate + 9) / 10).unwrap_or(1));
        let mut moved = 0;
        let mut last = None;
        for _ in 0..some {
            match self.move_one(cx, &source, &task)? {
                None => break,
                Some(ticket) => {
                    moved += 1;
                    last = Some(ticket);
                }
            }
        }
        if let Some(ticket) = last {
            ticket.await;
        }
        if moved == 0 {
            return self.end_task(handle, "COMPLETED", None).await;
        }
        let ticket = {
            let mut tasks = self.tasks.lock();
            let Some(task) = tasks.get_mut(handle) else { return Ok(ControlFlow::Break(())) };
            task.moved += moved;
            self.platform.submit(written(task))?
        };
        ticket.await;
        Ok(ControlFlow::Continue(task.per_second.map_or(0, |rate| moved * 1000 / i64::from(rate.max(1)))))
    }

    /// Moves one message in one batch; `None` when none waits.
    fn move_one(
        &self,
        cx: &Cx,
        source: &Queue,
        task: &TaskRow,
    ) -> Result<Option<tidemill_store::Ticket>, Fault> {
        let now = cx.now().millis();
        let mut hot = self.hot(source, now)?;
        loop {
            let Some((number, group)) = hot.machine.take(1).pop() else { return Ok(None) };
            let key = (source.id, number);
            let found = self.platform.store.get(&crate::state::MESSAGES, source.partition, &key);
            let Some(found) = found.map_err(Fault::internal)? else {
                hot.machine.discard(number, group.as_ref());
                continue;
            };
            let mut row = found.value;
            let to = task.destination.clone().or_else(|| row.source.clone()).unwrap_or_default();
            let Some(target) = self.by_arn(&to) else {
                hot.machine.put_back(number, group);
                return Err(Fault::new(
                    "AWS.SimpleQueueService.NonExistentQueue",
                    format!("{to} does not exist"),
                ));
            };
            if !target.is_loaded() {
                hot.machine.put_back(number, group);
                drop(hot);
                self.warm(&target, now)?;
                hot = self.hot(source, now)?;
                continue;
            }
            let mut batch = Batch::new(source.partition);
            let why = Moved { step: Step::Delivered, detail: "moved by a task".into() };
            // Back in its queue a message is as new: sent now, never received, and under an id of its own.
            row.sent_at = now;
            row.id = cx.random().uuid();
            let moved = self.move_into(source, number, row, &target, (now, why), &mut batch);
            match self.platform.submit(batch) {
                Ok(ticket) => {
                    hot.machine.discard(number, group.as_ref());
                    drop(hot);
                    self.arrive(&target, moved, now)?;
                    return Ok(Some(ticket));
                }
                Err(refused) => {
                    hot.machine.put_back(number, group);
                    return Err(refused);
                }
            }
        }
    }

    async fn end_task(
        &self,
        handle: &str,
        status: &str,
        failure: Option<&str>,
    ) -> Result<ControlFlow<(), i64>, Fault> {
        let ticket = {
            let mut tasks = self.tasks.lock();
            let Some(task) = tasks.get_mut(handle) else { return Ok(ControlFlow::Break(())) };
            task.status = status.into();
            task.failure = failure.map(String::from);
            self.platform.submit(written(task))?
        };
        ticket.await;
        Ok(ControlFlow::Break(()))
    }
}
