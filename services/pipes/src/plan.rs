//! A pipe ready to run: everything of its row parsed. What cannot be parsed, or is not offered, is refused here, so that a
//! row that was accepted can run.

use serde_json::Value;
use tidemill_api::Shape;
use tidemill_input_transformer::PipeContext;
use tidemill_platform::{Arn, Cx, Fault, Platform, Trace};
use tidemill_wire::value::from_value;

use crate::{
    api,
    api::{
        DynamoDBStreamStartPosition, OnPartialBatchItemFailureStreams, PipeEnrichmentParameters,
        PipeSourceParameters,
    },
    filters::Filters,
    http::{Http, is_destination},
    log::Log,
    rows::PipeRow,
    target::{Names, Target, most_events},
    template::Template,
};

pub struct Plan {
    pub id: String,
    pub arn: String,
    pub name: String,
    pub account: String,
    pub region: String,
    pub source_arn: String,
    pub source: Source,
    pub filters: Filters,
    pub enrichment: Option<Enrichment>,
    pub target_arn: Arn,
    pub target: Target,
    /// What the target gets of an event; the event itself where there is none.
    pub template: Option<Template>,
    pub log: Option<Log>,
}

pub enum Source {
    Queue(QueueSource),
    Stream(StreamSource),
}

pub struct QueueSource {
    pub batch_size: usize,
    pub window_s: u32,
    pub is_fifo: bool,
}

pub struct StreamSource {
    pub from_latest: bool,
    pub batch_size: usize,
    pub window_s: u32,
    pub lanes: u64,
    /// `None` for as long as the records live.
    pub retries: Option<u32>,
    pub max_age_s: Option<i64>,
    pub bisects: bool,
    pub dead_letter: Option<Arn>,
}

pub struct Enrichment {
    pub arn: String,
    pub template: Option<Template>,
    /// What the request of an API destination is made of; `None` for functions.
    pub http: Option<Http>,
}

impl Plan {
    pub fn of(row: &PipeRow) -> Result<Plan, Fault> {
        let parameters: PipeSourceParameters = read(&row.source_parameters)?;
        let target: api::PipeTargetParameters = read_some(row.target_parameters.as_ref())?;
        let target_arn = arn(&row.target)?;
        let names =
            Names { pipe: &row.name, source_service: row.source.split(':').nth(2).unwrap_or_default() };
        let plan = Plan {
            id: row.id.clone(),
            arn: row.arn.clone(),
            name: row.name.clone(),
            account: row.account.clone(),
            region: row.region.clone(),
            source_arn: row.source.clone(),
            filters: filters(&parameters)?,
            source: source(&row.source, &parameters)?,
            enrichment: enrichment(row)?,
            template: Template::parse("TargetParameters", target.input_template.as_deref())?,
            target: Target::parse(&names, &target_arn, &target)?,
            target_arn,
            log: row.log.as_ref().map(|log| Log::parse(&row.name, log)).transpose()?.flatten(),
        };
        plan.check_batch_size()?;
        Ok(plan)
    }

    /// "You can't configure a pipe with a larger batch size than the target supports."
    fn check_batch_size(&self) -> Result<(), Fault> {
        let (asked, most) = (self.source.batch_size(), self.most_events());
        if self.enrichment.as_ref().is_some_and(|one| one.http.is_some()) && asked > 1 {
            return Err(Fault::validation(format!(
                "BatchSize {asked} of the source is larger than the enrichment supports: 1."
            )));
        }
        if asked > most {
            return Err(Fault::validation(format!(
                "BatchSize {asked} of the source is larger than the target supports: {most}."
            )));
        }
        Ok(())
    }

    /// How many events the target takes at once.
    pub fn most_events(&self) -> usize {
        most_events(&self.target_arn.to_string())
    }

    /// What templates can name beside the event.
    pub fn context<'a>(&'a self, target_arn: &'a str, ingestion_time: &'a str) -> PipeContext<'a> {
        PipeContext {
            pipe_arn: &self.arn,
            pipe_name: &self.name,
            source_arn: &self.source_arn,
            enrichment_arn: self.enrichment.as_ref().map(|one| one.arn.as_str()),
            target_arn,
            ingestion_time,
        }
    }

    /// A context for what the pipe does.
    pub fn cx(&self, platform: &std::sync::Arc<Platform>, trace: Option<Trace>) -> Cx {
        let trace = trace.filter(|trace| !trace.root.is_empty());
        let trace = trace.unwrap_or_else(|| Trace::begin(platform.clock.now(), &platform.random));
        platform.cx(&self.account, &self.region, trace)
    }

    /// Whether what follows a failed event must wait for it.
    pub fn keeps_order(&self) -> bool {
        match &self.source {
            Source::Queue(queue) => queue.is_fifo,
            Source::Stream(_) => true,
        }
    }
}

impl Source {
    fn batch_size(&self) -> usize {
        match self {
            Source::Queue(queue) => queue.batch_size,
            Source::Stream(stream) => stream.batch_size,
        }
    }
}

/// Shapes from the row; a row holds nothing else.
pub fn read<T: Shape>(value: &Value) -> Result<T, Fault> {
    from_value(value).map_err(|error| Fault::validation(error.message))
}

pub fn read_some<T: Shape + Default>(value: Option<&Value>) -> Result<T, Fault> {
    value.map_or_else(|| Ok(T::default()), read)
}

pub fn arn(text: &str) -> Result<Arn, Fault> {
    text.parse().map_err(|_| Fault::validation(format!("Provided Arn is not in correct format: {text}")))
}

