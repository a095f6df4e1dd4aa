//! Java: which JVM of this machine runs a runtime, and with what it is started. `client.rs` makes our interface client for it.
//!
//! A JVM runs what was compiled for older ones, so the oldest that is new enough is taken. How a JVM speaks with the platform is in
//! `java.rs` beside `waiting.rs`.

mod client;
mod detect;

use std::path::Path;

use super::Interpreter;
use super::plan::{self, Family, Plan};
use crate::{ExecutorConfig, SandboxError};

pub use detect::{Jvm, detect};

/// What our interface client is written for.
const OLDEST: u32 = 11;
/// Where functions see the interface client.
const PLACE: &str = "/var/runtime/java";
/// The share of a function's memory that is its heap's, in percent, as on Lambda. The rest is for code, threads and the JVM itself.
const HEAP: u64 = 85;
/// From this version on, calls by reflection make code of their own first, which costs more than few such calls gain.
const HANDLES_FROM: u32 = 18;
/// Variables that are read when a JVM starts: with these it is started for the function alone.
const READ_AT_START: [&str; 4] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"];

/// How a JVM is started.
#[derive(Clone, Debug)]
pub struct Java {
    /// Of the functions it is for; `None` where only a runtime was asked about.
    pub memory_mb: Option<u32>,
    pub arguments: Vec<String>,
}

/// Lambda's runtimes and the version of Java each asks for.
const RUNTIMES: [(&str, u32); 5] =
    [("java8.al2", 8), ("java11", 11), ("java17", 17), ("java21", 21), ("java25", 25)];

/// The version of Java a runtime's name asks for.
pub fn wanted(runtime: &str) -> Option<u32> {
    RUNTIMES.iter().find(|(name, _)| *name == runtime).map(|(_, version)| *version)
}

/// Of these JVMs the one that runs what needs `version`: the oldest that is new enough.
fn best(jvms: &[Jvm], version: u32) -> Option<&Jvm> {
    jvms.iter().find(|jvm| jvm.is_jdk && jvm.major >= version.max(OLDEST))
}

/// The runtimes none of these JVMs runs.
pub fn not_run_by(jvms: &[Jvm]) -> Vec<&'static str> {
    RUNTIMES.iter().filter(|(_, version)| best(jvms, *version).is_none()).map(|(name, _)| *name).collect()
}

impl Jvm {
    /// The runtimes whose functions this one runs, where these are the machine's.
    pub fn runtimes(&self, jvms: &[Jvm]) -> Vec<&'static str> {
        RUNTIMES
            .iter()
            .filter(|(_, version)| best(jvms, *version) == Some(self))
            .map(|(name, _)| *name)
            .collect()
    }
}

/// The name under which runtimes that wait for a function are kept: a JVM's heap is as large as it was when it started.
pub fn sized(runtime: &str, memory_mb: u32) -> String {
    if wanted(runtime).is_some() { format!("{runtime}/{memory_mb}") } else { runtime.to_owned() }
}

/// The runtime and the memory of a name that [`sized`] made.
pub fn unsized_name(name: &str) -> (&str, Option<u32>) {
    match name.split_once('/') {
        Some((runtime, memory)) => (runtime, memory.parse().ok()),
        None => (name, None),
    }
}

/// Whether a JVM must be started with these variables.
pub fn reads_at_start<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    names.any(|name| READ_AT_START.contains(&name.as_str()) || name.starts_with("LD_"))
}

/// Finds the JVM for `runtime` and has the interface client made for it if that was never done.
pub fn resolve(
    runtime: &str,
    version: u32,
    memory_mb: Option<u32>,
    config: &ExecutorConfig,
    namespaces: bool,
    base: Plan,
) -> Result<Plan, SandboxError> {
    let jvm = find(runtime, version)?;
    if jvm.major != version {
        tracing::info!(
            "{runtime} functions run on Java {} because that is the nearest of this machine",
            jvm.version
        );
    }
    let kept = config.runtimes_dir.clone().unwrap_or_else(|| config.scratch_dir.clone()).join("java");
    let made = client::make(&jvm, &kept)
        .map_err(|reason| SandboxError::Launch { step: "Java interface client", reason })?;
    let mut plan = Plan { runtime: runtime.to_owned(), family: Family::Java, ..base };
    plan::place_interpreter(&mut plan, &interpreter(runtime, &jvm), namespaces);
    let folder = made.join("runtime/java");
    if namespaces {
        plan.mounts.sdk.push((folder.clone(), PLACE.into()));
        plan.mounts.started_early = true;
    }
    plan.java = Some(Java { memory_mb, arguments: arguments(jvm.major, memory_mb, &folder, namespaces) });
    Ok(plan)
}

