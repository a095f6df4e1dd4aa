//! From requests to rows: AWS's defaults, what an update keeps, and whether the source is there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidemill_api::WriteShape;
use tidemill_platform::{Cx, Fault};
use tidemill_wire::value::to_value;

use crate::{
    Pipes,
    api::{CreatePipeRequest, RequestedPipeState, UpdatePipeRequest},
    plan::{Plan, Source},
    rows::{ASKED_FOR, PipeRow, pipe_arn},
    target::most_events,
};

/// The row of a pipe that is to be made.
pub fn fresh(pipes: &Pipes, cx: &Cx, input: CreatePipeRequest) -> Result<PipeRow, Fault> {
    refuse_keys(input.kms_key_identifier.as_deref())?;
    let now = cx.now().millis();
    let row = PipeRow {
        id: cx.random().uuid(),
        arn: pipe_arn(cx, &input.name),
        name: input.name,
        account: cx.account().into(),
        region: cx.region().into(),
        description: input.description,
        wants_to_run: input.desired_state != Some(RequestedPipeState::Stopped),
        failed: None,
        reason: ASKED_FOR.into(),
        source_parameters: with_batch_size(
            &input.source,
            most(&input.target, input.enrichment.as_deref()),
            shown(input.source_parameters),
        ),
        source: input.source,
        enrichment: input.enrichment.filter(|arn| !arn.is_empty()),
        enrichment_parameters: input.enrichment_parameters.map(|given| to_value(&given)),
        target: input.target,
        target_parameters: input.target_parameters.map(|given| to_value(&given)),
        role_arn: input.role_arn,
        log: input.log_configuration.map(|given| to_value(&given)),
        tags: input.tags.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>(),
        created_at: now,
        changed_at: now,
    };
    settled(pipes, row, "CREATE_FAILED")
}

/// The row that an update makes of another. Blocks of parameters that are given replace those of their name whole; the
/// others stay. Source: UpdatePipe in the API reference.
pub fn changed(pipes: &Pipes, cx: &Cx, there: &PipeRow, input: UpdatePipeRequest) -> Result<PipeRow, Fault> {
    refuse_keys(input.kms_key_identifier.as_deref())?;
    let mut row = PipeRow {
        description: input.description.or_else(|| there.description.clone()),
        wants_to_run: match input.desired_state {
            Some(state) => state != RequestedPipeState::Stopped,
            None => there.wants_to_run,
        },
        role_arn: input.role_arn,
        target: input.target.unwrap_or_else(|| there.target.clone()),
        changed_at: cx.now().millis(),
        ..there.clone()
    };
    if let Some(arn) = input.enrichment {
        row.enrichment = Some(arn).filter(|arn| !arn.is_empty());
    }
    if let Some(given) = input.source_parameters {
        let mut given = to_value(&given);
        keep_position(&there.source_parameters, &mut given);
        merge(&mut row.source_parameters, given);
        let most = most(&row.target, row.enrichment.as_deref());
        row.source_parameters = with_batch_size(&row.source, most, row.source_parameters);
    }
    if let Some(given) = input.enrichment_parameters {
        merge(row.enrichment_parameters.get_or_insert_default(), to_value(&given));
    }
    if row.target != there.target && input.target_parameters.is_some() {
        // What belonged to another kind of target would only be in the way.
        row.target_parameters = None;
    }
    if let Some(given) = input.target_parameters {
        merge(row.target_parameters.get_or_insert_default(), to_value(&given));
    }
    if let Some(given) = input.log_configuration {
        row.log = Some(to_value(&given));
    }
    restarted(pipes, row, "UPDATE_FAILED")
}

/// A row to be run again, or made anew from a template: earlier failures are forgotten.
pub fn restarted(pipes: &Pipes, row: PipeRow, failure: &str) -> Result<PipeRow, Fault> {
    settled(pipes, PipeRow { failed: None, reason: ASKED_FOR.into(), ..row }, failure)
}

/// Refuses what cannot run. A source that is not there is no refusal: the pipe is in a state of failure then.
fn settled(pipes: &Pipes, row: PipeRow, failure: &str) -> Result<PipeRow, Fault> {
    let plan = Plan::of(&row)?;
    check_role(pipes, &row.role_arn)?;
    let service = plan.target_arn.service.as_str();
    if service != "logs" && !pipes.delivery.takes(service) {
        return Err(Fault::not_implemented(format!("pipes to {service}")));
    }
    match missing(pipes, &plan)? {
        Some(reason) => Ok(PipeRow { failed: Some(failure.into()), reason, ..row }),
        None => Ok(row),
    }
}

