//! From a runtime's name to what runs it here: the interpreter, what of the host it needs, and where functions see it.

use std::path::{Path, PathBuf};

use super::java::{self, Java};
use super::{Interpreter, Kind};
use crate::spawner::messages::Mounts;
use crate::{ExecutorConfig, SandboxError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Python,
    Node,
    Java,
    Provided,
}

/// How functions of one runtime are run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub runtime: String,
    pub family: Family,
    /// Of the interpreter: `3.11.7`. Empty for `provided`.
    pub version: String,
    /// The interpreter as the sandbox sees it.
    pub program: PathBuf,
    pub mounts: Mounts,
    /// The interpreter's prefix as the sandbox sees it.
    pub lang: String,
    /// Our bootstraps' folder as the sandbox sees it.
    pub runtime_root: String,
    /// A prepared SDK's folder as the sandbox sees it; `None` when the interpreter's own is used.
    pub sdk_path: Option<String>,
    /// How the JVM is started, if it is one.
    pub java: Option<Java>,
}

/// Where the SDK for Node is also mounted: a parent of the code, found by `import` as well as by `require`.
pub const NODE_PARENT_MODULES: &str = "/var/node_modules";

/// Finds what runs `runtime`. Starts interpreters to ask their version: not for the async threads.
pub fn resolve(
    runtime: &str,
    config: &ExecutorConfig,
    namespaces: bool,
    runtime_dir: &Path,
) -> Result<Plan, SandboxError> {
    let (runtime, memory_mb) = java::unsized_name(runtime);
    if let Some(version) = java::wanted(runtime) {
        let base = provided(runtime, namespaces, runtime_dir);
        return java::resolve(runtime, version, memory_mb, config, namespaces, base);
    }
    let unsupported = || SandboxError::UnsupportedRuntime { runtime: runtime.to_owned() };
    if matches!(runtime, "provided" | "provided.al2" | "provided.al2023") {
        return Ok(provided(runtime, namespaces, runtime_dir));
    }
    let kind = match super::wanted(runtime) {
        Some((kind, ..)) => kind,
        None => return Err(unsupported()),
    };
    let (interpreter, note) = find(runtime, config)?;
    if let Some(note) = note {
        tracing::warn!("{note}");
    }
    Ok(match kind {
        Kind::Python => python(runtime, &interpreter, config, namespaces, runtime_dir),
        Kind::Node => node(runtime, &interpreter, config, namespaces, runtime_dir),
        Kind::Java => return Err(unsupported()),
    })
}

fn find(runtime: &str, config: &ExecutorConfig) -> Result<(Interpreter, Option<String>), SandboxError> {
    let dir = config.runtimes_dir.as_deref();
    if let Some(exact) = super::detect::interpreter(runtime, dir) {
        return Ok((exact, None));
    }
    let all = super::detect(dir);
    let kind = super::wanted(runtime).map(|(kind, ..)| kind);
    let same_kind: Vec<&Interpreter> = all.interpreters.iter().filter(|i| Some(i.kind) == kind).collect();
    if kind == Some(Kind::Node)
        && config.allow_other_versions
        && let Some(other) = same_kind.first()
    {
        let note = format!(
            "{runtime} functions run on Node.js {} because that is the Node.js of this machine.",
            other.version
        );
        return Ok(((*other).clone(), Some(note)));
    }
    let found: Vec<String> = same_kind.iter().map(|i| i.version.clone()).collect();
    let (needs, hint) = super::needs_and_hint(runtime);
    Err(SandboxError::InterpreterMissing {
        runtime: runtime.to_owned(),
        needs,
        found: if found.is_empty() { "none".into() } else { found.join(", ") },
        hint,
    })
}

fn provided(runtime: &str, namespaces: bool, runtime_dir: &Path) -> Plan {
    Plan {
        runtime: runtime.to_owned(),
        family: Family::Provided,
        version: String::new(),
        program: PathBuf::new(),
        mounts: Mounts::default(),
        lang: "/var/lang".into(),
        runtime_root: runtime_root(namespaces, runtime_dir),
        sdk_path: None,
        java: None,
    }
}

fn python(
    runtime: &str,
    interpreter: &Interpreter,
    config: &ExecutorConfig,
    namespaces: bool,
    runtime_dir: &Path,
) -> Plan {
    let mut plan = provided(runtime, namespaces, runtime_dir);
    plan.family = Family::Python;
    place_interpreter(&mut plan, interpreter, namespaces);
    if let Some(sdk) = prepared(config, runtime).filter(|dir| dir.join("boto3").is_dir()) {
        plan.sdk_path =
            Some(if namespaces { "/var/runtime/python".into() } else { sdk.display().to_string() });
        if namespaces {
            plan.mounts.sdk.push((sdk, "/var/runtime/python".into()));
        }
    }
    plan
}

fn node(
    runtime: &str,
    interpreter: &Interpreter,
    config: &ExecutorConfig,
    namespaces: bool,
    runtime_dir: &Path,
) -> Plan {
    let mut plan = provided(runtime, namespaces, runtime_dir);
    plan.family = Family::Node;
    place_interpreter(&mut plan, interpreter, namespaces);
    let own = [prepared(config, runtime), prepared(config, &interpreter.runtime)];
    if let Some(modules) =
        own.into_iter().flatten().map(|dir| dir.join("node_modules")).find(|dir| dir.is_dir())
    {
        plan.sdk_path =
            Some(if namespaces { NODE_PARENT_MODULES.into() } else { modules.display().to_string() });
        if namespaces {
            plan.mounts.sdk.push((modules.clone(), "/var/runtime/node_modules".into()));
            plan.mounts.sdk.push((modules, NODE_PARENT_MODULES.into()));
        }
    }
    plan
}

/// Interpreters outside `/usr`, which every sandbox has, are mounted as `/var/lang`.
pub(super) fn place_interpreter(plan: &mut Plan, interpreter: &Interpreter, namespaces: bool) {
    plan.version.clone_from(&interpreter.version);
    plan.program.clone_from(&interpreter.path);
    let prefix = interpreter.path.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    if !namespaces {
        plan.lang = prefix.display().to_string();
    } else if !prefix.starts_with("/usr") && prefix != Path::new("/") {
        plan.mounts.lang = Some(prefix.to_owned());
        plan.program = Path::new("/var/lang/bin").join(interpreter.path.file_name().unwrap_or_default());
    }
}

fn prepared(config: &ExecutorConfig, runtime: &str) -> Option<PathBuf> {
    Some(config.runtimes_dir.as_ref()?.join(runtime)).filter(|dir| dir.is_dir())
}

fn runtime_root(namespaces: bool, runtime_dir: &Path) -> String {
    if namespaces { "/var/runtime".into() } else { runtime_dir.display().to_string() }
}