fn filters(parameters: &PipeSourceParameters) -> Result<Filters, Fault> {
    let given = parameters.filter_criteria.as_ref().and_then(|criteria| criteria.filters.as_ref());
    Filters::parse(given.into_iter().flatten().filter_map(|filter| filter.pattern.as_deref()))
}

fn source(source_arn: &str, given: &PipeSourceParameters) -> Result<Source, Fault> {
    for (what, is_given) in [
        ("KinesisStreamParameters", given.kinesis_stream_parameters.is_some()),
        ("ActiveMQBrokerParameters", given.active_mq_broker_parameters.is_some()),
        ("RabbitMQBrokerParameters", given.rabbit_mq_broker_parameters.is_some()),
        ("ManagedStreamingKafkaParameters", given.managed_streaming_kafka_parameters.is_some()),
        ("SelfManagedKafkaParameters", given.self_managed_kafka_parameters.is_some()),
    ] {
        if is_given {
            return Err(Fault::not_implemented(format!("pipes with {what}")));
        }
    }
    let parsed = arn(source_arn)?;
    let (queue, stream) = (given.sqs_queue_parameters.as_ref(), given.dynamo_db_stream_parameters.as_ref());
    match parsed.service.as_str() {
        "sqs" if stream.is_none() => queue_source(&parsed, queue).map(Source::Queue),
        "dynamodb" if queue.is_none() => stream_source(&parsed, stream).map(Source::Stream),
        "sqs" | "dynamodb" => Err(Fault::validation("The source parameters do not belong to the source.")),
        "kinesis" | "kafka" | "mq" => Err(Fault::not_implemented(format!("pipes from {}", parsed.service))),
        other => Err(Fault::validation(format!("{other} is not a supported source of pipes."))),
    }
}

fn queue_source(
    queue: &Arn,
    given: Option<&api::PipeSourceSqsQueueParameters>,
) -> Result<QueueSource, Fault> {
    let batch_size = given.and_then(|one| one.batch_size).unwrap_or(10);
    let window_s = given.and_then(|one| one.maximum_batching_window_in_seconds).unwrap_or(0);
    let is_fifo = queue.resource.ends_with(".fifo");
    if is_fifo && batch_size > 10 {
        return Err(Fault::validation("Batch size for FIFO queues cannot be greater than 10."));
    }
    if is_fifo && window_s > 0 {
        return Err(Fault::validation("Batching window is not supported for FIFO queues."));
    }
    if batch_size > 10 && window_s == 0 {
        return Err(Fault::validation(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    Ok(QueueSource {
        batch_size: positive(batch_size),
        window_s: u32::try_from(window_s).unwrap_or(0),
        is_fifo,
    })
}

fn stream_source(
    stream: &Arn,
    given: Option<&api::PipeSourceDynamoDBStreamParameters>,
) -> Result<StreamSource, Fault> {
    if !stream.resource.contains("/stream/") {
        return Err(Fault::validation("The source is not a stream of a table."));
    }
    let given = given
        .ok_or_else(|| Fault::validation("DynamoDBStreamParameters with a StartingPosition are required."))?;
    let max_age_s = given.maximum_record_age_in_seconds.unwrap_or(-1);
    if (0..60).contains(&max_age_s) {
        return Err(Fault::validation(
            "MaximumRecordAgeInSeconds must be either -1 or between 60 and 604800.",
        ));
    }
    let dead_letter = given.dead_letter_config.as_ref().and_then(|config| config.arn.as_deref());
    Ok(StreamSource {
        from_latest: given.starting_position == DynamoDBStreamStartPosition::Latest,
        batch_size: positive(given.batch_size.unwrap_or(100)),
        window_s: given.maximum_batching_window_in_seconds.and_then(|s| u32::try_from(s).ok()).unwrap_or(0),
        lanes: given.parallelization_factor.and_then(|n| u64::try_from(n).ok()).unwrap_or(1),
        retries: given.maximum_retry_attempts.and_then(|n| u32::try_from(n).ok()),
        max_age_s: (max_age_s >= 60).then_some(i64::from(max_age_s)),
        bisects: given.on_partial_batch_item_failure
            == Some(OnPartialBatchItemFailureStreams::AutomaticBisect),
        dead_letter: dead_letter.map(arn).transpose()?,
    })
}

fn positive(number: i32) -> usize {
    usize::try_from(number).unwrap_or(1).max(1)
}

fn enrichment(row: &PipeRow) -> Result<Option<Enrichment>, Fault> {
    let given: PipeEnrichmentParameters = read_some(row.enrichment_parameters.as_ref())?;
    let Some(text) = row.enrichment.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = arn(text)?;
    let http = match parsed.service.as_str() {
        "lambda" if given.http_parameters.is_some() => {
            return Err(Fault::validation("HttpParameters are not supported for an enrichment of lambda."));
        }
        "lambda" => None,
        "events" if is_destination(&parsed) => Some(enrichment_http(given.http_parameters)?),
        "states" | "execute-api" => {
            return Err(Fault::not_implemented(format!("pipes with an enrichment of {}", parsed.service)));
        }
        other => return Err(Fault::validation(format!("{other} is not a supported enrichment of pipes."))),
    };
    let template = Template::parse("EnrichmentParameters", given.input_template.as_deref())?;
    Ok(Some(Enrichment { arn: text.into(), template, http }))
}

fn enrichment_http(given: Option<api::PipeEnrichmentHttpParameters>) -> Result<Http, Fault> {
    let given = given.unwrap_or_default();
    Http::parse(
        given.path_parameter_values.unwrap_or_default(),
        given.header_parameters.unwrap_or_default(),
        given.query_string_parameters.unwrap_or_default(),
    )
}
