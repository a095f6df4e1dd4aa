//! Code and other files that a template names by a path on the local disk, for whoever uploads them and puts their place
//! in S3 instead, as `aws cloudformation package` does.

use serde_json::{Value, json};

/// Something local that a template refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Logical id of the resource.
    pub resource: String,
    /// The property that names it: `CodeUri`, `Code`, `ContentUri`, `Content`.
    pub property: &'static str,
    /// As written: relative to the template's folder.
    pub path: String,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    /// `Metadata.BuildMethod`.
    pub build_method: Option<String>,
    /// `Metadata.BuildProperties` and the other settings of its builder.
    pub metadata: Value,
    /// A function that publishes its versions, so that new code alone is not live.
    pub is_published: bool,
}

impl Artifact {
    /// Whether it is a function's code, not a layer's content.
    pub fn is_function(&self) -> bool {
        matches!(self.property, "CodeUri" | "Code")
    }
}

/// (resource type, property that holds a path)
const PLACES: &[(&str, &str)] = &[
    ("AWS::Serverless::Function", "CodeUri"),
    ("AWS::Lambda::Function", "Code"),
    ("AWS::Serverless::LayerVersion", "ContentUri"),
    ("AWS::Lambda::LayerVersion", "Content"),
];

/// Every local path of a template, in its order. A function without code takes that of the globals, or the template's
/// own folder.
pub fn local_artifacts(template: &Value) -> Vec<Artifact> {
    let global = |property: &str| template.get("Globals")?.get("Function")?.get(property).cloned();
    let resources = template.get("Resources").and_then(Value::as_object);
    let mut found = Vec::new();
    for (name, resource) in resources.into_iter().flatten() {
        let Some((kind, property)) = place(resource) else { continue };
        let properties = &resource["Properties"];
        let is_serverless = kind == "AWS::Serverless::Function";
        let inherited = |key: &str| {
            let own = properties.get(key).cloned();
            own.or_else(|| global(key).filter(|_| is_serverless))?.as_str().map(String::from)
        };
        let path = match inherited(property) {
            Some(path) => path,
            None if is_serverless
                && properties.get(property).is_none()
                && properties.get("InlineCode").is_none() =>
            {
                ".".to_string()
            }
            None => continue,
        };
        if path.starts_with("s3://") || path.starts_with("https://") {
            continue;
        }
        if inherited("PackageType").is_some_and(|kind| kind == "Image") {
            continue;
        }
        let metadata = resource.get("Metadata").cloned().unwrap_or_default();
        let is_published = is_serverless
            && (properties.get("AutoPublishAlias").is_some() || global("AutoPublishAlias").is_some());
        found.push(Artifact {
            resource: name.clone(),
            property,
            path,
            runtime: inherited("Runtime"),
            handler: inherited("Handler"),
            build_method: metadata.get("BuildMethod").and_then(Value::as_str).map(String::from),
            metadata,
            is_published,
        });
    }
    found
}

fn place(resource: &Value) -> Option<(&'static str, &'static str)> {
    let kind = resource.get("Type")?.as_str()?;
    PLACES.iter().copied().find(|(known, _)| *known == kind)
}

/// Puts an artifact's place in S3 into the template.
pub fn replace(template: &mut Value, artifact: &Artifact, bucket: &str, key: &str) {
    let is_plain = matches!(artifact.property, "Code" | "Content");
    let location = if is_plain {
        json!({"S3Bucket": bucket, "S3Key": key})
    } else {
        json!(format!("s3://{bucket}/{key}"))
    };
    template["Resources"][&artifact.resource]["Properties"][artifact.property] = location;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_paths_are_found_and_replaced() {
        let mut template = json!({
            "Globals": {"Function": {"Runtime": "python3.11"}},
            "Resources": {
                "A": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "./a", "Handler": "x.y"}},
                "B": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "s3://b/k"}},
                "C": {"Type": "AWS::Serverless::Function", "Properties": {"InlineCode": "x"}},
                "D": {"Type": "AWS::Lambda::Function", "Properties": {"Code": "d"}},
                "E": {"Type": "AWS::Lambda::Function", "Properties": {"Code": {"S3Bucket": "b", "S3Key": "k"}}},
            }
        });
        let found = local_artifacts(&template);
        let paths: Vec<(&str, &str)> = found.iter().map(|a| (a.resource.as_str(), a.path.as_str())).collect();
        assert_eq!(paths, [("A", "./a"), ("D", "d")]);
        assert_eq!(found[0].runtime.as_deref(), Some("python3.11"));
        replace(&mut template, &found[0], "b", "k");
        replace(&mut template, &found[1], "b", "k");
        assert_eq!(template["Resources"]["A"]["Properties"]["CodeUri"], json!("s3://b/k"));
        assert_eq!(template["Resources"]["D"]["Properties"]["Code"], json!({"S3Bucket": "b", "S3Key": "k"}));
    }
}
