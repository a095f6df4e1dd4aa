//! Targets of rules: set, removed, listed. `target_checks` says which ones can be.

use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    EventBridge, api,
    api::{
        ListRuleNamesByTargetRequest, ListRuleNamesByTargetResponse, ListTargetsByRuleRequest,
        ListTargetsByRuleResponse, PutTargetsRequest, PutTargetsResponse, RemoveTargetsRequest,
        RemoveTargetsResponse, RemoveTargetsResultEntry,
    },
    buses::{bad_token, over_quota},
    state::{Bus, TargetRow},
    target_checks::check_ids,
};

/// Targets of a rule. Source: "Amazon EventBridge quotas".
const MOST_TARGETS: usize = 5;

pub async fn put_targets(
    bridge: &EventBridge,
    cx: &Cx,
    input: PutTargetsRequest,
) -> Result<PutTargetsResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let rows = bridge.checked_targets(&bus, input.targets)?;
    bridge.set_targets(&bus, &input.rule, rows, false).await?;
    Ok(PutTargetsResponse { failed_entry_count: Some(0), failed_entries: Some(Vec::new()) })
}

impl EventBridge {
    /// Targets that a rule of the bus can have.
    pub fn checked_targets(&self, bus: &Bus, targets: Vec<api::Target>) -> Result<Vec<TargetRow>, Fault> {
        check_ids(&targets)?;
        if targets.len() > MOST_TARGETS {
            return Err(over_quota());
        }
        targets.into_iter().map(|target| self.checked(bus, target)).collect()
    }

    /// Adds targets to a rule, or replaces them all; those of the same id are replaced.
    pub async fn set_targets(
        &self,
        bus: &Bus,
        rule: &str,
        rows: Vec<TargetRow>,
        replace: bool,
    ) -> Result<(), Fault> {
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
                return Err(over_quota());
            }
            Ok((Some(row), ()))
        })
        .await
    }
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
