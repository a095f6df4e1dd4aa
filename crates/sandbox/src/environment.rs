//! The environment of a function's process, as Lambda sets it. Nothing of the platform's own environment gets in.

use std::collections::BTreeMap;

use crate::{Credentials, FunctionSpec};

/// Where things are in a sandbox's eyes.
#[derive(Clone, Debug)]
pub struct Places {
    pub task: String,
    /// Layer roots, the first one looked into first.
    pub opts: Vec<String>,
    pub runtime: String,
    pub lang: String,
    /// `host:port` of the Runtime API, if it is served.
    pub runtime_api: Option<String>,
    /// The AWS endpoint's URL.
    pub endpoint: String,
    /// `host:port` of the X-Ray daemon, if there is one.
    pub xray: Option<String>,
    /// A prepared SDK for Node.js that lies where only `NODE_PATH` finds it.
    pub node_sdk: Option<String>,
    /// A folder for temporary files where `/tmp` is not the function's own.
    pub tmp: Option<String>,
}

/// The whole environment. User variables come first, so that reserved names win.
pub fn build(
    function: &FunctionSpec,
    places: &Places,
    log_stream: &str,
    region: &str,
    credentials: &Credentials,
) -> BTreeMap<String, String> {
    let mut env = function.env.clone();
    let defaults = [
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("PATH", search_path(places)),
        ("LD_LIBRARY_PATH", library_path(places)),
        ("AWS_ENDPOINT_URL", places.endpoint.clone()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
    ];
    for (name, value) in defaults {
        env.entry(name.to_owned()).or_insert(value);
    }
    for (name, value) in language_defaults(function, places) {
        env.entry(name.to_owned()).or_insert(value);
    }
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("_HANDLER", function.handler.clone());
    set("AWS_REGION", region.to_owned());
    set("AWS_DEFAULT_REGION", region.to_owned());
    set("AWS_EXECUTION_ENV", format!("AWS_Lambda_{}", function.runtime));
    set("AWS_LAMBDA_FUNCTION_NAME", function.name.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", function.version.clone());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", function.initialization.as_str().to_owned());
    set("AWS_LAMBDA_LOG_FORMAT", if function.json_logs.is_some() { "JSON" } else { "Text" }.to_owned());
    if let Some(json) = &function.json_logs {
        set("AWS_LAMBDA_LOG_LEVEL", json.application.as_str().to_owned());
    }
    set("AWS_LAMBDA_LOG_GROUP_NAME", function.log_group.clone());
    set("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.to_owned());
    set("AWS_ACCESS_KEY_ID", credentials.access_key_id.clone());
    set("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key.clone());
    if let Some(token) = &credentials.session_token {
        set("AWS_SESSION_TOKEN", token.clone());
    }
    set("LAMBDA_TASK_ROOT", places.task.clone());
    set("LAMBDA_RUNTIME_DIR", places.runtime.clone());
    if let Some(api) = &places.runtime_api {
        set("AWS_LAMBDA_RUNTIME_API", api.clone());
    }
    if let Some(xray) = &places.xray {
        set("AWS_XRAY_DAEMON_ADDRESS", xray.clone());
        if let Some((host, port)) = xray.rsplit_once(':') {
            set("_AWS_XRAY_DAEMON_ADDRESS", host.to_owned());
            set("_AWS_XRAY_DAEMON_PORT", port.to_owned());
        }
    }
    if let Some(tmp) = &places.tmp {
        set("TMPDIR", tmp.clone());
    }
    env
}

fn search_path(places: &Places) -> String {
    let mut parts =
        vec![format!("{}/bin", places.lang), "/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()];
    parts.extend(places.opts.iter().map(|opt| format!("{opt}/bin")));
    parts.join(":")
}

fn library_path(places: &Places) -> String {
    let Places { task, runtime, lang, opts, .. } = places;
    let mut parts = vec![
        format!("{lang}/lib"),
        "/lib64".into(),
        "/usr/lib64".into(),
        runtime.clone(),
        format!("{runtime}/lib"),
        task.clone(),
        format!("{task}/lib"),
    ];
    parts.extend(opts.iter().map(|opt| format!("{opt}/lib")));
    parts.join(":")
}

fn language_defaults(function: &FunctionSpec, places: &Places) -> Vec<(&'static str, String)> {
    if function.runtime.starts_with("python") {
        return vec![("PYTHONPATH", places.runtime.clone())];
    }
    if let Some(major) = function.runtime.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x")) {
        let mut parts = Vec::new();
        for opt in &places.opts {
            parts.push(format!("{opt}/nodejs/node{major}/node_modules"));
            parts.push(format!("{opt}/nodejs/node_modules"));
        }
        parts.extend([
            format!("{}/node_modules", places.runtime),
            places.runtime.clone(),
            places.task.clone(),
        ]);
        parts.extend(places.node_sdk.clone());
        return vec![("NODE_PATH", parts.join(":"))];
    }
    Vec::new()
}
