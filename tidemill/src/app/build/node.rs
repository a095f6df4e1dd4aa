//! Node.js: what `package.json` depends on, installed by npm. A folder that brings its `node_modules` is taken as it is,
//! unless the template asks for a build by `BuildMethod`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Build,
    cache::{Inputs, run},
};

const INSTALL: &str = "install Node.js with npm (https://nodejs.org, or your system's packages)";
/// What npm looks at besides the code.
const FILES: &[&str] = &["package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"];

/// The folder with `node_modules`; `None` when nothing is to be installed.
pub fn dependencies(build: &Build<'_>) -> Result<Option<PathBuf>> {
    let Some(package) = package(&build.source)? else { return Ok(None) };
    let is_brought = build.source.join("node_modules").is_dir() && build.artifact.build_method.is_none();
    if is_brought || !has_any(&package, "dependencies") {
        return Ok(None);
    }
    install(build, &["--omit=dev"]).map(Some)
}

pub fn package(folder: &Path) -> Result<Option<Value>> {
    let Ok(text) = fs::read_to_string(folder.join("package.json")) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).context("package.json is no JSON")
}

pub fn has_any(package: &Value, section: &str) -> bool {
    package.get(section).and_then(Value::as_object).is_some_and(|all| !all.is_empty())
}

/// Installs what `package.json` names into a folder of the cache; exactly what the lock file says if there is one.
pub fn install(build: &Build<'_>, options: &[&str]) -> Result<PathBuf> {
    let has_lock = FILES[1..3].iter().any(|lock| build.source.join(lock).is_file());
    let action = if has_lock { "ci" } else { "install" };
    let mut inputs = Inputs::new("npm").with(build.runtime()).with(action).with(&options.join(" "));
    for file in FILES {
        inputs = inputs.file(&build.source.join(file));
    }
    let what = format!("npm {action} {}", options.join(" "));
    build.cached(inputs, what.trim_end(), |unfinished| {
        for file in FILES.iter().filter(|file| build.source.join(file).is_file()) {
            fs::copy(build.source.join(file), unfinished.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.arg(action).args(["--no-audit", "--no-fund", "--no-progress"]).args(options);
        run(npm, unfinished, "package.json", INSTALL)?;
        // The sources bring their own.
        FILES.iter().for_each(|file| drop(fs::remove_file(unfinished.join(file))));
        Ok(())
    })
}
