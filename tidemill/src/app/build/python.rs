//! Python: what `requirements.txt` names, installed by the runtime's own pip.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use tidemill_sandbox::runtimes;

use super::{
    Build,
    cache::{Inputs, run},
};

/// The folder with the requirements; `None` when there are none.
pub fn dependencies(build: &Build<'_>) -> Result<Option<PathBuf>> {
    let file = build.source.join("requirements.txt");
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    if wanted(&text).next().is_none() {
        return Ok(None);
    }
    let runtime = build.runtime();
    let inputs = local(Inputs::new("pip").with(runtime).with(&text), &text, &build.source)?;
    let target = build.cached(inputs, "pip install -r requirements.txt", |unfinished| {
        let mut pip = Command::new(interpreter(runtime)?);
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]);
        pip.args(["--quiet", "--target"]).arg(unfinished).arg("--requirement").arg(&file);
        run(pip, &build.source, "requirements.txt", "install it").map(drop)
    })?;
    Ok(Some(target))
}

fn wanted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Files and folders beside the code that the requirements name change what is installed as well.
fn local(mut inputs: Inputs, text: &str, source: &Path) -> Result<Inputs> {
    for line in wanted(text) {
        let options = ["-r", "--requirement", "-c", "--constraint", "-e", "--editable"];
        let named = options.iter().find_map(|option| line.strip_prefix(option));
        let named = named.unwrap_or(line).trim_start_matches([' ', '=']);
        let path = source.join(named.trim_start_matches("file:"));
        if path.is_dir() && (named.starts_with(['.', '/']) || named.starts_with("file:")) {
            inputs = inputs.folder(&path)?;
        } else if path.is_file() {
            inputs = inputs.file(&path);
        }
    }
    Ok(inputs)
}

/// The program that runs a runtime's functions.
///
/// # Errors
/// This machine has none.
pub fn interpreter(runtime: &str) -> Result<PathBuf> {
    let found = runtimes::detect(None).interpreters.into_iter().find(|one| one.runtime == runtime);
    let found = found.map(|one| one.path);
    found.with_context(|| {
        format!("{runtime} is not on this machine; install it, or name another Runtime (`tidemill doctor` shows what is there)")
    })
}
