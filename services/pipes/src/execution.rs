//! One batch on its way through a pipe: enrichment, then the target, each after its transformation. Every step is told to
//! the pipe's log; what became of the batch is the source's to act on.

use serde_json::Value;
use tidemill_platform::{Cx, Fault, Trace};

use crate::{
    Pipes, calls,
    calls::Answer,
    enrichment,
    journey::Journey,
    log::{Details, Execution, Level},
    plan::{Enrichment, Plan},
    sending::{Outgoing, Sending, Sent, array, of_fault},
    template::Template,
};

/// An event of the source.
pub struct Item {
    /// `messageId` or `eventID`.
    pub id: String,
    pub event: Value,
    pub trace: Trace,
}

/// Brings a batch that passed the filters through the pipe.
pub async fn execute(pipes: &Pipes, plan: &Plan, cx: &Cx, items: &[Item]) -> Sent {
    let log = Execution::begin(plan.log.as_ref(), cx, &plan.arn);
    let payload = log.wants_data().then(|| array(items.iter().map(|item| item.event.to_string())));
    log.tell(Level::Info, "EXECUTION_STARTED", Details { payload: payload.as_deref(), ..Details::default() });
    let target_arn = plan.target_arn.to_string();
    let ingestion_time = jiff::Timestamp::from_millisecond(cx.now().millis())
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let context = plan.context(&target_arn, &ingestion_time);
    let journey = Journey::new(pipes, plan, cx);
    journey.arrived(items);
    let run = Run { sending: Sending { pipes, plan, cx, context, journey }, log };
    let sent = run.stages(items).await;
    run.finish(&sent);
    run.sending.journey.end();
    sent
}

struct Run<'a> {
    sending: Sending<'a>,
    log: Execution<'a>,
}

