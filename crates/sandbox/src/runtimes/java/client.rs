//! Making the Java interface client: its sources are in this binary, the machine's own JDK compiles them, once for each JVM.
//!
//! What is made lies in a folder named after the sources and the JVM: `runtime/java/client.jar` and an archive of its loaded classes, from which
//! a JVM starts faster. `task/` beside it is empty: JVMs are started there, so that both know the jar by the path functions see it at.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Jvm;

pub const JAR: &str = "client.jar";
pub const ARCHIVE: &str = "client.jsa";
/// The jar as seen from the folder of a function's code, and from `task` beside the folder it is made in.
pub const JAR_FROM_TASK: &str = "../runtime/java/client.jar";
/// A JVM that cannot use the archive does without, and is not to say so in a function's log.
pub const QUIET: [&str; 2] = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off"];
/// The first that writes archives of this kind.
const ARCHIVES_FROM: u32 = 13;
const MANIFEST: &str = "Main-Class: tidemill.runtime.Main\nAdd-Opens: java.base/java.lang\n";
/// What a JVM would obey that is meant for other programs of this machine.
const FOREIGN: [&str; 4] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"];

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../runtimes/java/", $path)))),*]
    };
}

#[rustfmt::skip]
const SOURCES: &[(&str, &str)] = sources! [
    "com/amazonaws/services/lambda/runtime/Client.java",
    "com/amazonaws/services/lambda/runtime/ClientContext.java",
    "com/amazonaws/services/lambda/runtime/CognitoIdentity.java",
    "com/amazonaws/services/lambda/runtime/Context.java",
    "com/amazonaws/services/lambda/runtime/CustomPojoSerializer.java",
    "com/amazonaws/services/lambda/runtime/LambdaLogger.java",
    "com/amazonaws/services/lambda/runtime/LambdaRuntime.java",
    "com/amazonaws/services/lambda/runtime/LambdaRuntimeInternal.java",
    "com/amazonaws/services/lambda/runtime/RequestHandler.java",
    "com/amazonaws/services/lambda/runtime/RequestStreamHandler.java",
    "com/amazonaws/services/lambda/runtime/logging/LogFormat.java",
    "com/amazonaws/services/lambda/runtime/logging/LogLevel.java",
    "tidemill/runtime/CodeLoader.java",
    "tidemill/runtime/Environment.java",
    "tidemill/runtime/Fault.java",
    "tidemill/runtime/FunctionLog.java",
    "tidemill/runtime/Handler.java",
    "tidemill/runtime/Handlers.java",
    "tidemill/runtime/Invocation.java",
    "tidemill/runtime/Main.java",
    "tidemill/runtime/NativeEnvironment.java",
    "tidemill/runtime/Payloads.java",
    "tidemill/runtime/Rehearsal.java",
    "tidemill/runtime/RuntimeApi.java",
    "tidemill/runtime/json/Bean.java",
    "tidemill/runtime/json/Binder.java",
    "tidemill/runtime/json/Dates.java",
    "tidemill/runtime/json/JsonException.java",
    "tidemill/runtime/json/JsonReader.java",
    "tidemill/runtime/json/JsonWriter.java",
    "tidemill/runtime/json/RecordShape.java",
    "tidemill/runtime/json/Scalars.java",
    "tidemill/runtime/json/Types.java",
];