fn interpreter(runtime: &str, jvm: &Jvm) -> Interpreter {
    Interpreter {
        kind: super::Kind::Java,
        version: jvm.version.clone(),
        path: jvm.home.join("bin/java"),
        runtime: runtime.to_owned(),
        sdk: None,
        missing: Vec::new(),
    }
}

fn find(runtime: &str, version: u32) -> Result<Jvm, SandboxError> {
    let all = detect();
    if let Some(jvm) = best(&all, version) {
        return Ok(jvm.clone());
    }
    let found: Vec<String> = all.iter().map(Jvm::described).collect();
    let newest = version.max(OLDEST);
    let needs = match all.iter().find(|jvm| jvm.major >= newest) {
        Some(_) => format!("the compiler of a JDK, version {newest} or later"),
        None => format!("a JDK, version {newest} or later"),
    };
    Err(SandboxError::InterpreterMissing {
        runtime: runtime.to_owned(),
        needs,
        found: if found.is_empty() { "none".into() } else { found.join(", ") },
        hint: format!(
            "Install it with your system's packages (openjdk-{newest}-jdk-headless), from adoptium.net or with `sdk install java`; `tidemill doctor` shows what was found."
        ),
    })
}

fn arguments(major: u32, memory_mb: Option<u32>, folder: &Path, namespaces: bool) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Djava.net.preferIPv4Stack=true",
        "-Dfile.encoding=UTF-8",
        "-Dstdout.encoding=UTF-8",
        "-Dstderr.encoding=UTF-8",
    ]
    .map(String::from)
    .into();
    if let Some(memory_mb) = memory_mb {
        arguments.push(format!("-XX:MaxHeapSize={}k", u64::from(memory_mb) * 1024 * HEAP / 100));
    }
    if major >= HANDLES_FROM {
        arguments.push("-Djdk.reflect.useNativeAccessorOnly=true".into());
    }
    // The archive knows the client by this very path, from the folder both are started in.
    if namespaces && folder.join(client::ARCHIVE).is_file() {
        arguments.extend(client::QUIET.map(String::from));
        arguments.push(format!("-XX:SharedArchiveFile={PLACE}/{}", client::ARCHIVE));
    }
    let jar = if namespaces {
        client::JAR_FROM_TASK.to_owned()
    } else {
        folder.join(client::JAR).display().to_string()
    };
    arguments.extend(["-jar".to_owned(), jar]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_new_enough_is_taken() {
        let jvm = |major: u32, is_jdk| Jvm {
            version: format!("{major}.0.1"),
            major,
            home: format!("/j/{major}").into(),
            is_jdk,
        };
        let all = [jvm(8, true), jvm(17, true), jvm(21, false), jvm(25, true)];
        let runs = |at: usize| all[at].runtimes(&all);
        assert_eq!((runs(0), runs(1)), (vec![], vec!["java8.al2", "java11", "java17"]));
        assert_eq!((runs(2), runs(3)), (vec![], vec!["java21", "java25"]));
        assert_eq!(not_run_by(&all[..3]), ["java21", "java25"]);
    }

    #[test]
    fn names_with_a_memory_size() {
        assert_eq!(sized("java17", 512), "java17/512");
        assert_eq!(sized("python3.11", 512), "python3.11");
        assert_eq!(unsized_name("java17/512"), ("java17", Some(512)));
        assert_eq!(unsized_name("nodejs20.x"), ("nodejs20.x", None));
    }

    #[test]
    fn the_heap_is_the_share_it_has_on_lambda() {
        let said = arguments(17, Some(512), Path::new("/nowhere"), true);
        assert!(said.contains(&"-XX:MaxHeapSize=445644k".to_owned()), "{said:?}");
        assert!(
            !arguments(17, None, Path::new("/nowhere"), true).iter().any(|one| one.contains("MaxHeapSize"))
        );
    }

    #[test]
    fn what_a_jvm_reads_when_it_starts() {
        let reads = |name: &str| reads_at_start([name.to_owned()].iter());
        assert!(reads("JAVA_TOOL_OPTIONS") && reads("LD_PRELOAD"));
        assert!(!reads("JAVA_HOME") && !reads("TABLE"));
    }
}
