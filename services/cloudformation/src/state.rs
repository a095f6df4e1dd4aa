//! What CloudFormation keeps: stacks with their resources, definitions, events and change sets, in memory and in the store.
//!
//! A stack changes through [`Stack::change`]: decided under its lock, written as one batch, told when durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use indexmap::IndexMap;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_platform::{Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Table};

/// Stack id → stack. All of a stack is in the partition of its id.
const STACKS: Table<String, StackRow> = Table::new("cloudformation.stack");
/// (stack id, logical id) → resource.
const RESOURCES: Table<(String, String), ResourceRow> = Table::new("cloudformation.resource");
/// (stack id, `current` or `previous`) → definition.
const DEFINITIONS: Table<(String, String), Definition> = Table::new("cloudformation.definition");
/// (stack id, number) → event.
const EVENTS: Table<(String, u64), EventRow> = Table::new("cloudformation.event");
/// (stack id, change set id) → change set.
const CHANGE_SETS: Table<(String, String), ChangeSetRow> = Table::new("cloudformation.change_set");

/// (stack id, logical id) → the resource was made, though its stack may not know yet. Written with the resource itself.
const MADE: Table<(String, String), bool> = Table::new("cloudformation.made");

/// Events kept of one stack.
const MOST_EVENTS: usize = 2000;

/// A stack without its resources and templates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StackRow {
    pub id: String,
    pub name: String,
    pub account: String,
    pub region: String,
    pub status: String,
    pub reason: Option<String>,
    pub created_at: i64,
    pub updated_at: Option<i64>,
    pub deleted_at: Option<i64>,
    pub outputs: Vec<OutputRow>,
    /// Names this stack imports.
    pub imports: BTreeSet<String>,
    pub disable_rollback: bool,
    /// `ROLLBACK`, `DELETE` or `DO_NOTHING`: what follows when the stack cannot be made.
    pub on_failure: String,
    pub protected: bool,
    pub change_set_id: Option<String>,
    pub role_arn: Option<String>,
    pub token: Option<String>,
    /// The update is to be taken back.
    pub cancelled: bool,
    /// Physical resources that are no longer part of the stack and wait to be deleted.
    pub cleanup: Vec<ResourceRow>,
    /// Logical ids that a deletion leaves alone.
    pub retained: BTreeSet<String>,
}

