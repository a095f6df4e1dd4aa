//! Make: SAM's `build-<LogicalId>` puts what is to be packed into `ARTIFACTS_DIR`. It is run again when a file of the
//! folder changed, or always if the Makefile reaches outside of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    Build,
    cache::{Inputs, run},
};

/// Whether a folder's Makefile builds that resource.
pub fn has_target(folder: &Path, resource: &str) -> bool {
    let text = fs::read_to_string(folder.join("Makefile")).unwrap_or_default();
    let target = format!("build-{resource}");
    text.lines().any(|line| line.strip_prefix(&target).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

/// The folder with what the target made.
pub fn artifacts(build: &Build<'_>) -> Result<PathBuf> {
    let resource = &build.artifact.resource;
    let file = build.source.join("Makefile");
    let Ok(text) = fs::read_to_string(&file) else {
        bail!("BuildMethod makefile needs {}, with the target build-{resource}", file.display());
    };
    let folder = match build.artifact.metadata.get("WorkingDirectory").and_then(Value::as_str) {
        Some(folder) => build.source.join(folder),
        None => build.source.clone(),
    };
    let mut inputs = Inputs::new("make").with(resource).with(build.runtime()).folder(&build.source)?;
    if text.contains("..") || folder != build.source {
        inputs = inputs.with(&tidemill_platform::Random::system().hex::<8>());
    }
    build.cached(inputs, &format!("make build-{resource}"), |unfinished| {
        let mut make = Command::new("make");
        make.arg("--file").arg(&file).arg(format!("build-{resource}")).env("ARTIFACTS_DIR", unfinished);
        let needed = format!("BuildMethod makefile of {resource}");
        run(make, &folder, &needed, "install it with your system's packages (make)")?;
        if fs::read_dir(unfinished)?.next().is_none() {
            bail!("make build-{resource} put nothing into $(ARTIFACTS_DIR)");
        }
        Ok(())
    })
}
