//! Lambda's CloudFormation types: functions, versions, aliases, permissions, mappings, asynchronous settings, layers and
//! function URLs (the latter two in `layers::resources` and `urls::resources`).

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault, Timestamp,
    provider::{Provided, ResourceProvider, Updated, Wanted, boolean, number, text},
};

use crate::{
    Lambda, aliases, api, code, concurrency, configuration, event_invoke, functions, layers, mappings,
    names::Named, permissions, provisioned, state::FunctionRow, tags, urls, versions,
};

pub struct Resources(pub Arc<Lambda>);

const FUNCTION: &str = "AWS::Lambda::Function";
const VERSION: &str = "AWS::Lambda::Version";
const ALIAS: &str = "AWS::Lambda::Alias";
const PERMISSION: &str = "AWS::Lambda::Permission";
const MAPPING: &str = "AWS::Lambda::EventSourceMapping";
const LAYER: &str = "AWS::Lambda::LayerVersion";
const LAYER_PERMISSION: &str = "AWS::Lambda::LayerVersionPermission";
const URL: &str = "AWS::Lambda::Url";
const INVOKE_CONFIG: &str = "AWS::Lambda::EventInvokeConfig";

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[FUNCTION, VERSION, ALIAS, PERMISSION, MAPPING, LAYER, LAYER_PERMISSION, URL, INVOKE_CONFIG]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            match wanted.resource_type {
                FUNCTION => self.create_function(cx, &wanted).await,
                VERSION => self.publish(cx, wanted.properties).await,
                ALIAS => self.create_alias(cx, wanted.properties).await,
                PERMISSION => self.permit(cx, &wanted).await,
                MAPPING => self.create_mapping(cx, wanted.properties).await,
                LAYER => layers::resources::publish(&self.0, cx, &wanted).await,
                LAYER_PERMISSION => layers::resources::permit(&self.0, cx, &wanted).await,
                URL => urls::resources::create(&self.0, cx, wanted.properties).await,
                _ => self.put_invoke_config(cx, &wanted).await,
            }
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        cx: &'a Cx,
        physical_id: &'a str,
        old: &'a Value,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>> {
        async move {
            let same = |name: &str| old.get(name) == wanted.properties.get(name);
            match wanted.resource_type {
                FUNCTION if same("FunctionName") && same("PackageType") => {
                    self.update_function(cx, physical_id, old, &wanted).await.map(Updated::InPlace)
                }
                ALIAS if same("FunctionName") && same("Name") => {
                    self.update_alias(cx, wanted.properties).await.map(Updated::InPlace)
                }
                MAPPING if same("EventSourceArn") && same("StartingPosition") => {
                    self.update_mapping(cx, physical_id, wanted.properties).await.map(Updated::InPlace)
                }
                URL if same("TargetFunctionArn") && same("Qualifier") => {
                    urls::resources::update(&self.0, cx, wanted.properties).await.map(Updated::InPlace)
                }
                INVOKE_CONFIG if same("FunctionName") && same("Qualifier") => {
                    self.put_invoke_config(cx, &wanted).await.map(Updated::InPlace)
                }
                _ => Ok(Updated::Replace),
            }
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        resource_type: &'a str,
        physical_id: &'a str,
        properties: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let done = match resource_type {
                FUNCTION => self.0.remove(&Named::read(cx, physical_id, None)?).await,
                VERSION => functions::delete_function(
                    &self.0,
                    cx,
                    api::DeleteFunctionRequest { function_name: physical_id.into(), qualifier: None },
                )
                .await
                .map(drop),
                ALIAS => {
                    let named = Named::read(cx, physical_id, None)?;
                    let input = api::DeleteAliasRequest {
                        function_name: named.arn,
                        name: named.qualifier.unwrap_or_default(),
                    };
                    aliases::delete_alias(&self.0, cx, input).await.map(drop)
                }
                PERMISSION => {
                    let function = text(properties, "FunctionName").unwrap_or_default();
                    let input = api::RemovePermissionRequest {
                        function_name: function,
                        statement_id: physical_id.into(),
                        qualifier: None,
                        revision_id: None,
                    };
                    permissions::remove_permission(&self.0, cx, input).await.map(drop)
                }
                MAPPING => mappings::delete(&self.0, physical_id).await.map(drop),
                LAYER => layers::resources::delete(&self.0, cx, physical_id).await,
                LAYER_PERMISSION => layers::resources::forbid(&self.0, cx, physical_id).await,
                URL => urls::resources::delete(&self.0, cx, physical_id).await,
                _ => {
                    let function_name = text(properties, "FunctionName").unwrap_or_default();
                    let input = api::DeleteFunctionEventInvokeConfigRequest {
                        function_name,
                        qualifier: text(properties, "Qualifier"),
                    };
                    event_invoke::delete_function_event_invoke_config(&self.0, cx, input).await.map(drop)
                }
            };
            match done {
                Err(fault) if fault.code() == "ResourceNotFoundException" => Ok(()),
                other => other,
            }
        }
        .boxed()
    }
}