/// What is wrong with the source.
fn missing(pipes: &Pipes, plan: &Plan) -> Result<Option<String>, Fault> {
    match &plan.source {
        Source::Queue(_) => {
            let queues = pipes.platform.doors.queues.ask("SQS")?;
            Ok(queues.describe(&plan.source_arn).is_none().then(|| {
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS \
                 Error Message: The specified queue does not exist."
                    .to_string()
            }))
        }
        Source::Stream(settings) => {
            let dead_letter = settings.dead_letter.as_ref().map(|arn| arn.service.as_str());
            if let Some(service) = dead_letter.filter(|service| !matches!(*service, "sqs" | "sns")) {
                return Err(Fault::validation(format!("{service} is not supported as a dead-letter queue.")));
            }
            let source = pipes
                .streams
                .source_of(&plan.source_arn)
                .ok_or_else(|| Fault::not_implemented("pipes from DynamoDB streams"))?;
            let found = source.shards(&plan.source_arn);
            Ok(found.err().map(|_| format!("Stream not found: {}", plan.source_arn)))
        }
    }
}

/// Where keys and roles are enforced, the execution role has to be there.
fn check_role(pipes: &Pipes, role_arn: &str) -> Result<(), Fault> {
    let identity = pipes.platform.doors.identity.get().filter(|_| pipes.platform.config.enforce);
    match identity {
        Some(identity) if identity.role_id(role_arn).is_none() => {
            Err(Fault::validation("The role defined for the pipe cannot be assumed by EventBridge Pipes."))
        }
        _ => Ok(()),
    }
}

fn refuse_keys(key: Option<&str>) -> Result<(), Fault> {
    match key.filter(|key| !key.is_empty()) {
        Some(_) => Err(Fault::not_implemented("pipes with KmsKeyIdentifier")),
        None => Ok(()),
    }
}

fn shown<T: WriteShape>(given: Option<T>) -> Value {
    given.map_or_else(|| json!({}), |given| to_value(&given))
}

/// How many events the pipe can take from its source at once.
fn most(target: &str, enrichment: Option<&str>) -> usize {
    let enrichment = enrichment.filter(|arn| !arn.is_empty()).map_or(usize::MAX, most_events);
    most_events(target).min(enrichment)
}

/// The source's block with a batch size where the caller gave none: AWS's default, or what the target takes. AWS shows
/// this default and no other (seen by the acceptance tests of Terraform's provider).
fn with_batch_size(source_arn: &str, most: usize, mut parameters: Value) -> Value {
    let (block, default) = match source_arn.split(':').nth(2) {
        Some("sqs") => ("SqsQueueParameters", 10),
        Some("dynamodb") => ("DynamoDBStreamParameters", 100),
        _ => return parameters,
    };
    // A stream's position has no default.
    if block == "SqsQueueParameters" && parameters.get(block).is_none() {
        parameters[block] = json!({});
    }
    if let Some(given) = parameters.get_mut(block).and_then(Value::as_object_mut) {
        given.entry("BatchSize").or_insert_with(|| most.min(default).into());
    }
    parameters
}

/// An update has no position: the one from the beginning stays.
fn keep_position(there: &Value, given: &mut Value) {
    const BLOCK: &str = "DynamoDBStreamParameters";
    if let (Some(position), Some(block)) =
        (there[BLOCK].get("StartingPosition"), given.get_mut(BLOCK).and_then(Value::as_object_mut))
    {
        block.insert("StartingPosition".into(), position.clone());
    }
}

fn merge(there: &mut Value, given: Value) {
    match (there, given) {
        (Value::Object(there), Value::Object(given)) => there.extend(given),
        (there, given) => *there = given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_added_and_blocks_replaced() {
        let queue = "arn:aws:sqs:us-east-1:000000000000:q";
        let mut row =
            with_batch_size(queue, 10, json!({"SqsQueueParameters": {"BatchSize": 5}, "FilterCriteria": {}}));
        assert_eq!(row["SqsQueueParameters"], json!({"BatchSize": 5}));
        merge(&mut row, json!({"SqsQueueParameters": {"MaximumBatchingWindowInSeconds": 3}}));
        let row = with_batch_size(queue, 10, row);
        let single =
            with_batch_size(queue, most(queue, Some("arn:aws:events:r:0:api-destination/a/b")), json!({}));
        assert_eq!(single["SqsQueueParameters"], json!({"BatchSize": 1}));
        assert_eq!(row["SqsQueueParameters"], json!({"MaximumBatchingWindowInSeconds": 3, "BatchSize": 10}));
        assert_eq!(row["FilterCriteria"], json!({}));
        let stream = |target: &str| {
            let source = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/s";
            with_batch_size(source, most(target, None), json!({"DynamoDBStreamParameters": {}}))
        };
        assert_eq!(stream(queue)["DynamoDBStreamParameters"]["BatchSize"], 10);
        assert_eq!(
            stream("arn:aws:lambda:us-east-1:0:function:f")["DynamoDBStreamParameters"]["BatchSize"],
            100
        );
    }

    #[test]
    fn streams_keep_their_position() {
        let there = json!({"DynamoDBStreamParameters": {"StartingPosition": "LATEST", "BatchSize": 3}});
        let mut given = json!({"DynamoDBStreamParameters": {"BatchSize": 7}});
        keep_position(&there, &mut given);
        assert_eq!(given["DynamoDBStreamParameters"], json!({"BatchSize": 7, "StartingPosition": "LATEST"}));
    }
}
