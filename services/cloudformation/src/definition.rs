//! From what a caller sends to what a stack is to be: the template from text or S3, the transform, parameters,
//! capabilities, and the checks that refuse a definition before anything changes.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use tidemill_cfn_template::{Given, Graph, Pseudo, Scope, Template, TemplateError, values};
use tidemill_platform::{Cx, Fault};

use crate::{
    CloudFormation,
    api::{Capability, InsufficientCapabilitiesException, Parameter, Tag},
    state::{Definition, StackRow, validation},
};

/// The largest template in a request, in bytes; larger ones come from S3.
const MOST_INLINE: usize = 51_200;

/// What a request says a stack is to be.
pub struct Asked {
    pub body: Option<String>,
    pub url: Option<String>,
    pub use_previous: bool,
    pub parameters: Vec<Parameter>,
    pub tags: Option<Vec<Tag>>,
    pub capabilities: Vec<Capability>,
    /// A change set shows what transforms make before it is executed, so it needs no `CAPABILITY_AUTO_EXPAND`.
    pub is_change_set: bool,
}

/// A definition with its template typed and its parameters and conditions decided.
pub struct Planned {
    pub template: Template,
    pub scope: Scope,
    pub graph: Graph,
}

impl CloudFormation {
    /// Makes and checks the definition that `asked` describes for a stack.
    pub async fn define(
        &self,
        cx: &Cx,
        stack: &StackRow,
        previous: Option<&Definition>,
        asked: Asked,
    ) -> Result<Definition, Fault> {
        let text = match (previous, asked.use_previous) {
            (Some(previous), true) => previous.template.clone(),
            _ => self.template_text(cx, asked.body, asked.url.as_deref()).await?,
        };
        let source = tidemill_cfn_template::read(&text).map_err(wrong)?;
        let transforms = Template::transforms(&source).map_err(wrong)?;
        check_transforms(&transforms)?;
        let given = given(&asked.parameters, previous)?;
        let processed = expand(&source, &transforms, &given)?;
        let template = Template::parse(&processed).map_err(wrong)?;
        let parameters = values(&template.parameters, &given).map_err(wrong)?;
        let shown = |name: &String| template.parameters.get(name).is_some_and(|found| found.no_echo);
        let capabilities: Vec<String> =
            asked.capabilities.iter().map(|one| one.as_str().to_string()).collect();
        let definition = Definition {
            processed: processed.to_string(),
            parameters: parameters
                .iter()
                .map(|(name, (text, _))| (name.clone(), (text.clone(), shown(name))))
                .collect(),
            tags: match (asked.tags, previous) {
                (Some(tags), _) => tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
                (None, Some(previous)) => previous.tags.clone(),
                (None, None) => BTreeMap::new(),
            },
            description: template.description.clone(),
            capabilities,
            template: text,
        };
        check_capabilities(&template, &definition.capabilities, &transforms, asked.is_change_set)?;
        self.check_types(&template)?;
        self.plan(stack, &definition)?;
        Ok(definition)
    }

    /// The template, its scope and order, of a definition that was accepted.
    pub fn plan(&self, stack: &StackRow, definition: &Definition) -> Result<Planned, Fault> {
        let source: Value = serde_json::from_str(&definition.processed).map_err(Fault::internal)?;
        let template = Template::parse(&source).map_err(wrong)?;
        let given =
            definition.parameters.iter().map(|(name, (text, _))| (name.clone(), Given::Value(text.clone())));
        let parameters = values(&template.parameters, &given.collect()).map_err(wrong)?;
        let parameters = parameters.into_iter().map(|(name, (_, value))| (name, value)).collect();
        let pseudo = Pseudo {
            account: stack.account.clone(),
            region: stack.region.clone(),
            stack_name: stack.name.clone(),
            stack_id: stack.id.clone(),
            notification_arns: Vec::new(),
        };
        let scope = Scope::new(&template, parameters, pseudo).map_err(wrong)?;
        let graph = Graph::of(&template, &scope).map_err(wrong)?;
        Ok(Planned { template, scope, graph })
    }

    /// A template's text, from the request or from S3.
    pub async fn template_text(
        &self,
        cx: &Cx,
        body: Option<String>,
        url: Option<&str>,
    ) -> Result<String, Fault> {
        match (body, url) {
            (Some(_), Some(_)) => Err(validation("Template URL and Template Body cannot both be specified.")),
            (None, None) => Err(validation("Either Template URL or Template Body must be specified.")),
            (Some(body), None) if body.len() > MOST_INLINE => Err(validation(format!(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to {MOST_INLINE}"
            ))),
            (Some(body), None) => Ok(body),
            (None, Some(url)) => {
                let (bucket, key) =
                    object_of(url).ok_or_else(|| validation("TemplateURL must be a supported URL."))?;
                let objects = self.platform.doors.objects.ask("templates in S3")?;
                let object = objects.get(cx, &bucket, &key, None).await;
                let object = object.map_err(|fault| validation(format!("S3 error: {}", fault.message())))?;
                String::from_utf8(object.body.to_vec())
                    .map_err(|_| validation("Template format error: unsupported structure."))
            }
        }
    }

    /// A resource type nobody provides is refused before anything is made.
    pub fn check_types(&self, template: &Template) -> Result<(), Fault> {
        let provided = |kind: &str| self.platform.doors.provider(kind).is_some();
        let mut unknown: Vec<&str> = template
            .resources
            .values()
            .map(|one| one.resource_type.as_str())
            .filter(|kind| !provided(kind))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(validation(format!(
            "Template format error: Unrecognized resource types: [{}]",
            unknown.join(", ")
        )))
    }
}

pub fn wrong(error: TemplateError) -> Fault {
    validation(error.to_string())
}

