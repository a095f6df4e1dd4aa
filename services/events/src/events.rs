//! The way of an event: checked, put into its envelope, matched, made into each target's input and handed over, in one
//! batch a request.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, value::RawValue};
use tidemill_delivery::{Event, Fate, Staged, Step};
use tidemill_input_transformer::RuleContext;
use tidemill_platform::{Cx, Fault, Timestamp, Trace};
use tidemill_store::{Batch, Partition};

use crate::{
    EventBridge,
    api::{PutEventsRequest, PutEventsRequestEntry, PutEventsResponse, PutEventsResultEntry},
    dead_letters::{DeadLetter, error_of},
    enforcement::{VIOLATION, Verdict},
    envelope::{Envelope, envelope, printed},
    invocation,
    state::{Bus, Input, Ready, Rule, RuleRow},
    vault::Archived,
};

/// What the entries of one request may hold, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// Characters of a detail type. Source: `PutEventsRequestEntry` in the API reference.
const LONGEST_TYPE: usize = 128;

pub async fn put_events(
    bridge: &EventBridge,
    cx: &Cx,
    input: PutEventsRequest,
) -> Result<PutEventsResponse, Fault> {
    if input.endpoint_id.is_some() {
        return Err(Fault::not_implemented("PutEvents to a global endpoint"));
    }
    let total: usize = input.entries.iter().map(size).sum();
    if total > MOST_BYTES {
        return Err(Fault::validation("Total size of the entries in the request is over the limit."));
    }
    let mut outgoing = Outgoing::new(Partition::of(cx.account()));
    let (mut results, mut failed) = (Vec::with_capacity(input.entries.len()), 0);
    let mut named = Named::default();
    for entry in input.entries {
        match bridge.take_entry(cx, &mut named, &mut outgoing, entry) {
            Ok(id) => {
                results.push(PutEventsResultEntry { event_id: Some(id), ..PutEventsResultEntry::default() })
            }
            Err((code, sentence)) => {
                failed += 1;
                results.push(PutEventsResultEntry {
                    event_id: None,
                    error_code: Some(code.into()),
                    error_message: Some(sentence),
                });
            }
        }
    }
    bridge.send(cx, outgoing)?.await;
    Ok(PutEventsResponse { failed_entry_count: Some(failed), entries: Some(results) })
}

/// The bus that was named last: most requests name one only.
#[derive(Default)]
struct Named(Option<(Option<String>, Option<Arc<Bus>>)>);

impl Named {
    fn bus(&mut self, bridge: &EventBridge, cx: &Cx, name: Option<&str>) -> Option<Arc<Bus>> {
        if let Some((last, bus)) = self.0.as_ref()
            && last.as_deref() == name
        {
            return bus.clone();
        }
        let bus = bridge.bus(cx, name).ok();
        self.0 = Some((name.map(String::from), bus.clone()));
        bus
    }
}

fn size(entry: &PutEventsRequestEntry) -> usize {
    let text = |part: &Option<String>| part.as_ref().map_or(0, String::len);
    let resources: usize = entry.resources.iter().flatten().map(String::len).sum();
    let time = if entry.time.is_some() { 14 } else { 0 };
    text(&entry.source) + text(&entry.detail_type) + text(&entry.detail) + resources + time
}

/// A batch in the making, and what follows when it is submitted.
pub struct Outgoing {
    pub batch: Batch,
    staged: Vec<Staged>,
    /// For the ledger, written together.
    fates: Vec<Fate>,
    /// Archive ARN → events for it, with their times.
    archived: BTreeMap<String, Vec<(i64, Archived)>>,
}

impl Outgoing {
    pub fn new(partition: Partition) -> Outgoing {
        Outgoing {
            batch: Batch::new(partition),
            staged: Vec::new(),
            fates: Vec::new(),
            archived: BTreeMap::new(),
        }
    }