impl Resources {
    async fn create_function(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        refuse(properties)?;
        let name = text(properties, "FunctionName")
            .unwrap_or_else(|| wanted.generated_name.chars().take(64).collect());
        let named = Named::read(cx, &name, None)?;
        let zip = function_code(cx, properties).await?;
        let row = functions::new_function(
            cx,
            &named,
            self.settings(cx, properties)?,
            &zip,
            tags(properties, wanted.tags),
        )?;
        self.0.runner.accept(&row.latest, Some(&zip)).await?;
        let exists = || Fault::new("AlreadyExists", format!("{name} already exists in stack"));
        let row = FunctionRow { recursion_allowed: recursion_allowed(properties), ..row };
        let row = self.0.insert(row, Some(zip), exists).await?;
        self.reserve(cx, &named, properties).await?;
        Ok(provided(&row.name, [("Arn", row.arn.clone())]))
    }

    async fn update_function(
        &self,
        cx: &Cx,
        name: &str,
        old: &Value,
        wanted: &Wanted<'_>,
    ) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        refuse(properties)?;
        let named = Named::read(cx, name, None)?;
        let zip = if old.get("Code") == properties.get("Code") {
            None
        } else {
            Some(function_code(cx, properties).await?)
        };
        let fresh = configuration::apply(cx, &configuration::fresh(), self.settings(cx, properties)?)?;
        let mut accepted = fresh.clone();
        accepted.code_sha256.clone_from(&self.0.get(&named)?.latest.code_sha256);
        self.0.runner.accept(&accepted, zip.as_ref()).await?;
        let tags = tags(properties, wanted.tags);
        let hash = zip.as_ref().map(|zip| {
            (code::sha256(zip), i64::try_from(zip.len()).unwrap_or(i64::MAX), code::unpacked_size(zip))
        });
        let arn = self
            .0
            .change(&named, zip, |row| {
                let (code_sha256, code_size, unpacked_size) = hash.unwrap_or_else(|| {
                    let there = &row.latest;
                    (there.code_sha256.clone(), there.code_size, there.unpacked_size)
                });
                code::check_together(unpacked_size, &fresh.layers)?;
                row.latest = crate::state::Configuration { code_sha256, code_size, unpacked_size, ..fresh };
                row.tags = tags;
                row.recursion_allowed = recursion_allowed(properties);
                Ok(row.arn.clone())
            })
            .await?;
        self.0.runner.forget(&arn);
        self.reserve(cx, &named, properties).await?;
        Ok(provided(name, [("Arn", arn)]))
    }

    fn settings(&self, cx: &Cx, properties: &Value) -> Result<configuration::Wanted, Fault> {
        let arns = strings(properties, "Layers");
        Ok(configuration::Wanted {
            layers: Some(layers::wanted(&self.0, cx, &arns)?),
            ..settings(properties)
        })
    }

    async fn reserve(&self, cx: &Cx, named: &Named, properties: &Value) -> Result<(), Fault> {
        let wanted = number(properties, "ReservedConcurrentExecutions").and_then(|n| i32::try_from(n).ok());
        let function_name = named.name.clone();
        match wanted {
            Some(reserved_concurrent_executions) => {
                let input =
                    api::PutFunctionConcurrencyRequest { function_name, reserved_concurrent_executions };
                concurrency::put_function_concurrency(&self.0, cx, input).await.map(drop)
            }
            None => concurrency::delete_function_concurrency(
                &self.0,
                cx,
                api::DeleteFunctionConcurrencyRequest { function_name },
            )
            .await
            .map(drop),
        }
    }

    async fn publish(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        let named = Named::read(cx, &text(properties, "FunctionName").unwrap_or_default(), None)?;
        let version = versions::publish(&self.0, cx, &named, text(properties, "Description"), None).await?;
        let (arn, number) = (version.function_arn.unwrap_or_default(), version.version.unwrap_or_default());
        self.0.ready(&named.arn, &number).await?;
        self.provision(cx, &named, &number, properties).await?;
        Ok(provided(&arn, [("FunctionArn", arn.clone()), ("Version", number)]))
    }

    async fn create_alias(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        let input = api::CreateAliasRequest {
            function_name: text(properties, "FunctionName").unwrap_or_default(),
            name: text(properties, "Name").unwrap_or_default(),
            function_version: text(properties, "FunctionVersion").unwrap_or_default(),
            description: text(properties, "Description"),
            routing_config: routing(properties),
        };
        let alias = aliases::create_alias(&self.0, cx, input).await?;
        let arn = alias.alias_arn.unwrap_or_default();
        self.provision_alias(cx, properties).await?;
        Ok(provided(&arn, [("AliasArn", arn.clone())]))
    }

    async fn update_alias(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        let input = api::UpdateAliasRequest {
            function_name: text(properties, "FunctionName").unwrap_or_default(),
            name: text(properties, "Name").unwrap_or_default(),
            function_version: text(properties, "FunctionVersion"),
            description: text(properties, "Description"),
            routing_config: Some(routing(properties).unwrap_or_default()),
            revision_id: None,
        };
        let alias = aliases::update_alias(&self.0, cx, input).await?;
        let arn = alias.alias_arn.unwrap_or_default();
        self.provision_alias(cx, properties).await?;
        Ok(provided(&arn, [("AliasArn", arn.clone())]))
    }

    async fn provision_alias(&self, cx: &Cx, properties: &Value) -> Result<(), Fault> {
        let named = Named::read(cx, &text(properties, "FunctionName").unwrap_or_default(), None)?;
        self.provision(cx, &named, &text(properties, "Name").unwrap_or_default(), properties).await
    }

    /// Sets a version's or alias's provisioned concurrency to what its resource says, which may be none.
    async fn provision(
        &self,
        cx: &Cx,
        named: &Named,
        qualifier: &str,
        properties: &Value,
    ) -> Result<(), Fault> {
        let config = properties.get("ProvisionedConcurrencyConfig");
        let wanted = config.and_then(|config| whole(config, "ProvisionedConcurrentExecutions"));
        let (function_name, qualifier) = (named.name.clone(), qualifier.to_string());
        let Some(provisioned_concurrent_executions) = wanted.filter(|wanted| *wanted > 0) else {
            let input = api::DeleteProvisionedConcurrencyConfigRequest { function_name, qualifier };
            let gone = provisioned::delete_provisioned_concurrency_config(&self.0, cx, input).await;
            return match gone {
                Err(fault) if fault.code() != "ProvisionedConcurrencyConfigNotFoundException" => Err(fault),
                _ => Ok(()),
            };
        };
        let input = api::PutProvisionedConcurrencyConfigRequest {
            function_name,
            qualifier,
            provisioned_concurrent_executions,
        };
        provisioned::put_provisioned_concurrency_config(&self.0, cx, input).await.map(drop)
    }

    async fn permit(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        let input = api::AddPermissionRequest {
            function_name: text(properties, "FunctionName").unwrap_or_default(),
            statement_id: wanted.generated_name.chars().take(100).collect(),
            action: text(properties, "Action").unwrap_or_default(),
            principal: text(properties, "Principal").unwrap_or_default(),
            source_arn: text(properties, "SourceArn"),
            source_account: text(properties, "SourceAccount"),
            event_source_token: text(properties, "EventSourceToken"),
            principal_org_id: text(properties, "PrincipalOrgID"),
            function_url_auth_type: text(properties, "FunctionUrlAuthType").as_deref().map(Into::into),
            invoked_via_function_url: properties.get("InvokedViaFunctionUrl").and_then(Value::as_bool),
            ..api::AddPermissionRequest::default()
        };
        let id = input.statement_id.clone();
        permissions::add_permission(&self.0, cx, input).await?;
        Ok(provided(&id, []))
    }

    async fn create_mapping(&self, cx: &Cx, properties: &Value) -> Result<Provided, Fault> {
        let mapping = mappings::create_event_source_mapping(&self.0, cx, mapping_request(properties)).await?;
        let (id, arn) =
            (mapping.uuid.unwrap_or_default(), mapping.event_source_mapping_arn.unwrap_or_default());
        Ok(provided(&id, [("Id", id.clone()), ("EventSourceMappingArn", arn)]))
    }

    async fn update_mapping(&self, cx: &Cx, uuid: &str, properties: &Value) -> Result<Provided, Fault> {
        let wanted = mapping_request(properties);
        let queue = wanted.event_source_arn.as_deref().is_some_and(mappings::is_queue);
        let of_stream = |value: i32| (!queue).then_some(value);
        let input = api::UpdateEventSourceMappingRequest {
            uuid: uuid.into(),
            function_name: Some(wanted.function_name),
            enabled: Some(wanted.enabled.unwrap_or(true)),
            batch_size: Some(wanted.batch_size.unwrap_or(if queue { 10 } else { 100 })),
            filter_criteria: Some(wanted.filter_criteria.unwrap_or_default()),
            maximum_batching_window_in_seconds: Some(wanted.maximum_batching_window_in_seconds.unwrap_or(0)),
            destination_config: wanted.destination_config.or((!queue).then(api::DestinationConfig::default)),
            maximum_record_age_in_seconds: wanted.maximum_record_age_in_seconds.or(of_stream(-1)),
            bisect_batch_on_function_error: wanted
                .bisect_batch_on_function_error
                .or((!queue).then_some(false)),
            maximum_retry_attempts: wanted.maximum_retry_attempts.or(of_stream(-1)),
            parallelization_factor: wanted.parallelization_factor.or(of_stream(1)),
            scaling_config: Some(wanted.scaling_config.unwrap_or_default()),
            tumbling_window_in_seconds: wanted.tumbling_window_in_seconds.or(of_stream(0)),
            function_response_types: Some(wanted.function_response_types.unwrap_or_default()),
            kms_key_arn: wanted.kms_key_arn,
            metrics_config: wanted.metrics_config,
            logging_config: wanted.logging_config,
            provisioned_poller_config: wanted.provisioned_poller_config,
            source_access_configurations: wanted.source_access_configurations,
            amazon_managed_kafka_event_source_config: wanted.amazon_managed_kafka_event_source_config,
            self_managed_kafka_event_source_config: wanted.self_managed_kafka_event_source_config,
            document_db_event_source_config: wanted.document_db_event_source_config,
        };
        let mapping = mappings::update_event_source_mapping(&self.0, cx, input).await?;
        let tags = wanted.tags.unwrap_or_default();
        let replace = |there: &mut BTreeMap<String, String>| {
            *there = tags;
            tags::check(there)
        };
        mappings::change_tags(&self.0, uuid, replace).await?;
        let arn = mapping.event_source_mapping_arn.unwrap_or_default();
        Ok(provided(uuid, [("Id", uuid.to_string()), ("EventSourceMappingArn", arn)]))
    }

    async fn put_invoke_config(&self, cx: &Cx, wanted: &Wanted<'_>) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        let destination = |side: &str| {
            properties.pointer(&format!("/DestinationConfig/{side}")).and_then(|to| text(to, "Destination"))
        };
        let config = api::DestinationConfig {
            on_success: Some(api::OnSuccess { destination: destination("OnSuccess") }),
            on_failure: Some(api::OnFailure { destination: destination("OnFailure") }),
        };
        let input = api::PutFunctionEventInvokeConfigRequest {
            function_name: text(properties, "FunctionName").unwrap_or_default(),
            qualifier: text(properties, "Qualifier"),
            maximum_retry_attempts: whole(properties, "MaximumRetryAttempts"),
            maximum_event_age_in_seconds: whole(properties, "MaximumEventAgeInSeconds"),
            destination_config: Some(config),
        };
        event_invoke::put_function_event_invoke_config(&self.0, cx, input).await?;
        Ok(provided(wanted.generated_name, []))
    }
}

