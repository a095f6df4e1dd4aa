//! The code that is debugged: the application's own files where the function is one of its stack, so that breakpoints in
//! an editor are met; otherwise what is deployed, fetched and unpacked.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};
use tidemill_sam_transform::{Artifact, local_artifacts};

use super::Debugged;
use crate::{
    app::{App, Settings, build},
    cli::{Invoke, StackOptions},
    output::dim,
};

/// Where a function's code and what it needs lie.
pub struct Code {
    pub task: PathBuf,
    /// Installed dependencies beside the code.
    pub dependencies: Option<PathBuf>,
    /// Layers, unpacked over each other.
    pub opt: Option<PathBuf>,
    /// In words.
    pub from: &'static str,
}

pub async fn find(debugged: &Debugged<'_>, options: &Invoke) -> Result<Code> {
    let opt = layers(debugged).await?;
    if let Some((app, artifact)) = local(debugged, options).await {
        let say = |line: &str| eprintln!("{}", dim(line));
        let dependencies = build::dependencies(&app.folder, &artifact, &say)?;
        let task = app.folder.join(&artifact.path).canonicalize()?;
        return Ok(Code { task, dependencies, opt, from: "the application's own files" });
    }
    let named = json!({"FunctionName": debugged.text("FunctionArn")});
    let found = debugged.client.call("lambda", "GetFunction", &named).await?;
    let task = debugged.scratch.join("task");
    unpack(debugged, &found["Code"]["Location"], &task).await?;
    Ok(Code {
        task,
        dependencies: None,
        opt,
        from: "as deployed; run this beside its template for your own files",
    })
}

/// The application's artifact that is this function's code, if its files run as they are.
async fn local(debugged: &Debugged<'_>, options: &Invoke) -> Option<(App, Artifact)> {
    let app = App::read(&options.app).ok()?;
    let settings = Settings::read(&app, &StackOptions::default()).ok()?;
    let input = json!({"StackName": settings.stack});
    let answer = debugged.client.call("cloudformation", "DescribeStackResources", &input).await.ok()?;
    let resources = answer["StackResources"].as_array()?;
    let name = debugged.text("FunctionName");
    let resource = resources.iter().find(|one| one["PhysicalResourceId"] == name)?;
    let logical = resource["LogicalResourceId"].as_str()?;
    let artifact = local_artifacts(&app.template).into_iter().find(|one| one.resource == logical)?;
    let is_bundled = matches!(artifact.build_method.as_deref(), Some("esbuild" | "makefile"));
    let is_folder = app.folder.join(&artifact.path).is_dir();
    (is_folder && !is_bundled).then_some((app, artifact))
}

/// All layers in one folder; later ones win.
async fn layers(debugged: &Debugged<'_>) -> Result<Option<PathBuf>> {
    let layers = debugged.configuration["Layers"].as_array().cloned().unwrap_or_default();
    let opt = debugged.scratch.join("opt");
    for layer in &layers {
        let input = json!({"Arn": layer["Arn"]});
        let found = debugged.client.call("lambda", "GetLayerVersionByArn", &input).await?;
        unpack(debugged, &found["Content"]["Location"], &opt).await?;
    }
    Ok((!layers.is_empty()).then_some(opt))
}

/// Fetches an archive from the platform and unpacks it.
async fn unpack(debugged: &Debugged<'_>, location: &Value, folder: &Path) -> Result<()> {
    let location = location.as_str().context("the platform does not say where the code is")?;
    let path = location.find("://").and_then(|at| Some(at + 3 + location[at + 3..].find('/')?));
    let path = &location[path.context("the code's address is none")?..];
    let (status, zip) = debugged.client.raw(Method::GET, path, "lambda", &[], bytes::Bytes::new()).await?;
    anyhow::ensure!(status.is_success(), "the code cannot be fetched ({status})");
    std::fs::create_dir_all(folder)?;
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).context("the code is no archive")?;
    archive.extract(folder).context("the code cannot be unpacked")
}