/// What a stack is to be: made once, when a stack is created, updated or a change set is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// As it was given.
    pub template: String,
    /// After the transforms, as JSON.
    pub processed: String,
    /// Name → value as given, and whether it is not to be shown.
    pub parameters: IndexMap<String, (String, bool)>,
    pub tags: BTreeMap<String, String>,
    pub capabilities: Vec<String>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputRow {
    pub key: String,
    pub value: String,
    pub description: Option<String>,
    pub export: Option<String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceRow {
    pub logical_id: String,
    pub resource_type: String,
    /// The name it gets when the template gives none; decided before it is made.
    pub generated_name: String,
    pub physical_id: Option<String>,
    pub attributes: BTreeMap<String, Value>,
    pub properties: Value,
    pub status: String,
    pub reason: Option<String>,
    pub changed_at: i64,
    pub needs: BTreeSet<String>,
    pub retain: bool,
    pub retain_replaced: bool,
    pub metadata: Option<Value>,
    /// Made by the update that is going on.
    pub is_new: bool,
    /// What it was before the update that is going on.
    pub before: Option<Box<ResourceRow>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    pub id: String,
    pub logical_id: String,
    pub physical_id: Option<String>,
    pub resource_type: String,
    pub at: i64,
    pub status: String,
    pub reason: Option<String>,
    pub properties: Option<String>,
    pub token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeSetRow {
    pub id: String,
    pub name: String,
    /// Makes the stack rather than changing it.
    pub creates: bool,
    pub status: String,
    pub reason: Option<String>,
    pub execution: String,
    pub created_at: i64,
    pub description: Option<String>,
    pub definition: Definition,
    pub changes: Vec<ChangeRow>,
    pub role_arn: Option<String>,
    pub on_failure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// `Add`, `Modify` or `Remove`.
    pub action: String,
    pub logical_id: String,
    pub physical_id: Option<String>,
    pub resource_type: String,
    /// Names of the properties that differ.
    pub properties: Vec<String>,
}

/// Everything of one stack.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub row: StackRow,
    pub current: Definition,
    pub previous: Option<Definition>,
    pub resources: IndexMap<String, ResourceRow>,
    pub events: Vec<EventRow>,
    /// Number of the first event that is kept.
    pub first_event: u64,
    pub change_sets: IndexMap<String, ChangeSetRow>,
}

pub struct Stack {
    pub id: String,
    pub state: Mutex<State>,
    /// Held by the task that brings the stack to its next status.
    pub driver: tokio::sync::Mutex<()>,
}

pub struct CloudFormation {
    pub platform: Arc<Platform>,
    /// For tasks, which outlive the call that began them.
    pub me: Weak<CloudFormation>,
    /// By id, which sorts by name first.
    pub stacks: RwLock<BTreeMap<String, Arc<Stack>>>,
}

impl CloudFormation {
    pub fn open(platform: Arc<Platform>) -> Result<Arc<CloudFormation>, Damaged> {
        let mut stacks = BTreeMap::new();
        let store = &platform.store;
        for partition in Partition::ALL {
            let mut states: BTreeMap<String, State> = BTreeMap::new();
            for (id, row) in store.all(&STACKS, partition)? {
                states.insert(id, State { row, ..State::default() });
            }
            for ((id, name), row) in store.all(&RESOURCES, partition)? {
                if let Some(state) = states.get_mut(&id) {
                    state.resources.insert(name, row);
                }
            }
            for ((id, which), definition) in store.all(&DEFINITIONS, partition)? {
                match (states.get_mut(&id), which.as_str()) {
                    (Some(state), "current") => state.current = definition,
                    (Some(state), _) => state.previous = Some(definition),
                    (None, _) => {}
                }
            }
            for ((id, number), event) in store.all(&EVENTS, partition)? {
                if let Some(state) = states.get_mut(&id) {
                    if state.events.is_empty() {
                        state.first_event = number;
                    }
                    state.events.push(event);
                }
            }
            for ((id, name), row) in store.all(&CHANGE_SETS, partition)? {
                if let Some(state) = states.get_mut(&id) {
                    state.change_sets.insert(name, row);
                }
            }
            for (id, state) in states {
                stacks.insert(id.clone(), Stack::new(id, state));
            }
        }
        let stacks = RwLock::new(stacks);
        Ok(Arc::new_cyclic(|me| CloudFormation { platform, me: me.clone(), stacks }))
    }

    /// The stacks of an account and region, those included that are deleted.
    pub fn of_caller(&self, cx: &Cx) -> Vec<Arc<Stack>> {
        let prefix = cx.arn("cloudformation", "stack/").to_string();
        self.stacks
            .read()
            .range(prefix.clone()..)
            .take_while(|(id, _)| id.starts_with(&prefix))
            .map(|(_, s)| s.clone())
            .collect()
    }

    /// A stack by name (if it is not deleted) or id.
    pub fn find(&self, cx: &Cx, named: &str) -> Result<Arc<Stack>, Fault> {
        let missing = || validation(format!("Stack with id {named} does not exist"));
        if named.starts_with("arn:") {
            let found = self.stacks.read().get(named).cloned();
            return found
                .filter(|stack| stack.id.starts_with(&cx.arn("cloudformation", "stack/").to_string()))
                .ok_or_else(missing);
        }
        self.by_name(cx, named).ok_or_else(missing)
    }

    /// The stack of this name that is not deleted.
    pub fn by_name(&self, cx: &Cx, name: &str) -> Option<Arc<Stack>> {
        let prefix = cx.arn("cloudformation", format!("stack/{name}/")).to_string();
        let stacks = self.stacks.read();
        let mut named = stacks.range(prefix.clone()..).take_while(|(id, _)| id.starts_with(&prefix));
        named
            .find(|(_, stack)| stack.state.lock().row.status != "DELETE_COMPLETE")
            .map(|(_, stack)| stack.clone())
    }

    /// Puts a new stack beside the others unless one of its name is there.
    pub async fn insert(&self, cx: &Cx, state: State, events: Vec<EventRow>) -> Result<Arc<Stack>, Fault> {
        let (stack, ticket) = {
            let mut stacks = self.stacks.write();
            let prefix = cx.arn("cloudformation", format!("stack/{}/", state.row.name)).to_string();
            let mut named = stacks.range(prefix.clone()..).take_while(|(id, _)| id.starts_with(&prefix));
            if named.any(|(_, stack)| stack.state.lock().row.status != "DELETE_COMPLETE") {
                let sentence = format!("Stack [{}] already exists", state.row.name);
                return Err(crate::api::AlreadyExistsException::new(sentence).into());
            }
            let id = state.row.id.clone();
            let stack = Stack::new(id.clone(), State::default());
            let draft = Draft { all: true, events, ..Draft::of(state) };
            let ticket = draft.submit(&self.platform, &id, &mut stack.state.lock())?;
            stacks.insert(id, stack.clone());
            (stack, ticket)
        };
        ticket.await;
        Ok(stack)
    }
}

/// A change to a stack in the making.
pub struct Draft {
    pub state: State,
    touched: BTreeSet<String>,
    definitions: bool,
    all: bool,
    change_sets: BTreeSet<String>,
    events: Vec<EventRow>,
}

impl Draft {
    fn of(state: State) -> Draft {
        Draft {
            state,
            touched: BTreeSet::new(),
            definitions: false,
            all: false,
            change_sets: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    /// The resource, to be changed; made if it is not there.
    pub fn resource(&mut self, logical_id: &str) -> &mut ResourceRow {
        self.touched.insert(logical_id.into());
        self.state
            .resources
            .entry(logical_id.into())
            .or_insert_with(|| ResourceRow { logical_id: logical_id.into(), ..ResourceRow::default() })
    }

    pub fn remove_resource(&mut self, logical_id: &str) -> Option<ResourceRow> {
        self.touched.insert(logical_id.into());
        self.state.resources.shift_remove(logical_id)
    }

    /// The definitions are written back.
    pub fn redefined(&mut self) -> &mut State {
        self.definitions = true;
        &mut self.state
    }

    pub fn change_set(&mut self, id: &str) -> &mut IndexMap<String, ChangeSetRow> {
        self.change_sets.insert(id.into());
        &mut self.state.change_sets
    }

    pub fn event(&mut self, event: EventRow) {
        self.events.push(event);
    }

    /// The stack's own status, with the event that tells of it.
    pub fn status(&mut self, cx: &Cx, status: &str, reason: Option<&str>) {
        let row = &mut self.state.row;
        row.status = status.into();
        row.reason = reason.map(String::from);
        let event = EventRow {
            id: cx.random().uuid(),
            logical_id: row.name.clone(),
            physical_id: Some(row.id.clone()),
            resource_type: "AWS::CloudFormation::Stack".into(),
            at: cx.now().millis(),
            status: status.into(),
            reason: row.reason.clone(),
            properties: None,
            token: row.token.clone(),
        };
        self.events.push(event);
    }

    /// A resource's status, with the event that tells of it.
    pub fn resource_status(&mut self, cx: &Cx, logical_id: &str, status: &str, reason: Option<&str>) {
        let token = self.state.row.token.clone();
        let row = self.resource(logical_id);
        row.status = status.into();
        row.reason = reason.map(String::from);
        row.changed_at = cx.now().millis();
        let event = row.event(cx, token);
        self.events.push(event);
    }

    fn submit(
        mut self,
        platform: &Platform,
        id: &str,
        state: &mut State,
    ) -> Result<tidemill_store::Ticket, Fault> {
        let kept = state.events.len();
        self.state.events = std::mem::take(&mut state.events);
        let before = self.state.first_event;
        let batch = self.batch(id);
        match platform.submit(batch) {
            Ok(ticket) => {
                self.state.drop_oldest();
                *state = self.state;
                Ok(ticket)
            }
            Err(refused) => {
                self.state.events.truncate(kept);
                state.events = self.state.events;
                state.first_event = before;
                Err(refused)
            }
        }
    }

    fn batch(&mut self, id: &str) -> Batch {
        let mut batch = Batch::new(Partition::of(id));
        let key = |name: &str| (id.to_string(), name.to_string());
        batch.put(&STACKS, &id.to_string(), &self.state.row);
        let names: Vec<String> = if self.all {
            self.state.resources.keys().cloned().collect()
        } else {
            self.touched.iter().cloned().collect()
        };
        for name in names {
            match self.state.resources.get(&name) {
                Some(row) => batch.put(&RESOURCES, &key(&name), row),
                None => batch.delete(&RESOURCES, &key(&name)),
            };
            if self.state.resources.get(&name).is_none_or(|row| !row.status.ends_with("_IN_PROGRESS")) {
                batch.delete(&MADE, &key(&name));
            }
        }
        if self.definitions || self.all {
            batch.put(&DEFINITIONS, &key("current"), &self.state.current);
            match &self.state.previous {
                Some(previous) => batch.put(&DEFINITIONS, &key("previous"), previous),
                None => batch.delete(&DEFINITIONS, &key("previous")),
            };
        }
        for name in if self.all {
            self.state.change_sets.keys().cloned().collect()
        } else {
            std::mem::take(&mut self.change_sets)
        } {
            match self.state.change_sets.get(&name) {
                Some(row) => batch.put(&CHANGE_SETS, &key(&name), row),
                None => batch.delete(&CHANGE_SETS, &key(&name)),
            };
        }
        for event in std::mem::take(&mut self.events) {
            let number = self.state.first_event + self.state.events.len() as u64;
            batch.put(&EVENTS, &(id.to_string(), number), &event);
            self.state.events.push(event);
        }
        for number in 0..self.state.events.len().saturating_sub(MOST_EVENTS) {
            batch.delete(&EVENTS, &(id.to_string(), self.state.first_event + number as u64));
        }
        batch
    }
}

impl State {
    fn drop_oldest(&mut self) {
        let many = self.events.len().saturating_sub(MOST_EVENTS);
        self.events.drain(..many);
        self.first_event += many as u64;
    }

    /// A copy without the events, which only grow.
    fn without_events(&mut self) -> State {
        let events = std::mem::take(&mut self.events);
        let copy = self.clone();
        self.events = events;
        copy
    }
}

impl Stack {
    fn new(id: String, state: State) -> Arc<Stack> {
        Arc::new(Stack { id, state: Mutex::new(state), driver: tokio::sync::Mutex::default() })
    }

    /// Decides on a change under the lock and answers when it is durable.
    pub async fn change<T>(
        &self,
        cx: &Cx,
        decide: impl FnOnce(&mut Draft) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (ticket, answer) = {
            let mut state = self.state.lock();
            let mut draft = Draft::of(state.without_events());
            let answer = decide(&mut draft)?;
            (draft.submit(cx.platform(), &self.id, &mut state)?, answer)
        };
        ticket.await;
        Ok(answer)
    }

    /// What notes, in the batch in which a resource is made, that it was.
    pub fn note_made(&self, logical_id: &str) -> impl FnOnce(&mut Batch) + Send + 'static {
        let key = (self.id.clone(), logical_id.to_string());
        move |batch| {
            batch.put_in(Partition::of(&key.0), &MADE, &key, &true);
        }
    }

    /// Whether a resource was made by a process that ended before the stack knew.
    pub fn was_made(&self, platform: &Platform, logical_id: &str) -> bool {
        let key = (self.id.clone(), logical_id.to_string());
        matches!(platform.store.get(&MADE, Partition::of(&self.id), &key), Ok(Some(_)))
    }

    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }
}

impl ResourceRow {
    /// What the resource may be called when nobody was told: the name it was given, or the one the template says.
    pub fn likely_ids(&self) -> Vec<String> {
        let own = self.resource_type.rsplit("::").next().unwrap_or_default();
        let named = [format!("{own}Name"), "Name".to_string()];
        let named = named.iter().filter_map(|key| self.properties.get(key)?.as_str().map(String::from));
        named.chain([self.generated_name.clone()]).collect()
    }

    pub fn event(&self, cx: &Cx, token: Option<String>) -> EventRow {
        EventRow {
            id: format!("{}-{}-{}", self.logical_id, self.status, cx.random().uuid()),
            logical_id: self.logical_id.clone(),
            physical_id: self.physical_id.clone(),
            resource_type: self.resource_type.clone(),
            at: self.changed_at,
            status: self.status.clone(),
            reason: self.reason.clone(),
            properties: (!self.properties.is_null()).then(|| self.properties.to_string()),
            token,
        }
    }
}

/// CloudFormation's error for nearly everything.
pub fn validation(sentence: impl Into<String>) -> Fault {
    Fault::new("ValidationError", sentence.into())
}
