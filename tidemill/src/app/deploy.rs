//! Deploying an application: code to S3, template to CloudFormation, and what happens told as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use base64::Engine;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tidemill_sam_transform::{Artifact, local_artifacts, replace};
use tidemill_sandbox::runtimes;

use super::{App, Settings, build};
use crate::{client::Client, output, wiring};

/// Where deployed code and templates are kept in S3.
const BUCKET: &str = "tidemill-artifacts";
/// What a template in a request may have; larger ones go through S3.
const MOST_INLINE: usize = 51_200;
/// An archive in a request; larger ones go through S3. The request holds it as base64.
const MOST_DIRECT: usize = 8 << 20;
/// How often the stack is asked how far it is. The platform itself polls nothing; this is outside of it.
const ASK_EVERY: Duration = Duration::from_millis(15);

/// What is to be deployed, and how it is told.
pub struct Deployment<'a> {
    pub client: &'a Client,
    pub app: &'a App,
    pub settings: &'a Settings,
    /// Nothing is printed but errors.
    pub quiet: bool,
}

/// A stack as it is after a deployment.
#[derive(Debug, Clone)]
pub struct Deployed {
    pub changed: bool,
    /// Key → (value, description).
    pub outputs: BTreeMap<String, (String, String)>,
    /// Logical id → (type, physical id).
    pub resources: BTreeMap<String, (String, String)>,
    /// Logical id → digest of the archive with its code.
    pub digests: BTreeMap<String, String>,
}

/// Whether new code is live as soon as the function has it: no version has to be published, no layer attached.
pub fn is_reloadable(artifact: &Artifact) -> bool {
    artifact.is_function() && !artifact.is_published
}

/// Builds and packs on a thread of its own: tools take their time.
async fn pack(folder: &Path, artifact: &Artifact, quiet: bool) -> Result<build::Packed> {
    let (folder, artifact) = (folder.to_path_buf(), artifact.clone());
    let packing = move || {
        let say = |line: &str| {
            if !quiet {
                println!("{}", output::dim(line));
            }
        };
        build::pack(&folder, &artifact, &say)
    };
    tokio::task::spawn_blocking(packing).await?
}

