//! A function's configuration: from requests, with Lambda's defaults and limits, and back to the caller.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use tidemill_platform::{Cx, Fault};
use tidemill_sandbox::{JsonLogs, LogLevel, WASM_RUNTIME};

use crate::{
    api,
    api::{FunctionConfiguration, InvalidParameterValueException, LastUpdateStatus, State},
    state::{Configuration, FunctionRow},
};

const MOST_ENVIRONMENT: usize = 4096;
/// Lambda sets these itself; a function's environment must not.
const RESERVED: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];
/// How the names of runtimes begin that AWS takes no new functions for and no machine has.
const ENDED: [&str; 14] = [
    "nodejs4.3",
    "nodejs6.",
    "nodejs8.",
    "nodejs10.",
    "nodejs12.",
    "nodejs14.",
    "python2.",
    "python3.6",
    "python3.7",
    "python3.8",
    "dotnetcore",
    "dotnet6",
    "ruby2.",
    "go1.",
];

/// What a request says; absent members keep what was there.
#[derive(Clone, Default)]
pub struct Wanted {
    pub description: Option<String>,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub role: Option<String>,
    pub timeout_s: Option<i32>,
    pub memory_mb: Option<i32>,
    pub tmp_mb: Option<i32>,
    pub environment: Option<BTreeMap<String, String>>,
    pub dead_letter_arn: Option<String>,
    pub tracing: Option<String>,
    pub architecture: Option<String>,
    pub logging: Option<api::LoggingConfig>,
    pub layers: Option<Vec<crate::layers::Use>>,
    pub snap_start: Option<bool>,
}

/// A configuration before anything was asked.
pub fn fresh() -> Configuration {
    Configuration {
        timeout_s: 3,
        memory_mb: 128,
        tmp_mb: 512,
        architecture: "x86_64".into(),
        log_format: "Text".into(),
        ..Configuration::default()
    }
}

/// Lays what is wanted over what is there and checks the whole. The revision changes.
pub fn apply(cx: &Cx, there: &Configuration, wanted: Wanted) -> Result<Configuration, Fault> {
    let mut next = there.clone();
    next.description = wanted.description.unwrap_or(next.description);
    next.runtime = wanted.runtime.unwrap_or(next.runtime);
    next.handler = wanted.handler.unwrap_or(next.handler);
    next.role = wanted.role.unwrap_or(next.role);
    next.timeout_s = wanted.timeout_s.unwrap_or(next.timeout_s);
    next.memory_mb = wanted.memory_mb.unwrap_or(next.memory_mb);
    next.tmp_mb = wanted.tmp_mb.unwrap_or(next.tmp_mb);
    next.environment = wanted.environment.unwrap_or(next.environment);
    next.architecture = wanted.architecture.unwrap_or(next.architecture);
    next.layers = wanted.layers.unwrap_or(next.layers);
    next.snap_start = wanted.snap_start.unwrap_or(next.snap_start);
    if let Some(arn) = wanted.dead_letter_arn {
        next.dead_letter_arn = (!arn.is_empty()).then_some(arn);
    }
    if let Some(mode) = wanted.tracing {
        next.traced = mode == "Active";
    }
    if let Some(logging) = wanted.logging {
        apply_logging(&mut next, logging)?;
    }
    next.revision_id = cx.random().uuid();
    next.modified_at = cx.now().millis();
    check(cx, &next)?;
    Ok(next)
}

fn apply_logging(next: &mut Configuration, logging: api::LoggingConfig) -> Result<(), Fault> {
    if let Some(format) = logging.log_format {
        next.log_format = format.to_string();
    }
    if (logging.application_log_level.is_some() || logging.system_log_level.is_some())
        && next.log_format != "JSON"
    {
        return Err(InvalidParameterValueException::new(
            "Log levels are only supported when the log format is JSON.",
        )
        .into());
    }
    let level = |wanted: Option<String>, there: Option<String>| {
        (next.log_format == "JSON").then(|| wanted.or(there).unwrap_or_else(|| "INFO".into()))
    };
    let application = logging.application_log_level.map(|level| level.to_string());
    let system = logging.system_log_level.map(|level| level.to_string());
    next.application_log_level = level(application, next.application_log_level.take());
    next.system_log_level = level(system, next.system_log_level.take());
    next.log_group = logging.log_group.or(next.log_group.take());
    Ok(())
}

fn check(cx: &Cx, next: &Configuration) -> Result<(), Fault> {
    let invalid = |sentence: String| Err(InvalidParameterValueException::new(sentence).into());
    if !(1..=900).contains(&next.timeout_s) {
        let bound =
            if next.timeout_s < 1 { "greater than or equal to 1" } else { "less than or equal to 900" };
        let sentence = format!(
            "1 validation error detected: Value '{}' at 'timeout' failed to satisfy constraint: Member must have value {bound}",
            next.timeout_s
        );
        return Err(Fault::validation(sentence));
    }
    if next.memory_mb > 10_240 {
        return invalid("'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240".to_string());
    }
    check_environment(&next.environment)?;
    if ["nodejs", "java8"].contains(&next.runtime.as_str())
        || ENDED.iter().any(|name| next.runtime.starts_with(name))
    {
        return invalid(format!(
            "The runtime parameter of {} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions.",
            next.runtime
        ));
    }
    if next.architecture != std::env::consts::ARCH.replace("aarch64", "arm64")
        && next.runtime.starts_with("provided")
        && next.runtime != WASM_RUNTIME
    {
        return Err(Fault::not_implemented(format!(
            "the architecture {} on this machine",
            next.architecture
        )));
    }
    let dead_letters = next.dead_letter_arn.as_deref().and_then(|arn| arn.split(':').nth(2));
    if dead_letters.is_some_and(|service| !matches!(service, "sqs" | "sns")) {
        return invalid(
            "The target of a DeadLetterConfig is a queue of Amazon SQS or a topic of Amazon SNS.".to_string(),
        );
    }
    crate::code::check_together(next.unpacked_size, &next.layers)?;
    crate::snapstart::check(next)?;
    check_role(cx, &next.role)
}

