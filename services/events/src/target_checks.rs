//! What can be a target of a rule: its ARN, the role it needs, the parameters that go with it.
//! Sources: "Event bus targets in Amazon EventBridge", "Sending events to an AWS service in another account" and
//! `Target` of the API reference; the sentences are those AWS was seen to answer, where it was.

use std::collections::BTreeSet;

use tidemill_input_transformer::InputPath;
use tidemill_platform::Fault;

use crate::{
    EventBridge, api,
    buses::check_queue,
    http_request::{HttpRow, is_path},
    state::{Bus, Ready, TargetRow},
};

/// Services whose resources in another account can be targets.
const ACROSS_ACCOUNTS: [&str; 3] = ["lambda", "sns", "sqs"];

/// In one request each id is there once.
pub fn check_ids(targets: &[api::Target]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    match targets.iter().find(|target| !seen.insert(&target.id)) {
        Some(target) => Err(Fault::validation(format!(
            "Parameter Targets is not valid. Reason: Id {} is there more than once.",
            target.id
        ))),
        None => Ok(()),
    }
}

impl EventBridge {
    /// Where keys and roles are enforced, a role has to be there.
    pub fn check_role(&self, role_arn: Option<&str>) -> Result<(), Fault> {
        let identity = self.platform.doors.identity.get().filter(|_| self.platform.config.enforce);
        match (identity, role_arn) {
            (Some(identity), Some(role)) if identity.role_id(role).is_none() => Err(Fault::validation(
                format!("Provided role '{role}' cannot be assumed by principal 'events.amazonaws.com'."),
            )),
            _ => Ok(()),
        }
    }

    /// A target that can be honoured, or what is wrong with it.
    pub fn checked(&self, bus: &Bus, target: api::Target) -> Result<TargetRow, Fault> {
        check_known(&target)?;
        self.check_role(target.role_arn.as_deref())?;
        let ready = Ready::of(row(target)?)?;
        self.check_service(&ready)?;
        check_reach(bus, &ready)?;
        check_parameters(&ready)?;
        Ok(ready.row)
    }

    fn check_service(&self, target: &Ready) -> Result<(), Fault> {
        let service = target.arn.service.as_str();
        let is_known = match service {
            "events" => is_bus(target) || is_destination(target),
            "logs" => target.arn.resource.starts_with("log-group:"),
            _ => self.delivery.takes(service),
        };
        if is_known { Ok(()) } else { Err(Fault::not_implemented(format!("targets of service {service}"))) }
    }
}

/// Parameters of targets that are not there.
fn check_known(target: &api::Target) -> Result<(), Fault> {
    for (what, given) in [
        ("KinesisParameters", target.kinesis_parameters.is_some()),
        ("RunCommandParameters", target.run_command_parameters.is_some()),
        ("EcsParameters", target.ecs_parameters.is_some()),
        ("BatchParameters", target.batch_parameters.is_some()),
        ("RedshiftDataParameters", target.redshift_data_parameters.is_some()),
        ("SageMakerPipelineParameters", target.sage_maker_pipeline_parameters.is_some()),
        ("AppSyncParameters", target.app_sync_parameters.is_some()),
    ] {
        if given {
            return Err(Fault::not_implemented(format!("targets with {what}")));
        }
    }
    Ok(())
}

fn row(target: api::Target) -> Result<TargetRow, Fault> {
    if let Some(text) = &target.input
        && serde_json::from_str::<serde_json::Value>(text).is_err()
    {
        return Err(Fault::validation(format!("JSON syntax error in input for target {}", target.id)));
    }
    let retry = target.retry_policy.unwrap_or_default();
    let dead_letter_arn = target.dead_letter_config.and_then(|config| config.arn);
    dead_letter_arn.as_deref().map_or(Ok(()), check_queue)?;
    Ok(TargetRow {
        id: target.id,
        arn: target.arn,
        role_arn: target.role_arn,
        input: target.input,
        input_path: target.input_path,
        transformer: target
            .input_transformer
            .map(|one| (one.input_paths_map.unwrap_or_default(), one.input_template)),
        group_id: target.sqs_parameters.and_then(|one| one.message_group_id),
        retry_attempts: retry.maximum_retry_attempts,
        max_age_s: retry.maximum_event_age_in_seconds,
        dead_letter_arn,
        http: target.http_parameters.map(http),
    })
}

fn http(given: api::HttpParameters) -> HttpRow {
    HttpRow {
        path: given.path_parameter_values.unwrap_or_default(),
        headers: given.header_parameters.unwrap_or_default(),
        query: given.query_string_parameters.unwrap_or_default(),
    }
}

fn is_bus(target: &Ready) -> bool {
    target.arn.service == "events" && target.arn.resource.starts_with("event-bus/")
}

fn is_destination(target: &Ready) -> bool {
    target.arn.service == "events" && target.arn.resource.starts_with("api-destination/")
}

/// What is in another Region or account is reached by buses, queues, topics and functions only, and with a role; so are
/// API destinations.
fn check_reach(bus: &Bus, target: &Ready) -> Result<(), Fault> {
    let (from, to, arn) = (&bus.arn, &target.arn, &target.row.arn);
    let (is_abroad, is_foreign) = (from.region != to.region, from.account != to.account);
    if is_abroad && !is_bus(target) {
        return Err(Fault::validation(format!(
            "Parameter {arn} is not valid. Reason: The target must be in the same Region as the rule, {}.",
            from.region
        )));
    }
    if is_foreign && !is_bus(target) && !ACROSS_ACCOUNTS.contains(&to.service.as_str()) {
        return Err(Fault::new(
            "AccessDeniedException",
            format!(
                "Access to the resource {arn} is denied. Reason: Adding cross-account target is not permitted."
            ),
        ));
    }
    let needs_role = is_abroad || is_foreign || is_destination(target);
    if needs_role && target.row.role_arn.is_none() {
        return Err(Fault::validation(format!("RoleArn is required for target {arn}.")));
    }
    Ok(())
}

/// Parameters belong to targets of their kind.
fn check_parameters(target: &Ready) -> Result<(), Fault> {
    let (row, id) = (&target.row, &target.row.id);
    if let Some(http) = &row.http {
        check_http(http, is_destination(target), id)?;
    }
    let is_queue = target.arn.service == "sqs";
    match &row.group_id {
        Some(_) if !is_queue => {
            Err(Fault::validation(format!("Parameter(s) SqsParameters not supported for target: {id}.")))
        }
        None if is_queue && target.arn.resource.ends_with(".fifo") => {
            Err(Fault::validation(format!("Parameter(s) MessageGroupId must be specified for target: {id}.")))
        }
        _ => Ok(()),
    }
}

fn check_http(http: &HttpRow, is_destination: bool, id: &str) -> Result<(), Fault> {
    if !is_destination {
        return Err(Fault::validation(format!(
            "HttpParameters are only supported for API destinations. Target: {id}."
        )));
    }
    let values = http.path.iter().chain(http.headers.values()).chain(http.query.values());
    for value in values.filter(|value| is_path(value)) {
        if InputPath::parse(value).is_err() {
            return Err(Fault::validation(format!(
                "Invalid path {value} in HttpParameters for target {id}."
            )));
        }
    }
    Ok(())
}