pub fn provided<const N: usize>(physical_id: &str, attributes: [(&str, String); N]) -> Provided {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_string(), Value::String(value)));
    Provided { physical_id: physical_id.to_string(), attributes: attributes.collect() }
}

fn refuse(properties: &Value) -> Result<(), Fault> {
    let unknown = [
        "VpcConfig",
        "KmsKeyArn",
        "FileSystemConfigs",
        "ImageConfig",
        "CodeSigningConfigArn",
        "DurableConfig",
        "TenancyConfig",
        "CapacityProviderConfig",
    ];
    let empty = |value: &Value| {
        value.as_array().is_some_and(Vec::is_empty) || value.get("ApplyOn").is_some_and(|on| on == "None")
    };
    let asked = unknown.into_iter().find(|name| properties.get(name).is_some_and(|value| !empty(value)));
    asked.map_or(Ok(()), |name| {
        Err(Fault::not_implemented(format!("the property {name} of AWS::Lambda::Function")))
    })
}

fn recursion_allowed(properties: &Value) -> bool {
    text(properties, "RecursiveLoop").as_deref() == Some("Allow")
}

/// The zip from S3, or one made of inline code.
async fn function_code(cx: &Cx, properties: &Value) -> Result<bytes::Bytes, Fault> {
    let of = properties.get("Code").unwrap_or(&Value::Null);
    if let Some(inline) = text(of, "ZipFile") {
        let node = text(properties, "Runtime").is_some_and(|runtime| runtime.starts_with("nodejs"));
        return code::zip_of(if node { "index.js" } else { "index.py" }, inline.as_bytes());
    }
    let (bucket, key, version) = (text(of, "S3Bucket"), text(of, "S3Key"), text(of, "S3ObjectVersion"));
    code::read(
        cx,
        code::Source {
            zip: None,
            bucket: bucket.as_deref(),
            key: key.as_deref(),
            version: version.as_deref(),
        },
    )
    .await
}

