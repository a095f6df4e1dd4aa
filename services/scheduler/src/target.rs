//! What a schedule may call, and with which parameters.

use serde_json::Value;
use tidemill_platform::{Arn, Cx, Fault};

use crate::{Scheduler, api, rows::TargetRow, universal};

/// Services with templated targets on AWS that are no targets here.
const ELSEWHERE: &[&str] =
    &["codebuild", "codepipeline", "ecs", "firehose", "inspector", "kinesis", "sagemaker", "states"];
/// The longest input, in bytes.
const LONGEST_INPUT: usize = 256 << 10;

/// Services with templated targets.
const TEMPLATED: &[&str] = &["events", "lambda", "sns", "sqs", "states"];

impl Scheduler {
    /// A target that can be called, or what is wrong with it.
    pub fn checked_target(&self, cx: &Cx, given: api::Target) -> Result<TargetRow, Fault> {
        let bad_arn = || Fault::validation("Provided Arn is not in correct format.");
        let arn: Arn = given.arn.parse().map_err(|_| bad_arn())?;
        self.check_role(&given.role_arn)?;
        check_input(&arn, given.input.as_deref())?;
        check_parameters(&arn, &given)?;
        match universal::Call::named(&given.arn) {
            Some(call) => call.check(&self.platform)?,
            None => self.check_templated(cx, &arn)?,
        }
        let retry = given.retry_policy.unwrap_or_default();
        Ok(TargetRow {
            arn: given.arn,
            role_arn: given.role_arn,
            input: given.input,
            retry_attempts: retry.maximum_retry_attempts.and_then(|number| u32::try_from(number).ok()),
            max_age_s: retry.maximum_event_age_in_seconds.map(i64::from),
            dead_letter_arn: given.dead_letter_config.and_then(|config| config.arn),
            group_id: given.sqs_parameters.and_then(|one| one.message_group_id),
            event: given.event_bridge_parameters.map(|one| (one.detail_type, one.source)),
        })
    }

    /// Where keys and roles are enforced, the execution role has to be there.
    fn check_role(&self, role_arn: &str) -> Result<(), Fault> {
        let identity = self.platform.doors.identity.get().filter(|_| self.platform.config.enforce);
        match identity {
            Some(identity) if identity.role_id(role_arn).is_none() => Err(Fault::validation(
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
            )),
            _ => Ok(()),
        }
    }

    fn check_templated(&self, cx: &Cx, arn: &Arn) -> Result<(), Fault> {
        let service = arn.service.as_str();
        if !(TEMPLATED.contains(&service) && self.delivery.takes(service)) {
            return Err(if ELSEWHERE.contains(&service) {
                Fault::not_implemented(format!("schedules with targets of {service}"))
            } else {
                Fault::validation(format!("{service} is not a supported service for a target."))
            });
        }
        if arn.region != cx.region() {
            return Err(Fault::validation(format!(
                "The target ARN provided does not match the current region {}.",
                cx.region()
            )));
        }
        Ok(())
    }
}

fn check_input(arn: &Arn, input: Option<&str>) -> Result<(), Fault> {
    let is_universal = arn.service == "scheduler";
    let Some(text) = input else {
        return if is_universal {
            Err(Fault::validation("You must provide an input to set this target for your schedule"))
        } else {
            Ok(())
        };
    };
    if text.len() > LONGEST_INPUT {
        return Err(Fault::validation(format!(
            "The input for the target is longer than {LONGEST_INPUT} bytes"
        )));
    }
    // Queues and topics take any text.
    if matches!(arn.service.as_str(), "sqs" | "sns") {
        return Ok(());
    }
    let parsed: Result<Value, _> = serde_json::from_str(text);
    let must_be_object = is_universal || arn.service == "events";
    match parsed {
        Ok(value) if value.is_object() || !must_be_object => Ok(()),
        _ => Err(Fault::validation("JSON syntax error in input for the target")),
    }
}

/// Each block of parameters belongs to targets of one service.
fn check_parameters(arn: &Arn, given: &api::Target) -> Result<(), Fault> {
    for (what, is_given, service) in [
        ("EcsParameters", given.ecs_parameters.is_some(), "ecs"),
        ("EventBridgeParameters", given.event_bridge_parameters.is_some(), "events"),
        ("KinesisParameters", given.kinesis_parameters.is_some(), "kinesis"),
        ("SageMakerPipelineParameters", given.sage_maker_pipeline_parameters.is_some(), "sagemaker"),
        ("SqsParameters", given.sqs_parameters.is_some(), "sqs"),
    ] {
        if is_given && arn.service != service {
            return Err(Fault::validation(format!("Parameters {what} not supported for the target")));
        }
    }
    if arn.service == "events" && given.event_bridge_parameters.is_none() {
        return Err(Fault::validation("Parameters EventBridgeParameters must be specified"));
    }
    let has_group = given.sqs_parameters.as_ref().is_some_and(|one| one.message_group_id.is_some());
    match (arn.service == "sqs", arn.resource.ends_with(".fifo")) {
        (true, true) if !has_group => Err(Fault::validation("Parameters SqsParameters must be specified")),
        (true, false) if has_group => {
            Err(Fault::validation("Parameters MessageGroupId not valid for the target"))
        }
        _ => Ok(()),
    }
}
