//! A glance at a saved file: whether its language can read it at all. AWS takes broken code and so does the platform;
//! this only says at once what the next invocation would.

use std::{path::Path, process::Command};

/// Compiles without running, and without leaving anything behind.
const PYTHON: &str = "\
import sys
name = sys.argv[1]
try:
    compile(open(name, 'rb').read(), name, 'exec', dont_inherit=True)
except SyntaxError as e:
    sys.exit(f'line {e.lineno}: {e.msg}')
except ValueError as e:
    sys.exit(str(e))
";

/// What is wrong with a file; `None` if nothing is, or nobody here can tell.
pub fn complaint(runtime: &str, file: &Path) -> Option<String> {
    let kind = file.extension()?.to_str()?;
    let mut command = match kind {
        "py" if runtime.starts_with("python") => {
            let mut python = Command::new(runtime);
            python.args(["-I", "-S", "-c", PYTHON]);
            python
        }
        "js" | "mjs" | "cjs" if runtime.starts_with("nodejs") => {
            let mut node = Command::new("node");
            node.arg("--check");
            node
        }
        _ => return None,
    };
    let done = command.arg(file).output().ok()?;
    if done.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said.lines().find(|line| line.contains("Error") || line.starts_with("line "));
    let at = said.lines().next().and_then(|first| first.rsplit_once(':')).map(|(_, line)| line);
    match (kind, line, at) {
        ("py", line, _) => line.map(String::from).or_else(|| said.lines().last().map(String::from)),
        (_, Some(line), Some(at)) => Some(format!("line {at}: {line}")),
        _ => None,
    }
}
