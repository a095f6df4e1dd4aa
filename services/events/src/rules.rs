//! Rules: made, changed, described.

use tidemill_api::Unit;
use tidemill_event_pattern::Pattern;
use tidemill_platform::{Cx, Fault, page::page};
use tidemill_schedule::Schedule;

use crate::{
    EventBridge, api,
    api::{
        DeleteRuleRequest, DescribeRuleRequest, DescribeRuleResponse, DisableRuleRequest, EnableRuleRequest,
        InvalidEventPatternException, ListRulesRequest, ListRulesResponse, PutRuleRequest, PutRuleResponse,
    },
    buses::{bad_token, over_quota, tags},
    state::{Bus, RuleRow},
    tags::check_any_tags,
};

pub async fn put_rule(
    bridge: &EventBridge,
    cx: &Cx,
    input: PutRuleRequest,
) -> Result<PutRuleResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let arn = bridge.set_rule(cx, &bus, input).await?;
    Ok(PutRuleResponse { rule_arn: Some(arn) })
}

impl EventBridge {
    /// Makes a rule or changes it; its targets stay. Gives its ARN.
    pub async fn set_rule(&self, cx: &Cx, bus: &Bus, input: PutRuleRequest) -> Result<String, Fault> {
        check(bus, &input)?;
        self.check_role(input.role_arn.as_deref())?;
        let most = self.quotas.rules;
        if bus.rules.read().len() >= most && bus.rule(&input.name).is_err() {
            return Err(over_quota());
        }
        let name = input.name.clone();
        let given = tags(input.tags);
        check_any_tags(&given)?;
        let row = self
            .change_rule(bus, &name, |before| {
                let row = RuleRow {
                    arn: rule_arn(bus, &input.name),
                    name: input.name,
                    pattern: input.event_pattern,
                    schedule: input.schedule_expression,
                    state: input.state.map_or_else(|| "ENABLED".into(), |state| state.as_str().into()),
                    description: input.description,
                    role_arn: input.role_arn,
                    created_by: cx.account().into(),
                    created_at: before.map_or(cx.now().millis(), |before| before.created_at),
                    tags: before.map_or(given, |before| before.tags.clone()),
                    targets: before.map(|before| before.targets.clone()).unwrap_or_default(),
                    managed_by: None,
                    archive: None,
                };
                Ok((Some(row.clone()), row))
            })
            .await?;
        self.plan(bus, &row);
        Ok(row.arn)
    }
}

/// `rule/<name>` on the default bus, `rule/<bus>/<name>` on others.
pub fn rule_arn(bus: &Bus, name: &str) -> String {
    let of = bus.row.read().name.clone();
    let resource = if of == "default" { format!("rule/{name}") } else { format!("rule/{of}/{name}") };
    tidemill_platform::Arn { resource, ..bus.arn.clone() }.to_string()
}

fn check(bus: &Bus, input: &PutRuleRequest) -> Result<(), Fault> {
    if input.event_pattern.is_none() && input.schedule_expression.is_none() {
        return Err(Fault::validation("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    }
    if let Some(pattern) = &input.event_pattern {
        Pattern::parse(pattern).map_err(|error| InvalidEventPatternException::new(error.to_string()))?;
    }
    if let Some(schedule) = &input.schedule_expression {
        if bus.row.read().name != "default" {
            return Err(Fault::validation("ScheduleExpression is supported only on the default event bus."));
        }
        Schedule::parse_for_rule(schedule).map_err(|error| Fault::validation(error.to_string()))?;
    }
    Ok(())
}

pub async fn delete_rule(bridge: &EventBridge, cx: &Cx, input: DeleteRuleRequest) -> Result<Unit, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    if bus.rule(&input.name).is_err() {
        // What is not there is deleted already.
        return Ok(Unit);
    }
    bridge
        .change_rule(&bus, &input.name, |before| match before {
            Some(rule) if !rule.targets.is_empty() => {
                Err(Fault::validation("Rule can't be deleted since it has targets."))
            }
            _ => Ok((None, Unit)),
        })
        .await
}

pub async fn describe_rule(
    bridge: &EventBridge,
    cx: &Cx,
    input: DescribeRuleRequest,
) -> Result<DescribeRuleResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let row = bus.rule(&input.name)?.row.clone();
    Ok(DescribeRuleResponse {
        name: Some(row.name),
        arn: Some(row.arn),
        event_pattern: row.pattern,
        schedule_expression: row.schedule,
        state: Some(row.state.as_str().into()),
        description: row.description,
        role_arn: row.role_arn,
        event_bus_name: Some(bus.row.read().name.clone()),
        created_by: Some(row.created_by),
        managed_by: row.managed_by,
    })
}

pub async fn enable_rule(bridge: &EventBridge, cx: &Cx, input: EnableRuleRequest) -> Result<Unit, Fault> {
    set_state(bridge, cx, &input.name, input.event_bus_name.as_deref(), "ENABLED").await
}

pub async fn disable_rule(bridge: &EventBridge, cx: &Cx, input: DisableRuleRequest) -> Result<Unit, Fault> {
    set_state(bridge, cx, &input.name, input.event_bus_name.as_deref(), "DISABLED").await
}

async fn set_state(
    bridge: &EventBridge,
    cx: &Cx,
    name: &str,
    bus: Option<&str>,
    state: &str,
) -> Result<Unit, Fault> {
    let bus = bridge.bus(cx, bus)?;
    let row = bridge
        .change_rule(&bus, name, |before| {
            let before = before.ok_or_else(|| bus.no_rule(name))?;
            let row = RuleRow { state: state.into(), ..before.clone() };
            Ok((Some(row.clone()), row))
        })
        .await?;
    bridge.plan(&bus, &row);
    Ok(Unit)
}

pub async fn list_rules(
    bridge: &EventBridge,
    cx: &Cx,
    input: ListRulesRequest,
) -> Result<ListRulesResponse, Fault> {
    let bus = bridge.bus(cx, input.event_bus_name.as_deref())?;
    let of = bus.row.read().name.clone();
    let prefix = input.name_prefix.unwrap_or_default();
    let rules = bus.rules.read();
    let named = rules.values().filter(|rule| rule.row.name.starts_with(&prefix));
    let limit = usize::try_from(input.limit.unwrap_or(100)).unwrap_or(100);
    let page = page(named, |rule| rule.row.name.clone(), input.next_token.as_deref(), limit)
        .ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|rule| {
        let row = rule.row.clone();
        api::Rule {
            name: Some(row.name),
            arn: Some(row.arn),
            event_pattern: row.pattern,
            state: Some(row.state.as_str().into()),
            description: row.description,
            schedule_expression: row.schedule,
            role_arn: row.role_arn,
            event_bus_name: Some(of.clone()),
            managed_by: row.managed_by,
        }
    });
    Ok(ListRulesResponse { rules: Some(shown.collect()), next_token: page.next_token })
}