fn settings(properties: &Value) -> configuration::Wanted {
    let environment = properties.pointer("/Environment/Variables").and_then(Value::as_object);
    let environment = environment.map(|variables| {
        variables
            .keys()
            .map(|name| (name.clone(), text(&Value::Object(variables.clone()), name).unwrap_or_default()))
            .collect()
    });
    let logging = properties.get("LoggingConfig").map(|config| api::LoggingConfig {
        log_format: text(config, "LogFormat").as_deref().map(Into::into),
        application_log_level: text(config, "ApplicationLogLevel").as_deref().map(Into::into),
        system_log_level: text(config, "SystemLogLevel").as_deref().map(Into::into),
        log_group: text(config, "LogGroup"),
    });
    configuration::Wanted {
        description: text(properties, "Description"),
        runtime: text(properties, "Runtime"),
        handler: text(properties, "Handler"),
        role: text(properties, "Role"),
        timeout_s: whole(properties, "Timeout"),
        memory_mb: whole(properties, "MemorySize"),
        tmp_mb: properties.get("EphemeralStorage").and_then(|storage| whole(storage, "Size")),
        environment: Some(environment.unwrap_or_default()),
        dead_letter_arn: properties.get("DeadLetterConfig").and_then(|config| text(config, "TargetArn")),
        tracing: properties.get("TracingConfig").and_then(|config| text(config, "Mode")),
        architecture: properties.pointer("/Architectures/0").and_then(Value::as_str).map(str::to_string),
        logging,
        layers: None,
        snap_start: Some(
            properties.pointer("/SnapStart/ApplyOn").is_some_and(|on| on == "PublishedVersions"),
        ),
    }
}

