//! Deploying an application: code to S3, template to CloudFormation, and what happens told as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tidemill_sam_transform::{Artifact, local_artifacts, replace};
use tidemill_sandbox::runtimes;

use super::{App, build};
use crate::{client::Client, output, wiring};

/// Where deployed code and templates are kept in S3.
const BUCKET: &str = "tidemill-artifacts";
/// What a template in a request may have; larger ones go through S3.
const MOST_INLINE: usize = 51_200;
/// How often the stack is asked how far it is. The platform itself polls nothing; this is outside of it.
const ASK_EVERY: Duration = Duration::from_millis(15);

/// What is to be deployed, and how it is told.
pub struct Deployment<'a> {
    pub client: &'a Client,
    pub app: &'a App,
    pub stack: &'a str,
    pub parameters: &'a [(String, String)],
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
}

impl Deployment<'_> {
    pub async fn run(&self) -> Result<Deployed> {
        let began = Instant::now();
        let artifacts = local_artifacts(&self.app.template);
        self.prepare_runtimes(&artifacts)?;
        let mut template = self.app.template.clone();
        self.upload(&artifacts, &mut template).await?;
        let seen = self.event_ids().await?;
        let changed = self.submit(&template).await?;
        if changed {
            self.follow(seen).await?;
        }
        let deployed = self.describe(changed).await?;
        let took = began.elapsed().as_secs_f64();
        let what = if changed { "is deployed" } else { "is as the template says; nothing to change" };
        self.say(&format!("{} {what} {}", output::bold(self.stack), output::dim(&format!("({took:.2} s)"))));
        Ok(deployed)
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

    async fn upload(&self, artifacts: &[Artifact], template: &mut Value) -> Result<()> {
        for artifact in artifacts {
            let packed = build::pack(&self.app.folder, artifact, &mut |line| self.say(&output::dim(line)))?;
            let key = format!("{}/{}", self.stack, packed.digest);
            self.put(&key, Bytes::from(packed.bytes)).await?;
            replace(template, artifact, BUCKET, &key);
        }
        Ok(())
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.client.send(Method::PUT, &format!("/_tidemill/object/{BUCKET}/{key}"), body).await.map(drop)
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
                    self.stack
                )));
                delete(self.client, self.stack).await?;
                false
            }
            Some(_) => true,
        };
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value}))
            .collect();
        let mut input = json!({
            "StackName": self.stack,
            "Parameters": parameters,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        });
        let body = template.to_string();
        if body.len() <= MOST_INLINE {
            input["TemplateBody"] = body.into();
        } else {
            let key = format!("{}/template.json", self.stack);
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

    async fn status(&self) -> Result<Option<String>> {
        status(self.client, self.stack).await
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
            .call("cloudformation", "DescribeStackEvents", &json!({"StackName": self.stack}))
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
                status => bail!("{} is {status}:\n{}", self.stack, reasons.join("\n")),
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
        let input = json!({"StackName": self.stack});
        let stacks = self.client.call("cloudformation", "DescribeStacks", &input).await?;
        let outputs = list(&stacks["Stacks"][0]["Outputs"])
            .iter()
            .map(|one| (text(one, "OutputKey"), (text(one, "OutputValue"), text(one, "Description"))));
        let answer = self.client.call("cloudformation", "DescribeStackResources", &input).await?;
        let resources = list(&answer["StackResources"]).iter().map(|one| {
            (text(one, "LogicalResourceId"), (text(one, "ResourceType"), text(one, "PhysicalResourceId")))
        });
        Ok(Deployed { changed, outputs: outputs.collect(), resources: resources.collect() })
    }
}

impl Deployed {
    /// Physical ids of the resources of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.resources.values().filter(move |(one, _)| one == kind).map(|(_, id)| id.as_str())
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
