//! Making and changing resources: each as soon as what it needs is there, several at a time.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tidemill_cfn_template::Policy;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, Updated, Wanted},
    rider,
};

use crate::{
    CloudFormation,
    definition::Planned,
    known::Resources,
    state::{ResourceRow, Stack, StackRow},
};

/// Resources of one stack that are worked on at the same time.
const AT_ONCE: usize = 16;

/// Why a resource could not be made or changed.
enum Failed {
    Create,
    Update,
    /// The step itself could not be recorded.
    Fault(Fault),
}

impl CloudFormation {
    /// Brings every resource of the plan about. `None` when all are there, otherwise the sentence for the stack's event.
    /// Stops beginning new ones when one fails or the stack's status is no longer `during`.
    pub async fn apply(
        &self,
        cx: &Cx,
        stack: &Arc<Stack>,
        planned: &Planned,
        during: &str,
    ) -> Result<Option<String>, Fault> {
        let mut waiting: Vec<&String> = planned.graph.resources().collect();
        let mut done: BTreeSet<&String> = BTreeSet::new();
        let (mut creates, mut updates): (Vec<&String>, Vec<&String>) = (Vec::new(), Vec::new());
        let mut running = FuturesUnordered::new();
        loop {
            let goes_on = creates.is_empty()
                && updates.is_empty()
                && stack.look(|state| state.row.status == during && !state.row.cancelled);
            if goes_on {
                let room = AT_ONCE.saturating_sub(running.len());
                let ready: Vec<&String> = waiting
                    .iter()
                    .copied()
                    .filter(|name| planned.graph.needs(name).all(|other| done.contains(other)))
                    .take(room)
                    .collect();
                waiting.retain(|name| !ready.contains(name));
                for name in ready {
                    running.push(async move { (name, self.apply_one(cx, stack, planned, name).await) });
                }
            }
            match running.next().await {
                None => break,
                Some((name, Ok(()))) => drop(done.insert(name)),
                Some((name, Err(Failed::Create))) => creates.push(name),
                Some((name, Err(Failed::Update))) => updates.push(name),
                Some((_, Err(Failed::Fault(fault)))) => return Err(fault),
            }
        }
        if waiting.is_empty() && creates.is_empty() && updates.is_empty() {
            return Ok(None);
        }
        Ok(Some(sentence("create", &creates) + &sentence("update", &updates)))
    }

    async fn apply_one(
        &self,
        cx: &Cx,
        stack: &Arc<Stack>,
        planned: &Planned,
        name: &str,
    ) -> Result<(), Failed> {
        let Some(resource) = planned.template.resources.get(name) else { return Ok(()) };
        let existing = stack.look(|state| state.resources.get(name).cloned());
        let is_there = existing.as_ref().is_some_and(|row| row.physical_id.is_some());
        let known = Resources::new(self, cx, stack);
        let resolved = planned.scope.resolve(&resource.properties, &known);
        let resolved = match resolved {
            Ok(value) => value,
            Err(error) => {
                let status = if is_there { "UPDATE_FAILED" } else { "CREATE_FAILED" };
                self.fail(cx, stack, name, &resource.resource_type, status, &error.to_string()).await?;
                return Err(if is_there { Failed::Update } else { Failed::Create });
            }
        };
        let next = ResourceRow {
            logical_id: name.into(),
            resource_type: resource.resource_type.clone(),
            properties: resolved,
            needs: planned.graph.needs(name).cloned().collect(),
            retain: resource.deletion_policy == Policy::Retain,
            retain_replaced: resource.update_replace_policy == Policy::Retain,
            metadata: resource.metadata.clone(),
            ..ResourceRow::default()
        };
        match existing {
            Some(row) if is_there => self.change_one(cx, stack, row, next).await,
            other => self.create_one(cx, stack, other, next).await,
        }
    }

    /// Makes a resource that is not there. One that an earlier process began to make is made again under the same name.
    async fn create_one(
        &self,
        cx: &Cx,
        stack: &Arc<Stack>,
        begun: Option<ResourceRow>,
        mut next: ResourceRow,
    ) -> Result<(), Failed> {
        let name = next.logical_id.clone();
        let is_resumed = begun.as_ref().is_some_and(|row| row.status == "CREATE_IN_PROGRESS");
        let row = stack.look(|state| state.row.clone());
        next.is_new = row.status.starts_with("UPDATE");
        next.generated_name = match begun.filter(|_| is_resumed) {
            Some(begun) => begun.generated_name,
            None => generated_name(cx, &row.name, &name),
        };
        self.note(cx, stack, next.clone(), "CREATE_IN_PROGRESS", None).await?;
        if is_resumed && stack.was_made(&self.platform, &name) {
            self.take_away_likely(cx, &next).await;
        }
        let made = self.provide(cx, stack, &row, &next).await;
        match made {
            Ok(provided) => {
                next.physical_id = Some(provided.physical_id);
                next.attributes = provided.attributes;
                self.finished(cx, stack, next, "CREATE").await?;
                Ok(())
            }
            Err(fault) => {
                let reason = handler_message(cx, &fault);
                self.note(cx, stack, next, "CREATE_FAILED", Some(&reason)).await?;
                Err(Failed::Create)
            }
        }
    }