/// The folder with the client for `jvm` below `kept`; made now if it is not there.
pub fn make(jvm: &Jvm, kept: &Path) -> Result<PathBuf, String> {
    let kept = std::path::absolute(kept).map_err(|e| e.to_string())?;
    let made = kept.join(name(jvm));
    if made.is_dir() {
        return Ok(made);
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unfinished = kept.join(format!(".{}-{number}.unfinished", std::process::id()));
    let went = build(jvm, &unfinished).and_then(|()| match fs::rename(&unfinished, &made) {
        Err(_) if made.is_dir() => Ok(()),
        other => other.map_err(|e| e.to_string()),
    });
    let _ = fs::remove_dir_all(&unfinished);
    went.map(|()| made)
}

fn name(jvm: &Jvm) -> String {
    let mut digest = DefaultHasher::new();
    (SOURCES, MANIFEST, &jvm.home).hash(&mut digest);
    // An update in the same place: an archive is only good for the very JVM that wrote it.
    let stamp = fs::metadata(jvm.home.join("release")).and_then(|file| file.modified()).ok();
    stamp.hash(&mut digest);
    format!("{}-{:016x}", jvm.version, digest.finish())
}

fn build(jvm: &Jvm, folder: &Path) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let (sources, classes, runtime) =
        (folder.join("sources"), folder.join("classes"), folder.join("runtime/java"));
    for dir in [&sources, &classes, &runtime, &folder.join("task")] {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut files = Vec::new();
    for (path, text) in SOURCES {
        let file = sources.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&file, text).map_err(failed)?;
        files.push(file);
    }
    let manifest = folder.join("manifest");
    fs::write(&manifest, MANIFEST).map_err(failed)?;
    let tool = |name: &str| Command::new(jvm.home.join("bin").join(name));
    let mut compile = tool("javac");
    compile.args([
        "-J-XX:TieredStopAtLevel=1",
        "-J-XX:+UseSerialGC",
        "-XDstringConcat=inline",
        "-proc:none",
        "-nowarn",
        "-XDignore.symbol.file",
    ]);
    run(compile.args(["-encoding", "UTF-8", "-d"]).arg(&classes).args(&files))?;
    run(tool("jar").arg("cfm").arg(runtime.join(JAR)).arg(&manifest).arg("-C").arg(&classes).arg("."))?;
    if jvm.major >= ARCHIVES_FROM {
        archive(&mut tool("java"), folder);
    }
    for dir in [&sources, &classes] {
        fs::remove_dir_all(dir).map_err(failed)?;
    }
    readable(&runtime).map_err(failed)
}

/// Without the archive everything works, a little slower.
fn archive(java: &mut Command, folder: &Path) {
    java.args(QUIET).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.arg(format!("-XX:ArchiveClassesAtExit=../runtime/java/{ARCHIVE}"));
    java.args(["-jar", JAR_FROM_TASK, "--rehearse"]).current_dir(folder.join("task"));
    if let Err(reason) = run(java) {
        tracing::info!("Java functions start without an archive of classes: {reason}");
        let _ = fs::remove_file(folder.join("runtime/java").join(ARCHIVE));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    for name in FOREIGN {
        command.env_remove(name);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let first: String =
        said.lines().find(|line| !line.starts_with("Note:")).unwrap_or_default().chars().take(300).collect();
    Err(format!("`{program}` failed ({}): {first}", output.status))
}

/// Functions run as another user.
fn readable(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }

    #[test]
    fn no_source_is_forgotten() {
        assert_eq!(SOURCES.len(), count(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/java")));
    }

    #[test]
    fn it_is_compiled_once_for_a_jvm() {
        let Some(jvm) =
            super::super::detect().into_iter().find(|jvm| jvm.is_jdk && jvm.major >= super::super::OLDEST)
        else {
            println!("skipped: no JDK");
            return;
        };
        let kept = tempfile::tempdir().unwrap();
        let made = make(&jvm, kept.path()).unwrap();
        let written =
            |at: &Path| fs::metadata(at.join("runtime/java").join(JAR)).unwrap().modified().unwrap();
        let first = written(&made);
        assert_eq!(make(&jvm, kept.path()).unwrap(), made);
        assert_eq!(written(&made), first);
        assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_compiler_that_fails_is_told() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        let javac = home.path().join("bin/javac");
        fs::write(&javac, "#!/bin/sh\necho 'no heap left' >&2\nexit 3\n").unwrap();
        fs::set_permissions(&javac, fs::Permissions::from_mode(0o755)).unwrap();
        let jvm = Jvm { version: "17.0.1".into(), major: 17, home: home.path().into(), is_jdk: true };
        let kept = tempfile::tempdir().unwrap();
        let reason = make(&jvm, kept.path()).unwrap_err();
        assert!(reason.contains("no heap left"), "{reason}");
        assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 0);
    }
}