/// The template after its transforms, with defaults and given values in place of parameters that decide ids.
pub fn expand(
    source: &Value,
    transforms: &[String],
    given: &IndexMap<String, Given>,
) -> Result<Value, Fault> {
    if transforms.is_empty() {
        return Ok(source.clone());
    }
    let mut parameters = BTreeMap::new();
    for (name, declared) in source.get("Parameters").and_then(Value::as_object).unwrap_or(&Map::new()) {
        let value = match given.get(name) {
            Some(Given::Value(text)) | Some(Given::Previous(Some(text))) => Some(Value::from(text.as_str())),
            _ => declared.get("Default").cloned(),
        };
        parameters.extend(value.map(|value| (name.clone(), value)));
    }
    tidemill_sam_transform::transform(source, &parameters).map_err(|error| {
        validation(format!("Transform {} failed with: {error}", tidemill_sam_transform::NAME))
    })
}

pub fn check_transforms(names: &[String]) -> Result<(), Fault> {
    match names.iter().find(|name| *name != tidemill_sam_transform::NAME) {
        Some(other) => Err(validation(format!("No transform named {other} found."))),
        None => Ok(()),
    }
}

fn given(parameters: &[Parameter], previous: Option<&Definition>) -> Result<IndexMap<String, Given>, Fault> {
    let mut given = IndexMap::new();
    for parameter in parameters {
        let name = parameter.parameter_key.clone().unwrap_or_default();
        let value = match (&parameter.parameter_value, parameter.use_previous_value) {
            (Some(_), Some(true)) => {
                return Err(validation(format!(
                    "Invalid input for parameter key {name}. Cannot specify usePreviousValue as true and non empty value for a parameter"
                )));
            }
            (Some(value), _) => Given::Value(value.clone()),
            (None, Some(true)) => Given::Previous(
                previous.and_then(|one| one.parameters.get(&name)).map(|(value, _)| value.clone()),
            ),
            (None, _) => return Err(validation(format!("Parameter {name} must have a value"))),
        };
        given.insert(name, value);
    }
    Ok(given)
}

fn check_capabilities(
    template: &Template,
    capabilities: &[String],
    transforms: &[String],
    is_change_set: bool,
) -> Result<(), Fault> {
    let has = |name: &str| capabilities.iter().any(|one| one == name);
    let missing = match needed(template).0 {
        Some("CAPABILITY_NAMED_IAM") if !has("CAPABILITY_NAMED_IAM") => Some("CAPABILITY_NAMED_IAM"),
        Some("CAPABILITY_IAM") if !has("CAPABILITY_IAM") && !has("CAPABILITY_NAMED_IAM") => {
            Some("CAPABILITY_IAM")
        }
        _ if !transforms.is_empty() && !is_change_set && !has("CAPABILITY_AUTO_EXPAND") => {
            Some("CAPABILITY_AUTO_EXPAND")
        }
        _ => None,
    };
    match missing {
        Some(name) => {
            Err(InsufficientCapabilitiesException::new(format!("Requires capabilities : [{name}]")).into())
        }
        None => Ok(()),
    }
}

/// The capability that the template's resources ask for, and which resources do.
pub fn needed(template: &Template) -> (Option<&'static str>, Vec<&str>) {
    const IAM: &[(&str, &str)] = &[
        ("AWS::IAM::Role", "RoleName"),
        ("AWS::IAM::Policy", ""),
        ("AWS::IAM::ManagedPolicy", "ManagedPolicyName"),
        ("AWS::IAM::User", "UserName"),
        ("AWS::IAM::Group", "GroupName"),
        ("AWS::IAM::InstanceProfile", "InstanceProfileName"),
        ("AWS::IAM::AccessKey", ""),
        ("AWS::IAM::UserToGroupAddition", ""),
    ];
    let (mut kinds, mut is_named) = (Vec::new(), false);
    for resource in template.resources.values() {
        let Some((kind, name)) = IAM.iter().find(|(kind, _)| *kind == resource.resource_type) else {
            continue;
        };
        is_named |= !name.is_empty() && resource.properties.get(name).is_some();
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    match (kinds.is_empty(), is_named) {
        (true, _) => (None, kinds),
        (false, true) => (Some("CAPABILITY_NAMED_IAM"), kinds),
        (false, false) => (Some("CAPABILITY_IAM"), kinds),
    }
}

/// Bucket and key of an S3 URL, in the path's or the host's style.
fn object_of(url: &str) -> Option<(String, String)> {
    if let Some(rest) = url.strip_prefix("s3://") {
        let (bucket, key) = rest.split_once('/')?;
        return Some((bucket.into(), key.into()));
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    let path = path.split('?').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let bucket = host.find(".s3.").or_else(|| host.find(".s3-")).map(|at| host[..at].to_string());
    let (bucket, key) = match bucket {
        Some(bucket) => (bucket, path.to_string()),
        None => {
            let (bucket, key) = path.split_once('/')?;
            (bucket.into(), key.into())
        }
    };
    (!bucket.is_empty() && !key.is_empty()).then(|| (bucket, decoded(&key)))
}

fn decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_in_both_styles() {
        for url in [
            "https://s3.amazonaws.com/b/a/k%20x",
            "https://b.s3.us-east-1.amazonaws.com/a/k%20x",
            "http://127.0.0.1:4566/b/a/k%20x",
            "http://b.s3.localhost.localstack.cloud:4566/a/k%20x",
            "s3://b/a/k x",
        ] {
            assert_eq!(object_of(url), Some(("b".into(), "a/k x".into())), "{url}");
        }
        assert_eq!(object_of("file:///etc/passwd"), None);
    }
}