    /// Changes a resource that is there, or replaces it where its service says the change needs that.
    async fn change_one(
        &self,
        cx: &Cx,
        stack: &Arc<Stack>,
        old: ResourceRow,
        mut next: ResourceRow,
    ) -> Result<(), Failed> {
        let (row, tags_differ) = stack.look(|state| {
            let before = state.previous.as_ref().map(|definition| &definition.tags);
            (state.row.clone(), before.is_some_and(|tags| *tags != state.current.tags))
        });
        next.physical_id = old.physical_id.clone();
        next.attributes = old.attributes.clone();
        next.generated_name = old.generated_name.clone();
        next.is_new = old.is_new;
        next.before = old.before.clone();
        let is_settled = old.status.ends_with("_COMPLETE");
        if old.properties == next.properties
            && is_settled
            && !(tags_differ && old.before.is_none() && !old.is_new)
        {
            (next.status, next.reason, next.changed_at) = (old.status, old.reason, old.changed_at);
            return self.keep(cx, stack, next).await;
        }
        if next.before.is_none() && !next.is_new {
            let mut kept = old.clone();
            kept.before = None;
            next.before = Some(Box::new(kept));
        }
        let name = next.logical_id.clone();
        self.note(cx, stack, next.clone(), "UPDATE_IN_PROGRESS", None).await?;
        let physical = old.physical_id.clone().unwrap_or_default();
        match self.revise(cx, stack, &row, &physical, &old.properties, &next).await {
            Ok(Updated::InPlace(provided)) => {
                next.physical_id = Some(provided.physical_id);
                next.attributes = provided.attributes;
                self.note(cx, stack, next, "UPDATE_COMPLETE", None).await?;
                Ok(())
            }
            Ok(Updated::Replace) => {
                let why =
                    "Requested update requires the creation of a new physical resource; hence creating one.";
                next.generated_name = generated_name(cx, &row.name, &name);
                self.note(cx, stack, next.clone(), "UPDATE_IN_PROGRESS", Some(why)).await?;
                match self.provide(cx, stack, &row, &next).await {
                    Ok(provided) => {
                        next.physical_id = Some(provided.physical_id);
                        next.attributes = provided.attributes;
                        self.finished(cx, stack, next, "UPDATE").await?;
                        Ok(())
                    }
                    Err(fault) => self.not_updated(cx, stack, next, &fault).await,
                }
            }
            Err(fault) => self.not_updated(cx, stack, next, &fault).await,
        }
    }

    async fn not_updated(
        &self,
        cx: &Cx,
        stack: &Arc<Stack>,
        next: ResourceRow,
        fault: &Fault,
    ) -> Result<(), Failed> {
        let reason = handler_message(cx, fault);
        self.note(cx, stack, next, "UPDATE_FAILED", Some(&reason)).await?;
        Err(Failed::Update)
    }

    async fn provide(
        &self,
        cx: &Cx,
        stack: &Stack,
        row: &StackRow,
        next: &ResourceRow,
    ) -> Result<Provided, Fault> {
        let provider =
            self.platform.doors.provider(&next.resource_type).ok_or_else(|| missing(&next.resource_type))?;
        let tags = stack.look(|state| state.current.tags.clone());
        let making = provider.create(cx, wanted(row, next, &tags));
        rider::with(stack.note_made(&next.logical_id), making).await
    }

    /// Takes away what an earlier process made without the stack knowing what it is called.
    pub(crate) async fn take_away_likely(&self, cx: &Cx, row: &ResourceRow) {
        for id in row.likely_ids() {
            if let Err(fault) = self.take_away(cx, &row.resource_type, &id, &row.properties).await {
                tracing::warn!(resource = row.logical_id, %fault, "what an interrupted creation left is not deleted");
            }
        }
    }

    pub(crate) async fn revise(
        &self,
        cx: &Cx,
        stack: &Stack,
        row: &StackRow,
        physical_id: &str,
        old: &Value,
        next: &ResourceRow,
    ) -> Result<Updated, Fault> {
        let provider =
            self.platform.doors.provider(&next.resource_type).ok_or_else(|| missing(&next.resource_type))?;
        let tags = stack.look(|state| state.current.tags.clone());
        provider.update(cx, physical_id, old, wanted(row, next, &tags)).await
    }

