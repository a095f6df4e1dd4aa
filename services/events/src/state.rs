//! What EventBridge keeps: buses and their rules, in memory ready to match and in the store. The default bus of an
//! account and region is always there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidemill_delivery::Delivery;
use tidemill_event_pattern::{Matcher, Pattern};
use tidemill_input_transformer::{InputPath, InputTransformer};
use tidemill_outbound::Outbound;
use tidemill_platform::{Arn, Cx, Fault, Platform, Timers};
use tidemill_store::{Batch, Damaged, Partition, Table};

use crate::{
    Quotas,
    api::{ManagedRuleException, ResourceNotFoundException},
    archives::ArchiveRow,
    authorization::Tokens,
    connections::ConnectionRow,
    destinations::DestinationRow,
    http_request::HttpRow,
    pace::Pace,
    replays::ReplayRow,
    shelf::Shelf,
    vault::Vaults,
};

/// ARN → bus; everything of a bus is in the partition of its ARN.
const BUSES: Table<String, BusRow> = Table::new("events.bus");
/// (bus ARN, name) → rule with its targets.
const RULES: Table<(String, String), RuleRow> = Table::new("events.rule");
/// ARN without id → connection, API destination.
const CONNECTIONS: Table<String, ConnectionRow> = Table::new("events.connection");
const DESTINATIONS: Table<String, DestinationRow> = Table::new("events.destination");
/// ARN → archive, replay.
const ARCHIVES: Table<String, ArchiveRow> = Table::new("events.archive");
const REPLAYS: Table<String, ReplayRow> = Table::new("events.replay");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BusRow {
    pub name: String,
    pub arn: String,
    pub account: String,
    pub region: String,
    pub description: Option<String>,
    pub policy: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub created_at: i64,
    pub changed_at: i64,
    #[serde(default)]
    pub dead_letter_arn: Option<String>,
    /// `IncludeDetail` of the log configuration, where there is one; its level is `OFF`.
    #[serde(default)]
    pub log_detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleRow {
    pub name: String,
    pub arn: String,
    pub pattern: Option<String>,
    pub schedule: Option<String>,
    pub state: String,
    pub description: Option<String>,
    pub role_arn: Option<String>,
    pub created_by: String,
    pub created_at: i64,
    pub tags: BTreeMap<String, String>,
    pub targets: Vec<TargetRow>,
    /// The service that made the rule, and whose it is. Such rules are made anew at each start.
    #[serde(default)]
    pub managed_by: Option<String>,
    /// ARN of the archive that the rule feeds.
    #[serde(default)]
    pub archive: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetRow {
    pub id: String,
    pub arn: String,
    pub role_arn: Option<String>,
    pub input: Option<String>,
    pub input_path: Option<String>,
    /// Paths by name, and the template.
    pub transformer: Option<(BTreeMap<String, String>, String)>,
    pub group_id: Option<String>,
    pub retry_attempts: Option<i32>,
    pub max_age_s: Option<i32>,
    pub dead_letter_arn: Option<String>,
    #[serde(default)]
    pub http: Option<HttpRow>,
}

/// A rule ready to be used.
pub struct Rule {
    pub row: RuleRow,
    pub targets: Vec<Ready>,
}

/// A target with everything parsed.
pub struct Ready {
    pub row: TargetRow,
    pub arn: Arn,
    pub input: Input,
}

/// What a target receives.
pub enum Input {
    Event,
    Constant(String),
    Path(InputPath),
    Transformed(InputTransformer),
}

pub struct Bus {
    /// Its ARN as a text.
    pub id: String,
    pub arn: Arn,
    pub row: RwLock<BusRow>,
    pub rules: RwLock<BTreeMap<String, Arc<Rule>>>,
    /// Enabled rules with a pattern, by name.
    pub matcher: Matcher<Arc<str>>,
}

pub struct EventBridge {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    pub quotas: Quotas,
    pub me: Weak<EventBridge>,
    buses: RwLock<BTreeMap<String, Arc<Bus>>>,
    /// (bus ARN, rule) of scheduled rules.
    pub timers: Timers<(String, String, i64)>,
    /// (bus ARN, rule) → the last run, in milliseconds since 1970.
    pub fired: Mutex<BTreeMap<(String, String), i64>>,
    pub connections: Shelf<ConnectionRow>,
    pub destinations: Shelf<DestinationRow>,
    pub tokens: Tokens,
    pub pace: Pace,
    pub outbound: Outbound,
    pub archives: Shelf<ArchiveRow>,
    pub replays: Shelf<ReplayRow>,
    pub vaults: Vaults,
    pub using_archives: Mutex<()>,
    /// (ARN, moment) of archives whose oldest event is due to go.
    pub retention: Timers<(String, i64)>,
}

impl EventBridge {
    pub fn open(
        platform: Arc<Platform>,
        delivery: Delivery,
        quotas: Quotas,
    ) -> Result<Arc<EventBridge>, Damaged> {
        let mut buses = BTreeMap::new();
        for partition in Partition::ALL {
            for (arn, row) in platform.store.all(&BUSES, partition)? {
                buses.extend(Bus::of(row).map(|bus| (arn, bus)));
            }
            for ((arn, name), row) in platform.store.all(&RULES, partition)? {
                let bus = buses.get(&arn).cloned().or_else(|| Bus::of(default_row(&arn)?));
                let (Some(bus), Ok(rule)) = (bus, Rule::of(row)) else { continue };
                buses.insert(arn, bus.clone());
                bus.use_rule(&name, Some(rule));
            }
        }
        let connections = Shelf::open(CONNECTIONS, &platform.store)?;
        let destinations = Shelf::open(DESTINATIONS, &platform.store)?;
        let archives = Shelf::open(ARCHIVES, &platform.store)?;
        let replays = Shelf::open(REPLAYS, &platform.store)?;
        let bridge = Arc::new_cyclic(|me: &Weak<EventBridge>| {
            let fired = me.clone();
            let timers =
                Timers::new(platform.clock.clone(), move |(bus, rule, at): (String, String, i64)| {
                    if let Some(bridge) = fired.upgrade() {
                        bridge.fire(&bus, &rule, at);
                    }
                });
            let expired = me.clone();
            let retention = Timers::new(platform.clock.clone(), move |(archive, at): (String, i64)| {
                if let Some(bridge) = expired.upgrade() {
                    bridge.expire_later(archive, at);
                }
            });
            EventBridge {
                platform,
                delivery,
                quotas,
                me: me.clone(),
                buses: RwLock::new(buses),
                timers,
                fired: Mutex::default(),
                connections,
                destinations,
                tokens: Tokens::default(),
                pace: Pace::default(),
                outbound: Outbound::new(),
                archives,
                replays,
                vaults: Vaults::default(),
                using_archives: Mutex::default(),
                retention,
            }
        });
        for archive in bridge.archives.all() {
            if let Err(fault) = bridge.use_archive(&archive.arn) {
                tracing::error!(%fault, archive = archive.arn, "an archive cannot be used");
            }
        }
        Ok(bridge)
    }

    /// The bus that a request names, by name or ARN; the default one when it names none.
    pub fn bus(&self, cx: &Cx, named: Option<&str>) -> Result<Arc<Bus>, Fault> {
        let name = named.unwrap_or("default");
        let arn = if name.starts_with("arn:") {
            name.to_string()
        } else {
            cx.arn("events", format!("event-bus/{name}")).to_string()
        };
        self.by_arn(&arn).ok_or_else(|| {
            let short = name.rsplit('/').next().unwrap_or(name);
            ResourceNotFoundException::new(format!("Event bus {short} does not exist.")).into()
        })
    }

    pub fn by_arn(&self, arn: &str) -> Option<Arc<Bus>> {
        if let Some(bus) = self.buses.read().get(arn) {
            return Some(bus.clone());
        }
        let bus = Bus::of(default_row(arn)?)?;
        Some(self.buses.write().entry(arn.into()).or_insert(bus).clone())
    }

    pub fn of_caller(&self, cx: &Cx) -> Vec<Arc<Bus>> {
        let _ = self.bus(cx, None);
        let prefix = cx.arn("events", "event-bus/").to_string();
        let buses = self.buses.read();
        buses
            .range(prefix.clone()..)
            .take_while(|(arn, _)| arn.starts_with(&prefix))
            .map(|(_, bus)| bus.clone())
            .collect()
    }

    pub fn all(&self) -> Vec<Arc<Bus>> {
        self.buses.read().values().cloned().collect()
    }

    /// Puts a bus beside the others; `false` when there is one of its name.
    pub async fn insert(&self, row: BusRow) -> Result<bool, Fault> {
        let ticket = {
            let mut buses = self.buses.write();
            if buses.contains_key(&row.arn) || row.name == "default" {
                return Ok(false);
            }
            let ticket = self.platform.submit(written(&row))?;
            buses.extend(Bus::of(row.clone()).map(|bus| (row.arn, bus)));
            ticket
        };
        ticket.await;
        Ok(true)
    }

    pub async fn remove(&self, arn: &str) -> Result<(), Fault> {
        let ticket = {
            let mut buses = self.buses.write();
            let mut batch = Batch::new(Partition::of(arn));
            batch.delete(&BUSES, &arn.to_string());
            let ticket = self.platform.submit(batch)?;
            buses.remove(arn);
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub async fn change_bus(
        &self,
        bus: &Bus,
        decide: impl FnOnce(&mut BusRow) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let ticket = {
            let mut row = bus.row.write();
            let mut next = row.clone();
            decide(&mut next)?;
            let ticket = self.platform.submit(written(&next))?;
            *row = next;
            ticket
        };
        ticket.await;
        Ok(())
    }

    /// Decides on a rule (`None`: away with it) under the lock; gives what the decision answers when it is durable.
    pub async fn change_rule<T>(
        &self,
        bus: &Bus,
        name: &str,
        decide: impl FnOnce(Option<&RuleRow>) -> Result<(Option<RuleRow>, T), Fault>,
    ) -> Result<T, Fault> {
        let (ticket, answer) = {
            let mut rules = bus.rules.write();
            let before = rules.get(name).map(|rule| &rule.row);
            if let Some(manager) = before.and_then(|row| row.managed_by.as_deref()) {
                return Err(ManagedRuleException::new(format!(
                    "Rule {name} is managed by {manager} and cannot be changed."
                ))
                .into());
            }
            let (next, answer) = decide(before)?;
            let key = (bus.arn.to_string(), name.to_string());
            let mut batch = Batch::new(Partition::of(&key.0));
            let rule = next.map(Rule::of).transpose()?;
            match &rule {
                Some(rule) => batch.put(&RULES, &key, &rule.row),
                None => batch.delete(&RULES, &key),
            };
            let ticket = self.platform.submit(batch)?;
            bus.use_in(&mut rules, name, rule);
            (ticket, answer)
        };
        ticket.await;
        Ok(answer)
    }
}

fn written(row: &BusRow) -> Batch {
    let mut batch = Batch::new(Partition::of(&row.arn));
    batch.put(&BUSES, &row.arn, row);
    batch
}

/// The row of a default bus; `None` for other buses.
fn default_row(arn: &str) -> Option<BusRow> {
    let parsed: Arn = arn.parse().ok()?;
    (parsed.service == "events" && parsed.resource == "event-bus/default").then(|| BusRow {
        name: "default".into(),
        arn: arn.into(),
        account: parsed.account,
        region: parsed.region,
        description: None,
        policy: None,
        tags: BTreeMap::new(),
        created_at: 0,
        changed_at: 0,
        dead_letter_arn: None,
        log_detail: None,
    })
}

impl Bus {
    fn of(row: BusRow) -> Option<Arc<Bus>> {
        let arn = row.arn.parse().ok()?;
        Some(Arc::new(Bus {
            id: row.arn.clone(),
            arn,
            row: RwLock::new(row),
            rules: RwLock::default(),
            matcher: Matcher::new(),
        }))
    }

    /// Makes a rule what is given, in memory only.
    pub fn use_rule(&self, name: &str, rule: Option<Rule>) {
        self.use_in(&mut self.rules.write(), name, rule);
    }

    fn use_in(&self, rules: &mut BTreeMap<String, Arc<Rule>>, name: &str, rule: Option<Rule>) {
        let pattern =
            rule.as_ref().filter(|rule| rule.row.is_enabled()).and_then(|rule| rule.row.pattern.as_deref());
        match pattern.and_then(|pattern| Pattern::parse(pattern).ok()) {
            Some(pattern) => self.matcher.add(Arc::from(name), &pattern),
            None => drop(self.matcher.remove(&Arc::from(name))),
        }
        match rule {
            Some(rule) => drop(rules.insert(name.into(), Arc::new(rule))),
            None => drop(rules.remove(name)),
        }
    }

    pub fn rule(&self, name: &str) -> Result<Arc<Rule>, Fault> {
        self.rules.read().get(name).cloned().ok_or_else(|| self.no_rule(name))
    }

    pub fn no_rule(&self, name: &str) -> Fault {
        let bus = self.row.read().name.clone();
        ResourceNotFoundException::new(format!("Rule {name} does not exist on EventBus {bus}.")).into()
    }
}

impl RuleRow {
    pub fn is_enabled(&self) -> bool {
        self.state != "DISABLED"
    }
}

impl Rule {
    pub fn of(row: RuleRow) -> Result<Rule, Fault> {
        let targets = row.targets.iter().cloned().map(Ready::of).collect::<Result<_, _>>()?;
        Ok(Rule { row, targets })
    }
}

impl Ready {
    pub fn of(row: TargetRow) -> Result<Ready, Fault> {
        let id = row.id.clone();
        let arn = row.arn.parse().map_err(|_| {
            Fault::validation(format!(
                "Parameter {} is not valid. Reason: Provided Arn is not in correct format.",
                row.arn
            ))
        })?;
        let input = match (&row.input, &row.input_path, &row.transformer) {
            (None, None, None) => Input::Event,
            (Some(text), None, None) => Input::Constant(text.clone()),
            (None, Some(path), None) => Input::Path(
                InputPath::parse(path)
                    .map_err(|_| Fault::validation(format!("Invalid InputPath for target {id}.")))?,
            ),
            (None, None, Some((paths, template))) => {
                let paths = paths.iter().map(|(name, path)| (name.as_str(), path.as_str()));
                let parsed = InputTransformer::parse(paths, template);
                Input::Transformed(parsed.map_err(|error| Fault::validation(error.for_target(&id)))?)
            }
            _ => {
                return Err(Fault::validation(format!(
                    "Only one of Input, InputPath, or InputTransformer must be provided for target {id}."
                )));
            }
        };
        Ok(Ready { row, arn, input })
    }
}
