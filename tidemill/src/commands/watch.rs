//! `tidemill up --watch`: what is saved is live at the next invocation. New code goes straight to its function, whatever
//! else changed is deployed as an update of the stack, and a mistake leaves everything as it was.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use futures::future::join_all;
use serde_json::json;
use tidemill_sam_transform::{Artifact, local_artifacts};
use tokio::sync::watch::Sender;

use crate::{
    app::{
        App, Settings,
        build::check,
        deploy::{Deployed, Deployment, is_reloadable},
        watch::{Change, Watch},
    },
    cli::{Output, Up},
    client::Client,
    output::{bold, dim, failed, green, paint},
};

/// An application that is watched.
pub struct Watching<'a> {
    pub client: &'a Client,
    pub options: &'a Up,
    pub settings: Settings,
    pub app: App,
    pub deployed: Deployed,
    pub output: Output,
    /// Gets the functions, name → logical id, whenever they change.
    pub functions: Sender<BTreeMap<String, String>>,
}

/// Follows an application from now on: what is saved while it is deployed is taken over afterwards.
///
/// # Errors
/// Files cannot be watched.
pub fn begin(app: &App, data: &str) -> Result<Watch> {
    let mut watch = Watch::new(vec![std::path::absolute(data)?])?;
    follow(app, &mut watch)?;
    Ok(watch)
}

/// The template's own folder, and all below each folder of code.
fn follow(app: &App, watch: &mut Watch) -> Result<()> {
    watch.follow(&app.folder, false)?;
    for artifact in local_artifacts(&app.template) {
        let place = place(app, &artifact);
        match place.is_dir() {
            true => watch.follow(&place, true)?,
            false => watch.follow(place.parent().unwrap_or(&app.folder), false)?,
        }
    }
    Ok(())
}

/// Where an artifact lies; without `.` and `..`, as changes are told.
fn place(app: &App, artifact: &Artifact) -> PathBuf {
    let place = app.folder.join(&artifact.path);
    place.canonicalize().or_else(|_| std::path::absolute(&place)).unwrap_or(place)
}

impl Watching<'_> {
    /// Takes changes over until it is dropped.
    ///
    /// # Errors
    /// Files cannot be watched.
    pub async fn run(mut self, mut watch: Watch) -> Result<()> {
        follow(&self.app, &mut watch)?;
        self.say(&dim(&format!("Watching {}.", self.app.folder.display())));
        loop {
            let change = watch.next().await?;
            if let Err(error) = self.take(&change).await {
                self.complain(&error);
            }
            follow(&self.app, &mut watch)?;
        }
    }

    async fn take(&mut self, change: &Change) -> Result<()> {
        let is_template =
            change.paths.iter().any(|path| *path == self.app.file || path.ends_with("samconfig.toml"));
        let artifacts = local_artifacts(&self.app.template);
        let touched: Vec<Artifact> = artifacts
            .into_iter()
            .filter(|one| {
                let place = place(&self.app, one);
                change.paths.iter().any(|path| path.starts_with(&place))
            })
            .collect();
        if is_template || !touched.iter().all(is_reloadable) {
            return self.redeploy().await;
        }
        self.reload(&touched, change).await
    }

    /// Gives functions their new code; those whose archive is the same are left alone.
    async fn reload(&mut self, touched: &[Artifact], change: &Change) -> Result<()> {
        let deployment = self.deployment();
        let reloading = touched.iter().map(|one| deployment.reload(one, &self.deployed));
        let outcomes = join_all(reloading).await;
        let took = change.since.elapsed();
        let mut live = Vec::new();
        for (artifact, outcome) in touched.iter().zip(outcomes) {
            match outcome {
                Ok(None) => {}
                Ok(Some(digest)) => {
                    self.deployed.digests.insert(artifact.resource.clone(), digest);
                    live.push(artifact);
                }
                Err(error) => self.complain(&error),
            }
        }
        if live.is_empty() {
            return Ok(());
        }
        let files: Vec<String> = change.paths.iter().map(|path| self.relative(path)).collect();
        let names: Vec<&str> = live.iter().map(|one| one.resource.as_str()).collect();
        let ms = took.as_secs_f64() * 1000.0;
        if self.output == Output::Json {
            println!("{}", json!({"reloaded": names, "files": files, "ms": ms}));
        } else {
            println!(
                "{} {}  {}  {}",
                green("↻"),
                bold(&names.join(", ")),
                several(&files),
                dim(&format!("live after {ms:.0} ms"))
            );
        }
        self.check(&live, change).await;
        Ok(())
    }

    /// Says what the languages cannot read of what was just taken over.
    async fn check(&self, live: &[&Artifact], change: &Change) {
        let Some(runtime) = live.first().and_then(|one| one.runtime.clone()) else { return };
        let files: Vec<PathBuf> =
            change.paths.iter().filter(|path| path.is_file()).take(20).cloned().collect();
        let checking = tokio::task::spawn_blocking(move || {
            let complaint = |file: PathBuf| Some((check::complaint(&runtime, &file)?, file));
            files.into_iter().filter_map(complaint).collect::<Vec<_>>()
        });
        for (complaint, file) in checking.await.unwrap_or_default() {
            let file = self.relative(&file);
            match self.output {
                Output::Json => println!("{}", json!({"warning": complaint, "file": file})),
                Output::Text => println!(
                    "{} {file}: {complaint}  {}",
                    paint("33", "!"),
                    dim("the function has it all the same, as on AWS")
                ),
            }
        }
    }

    async fn redeploy(&mut self) -> Result<()> {
        let app = App::read(&self.options.app)?;
        let settings = Settings::read(&app, &self.options.stack)?;
        let quiet = self.output == Output::Json;
        let deployment = Deployment { client: self.client, app: &app, settings: &settings, quiet };
        match deployment.run().await {
            Ok(deployed) => self.deployed = deployed,
            Err(error) => {
                self.restore().await;
                return Err(error);
            }
        }
        (self.app, self.settings) = (app, settings);
        if self.output == Output::Json {
            println!("{}", json!({"deployed": self.settings.stack, "changed": self.deployed.changed}));
        }
        self.functions.send_replace(self.deployed.functions());
        Ok(())
    }

    /// An update that failed was rolled back to what the stack knew, which may be older than what was reloaded since.
    async fn restore(&mut self) {
        self.deployed.digests.clear();
        for artifact in local_artifacts(&self.app.template).iter().filter(|one| is_reloadable(one)) {
            if let Ok(Some(digest)) = self.deployment().reload(artifact, &self.deployed).await {
                self.deployed.digests.insert(artifact.resource.clone(), digest);
            }
        }
    }

    fn deployment(&self) -> Deployment<'_> {
        let quiet = self.output == Output::Json;
        Deployment { client: self.client, app: &self.app, settings: &self.settings, quiet }
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.app.folder).unwrap_or(path).display().to_string()
    }

    fn say(&self, line: &str) {
        if self.output == Output::Text {
            println!("{line}");
        }
    }

    fn complain(&self, error: &anyhow::Error) {
        match self.output {
            Output::Json => println!("{}", json!({"error": format!("{error:#}")})),
            Output::Text => {
                failed(error);
                println!("{}", dim("What is deployed stays as it was; save again when it is right."));
            }
        }
    }
}

/// The first file, and how many more.
fn several(files: &[String]) -> String {
    match files {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => String::new(),
    }
}
