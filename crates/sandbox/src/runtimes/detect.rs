//! Finding interpreters: on the PATH, where pyenv, uv and nvm keep theirs. Each candidate is started once and asked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Detected, Interpreter, Kind, wanted};

/// Prints one line: version, executable, boto3's version, whether ctypes is there.
const ASK_PYTHON: &str = "\
import os, sys
try:
    import ctypes; ok = 'yes'
except ImportError:
    ok = 'no'
folders = [folder for folder in sys.path if os.path.isdir(folder)]
names = [name for folder in folders for name in os.listdir(folder) if name.startswith('boto3-') and name[6:7].isdigit()]
sdk = names[0][6:].rsplit('.', 1)[0] if names else ''
exe = os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable)
print('%d.%d.%d' % sys.version_info[:3], sys.base_prefix, exe, sdk or '-', ok, sep='\\t')
";
const ASK_NODE: &str = "console.log(process.versions.node + '\\t' + process.execPath)";
const PYTHON_MINORS: std::ops::RangeInclusive<u32> = 9..=15;

/// Finds Python (3.9 and later) and Node.js on this machine: on the PATH and where version managers keep them. Starts each candidate once
/// (about 20 ms each), so call it from a thread that may block.
pub fn detect(runtimes_dir: Option<&Path>) -> Detected {
    let mut seen = HashSet::new();
    let mut found = ask_all(&python_candidates(), ask_python);
    found.extend(ask_all(&node_candidates(), ask_node));
    found.retain(|i| seen.insert(i.path.clone()));
    found.sort_by_key(|i| (i.kind == Kind::Node, std::cmp::Reverse(numbers(&i.version))));
    for interpreter in &mut found {
        complete(interpreter, runtimes_dir);
    }
    Detected { interpreters: found }
}

/// The best interpreter for exactly this runtime.
pub(crate) fn interpreter(runtime: &str, runtimes_dir: Option<&Path>) -> Option<Interpreter> {
    let (kind, major, minor) = wanted(runtime)?;
    let candidates = match kind {
        Kind::Python => python_candidates_of(major, minor),
        Kind::Node => node_candidates(),
        Kind::Java => return None,
    };
    let mut fitting = ask_all(&candidates, if kind == Kind::Python { ask_python } else { ask_node });
    fitting.retain(|i| i.runtime == runtime);
    fitting.iter_mut().for_each(|i| complete(i, runtimes_dir));
    // One that has the SDK before one that has not; otherwise the order of finding, the PATH first.
    fitting.sort_by_key(|i| i.sdk.is_none());
    fitting.into_iter().next()
}

fn python_candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = on_path("python3");
    for minor in PYTHON_MINORS {
        found.extend(python_candidates_of(3, minor));
    }
    found
}

fn python_candidates_of(major: u32, minor: u32) -> Vec<PathBuf> {
    let name = format!("python{major}.{minor}");
    let mut found = on_path(&name);
    let prefix = format!("{major}.{minor}.");
    for dir in version_folders(&["PYENV_ROOT"], ".pyenv", "versions") {
        found.extend(
            folders_in(&dir)
                .into_iter()
                .filter(|(folder, _)| folder.starts_with(&prefix))
                .map(|(_, path)| path.join("bin").join(&name)),
        );
    }
    for dir in version_folders(&[], ".local/share/uv", "python") {
        found.extend(
            folders_in(&dir)
                .into_iter()
                .filter(|(folder, _)| folder.starts_with(&format!("cpython-{prefix}")))
                .map(|(_, path)| path.join("bin").join(&name)),
        );
    }
    found.retain(|path| path.is_file());
    found
}

fn node_candidates() -> Vec<PathBuf> {
    let mut found = on_path("node");
    for dir in version_folders(&["NVM_DIR"], ".nvm", "versions/node") {
        let mut versions = folders_in(&dir);
        versions.sort_by_key(|(name, _)| std::cmp::Reverse(numbers(name.trim_start_matches('v'))));
        found.extend(versions.into_iter().map(|(_, path)| path.join("bin/node")));
    }
    found.retain(|path| path.is_file());
    found
}

fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // pyenv's shims are scripts that look for the version elsewhere; the versions themselves are found below.
    std::env::split_paths(&path)
        .filter(|dir| !dir.ends_with("shims"))
        .map(|dir| dir.join(name))
        .filter(|path| path.is_file())
        .collect()
}

fn version_folders(variables: &[&str], in_home: &str, below: &str) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = variables.iter().filter_map(std::env::var_os).map(PathBuf::from).collect();
    if let Some(home) = std::env::home_dir() {
        roots.push(home.join(in_home));
    }
    roots.dedup();
    roots.into_iter().map(|root| root.join(below)).collect()
}

