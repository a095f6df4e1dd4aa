//! Targets of rules.

use tidemill_input_transformer::InputPath;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    EventBridge, api,
    api::{
        LimitExceededException, ListRuleNamesByTargetRequest, ListRuleNamesByTargetResponse,
        ListTargetsByRuleRequest, ListTargetsByRuleResponse, PutTargetsRequest, PutTargetsResponse,
        RemoveTargetsRequest, RemoveTargetsResponse, RemoveTargetsResultEntry,
    },
    buses::{bad_token, check_queue},
    http_request::{HttpRow, is_path},
    state::{Bus, Ready, TargetRow},
};

const MOST_TARGETS: usize = 5;

pub async fn put_targets(
    bridge: &EventBridge,
    cx: &Cx,
    input: PutTargetsRequest,
) -> Result<PutTargetsResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    bridge.set_targets(&bus, &input.rule, input.targets, false).await?;
    Ok(PutTargetsResponse { failed_entry_count: Some(0), failed_entries: Some(Vec::new()) })
}

impl EventBridge {
    /// Adds targets to a rule, or replaces them all; those of the same id are replaced.
    pub async fn set_targets(
        &self,
        bus: &Bus,
        rule: &str,
        targets: Vec<api::Target>,
        replace: bool,
    ) -> Result<(), Fault> {
        let mut rows = Vec::new();
        for target in targets {
            rows.push(self.checked(target)?);
        }
        self.change_rule(bus, rule, |before| {
            let mut row = before.cloned().ok_or_else(|| bus.no_rule(rule))?;
            if replace {
                row.targets.clear();
            }
            for target in rows {
                row.targets.retain(|other| other.id != target.id);
                row.targets.push(target);
            }
            if row.targets.len() > MOST_TARGETS {
                return Err(LimitExceededException::new(
                    "The requested resource exceeds the maximum number allowed.",
                )
                .into());
            }
            Ok((Some(row), ()))
        })
        .await
    }

    /// A target that can be honoured, or what is wrong with it.
    fn checked(&self, target: api::Target) -> Result<TargetRow, Fault> {
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
        if let Some(text) = &target.input
            && serde_json::from_str::<serde_json::Value>(text).is_err()
        {
            return Err(Fault::validation(format!("JSON syntax error in input for target {}", target.id)));
        }
        let retry = target.retry_policy.unwrap_or_default();
        let dead_letter_arn = target.dead_letter_config.and_then(|config| config.arn);
        dead_letter_arn.as_deref().map_or(Ok(()), check_queue)?;
        let row = TargetRow {
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
        };
        let ready = Ready::of(row)?;
        let service = ready.arn.service.as_str();
        if !self.delivery.takes(service) && service != "logs" {
            return Err(Fault::not_implemented(format!("targets of service {service}")));
        }
        let is_http = service == "events" && ready.arn.resource.starts_with("api-destination/");
        if let Some(http) = &ready.row.http {
            check_http(http, is_http, &ready.row.id)?;
        }
        if service == "sqs" && ready.arn.resource.ends_with(".fifo") && ready.row.group_id.is_none() {
            let id = &ready.row.id;
            return Err(Fault::validation(format!(
                "Parameter(s) MessageGroupId must be specified for target: {id}."
            )));
        }
        Ok(ready.row)
    }
}

fn http(given: api::HttpParameters) -> HttpRow {
    HttpRow {
        path: given.path_parameter_values.unwrap_or_default(),
        headers: given.header_parameters.unwrap_or_default(),
        query: given.query_string_parameters.unwrap_or_default(),
    }
}

fn check_http(http: &HttpRow, is_http: bool, id: &str) -> Result<(), Fault> {
    if !is_http {
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

pub async fn remove_targets(
    bridge: &EventBridge,
    cx: &Cx,
    input: RemoveTargetsRequest,
) -> Result<RemoveTargetsResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let missing = bridge
        .change_rule(&bus, &input.rule, |before| {
            let mut row = before.cloned().ok_or_else(|| bus.no_rule(&input.rule))?;
            let is_there = |id: &&String| row.targets.iter().any(|target| target.id == **id);
            let missing: Vec<String> = input.ids.iter().filter(|id| !is_there(id)).cloned().collect();
            row.targets.retain(|target| !input.ids.contains(&target.id));
            Ok((Some(row), missing))
        })
        .await?;
    let rule = &input.rule;
    let failed: Vec<RemoveTargetsResultEntry> = missing
        .into_iter()
        .map(|id| RemoveTargetsResultEntry {
            error_code: Some("ResourceNotFoundException".into()),
            error_message: Some(format!("Rule {rule} does not have target with Id {id}.")),
            target_id: Some(id),
        })
        .collect();
    Ok(RemoveTargetsResponse {
        failed_entry_count: i32::try_from(failed.len()).ok(),
        failed_entries: Some(failed),
    })
}

pub async fn list_targets_by_rule(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListTargetsByRuleRequest,
) -> Result<ListTargetsByRuleResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let rule = bus.rule(&input.rule)?;
    let mut targets: Vec<&TargetRow> = rule.row.targets.iter().collect();
    targets.sort_by(|a, b| a.id.cmp(&b.id));
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page = page(targets, |target| target.id.clone(), input.next_token.as_deref(), limit)
        .ok_or_else(bad_token)?;
    Ok(ListTargetsByRuleResponse {
        targets: Some(page.items.into_iter().map(wire).collect()),
        next_token: page.next_token,
    })
}

fn wire(row: &TargetRow) -> api::Target {
    let retries = (row.retry_attempts.is_some() || row.max_age_s.is_some()).then_some(api::RetryPolicy {
        maximum_retry_attempts: row.retry_attempts,
        maximum_event_age_in_seconds: row.max_age_s,
    });
    api::Target {
        id: row.id.clone(),
        arn: row.arn.clone(),
        role_arn: row.role_arn.clone(),
        input: row.input.clone(),
        input_path: row.input_path.clone(),
        input_transformer: row.transformer.clone().map(|(paths, template)| api::InputTransformer {
            input_paths_map: (!paths.is_empty()).then_some(paths),
            input_template: template,
        }),
        sqs_parameters: row
            .group_id
            .clone()
            .map(|group| api::SqsParameters { message_group_id: Some(group) }),
        dead_letter_config: row.dead_letter_arn.clone().map(|arn| api::DeadLetterConfig { arn: Some(arn) }),
        retry_policy: retries,
        http_parameters: row.http.clone().map(|http| api::HttpParameters {
            path_parameter_values: (!http.path.is_empty()).then_some(http.path),
            header_parameters: (!http.headers.is_empty()).then_some(http.headers),
            query_string_parameters: (!http.query.is_empty()).then_some(http.query),
        }),
        ..api::Target::default()
    }
}

pub async fn list_rule_names_by_target(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListRuleNamesByTargetRequest,
) -> Result<ListRuleNamesByTargetResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let rules = bus.rules.read();
    let using =
        rules.values().filter(|rule| rule.row.targets.iter().any(|target| target.arn == input.target_arn));
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let names = using.map(|rule| rule.row.name.clone());
    let page = page(names, Clone::clone, input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    Ok(ListRuleNamesByTargetResponse { rule_names: Some(page.items), next_token: page.next_token })
}