/// Lambda measures the variables as JSON.
fn check_environment(variables: &BTreeMap<String, String>) -> Result<(), Fault> {
    let unable = "Lambda was unable to configure your environment variables because the environment variables you have provided";
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|name| RESERVED.contains(name)).collect();
    if !reserved.is_empty() {
        let sentence = format!(
            "{unable} contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        );
        return Err(InvalidParameterValueException::new(sentence).into());
    }
    let measured = serde_json::to_string(variables).unwrap_or_default();
    if measured.len() > MOST_ENVIRONMENT {
        let sentence = format!("{unable} exceeded the 4KB limit. String measured: {measured}");
        return Err(InvalidParameterValueException::new(sentence).into());
    }
    Ok(())
}

/// Where keys are checked roles must exist; on loopback any well-formed one is taken at its word, as local setups expect.
fn check_role(cx: &Cx, role: &str) -> Result<(), Fault> {
    if !cx.platform().config.enforce {
        return Ok(());
    }
    let known = cx.platform().doors.identity.ask("IAM")?.role_id(role).is_some();
    if known {
        Ok(())
    } else {
        Err(InvalidParameterValueException::new(
            "The role defined for the function cannot be assumed by Lambda.",
        )
        .into())
    }
}

/// The configuration as Lambda answers it. `arn` carries the qualifier asked for.
pub fn wire(
    row: &FunctionRow,
    version: &str,
    configuration: &Configuration,
    arn: String,
) -> FunctionConfiguration {
    let c = configuration;
    let answer = FunctionConfiguration {
        function_name: Some(row.name.clone()),
        function_arn: Some(arn),
        runtime: (!c.runtime.is_empty()).then(|| c.runtime.as_str().into()),
        role: Some(c.role.clone()),
        handler: (!c.handler.is_empty()).then(|| c.handler.clone()),
        code_size: Some(c.code_size),
        description: Some(c.description.clone()),
        timeout: Some(c.timeout_s),
        memory_size: Some(c.memory_mb),
        last_modified: Some(modified(c.modified_at)),
        code_sha256: Some(base64_of_hex(&c.code_sha256)),
        version: Some(version.to_string()),
        dead_letter_config: c
            .dead_letter_arn
            .clone()
            .map(|arn| api::DeadLetterConfig { target_arn: Some(arn) }),
        environment: (!c.environment.is_empty())
            .then(|| api::EnvironmentResponse { variables: Some(c.environment.clone()), error: None }),
        layers: (!c.layers.is_empty()).then(|| c.layers.iter().map(layer).collect()),
        tracing_config: Some(api::TracingConfigResponse {
            mode: Some(if c.traced { "Active" } else { "PassThrough" }.into()),
        }),
        revision_id: Some(c.revision_id.clone()),
        state: Some(State::Active),
        last_update_status: Some(LastUpdateStatus::Successful),
        package_type: Some(api::PackageType::Zip),
        architectures: Some(vec![c.architecture.as_str().into()]),
        ephemeral_storage: Some(api::EphemeralStorage { size: c.tmp_mb }),
        runtime_version_config: Some(api::RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_version_arn(row, c)),
            error: None,
        }),
        logging_config: Some(api::LoggingConfig {
            log_format: Some(c.log_format.as_str().into()),
            log_group: Some(log_group(row, c)),
            application_log_level: c.application_log_level.as_deref().map(Into::into),
            system_log_level: c.system_log_level.as_deref().map(Into::into),
        }),
        ..FunctionConfiguration::default()
    };
    crate::snapstart::describe(row, version, c, answer)
}

fn layer(used: &crate::layers::Use) -> api::Layer {
    api::Layer { arn: Some(used.arn.clone()), code_size: Some(used.code_size), ..api::Layer::default() }
}

/// What of a log in JSON is kept; `None` for one in text.
pub fn json_logs(configuration: &Configuration) -> Option<JsonLogs> {
    let level = |name: &Option<String>| name.as_deref().and_then(LogLevel::parse).unwrap_or(LogLevel::Info);
    (configuration.log_format == "JSON").then(|| JsonLogs {
        application: level(&configuration.application_log_level),
        system: level(&configuration.system_log_level),
    })
}

pub fn log_group(row: &FunctionRow, configuration: &Configuration) -> String {
    configuration.log_group.clone().unwrap_or_else(|| format!("/aws/lambda/{}", row.name))
}

fn runtime_version_arn(row: &FunctionRow, configuration: &Configuration) -> String {
    // A stable stand-in: 64 hex digits, as AWS prints them.
    let digest = crate::code::sha256(configuration.runtime.as_bytes());
    format!("arn:aws:lambda:{}::runtime:{digest}", row.region)
}

/// `2026-11-23T08:05:41.995+0000`
pub fn modified(millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// Lambda prints hashes in base64.
pub fn base64_of_hex(hex: &str) -> String {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .filter_map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    BASE64_STANDARD.encode(bytes)
}