fn folders_in(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect()
}

/// Asks all of them at the same time, each once under whatever names it is found; the answers come in the candidates' order.
fn ask_all(candidates: &[PathBuf], ask: fn(&Path) -> Option<Interpreter>) -> Vec<Interpreter> {
    let mut seen = HashSet::new();
    let distinct = candidates.iter().filter(|path| path.canonicalize().is_ok_and(|real| seen.insert(real)));
    std::thread::scope(|scope| {
        let asked: Vec<_> = distinct.map(|path| scope.spawn(move || ask(path))).collect();
        asked.into_iter().filter_map(|one| one.join().ok().flatten()).collect()
    })
}

fn ask_python(path: &Path) -> Option<Interpreter> {
    let said = ask(path, &["-I", "-c", ASK_PYTHON])?;
    let mut parts = said.trim_end().split('\t');
    let (version, prefix, executable, sdk, ctypes) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (major, minor) = two_numbers(version)?;
    if (major, minor) < (3, 9) {
        return None;
    }
    // The executable below the prefix: a link from elsewhere would not find its library inside a sandbox.
    let below = Path::new(prefix).join("bin").join(format!("python{major}.{minor}"));
    let path = if below.is_file() { below } else { PathBuf::from(executable) };
    let mut missing = Vec::new();
    if ctypes == "no" {
        missing.push(format!("Python {version} has no ctypes module, which sandboxes need: install the full package instead of a minimal one."));
    }
    let sdk = (sdk != "-").then(|| sdk.to_owned());
    Some(Interpreter {
        kind: Kind::Python,
        version: version.into(),
        path,
        runtime: format!("python{major}.{minor}"),
        sdk,
        missing,
    })
}

fn ask_node(path: &Path) -> Option<Interpreter> {
    let (version, executable) = match itself(path) {
        // Says its version without starting the engine: some ten times as quick.
        Some(executable) => (ask(&executable, &["-v"])?.trim().strip_prefix('v')?.to_owned(), executable),
        None => {
            let said = ask(path, &["-e", ASK_NODE])?;
            let (version, executable) = said.trim_end().split_once('\t')?;
            (version.to_owned(), PathBuf::from(executable))
        }
    };
    let (major, _) = two_numbers(&version)?;
    Some(Interpreter {
        kind: Kind::Node,
        version,
        path: executable,
        runtime: format!("nodejs{major}.x"),
        sdk: None,
        missing: Vec::new(),
    })
}

/// The executable a path leads to, if it is Node.js and not some version manager's stand-in that looks for it elsewhere.
fn itself(path: &Path) -> Option<PathBuf> {
    use std::io::Read;
    let real = path.canonicalize().ok()?;
    let mut magic = [0; 4];
    std::fs::File::open(&real).ok()?.read_exact(&mut magic).ok()?;
    (real.file_name()? == "node" && magic == *b"\x7fELF").then_some(real)
}

fn ask(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .env_remove("NODE_OPTIONS")
        .env_remove("PYTHONHOME")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Adds what `prepare` installed, and says what is missing.
fn complete(interpreter: &mut Interpreter, runtimes_dir: Option<&Path>) {
    if let Some(sdk) =
        runtimes_dir.and_then(|dir| prepared_version(interpreter.kind, &dir.join(&interpreter.runtime)))
    {
        interpreter.sdk = Some(sdk);
    }
    if interpreter.sdk.is_none() {
        let sdk = if interpreter.kind == Kind::Python { "boto3" } else { "the AWS SDK for JavaScript" };
        interpreter.missing.push(format!(
            "{} has no {sdk} for functions to import: `tidemill doctor --install` gets it.",
            interpreter.runtime
        ));
    }
}

pub(crate) fn prepared_version(kind: Kind, dir: &Path) -> Option<String> {
    if kind == Kind::Node {
        let text = std::fs::read_to_string(dir.join("node_modules/@aws-sdk/client-s3/package.json")).ok()?;
        let package: serde_json::Value = serde_json::from_str(&text).ok()?;
        return package.get("version")?.as_str().map(str::to_owned);
    }
    folders_in(dir)
        .into_iter()
        .find_map(|(name, _)| Some(name.strip_prefix("boto3-")?.strip_suffix(".dist-info")?.to_owned()))
}

fn two_numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_names() {
        assert_eq!(wanted("python3.11"), Some((Kind::Python, 3, 11)));
        assert_eq!(wanted("nodejs20.x"), Some((Kind::Node, 20, 0)));
        for name in ["python3.8", "python2.7", "nodejs14.x", "java21", "nodejs20", "python3.x", ""] {
            assert_eq!(wanted(name), None, "{name}");
        }
    }
}