fn mapping_request(properties: &Value) -> api::CreateEventSourceMappingRequest {
    let filters = properties.pointer("/FilterCriteria/Filters").and_then(Value::as_array);
    let filters = filters
        .map(|list| list.iter().map(|filter| api::Filter { pattern: text(filter, "Pattern") }).collect());
    let failure = properties.pointer("/DestinationConfig/OnFailure").and_then(|to| text(to, "Destination"));
    let types = properties.get("FunctionResponseTypes").and_then(Value::as_array);
    let success = properties.pointer("/DestinationConfig/OnSuccess").and_then(|to| text(to, "Destination"));
    let destinations = failure.is_some() || success.is_some();
    api::CreateEventSourceMappingRequest {
        event_source_arn: text(properties, "EventSourceArn"),
        function_name: text(properties, "FunctionName").unwrap_or_default(),
        enabled: boolean(properties, "Enabled"),
        batch_size: whole(properties, "BatchSize"),
        filter_criteria: filters.map(|filters| api::FilterCriteria { filters: Some(filters) }),
        maximum_batching_window_in_seconds: whole(properties, "MaximumBatchingWindowInSeconds"),
        parallelization_factor: whole(properties, "ParallelizationFactor"),
        starting_position: text(properties, "StartingPosition").as_deref().map(Into::into),
        destination_config: destinations.then(|| api::DestinationConfig {
            on_success: success.map(|arn| api::OnSuccess { destination: Some(arn) }),
            on_failure: failure.map(|arn| api::OnFailure { destination: Some(arn) }),
        }),
        maximum_record_age_in_seconds: whole(properties, "MaximumRecordAgeInSeconds"),
        bisect_batch_on_function_error: boolean(properties, "BisectBatchOnFunctionError"),
        maximum_retry_attempts: whole(properties, "MaximumRetryAttempts"),
        scaling_config: properties
            .get("ScalingConfig")
            .map(|scaling| api::ScalingConfig { maximum_concurrency: whole(scaling, "MaximumConcurrency") }),
        tumbling_window_in_seconds: whole(properties, "TumblingWindowInSeconds"),
        tags: properties.get("Tags").map(|_| tags(properties, &BTreeMap::new())),
        function_response_types: types
            .map(|list| list.iter().filter_map(Value::as_str).map(Into::into).collect()),
        ..of_other_sources(properties)
    }
}