impl Deployment<'_> {
    pub async fn run(&self) -> Result<Deployed> {
        let began = Instant::now();
        if !self.settings.unknown.is_empty() {
            self.say(&output::dim(&format!(
                "samconfig.toml: {} is not used here",
                self.settings.unknown.join(", ")
            )));
        }
        let artifacts = local_artifacts(&self.app.template);
        self.prepare_runtimes(&artifacts)?;
        let mut template = self.app.template.clone();
        let digests = self.upload(&artifacts, &mut template).await?;
        let seen = self.event_ids().await?;
        let changed = self.submit(&template).await?;
        if changed {
            self.follow(seen).await?;
        }
        let mut deployed = self.describe(changed).await?;
        deployed.changed |= self.settle(&artifacts, &digests, &deployed).await?;
        let changed = deployed.changed;
        deployed.digests = artifacts.into_iter().map(|one| one.resource).zip(digests).collect();
        let took = began.elapsed().as_secs_f64();
        let what = if changed { "is deployed" } else { "is as the template says; nothing to change" };
        self.say(&format!(
            "{} {what} {}",
            output::bold(self.stack()),
            output::dim(&format!("({took:.2} s)"))
        ));
        Ok(deployed)
    }

    fn stack(&self) -> &str {
        &self.settings.stack
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            println!("{line}");
        }
    }

    /// Functions find the AWS SDK where Lambda's runtimes have it; it is installed when a runtime is first used.
    fn prepare_runtimes(&self, artifacts: &[Artifact]) -> Result<()> {
        let Some(folder) = wiring::runtimes_dir() else { return Ok(()) };
        let wanted: BTreeSet<&str> = artifacts.iter().filter_map(|one| one.runtime.as_deref()).collect();
        for found in runtimes::detect(Some(&folder)).interpreters {
            if wanted.contains(found.runtime.as_str()) && found.sdk.is_none() {
                self.say(&format!("Installing the AWS SDK for {} (once)", found.runtime));
                runtimes::prepare(&found.runtime, &folder, &mut |line| {
                    self.say(&format!("  {}", output::dim(line)))
                })
                .with_context(|| {
                    format!("{} functions would miss the AWS SDK that Lambda has", found.runtime)
                })?;
            }
        }
        Ok(())
    }

    /// Builds and uploads all code; gives the archives' digests, resource by resource.
    async fn upload(&self, artifacts: &[Artifact], template: &mut Value) -> Result<Vec<String>> {
        let mut digests = Vec::new();
        for artifact in artifacts {
            let packed = pack(&self.app.folder, artifact, self.quiet).await?;
            let key = self.key(&packed.digest);
            self.put(&key, Bytes::from(packed.bytes)).await?;
            replace(template, artifact, BUCKET, &key);
            digests.push(packed.digest);
        }
        Ok(digests)
    }

    fn key(&self, digest: &str) -> String {
        format!("{}/{digest}", self.stack())
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.client.send(Method::PUT, &format!("/_tidemill/object/{BUCKET}/{key}"), body).await.map(drop)
    }

    /// Code that was reloaded since the last deployment is unknown to the stack: a function that has other code than
    /// the template's gets it.
    async fn settle(&self, artifacts: &[Artifact], digests: &[String], deployed: &Deployed) -> Result<bool> {
        let mut settled = false;
        for (artifact, digest) in artifacts.iter().zip(digests).filter(|(one, _)| is_reloadable(one)) {
            let name = deployed.physical(&artifact.resource)?;
            let found = self
                .client
                .call("lambda", "GetFunctionConfiguration", &json!({"FunctionName": name}))
                .await?;
            let wanted = base64::prelude::BASE64_STANDARD.encode(hex::decode(digest)?);
            if found["CodeSha256"] != wanted.as_str() {
                let input = json!({"FunctionName": name, "S3Bucket": BUCKET, "S3Key": self.key(digest)});
                self.client.call("lambda", "UpdateFunctionCode", &input).await?;
                settled = true;
            }
        }
        Ok(settled)
    }

    /// Gives a function the code that lies on disk now, and says its digest; `None` when it has it already.
    ///
    /// # Errors
    /// The code cannot be built, or the platform does not take it.
    pub async fn reload(&self, artifact: &Artifact, deployed: &Deployed) -> Result<Option<String>> {
        let packed = pack(&self.app.folder, artifact, self.quiet).await?;
        if deployed.digests.get(&artifact.resource) == Some(&packed.digest) {
            return Ok(None);
        }
        let mut input = json!({"FunctionName": deployed.physical(&artifact.resource)?});
        if packed.bytes.len() <= MOST_DIRECT {
            input["ZipFile"] = base64::prelude::BASE64_STANDARD.encode(&packed.bytes).into();
        } else {
            let key = self.key(&packed.digest);
            self.put(&key, Bytes::from(packed.bytes)).await?;
            input["S3Bucket"] = BUCKET.into();
            input["S3Key"] = key.into();
        }
        self.client.call("lambda", "UpdateFunctionCode", &input).await?;
        Ok(Some(packed.digest))
    }

    /// Creates or updates the stack; `false` when there is nothing to change.
    async fn submit(&self, template: &Value) -> Result<bool> {
        let exists = match self.status().await? {
            None => false,
            Some(status)
                if matches!(
                    status.as_str(),
                    "ROLLBACK_COMPLETE"
                        | "ROLLBACK_FAILED"
                        | "CREATE_FAILED"
                        | "DELETE_FAILED"
                        | "REVIEW_IN_PROGRESS"
                ) =>
            {
                self.say(&output::dim(&format!(
                    "{} never came up ({status}); it is deleted and made again",
                    self.stack()
                )));
                delete(self.client, self.stack()).await?;
                false
            }
            Some(_) => true,
        };
        let parameters: Vec<Value> = self
            .settings
            .parameters
            .iter()
            .map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value}))
            .collect();
        let mut input = json!({
            "StackName": self.stack(),
            "Parameters": parameters,
            "Capabilities": self.capabilities(),
        });
        if !self.settings.tags.is_empty() {
            let tags = self.settings.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value}));
            input["Tags"] = tags.collect();
        }
        let body = template.to_string();
        if body.len() <= MOST_INLINE {
            input["TemplateBody"] = body.into();
        } else {
            let key = format!("{}/template.json", self.stack());
            self.put(&key, Bytes::from(body)).await?;
            input["TemplateURL"] = format!("s3://{BUCKET}/{key}").into();
        }
        let operation = if exists { "UpdateStack" } else { "CreateStack" };
        match self.client.call("cloudformation", operation, &input).await {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("No updates are to be performed") => Ok(false),
            Err(error) => Err(error.context(format!("{} is refused", self.app.file.display()))),
        }
    }

    /// What a deployment may do to IAM: what was written down, or else whatever the template does.
    fn capabilities(&self) -> Vec<&str> {
        match &self.settings.capabilities {
            Some(named) => named.iter().map(String::as_str).collect(),
            None => vec!["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
    }

    async fn status(&self) -> Result<Option<String>> {
        status(self.client, self.stack()).await
    }

    async fn event_ids(&self) -> Result<BTreeSet<String>> {
        if self.status().await?.is_none() {
            return Ok(BTreeSet::new());
        }
        Ok(self.events().await?.iter().map(|event| text(event, "EventId")).collect())
    }

    /// The newest page of events, oldest first.
    async fn events(&self) -> Result<Vec<Value>> {
        let answer = self
            .client
            .call("cloudformation", "DescribeStackEvents", &json!({"StackName": self.stack()}))
            .await?;
        let mut events = answer["StackEvents"].as_array().cloned().unwrap_or_default();
        events.reverse();
        Ok(events)
    }

    /// Tells what happens until the stack rests; an error when it did not come to what was asked.
    async fn follow(&self, mut seen: BTreeSet<String>) -> Result<()> {
        let mut begun: BTreeMap<String, i64> = BTreeMap::new();
        let mut reasons = Vec::new();
        loop {
            let status = self.status().await?.context("the stack disappeared")?;
            for event in self.events().await? {
                if seen.insert(text(&event, "EventId")) {
                    self.tell(&event, &mut begun, &mut reasons);
                }
            }
            match status.as_str() {
                "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok(()),
                status if status.ends_with("_IN_PROGRESS") => tokio::time::sleep(ASK_EVERY).await,
                status => bail!("{} is {status}:\n{}", self.stack(), reasons.join("\n")),
            }
        }
    }

    fn tell(&self, event: &Value, begun: &mut BTreeMap<String, i64>, reasons: &mut Vec<String>) {
        let (name, kind) = (text(event, "LogicalResourceId"), text(event, "ResourceType"));
        let (status, reason) = (text(event, "ResourceStatus"), text(event, "ResourceStatusReason"));
        let at = millis(event);
        let since = *begun.entry(name.clone()).or_insert(at);
        if status.ends_with("_FAILED") {
            reasons.push(format!("  {name}: {reason}"));
            return self.say(&format!("  {} {name}  {}", output::paint("31", "✗"), reason));
        }
        if kind == "AWS::CloudFormation::Stack" || !status.ends_with("_COMPLETE") {
            return;
        }
        let sign = if status.starts_with("DELETE") { "−" } else { "✓" };
        self.say(&format!(
            "  {} {name:<28} {}",
            output::green(sign),
            output::dim(&format!("{kind}  {} ms", at - since))
        ));
    }

    async fn describe(&self, changed: bool) -> Result<Deployed> {
        let input = json!({"StackName": self.stack()});
        let stacks = self.client.call("cloudformation", "DescribeStacks", &input).await?;
        let outputs = list(&stacks["Stacks"][0]["Outputs"])
            .iter()
            .map(|one| (text(one, "OutputKey"), (text(one, "OutputValue"), text(one, "Description"))));
        let answer = self.client.call("cloudformation", "DescribeStackResources", &input).await?;
        let resources = list(&answer["StackResources"]).iter().map(|one| {
            (text(one, "LogicalResourceId"), (text(one, "ResourceType"), text(one, "PhysicalResourceId")))
        });
        let digests = BTreeMap::new();
        Ok(Deployed { changed, outputs: outputs.collect(), resources: resources.collect(), digests })
    }
}

impl Deployed {
    /// Function name → logical id, of all functions.
    pub fn functions(&self) -> BTreeMap<String, String> {
        let functions = self.resources.iter().filter(|(_, (kind, _))| kind == "AWS::Lambda::Function");
        functions.map(|(logical, (_, name))| (name.clone(), logical.clone())).collect()
    }

    /// The physical id of a resource of the template.
    pub fn physical(&self, logical_id: &str) -> Result<&str> {
        let found = self.resources.get(logical_id).map(|(_, id)| id.as_str());
        found.with_context(|| format!("the template has no resource {logical_id}"))
    }
}

/// A stack's status; `None` when there is no such stack.
pub async fn status(client: &Client, stack: &str) -> Result<Option<String>> {
    match client.call("cloudformation", "DescribeStacks", &json!({"StackName": stack})).await {
        Ok(answer) => Ok(Some(text(&answer["Stacks"][0], "StackStatus"))),
        Err(error) if error.to_string().contains("does not exist") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a stack and waits until it is gone.
pub async fn delete(client: &Client, stack: &str) -> Result<()> {
    let input = json!({"StackName": stack});
    let before = client.call("cloudformation", "DescribeStacks", &input).await?;
    let id = text(&before["Stacks"][0], "StackId");
    client.call("cloudformation", "DeleteStack", &input).await?;
    loop {
        let answer = client.call("cloudformation", "DescribeStacks", &json!({"StackName": id})).await?;
        let now = &answer["Stacks"][0];
        match text(now, "StackStatus").as_str() {
            "DELETE_COMPLETE" => return Ok(()),
            "DELETE_IN_PROGRESS" => tokio::time::sleep(ASK_EVERY).await,
            status => bail!("{stack} is {status}: {}", text(now, "StackStatusReason")),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}

fn millis(event: &Value) -> i64 {
    match &event["Timestamp"] {
        Value::String(text) => text.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond()),
        Value::Number(number) => (number.as_f64().unwrap_or(0.0) * 1000.0) as i64,
        _ => 0,
    }
}