impl Run<'_> {
    async fn stages(&self, items: &[Item]) -> Sent {
        let events = match &self.sending.plan.enrichment {
            Some(enrichment) => match self.enrich(enrichment, items).await {
                Ok(events) => events,
                Err(sent) => return sent,
            },
            None => items.iter().map(unchanged).collect(),
        };
        if events.is_empty() {
            self.log.step(Level::Trace, "TARGET_STAGE_SKIPPED");
            return Sent::All;
        }
        self.send(events).await
    }

    async fn enrich(&self, enrichment: &Enrichment, items: &[Item]) -> Result<Vec<Outgoing>, Sent> {
        self.log.step(Level::Info, "ENRICHMENT_STAGE_ENTERED");
        let events = items.iter().map(|item| &item.event);
        let texts = self.transformed("ENRICHMENT", enrichment.template.as_ref(), events)?;
        let request = match &enrichment.http {
            Some(_) => texts.concat(),
            None => array(texts.into_iter()),
        };
        self.log.step(Level::Trace, "ENRICHMENT_INVOCATION_STARTED");
        let failed = |sent: Sent, response: Option<&str>| {
            let error = Some(reason(&sent));
            let details = Details { request: Some(&request), response, error, payload: None };
            self.log.tell(Level::Error, "ENRICHMENT_INVOCATION_FAILED", details);
            self.log.failed("ENRICHMENT_STAGE_FAILED", reason(&sent));
            self.sending.journey.enriched(items, &enrichment.arn, error);
            sent
        };
        let answer = match self.ask(enrichment, items, &request).await {
            Ok(answer) => answer,
            Err(fault) => return Err(failed(of_fault(&fault), None)),
        };
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        if answer.failed {
            return Err(failed(Sent::Failed { reason: text.clone() }, Some(&text)));
        }
        let parsed = serde_json::from_slice(&answer.payload).unwrap_or_else(|_| Value::from(text.as_str()));
        let events = enrichment::events(parsed, items, self.sending.cx);
        let most = self.sending.plan.most_events();
        if events.len() > most {
            let reason = format!("The enrichment returned {} events, the target takes {most}.", events.len());
            return Err(failed(Sent::Failed { reason }, Some(&text)));
        }
        let details = Details { request: Some(&request), response: Some(&text), ..Details::default() };
        self.log.tell(Level::Trace, "ENRICHMENT_INVOCATION_SUCCEEDED", details);
        let details = Details { payload: Some(&text), ..Details::default() };
        self.log.tell(Level::Info, "ENRICHMENT_STAGE_SUCCEEDED", details);
        self.sending.journey.enriched(items, &enrichment.arn, None);
        Ok(events)
    }

    /// A function gets the array, an API destination its single event.
    async fn ask(&self, enrichment: &Enrichment, items: &[Item], request: &str) -> Result<Answer, Fault> {
        let cx = self.sending.cx;
        let (Some(http), Some(item)) = (&enrichment.http, items.first()) else {
            return calls::invoke(cx, &enrichment.arn, request).await;
        };
        let context = &self.sending.context;
        let body = http.call(cx, &enrichment.arn, &item.event, context, request).await?;
        Ok(Answer { payload: body.to_vec(), failed: false })
    }

    async fn send(&self, mut events: Vec<Outgoing>) -> Sent {
        self.log.step(Level::Info, "TARGET_STAGE_ENTERED");
        let template = self.sending.plan.template.as_ref();
        let texts = match self.transformed("TARGET", template, events.iter().map(|one| &one.event)) {
            Ok(texts) => texts,
            Err(sent) => return sent,
        };
        for (outgoing, text) in events.iter_mut().zip(texts) {
            outgoing.text = text;
        }
        self.log.step(Level::Trace, "TARGET_INVOCATION_STARTED");
        let (sent, response) = self.sending.send(&events).await;
        let request = self.log.wants_data().then(|| array(events.iter().map(|one| &one.text)));
        let details = |error| Details {
            request: request.as_deref(),
            response: response.as_deref(),
            error,
            payload: None,
        };
        match &sent {
            Sent::All => {
                self.log.tell(Level::Trace, "TARGET_INVOCATION_SUCCEEDED", details(None));
                let payload = Details { payload: request.as_deref(), ..Details::default() };
                self.log.tell(Level::Info, "TARGET_STAGE_SUCCEEDED", payload);
            }
            Sent::Except { reason, .. } => {
                self.log.tell(Level::Error, "TARGET_INVOCATION_PARTIALLY_FAILED", details(Some(reason)));
                self.log.failed("TARGET_STAGE_PARTIALLY_FAILED", reason);
            }
            Sent::Failed { reason } | Sent::Throttled { reason } => {
                self.log.tell(Level::Error, "TARGET_INVOCATION_FAILED", details(Some(reason)));
                self.log.failed("TARGET_STAGE_FAILED", reason);
            }
        }
        self.sending.journey.sent(&events, &sent);
        sent
    }

    /// The text of each event, as the template makes it.
    fn transformed<'e>(
        &self,
        stage: &str,
        template: Option<&Template>,
        events: impl Iterator<Item = &'e Value>,
    ) -> Result<Vec<String>, Sent> {
        let Some(template) = template else { return Ok(events.map(Value::to_string).collect()) };
        self.log.step(Level::Trace, &format!("{stage}_TRANSFORMATION_STARTED"));
        let texts = template.apply(events, &self.sending.context).map_err(|fault| {
            let sent = of_fault(&fault);
            self.log.failed(&format!("{stage}_TRANSFORMATION_FAILED"), reason(&sent));
            self.log.failed(&format!("{stage}_STAGE_FAILED"), reason(&sent));
            sent
        })?;
        let payload = self.log.wants_data().then(|| array(texts.iter()));
        let details = Details { payload: payload.as_deref(), ..Details::default() };
        self.log.tell(Level::Trace, &format!("{stage}_TRANSFORMATION_SUCCEEDED"), details);
        Ok(texts)
    }

    fn finish(&self, sent: &Sent) {
        match sent {
            Sent::All => self.log.step(Level::Info, "EXECUTION_SUCCEEDED"),
            Sent::Except { reason, .. } => self.log.failed("EXECUTION_PARTIALLY_FAILED", reason),
            Sent::Failed { reason } => self.log.failed("EXECUTION_FAILED", reason),
            Sent::Throttled { reason } => self.log.failed("EXECUTION_THROTTLED", reason),
        }
    }
}

fn unchanged(item: &Item) -> Outgoing {
    Outgoing {
        origin: Some(item.id.clone()),
        event: item.event.clone(),
        text: String::new(),
        trace: item.trace.clone(),
    }
}

fn reason(sent: &Sent) -> &str {
    match sent {
        Sent::All => "",
        Sent::Except { reason, .. } | Sent::Failed { reason } | Sent::Throttled { reason } => reason,
    }
}