/// Properties of sources that there are none of here, and options that are not honoured: they are passed on to be refused.
fn of_other_sources(properties: &Value) -> api::CreateEventSourceMappingRequest {
    let has = |name: &str| properties.get(name).is_some();
    let list = |name: &str| has(name).then(|| strings(properties, name));
    let pollers = properties.get("ProvisionedPollerConfig");
    let logging = properties.get("LoggingConfig").and_then(|logging| text(logging, "SystemLogLevel"));
    let at = properties.get("StartingPositionTimestamp").and_then(Value::as_f64);
    api::CreateEventSourceMappingRequest {
        topics: list("Topics"),
        queues: list("Queues"),
        kms_key_arn: text(properties, "KmsKeyArn"),
        starting_position_timestamp: at.map(|seconds| Timestamp::from_millis((seconds * 1000.0) as i64)),
        self_managed_event_source: has("SelfManagedEventSource").then(Default::default),
        amazon_managed_kafka_event_source_config: has("AmazonManagedKafkaEventSourceConfig")
            .then(Default::default),
        self_managed_kafka_event_source_config: has("SelfManagedKafkaEventSourceConfig")
            .then(Default::default),
        document_db_event_source_config: has("DocumentDBEventSourceConfig").then(Default::default),
        source_access_configurations: has("SourceAccessConfigurations").then(|| vec![Default::default()]),
        logging_config: logging.map(|level| api::EventSourceMappingLoggingConfig {
            system_log_level: Some(level.as_str().into()),
        }),
        metrics_config: properties.get("MetricsConfig").map(|config| api::EventSourceMappingMetricsConfig {
            metrics: Some(strings(config, "Metrics").iter().map(|metric| metric.as_str().into()).collect()),
        }),
        provisioned_poller_config: pollers.map(|pollers| api::ProvisionedPollerConfig {
            minimum_pollers: whole(pollers, "MinimumPollers"),
            maximum_pollers: whole(pollers, "MaximumPollers"),
            poller_group_name: text(pollers, "PollerGroupName"),
        }),
        ..api::CreateEventSourceMappingRequest::default()
    }
}

fn routing(properties: &Value) -> Option<api::AliasRoutingConfiguration> {
    let weights = properties.pointer("/RoutingConfig/AdditionalVersionWeights")?.as_array()?;
    let weights = weights.iter().filter_map(|weight| {
        Some((text(weight, "FunctionVersion")?, weight.get("FunctionWeight")?.as_f64()?))
    });
    Some(api::AliasRoutingConfiguration { additional_version_weights: Some(weights.collect()) })
}

pub fn strings(properties: &Value, name: &str) -> Vec<String> {
    let list = properties.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_string)).collect()
}

fn whole(properties: &Value, name: &str) -> Option<i32> {
    number(properties, name).and_then(|n| i32::try_from(n).ok())
}

fn tags(properties: &Value, of_stack: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = of_stack.clone();
    for tag in properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (text(tag, "Key"), text(tag, "Value")) {
            tags.insert(key, value);
        }
    }
    tags
}