    pub fn stage(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    /// For the ledger.
    pub fn note(&mut self, fate: Fate) {
        self.fates.push(fate);
    }
}

impl EventBridge {
    /// Checks an entry and puts what follows from it into the batch; its id, or why it is refused.
    fn take_entry(
        &self,
        cx: &Cx,
        named: &mut Named,
        outgoing: &mut Outgoing,
        entry: PutEventsRequestEntry,
    ) -> Result<String, (&'static str, String)> {
        let missing = |name: &str| {
            (
                "InvalidArgument",
                format!("Parameter {name} is not valid. Reason: {name} is a required argument."),
            )
        };
        let source = entry.source.filter(|text| !text.is_empty()).ok_or_else(|| missing("Source"))?;
        let kind = entry.detail_type.filter(|text| !text.is_empty()).ok_or_else(|| missing("DetailType"))?;
        let detail = entry.detail.filter(|text| !text.is_empty()).ok_or_else(|| missing("Detail"))?;
        if kind.chars().count() > LONGEST_TYPE {
            let sentence = format!(
                "Parameter DetailType is not valid. Reason: DetailType has a maximum of {LONGEST_TYPE} characters."
            );
            return Err(("InvalidArgument", sentence));
        }
        if source.starts_with("aws.") {
            return Err(("NotAuthorizedForSourceException", "Not authorized for the source.".into()));
        }
        let is_object =
            detail.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(&detail).is_ok();
        if !is_object {
            return Err(("MalformedDetail", "Detail is malformed.".into()));
        }
        let trace =
            entry.trace_header.as_deref().and_then(Trace::parse).unwrap_or_else(|| cx.trace().clone());
        let Some(bus) = named.bus(self, cx, entry.event_bus_name.as_deref()) else {
            return Ok(lost(cx, &entry.event_bus_name.unwrap_or_default(), &trace, outgoing));
        };
        let at = entry.time.unwrap_or_else(|| cx.now());
        let envelope = envelope(cx, &bus, &source, &kind, at, &entry.resources.unwrap_or_default(), &detail);
        let id = envelope.id.clone();
        match self.enforce(cx, &bus, &envelope, &trace, outgoing) {
            Verdict::Good => {
                self.route(cx, &bus, &envelope, &Way { trace: &trace, hops: 0, only: &[] }, outgoing);
            }
            Verdict::DeadLettered => {}
            Verdict::Rejected(why) => return Err((VIOLATION, why)),
        }
        Ok(id)
    }

    /// Hands an event to the targets of every rule of a bus that matches.
    pub fn route(&self, cx: &Cx, bus: &Bus, event: &Envelope, way: &Way<'_>, outgoing: &mut Outgoing) {
        let Way { trace, hops, only } = *way;
        let arn = bus.id.as_str();
        outgoing.fates.push(Fate::happened(cx.now(), trace, &event.id, arn, event.told.clone()));
        if let Some(schemas) = self.platform.doors.schemas.get() {
            schemas.observe(arn, &event.text);
        }
        // The envelope is ours, so it is JSON.
        let matched = bus.matcher.matches(&event.text).unwrap_or_default();
        let rules: Vec<_> = {
            let rules = bus.rules.read();
            matched.iter().filter_map(|name| rules.get(&**name).cloned()).collect()
        };
        let mut whole = None;
        for rule in rules.iter().filter(|rule| only.is_empty() || only.contains(&rule.row.arn)) {
            if let Some(archive) = &rule.row.archive {
                outgoing.archived.entry(archive.clone()).or_default().push((event.at, event.archived()));
                continue;
            }
            for target in &rule.targets {
                let payload = input(cx, rule, target, event, &mut whole);
                let http = http(target, event, &mut whole);
                let parts = Parts { event, source: arn, via: &rule.row.arn, trace, hops, http };
                self.hand_over(cx, target, payload, &parts, outgoing);
            }
        }
    }

    /// Hands a scheduled rule's own event to its targets.
    pub fn route_scheduled(
        &self,
        cx: &Cx,
        bus: &Bus,
        rule: &Rule,
        at: Timestamp,
        trace: &Trace,
        outgoing: &mut Outgoing,
    ) {
        let row = &rule.row;
        let event =
            envelope(cx, bus, "aws.events", "Scheduled Event", at, std::slice::from_ref(&row.arn), "{}");
        let arn = bus.id.as_str();
        let fate = Fate::happened(cx.now(), trace, &event.id, &row.arn, event.told.clone());
        outgoing.fates.push(fate);
        let mut whole = None;
        for target in &rule.targets {
            let payload = input(cx, rule, target, &event, &mut whole);
            let http = http(target, &event, &mut whole);
            let parts = Parts { event: &event, source: arn, via: &row.arn, trace, hops: 0, http };
            self.hand_over(cx, target, payload, &parts, outgoing);
        }
    }

    fn hand_over(&self, cx: &Cx, target: &Ready, payload: Bytes, parts: &Parts<'_>, outgoing: &mut Outgoing) {
        let mut attributes = BTreeMap::new();
        if let Some(group) = &target.row.group_id {
            attributes.insert("message-group-id".to_string(), group.clone());
        }
        if target.arn.resource.starts_with("api-destination/") {
            let original = (!matches!(target.input, Input::Event)).then_some(&*parts.event.text);
            attributes = invocation::attributes(&target.row, parts.http.clone(), original);
        } else if target.arn.service == "events" {
            attributes.insert("hops".to_string(), (parts.hops + 1).to_string());
        }
        let event = Event {
            id: parts.event.id.clone(),
            source: parts.source.into(),
            via: parts.via.into(),
            payload,
            attributes,
            trace: parts.trace.clone(),
        };
        match self.delivery.deliver_untold(cx, &mut outgoing.batch, &target.arn, event) {
            Ok((staged, fate)) => {
                outgoing.staged.push(staged);
                outgoing.fates.push(fate);
            }
            Err(fault) => self.refused(cx, target, parts, &fault, outgoing),
        }
    }