    pub(crate) async fn take_away(
        &self,
        cx: &Cx,
        resource_type: &str,
        physical_id: &str,
        properties: &Value,
    ) -> Result<(), Fault> {
        let provider = self.platform.doors.provider(resource_type).ok_or_else(|| missing(resource_type))?;
        provider.delete(cx, resource_type, physical_id, properties).await
    }

    async fn note(
        &self,
        cx: &Cx,
        stack: &Stack,
        next: ResourceRow,
        status: &str,
        reason: Option<&str>,
    ) -> Result<(), Failed> {
        let noted = stack.change(cx, |draft| {
            let name = next.logical_id.clone();
            *draft.resource(&name) = next;
            draft.resource_status(cx, &name, status, reason);
            Ok(())
        });
        noted.await.map_err(Failed::Fault)
    }

    /// As AWS does: the resource has a physical id, then it is complete.
    async fn finished(&self, cx: &Cx, stack: &Stack, next: ResourceRow, verb: &str) -> Result<(), Failed> {
        let noted = stack.change(cx, |draft| {
            let name = next.logical_id.clone();
            *draft.resource(&name) = next;
            draft.resource_status(
                cx,
                &name,
                &format!("{verb}_IN_PROGRESS"),
                Some("Resource creation Initiated"),
            );
            draft.resource_status(cx, &name, &format!("{verb}_COMPLETE"), None);
            Ok(())
        });
        noted.await.map_err(Failed::Fault)
    }

    /// The resource as it is, with what the new template says about it.
    async fn keep(&self, cx: &Cx, stack: &Stack, next: ResourceRow) -> Result<(), Failed> {
        let kept = stack.change(cx, |draft| {
            let name = next.logical_id.clone();
            *draft.resource(&name) = next;
            Ok(())
        });
        kept.await.map_err(Failed::Fault)
    }

    async fn fail(
        &self,
        cx: &Cx,
        stack: &Stack,
        name: &str,
        resource_type: &str,
        status: &str,
        reason: &str,
    ) -> Result<(), Failed> {
        let failed = stack.change(cx, |draft| {
            draft.resource(name).resource_type = resource_type.into();
            draft.resource_status(cx, name, status, Some(reason));
            Ok(())
        });
        failed.await.map_err(Failed::Fault)
    }
}

fn wanted<'a>(
    row: &'a StackRow,
    next: &'a ResourceRow,
    tags: &'a std::collections::BTreeMap<String, String>,
) -> Wanted<'a> {
    Wanted {
        resource_type: &next.resource_type,
        stack_name: &row.name,
        stack_id: &row.id,
        logical_id: &next.logical_id,
        properties: &next.properties,
        generated_name: &next.generated_name,
        tags,
    }
}

fn missing(resource_type: &str) -> Fault {
    Fault::not_implemented(format!("resource type {resource_type}"))
}

pub fn sentence(verb: &str, names: &[&String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    names.sort_unstable();
    format!("The following resource(s) failed to {verb}: [{}]. ", names.join(", "))
}

/// `<stack>-<logical id>-<12 characters>`, shortened to what every service takes.
fn generated_name(cx: &Cx, stack: &str, logical_id: &str) -> String {
    const LONGEST: usize = 63;
    let random = cx.random().base32(12);
    let room = LONGEST - random.len() - 2;
    let (mut stack, mut logical_id) = (stack, logical_id);
    if stack.len() + logical_id.len() > room {
        logical_id = &logical_id[..logical_id.len().min(room / 2)];
        stack = &stack[..stack.len().min(room - logical_id.len())];
    }
    format!("{stack}-{logical_id}-{random}")
}

/// How CloudFormation tells what a service answered.
pub fn handler_message(cx: &Cx, fault: &Fault) -> String {
    let code = match fault.code() {
        code if code.contains("Exists") || code.contains("InUse") || code.contains("Conflict") => {
            "AlreadyExists"
        }
        code if code.contains("NotFound") || code.starts_with("NoSuch") || code.contains("NonExistent") => {
            "NotFound"
        }
        code if code.contains("Denied") || code.contains("Unauthorized") => "AccessDenied",
        code if code.contains("Throttl") || code.contains("TooManyRequests") => "Throttling",
        code if code.contains("Limit") || code.contains("Quota") => "ServiceLimitExceeded",
        _ if fault.status() >= 500 => "GeneralServiceException",
        _ => "InvalidRequest",
    };
    format!(
        "Resource handler returned message: \"{}\" (RequestToken: {}, HandlerErrorCode: {code})",
        fault.message(),
        cx.random().uuid()
    )
}
