//! A JVM as a runtime: started ahead of need, told its function over the Runtime API, and served by it from then on.
//!
//! `runtimes/java/mod.rs` says which JVM and with which arguments. One that must know its function's variables when it starts
//! (`JAVA_TOOL_OPTIONS`), and one without a network of its own, is started when the function is known.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::SandboxError;
use crate::body::Body;
use crate::link::Link;
use crate::logs::LogReader;
use crate::runtime_api::ApiLink;
use crate::runtimes::plan::Plan;
use crate::spawner::RUNTIME_API_PORT;
use crate::spawner::messages::Program;
use crate::waiting::{Ends, Factory, Waiting};

/// How many memory sizes have a JVM that waits: each takes some 40 MB.
pub const SIZES_WAITING: usize = 4;
/// Of a function's variables Lambda takes 4 KB; ours are added, credentials among them.
const ROOM: usize = 48 * 1024;
/// The most variables a function may have whose JVM is started ahead.
const VARIABLES_MAX: usize = 320;
/// The variables of a function that are not its own.
const VARIABLES_OURS: usize = 64;
/// Where a JVM's options may be.
const OPTIONS: [&str; 3] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"];
/// The folder JVMs are started in.
const TASK: &str = "/var/task";

/// Whether a JVM can only be started when it knows these variables of its function.
pub fn must_know(variables: &BTreeMap<String, String>) -> bool {
    variables.len() > VARIABLES_MAX - VARIABLES_OURS
        || crate::runtimes::java::reads_at_start(variables.keys())
}

impl Factory {
    /// A JVM without a function. With `later` it is started when there is one.
    pub async fn java(
        &self,
        plan: &Plan,
        later: bool,
        mut body: Body,
        log: LogReader,
        ends: Ends,
    ) -> Result<Waiting, SandboxError> {
        let (link, api) = ApiLink::told();
        let ends = if later || !self.namespaces() {
            Some(ends)
        } else {
            let address = format!("127.0.0.1:{RUNTIME_API_PORT}");
            self.exec(&mut body, ends, program(plan, &address, ahead(), TASK), None).await?;
            None
        };
        Ok(Waiting {
            link: Link::Api(link),
            body,
            log,
            ends,
            api: Some(api),
            listener: None,
            api_address: None,
            sdk_near_code: false,
        })
    }
}

/// The variables of a JVM whose function is not known: what it must have from the beginning, and room for the function's own.
fn ahead() -> Vec<(String, String)> {
    let own =
        [("TZ", ":UTC"), ("LD_LIBRARY_PATH", "/var/task:/var/task/lib:/opt/lib"), ("PATH", "/usr/bin:/bin")];
    let mut env: Vec<_> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    env.push(("TIDEMILL_ROOM".to_owned(), "-".repeat(ROOM)));
    env.extend((0..VARIABLES_MAX).map(|number| (format!("_{number}"), String::new())));
    env
}

/// The JVM of a function that is known. What its own options decide, ours do not.
pub fn program_for(plan: &Plan, address: &str, env: &BTreeMap<String, String>, task: &str) -> Program {
    let said: Vec<&str> = OPTIONS.iter().filter_map(|name| env.get(*name)).map(String::as_str).collect();
    let decided = |marks: &[&str]| said.iter().any(|options| marks.iter().any(|mark| options.contains(mark)));
    let variables = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut program = program(plan, address, variables, task);
    program.args.retain(|argument| match argument {
        heap if heap.contains("MaxHeapSize") => !decided(&["-Xmx", "MaxHeapSize", "MaxRAM"]),
        compiler if compiler.contains("Tiered") => !decided(&["Tiered", "-Xint"]),
        collector if collector.ends_with("GC") => !decided(&["GC"]),
        _ => true,
    });
    program
}

fn program(plan: &Plan, address: &str, mut env: Vec<(String, String)>, task: &str) -> Program {
    // Names of files are UTF-8 whatever languages this machine has. The function's own variables come with its start.
    env.retain(|(name, _)| name != "LC_ALL");
    env.push(("LC_ALL".to_owned(), "C.UTF-8".to_owned()));
    let mut args = plan.java.as_ref().map(|java| java.arguments.clone()).unwrap_or_default();
    args.push(address.to_owned());
    Program { path: plan.program.clone(), args, env, cwd: PathBuf::from(task) }
}