    /// A target that does not take the event: the event itself, not what was made of it for the target, goes to the
    /// dead-letter queue with the attributes AWS adds, or nowhere.
    fn refused(&self, cx: &Cx, target: &Ready, parts: &Parts<'_>, fault: &Fault, outgoing: &mut Outgoing) {
        let (code, sentence) = error_of(fault);
        let letter = DeadLetter {
            id: &parts.event.id,
            rule_arn: parts.via,
            target_arn: &target.row.arn,
            code,
            sentence: &sentence,
            retries: None,
        };
        let event = letter.event(Bytes::from(parts.event.text.clone()), parts.trace.clone());
        let queue = target.row.dead_letter_arn.as_deref().and_then(|arn| arn.parse().ok());
        let staged = queue.and_then(|arn| self.delivery.deliver(cx, &mut outgoing.batch, &arn, event).ok());
        let fate = Fate {
            at: cx.now().millis(),
            event: parts.event.id.clone(),
            trace: parts.trace.root.clone(),
            source: parts.source.into(),
            target: target.row.arn.clone(),
            via: parts.via.into(),
            step: if staged.is_some() { Step::DeadLettered } else { Step::Dropped },
            detail: sentence,
            attempt: 1,
            took_us: 0,
        };
        outgoing.fates.push(fate);
        outgoing.staged.extend(staged);
    }

    /// Submits what was made of events; what was handed over is attempted once the ticket is through.
    pub fn send(&self, cx: &Cx, mut outgoing: Outgoing) -> Result<tidemill_store::Ticket, Fault> {
        self.delivery.ledger().record_all(&mut outgoing.batch, std::mem::take(&mut outgoing.fates));
        let archived = std::mem::take(&mut outgoing.archived);
        let ticket = self.submit_archiving(cx, outgoing.batch, archived)?;
        let seq = ticket.seq();
        outgoing.staged.into_iter().for_each(|staged| staged.release(seq));
        Ok(ticket)
    }
}

/// An event for a bus that is not there: AWS gives it an id and says nothing (seen in recordings of `PutEvents`). Only the
/// journey tells where it ended.
fn lost(cx: &Cx, bus: &str, trace: &Trace, outgoing: &mut Outgoing) -> String {
    let id = cx.random().uuid();
    outgoing.note(Fate {
        at: cx.now().millis(),
        event: id.clone(),
        trace: trace.root.clone(),
        source: bus.into(),
        target: bus.into(),
        via: bus.into(),
        step: Step::Dropped,
        detail: "there is no such event bus".into(),
        attempt: 1,
        took_us: 0,
    });
    id
}

/// How an event comes to a bus.
pub struct Way<'a> {
    pub trace: &'a Trace,
    /// Buses it passed before.
    pub hops: u32,
    /// ARNs of the rules that may have it; empty for all.
    pub only: &'a [String],
}

/// What a hand-over says of where it comes from.
struct Parts<'a> {
    event: &'a Envelope,
    source: &'a str,
    via: &'a str,
    trace: &'a Trace,
    hops: u32,
    /// What an API destination's request is made of, for this event.
    http: Option<String>,
}

/// `HttpParameters` of a target with what the event has for their paths.
fn http(target: &Ready, event: &Envelope, whole: &mut Option<Value>) -> Option<String> {
    let http = target.row.http.as_ref()?;
    if !http.has_paths() {
        return serde_json::to_string(http).ok();
    }
    let whole = whole.get_or_insert_with(|| serde_json::from_str(&event.text).unwrap_or_default());
    serde_json::to_string(&http.filled(whole)).ok()
}

fn input(cx: &Cx, rule: &Rule, target: &Ready, event: &Envelope, whole: &mut Option<Value>) -> Bytes {
    let mut parsed =
        || whole.get_or_insert_with(|| serde_json::from_str(&event.text).unwrap_or_default()).clone();
    match &target.input {
        Input::Event => Bytes::from(event.text.clone()),
        Input::Constant(text) => Bytes::from(text.clone()),
        Input::Path(path) => Bytes::from(path.select(&parsed()).unwrap_or(Value::Null).to_string()),
        Input::Transformed(transformer) => {
            let RuleRow { arn, name, .. } = &rule.row;
            let ingestion_time = printed(cx.now());
            let context = RuleContext { rule_arn: arn, rule_name: name, ingestion_time: &ingestion_time };
            Bytes::from(transformer.apply(&parsed(), &context))
        }
    }
}
